"""Every method on every kind of set: no certified bound over what a network attains there, zero slack."""

import os
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Network
from admm_verify.attacks.apgd import Apgd
from admm_verify.attacks.lbfgs import Lbfgs
from admm_verify.attacks.pgd import FGSM, Pgd
from admm_verify.attacks.search import attack
from admm_verify.attacks.starts import Starts
from admm_verify.attacks.targets import Targets
from admm_verify.sets.contract import WalkableSet
from admm_verify.splitting.solve import METHODS
from tests.random_layers import layer_case
from tests.random_networks import chain, random_case
from tests.random_sets import SETS, drawn
from tests.reference.attack import Plain
from tests.reference.exact import ExactNetwork
from tests.reference.patterns import least
from tests.reference.set_attack import enclosed, hunted, kept, reached

NETWORKS = int(os.environ.get("ADMM_VERIFY_NETWORKS", "4"))
"""Of the slow run, for each kind of set: dense networks and residual ones, layers of all kinds with kinks, and smooth
ones. 200 take an hour, and some more for sets whose nearest points are programs of their own.
"""

SAMPLES = 20_000
FEW = 1_000
SHORT = Starts(restarts=1, most=2, samples=20)
ATTACKS = (FGSM, Pgd(SHORT, steps=10), Apgd(SHORT, steps=20), Lbfgs(Starts(restarts=0, most=0), targets=1))
PRECISIONS = ("float32", "float64")
BUDGETS = (0, 4, 60)
BOUNDS = ("interval", "crown", "tightened")


@dataclass(frozen=True, eq=False)
class Subject:
    """A network as it was built and in normal form, a set of its inputs, and rows over it."""

    label: str
    original: Network
    network: Network
    inputs: WalkableSet
    objective: np.ndarray
    offset: np.ndarray


def subject(seed: int, kind: str) -> Subject:
    """The network of a seed with a set of a kind."""
    if seed % 3 == 0:
        case = random_case(seed // 3, "residual" if seed % 2 else None)
        original = case.network
    else:
        case = layer_case(seed // 3, seed % 3 == 2)
        original = case.original
    low, high = case.box.range
    inputs, _ = drawn(kind, seed, 0.5 * (low + high), 0.5 * (high - low))
    return Subject(f"{case.kind}, {kind}", original, case.network, inputs, case.objective, case.offset)


@dataclass(frozen=True, eq=False)
class Truth:
    """Rigorous bounds on what all nodes of the graph as built are at points of the set, and on the least of rows.

    Shapes: lowest[i], highest[i] [points, n_i]; least [rows].
    """

    lowest: list[np.ndarray]
    highest: list[np.ndarray]
    least: np.ndarray


def truth(case: Subject, seed: int, samples: int) -> Truth:
    """From samples and extreme points, steps down from the best of them, and the attacks of the library."""
    one = case.inputs.at(None)
    hunted_points = hunted(Plain.of(case.original), one, samples, seed, case.objective)
    points = np.concatenate([hunted_points, attacked(case)])
    lowest, highest = enclosed(case.original, points)
    return Truth(lowest, highest, reached(case.objective, case.offset, lowest[-1], highest[-1]).min(axis=1))


def attacked(case: Subject) -> np.ndarray:
    """Where the attacks end for each row, and points of the set next to that, [points, n]."""
    rows, one = len(case.offset), case.inputs.at(None)
    # Few targets are hit, so that most attacks have their turn.
    targets = Targets(one.at(np.zeros(rows, dtype=np.int64)), case.objective[:, None, :], case.offset[:, None] + 1e3)
    found = attack(case.network, targets, ATTACKS)
    assert not np.isnan(found.x).any(), case.label
    return kept(one, np.asarray(found.x))


def check_preactivations(case: Subject, known: Truth, bounds: av.PreactivationBounds, label: str) -> None:
    """Inputs of the activations that graph and normal form share stay in their bounds."""
    built = {(node.kind, node.size): node.source for node in case.original.functions}
    counts = [(node.kind, node.size) for node in case.original.functions]
    ends = zip(*(map(np.asarray, side) for side in (bounds.lower, bounds.upper)), strict=True)
    for node, (low, high) in zip(case.network.functions, ends, strict=True):
        assert (low <= high).all() and not (np.isnan(low) | np.isnan(high)).any(), label
        # Where several are alike, merging may have made any of them this one.
        if counts.count((node.kind, node.size)) == 1:
            source = built[node.kind, node.size]
            assert (low <= known.highest[source]).all(), f"{label}: a lower end over a value"
            assert (known.lowest[source] <= high).all(), f"{label}: an upper end under a value"


def check_solution(case: Subject, known: Truth, found: av.Solution, label: str) -> None:
    for array in (found.lower, found.relaxation_upper, found.primal, *found.multipliers):
        assert not np.isnan(np.asarray(array)).any(), f"{label}: NaN"
    lower, upper = np.asarray(found.lower), np.asarray(found.relaxation_upper)
    assert (lower <= known.least).all(), f"{label}: {lower} over {known.least}, which is attained"
    assert (upper >= lower).all(), f"{label}: {upper} under {lower}"
    inside = case.inputs.contains(np.asarray(found.primal).reshape(len(lower), -1))
    assert np.asarray(inside).all(), f"{label}: a primal point outside of the set"


def combinations(seed: int) -> list[tuple[str, str, int]]:
    """Every method for a network, in precisions and for budgets that all of them meet in six networks."""
    return [(m, PRECISIONS[(seed + k) % 2], BUDGETS[(seed + k) % 3]) for k, m in enumerate(METHODS)]


def solved(problem: av.Problem, method: str, precision: str, budget: int) -> av.Solution | None:
    """None where the layered splitting has no projection onto the graph of some map."""
    # Overflow in an iteration costs progress, not soundness.
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            return av.solve(problem, method, settings=av.SolverSettings(max_passes=budget, precision=precision))
        except av.InputError:
            assert method == "admm"
            return None


def check_all(seed: int, kind: str, samples: int) -> None:
    """All ways to bounds, and to points, on one network and one set."""
    case = subject(seed, kind)
    known = truth(case, seed, samples)
    given = {method: av.preactivation_bounds(case.network, case.inputs, method) for method in BOUNDS}
    for method, bounds in given.items():
        check_preactivations(case, known, bounds, f"{case.label}, {method}")
    problem = av.Problem(case.network, case.inputs, case.objective, case.offset, given["crown"])
    for combination in combinations(seed):
        found = solved(problem, *combination)
        if found is not None:
            check_solution(case, known, found, f"{case.label}, {combination}")
    ranges = av.output_bounds(case.network, case.inputs, settings=av.SolverSettings(max_passes=20))
    assert (np.reshape(ranges.lower, -1) <= known.highest[-1]).all(), case.label
    assert (known.lowest[-1] <= np.reshape(ranges.upper, -1)).all(), case.label


IN_SUITE = range(0, 200, 67)
"""Networks of the default suite, which meets each kind of them and every kind of set."""


COSTLY = ("polytope in a box", "polytope", "zonotope")
"""Kinds whose nearest points are programs of their own."""


@pytest.mark.parametrize("kind", SETS)
def test_no_bound_is_over_what_the_network_attains(kind: str) -> None:
    number = list(SETS).index(kind)
    if kind in COSTLY:
        check_all(3 * number, kind, FEW // 10)
        return
    for seed in IN_SUITE:
        check_all(seed + 2 * number, kind, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETS)
def test_no_bound_of_any_method_is_over_many_samples(kind: str) -> None:
    for seed in range(1 + NETWORKS // 6 if kind in COSTLY else NETWORKS):
        check_all(seed, kind, SAMPLES)


def tiny(seed: int) -> Network:
    """Two inputs or three, one hidden layer or two, of six neurons at most."""
    rng = np.random.default_rng([seed, 4])
    sizes = [int(rng.integers(2, 4)), *map(int, rng.integers(2, 4, rng.integers(1, 3))), 2]
    pairs = list(pairwise(sizes))
    return chain([rng.standard_normal((m, n)) for n, m in pairs], [0.5 * rng.standard_normal(m) for m in sizes[1:]])


def check_tiny(seed: int, kind: str) -> None:
    """Bounds lie under the exact minimum, and attacks come to it from above."""
    network, rng = tiny(seed), np.random.default_rng([seed, 3])
    size = network.input_size
    inputs, programs = drawn(kind, seed, rng.standard_normal(size), rng.uniform(0.2, 1.0, size))
    objective, offset = rng.standard_normal((1, 2)), rng.standard_normal(1)
    parts = [least(network, program, objective[0], float(offset[0])) for program in programs]
    value, x = min(parts, key=lambda part: part[0])
    one, exact = inputs.at(None), ExactNetwork.of(network)
    attained = exact.objective(kept(one, x[None])[0], objective[0], float(offset[0]))
    scale = 1.0 + abs(value)
    assert abs(float(attained) - value) <= 1e-6 * scale, "The program and the set are the same"
    for method in BOUNDS:
        bounds = av.preactivation_bounds(network, inputs, method)
        problem = av.Problem(network, inputs, objective, offset, bounds)
        for solver in METHODS:
            found = av.solve(problem, solver, settings=av.SolverSettings(max_passes=100))
            assert Fraction(float(found.lower[0])) <= attained, (kind, method, solver)
    found = attack(network, Targets(one, objective[:, None, :], offset[:, None] + 1e3))
    assert value - 1e-6 * scale <= found.loss[0] - 1e3 <= value + 1e-3 * scale, kind


@pytest.mark.parametrize("kind", SETS)
def test_tiny_networks_have_exact_minima_over_the_bounds(kind: str) -> None:
    for seed in range(1 if kind in COSTLY else 2):
        check_tiny(seed, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETS)
def test_many_tiny_networks_have_exact_minima_over_the_bounds(kind: str) -> None:
    for seed in range(2, 2 + NETWORKS // (4 if kind in COSTLY else 1)):
        check_tiny(seed, kind)
