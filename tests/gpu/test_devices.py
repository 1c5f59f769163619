"""The device of a run is where the work is done, at every door that takes one; else it is refused in words."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import Placement, to_numpy
from admm_verify.attacks.search import SEQUENCE, attack
from admm_verify.attacks.targets import Targets
from admm_verify.backends import torch_device
from admm_verify.bounds.conditional import ConditionalBounds, conditional_bounds
from admm_verify.bounds.planes import Condition
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import unit_rows
from tests.gpu.events import Events, What
from tests.gpu.pretend import PretendGpu, pretend_gpu


@pytest.fixture
def gpu():
    with pretend_gpu(devices=2) as found:
        yield found


def controlled() -> av.Task:
    """Three steps of a network of two states."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in ((2, 12), (12, 12), (12, 2))]
    system = av.NetworkSystem(network_from_layers(weights, [0.1 * rng.standard_normal(len(w)) for w in weights]))
    return av.Task("made up", system, av.Box(np.zeros(2), np.ones(2)), 3)


@pytest.mark.parametrize("method", ["interval", "crown", "tightened"])
def test_bounds_of_boxes_of_the_host_are_computed_on_the_device(gpu, small_network, method: str) -> None:
    box = av.Box.around(np.zeros((3, 4)), 0.5)
    expected, there = av.preactivation_bounds(small_network, box, method), av.Run(device="cuda:1")
    # Kernels are tried on the first device before they are used.
    av.preactivation_bounds(small_network, box, method, run=there)
    gpu.events.clear()
    found = av.preactivation_bounds(small_network, box, method, run=there)
    kernels = [event for event in gpu.events if event.what is What.KERNEL and event.shape]
    assert len(kernels) > 20 and {event.device for event in kernels} == {1}
    for end, other in zip(found.lower + found.upper, expected.lower + expected.upper, strict=True):
        assert isinstance(end, np.ndarray) and np.allclose(end, other, atol=1e-9)
    problem = av.Problem(small_network, box, np.ones((3, 3)), preactivation=found)
    assert np.isfinite(av.solve(problem, max_passes=2).lower).all()


@pytest.mark.parametrize("method", ["crown", "tightened"])
def test_reachable_sets_are_computed_on_the_device(gpu, method: str) -> None:
    settings = av.ReachSettings(method=method, grid=2)
    expected = av.reach_sets(controlled(), settings=settings).sets
    gpu.events.clear()
    found = av.reach_sets(controlled(), settings=settings, run=av.Run(device="cuda")).sets
    assert gpu.events.kernels > 100
    # Iterations are in float32 there.
    assert np.allclose(found.upper, expected.upper, atol=1e-3)


def test_images_of_sets_are_computed_on_the_device(gpu, small_network) -> None:
    box, rows = av.Box(np.full(4, -0.5), np.full(4, 0.5)), np.eye(3)
    expected = av.set_image(small_network, box, rows).support
    gpu.events.clear()
    found = av.set_image(small_network, box, rows, run=av.Run(device="cuda")).support
    assert gpu.events.kernels > 20 and np.allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("horizon", ["continuous", "long"])
def test_what_the_host_alone_computes_refuses_a_gpu(gpu, horizon: str) -> None:
    plant = av.Plant.read(["x2", "-sin(x1) - 0.2*x2 + u1"], 1)
    controller = av.Controller.of(network_from_layers([np.array([[-0.1, -0.1]])], [np.zeros(1)]))
    system = av.ContinuousSystem(controller, plant, Fraction(1, 10))
    if horizon == "long":
        system = av.NonlinearSystem(controller, plant)
    task = av.Task("pendulum", system, av.Box(np.zeros(2), np.full(2, 0.1)), 2)
    settings = av.ReachSettings(tolerance=0.5 if horizon == "long" else None)
    for device in ("cpu", "auto", None):
        assert av.reach_sets(task, settings=settings, run=av.Run(device=device)).sets.upper.shape
    with pytest.raises(av.InputError, match=r"'cuda:1' is of no use here.*Leave the device out"):
        av.reach_sets(task, settings=settings, run=av.Run(device="cuda:1"))


def test_rows_of_the_identity_are_made_on_the_device(gpu) -> None:
    place = Placement.of(gpu.tensor(np.zeros(1)))
    gpu.events.clear()
    found = unit_rows(np.array([3, 0, 3]), 1000, place)
    assert gpu.events.bytes(What.TO_DEVICE) <= 3 * 8 and gpu.events.host_reads == 0
    assert np.array_equal(found.cpu().numpy(), np.eye(1000)[[3, 0, 3]])


@pytest.mark.parametrize("bytes_", [2**28, 0])
def test_results_come_through_pinned_memory(gpu, small_network, monkeypatch, bytes_: int) -> None:
    monkeypatch.setattr(torch_device, "_PINNED_BYTES", bytes_)
    some = av.Problem(small_network, av.Box(np.full(4, -0.5), np.full(4, 0.5)), np.eye(3))
    expected = av.solve(some, "ascent", max_passes=8, settings=av.SolverSettings(precision="float64"))
    gpu.events.clear()
    found = av.solve(some, "ascent", max_passes=8, device="cuda", settings=av.SolverSettings(precision="float64"))
    results = [event for event in gpu.events if event.what is What.TO_HOST and event.name in ("copy_", "to")]
    pinned = [event for event in results if not event.waits]
    # Lower, upper, primal, multipliers of two layers and of no constraints: pinned, and the host waits once for all.
    assert (len(pinned), gpu.events.count(What.SYNC)) == ((6, 1) if bytes_ else (0, 0)), gpu.events.table()
    assert isinstance(found.lower, np.ndarray) and np.allclose(found.lower, expected.lower, rtol=1e-12)
    assert np.allclose(found.primal, expected.primal)


@pytest.mark.parametrize("method", ["ascent", "admm"])
def test_blocks_share_the_network_that_one_of_them_has_moved(gpu, small_network, method: str, monkeypatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("the host decomposes")

    monkeypatch.setattr(np.linalg, "svd", refused)
    # Without elimination, whose matrices are each block's own.
    monkeypatch.setattr("admm_verify.splitting.solve.can_eliminate", lambda problem: False)
    rng = np.random.default_rng(0)
    rows, box = rng.standard_normal((9, 3)), av.Box(np.full(4, -0.5), np.full(4, 0.5))
    settings = av.SolverSettings(tolerance=0.0, max_passes=8, precision="float32")
    parts = [av.Problem(small_network, box, rows[first : first + 3]) for first in (0, 3, 6)]
    alone = [av.solve(part, method, device="cuda", settings=settings).lower for part in parts]
    gpu.events.clear()
    narrow = replace(settings, device_block_numbers=3 * sum(node.size for node in small_network.nodes))
    found = av.solve(av.Problem(small_network, box, rows), method, device="cuda", settings=narrow).lower
    weights = [node.terms[0].map.weight.shape for node in small_network.affine.values()]
    uploads = [event.shape for event in gpu.events if event.what is What.TO_DEVICE]
    assert np.allclose(found, np.concatenate(alone), atol=1e-4)
    # In float64 and in float32; of three blocks.
    assert all(1 <= uploads.count(shape) <= 2 * weights.count(shape) for shape in set(weights) if method == "ascent")
    # The last layer is part of the objective.
    decomposed = [event.device for event in gpu.events if event.what is What.KERNEL and event.name == "_linalg_svd"]
    assert decomposed == ([0] * (len(weights) - 1) if method == "admm" else [])


def decided(gpu: PretendGpu, query: av.Query, device: str | None, **settings: object) -> tuple[av.Outcome, Events]:
    """The outcome on a device, and the kernels that ran for it."""
    gpu.events.clear()
    found = av.verify(query, device=device, settings=replace(av.VerifySettings(), **settings))
    return found, Events(gpu.events.where(lambda event: event.what is What.KERNEL and event.shape != ()))


def files(events: Events) -> set[str]:
    """The files of the library that asked for kernels, directly or through others."""
    return {line.partition(":")[0] for event in events for line in event.lines}


def hard(share: float) -> av.Query:
    """A query that the root decides by tightened bounds or refinement, or leaves open, by how far away it is."""
    rng, sizes = np.random.default_rng(2), (24, 12, 12, 2)
    weights = [rng.normal(size=pair[::-1]) / np.sqrt(pair[0]) for pair in pairwise(sizes)]
    network = network_from_layers(weights, [rng.normal(size=size) for size in sizes[1:]])
    sampled = network(rng.uniform(-0.3, 0.3, size=(5000, 24)))
    levels = sampled.max(axis=0) + share * np.ptp(sampled, axis=0)
    return av.query(network, av.Box(np.full(24, -0.3), np.full(24, 0.3)), "y0 >= {} or y1 >= {}".format(*levels))


@pytest.mark.parametrize("share", [0.45, 0.6])
def test_the_root_of_a_query_is_bounded_on_the_device(gpu, share: float) -> None:
    query = hard(share)
    expected, none = decided(gpu, query, None, max_subproblems=0)
    found, kernels = decided(gpu, query, "cuda:1", max_subproblems=0)
    assert not list(none) and {event.device for event in kernels} == {1}
    assert {"bounds/preactivation.py", "bounds/tighten.py", "splitting/solve.py", "attacks/hunt.py"} <= files(kernels)
    assert found.verdict is expected.verdict and found.undecided == expected.undecided
    # Iterations are in float32 there.
    assert np.allclose(found.rows_lower, expected.rows_lower, atol=1e-3)


def test_refinement_takes_place_on_the_device(gpu) -> None:
    query, drawn = hard(0.4), av.VerifySettings()
    search = replace(drawn.search, refinement=av.RefineSettings(rounds=2))
    expected, _ = decided(gpu, query, None, search=search, max_subproblems=1)
    found, kernels = decided(gpu, query, "cuda:1", search=search, max_subproblems=1)
    assert found.verdict is expected.verdict
    assert {"bounds/conditional.py", "complete/refine.py"} <= files(kernels)
    assert {event.device for event in kernels} == {1}


def test_conditional_bounds_are_those_of_the_host(gpu) -> None:
    rng, network = np.random.default_rng(0), hard(0.4).network
    box = av.Box(np.full((2, 24), -0.3), np.full((2, 24), 0.3))
    pre = av.preactivation_bounds(network, box)
    ends = [tuple(map(to_numpy, side)) for side in (pre.lower, pre.upper)]
    known = ConditionalBounds(*ends, np.zeros(2, dtype=bool))
    solved = av.solve(av.Problem(network, box, np.eye(2), preactivation=pre), "ascent")
    # Of all values the lowest ones alone.
    condition = Condition(np.eye(2)[:, None], -solved.lower[:, None] - 0.2, [g[:, None] for g in solved.multipliers])
    wanted = [np.stack([rng.permutation(end.shape[1])[:7] for _ in range(2)]) for end in pre.lower]
    place = Placement.of(gpu.tensor(np.zeros(1)))
    found, expected = (
        conditional_bounds(network.put(home), box.put(home), known, condition, wanted, av.RefineSettings(), av.Run())
        for home in (place, Placement.numpy())
    )
    assert any(np.any(low > before) for low, before in zip(expected.lower, known.lower, strict=True))
    assert np.array_equal(found.empty, expected.empty)
    for end, other in zip(found.lower + found.upper, expected.lower + expected.upper, strict=True):
        assert isinstance(end, np.ndarray) and np.allclose(end, other, atol=1e-4)


@pytest.mark.parametrize("number", range(len(SEQUENCE)))
def test_attacks_take_place_where_their_targets_are(gpu, number: int) -> None:
    rng, network = np.random.default_rng(1), hard(0.4).network.put(Placement.numpy())
    box = av.Box(np.full((2, 24), -0.3), np.full((2, 24), 0.3))
    here = Targets(box, rng.standard_normal((2, 1, 2)), np.full((2, 1), 50.0))
    there = here.put(Placement.of(gpu.tensor(np.zeros(1), "cuda:1")))
    gpu.events.clear()
    found, expected = (attack(network, targets, [SEQUENCE[number]], seed=3) for targets in (there, here))
    kernels = gpu.events.where(lambda event: event.what is What.KERNEL and event.shape != ())
    assert len(list(kernels)) > 20 and {event.device for event in kernels} == {1}
    assert np.allclose(to_numpy(found.loss), expected.loss, atol=1e-6)
    assert np.all(to_numpy(found.x) >= -0.3) and np.all(to_numpy(found.x) <= 0.3)
    weights = [node.terms[0].map.dense().weight.shape for node in network.affine.values()]
    uploads = [event.shape for event in gpu.events if event.what is What.TO_DEVICE]
    assert all(uploads.count(shape) <= 1 for shape in weights)


def test_points_are_tried_on_the_device(gpu) -> None:
    query = hard(-0.3)
    found, kernels = decided(gpu, query, "cuda:1")
    assert found.verdict is av.Verdict.SAT and found.counterexample is not None
    assert {event.device for event in kernels} == {1}
    # The network itself is computed in its own type for no other reason.
    asked = {line.partition(":")[0] for event in kernels if event.dtype == "float32" for line in event.lines}
    assert "network/activations.py" in asked


@pytest.mark.parametrize("device", ["cuda:1", None])
def test_distances_take_bounds_of_the_device(gpu, small_network, device: str | None) -> None:
    box = av.Box(np.full(4, -0.5), np.full(4, 0.5))
    outputs = small_network(np.random.default_rng(0).uniform(-0.5, 0.5, (500, 4)))
    settings = av.DistanceSettings(max_cells=200)
    target, condition = (
        av.Box(outputs.max(axis=0) + 1.0, outputs.max(axis=0) + 2.0),
        f"y0 >= {np.median(outputs[:, 0])}",
    )
    asked = av.query(small_network, box, condition)
    expected = av.distance(small_network, box, target, settings=settings)
    nearest = av.closest_counterexample(asked, np.zeros(4), settings=settings)
    gpu.events.clear()
    run = av.Run(device=device)
    assert np.isclose(av.distance(small_network, box, target, settings=settings, run=run).lower, expected.lower)
    found = av.closest_counterexample(asked, np.zeros(4), settings=settings, run=run)
    assert np.isclose(found.lower, nearest.lower) and np.isclose(found.upper, nearest.upper)
    devices = {event.device for event in gpu.events if event.what is What.KERNEL and event.shape}
    assert devices == (set() if device is None else {1})


@pytest.mark.parametrize("method", ["ascent", "admm"])
@pytest.mark.parametrize("home", ["host", "device"])
def test_stable_neurons_are_eliminated_on_the_device(gpu, method: str, home: str) -> None:
    rng, sizes = np.random.default_rng(4), (6, 30, 30, 3)
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    network = network_from_layers(weights, [rng.standard_normal(m) for m in sizes[1:]])
    box = av.Box.around(rng.random((4, 6)), radius=0.05)
    some = av.Problem(network, box, rng.standard_normal((4, 3)))
    stable = [np.all((low >= 0) | (high <= 0), axis=0).mean() for low, high in zip(*ends_of(some), strict=True)]
    assert min(stable) > 0.5
    settings = av.SolverSettings(precision="float64", tolerance=0.0)
    expected = av.solve(some, method, max_passes=400, settings=settings)
    if home == "device":
        there = av.Box(gpu.tensor(box.lower), gpu.tensor(box.upper))
        some = av.Problem(network, there, gpu.tensor(some.objective))
    gpu.events.clear()
    found = av.solve(some, method, max_passes=400, device="cuda", settings=settings)
    products = [event for event in gpu.events if "splitting/eliminate.py" in files(Events([event]))]
    assert sum(event.name == "mm" for event in products) >= 2
    # Which neurons are stable, and which matrices are zero; no bounds, and no weights.
    copied = [event.shape for event in products if event.what is What.TO_HOST]
    assert all(len(shape) == 1 or shape[0] == 2 for shape in copied) and len(copied) <= 3
    assert np.allclose(to_numpy(found.lower), expected.lower, rtol=1e-5, atol=1e-5)


def ends_of(problem: av.Problem) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Lower and upper bounds of all activations' inputs."""
    lower, upper = ([to_numpy(end) for end in side] for side in (problem.bounds.lower, problem.bounds.upper))
    return lower, upper
