"""Attacks on every bound of networks with convolutions, pooling, residual blocks and curved activations, zero slack."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
import torch

from admm_verify import Box, InputError, Network, Problem, Solution, SolverSettings, preactivation_bounds, solve
from admm_verify.arrays import SINGLE_ROUNDOFF, Placement, quiet_overflow
from admm_verify.bounds import preactivation
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.bounds.receptive import Field
from admm_verify.bounds.region import evaluation_error
from admm_verify.network.graph import Activation, Affine, Node, Term
from admm_verify.network.selection import SelectionMap
from admm_verify.network.simplify import simplify
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.solve import METHODS
from tests.random_layers import LayerCase, layer_case
from tests.reference.attack import EXTENDED, Plain, box_points, hunt
from tests.reference.pieces import ExactPieces, Formulation

NETWORKS = 100
SAMPLES = 10_000
PRECISIONS = ("float32", "float64")
BUDGETS = (0, 4, 60)
COMBINATIONS = [(m, p, b) for b in BUDGETS for m in METHODS for p in PRECISIONS]


def seeds(share: int = 10) -> list:
    """All networks; by default every tenth seed, another digit in every ten, so that each kind of growth is met."""
    chosen = {block * share + (block * 3 + 1) % share for block in range(NETWORKS // share)}
    return [pytest.param(seed, marks=[] if seed in chosen else [pytest.mark.slow]) for seed in range(NETWORKS)]


def every_case(test: Callable) -> Callable:
    parametrize = pytest.mark.parametrize
    return parametrize("seed", seeds())(parametrize("smooth", [False, True], ids=["pieces", "smooth"])(test))


@dataclass(frozen=True, eq=False)
class Truth:
    """A case, and points of its box that come near the extremes of neurons and objectives, with what is known there.

    lowest and highest: rigorous bounds on the true values of all nodes of the graph as built, [points, n_i] each.
    """

    case: LayerCase
    points: np.ndarray
    lowest: list[np.ndarray]
    highest: list[np.ndarray]


@lru_cache(maxsize=2)
def truth(seed: int, smooth: bool) -> Truth:
    case = layer_case(seed, smooth)
    plain = Plain.of(case.original)
    points = hunt(plain, case.box, SAMPLES, seed, case.objective)
    values, errors = Plain.of(case.original, EXTENDED).values(points.astype(EXTENDED))
    lowest = [value - error for value, error in zip(values, errors, strict=True)]
    highest = [value + error for value, error in zip(values, errors, strict=True)]
    return Truth(case, points, lowest, highest)


def twins(known: Truth) -> list[int]:
    """For every activation in normal form the node of the graph as built that holds its input."""
    case, found = known.case, []
    merged = Plain.of(case.network, EXTENDED).values(known.points[:50].astype(EXTENDED))[0]
    built = list(case.original.functions)
    for index in case.network.activations:
        node = case.network.nodes[index]
        assert isinstance(node, Activation)
        alike = [other.source for other in built if (other.kind, other.size) == (node.kind, node.size)]
        gaps = [float(np.abs(known.lowest[i][:50] - merged[node.source]).max()) for i in alike]
        found.append(alike[int(np.argmin(gaps))])
        # Merging may cancel what the graph as built computes one after the other.
        assert min(gaps) <= 1e-6 * (1.0 + max(float(np.abs(value).max()) for value in known.lowest))
    return found


def bounds_by(path: str, case: LayerCase, box: Box | None = None) -> PreactivationBounds:
    """Bounds by crops wherever they exist, or by whole planes only, of CROWN or tightened; or interval bounds."""
    region = case.box if box is None else box
    with pytest.MonkeyPatch.context() as patch:
        if "crops" in path:
            patch.setattr(Field, "cost", lambda field, wanted: 0)
            patch.setattr(Field, "multiplications", 0)
        elif "planes" in path:
            patch.setattr(preactivation, "receptive_field", lambda network, target: None)
        method = next((name for name in ("interval", "tightened") if name in path), "crown")
        return preactivation_bounds(case.network, region, method)


@pytest.mark.parametrize("path", ["interval", "crops", "planes", "tightened crops", "tightened planes"])
@every_case
def test_preactivations_stay_inside_their_bounds(seed: int, smooth: bool, path: str) -> None:
    known = truth(seed, smooth)
    bounds = bounds_by(path, known.case)
    for k, (node, low, high) in enumerate(zip(twins(known), bounds.lower, bounds.upper, strict=True)):
        label = f"{known.case.kind}, activation {k}"
        assert not (np.isnan(low) | np.isnan(high)).any() and (low <= high).all(), label
        below, above = low - known.highest[node], known.lowest[node] - high
        assert (below <= 0).all(), f"{label}: {below.max()} under the lower bound"
        assert (above <= 0).all(), f"{label}: {above.max()} over the upper bound"


@every_case
def test_preactivations_stay_inside_exactly(seed: int, smooth: bool) -> None:
    """In rational arithmetic, so without any allowance, at a few of the points."""
    if smooth:
        return
    known = truth(seed, smooth)
    bounds = bounds_by("tightened crops" if seed % 2 else "crops", known.case)
    network = ExactPieces(known.case.original)
    for x in known.points[:: max(1, len(known.points) // 4)]:
        values = network.values(x)
        for node, low, high in zip(twins(known), bounds.lower, bounds.upper, strict=True):
            for least, value, greatest in zip(low[0], values[node], high[0], strict=True):
                assert Fraction(least) <= value <= Fraction(greatest), known.case.kind


def pairs(bounds: PreactivationBounds) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(low[0], high[0]) for low, high in zip(bounds.lower, bounds.upper, strict=True)]


def reached(known: Truth) -> np.ndarray:
    """Rigorous upper bounds on the values of the objective rows at all points, [rows, points]."""
    case, eps = known.case, np.finfo(EXTENDED).eps
    objective = case.objective.astype(EXTENDED)
    low, high = known.lowest[-1].T, known.highest[-1].T
    value = np.maximum(objective, 0) @ high + np.minimum(objective, 0) @ low + case.offset[:, None]
    size = np.abs(objective) @ np.maximum(np.abs(low), np.abs(high)) + np.abs(case.offset)[:, None]
    return value + 8 * (2 + objective.shape[1]) * eps * size


def run(problem: Problem, method: str, precision: str, budget: int) -> Solution | None:
    """None where the layered splitting has no projection onto the graph of some map."""
    # Overflow in an iteration costs progress, not soundness.
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            return solve(problem, method, settings=SolverSettings(max_passes=budget, precision=precision))
        except InputError:
            assert method == "admm"
            return None


def check(problem: Problem, least: np.ndarray, found: Solution, label: str) -> None:
    """least: upper bounds on values that the rows attain, [rows]."""
    for array in (found.lower, found.relaxation_upper, found.primal, *found.multipliers):
        assert not np.isnan(np.asarray(array)).any(), f"{label}: NaN"
    lower, upper = np.asarray(found.lower), np.asarray(found.relaxation_upper)
    assert (upper >= lower).all(), f"{label}: upper {upper} under lower {lower}"
    assert (lower <= least).all(), f"{label}: lower {lower} over {least}, which the network attains"
    primal = found.primal.reshape(problem.rows, -1)
    assert bool((problem.inputs.project(primal) == primal).all()), f"{label}: primal outside the box"


def chosen(seed: int, number: int) -> bool:
    """A third of the combinations for every network, so that each is met by a third of the networks."""
    return (seed + seed // 10 + number) % 3 == 0


@every_case
def test_certified_bounds_hold_for_all_methods_and_precisions(seed: int, smooth: bool) -> None:
    known = truth(seed, smooth)
    case = known.case
    problem = Problem(case.network, case.box, case.objective, case.offset, bounds_by("planes", case))
    least = reached(known).min(axis=1)
    for number, combination in enumerate(COMBINATIONS):
        found = run(problem, *combination) if chosen(seed, number) else None
        if found is not None:
            check(problem, least, found, f"{case.kind}, {combination}")


@every_case
def test_certified_bounds_hold_on_torch(seed: int, smooth: bool) -> None:
    known = truth(seed, smooth)
    case = known.case
    box = Box(torch.asarray(case.box.lower), torch.asarray(case.box.upper))
    problem = Problem(case.network, box, torch.asarray(case.objective), torch.asarray(case.offset))
    least = reached(known).min(axis=1)
    for precision in PRECISIONS:
        found = solve(problem, METHODS[seed % 2 * 2], settings=SolverSettings(max_passes=20, precision=precision))
        check(problem, least, found, f"{case.kind}, torch, {precision}")


EASY = 25
"""Bent neurons up to which programs with binaries are solved in well under a second."""


@every_case
def test_certified_bounds_lie_under_exact_values_at_the_minimisers_of_programs(seed: int, smooth: bool) -> None:
    """lower <= the relaxation's optimum <= upper up to HiGHS' tolerances; lower <= f at both minimisers exactly."""
    if smooth:
        return
    case = layer_case(seed, smooth)
    bounds = bounds_by("planes", case)
    problem = Problem(case.network, case.box, case.objective, case.offset, bounds)
    found, network = solve(problem, settings=SolverSettings(max_passes=200)), ExactPieces(case.original)
    bent = sum(int((low < high).sum()) for low, high in pairs(bounds))
    for row, (objective, offset) in enumerate(zip(case.objective, case.offset, strict=True)):
        optimum = Formulation(case.network, case.box, pairs(bounds), False).minimum(objective, offset)
        slack = 1e-7 * optimum.scale
        assert found.lower[row] <= optimum.value + slack, f"{case.kind}: over the LP optimum"
        assert found.relaxation_upper[row] >= optimum.value - slack, f"{case.kind}: under the LP optimum"
        inputs = [optimum.x]
        if bent <= EASY:
            inputs.append(Formulation(case.network, case.box, pairs(bounds), True).minimum(objective, offset).x)
        for x in inputs:
            value = network.objective(x, objective, offset)
            assert found.lower[row] == -np.inf or Fraction(found.lower[row]) <= value, case.kind


def close_to(first: PreactivationBounds, second: PreactivationBounds, tolerance: float) -> bool:
    """Whether two sets of bounds agree, relative to the largest end: rounding terms follow what is cancelled."""
    ends = zip((*first.lower, *first.upper), (*second.lower, *second.upper), strict=True)
    gaps = [np.abs(np.asarray(one) - np.asarray(other)).max() for one, other in ends]
    largest = max(np.abs(np.asarray(end)).max() for end in (*second.lower, *second.upper))
    return max(gaps) <= tolerance * largest


@every_case
def test_crops_and_whole_planes_give_the_same_bounds(seed: int, smooth: bool) -> None:
    case = layer_case(seed, smooth)
    assert close_to(bounds_by("crops", case), bounds_by("planes", case), 1e-9), case.kind


@every_case
def test_numpy_and_torch_give_the_same_bounds(seed: int, smooth: bool) -> None:
    case = layer_case(seed, smooth)
    box = Box(torch.asarray(case.box.lower), torch.asarray(case.box.upper))
    assert close_to(preactivation_bounds(case.network, box), preactivation_bounds(case.network, case.box), 1e-9)


@every_case
def test_the_order_of_the_inputs_entries_does_not_matter(seed: int, smooth: bool) -> None:
    """The network behind a shuffle of its input, as behind channels that come last; bounds on the shuffled box."""
    case = layer_case(seed, smooth)
    size = case.original.input_size
    order = np.random.default_rng(seed).permutation(size)
    moved = Affine((Term(0, SelectionMap.from_gather(order, size)),), np.zeros(size), np.zeros(size))
    shifted = [_shifted(node) for node in case.original.nodes[1:]]
    network = simplify(replace(case.original, nodes=(case.original.nodes[0], moved, *shifted)))
    if _terms(network) != _terms(case.network) + 1:
        # The shuffle kept parallel terms from adding up, and bounds of the sum are tighter.
        return
    ends = np.empty((2, size))
    ends[:, order] = case.box.lower, case.box.upper
    other = replace(case, network=network, box=Box(*ends))
    for path in ("interval", "crops", "planes"):
        assert close_to(bounds_by(path, other), bounds_by(path, case), 1e-9), f"{case.kind}, {path}"


def _terms(network: Network) -> int:
    return sum(len(node.terms) for node in network.affine.values())


def _shifted(node: Node) -> Node:
    if isinstance(node, Affine):
        return replace(node, terms=tuple(Term(term.source + 1, term.map) for term in node.terms))
    assert isinstance(node, Activation)
    return replace(node, source=node.source + 1)


def test_both_ways_to_crown_bounds_are_taken() -> None:
    """What compares them would be empty if some network's crops were never cheaper, or always."""
    taken = {"crops": 0, "planes": 0}
    fields, planes = Field.bounds, preactivation.linear_bounds

    def counted(name: str, function: Callable) -> Callable:
        def count(*arguments):
            taken[name] += 1
            return function(*arguments)

        return count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Field, "bounds", counted("crops", fields))
        patch.setattr(preactivation, "linear_bounds", counted("planes", planes))
        for seed in range(0, NETWORKS, 5):
            preactivation_bounds((case := layer_case(seed, False)).network, case.box)
        forced = dict(taken)
        for seed in range(0, NETWORKS, 5):
            bounds_by("crops", layer_case(seed, False))
    assert min(forced.values()) >= 3, taken
    assert taken["crops"] - forced["crops"] >= 10, taken


def single(network: Network) -> Network:
    """The graph as built with numbers that float32 holds."""
    return network.put(Placement.numpy(np.float32)).put(Placement.numpy(np.float64))


@pytest.mark.parametrize("library", ["numpy", "torch"])
@every_case
def test_the_float32_evaluation_error_is_covered(seed: int, smooth: bool, library: str) -> None:
    """The graph as built runs in float32; the bound comes from its normal form in float64."""
    case = layer_case(seed, smooth)
    original = single(case.original)
    ends = [end.astype(np.float32) for end in (case.box.lower, case.box.upper)]
    box = Box(ends[0].astype(np.float64), ends[1].astype(np.float64))
    network = simplify(original)
    problem = Problem(network, box, np.eye(network.output_size))
    with quiet_overflow():
        bound = evaluation_error(Rows.of(problem, Placement.numpy()).region(), SINGLE_ROUNDOFF)[0]
    points = box_points(box, 300, seed).astype(np.float32)
    points = np.clip(points, *ends)
    given = torch.asarray(points) if library == "torch" else points
    with np.errstate(over="ignore"):
        computed = np.asarray(original.put(Placement.of(given)).evaluate(given)[-1])
    values, errors = Plain.of(original, EXTENDED).values(points.astype(EXTENDED))
    gap = np.abs(computed.astype(EXTENDED) - values[-1]) - errors[-1]
    assert computed.dtype == np.float32
    assert (gap <= bound).all(), f"{case.kind}: {gap.max(axis=0)} over {bound}"


def test_the_bound_comes_close_to_the_relaxations_optimum_on_relu_networks() -> None:
    """The share of the way from the CROWN bound to the LP optimum, where there is a way to go."""
    shares = {"ascent": [], "auto": []}
    for seed in range(NETWORKS):
        case = layer_case(seed, False)
        kinds = {node.kind for node in case.network.functions}
        if kinds != {"relu"}:
            continue
        problem = Problem(case.network, case.box, case.objective[:1], case.offset[:1], bounds_by("planes", case))
        crown = solve(problem, settings=SolverSettings(max_passes=0)).lower[0]
        ends = pairs(problem.preactivation)
        optimum = Formulation(case.network, case.box, ends, False).minimum(case.objective[0], case.offset[0])
        if optimum.value - crown > 1e-3 * optimum.scale:
            for method, known in shares.items():
                known.append((solve(problem, method).lower[0] - crown) / (optimum.value - crown))
    assert len(shares["auto"]) >= 5
    assert min(shares["auto"]) >= 0.95 and min(shares["ascent"]) >= 0.9 and np.mean(shares["ascent"]) >= 0.95, shares
