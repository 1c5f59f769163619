"""Texts as networks: the same values, bounds of the numbers as they are written, and no proof where one is missing."""

from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Answer, Box, NonlinearSystem, Plant, Requirement
from admm_verify.bounds.preactivation import preactivation_bounds
from admm_verify.network.builder import Builder
from admm_verify.reach.discrete import reachable
from admm_verify.reach.discrete.rollout import rollout
from admm_verify.reach.discrete.written import writable, written
from tests.reach.discrete.test_plants import EXAMPLES, STEPS, paths_of, system_of
from tests.seeds import seeds

NODES = {
    "polynomial": ("x1*x2 - 0.3*x2**3 + 0.1", lambda x, y: x * y - 0.3 * y**3 + 0.1),
    "quotient": ("x1/(2 + x2**2) - 3/(4 + x1)", lambda x, y: x / (2 + y**2) - 3 / (4 + x)),
    "smooth": (
        "exp(-x1)*sqrt(2 + x2) + tanh(pi*x1)/7",
        lambda x, y: np.exp(-x) * np.sqrt(2 + y) + np.tanh(np.pi * x) / 7,
    ),
    "kinked": (
        "max(x1, abs(x2), 0.1) - min(x1, 1/3)",
        lambda x, y: np.maximum(np.maximum(x, abs(y)), 0.1) - np.minimum(x, 1 / 3),
    ),
    "constant": ("sin(0.3) + 2/3", lambda x, y: np.sin(0.3) + 2 / 3 + 0 * x),
}


def network_of(*texts: str) -> av.Network:
    plant, builder = Plant.read(texts, 2 - len(texts)), Builder((2,), "float64")
    parts = [builder.select(builder.input, np.array([i])) for i in range(2)]
    return builder.finish(written(builder, plant.rates, plant.values(parts[: len(texts)], parts[len(texts) :])), "text")


@pytest.mark.parametrize("name", NODES)
def test_nodes_compute_what_texts_say(name: str) -> None:
    text, function = NODES[name]
    network, x = network_of(text, "x2"), np.random.default_rng(0).uniform(-1, 1, (200, 2))
    np.testing.assert_allclose(network(x)[:, 0], function(*x.T), rtol=1e-13, atol=1e-14)
    lower, upper = np.array([-0.4, -0.7]), np.array([0.5, 0.2])
    rows = np.array([[1.0, 0.0], [-1.0, 0.0]])
    found = av.solve(av.Problem(network, Box(lower, upper), rows), max_passes=20)
    values = network(lower + (upper - lower) * (x + 1) / 2) @ rows.T
    assert (np.asarray(found.lower) <= values.min(axis=0)).all()
    assert (np.asarray(found.lower) >= values.min(axis=0) - 2.0).all()


def test_numbers_are_those_that_are_written() -> None:
    """0.1 (x1 + 0.2) / 3 at a point, exactly, lies within bounds that are some roundings wide."""
    network, point = network_of("0.1*(x1 + 0.2)/3 + 1e-3", "x2"), np.array([0.7, 0.0])
    exact = Fraction(1, 10) * (Fraction(0.7) + Fraction(2, 10)) / 3 + Fraction(1, 1000)
    rows = np.array([[1.0, 0.0], [-1.0, 0.0]])
    problem = av.Problem(
        network, Box(point, point), rows, preactivation=preactivation_bounds(network, Box(point, point))
    )
    low, minus = (Fraction(float(value)) for value in av.solve(problem, max_passes=0).lower)
    assert low <= exact <= -minus and -minus - low < Fraction(1, 10**12)


@pytest.mark.parametrize("name", ["bilinear", "kinked"])
@pytest.mark.parametrize("seed", seeds(1, 5))
def test_graphs_hold_every_trajectory_and_are_tighter_than_cells(name: str, seed: int, monkeypatch) -> None:
    rng = np.random.default_rng([seed, 33])
    example, box = EXAMPLES[name], Box(np.array([-0.3, 0.1]), np.array([0.1, 0.4]))
    system = system_of(example, rng)
    assert writable(system.plant.rates) and rollout(system, 1).network.functions
    task, settings = av.Task(name, system, box, STEPS), av.ReachSettings(method="crown", iterations=10)
    found = av.reach_sets(task, settings=settings).sets
    paths = paths_of(example, system, box, rng, 5000)
    for t in range(STEPS + 1):
        assert (np.max(paths[:, t] @ found.directions.T, axis=0) <= found.upper[t]).all()
    monkeypatch.setattr(reachable, "_MOST_FUNCTIONS", 0)
    cells = av.reach_sets(task, settings=settings).sets
    assert (found.upper[-1] <= cells.upper[-1]).all() and found.gap < 0.9 * cells.gap


def test_graphs_prove_nothing_of_plants_that_are_not_defined() -> None:
    """tanh of anything is in [-1, 1], but 1 / 0 is nothing."""
    system = NonlinearSystem(None, Plant.read(["0.5*x1", "tanh(1/x1)"], 0))
    limit = Requirement(av.Kind.ALWAYS_IN, av.Polytope.box([None, -2], [None, 2]), Fraction(0), Fraction(2))
    for low, outcome in ((-1.0, Answer.UNKNOWN), (0.5, Answer.VERIFIED)):
        task = av.Task("quotient", system, Box(np.array([low, 0.0]), np.ones(2)), 2, (limit,))
        (found,) = av.reach_sets(task, timeout=10, settings=av.ReachSettings(cells=20)).judgements
        assert found.outcome is outcome
