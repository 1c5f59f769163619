"""The rollout is the system, step by step."""

from dataclasses import replace

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Box, LinearSystem, NetworkSystem
from admm_verify.network.builder import Builder
from admm_verify.network.splice import splice
from admm_verify.reach.discrete.rollout import rollout
from tests.complete.networks import FAMILIES, network_of
from tests.reach.systems import KINDS, dense, drawn, initial, linear, simulated

STEPS = 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_the_rollout_simulates_the_system(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    system = KINDS[kind](rng)
    graph = rollout(system, STEPS)
    noisy = (system.noise, system.controller.noise) if isinstance(system, LinearSystem) else (None, None)
    x = drawn(rng, initial(system), 50, 1)[:, 0]
    process, sensor = (drawn(rng, box, 50, STEPS) for box in noisy)
    inputs = np.concatenate([x, process.reshape(50, -1), sensor.reshape(50, -1)], axis=1)
    np.testing.assert_allclose(
        graph.trajectories(inputs), simulated(system, x, process, sensor), rtol=1e-12, atol=1e-12
    )
    box = graph.inputs(Box.point(x))
    assert (box.lower <= inputs).all() and (inputs <= box.upper).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(5))
def test_a_spliced_network_computes_the_same(family: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = network_of(family, rng)
    builder = Builder((network.input_size,), "float64")
    again = builder.finish(splice(builder, network, builder.input), "again")
    x = rng.standard_normal((20, network.input_size))
    np.testing.assert_allclose(again(x), network(x).reshape(20, -1), rtol=1e-12, atol=1e-12)


def test_the_control_network_is_the_controller() -> None:
    rng = np.random.default_rng(0)
    system = linear(rng, noise=False)
    x = rng.standard_normal((100, 3))
    own = system.controller
    assert own.limits is not None
    u = np.clip(own.scale * own.network(x @ own.observe.T + own.shift).reshape(100, 1) + own.offset, *own.limits)
    np.testing.assert_allclose(own.law(x).reshape(100, 1), u, atol=1e-12)


def test_rows_are_directions_of_every_step() -> None:
    rng = np.random.default_rng(1)
    graph, directions = rollout(KINDS["autonomous"](rng), STEPS), rng.standard_normal((5, 2))
    states = rng.standard_normal((7, STEPS, 2))
    np.testing.assert_allclose(
        states.reshape(7, -1) @ graph.rows(directions).T,
        np.einsum("pts,ds->ptd", states, directions).reshape(7, -1),
    )


def test_sizes_that_do_not_fit_are_refused() -> None:
    rng = np.random.default_rng(2)
    good = linear(rng)
    with pytest.raises(av.InputError, match="at least one"):
        rollout(good, 0)
    with pytest.raises(av.InputError, match="takes 3 numbers and gives 2"):
        NetworkSystem(dense(rng, 3, 4, 2))
    with pytest.raises(av.InputError, match=r"a has shape \(2, 3\); give \(3, 3\)"):
        LinearSystem(good.controller, good.a[:2], good.b, good.c)
    with pytest.raises(av.InputError, match="both its matrix e and its set"):
        LinearSystem(good.controller, good.a, good.b, good.c, good.e)
    with pytest.raises(av.InputError, match="NaN or infinite"):
        LinearSystem(good.controller, np.nan * good.a, good.b, good.c)
    with pytest.raises(av.InputError, match=r"limits .* are empty"):
        replace(good.controller, limits=(np.array([1.0]), np.array([0.0])))
    with pytest.raises(av.InputError, match="sensor noise has shape"):
        replace(good.controller, limits=None, noise=Box(np.zeros(3), np.ones(3)))
