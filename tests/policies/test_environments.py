"""Environments as users have them: what fits is played as it is, and one clear paragraph for everything else."""

from dataclasses import replace

import numpy as np
import pytest

import admm_verify as av
from admm_verify.errors import MissingPackageError
from admm_verify.policies.play import environments
from admm_verify.policies.play.environments import EnvironmentSource
from tests.policies.worlds import UPRIGHT, Corridor, Listed, Slider, chooser, steering

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces

SETTINGS = av.EvaluateSettings(episodes=3, states=5, attacks=("random",), certified_episodes=0)


class Spaced(Corridor):
    """A corridor that tells its spaces."""

    def __init__(self, observation=None, action=None):
        super().__init__()
        self.observation_space = observation or spaces.Box(-2, 2, (2,))
        self.action_space = action or spaces.Discrete(2)


class Broken(Corridor):
    """A corridor in which something goes wrong at the third step."""

    def __init__(self, **changes):
        super().__init__()
        self.changes = changes

    def step(self, action):
        seen, reward, over, cut, notes = super().step(action)
        if self.steps < 3:
            return seen, reward, over, cut, notes
        if "error" in self.changes:
            raise self.changes["error"]
        if "result" in self.changes:
            return self.changes["result"]
        over, cut = self.changes.get("over", over), self.changes.get("cut", cut)
        return self.changes.get("seen", seen), self.changes.get("reward", reward), over, cut, notes

    def close(self):
        if "closing" in self.changes:
            raise self.changes["closing"]


def refusal(environment, policy=UPRIGHT, radii=(0.1,), kind=av.InputError):
    with pytest.raises(kind) as found:
        av.evaluate_policy(policy, environment, radii, settings=SETTINGS)
    message = str(found.value)
    assert "\n" not in message and len(message) > 50
    return message


def test_without_gymnasium(monkeypatch):
    monkeypatch.setattr(environments, "is_installed", lambda name: name != "gymnasium")
    assert "admm-verify[rl]" in refusal("CartPole-v1", kind=MissingPackageError)
    assert av.evaluate_policy(UPRIGHT, Corridor(), [0.1], settings=SETTINGS).clean.finished.all()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CartPol-v1", ["CartPol-v1", "CartPole-v1"]),
        ("cartpole-v1", ["CartPole-v1"]),
        ("LunarLander-v2", ["LunarLander-v3", "Name that one"]),
        ("Pong-v4", ["Pong"]),
        ("ALE/Pong-v5", ["Namespace ALE not found"]),
        ("Hopper-v2", ["cannot be made", "gymnasium-robotics"]),
        ("no_such_module:Thing-v0", ["no_such_module"]),
        ("", ["cannot be made", "Malformed"]),
    ],
)
def test_names_that_gymnasium_has_not(name, words):
    message = refusal(name)
    assert all(word in message for word in words), message


def test_an_environment_whose_package_is_missing(monkeypatch):
    def make(*given, **more):
        raise gymnasium.error.DependencyNotInstalled('MuJoCo is not installed, run `pip install "gymnasium[mujoco]"`')

    monkeypatch.setattr(gymnasium, "make", make)
    assert "gymnasium[mujoco]" in refusal("Hopper-v5", kind=MissingPackageError)


@pytest.mark.parametrize(
    ("environment", "policy", "words"),
    [
        ("CartPole-v1", UPRIGHT, ["(4,)", "(2,)", "trained in"]),
        ("Pendulum-v1", chooser(np.eye(3)), ["Box", "one of 3"]),
        ("Acrobot-v1", chooser(np.eye(6)[:2]), ["3 actions", "one of 2"]),
        ("CartPole-v1", steering(np.ones((1, 4)), -1, 1), ["Discrete(2)", "gives 1 numbers"]),
        ("FrozenLake-v1", chooser(np.ones((4, 16))), ["Discrete(16)", "Embedding"]),
        (Spaced(spaces.Dict({"a": spaces.Box(0, 1, (2,))})), UPRIGHT, ["dictionaries", "FlattenObservation"]),
        (Spaced(spaces.Tuple([spaces.Box(0, 1, (2,))])), UPRIGHT, ["tuples", "FlattenObservation"]),
        (Spaced(spaces.MultiDiscrete([2, 2])), UPRIGHT, ["whole numbers"]),
        (Corridor(), replace(UPRIGHT, memory=1), ["recurrent", "remembers 1 numbers", "joined"]),
        (Spaced(spaces.Box(0, 255, (84, 84, 3), np.uint8)), UPRIGHT, ["(84, 84, 3)", "(2,)"]),
        (Spaced(action=spaces.MultiDiscrete([2, 2])), UPRIGHT, ["MultiDiscrete", "one of 2"]),
        (Spaced(action=spaces.Box(-1, 1, (2,))), steering(np.ones((1, 2)), -1, 1), ["(2,)", "gives 1 numbers"]),
        (Broken(seen=np.array([np.nan, 0.0])), UPRIGHT, ["NaN"]),
        (Broken(seen=np.array([1e300, 0.0])), UPRIGHT, ["infinite"]),
        (Broken(seen=np.zeros(3)), UPRIGHT, ["(3,)", "(2,)"]),
        (Broken(seen=["x", "y"]), UPRIGHT, ["no array of numbers"]),
        (Broken(seen={"a": 1.0}), UPRIGHT, ["dictionaries"]),
        (Broken(error=RuntimeError("the motor is on fire")), UPRIGHT, ["RuntimeError", "the motor is on fire"]),
        (Broken(error=KeyError("torque")), UPRIGHT, ["KeyError", "torque"]),
        (Broken(result=None), UPRIGHT, ["returned None", "terminated"]),
        (Broken(reward=np.nan), UPRIGHT, ["reward nan"]),
        (Broken(reward="much"), UPRIGHT, ["reward 'much'"]),
        (Broken(over=np.array([True, False])), UPRIGHT, ["True or False", "terminated"]),
        (Broken(over="no"), UPRIGHT, ["returned 'no' for terminated"]),
        (Broken(cut=np.nan), UPRIGHT, ["returned nan for truncated"]),
        (lambda: Broken(closing=OSError("no screen")), UPRIGHT, ["OSError in its close", "no screen"]),
        (iter([Corridor()]).__next__, UPRIGHT, ["StopIteration", "another one"]),
        (iter([Corridor(), 3]).__next__, UPRIGHT, ["made 3 the next time"]),
        (42, UPRIGHT, ["42", "reset and step"]),
        (lambda: 42, UPRIGHT, ["made 42"]),
        (lambda: 1 / 0, UPRIGHT, ["ZeroDivisionError"]),
    ],
)
def test_what_cannot_be_played(environment, policy, words):
    message = refusal(environment, policy)
    assert all(word in message for word in words), message


def test_steps_of_gym_without_notes_end_where_they_say():
    settings = replace(SETTINGS, episodes=1)
    found = av.evaluate_policy(UPRIGHT, Broken(result=(np.zeros(2), 1.0, np.True_, None)), [0.1], settings=settings)
    assert (found.clean.steps == 3).all() and not found.clean.limited.any()


def test_images_in_another_order():
    network = replace(chooser(np.ones((2, 6))).network, input_shape=(3, 1, 2))
    policy = av.Policy(network, av.DiscreteActions(2))
    message = refusal(Spaced(spaces.Box(0, 255, (1, 2, 3), np.uint8)), policy)
    assert "(1, 2, 3)" in message and "(3, 1, 2)" in message and "another order" in message
    assert EnvironmentSource.of(Spaced(spaces.Box(0, 255, (3, 1, 2), np.uint8)), policy).interface.shape == (3, 1, 2)


def test_policies_are_read_where_they_are_given_otherwise(tmp_path):
    layer = UPRIGHT.network.nodes[1]
    np.savez(tmp_path / "policy.npz", W0=layer.terms[0].map.weight, b0=layer.bias)
    (tmp_path / "model.json").write_text('{"output": "Q values", "activations": ["linear"]}')
    found = av.evaluate_policy(tmp_path / "policy.npz", Corridor(), [0.1], settings=SETTINGS)
    assert (found.clean.returns == 20).all() and found.discrete
    assert "nothing tells" in refusal(Corridor(), UPRIGHT.network) and "missing.zip" in refusal(
        Corridor(), "missing.zip"
    )


def test_vectors_of_environments():
    vector = gymnasium.make_vec("CartPole-v1", num_envs=2)
    assert "2 environments" in refusal(vector, chooser(np.ones((2, 4))))
    vector.close()


def test_what_gymnasium_warns_of_is_noted():
    settings = av.EvaluateSettings(episodes=1, states=2, attacks=(), certified_episodes=0)
    policy = chooser([[0, 0, -1, -1], [0, 0, 1, 1]])
    old = av.evaluate_policy(policy, "CartPole-v0", [0.1], settings=settings)
    assert old.environment == "CartPole-v0" and "out of date" in old.notes[0] and old.clean.returns.max() <= 200
    latest = av.evaluate_policy(policy, "CartPole", [0.1], settings=settings)
    assert latest.environment == "CartPole-v1" and "latest" in latest.notes[0]


@pytest.mark.parametrize("radii", [(-0.1,), (np.nan,), (), (np.inf,)])
def test_radii_that_are_none(radii):
    assert "radii" in refusal(Corridor(), radii=radii).lower()


@pytest.mark.parametrize("field", ["episodes", "steps", "states", "corners"])
def test_no_episodes_steps_or_states(field):
    with pytest.raises(av.InputError, match=f"EvaluateSettings.{field} is 0"):
        av.EvaluateSettings(**{field: 0})


def test_attacks_that_are_none():
    with pytest.raises(av.InputError, match="'laser' is unknown; choose one of random, bias"):
        av.EvaluateSettings(attacks=("random", "laser"))
    assert av.EvaluateSettings(attacks="mad").attacks == ("mad",)


@pytest.mark.parametrize("given", [Corridor(), Corridor, Listed(), lambda: Corridor(20, np.float32)], ids=range(4))
def test_environments_of_all_kinds_are_played_alike_again_and_again(given):
    first = av.evaluate_policy(UPRIGHT, given, [0.0, 0.1], settings=SETTINGS)
    again = av.evaluate_policy(UPRIGHT, given, [0.0, 0.1], settings=SETTINGS)
    assert (first.clean.returns == 20).all() and first.clean.limited.all() and not first.notes
    assert (first.clean.returns == again.clean.returns).all()
    assert (first.attacked.returns == again.attacked.returns).all()


def test_episodes_of_environments_without_seeds_differ_and_repeat():
    source = EnvironmentSource.of(Listed(), UPRIGHT)
    begun = [source.begin(e, 0)[1][0] for e in (0, 1, 2, 1, 0)]
    assert len(set(begun)) == 3 and begun[1] == begun[3] and begun[0] == begun[4]


def test_the_callers_own_environment_stays_as_it_is():
    own = Corridor()
    own.reset(seed=3)
    before = own.x, own.steps
    av.evaluate_policy(UPRIGHT, own, [0.1], settings=SETTINGS)
    assert (own.x, own.steps) == before


def test_an_environment_that_cannot_be_copied_is_played_one_episode_after_the_other():
    class Single(Corridor):
        def __deepcopy__(self, memo):
            raise TypeError("one of a kind")

    found = av.evaluate_policy(
        UPRIGHT, Single(), [0.1], settings=av.EvaluateSettings(episodes=3, attacks=("greedy", "least"))
    )
    assert found.attacks == ("least",) and "no greedy worst-case play" in found.notes[0]
    twin = av.evaluate_policy(UPRIGHT, Corridor(), [0.1], settings=av.EvaluateSettings(episodes=3, attacks=("least",)))
    assert (found.clean.returns == twin.clean.returns).all()


def test_actions_are_counted_from_where_the_space_starts_and_cut_to_its_ends():
    source = EnvironmentSource.of(Spaced(action=spaces.Discrete(2, start=3)), UPRIGHT)
    assert source.interface.action(np.int64(1)) == 4
    box = spaces.Box(-0.25, 0.5, (1, 1), np.float32)
    source = EnvironmentSource.of(Spaced(action=box), steering([[1.0, 0.0]], -1, 1))
    action = source.interface.action(np.array([2.0]))
    assert action.shape == (1, 1) and action.dtype == np.float32 and action[0, 0] == 0.5
    assert "cut to that" in source.interface.notes[0]


def test_continuous_actions_reach_the_environment():
    found = av.evaluate_policy(steering([[-0.5]], -2, 2), Slider(), [0.0], settings=SETTINGS)
    assert found.clean.returns == pytest.approx(-sum(0.25**k for k in range(1, 11)), rel=1e-6)
