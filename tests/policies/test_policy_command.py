"""The command `policy` as a user meets it: a policy and where it is judged in, a table out, and clear messages."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest

import admm_verify as av
from admm_verify.cli import main
from admm_verify.commands import policy as command
from admm_verify.policies.play.environments import EnvironmentSource
from admm_verify.report.policy_plots import policy_figure
from admm_verify.report.records.policy import PolicyRecord
from admm_verify.run import Stopped
from tests.policies.test_certify_policy import certify_policy
from tests.policies.test_play import random_policy
from tests.policies.worlds import UPRIGHT, Corridor, Slider, steering
from tests.shared import SHARED, needs_shared
from tests.test_records import ENTRIES, HEAD, faults, written

SHORT = ["--episodes", "2", "--steps", "25", "--states", "10", "--attacks", "random", "least", "greedy"]
ZIP = SHARED / "data" / "rl" / "sb3" / "ppo-MountainCar-v0" / "MountainCar-v0.zip"


@pytest.fixture
def folder(tmp_path):
    """Files of observations, good and bad ones."""
    _, observations = command.example()
    np.save(tmp_path / "good.npy", observations[:5])
    np.savez(tmp_path / "alone.npz", states=observations[:5])
    np.savez(tmp_path / "named.npz", observations=observations[:5], rewards=np.ones(5))
    np.savez(tmp_path / "several.npz", a=observations, b=observations)
    np.savez(tmp_path / "none.npz")
    np.save(tmp_path / "empty.npy", observations[:0])
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    np.save(tmp_path / "words.npy", np.array(["x", "y"]))
    np.save(tmp_path / "nan.npy", np.where(np.arange(4) == 2, np.nan, observations[:5]))
    (tmp_path / "nothing.npy").write_bytes(b"")
    (tmp_path / "text.zip").write_text("no policy at all")
    return tmp_path


def test_the_embedded_policy_in_its_environment(tmp_path, capsys):
    given = ["policy", *SHORT, "--radii", "0.05", "0", "--return-seconds", "2"]
    found = written(PolicyRecord, [*given, "--plot", str(tmp_path / "p.png")], tmp_path / "policy.json")
    shown = capsys.readouterr()
    assert shown.err == "" and (tmp_path / "p.png").stat().st_size > 10_000
    head = shown.out.splitlines()[1]
    assert all(
        words in head for words in ("clean return", "attacked return (estimate)", "certified ratio", "certified return")
    )
    assert found["environment"] == "CartPole-v1" and found["ended"] == "complete"
    assert [one["return"] for one in found["episodes"]] == [25.0, 25.0] and found["episodes"][1]["seed"] == 1
    wide, none = found["radii"]
    assert none["clean_return"] == none["attacked_return"] == 25.0 and none["actions"]["certified_ratio"] == 1.0
    assert wide["attacked_return"] <= 25.0 and [one["attack"] for one in wide["attacks"]] == [
        "random",
        "least",
        "greedy",
    ]
    assert none["certified_return"] == 25.0 and none["certified_returns"] == [25.0, "nan"]
    assert wide["certified_return"] <= wide["attacks"][1]["returns"][0] and len(found["observations"]) == 10
    assert [Path(file["path"]).name for file in found["provenance"]["files"]] == ["cartpole.npz"]


def test_the_embedded_policy_balances_the_pole():
    policy, observations = command.example()
    assert policy.actions.count == 2 and observations.shape == (100, 4) and command.EXAMPLE.stat().st_size < 50_000
    settings = av.EvaluateSettings(episodes=2, states=5, attacks=(), seed=77, certified_episodes=0)
    assert av.evaluate_policy(policy, "CartPole-v1", [0.01], settings=settings).clean.returns.tolist() == [500, 500]


def test_the_same_seed_gives_the_same_numbers(tmp_path):
    runs = []
    for k in range(2):
        assert (
            main(["policy", *SHORT, "--certified-episodes", "0", "--seed", "5", "--json", str(tmp_path / f"{k}.json")])
            == 0
        )
        content = json.loads((tmp_path / f"{k}.json").read_text())
        runs.append({name: content[name] for name in ("radii", "episodes", "observations")})
    assert runs[0] == runs[1]


def test_the_embedded_policy_without_gymnasium(monkeypatch, capsys):
    monkeypatch.setattr(command, "is_installed", lambda name: False)
    assert main(["policy", "--radii", "0.001"]) == 0
    assert "100 observations" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["good.npy", "alone.npz", "named.npz"])
def test_given_observations_are_certified(folder, name, capsys):
    out = folder / "out.json"
    plot = ["--plot", str(folder / "p.svg")]
    found = written(PolicyRecord, ["policy", "--observations", str(folder / name), *plot], out)
    assert found["environment"] is None and found["episodes"] == [] and len(found["observations"]) == 5
    assert found["radii"][0]["clean_return"] is None and found["radii"][0]["attacks"] == []
    counts = found["radii"][0]["actions"]
    assert sum(counts[answer.value] for answer in av.Answer) == 5
    policy, _ = command.example()
    twin = certify_policy(policy, np.load(folder / "good.npy"), [0.01, 0.05])
    assert [one["status"][1] for one in found["observations"]] == [one.value for one in twin.status[:, 1]]
    assert "certified ratio" in capsys.readouterr().out and (folder / "p.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.zip", "--env", "CartPole-v1"], ["missing.zip"]),
        (["text.zip", "--env", "CartPole-v1"], ["text.zip"]),
        (["text.zip"], ["--env ID", "--observations FILE"]),
        (["--env", "CartPol-v1"], ["CartPol-v1", "CartPole-v1"]),
        (["--env", "Pendulum-v1"], ["Pendulum-v1", "(3,)", "(4,)"]),
        (["--env", "Acrobot-v1"], ["Acrobot-v1"]),
        (["--observations", "missing.npy"], ["missing.npy", "No such file"]),
        (["--observations", "nothing.npy"], ["nothing.npy", "cannot be read"]),
        (["--observations", "empty.npy"], ["no observations"]),
        (["--observations", "wide.npy"], ["(3, 5)", "(4,)"]),
        (["--observations", "words.npy"], ["real numbers"]),
        (["--observations", "nan.npy"], ["Observation 0, feature 2 is nan"]),
        (["--observations", "several.npz"], ["a, b", "observations=..."]),
        (["--observations", "none.npz"], ["no array"]),
        (["--observations", "text.zip"], ["text.zip"]),
        (["--radii", "-0.1"], ["-0.1", "negative"]),
        (["--units", "normalised"], ["no normalisation"]),
        (["--within", "0", "0.001"], ["outside the range"]),
        (["--plot", "p.txt"], ["p.txt", "suffix"]),
        (["--vecnormalize", "text.zip"], ["--vecnormalize", "give POLICY"]),
        (["--actions", "discrete"], ["--actions", "give POLICY"]),
    ],
)
def test_mistakes_end_in_one_paragraph(folder, arguments, words, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["policy", *arguments]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert all(word in shown.err for word in words), shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--episodes", "0"],
        ["--steps", "0"],
        ["--states", "-1"],
        ["--attacks", "laser"],
        ["--radii"],
        ["--env", "CartPole-v1", "--observations", "good.npy"],
        ["--norm", "l3"],
    ],
)
def test_options_that_are_refused(arguments):
    with pytest.raises(SystemExit) as ended:
        main(["policy", *arguments])
    assert ended.value.code == 2


def test_no_time_to_read(capsys, monkeypatch):
    def stopped():
        raise Stopped

    monkeypatch.setattr(command, "example", stopped)
    assert main(["policy"]) == 1
    assert "The embedded policy was not read" in capsys.readouterr().err


def test_no_time(capsys, tmp_path):
    out = tmp_path / "out.json"
    assert main(["policy", "--timeout", "0", "--json", str(out), "--plot", str(tmp_path / "p.png")]) == 0
    assert "0 of 5 episodes" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert found["ended"] == "timed-out" and found["radii"][0]["clean_return"] is None
    assert found["episodes"][0]["return"] == "nan" and faults(PolicyRecord, found) == []


def test_time_that_is_over_within_a_pass_is_no_fault(capsys, monkeypatch):
    def stopped(*given):
        raise Stopped

    monkeypatch.setattr("admm_verify.policies.evaluate.certify_policy", lambda *given, **more: stopped())
    monkeypatch.setattr(command, "is_installed", lambda name: False)
    assert main(["policy"]) == 1
    assert "the time was up" in capsys.readouterr().err
    given = ["policy", "--env", "CartPole-v1", "--episodes", "1", "--steps", "5", "--attacks", "random"]
    assert main([*given, "--certified-episodes", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[3].split() == ["0.01", "5", "5", "none", "none"]


def test_ctrl_c_ends_with_what_is_known(capsys, monkeypatch):
    step, taken = EnvironmentSource.step, []

    def interrupted(self, one, action):
        taken.append(action)
        if len(taken) == 300:
            signal.raise_signal(signal.SIGINT)
        return step(self, one, action)

    monkeypatch.setattr(EnvironmentSource, "step", interrupted)
    # The episodes without noise take 250 steps.
    assert (
        main(
            ["policy", "--episodes", "5", "--steps", "50", "--attacks", "random", "least", "--certified-episodes", "0"]
        )
        == 0
    )
    text = capsys.readouterr().out
    assert "5 episodes of 50 to 50 steps" in text and "stopped" in text and len(taken) < 320
    assert text.splitlines()[3].split()[1:3] == ["50", "none"] and text.splitlines()[-2].split()[1:] == ["none", "none"]


def test_entries():
    assert set(ENTRIES[PolicyRecord] | HEAD) == set(PolicyRecord.schema()["required"])


def test_pictures_say_what_is_there():
    found = av.evaluate_policy(UPRIGHT, Corridor(), [0.9, 0.1, 0.4], settings=av.EvaluateSettings(episodes=2, states=9))
    figure = policy_figure(found)
    left, right = figure.axes
    clean, attacked = left.get_lines()
    assert list(attacked.get_xdata()) == [0.1, 0.4, 0.9]
    assert list(attacked.get_ydata()) == list(found.attacked_return[[1, 2, 0]]) and set(clean.get_ydata()) == {20.0}
    assert list(right.get_lines()[1].get_ydata()) == list(found.certified_ratio[[1, 2, 0]])
    assert left.get_xscale() == "linear" and "estimate" in left.get_legend().get_texts()[1].get_text()
    alone = certify_policy(random_policy(0), np.zeros((3, 3)), [0.001, 1.0])
    (axes,) = policy_figure(alone).axes
    assert axes.get_xscale() == "log"
    with pytest.raises(av.InputError, match="PolicyEvaluation or PolicyCertification or Dev"):
        policy_figure("found")


def test_continuous_actions_are_told_of_by_how_far_they_move(tmp_path):
    given = steering([[-0.5]], -0.6, 0.6)
    settings = av.EvaluateSettings(episodes=2, states=6, attacks=("mad",))
    found = av.evaluate_policy(given, Slider(), [0.1, 0.2], settings=settings)
    content = PolicyRecord.of_evaluation(found, 0).json()
    assert faults(PolicyRecord, content) == [] and content["observations"] == [] and len(content["deviations"]) == 6
    for k, radius in enumerate((0.1, 0.2)):
        entry = content["radii"][k]["deviation"]
        assert content["radii"][k]["actions"] is None and entry["average_attacked"] <= 0.5 * radius * (1 + 1e-6)
        assert 0.5 * radius <= entry["largest_certified"] <= 0.5 * radius * 1.06
        for one in content["deviations"]:
            assert one["lower"][k][0] <= one["action"][0] - 0.5 * radius < one["action"][0] < one["upper"][k][0]
    _, right = policy_figure(found).axes
    assert right.get_lines()[0].get_label() == "largest, certified"
    assert list(right.get_lines()[0].get_ydata()) == list(found.certification.mad[1])
    alone = av.certify_deviation(given, np.array([[0.5]]), [0.1])
    record = PolicyRecord.of_actions(given, alone, av.Ended.COMPLETE).json()
    assert faults(PolicyRecord, record) == [] and len(record["deviations"]) == 1
    (axes,) = policy_figure(alone).axes
    assert "deviation" in axes.get_ylabel()


@pytest.mark.data
@needs_shared
def test_a_file_of_stable_baselines3(tmp_path):
    out = tmp_path / "out.json"
    given = ["policy", str(ZIP), "--env", "MountainCar-v0", "--radii", "0.001", "0.02", "--units", "normalised"]
    found = written(
        PolicyRecord, [*given, "--episodes", "2", "--states", "30", "--attacks", "other", "--return-seconds", "1"], out
    )
    near, far = found["radii"]
    assert near["clean_return"] > -130 and far["attacked_return"] <= near["attacked_return"] <= near["clean_return"]
    assert 1.0 >= near["actions"]["certified_ratio"] > far["actions"]["certified_ratio"]
    names = [Path(file["path"]).name for file in found["provenance"]["files"]]
    assert names[0] == "MountainCar-v0.zip" and any("vecnormalize" in note for note in found["notes"])
