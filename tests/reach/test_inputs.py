"""What callers hand to systems, requirements, simulations and sets: taken as meant, or refused in words."""

# What is handed in here is often not what is asked for.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportOptionalSubscript=false

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify import Kind
from admm_verify.network.layers import network_from_layers
from admm_verify.options import choice, member
from admm_verify.report.reach_animation import animation

EYE, ZERO = np.eye(2), np.zeros(2)


def controller(**changes: Any) -> av.Controller:
    """u = 0 of two states."""
    network = network_from_layers([np.zeros((1, 2))], [np.zeros(1)])
    given = {"network": network, "observe": EYE, "shift": ZERO, "scale": np.ones(1), "offset": np.zeros(1)}
    return av.Controller(**(given | changes))


def system(**changes: Any) -> av.LinearSystem:
    """x+ = x."""
    given = {"controller": controller(), "a": EYE, "b": np.zeros((2, 1)), "c": ZERO}
    return av.LinearSystem(**(given | changes))


def task(**changes: Any) -> av.Task:
    given = {"name": "still", "system": system(), "initial": av.Box(ZERO, np.ones(2)), "steps": 2}
    return av.Task(**(given | changes))


def outcomes(*requirements: av.Requirement) -> list[str]:
    report = av.reach_sets(task(requirements=requirements), settings=av.ReachSettings(samples=50))
    return [judgement.outcome.value for judgement in report.judgements]


INSIDE = av.Polytope.box([Fraction(-1), None], [Fraction(2), None])
"""Holds every state of the task."""


@pytest.mark.parametrize("word", ["{value}", "{name}"])
def test_kinds_are_told_by_their_words(word: str) -> None:
    """x stays in the unit box: the words decide, as the members do."""
    wanted = {
        "always_in": "verified",
        "never_in": "falsified",
        "reach_at_end": "verified",
        "reach_some_time": "verified",
    }
    assert {kind.value for kind in av.Kind} == set(wanted)
    for kind in av.Kind:
        given: Any = word.format(value=kind.value, name=kind.name)
        requirement = av.Requirement(given, INSIDE, Fraction(0), Fraction(2))
        assert requirement.kind is kind and outcomes(requirement) == [wanted[kind.value]]


@pytest.mark.parametrize(
    "kind", ["bogus", None, "", "Never_in", 1, b"never_in", ["never_in"], av.Ended.TIMED_OUT, Kind]
)
def test_other_kinds_are_refused(kind: Any) -> None:
    with pytest.raises(av.InputError, match="always_in, never_in, reach_at_end, reach_some_time"):
        av.Requirement(kind, INSIDE, Fraction(0), Fraction(2))


def test_results_know_their_words_too() -> None:
    requirement = av.Requirement(av.Kind.ALWAYS_IN, INSIDE, Fraction(0), Fraction(2))
    given: Any = "verified"
    assert av.Judgement(requirement, given, 0.0, 1).outcome is av.Answer.VERIFIED
    none, words = np.full((1, 1), None), np.array([["verified"]], dtype=object)
    found = av.Certification(np.zeros(1), words, np.ones((1, 1)), np.ones(1), none, 0.0)
    assert found.certified_accuracy == [1.0] and found.count(given) == [1]
    outcome = av.Outcome(*[given := "unsat", None, None, np.zeros(0), 0, 0.0])
    assert outcome.verdict is av.Verdict.UNSAT
    solution = av.Solution(ZERO, ZERO, EYE, (), ZERO, *[("converged", "timed-out"), 0.0, np.zeros((2, 0))])
    assert solution.status == (av.Ended.CONVERGED, av.Ended.TIMED_OUT)
    sets = av.reach_sets(task(), settings=av.ReachSettings(samples=50)).sets
    bogus: Any = "bogus"
    for make in (
        lambda: av.Judgement(requirement, bogus, 0.0, 1),
        lambda: av.Certification(np.zeros(1), np.array([[bogus]]), np.ones((1, 1)), np.ones(1), none, 0.0),
        lambda: found.count(bogus),
        lambda: av.Outcome(bogus, None, None, np.zeros(0), 0, 0.0),
        lambda: av.Solution(ZERO, ZERO, EYE, (), ZERO, (bogus, bogus), 0.0, np.zeros((2, 0))),
        lambda: av.ReachSets(**{**vars(sets), "ended": bogus}),
    ):
        with pytest.raises(av.InputError, match="'bogus' is unknown; choose one of"):
            make()


def test_words_and_members() -> None:
    assert member("NEVER_IN", "The kind", Kind) is member("never_in", "The kind", Kind) is Kind.NEVER_IN
    assert choice("a", "The letter", ("a", "b")) == "a"
    for given in ("c", None, ["a"], np.array(["a"]), ("a", "b")):
        with pytest.raises(av.InputError, match=r"letter .* is unknown; choose one of a, b"):
            choice(given, "The letter", ("a", "b"))


@pytest.mark.parametrize("limits", [[1, 1.0], (Fraction(1), Decimal("1")), np.ones(2), np.ones(2, dtype=np.float32)])
def test_polytopes_take_any_numbers(limits: Any) -> None:
    found = av.Polytope([[1, 0], [0, 2]], limits)
    assert found.limits == (1, 1) and found.normals.tolist() == [[1, 0], [0, 2]]


@pytest.mark.parametrize(
    ("normals", "limits", "message"),
    [
        ([[1, 0], [0, 1]], [1], "for 2 rows"),
        ([[1, 0]], [1, 2], "for 1 rows"),
        ([[1, 0]], 1, "for 1 rows"),
        ([[1, 0]], "1", "for 1 rows"),
        ([[1, 0]], [[1]], "limit 0"),
        ([[1, 0]], [None], "limit 0"),
        ([[1, 0]], [np.nan], "limit 0"),
        ([[1, 0]], [np.inf], "limit 0"),
        ([[1, 0]], [True], "limit 0"),
        ([[1, 0]], ["1"], "limit 0"),
        ([[1, 0]], [Decimal("1e999999999")], "limit 0"),
        ([[1, 0]], [10**400], "limit 0"),
        ([1, 0], [1], "shape"),
        ([[1], [1, 2]], [1, 1], "no array|shape"),
        ([], [], "shape"),
        (None, [], "array of real numbers"),
        ([[np.nan, 0]], [1], "NaN"),
        ([[0, 0]], [1], "row 0 of normals is zero"),
        ([[2**53 + 1, 0]], [1], "not hold exactly"),
        ([[Fraction(1, 3), 0]], [1], "array of floats"),
        ([["a", "b"]], [1], "give real numbers"),
        ([[1j, 0]], [1], "give real numbers"),
        (np.ma.masked_array([[1.0, 0.0]], mask=[[True, False]]), [1], "masked"),
    ],
)
def test_polytopes_that_are_none(normals: Any, limits: Any, message: str) -> None:
    with pytest.raises(av.InputError, match=message):
        av.Polytope(normals, limits)


def test_rows_without_a_limit_are_not_dropped() -> None:
    """x <= 1 and x >= 2 with one limit was x <= 1 alone, which is verified."""
    with pytest.raises(av.InputError, match="limits"):
        outcomes(av.Requirement(av.Kind.ALWAYS_IN, av.Polytope([[1, 0], [-1, 0]], [1]), Fraction(0), Fraction(2)))


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        *((controller, {"observe": value}) for value in (np.eye(3), ZERO, None, "x", np.full((2, 2), np.nan))),
        *((controller, {"shift": value}) for value in (np.zeros(3), np.zeros((2, 1)), 0.0, [1j, 0])),
        *((controller, {"scale": value}) for value in (np.ones(2), 1.0, [np.inf], [None])),
        *((controller, {"limits": value}) for value in ((ZERO, ZERO), ([1], [-1]), ([1],), 3, ([np.nan], [1]))),
        *((controller, {"noise": value}) for value in (av.Box(np.zeros(1), np.ones(1)), 0.1, (ZERO, ZERO))),
        *((controller, {"network": value}) for value in (None, torch.nn.Linear(2, 1), "net.onnx")),
        *((system, {"a": value}) for value in (np.eye(3), np.zeros((2, 3)), None, [[1, 0], [0, np.nan]])),
        *((system, {"b": value}) for value in (np.zeros(2), np.zeros((1, 2)))),
        (system, {"e": EYE}),
        (system, {"e": np.eye(3), "noise": av.Box(np.zeros(3), np.zeros(3))}),
        (system, {"e": EYE, "noise": av.Box(np.zeros(3), np.zeros(3))}),
        (system, {"noise": av.Box(ZERO, ZERO)}),
        (system, {"controller": None}),
        (system, {"residual": controller().network}),
        (system, {"residual": lambda x: x}),
        *((task, {"steps": value}) for value in (0, -1, 2.5, np.nan, None, "2", True, 10**9)),
        *(
            (task, {"initial": value})
            for value in (av.Box(np.zeros(3), np.ones(3)), av.Box(EYE, EYE), (ZERO, ZERO), None)
        ),
        *((task, {"requirements": value}) for value in (INSIDE, [INSIDE], "always_in", [None])),
        *((task, {"names": value}) for value in (("x",), "xy", (1, 2), 3)),
        *((task, {"sampled": value}) for value in ((ZERO, ZERO), (np.zeros((9, 2)), np.zeros((9, 2))), 1, (EYE,))),
        *((task, {"exact": value}) for value in (((None, 0), (1, 1)),)),
        *((task, {"system": value}) for value in (None, controller(), lambda x: x)),
        (task, {"name": 1}),
        (task, {"remarks": "one"}),
    ],
)
def test_records_check_what_they_are_given(make: Any, changes: Any) -> None:
    with pytest.raises(av.InputError) as caught:
        make(**changes)
    assert "\n\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("first", "last"), [(-1, 2), (2, 1), (np.nan, 2), (0, np.inf), (None, 2), ("0", 2), (0, True), (1.2, 1.8)]
)
def test_times_that_are_none(first: Any, last: Any) -> None:
    with pytest.raises(av.InputError):
        task(requirements=[av.Requirement(av.Kind.ALWAYS_IN, INSIDE, first, last)])


def test_what_is_changed_afterwards_changes_nothing() -> None:
    a, low, normals = np.eye(2), np.zeros(2), np.array([[1.0, 0.0]])
    kept = task(system=system(a=a), initial=av.Box(low, np.ones(2)))
    region = av.Polytope(normals, [1])
    a[0, 0], low[0], normals[0, 0] = 5.0, -7.0, 9.0
    assert kept.system.a[0, 0] == 1 and kept.initial.lower[0] == 0 and region.normals[0, 0] == 1
    for array in (kept.system.a, kept.initial.lower, kept.initial.upper, region.normals):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 3.0


@pytest.mark.parametrize("continuous", [False, True])
def test_simulations_start_from_any_numbers(continuous: bool) -> None:
    plant = av.Plant.read(["0*u1", "0*u1"], 1)
    still: Any = av.ContinuousSystem(controller(), plant, 0.5) if continuous else system()
    tensor = torch.ones(1, 2, requires_grad=True)
    for start in ([[1, 1]], [1, 1], np.ones((1, 2), dtype=np.float32), tensor, tensor.detach().bfloat16()):
        found = av.simulate(still, start, 3)
        assert found.shape == (1, 4, 2) and (found == 1).all()
    assert av.simulate(still, np.ones((4, 2)), 1).shape == (4, 2, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            (start, 2)
            for start in (
                [1],
                [[1, 2, 3]],
                [[[1, 1]]],
                [[np.nan, 1]],
                "11",
                None,
                1.0,
                [["a", 1]],
                {},
                np.zeros((0, 2)),
            )
        ),
        *(([1, 1], steps) for steps in (0, -1, 1.5, np.nan, "2", None, True)),
        *(([1, 1], 2, rng) for rng in (0, "seed", np.random)),
        *(([1, 1], 2, None, substeps) for substeps in (0, -1, 0.5, None)),
    ],
)
def test_simulations_that_are_none(arguments: Any) -> None:
    with pytest.raises(av.InputError):
        av.simulate(system(), *arguments)
    with pytest.raises(av.InputError):
        av.simulate(None, *arguments)


@pytest.mark.parametrize(
    "options",
    [
        *(
            {"directions": value}
            for value in ("hexagon", None, True, 2.5, -1, 10**9, [1, 0], [[np.nan, 0]], [["a", "b"]])
        ),
        *({"settings": value} for value in ({}, "crown", av.SolverSettings())),
        *({"timeout": value} for value in (-1, np.nan, "1", True, [1])),
        *({"run": value} for value in (1, "yes", {})),
    ],
)
def test_sets_that_cannot_be_asked_for(options: Any) -> None:
    with pytest.raises(av.InputError, match=r"give|choose"):
        av.reach_sets(task(), **options)


@pytest.mark.parametrize(
    "settings",
    [
        *({name: value} for name in ("method", "cell_method") for value in ("bogus", None, 1, "CROWN")),
        *(
            {name: value}
            for name in ("grid", "cells", "batch", "samples", "window")
            for value in (0, -1, 1.5, "1", True)
        ),
        *({name: -1} for name in ("iterations", "cell_iterations")),
        *({name: value} for name in ("tolerance",) for value in (0, -1, np.nan, "1", True)),
        {"tighten": 8},
        {"window": 1, "tolerance": 0.1},
    ],
)
def test_settings_that_are_none(settings: Any) -> None:
    with pytest.raises(av.InputError, match=r"give|leave|choose"):
        av.ReachSettings(**settings)


def test_a_grid_of_too_many_cells_is_refused() -> None:
    with pytest.raises(av.InputError, match="makes 100000000 cells"):
        av.reach_sets(task(), settings=av.ReachSettings(grid=10_000, samples=10))


def test_sets_are_asked_for_steps_that_there_are() -> None:
    sets = av.reach_sets(task(), [[1, 0], [0, 1], [-1, 0], [0, -1]], settings=av.ReachSettings(samples=10)).sets
    assert (sets.box(2)[1] >= 1).all() and (sets.box(2)[1] <= 1.0001).all()
    for step in (3, -1, 0.5, None, "1"):
        bad: Any = step
        with pytest.raises(av.InputError, match="The step is"):
            sets.box(bad)
        with pytest.raises(av.InputError, match="The step is"):
            sets.cell_boxes(bad)


def test_pictures_of_other_things_are_refused(tmp_path) -> None:
    own = task(requirements=[av.Requirement(av.Kind.ALWAYS_IN, INSIDE, 0, 2)])
    sets, judgements = (report := av.reach_sets(own, settings=av.ReachSettings(samples=10))).sets, report.judgements
    longer, path = task(steps=3), str(tmp_path / "a.png")
    bad: Any
    for bad in (
        *((path, own, sets, judgements, axes) for axes in ((0, 0), (0, 2), (-1, 0), (0,), ("x1", "x2"), "01", 1, None)),
        *((name, own, sets, judgements) for name in ("a.txt", "a", 3, None, str(tmp_path))),
        (path, longer, sets, judgements),
        (path, sets, own, judgements),
        (path, own, sets, [own]),
        (path, own, sets, None),
        (path, None, sets, judgements),
    ):
        with pytest.raises(av.InputError):
            av.tube_plot(*bad)
        with pytest.raises(av.InputError):
            av.time_plot(*(bad[:4] if len(bad) < 5 else (3, *bad[1:4])))
    for bad in (
        (path, own, sets),
        (str(tmp_path / "a.gif"), longer, sets),
        (str(tmp_path / "a.gif"), own, sets, (0, 5)),
    ):
        with pytest.raises(av.InputError):
            animation(*bad)
    assert not list(tmp_path.iterdir())


def test_long_horizons_are_refused_or_stop(tmp_path) -> None:
    """Simulations ask the clock, and stay within memory."""
    plant = av.Plant.read(["0*u1", "0*u1"], 1)
    still = task(system=av.ContinuousSystem(controller(), plant, 0.5), steps=20_000)
    asked: list[None] = []
    sets = av.reach_sets(still, run=av.Run(stop=lambda: asked.append(None) or True)).sets
    assert sets.ended is av.Ended.STOPPED and sets.valid_steps == 0 and len(asked) < 10
    assert sets.samples.size <= 2**25 + 2 * len(sets.samples) and np.isnan(sets.samples[:, 1:]).all()
    with pytest.raises(av.InputError, match="too long for one graph; give at most 1448 steps"):
        av.reach_sets(task(steps=2000))
    few = av.reach_sets(task(), settings=av.ReachSettings(samples=2000), run=av.Run(stop=lambda: True)).sets
    assert len(few.samples) == 500


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds a CUDA device")
def test_a_device_that_is_missing_is_named_before_any_work() -> None:
    told: list[av.Progress] = []
    plant = av.Plant.read(["0*u1", "0*u1"], 1)
    for given in (task(), task(system=av.ContinuousSystem(controller(), plant, 0.5))):
        with pytest.raises(av.DeviceError, match="finds 0 CUDA"):
            av.reach_sets(given, run=av.Run(device="cuda", tell=told.append))
    assert not told
