"""What outputs depend on: bounds of that are as they were, and those of all else stay what intervals give."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.influence import influence
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.network.simplify import simplify
from admm_verify.run import Run
from tests.random_networks import chain, random_graph


@pytest.mark.parametrize("seed", range(12))
def test_entries_without_influence_change_nothing(seed: int) -> None:
    network = simplify(random_graph(seed))
    rng = np.random.default_rng(seed)
    wanted = rng.random(network.output_size) < 0.4
    seen = influence(network, wanted)
    x = rng.standard_normal((20, network.input_size))
    other = np.where(seen[0], x, rng.standard_normal(x.shape))
    np.testing.assert_array_equal(network(x)[:, wanted], network(other)[:, wanted])
    assert not np.any(influence(network, np.zeros(network.output_size, dtype=bool))[0])


def two_towers(seed: int) -> av.Network:
    """Two networks side by side, an output each."""
    rng = np.random.default_rng(seed)
    weights = []
    for rows, columns in ((8, 4), (8, 8), (8, 8), (1, 8)):
        weight = np.zeros((2 * rows, 2 * columns))
        for k in (0, 1):
            weight[k * rows : (k + 1) * rows, k * columns : (k + 1) * columns] = rng.standard_normal((rows, columns))
        weights.append(weight)
    return chain(weights, [rng.standard_normal(len(weight)) for weight in weights])


@pytest.mark.parametrize("method", ["crown", "tightened"])
def test_bounds_of_what_outputs_depend_on_stay_the_same(method: str) -> None:
    network = two_towers(0)
    box = av.Box(-np.ones((1, 8)), np.ones((1, 8)))
    run = Run.of(None)
    objective = np.array([[1.0, 0.0]])
    seen = influence(network, objective[0] != 0)
    assert [int(seen[i].sum()) for i in range(len(network.nodes))] == [4, *[8] * 6, 1]
    whole, part, interval = (
        derived_bounds(network, box, method, run, plain=False),
        derived_bounds(network, box, method, run, objective=objective),
        derived_bounds(network, box, "interval", run),
    )
    for k, source in enumerate(network.sources):
        own = seen[source]
        for side in ("lower", "upper"):
            found = getattr(part, side)[k]
            np.testing.assert_allclose(found[:, own], getattr(whole, side)[k][:, own], rtol=1e-6)
            np.testing.assert_array_equal(found[:, ~own], getattr(interval, side)[k][:, ~own])
    assert (whole.upper[2] < interval.upper[2]).any()
