"""Requirements and systems that invite wrong verdicts."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Answer


def verdicts(folder: Path, data: dict[str, Any], weight: float = 0.0) -> list[Answer]:
    """Of a system with one input, weight x1, unless the file says otherwise."""
    states = len(data["initial_set"]["lower"])
    np.savez(folder / "net.npz", W0=np.eye(1, states) * weight, b0=np.zeros(1))
    data = {"controller": {"npz": "net.npz", "activations": ["linear"]}, "horizon_steps": 4, "control_period": 1} | data
    (folder / "system.json").write_text(json.dumps(data))
    task = av.read_task(folder / "system.json")
    report = av.reach_sets(task, settings=av.ReachSettings(samples=200, cells=32))
    return [judgement.outcome for judgement in report.judgements]


def continuous(equation: str, low: float, high: float, *properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "dynamics": {"kind": "continuous", "equations": [equation]},
        "initial_set": {"lower": [low], "upper": [high]},
        "property": list(properties),
    }


def discrete(factor: float, low: float, high: float, *properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "dynamics": {"kind": "discrete_linear", "A": [[factor]], "B": [[0]]},
        "initial_set": {"lower": [low], "upper": [high]},
        "property": list(properties),
    }


def boxed(low: list[float | None], high: list[float | None]) -> dict[str, Any]:
    return {"kind": "always_in", "box": {"lower": low, "upper": high}}


def inside(kind: str, low: float | None, high: float | None, *times: float) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": kind, "box": {"lower": [low], "upper": [high]}}
    return found | dict(zip(("t_from", "t_to"), times, strict=False))


def test_a_time_after_the_window_does_not_count(tmp_path) -> None:
    data = continuous("1 + 0*u1", 0, 0.01, inside("reach_some_time", 0.9, 1.1, 0, 0.5))
    assert verdicts(tmp_path, data) == [Answer.UNKNOWN]


def test_windows_between_control_times(tmp_path) -> None:
    """x = t."""
    data = continuous(
        "1 + 0*u1",
        0,
        0,
        inside("always_in", 1.1, 1.9, 1.2, 1.8),
        inside("always_in", 0.9, 2.1, 1.2, 1.8),
        inside("never_in", 1.4, 1.6, 1.2, 1.8),
        inside("reach_some_time", 1.4, 1.6, 1.2, 1.8),
    )
    found = verdicts(tmp_path, data)
    # Whole periods are looked at, so the narrow box cannot be shown.
    assert found[0] is Answer.UNKNOWN and found[1] is Answer.VERIFIED
    assert found[2] is not Answer.VERIFIED and found[3] is not Answer.FALSIFIED


@pytest.mark.parametrize("make", [discrete, continuous])
def test_nothing_is_said_of_times_behind_the_horizon(tmp_path, make) -> None:
    motion = 2.0 if make is discrete else "x1 + 0*u1"
    data = make(
        motion,
        1,
        1,
        inside("always_in", -1, 1e6, 0, 9),
        inside("never_in", 1e6, 2e6, 0, 9),
        inside("reach_at_end", 0, 1e9, 0, 9),
        inside("reach_some_time", 1e6, 2e6, 0, 9),
        inside("always_in", 5, 6, 7, 8),
        inside("always_in", -1, 3, 0, 9),
    )
    assert verdicts(tmp_path, data) == [Answer.UNKNOWN] * 5 + [Answer.FALSIFIED]


def test_a_shorter_horizon_changes_no_meaning(tmp_path, capsys) -> None:
    data = discrete(2.0, 1, 1, inside("always_in", 0, 100), inside("reach_at_end", 1000, 2000)) | {"horizon_steps": 10}
    assert verdicts(tmp_path, data) == [Answer.FALSIFIED, Answer.VERIFIED]
    from admm_verify.cli import main

    assert main(["reach", str(tmp_path / "system.json"), "--steps", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert [line.split(":")[0] for line in lines[::2]] == ["unknown"] * 2
    assert lines[1::2] == ["  It is about times up to step 10, and the horizon ends at step 3: give a longer one."] * 2


@pytest.mark.parametrize("make", [discrete, continuous])
@pytest.mark.parametrize(("low", "high"), [(-0.3, 0.3), (0.1, 0.2), (0.7, 0.7)])
def test_decimals_are_exact(tmp_path, make, low, high) -> None:
    """The set itself is kept, and no float just outside it starts a violation."""
    data = make(1.0 if make is discrete else "0*u1", low, high, inside("always_in", low, high))
    assert Answer.FALSIFIED not in verdicts(tmp_path, data)
    data = make(1.0 if make is discrete else "0*u1", low, high, inside("never_in", high + 1e-16, 5))
    if Fraction(str(high + 1e-16)) > Fraction(str(high)):
        assert Answer.FALSIFIED not in verdicts(tmp_path, data)


def test_rounding_falsifies_nothing(tmp_path) -> None:
    """x2 is (1e16 + 1) - 1e16 = 1, which floats make 0."""
    data = {
        "dynamics": {"kind": "discrete_linear", "A": [[1, 1], [1, 0]], "B": [[0], [0]], "c": [0, -1e16]},
        "initial_set": {"lower": [1e16, 1], "upper": [1e16, 1]},
        "horizon_steps": 2,
        "property": [{"kind": "reach_at_end", "box": {"lower": [None, 0.5], "upper": [None, None]}}],
    }
    assert verdicts(tmp_path, data)[0] is not Answer.FALSIFIED


def test_a_simulation_alone_falsifies_nothing(tmp_path) -> None:
    """exp(-3) = 0.0497871 is inside; Runge-Kutta's 0.0498 is not."""
    data = continuous("-3*x1 + 0*u1", 1, 1, inside("reach_some_time", None, 0.0497935, 1, 1))
    assert verdicts(tmp_path, data)[0] is not Answer.FALSIFIED


@pytest.mark.parametrize(("low", "high", "least"), [(-1, -1e-20, None), (-0.3, 1e9, -0.3)])
def test_halving_leaves_no_cell(tmp_path, low, high, least) -> None:
    given = inside("always_in", least, None if least is not None else -5e-21, 0, 0)
    data = continuous("0*u1", low, high, given)
    found = verdicts(tmp_path, data)
    assert found[0] is not Answer.FALSIFIED or (least is None and high > -5e-21)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"property": [{"kind": "always_in", "box": {"lower": [None, -1], "upper": [None, 1]}}]},
            "2 ends for 1 states",
        ),
        ({"property": [{"kind": "always_in", "box": {"lower": [-1, -1], "upper": [1]}}]}, "2 lower and 1 upper"),
        ({"property": [inside("always_in", 2, 1)]}, "is empty"),
        ({"property": [inside("always_in", 0, 1, 3, 2)]}, "0 <= first <= last"),
        ({"property": [inside("always_in", 0, 1, -1, 2)]}, "0 <= first <= last"),
        ({"property": [inside("always_in", 0, 1, 1.2, 1.8)]}, "No step is between"),
        ({"property": [{"kind": "always_le", "expr": "x1*1.0000000000000000001 - 1"}]}, "too many digits"),
        ({"property": [{"kind": "always_le", "expr": "x1 - x1"}]}, "names no state"),
        ({"horizon_steps": 2.7}, "whole number"),
        ({"horizon_steps": 0}, "whole number >= 1"),
        (
            {"dynamics": {"kind": "network"}, "controller": {"npz": "net.npz", "clip": [[-1, 1]]}},
            "'controller.clip' is not read here",
        ),
        (
            {"dynamics": {"kind": "continuous", "equations": ["u1"], "process_noise": {"lower": [-5], "upper": [5]}}},
            "'dynamics.process_noise' is not read here",
        ),
    ],
)
def test_what_nobody_would_read_is_refused(tmp_path, change, message) -> None:
    with pytest.raises(av.InputError, match=message):
        verdicts(tmp_path, discrete(1.0, 0, 1) | change)


@pytest.mark.parametrize(
    "equation", ["x1/0 + u1", "1/0 + u1", "0/0 + u1", "1e400*x1 + u1", "sqrt(0-1) + u1", "exp(1000) + u1"]
)
def test_plants_without_numbers_prove_nothing(tmp_path, equation) -> None:
    data = continuous(equation, 1, 1, inside("always_in", -9, 9), inside("always_in", None, None))
    try:
        assert Answer.VERIFIED not in verdicts(tmp_path, data)
    except av.InputError as error:
        assert "zero" in str(error) or "too large" in str(error)


@pytest.mark.parametrize("make", [discrete, continuous])
def test_huge_boxes(tmp_path, make) -> None:
    data = make(1.0 if make is discrete else "0*u1", -1e308, 1e308, inside("always_in", -1, 1))
    assert verdicts(tmp_path, data)[0] is not Answer.VERIFIED


def test_a_replaced_box_is_the_box(tmp_path) -> None:
    """Exact ends go with the box that they were rounded from, and with no other."""
    verdicts(tmp_path, discrete(1.0, 0.1, 0.3))
    task = av.read_task(tmp_path / "system.json")
    assert task.box.range == ((Fraction(1, 10),), (Fraction(3, 10),))
    other = replace(task, initial=av.Box(np.array([1.0]), np.array([2.0])))
    assert other.box.range == ((Fraction(1),), (Fraction(2),)) and other.box.inside.upper[0] == 2.0
