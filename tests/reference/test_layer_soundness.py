"""Attacks on every bound of networks with convolutions, pooling, residual blocks and curved activations, zero slack."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
import torch

from admm_verify.arrays import SINGLE_ROUNDOFF, Placement
from admm_verify.bounds import preactivation
from admm_verify.bounds.preactivation import PreactivationBounds, preactivation_bounds
from admm_verify.bounds.receptive import Field
from admm_verify.bounds.region import evaluation_error
from admm_verify.errors import InputError
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.sets import Box
from admm_verify.splitting.problem import Problem, Rows
from admm_verify.splitting.solution import Solution
from admm_verify.splitting.solve import METHODS, solve
from tests.random_layers import LayerCase, layer_case
from tests.reference.attack import EXTENDED, Plain, box_points, hunt
from tests.reference.exact import exact
from tests.reference.pieces import ExactPieces, Formulation

NETWORKS = 100
SAMPLES = 10_000
PRECISIONS = ("float32", "float64")
BUDGETS = (0, 4, 60)
COMBINATIONS = [(m, p, b) for b in BUDGETS for m in METHODS for p in PRECISIONS]
ENDS = ("lower", "upper")


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


def sources(network: Network) -> list[int]:
    """The input node of every activation."""
    return [node.source for node in network.nodes if isinstance(node, Activation)]


def twins(known: Truth) -> list[int]:
    """For every activation in normal form the node of the graph as built that holds its input."""
    case, found = known.case, []
    merged = Plain.of(case.network, EXTENDED).values(known.points[:50].astype(EXTENDED))[0]
    built = [node for node in case.original.nodes if isinstance(node, Activation)]
    for index in case.network.activations:
        node = case.network.nodes[index]
        assert isinstance(node, Activation)
        alike = [other.source for other in built if (other.kind, other.size) == (node.kind, node.size)]
        gaps = [float(np.abs(known.lowest[i][:50] - merged[node.source]).max()) for i in alike]
        found.append(alike[int(np.argmin(gaps))])
        assert min(gaps) <= 1e-6 * (1.0 + float(np.abs(merged[node.source]).max()))
    return found


def bounds_by(path: str, case: LayerCase, box: Box | None = None) -> PreactivationBounds:
    """CROWN bounds by crops wherever they exist, or by whole planes only; or interval bounds."""
    region = case.box if box is None else box
    with pytest.MonkeyPatch.context() as patch:
        if path == "crops":
            patch.setattr(Field, "cost", lambda field, wanted: 0)
        elif path == "planes":
            patch.setattr(preactivation, "receptive_field", lambda network, target: None)
        return preactivation_bounds(case.network, region, "interval" if path == "interval" else "crown")


@pytest.mark.parametrize("path", ["interval", "crops", "planes"])
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
    bounds, network = bounds_by("crops", known.case), ExactPieces(known.case.original)
    for x in known.points[:: max(1, len(known.points) // 4)]:
        values = network.values(x)
        for node, low, high in zip(twins(known), bounds.lower, bounds.upper, strict=True):
            for least, value, greatest in zip(low[0], values[node], high[0], strict=True):
                assert Fraction(least) <= value <= Fraction(greatest), known.case.kind


def attained(known: Truth, bounds: PreactivationBounds, row: int) -> tuple[np.ndarray, list[Fraction]]:
    """Upper bounds on values of a row at all points, and exact values at the best of them and HiGHS' minimisers."""
    case = known.case
    objective, offset = case.objective[row].astype(EXTENDED), case.offset[row].astype(EXTENDED)
    values = known.highest[-1] @ np.maximum(objective, 0) + known.lowest[-1] @ np.minimum(objective, 0) + offset
    slack = 16 * np.finfo(EXTENDED).eps * (np.abs(known.highest[-1]) @ np.abs(objective) + abs(offset))
    return values + slack, []


def run(problem: Problem, method: str, precision: str, budget: int) -> Solution | None:
    """None where the layered splitting has no projection onto the graph of some map."""
    # Overflow in an iteration costs progress, not soundness.
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            return solve(problem, method, max_passes=budget, precision=precision)
        except InputError:
            assert method == "admm"
            return None


def check(known: Truth, problem: Problem, values: list[np.ndarray], combination: tuple[str, str, int]) -> Solution | None:
    label = f"{known.case.kind}, {combination}"
    found = run(problem, *combination)
    if found is None:
        return None
    for array in (found.lower, found.upper, found.primal, *found.multipliers):
        assert not np.isnan(array).any(), f"{label}: NaN"
    assert (found.upper >= found.lower).all(), f"{label}: upper {found.upper} under lower {found.lower}"
    for bound, reached in zip(found.lower, values, strict=True):
        assert bound <= reached.min(), f"{label}: lower {bound} over the value {reached.min()} at a point"
    outside = np.maximum(problem.box_lower - found.primal.reshape(found.primal.shape[0], -1),
                         found.primal.reshape(found.primal.shape[0], -1) - problem.box_upper).max()
    assert outside <= 0, f"{label}: primal outside the box by {outside}"
    return found
