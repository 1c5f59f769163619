"""Conditional bounds: no input of the box that meets the condition lies outside of them, in rational arithmetic."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from scipy import optimize

from admm_verify import AscentSettings, Box, Network, RefineSettings, Run, preactivation_bounds
from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.bounds.conditional import ConditionalBounds, Conditioned, conditional_bounds
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.planes import Condition, planes_at
from admm_verify.bounds.region import Region, build_region
from admm_verify.bounds.relaxed import Bounder
from admm_verify.network.layers import network_from_layers
from admm_verify.run import Stopped
from tests.complete.networks import FAMILIES, box_for, flat_box, network_of
from tests.reference.attack import box_points
from tests.reference.pieces import ExactPieces

DISJUNCTS, ATOMS = 3, 2
SCALES = (0.0, 1.0, 1e-300, 1e-20, 1e4, 1e30)
SEEDS = range(12)


@dataclass(frozen=True, eq=False)
class Case:
    """Disjuncts around the points of a box where their first atom is least, at which all their atoms are just zero."""

    network: Network
    box: Box
    known: ConditionalBounds
    condition: Condition
    region: Region
    points: np.ndarray
    values: list[np.ndarray]

    @property
    def sources(self) -> list[int]:
        return list(self.network.sources)

    @property
    def everything(self) -> list[np.ndarray]:
        return [np.tile(np.arange(low.shape[1]), (DISJUNCTS, 1)) for low in self.known.lower]

    def met(self, disjunct: int) -> Iterator[list[list[Fraction]]]:
        """All nodes' values at points of the box that meet a disjunct's condition, exactly."""
        rows = self.values[-1] @ self.condition.objective[disjunct].T + self.condition.offset[disjunct]
        for i in np.flatnonzero((rows <= 1e-9).all(axis=1))[:12]:
            nodes = ExactPieces(self.network).values(self.points[i])
            if all(value <= 0 for value in self.rows(disjunct, nodes[-1])):
                yield nodes

    def rows(self, disjunct: int, output: list[Fraction]) -> list[Fraction]:
        """A disjunct's rows at an output, exactly."""
        pairs = zip(self.condition.objective[disjunct], self.condition.offset[disjunct], strict=True)
        return [sum((Fraction(c) * y for c, y in zip(row, output, strict=True)), Fraction(o)) for row, o in pairs]


def case_of(family: str, seed: int) -> Case:
    rng = np.random.default_rng([seed, 5])
    network = network_of(family, rng)
    flat = flat_box(box_for(network, rng))
    points = box_points(flat, 300, seed)
    values = network.evaluate(points)
    objective = rng.standard_normal((DISJUNCTS, ATOMS, network.output_size))
    offset = np.zeros((DISJUNCTS, ATOMS))
    for disjunct in range(DISJUNCTS):
        least = int((values[-1] @ objective[disjunct, 0]).argmin())
        output = ExactPieces(network).values(points[least])[-1]
        for atom, row in enumerate(objective[disjunct]):
            value = sum((Fraction(c) * y for c, y in zip(row, output, strict=True)), Fraction(0))
            offset[disjunct, atom] = np.nextafter(-float(value), -np.inf)
    whole = preactivation_bounds(network, Box(flat.lower[None], flat.upper[None]))
    lower, upper = (tuple(np.repeat(end, DISJUNCTS, axis=0) for end in ends) for ends in (whole.lower, whole.upper))
    box = Box(*(np.tile(end, (DISJUNCTS, 1)) for end in flat.range))
    known = ConditionalBounds(lower, upper, np.zeros(DISJUNCTS, dtype=bool))
    ends = [tuple(end[:, None] for end in side) for side in (lower, upper)]
    region = build_region(network, box.spread(), *ends)
    bounder = Bounder(network, Placement.numpy(), AscentSettings(), Run())
    with quiet_overflow():
        found = bounder.bound(region, bounder.rows(objective, offset), None, 10)
    return Case(network, box, known, Condition(objective, offset, found.multipliers), region, points, values)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_planes_lie_below_their_rows(family: str, seed: int) -> None:
    case = case_of(family, seed)
    nodes = {0, *case.sources}
    condition = case.condition
    planes = planes_at(case.region, condition, nodes)
    assert set(planes) == nodes and set(planes[0].start) == {0}
    for i in range(8):
        exact = ExactPieces(case.network).values(case.points[i])
        for node, plane in planes.items():
            assert all(part <= node for part in plane.start)
            for disjunct in range(DISJUNCTS):
                for atom, row in enumerate(case.rows(disjunct, exact[-1])):
                    assert row >= plane_value(plane, disjunct, atom, exact), (node, disjunct, atom)


def plane_value(plane: Functionals, disjunct: int, atom: int, values: list[list[Fraction]]) -> Fraction:
    terms = [
        Fraction(c) * y for i, part in plane.start.items() for c, y in zip(part[disjunct, atom], values[i], strict=True)
    ]
    return sum(terms, Fraction(plane.constant[disjunct, atom]))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_any_slopes_and_weights_give_bounds(family: str, seed: int) -> None:
    case = case_of(family, seed)
    rng = np.random.default_rng(seed)
    condition = case.condition
    planes = planes_at(case.region, condition, case.sources)
    met = [list(case.met(disjunct)) for disjunct in range(DISJUNCTS)]
    assert all(met), "Each disjunct's point meets its condition"
    for k, (source, neurons) in enumerate(zip(case.sources, case.everything, strict=True)):
        below = sum(i < source for i in case.network.activations)
        part = Network(case.network.nodes[: source + 1], case.network.input_shape, (neurons.shape[1],))
        ends = [tuple(end[:, None] for end in side[:below]) for side in (case.known.lower, case.known.upper)]
        region = build_region(part, case.box.spread(), *ends)
        frame = Conditioned(region, planes[source], RefineSettings())
        for scale in SCALES:
            weights = scale * rng.random((DISJUNCTS, 2 * neurons.shape[1], ATOMS))
            slopes = [
                rng.uniform(-1, 2, (DISJUNCTS, 2 * neurons.shape[1], line.start.shape[-1]))
                for line in frame.relaxed.lines
            ]
            with quiet_overflow():
                found = frame.certified(neurons, slopes, weights)
            for disjunct in range(DISJUNCTS):
                for nodes in met[disjunct]:
                    truth = [*nodes[source], *(-value for value in nodes[source])]
                    for value, bound in zip(truth, found[disjunct], strict=True):
                        assert bound == -np.inf or Fraction(bound) <= value, (k, disjunct, scale)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_input_that_meets_the_condition_is_lost(family: str, seed: int) -> None:
    case = case_of(family, seed)
    with quiet_overflow():
        found = bounded(case, RefineSettings(iterations=6))
        # Repeated, bounds on the condition build on each other.
        again = conditional_bounds(
            case.network, case.box, found, case.condition, case.everything, RefineSettings(), Run()
        )
    for bounds in (found, again):
        assert not bounds.empty.any()
        for k, source in enumerate(case.sources):
            assert (bounds.lower[k] >= case.known.lower[k]).all() and (bounds.upper[k] <= case.known.upper[k]).all()
            for disjunct in range(DISJUNCTS):
                for nodes in case.met(disjunct):
                    for low, value, high in zip(
                        bounds.lower[k][disjunct], nodes[source], bounds.upper[k][disjunct], strict=True
                    ):
                        assert Fraction(low) <= value <= Fraction(high), (k, disjunct)


def bounded(case: Case, settings: RefineSettings) -> ConditionalBounds:
    return conditional_bounds(case.network, case.box, case.known, case.condition, case.everything, settings, Run())


def test_conditions_tighten_bounds() -> None:
    shares = []
    for seed in SEEDS:
        case = case_of("dense", seed)
        with quiet_overflow():
            found = bounded(case, RefineSettings())
        before, after = (
            sum((high - low).sum() for low, high in zip(b.lower, b.upper, strict=True)) for b in (case.known, found)
        )
        shares.append(after / before)
    assert np.median(shares) < 0.9 and max(shares) <= 1


@pytest.mark.parametrize("seed", range(10))
def test_a_half_space_gives_the_linear_optimum(seed: int) -> None:
    """Neurons that read the input, which a single plane in the input cuts: the least value is that of a program."""
    rng = np.random.default_rng(seed)
    weight, bias, row = rng.standard_normal((4, 6)), rng.standard_normal(4), rng.standard_normal(6)
    # The row is the input's: its activations hold signs that leave them exact.
    first, shift = np.concatenate([weight, row[None]]), np.append(bias, 10.0)
    network = network_from_layers([first, np.array([[0.0, 0.0, 0.0, 0.0, 1.0]])], [shift, np.array([-9.5])])
    lower, upper = -rng.random((1, 6)), rng.random((1, 6))
    whole = preactivation_bounds(network, Box(lower, upper))
    assert (whole.lower[0][0, 4] > 0).all()
    condition = Condition(np.ones((1, 1, 1)), np.zeros((1, 1)), [np.array([[[0.0, 0, 0, 0, 1]]])])
    known = ConditionalBounds(whole.lower, whole.upper, np.zeros(1, dtype=bool))
    settings = RefineSettings(iterations=60, pace=1.0, slowing=0.9)
    with quiet_overflow():
        found = conditional_bounds(network, Box(lower, upper), known, condition, [np.arange(4)[None]], settings, Run())
    for i in range(4):
        for sign, end in ((1.0, found.lower[0][0, i]), (-1.0, -found.upper[0][0, i])):
            best = optimize.linprog(
                sign * weight[i], row[None], [-0.5], bounds=np.stack([lower[0], upper[0]], axis=1), method="highs"
            )
            if best.status == 2:
                assert found.empty.all() or end <= 1e6
                continue
            optimum = best.fun + sign * bias[i]
            assert end <= optimum + 1e-9 and end >= optimum - 0.02 * (1 + abs(optimum)), i


def test_a_condition_that_nothing_meets_is_empty() -> None:
    case = case_of("dense", 1)
    shifted = Condition(case.condition.objective, case.condition.offset + 50.0, case.condition.multipliers)
    with quiet_overflow():
        found = conditional_bounds(
            case.network, case.box, case.known, shifted, case.everything, RefineSettings(), Run()
        )
    assert found.empty.all()
    for low, high in zip(found.lower, found.upper, strict=True):
        assert (low <= high).all()


def test_planes_that_are_not_known_cut_nothing() -> None:
    case = case_of("residual", 2)
    unknown = Condition(case.condition.objective, np.full((DISJUNCTS, ATOMS), -np.inf), case.condition.multipliers)
    with quiet_overflow():
        found = conditional_bounds(
            case.network, case.box, case.known, unknown, case.everything, RefineSettings(), Run()
        )
    assert not found.empty.any()
    for k, source in enumerate(case.sources):
        inside = case.values[source]
        assert (found.lower[k][0] <= inside + 1e-12).all() and (found.upper[k][0] >= inside - 1e-12).all()


def test_it_stops_when_asked_to() -> None:
    case = case_of("dense", 0)
    with pytest.raises(Stopped):
        conditional_bounds(
            case.network,
            case.box,
            case.known,
            case.condition,
            case.everything,
            RefineSettings(),
            Run(stop=lambda: True),
        )
