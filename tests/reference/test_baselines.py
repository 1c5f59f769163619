"""Bounds of real networks against stored LP optima of the same relaxation."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from admm_verify import Box, Network, Problem, SolverSettings, preactivation_bounds, solve
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.network.simplify import simplify
from admm_verify.splitting.solve import METHODS
from tests.random_networks import chain
from tests.shared import SHARED, needs_shared

pytestmark = [pytest.mark.data, needs_shared]

INSTANCES = [
    f"inst_img{image}_eps{radius}_{bounds}.npz"
    for image in range(5)
    for radius in ("0.01", "0.02", "0.05")
    for bounds in ("kw", "ibp")
]
FIRST_IMAGE = [name for name in INSTANCES if "img0" in name]
PRECISIONS = ("float32", "float64")


@cache
def network(model: str) -> Network:
    """The dense network of a folder or file of the data set: keys W0, b0, ... or 1.weight, 1.bias, 3.weight, ..."""
    path = SHARED / "data" / model
    with np.load(path if path.suffix else path / "weights.npz") as stored:
        if "W0" in stored:
            layers = [(f"W{k}", f"b{k}") for k in range(sum(key.startswith("W") for key in stored))]
        else:
            numbers = sorted(int(key.split(".")[0]) for key in stored if key.endswith("weight"))
            layers = [(f"{number}.weight", f"{number}.bias") for number in numbers]
        weights = [stored[weight].astype(np.float64) for weight, _ in layers]
        biases = [stored[bias].astype(np.float64) for _, bias in layers]
    return simplify(chain(weights, biases))


@cache
def stored_instances() -> dict[str, dict[str, Any]]:
    text = (SHARED / "baselines" / "mnist_fc_lp" / "baseline.json").read_text()
    return {instance["npz"]: instance for instance in json.loads(text)["instances"]}


@cache
def instance(name: str) -> tuple[Problem, np.ndarray]:
    """A stored MNIST instance with its own pre-activation bounds, and the LP optimum of each row."""
    classifier = network("classifiers/mnist_fc_deepsplit")
    with np.load(SHARED / "baselines" / "mnist_fc_lp" / name) as stored:
        pairs = [(stored[f"lb{k}"], stored[f"ub{k}"]) for k in range(4)]
        box, objective = Box(stored["l0"], stored["u0"]), stored["C"]
    bounds = PreactivationBounds.from_arrays(classifier, pairs)
    return Problem(classifier, box, objective, 0.0, bounds), np.array(stored_instances()[name]["lp_optimum"])


def check(name: str, method: str, precision: str, iterations: int) -> None:
    problem, optimum = instance(name)
    found = solve(
        problem, method, settings=SolverSettings(tolerance=0.0, max_passes=2 * iterations, precision=precision)
    )
    label = f"{name}, {method}, {precision}, {iterations} iterations"
    assert np.isfinite(found.lower).all(), label
    # The stored optima carry the tolerance of the LP solver.
    slack = 1e-9 * np.abs(optimum)
    assert (found.lower <= optimum + slack).all(), f"{label}: {found.lower - optimum}"
    assert (found.relaxation_upper >= optimum - 1e-6 * np.abs(optimum)).all(), (
        f"{label}: {found.relaxation_upper - optimum}"
    )
    crown = np.array(stored_instances()[name]["crown_bound"])
    # DeepSplit's CROWN bound takes its slopes from the same bounds, in other arithmetic.
    assert (found.lower >= crown - 1e-6 * np.abs(crown)).all(), f"{label}: {found.lower - crown}"


def test_the_list_of_instances_is_the_stored_one() -> None:
    assert sorted(INSTANCES) == sorted(stored_instances())


# The slow run takes all instances, also through a hundred and a thousand iterations.
@pytest.mark.parametrize("iterations", [1, 10])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FIRST_IMAGE)
def test_bounds_stay_below_stored_lp_optima(name: str, method: str, precision: str, iterations: int) -> None:
    check(name, method, precision, iterations)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", INSTANCES)
def test_bounds_of_all_instances_stay_below_stored_lp_optima(name: str, method: str) -> None:
    """Each number of iterations in one precision, which half of the methods of an instance share."""
    turn = list(INSTANCES).index(name) + list(METHODS).index(method)
    for k, iterations in enumerate((1, 10, 100, 1000)):
        check(name, method, PRECISIONS[(turn + k) % 2], iterations)


@cache
def stored_values() -> dict[str, dict[str, Any]]:
    text = (SHARED / "data" / "lp_values" / "lp_values.json").read_text()
    return {value["id"].removeprefix("lp/"): value for value in json.loads(text)}


VALUES = [
    *(f"dqn_cartpole_{k}" for k in range(3)),
    "acasxu_1_1_prop3",
    *(f"double_integrator_u_{side}" for side in ("min", "max")),
    *(f"mnist_3x100_{image}" for image in ("img0_3", "img1_3", "img2_8")),
    *(f"mnist_6x100_{image}" for image in ("img0_0.01", "img1_0.01", "img0_0.026")),
    *(f"mnist_fc_deepsplit_img0_{radius}" for radius in ("0.005", "0.02")),
]


def stored_problem(name: str) -> tuple[Problem, float]:
    """The problem of a stored LP value, with interval bounds as there, and the value."""
    value = stored_values()[name]
    model = network(value["model"])
    box = Box(value["input_box"]["lower"], value["input_box"]["upper"])
    bounds = preactivation_bounds(model, box, "interval")
    return Problem(model, box, value["objective"], 0.0, bounds), value["lp_minimum"]


def test_the_list_of_values_is_the_stored_one() -> None:
    assert sorted(VALUES) == sorted(stored_values())


@pytest.mark.parametrize("name", VALUES)
def test_interval_bounds_are_those_of_the_stored_values(name: str) -> None:
    problem, _ = stored_problem(name)
    known = stored_values()[name]
    first = problem.preactivation.lower[0].sum(), problem.preactivation.upper[0].sum()
    expected = known["ibp_check"]["layer1_lower_sum"], known["ibp_check"]["layer1_upper_sum"]
    assert np.allclose(first, expected, rtol=1e-9)
    unstable = sum(
        int(((low < 0) & (high > 0)).sum())
        for low, high in zip(problem.preactivation.lower, problem.preactivation.upper, strict=True)
    )
    assert unstable == known["unstable_relus"]


def check_value(name: str, method: str) -> None:
    """The stored optimum to 1e-4 from below, in one setting for all networks."""
    problem, optimum = stored_problem(name)
    found = solve(problem, method, settings=SolverSettings(tolerance=5e-5 * min(1.0, abs(optimum)), max_passes=5000))
    # HiGHS keeps constraints to 1e-7, and the weights of these networks carry that into the optimum.
    slack = 1e-7 * max(1.0, abs(optimum))
    assert found.lower[0] <= optimum + slack
    assert found.relaxation_upper[0] >= optimum - slack
    assert found.lower[0] >= optimum - 1e-4 * abs(optimum), f"{(optimum - found.lower[0]) / abs(optimum):.1e} away"


@pytest.mark.parametrize("name", VALUES)
def test_stored_lp_values_are_reproduced_from_below(name: str) -> None:
    check_value(name, "auto")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["admm", "ascent", "primal_dual"])
@pytest.mark.parametrize("name", VALUES)
def test_stored_lp_values_are_reproduced_by_the_other_methods(name: str, method: str) -> None:
    check_value(name, method)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", VALUES)
def test_every_method_stays_below_stored_lp_values(name: str, method: str) -> None:
    problem, optimum = stored_problem(name)
    size = max(1.0, abs(optimum))
    for precision in PRECISIONS:
        found = solve(problem, method, settings=SolverSettings(tolerance=0.0, max_passes=400, precision=precision))
        assert found.lower[0] <= optimum + 1e-7 * size <= found.relaxation_upper[0] + 2e-7 * size
