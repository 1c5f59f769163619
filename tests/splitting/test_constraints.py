"""Constraints of problems: what is refused, exact soundness with any multipliers, blocks, libraries, warm starts."""

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.bounds.functionals import certify
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.solve import METHODS
from admm_verify.splitting.sweeps import objectives
from tests.random_constraints import ConstrainedCase, constrained_case
from tests.random_networks import chain
from tests.reference.exact import ExactNetwork, exact

EYE = np.eye(2)
NET = chain([EYE, EYE], [np.zeros(2), np.zeros(2)])
BOX = av.Box(-np.ones(2), np.ones(2))


def stated(*constraints: av.Constraint, rows: int = 2) -> av.Problem:
    return av.Problem(NET, BOX, EYE[:rows], constraints=constraints)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no coefficients": (lambda: av.Constraint({}), "coefficients are {}"),
    "an unknown place": (lambda: av.Constraint({"hidden": [1.0, 0.0]}), "'hidden'"),  # pyright: ignore
    "a place without a number": (lambda: av.Constraint({("pre", -1): [1.0, 0.0]}), "'pre'"),
    "NaN": (lambda: av.Constraint({"input": [np.nan, 0.0]}), "coefficients of 'input' hold NaN"),
    "an infinite offset": (lambda: av.Constraint({"input": [1.0, 0.0]}, np.inf), "offset hold NaN or infinite"),
    "no constraints in it": (lambda: av.Constraint({"input": np.zeros((0, 2))}), "(0, 2)"),
    "an activation that is not there": (lambda: stated(av.Constraint({("post", 3): [1.0, 0.0]})), "1 activations"),
    "a wrong size": (lambda: stated(av.Constraint({"output": [1.0, 0.0, 0.0]})), "there are 2 values"),
    "coefficients of zero": (lambda: stated(av.Constraint({"output": [[1.0, 0], [0, 0]]})), "Constraint 1"),
    "too many rows": (lambda: stated(av.Constraint({"output": np.ones((3, 1, 2))})), "3 rows of 1"),
    "another number of offsets": (lambda: stated(av.Constraint({"output": EYE}, np.zeros(3))), "of 3 constraints"),
    "offsets with too many axes": (lambda: stated(av.Constraint({"output": EYE}, np.zeros((1, 1, 2)))), "(1, 1, 2)"),
    "what is none": (lambda: av.Problem(NET, BOX, EYE, constraints=[1.0]), "Constraint"),  # pyright: ignore
    "a neuron that is not there": (lambda: av.Constraint.split(NET, 0, 2, 1), "2 neurons"),
    "a sign of two": (lambda: av.Constraint.split(NET, 0, 1, 2.0), "sign"),
    "a sign in words": (lambda: av.Constraint.split(NET, 0, 1, "+"), "sign of a split"),  # pyright: ignore
    "ragged neurons": (lambda: av.Constraint.split(NET, 0, [[0], [0, 1]], 1), "neuron"),  # pyright: ignore
    "more signs than neurons": (lambda: av.Constraint.split(NET, 0, [0, 1], [1, 1, 1]), "shape (3,)"),
    "a split of no network": (lambda: av.Constraint.split(None, 0, 1, 1), "None"),  # pyright: ignore
    "a start without their multipliers": (
        lambda: replace(stated(av.Constraint({"input": [1.0, 1.0]})), start=[np.zeros((2, 2))]),
        "start",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(av.InputError, match=re.escape(words)):
        make()


def test_constraints_of_single_rows_and_shared_ones_agree() -> None:
    shared = stated(av.Constraint.outputs(EYE, 0.25), av.Constraint.inputs([1.0, 1.0], 0.5))
    own = stated(
        av.Constraint.outputs(np.stack([EYE, EYE]), np.full((2, 2), 0.25)),
        av.Constraint({"input": np.ones((2, 1, 2))}, -0.5),
    )
    first, second = av.solve(shared), av.solve(own)
    assert np.allclose(first.lower, second.lower, atol=1e-9)
    assert first.constraint_multipliers.shape == (2, 3)


def test_numbers_of_other_libraries_say_which_neuron() -> None:
    plain = av.Constraint.split(NET, 0, [0, 1], [-1.0, 1.0])
    neurons, signs = torch.tensor([0, 1]), torch.tensor([-1.0, 1.0], requires_grad=True)
    again = av.Constraint.split(NET, np.int64(0), neurons, signs)
    counted = av.Constraint({("pre", np.int64(0)): plain.coefficients["pre", 0]})  # pyright: ignore
    for other in (again, counted):
        np.testing.assert_array_equal(other.coefficients["pre", 0], plain.coefficients["pre", 0])


def test_a_split_cuts_the_neuron() -> None:
    signs = av.Constraint.split(NET, 0, [0, 1], [-1.0, 1.0])
    problem = av.Problem(NET, BOX, -EYE, constraints=signs)
    # max f_0 where the first neuron is inactive; max f_1 where the second is active.
    found = av.solve(problem, tolerance=1e-9)
    assert np.allclose(found.lower, [0.0, -1.0], atol=1e-6)
    assert problem.bounds.upper[0][0, 0] == 0.0
    assert problem.bounds.lower[0][1, 1] == 0.0
    assert np.max(np.asarray(problem.preactivation.upper[0])) > 0.9


def multipliers_of(rows: Rows, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Random multipliers over many orders of magnitude, with zeros."""
    shapes = [(2, low.shape[1]) for low in rows.lower]
    mu = rng.uniform(0, 1, rows.unweighted().shape) * 10.0 ** rng.uniform(-8, 8, rows.unweighted().shape)
    return [rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 3, shape) for shape in shapes], mu * (mu > 1e-6)


@pytest.mark.parametrize("exponent", [0, -30, 8])
@pytest.mark.parametrize("aims", [True, False], ids=["objective", "zero"])
def test_bounds_with_constraints_hold_exactly_for_any_multipliers(exponent: int, aims: bool) -> None:
    """bound <= objective f(x) + offset + sum of mu (constraint at x) for every x, in fractions, without any slack."""
    for seed in range(4):
        case = constrained_case(seed, scale=10.0**exponent)
        rows = Rows.of(case.problem, Placement.numpy())
        rows = rows if aims else rows.aimless()
        rng = np.random.default_rng([seed, exponent + 100])
        g, mu = multipliers_of(rows, rng)
        functionals, couplings = objectives(rows), rows.couplings
        assert couplings is not None
        region = rows.region()
        error = couplings.lost(functionals, mu, region)
        total = replace(couplings.added(functionals, mu), error=error)
        bound = certify(region, total, lambda k, _, g=g: g[k])[0]
        network = ExactNetwork.of(case.problem.network)
        for x in np.concatenate([case.problem.inputs.sample(2, rng)[0], case.x[None]]):
            if not inside(case, network, x):
                continue
            values = network.values(x)
            for row in range(2):
                left = Fraction(0)
                for j in range(couplings.count):
                    left += Fraction(float(mu[row, j])) * constraint_at(case, values, j)
                value = exact(np.asarray(rows.objective)[row]) @ values[-1] + Fraction(float(rows.offset[row]))
                assert not np.isnan(bound[row])
                assert bound[row] == -np.inf or Fraction(float(bound[row])) <= value + left, seed


def inside(case: ConstrainedCase, network: ExactNetwork, x: np.ndarray) -> bool:
    """Whether pre-activations lie in the bounds, which a split may have cut."""
    bounds = case.problem.bounds
    ends = zip(network.preactivations(x), bounds.lower, bounds.upper, strict=True)
    return all(
        (exact(np.asarray(low[0])) <= pre).all() and (pre <= exact(np.asarray(up[0]))).all() for pre, low, up in ends
    )


def constraint_at(case: ConstrainedCase, values: list[np.ndarray], j: int) -> Fraction:
    """Constraint j's left side in fractions."""
    couplings = case.problem.couplings
    assert couplings is not None
    left = Fraction(float(couplings.offset[0, j]))
    for i, part in couplings.parts.items():
        left += exact(np.asarray(part)[0, j]) @ values[i]
    return left


@pytest.mark.parametrize("method", METHODS)
def test_a_single_feasible_corner_is_never_flagged(method: str) -> None:
    """Constraints that hold at one corner of the box alone, exactly."""
    for seed in range(4):
        case = constrained_case(seed)
        _, upper = case.free.inputs.range
        size = upper.shape[-1]
        corner = av.Constraint({"input": -np.eye(size)}, np.asarray(upper)[0])
        found = av.solve(replace(case.free, constraints=corner), method, settings=QUICK)
        x = np.asarray(upper)
        value = np.asarray(case.free.objective) @ np.asarray(case.free.network(x)[0]).reshape(-1)
        assert (found.lower <= value + 1e-9 * np.abs(value)).all(), seed
        assert av.Ended.INFEASIBLE not in found.status, seed


QUICK = av.SolverSettings(max_passes=60, deciding_passes=60)


@pytest.mark.parametrize("method", METHODS)
def test_blocks_pickles_precisions_and_libraries_agree(method: str) -> None:
    case = constrained_case(7)
    whole = av.solve(case.problem, method, max_passes=60, tolerance=0.0)
    half = av.solve(case.problem.block(1, 2), method, max_passes=60, tolerance=0.0)
    scale = 1.0 + np.abs(np.asarray(whole.lower))
    assert np.isfinite(whole.lower).all()
    assert (np.abs(half.lower - whole.lower[1:]) <= 0.1 * scale[1:]).all()
    again = pickle.loads(pickle.dumps(case.problem))
    assert np.array_equal(av.solve(again, method, max_passes=60, tolerance=0.0).lower, whole.lower)
    single = av.SolverSettings(precision="float32", max_passes=60, tolerance=0.0)
    assert (np.abs(av.solve(case.problem, method, settings=single).lower - whole.lower) <= 2e-2 * scale).all()
    box = av.Box(*(torch.asarray(np.array(end)) for end in case.free.inputs.range))
    there = av.Problem(
        case.free.network, box, torch.asarray(np.array(case.free.objective)), constraints=case.problem.constraints
    )
    found = av.solve(there, method, max_passes=60, tolerance=0.0)
    assert isinstance(found.constraint_multipliers, torch.Tensor)
    assert (np.abs(np.asarray(found.lower) - whole.lower) <= 2e-2 * scale).all()


def test_a_warm_start_loses_nothing() -> None:
    case = constrained_case(5)
    first = av.solve(case.problem, max_passes=200)
    again = av.solve(replace(case.problem, start=first), max_passes=0)
    assert (again.lower >= first.lower - 1e-9 * (1 + np.abs(first.lower))).all()
    parts = (*first.multipliers, first.constraint_multipliers)
    same = av.solve(replace(case.problem, start=parts), max_passes=0)
    assert np.array_equal(same.lower, again.lower)


def test_contradictions_are_flagged_with_multipliers_that_prove_it() -> None:
    box = av.Constraint.inputs([[1.0, 0.0], [-1.0, 0.0]], [0.1, -0.2])
    found = av.solve(stated(box))
    assert found.status == (av.Ended.INFEASIBLE,) * 2
    assert np.isposinf(np.asarray(found.lower)).all()
    assert not np.asarray(found.gap).any()
    mu = found.constraint_multipliers
    # 0.1 mu_0 >= mu_0 x >= ... : mu_1 0.2 - mu_0 0.1 > 0 with equal multipliers of x and -x.
    assert (0.2 * mu[:, 1] - 0.1 * mu[:, 0] - np.abs(mu[:, 1] - mu[:, 0]) > 0).all()


def test_smooth_networks_take_constraints() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    network = av.trace(module, torch.zeros(1, 3, dtype=torch.float64))
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4000, 3))
    y = np.asarray(network(x))
    limit = np.quantile(y[:, 0], 0.3)
    problem = av.Problem(
        network,
        av.Box(-np.ones(3), np.ones(3)),
        np.array([[0.0, 1.0]]),
        constraints=[av.Constraint.outputs([1.0, 0.0], limit), av.Constraint.inputs([1.0, 1.0, 1.0], 0.5)],
    )
    kept = y[(y[:, 0] <= limit) & (x.sum(axis=1) <= 0.5)]
    free = replace(problem, constraints=())
    start, best = (av.solve(free, max_passes=passes).lower[0] for passes in (0, None))
    for method in METHODS:
        found = av.solve(problem, method, max_passes=200)
        assert found.lower[0] <= kept[:, 1].min(), method
        # The primal-dual splitting is slow where constraints have to hold.
        assert found.lower[0] >= (start if method == "primal_dual" else best - 1e-3), method


@pytest.mark.parametrize("method", METHODS)
def test_given_bounds_that_contradict_each_other_are_flagged(method: str) -> None:
    """x_0 >= 0.1 and -x_0 >= 0.1 are possible for each neuron alone, and not for both."""
    network = chain([np.array([[1.0, 0.0], [-1.0, 0.0]]), EYE], [np.zeros(2), np.zeros(2)])
    bounds = av.PreactivationBounds.from_arrays(network, [(np.full(2, 0.1), np.ones(2))])
    found = av.solve(av.Problem(network, BOX, EYE, preactivation=bounds), method, max_passes=100)
    assert found.status == (av.Ended.INFEASIBLE,) * 2
    touching = av.PreactivationBounds.from_arrays(network, [(np.zeros(2), np.ones(2))])
    found = av.solve(av.Problem(network, BOX, EYE, preactivation=touching), method, settings=QUICK)
    assert np.max(np.asarray(found.lower)) <= 0
