"""Refinement at the root: what holds somewhere is never excluded, and searches get shorter."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Box, Network, Query, RefineSettings, Run, SearchSettings, preactivation_bounds
from admm_verify.arrays import to_numpy
from admm_verify.attacks.gradient import value_and_gradient
from admm_verify.bounds.conditional import ConditionalBounds
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.complete import decide
from admm_verify.complete.checkpoint import Checkpoint
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.neuron_split import Branches, NeuronSplitter
from admm_verify.complete.refine import Refined, refined
from admm_verify.complete.splitter import Grown
from admm_verify.properties.property import Disjunct
from admm_verify.properties.rows import AtomRows, atom_rows
from tests.complete.networks import FAMILIES, MIXED, box_for, flat_box, network_of
from tests.complete.queries import at_most, box_of, confirmed, decided, query_of
from tests.complete.truth import Drawn
from tests.reference.attack import box_points
from tests.reference.pieces import ExactPieces
from tests.seeds import seeds
from tests.shared import SHARED, needs_shared

THOROUGH = SearchSettings(
    input_sides=0, refinement=RefineSettings(rounds=6, nodes=1e6, least_gain=0.0, iterations=5, root_iterations=40)
)
REAL = ("img2578", "img8095", "256x2/prop_10", "256x2/prop_13", "256x4/prop_10")
GAINING = REAL[:3]
UNSAFE = 1e-4
ALWAYS = SearchSettings(input_sides=0, refinement=RefineSettings(least_gain=-1.0))
"""Rounds that gain nothing count too."""


def goals_of(box: Box, objective: np.ndarray, offset: np.ndarray) -> Disjuncts:
    """One disjunct for each [disjuncts, atoms, outputs], all over one box."""
    disjuncts, atoms = offset.shape
    inputs = box.mapped(lambda end: np.tile(np.reshape(end, -1), (disjuncts, 1)))
    flags, own = np.zeros((disjuncts, atoms), dtype=bool), np.arange(disjuncts)
    row = np.arange(disjuncts * atoms).reshape(disjuncts, atoms)
    return Disjuncts(inputs, objective, offset, flags, ~flags, row, own, np.full(disjuncts, atoms))


def left_of(network: Network, disjuncts: Disjuncts, settings: SearchSettings = THOROUGH) -> Refined | None:
    whole = preactivation_bounds(network, disjuncts.inputs.at(slice(1)), "tightened")
    spread = [tuple(np.repeat(end, len(disjuncts), axis=0) for end in side) for side in (whole.lower, whole.upper)]
    return refined(network, disjuncts, PreactivationBounds(*spread), settings, Run())


def sources(network: Network) -> list[int]:
    return list(network.sources)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", seeds(8, 20))
def test_what_a_point_meets_is_never_excluded(family: str, seed: int) -> None:
    """Disjuncts whose atoms are below zero by a little at the least of many points, where they are all met."""
    rng = np.random.default_rng([seed, 9])
    kinds = {} if seed % 3 else {"kinds": MIXED}
    network = network_of(family, rng, **kinds)
    box = flat_box(box_for(network, rng))
    points = box_points(box, 400, seed)
    values = network.evaluate(points)
    objective = rng.standard_normal((4, 2, network.output_size))
    least = (objective[:, 0] @ values[-1].T).argmin(axis=1)
    offset = -np.einsum("gao,go->ga", objective, values[-1][least]) - UNSAFE
    left = left_of(network, goals_of(box, objective, offset))
    if left is None:
        return
    assert list(left.disjuncts.number) == [0, 1, 2, 3] and not left.bounds.empty.any()
    for disjunct in range(4):
        met = (values[-1] @ objective[disjunct].T + offset[disjunct] <= 0).all(axis=1)
        assert met.any()
        for k, source in enumerate(sources(network)):
            pre = values[source][met]
            slack = 1e-12 * (1 + np.abs(pre))
            assert (left.bounds.lower[k][disjunct] <= pre + slack).all()
            assert (left.bounds.upper[k][disjunct] >= pre - slack).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", seeds(3, 15))
def test_no_answer_is_wrong(family: str, seed: int) -> None:
    for one in list(Drawn.of(family, seed).queries())[seed % 3 :: 3]:
        outcome = decided(one.query, THOROUGH)
        assert outcome.verdict.value == one.answer, one.label
        assert outcome.verdict is not av.Verdict.SAT or confirmed(one.query, outcome), one.label


@pytest.mark.parametrize("seed", range(20))
def test_bounds_hold_at_the_exact_minimum(seed: int) -> None:
    """The minimiser meets the atom at its own value exactly, and nothing else of the box may."""
    drawn = Drawn.of("dense", seed)
    least = drawn.least
    offset = np.nextafter(-float(least.value), -np.inf)
    left = left_of(drawn.network, goals_of(least.box, least.objective[None, None], np.array([[offset]])))
    if left is None:
        return
    assert len(left.disjuncts) == 1
    values = ExactPieces(drawn.network).values(np.reshape(least.x, -1))
    for k, source in enumerate(sources(drawn.network)):
        for low, value, high in zip(left.bounds.lower[k][0], values[source], left.bounds.upper[k][0], strict=True):
            assert Fraction(low) <= value <= Fraction(high)


@cache
def searched() -> Query:
    """A query that some hundred parts exclude."""
    rng = np.random.default_rng([7, 3])
    network = network_of("dense", rng, kinds=("relu",), wide=20)
    box = flat_box(box_for(network, rng, 5))
    points = np.random.default_rng(0).uniform(box.lower, box.upper, (20000, network.input_size))
    level = 1.05 * network.evaluate(points)[-1][:, 0].min() - 0.01
    return query_of(network, [Disjunct(box_of(box.lower, box.upper), (at_most([1.0, 0.0], 0, level),))])


@cache
def real(name: str) -> tuple[Query, AtomRows]:
    folder = SHARED / "data"
    with open(folder / "instances.csv", newline="", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if name in row["id"] and row["category"].startswith("vnncomp"))
    found = av.read_query(folder / row["spec"], folder / row["model"])
    return found, atom_rows(found.property)


def low_points(network: Network, rows: AtomRows, objective: np.ndarray) -> np.ndarray:
    """Points of the box where each row is small, by signed gradients."""
    low, high = rows.boxes.at(slice(1)).range
    points = np.repeat((low + high) / 2, len(objective), axis=0)
    for step in range(20):
        _, gradient = value_and_gradient(network, points, objective)
        points = np.clip(points - 0.2 * 0.9**step * (high - low) * np.sign(to_numpy(gradient)), low, high)
    return points


@pytest.mark.data
@needs_shared
@pytest.mark.parametrize("name", REAL)
def test_a_point_that_is_unsafe_by_little_is_never_excluded(name: str) -> None:
    found, rows = real(name)
    # Four classes each: 20 specifications.
    objective = rows.objective[:: max(1, len(rows.objective) // 4)][:4].astype(np.float64)
    network = found.network.put(decide.Placement.numpy())
    points = low_points(network, rows, objective)
    values = network.evaluate(points)
    offset = -(objective * values[-1]).sum(axis=1) - UNSAFE
    disjuncts = goals_of(rows.boxes.at(0), objective[:, None], offset[:, None])
    how = replace(THOROUGH, refinement=replace(THOROUGH.refinement, nodes=300.0, rounds=3))
    left = left_of(found.network, disjuncts, how)
    assert len(disjuncts) == 4 and (left is not None or name not in GAINING)
    if left is None:
        return
    assert list(left.disjuncts.number) == [0, 1, 2, 3]
    for disjunct in range(4):
        for k, source in enumerate(sources(network)):
            pre = values[source][disjunct]
            slack = 1e-9 * (1 + np.abs(pre))
            assert (left.bounds.lower[k][disjunct] <= pre + slack).all()
            assert (left.bounds.upper[k][disjunct] >= pre - slack).all()


@pytest.mark.data
@needs_shared
def test_refinement_proves_and_shortens_searches() -> None:
    found, _ = real("img8095")
    outcome = av.verify(found)
    assert outcome.verdict is av.Verdict.UNSAT and outcome.subproblems == 0
    found, _ = real("img8717")
    plain = decided(found, SearchSettings(refinement=RefineSettings(rounds=0)))
    shorter = av.verify(found)
    assert plain.verdict is shorter.verdict is av.Verdict.UNSAT
    assert 0 < shorter.subproblems < 0.85 * plain.subproblems


def test_a_conditional_search_goes_on_from_its_file(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "search.npz"
    read: list[ConditionalBounds | None] = []
    original = Checkpoint.read

    def noted(self: Checkpoint, kind: type) -> object:
        saved = original(self, kind)
        if saved is not None:
            read.append(saved.conditional)
        return saved

    monkeypatch.setattr(Checkpoint, "read", noted)
    hard = searched()
    whole = decided(hard, ALWAYS)
    part = av.verify(hard, settings=av.VerifySettings(max_subproblems=40, checkpoint=path, search=ALWAYS))
    assert part.verdict is av.Verdict.UNKNOWN and path.exists()
    rest = av.verify(hard, settings=av.VerifySettings(checkpoint=path, search=ALWAYS))
    assert whole.verdict is rest.verdict is av.Verdict.UNSAT
    assert part.subproblems < rest.subproblems <= 2 * whole.subproblems
    assert isinstance(read[0], ConditionalBounds)


def test_what_conditional_bounds_leave_is_searched_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = []

    class Unsplittable(NeuronSplitter):
        """Gives up at once where bounds are conditional."""

        def __init__(self, network, disjuncts, boxes, pre, *rest) -> None:
            super().__init__(network, disjuncts, boxes, pre, *rest)
            self.conditional = isinstance(pre, ConditionalBounds)
            kinds.append(self.conditional)

        def root(self) -> Grown[Branches]:
            grown = super().root()
            still = np.zeros_like(grown.open.choice) if self.conditional else grown.open.choice
            return replace(grown, open=replace(grown.open, choice=still))

    monkeypatch.setattr(decide, "NeuronSplitter", Unsplittable)
    outcome = decided(searched(), ALWAYS)
    assert outcome.verdict is av.Verdict.UNSAT and kinds == [True, False]


def test_a_certificate_knows_of_no_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = decide.refined

    def noted(*arguments) -> Refined | None:
        asked.append(original(*arguments))
        return asked[-1]

    monkeypatch.setattr(decide, "refined", noted)
    outcome = av.verify(searched(), settings=av.VerifySettings(certificate=True, search=ALWAYS))
    assert outcome.certificate is not None and asked == [None]


def stopping_after(count: int) -> Iterator[bool]:
    yield from [False] * count
    while True:
        yield True


@pytest.mark.parametrize("count", [0, 1, 30, 60, 100])
def test_stopped_it_keeps_what_holds(count: int) -> None:
    drawn = Drawn.of("dense", 3)
    least = drawn.least
    offset = np.array([[-float(least.value) - UNSAFE]])
    disjuncts = goals_of(least.box, least.objective[None, None], offset)
    whole = preactivation_bounds(drawn.network, disjuncts.inputs, "tightened")
    asked = stopping_after(count)
    left = refined(drawn.network, disjuncts, whole, THOROUGH, Run(stop=lambda: next(asked)))
    assert left is None or len(left.disjuncts) == 1
