"""Linear and mixed-integer programs beside independent formulations of the same optima."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest

from admm_verify import AscentSettings, Box, Network, Run, preactivation_bounds
from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.bounds.functionals import certify
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.bounds.region import build_region
from admm_verify.bounds.relaxed import Bounder
from admm_verify.network.graph import Affine
from admm_verify.programs.frame import Frame, sparse_map
from admm_verify.programs.integer import Ranges, network_minimum
from admm_verify.programs.kinks import Kinks
from admm_verify.programs.relaxed import Part, relaxed_minimum
from admm_verify.relaxations.registry import network_lines
from tests.complete.networks import FAMILIES, box_for, flat_box, network_of, pairs_of
from tests.complete.truth import minimum
from tests.reference.pieces import Formulation

SEEDS = range(8)
NO_SPLITS = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Drawn:
    network: Network
    box: Box
    bounds: PreactivationBounds
    objective: np.ndarray
    offset: np.ndarray

    @property
    def kinks(self) -> Kinks:
        return Kinks.of(network_lines(self.network, self.bounds.lower, self.bounds.upper))

    @property
    def part(self) -> Part:
        return Part(self.inputs, self.kinks, NO_SPLITS)

    @property
    def inputs(self) -> Box:
        return self.box.flat(self.network.input_size).at(0)

    @property
    def first(self) -> np.ndarray:
        return np.cumsum([low.shape[1] for low in self.bounds.lower])[:-1]

    def stacked(self, ends: tuple[np.ndarray, ...]) -> np.ndarray:
        return np.concatenate([np.zeros(0), *(end[0] for end in ends)])

    def minimum(self) -> float:
        found = network_minimum(
            Frame.of(self.network),
            Ranges(self.inputs, self.kinks, self.stacked(self.bounds.lower), self.stacked(self.bounds.upper)),
            self.objective,
            self.offset,
            Run(),
        )
        assert found.x is not None
        # HiGHS's point attains what it says.
        values = self.objective @ np.reshape(self.network(np.reshape(found.x, self.network.input_shape)), -1)
        assert max(values + self.offset) == pytest.approx(found.value, abs=1e-6)
        assert found.bound == pytest.approx(found.value, abs=1e-6)
        return found.value


@lru_cache
def drawn(family: str, seed: int, rows: int = 1) -> Drawn:
    rng = np.random.default_rng([seed, 5])
    network = network_of(family, rng)
    box = box_for(network, rng)
    return Drawn(network, box, preactivation_bounds(network, box), rng.standard_normal((rows, 2)), np.zeros(rows))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_columns_and_ties_hold_at_every_input(family: str, seed: int) -> None:
    one, rng = drawn(family, seed), np.random.default_rng(seed)
    frame = Frame.of(one.network)
    values = one.network.evaluate(rng.standard_normal((1, one.network.input_size)))
    v = np.zeros(frame.width)
    v[: frame.inputs] = values[0][0]
    for k, index in enumerate(one.network.activations):
        node = one.network.nodes[index]
        v[frame.pre[k]], v[frame.post[k]] = values[node.source][0], values[index][0]
    np.testing.assert_allclose(frame.ties @ v, frame.tied, atol=1e-12)
    np.testing.assert_allclose(frame.output @ v + frame.shift, values[-1][0], atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sparse_map_is_the_map(family: str) -> None:
    network = drawn(family, 0).network
    for node in network.nodes:
        for term in node.terms if isinstance(node, Affine) else ():
            np.testing.assert_array_equal(sparse_map(term.map).toarray(), term.map.dense().weight)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_relaxed_minimum_is_that_of_another_formulation(family: str, seed: int) -> None:
    one = drawn(family, seed)
    found = relaxed_minimum(Frame.of(one.network), one.part, one.objective, one.offset, 10.0)
    other = Formulation(one.network, flat_box(one.box), pairs_of(one.bounds), integer=False)
    assert found is not None
    assert found.value == pytest.approx(other.minimum(one.objective[0], 0.0).value, abs=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rows", [1, 3])
def test_multipliers_certify_the_relaxed_minimum(family: str, seed: int, rows: int) -> None:
    one = drawn(family, seed, rows)
    found = relaxed_minimum(Frame.of(one.network), one.part, one.objective, one.offset, 10.0)
    assert found is not None
    bounder = Bounder(one.network, Placement.numpy(), AscentSettings(), Run())
    ends = [tuple(end[:, None] for end in side) for side in (one.bounds.lower, one.bounds.upper)]
    region = build_region(one.network, one.inputs.at((None, None)), *ends)
    given = bounder.rows((found.weights @ one.objective)[None, None], (found.weights @ one.offset)[None, None])
    with quiet_overflow():
        multipliers = [g[None, None] for g in np.split(found.multipliers, one.first)]
        general, _ = certify(region, given, lambda k, a: multipliers[k])
        lines = bounder.bound(region, given, [g[None, None] for g in np.split(found.slopes, one.first)], 0).lower
    assert general[0, 0] == pytest.approx(found.value, abs=1e-6)
    assert general[0, 0] <= found.value + 1e-7
    assert lines[0, 0] <= found.value + 1e-7


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_contradicting_signs_are_excluded(family: str, seed: int) -> None:
    """A neuron cannot be on the side of its kink that its bounds exclude, which the program has to find out."""
    one = drawn(family, seed)
    lower, upper = one.stacked(one.bounds.lower), one.stacked(one.bounds.upper)
    stable = np.flatnonzero((lower > 0) | (upper < 0))
    if not len(stable):
        pytest.skip("Every neuron of this network is open.")
    signs = np.where(lower[stable[:1]] > 0, -1, 1) * (1 + stable[:1])
    found = relaxed_minimum(
        Frame.of(one.network), Part(one.inputs, one.kinks, signs), one.objective, one.offset - 1e-3, 10.0
    )
    assert found is not None
    assert found.value > 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_integer_minimum_is_that_of_another_formulation(family: str, seed: int) -> None:
    one = drawn(family, seed)
    assert one.minimum() == pytest.approx(float(minimum(one.network, one.box, one.objective[0]).value), abs=1e-6)


def test_the_integer_minimum_of_several_rows_is_above_that_of_each() -> None:
    several = drawn("dense", 3, rows=3)
    each = [minimum(several.network, several.box, row).value for row in several.objective]
    assert several.minimum() >= float(max(each)) - 1e-6


def test_a_stopped_program_claims_nothing() -> None:
    one = drawn("residual", 5)
    ranges = Ranges(one.inputs, one.kinks, one.stacked(one.bounds.lower), one.stacked(one.bounds.upper))
    found = network_minimum(Frame.of(one.network), ranges, one.objective, one.offset, Run(stop=lambda: True))
    assert found.bound <= found.value


def test_ranges_that_overflow_leave_no_program() -> None:
    """HiGHS takes numbers only; without them nothing is claimed."""
    one = drawn("dense", 0)
    kinks = replace(one.kinks, intercept=np.full_like(one.kinks.intercept, -np.inf))
    frame, zero = Frame.of(one.network), one.offset
    assert relaxed_minimum(frame, Part(one.inputs, kinks, NO_SPLITS), one.objective, zero, 10.0) is None
    low, high = one.stacked(one.bounds.lower), one.stacked(one.bounds.upper)
    for ranges in (
        Ranges(one.inputs, kinks, low, high),
        Ranges(one.inputs, one.kinks, low, np.inf * np.ones_like(high)),
    ):
        found = network_minimum(frame, ranges, one.objective, zero, Run())
        assert found.bound == -np.inf and found.x is None
