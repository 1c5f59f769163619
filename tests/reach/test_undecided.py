"""What cannot be decided ends at once, and everything that is not says why."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Answer, Ended
from admm_verify.cli import main
from admm_verify.reach.singular import singular_start
from tests.clocks import ticking
from tests.reach.tasks import INTEGRATOR, PENDULUM, write

DECIDED = Answer.VERIFIED, Answer.FALSIFIED


def judged(folder: Path, data: dict[str, Any], **settings: Any) -> list[av.Judgement]:
    task = av.read_task(write(folder, data))
    report = av.reach_sets(task, settings=av.ReachSettings(**({"samples": 200, "cells": 20_000} | settings)))
    for one in report.judgements:
        assert (one.outcome in DECIDED) == (not one.reason)
    return list(report.judgements)


def plant(first: str, second: str = "u1", low=(0.3, -0.1), high=(0.4, 0.1), **more: Any) -> dict[str, Any]:
    dynamics = {"kind": "continuous", "equations": [first, second]}
    wide = {"kind": "always_in", "box": {"lower": [-99, -99], "upper": [99, 99]}}
    start = {"initial_set": {"lower": list(low), "upper": list(high)}, "property": [wide]}
    return PENDULUM | {"dynamics": dynamics} | start | more


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        ("1/x2", "equation 1 divides by 0 for first states near"),
        ("x2/(x1 - 0.33)**2", "divides by 0 for first states near (0.33"),
        ("x2/(1 + x2*1e-9 - 1)", "divides by 0"),
        ("1/x2**2*0", "divides by 0"),
        ("sqrt(x2)", "square root of a negative number for first states near"),
        ("tan(x1*pi/0.7)*0", "tangent of an odd multiple of pi/2 for first states near (0.35"),
        ("(x1 - 0.35)**-2", "divides by 0 for first states near (0.35"),
        ("1/u1*0 + 1/(x1 - 0.35)", "divides by 0"),
    ],
)
def test_a_plant_that_is_not_defined_everywhere_at_first(tmp_path, rate, words) -> None:
    (one,) = judged(tmp_path, plant(rate))
    assert one.outcome is Answer.UNKNOWN and words in one.reason and one.parts == 1


def test_a_plant_that_is_defined_where_intervals_do_not_show_it() -> None:
    box = av.Box(np.array([0.3, -0.1]), np.array([0.4, 0.1]))
    for rate in ("x2/(x1*x1 - x1 + 0.26)", "sqrt(x1 - x1*x1 - x1 + 0.17)", "x1/(x2**2 + 1e-6)"):
        assert singular_start(av.Plant.read([rate, "0*u1"], 1), box, av.Run()) == ""
    touching = av.Plant.read(["x1/(x1*x1 - 0.7*x1 + 0.1225)", "0*u1"], 1)
    assert "near (0.35" in singular_start(touching, box, av.Run())


@pytest.mark.slow
def test_a_plant_that_ends_on_the_way(tmp_path) -> None:
    early = {"kind": "always_in", "box": {"lower": [-99, -99], "upper": [99, 99]}, "t_to": 0.3}
    for rate, words in (("1/x2", "meets a division by 0"), ("sqrt(x2)", "after step 5")):
        data = plant(rate, "0*u1 - 1", (0.3, 0.5), (0.4, 0.6), horizon_steps=8)
        late, soon = judged(tmp_path, data | {"property": [*data["property"], early]})
        assert late.outcome is Answer.UNKNOWN and words in late.reason and late.parts < 10
        assert soon.outcome is Answer.VERIFIED
    (one,) = judged(tmp_path, plant("20*x1**3 + 0*u1", "-x2", (0.9, 0.5), (1.4, 0.6)))
    assert "not finite, or the plant not defined" in one.reason and one.parts < 10


@pytest.mark.parametrize("data", [INTEGRATOR, PENDULUM], ids=["discrete", "continuous"])
def test_times_behind_the_horizon(tmp_path, data) -> None:
    behind = 20 if data is INTEGRATOR else 2
    inner, far, wide = ({"lower": [low] * 2, "upper": [high] * 2} for low, high in ((-0.2, 0.2), (3, 4), (-9, 9)))
    asked = [("always_in", wide), ("never_in", wide), ("reach_some_time", far), ("reach_some_time", wide)]
    asked += [("always_in", inner)]
    found = judged(tmp_path, data | {"property": [{"kind": kind, "box": box, "t_to": behind} for kind, box in asked]})
    unknown, true, false = Answer.UNKNOWN, Answer.VERIFIED, Answer.FALSIFIED
    assert [one.outcome for one in found] == [unknown, false, unknown, true, false]
    assert all("step 20, and the horizon ends at step" in found[i].reason for i in (0, 2))
    assert found[2].reason.startswith("From (") and found[0].parts == 1


def test_every_trajectory_has_a_time_of_its_own(tmp_path) -> None:
    """x+ = x + 1, into an interval that is met at step 2 or at step 3, or between the two."""
    np.savez(tmp_path / "net.npz", W0=np.zeros((1, 1)), b0=np.zeros(1))
    data = {
        "controller": {"npz": "net.npz", "activations": ["linear"]},
        "dynamics": {"kind": "discrete_linear", "A": [[1]], "B": [[0]], "c": [1]},
        "initial_set": {"lower": [0], "upper": [1]},
        "horizon_steps": 4,
        "property": [
            {"kind": "reach_some_time", "box": {"lower": [2.4], "upper": [3.45]}},
            {"kind": "reach_some_time", "box": {"lower": [2.4], "upper": [3.3]}},
            {"kind": "reach_some_time", "box": {"lower": [2.4], "upper": [3.4]}},
        ],
    }
    (tmp_path / "system.json").write_text(json.dumps(data))
    report = av.reach_sets(av.read_task(tmp_path / "system.json"), settings=av.ReachSettings(samples=50, cells=64))
    first, second, touching = report.judgements
    assert first.outcome is Answer.VERIFIED and first.parts > 1
    assert second.outcome is Answer.FALSIFIED and second.trajectory is not None
    assert 0.3 < second.trajectory[0, 0] < 0.4
    # In exact numbers it holds: 2.4 itself is met.
    assert touching.outcome is not Answer.FALSIFIED and (touching.outcome is Answer.VERIFIED or touching.reason)


def test_the_end_of_cells_and_of_the_time_are_reasons(tmp_path, capsys) -> None:
    hard = {"kind": "never_in", "box": {"lower": [None, 0.1], "upper": [None, 9]}, "t_from": 0.1}
    data = PENDULUM | {"initial_set": {"lower": [-1, -1], "upper": [1, 0.0]}, "property": [hard]}
    path = write(tmp_path, data)
    assert main(["reach", str(path), "--cells", "2", "--json", str(tmp_path / "found.json")]) == 0
    out, (entry,) = capsys.readouterr().out, json.loads((tmp_path / "found.json").read_text())["requirements"]
    assert entry["verdict"] != "unknown" or (entry["reason"] and f"  {entry['reason']}" in out.splitlines())
    with ticking():
        late = av.reach_sets(av.read_task(path), timeout=2, settings=av.ReachSettings(samples=50)).judgements[0]
    assert late.outcome is Answer.TIMED_OUT and late.reason.startswith("The time was up.")
    stopped = av.reach_sets(av.read_task(path), run=av.Run(stop=lambda: True)).judgements[0]
    assert stopped.reason.startswith("The run was stopped.")


def test_a_grid_that_takes_too_long_leaves_what_the_whole_box_gave(tmp_path) -> None:
    task = replace(av.read_task(write(tmp_path, INTEGRATOR)), steps=6)
    few = av.ReachSettings(method="crown", iterations=0, samples=50)
    whole = av.reach_sets(task, settings=few).sets
    with ticking():
        cut = av.reach_sets(task, timeout=3_000, settings=replace(few, grid=20, batch=8)).sets
    assert cut.ended is Ended.TIMED_OUT and len(cut.cells_lower) == 400
    assert (cut.upper <= whole.upper * (1 + 1e-9) + 1e-9).all()


def test_long_horizons_have_sets_as_far_as_time_goes(tmp_path) -> None:
    task = replace(av.read_task(write(tmp_path, INTEGRATOR)), steps=300)
    with ticking() as clock:
        sets = av.reach_sets(task, timeout=100, settings=av.ReachSettings(samples=50)).sets
    assert sets.ended is Ended.TIMED_OUT and 20 < sets.valid_steps < 300 and clock.looks < 500
    assert (sets.inner[: sets.valid_steps] <= sets.upper[: sets.valid_steps]).all()
