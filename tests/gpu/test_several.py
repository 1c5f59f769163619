"""Blocks of rows go round several devices: the same results as on one, and a clean end where one of them fails."""

import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import Placement, to_numpy
from admm_verify.backends.several import Devices
from admm_verify.network.layers import network_from_layers
from admm_verify.splitting import solve as solving
from tests.gpu.events import What
from tests.gpu.pretend import PretendGpu, pretend_gpu

ROWS = 8
RADII = (0.01, 0.05, 0.2)
BOTH = "cuda:0,cuda:1"
SOME = [pytest.param(range(1, 21, 9), id="some"), pytest.param(range(1, 21), id="all", marks=pytest.mark.slow)]
"""Numbers of allocations that fail."""


@pytest.fixture
def gpu():
    with pretend_gpu(devices=2) as found:
        yield found


@pytest.fixture(scope="module")
def network() -> av.Network:
    rng, sizes = np.random.default_rng(3), (5, 12, 11, 3)
    weights = [rng.standard_normal((m, n)) for n, m in pairwise(sizes)]
    return network_from_layers(weights, [rng.standard_normal(m) for m in sizes[1:]])


@pytest.fixture(scope="module")
def box() -> av.Box:
    return av.Box.around(np.random.default_rng(4).random((ROWS, 5)), radius=0.2)


@pytest.fixture(scope="module")
def problem(network, box) -> av.Problem:
    objective = np.random.default_rng(5).standard_normal((ROWS, 3))
    return av.Problem(network, box, objective, preactivation=av.preactivation_bounds(network, box))


@pytest.fixture
def spans(monkeypatch) -> list[tuple[int, tuple[int, int]]]:
    """The blocks of rows that `solve` began, with the numbers of their devices."""
    begun, solved = [], solving.Block.solved

    def counted(self: solving.Block, first: int, last: int) -> av.Solution:
        begun.append((self.placement.device.index, (first, last)))
        return solved(self, first, last)

    monkeypatch.setattr(solving.Block, "solved", counted)
    return begun


def settings(problem: av.Problem, rows: int) -> av.SolverSettings:
    """Those with blocks of so many rows."""
    numbers = rows * sum(node.size for node in problem.network.nodes)
    return av.SolverSettings(
        precision="float64", tolerance=1e-9, check_interval=2, max_passes=4, device_block_numbers=numbers
    )


def kernels(gpu: PretendGpu, index: int) -> int:
    return sum(event.what is What.KERNEL and event.device == index and event.shape != () for event in gpu.events)


@pytest.mark.parametrize("method", ["ascent", "primal_dual", "admm", "auto"])
@pytest.mark.parametrize("device", [BOTH, "cuda:all"])
def test_rows_of_a_problem_go_round_devices(gpu, problem, spans, method: str, device: str) -> None:
    chosen = settings(problem, 3)
    expected = av.solve(problem, method, device="cuda:1", settings=chosen)
    assert [span for _, span in spans] == [(0, 3), (3, 6), (6, 8)]
    spans.clear()
    gpu.events.clear()
    found = av.solve(problem, method, device=device, settings=chosen)
    assert sorted(span for _, span in spans) == [(0, 3), (3, 6), (6, 8)]
    assert (0, (0, 3)) in spans and (1, (3, 6)) in spans
    assert min(kernels(gpu, 0), kernels(gpu, 1)) > 50
    for name in ("lower", "relaxation_upper", "primal", "passes"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert found.status == expected.status
    assert not gpu.events.count(What.BETWEEN)


def test_boxes_on_a_device_go_round_devices(gpu, problem) -> None:
    inside = av.Box(gpu.tensor(problem.inputs.lower, "cuda:1"), gpu.tensor(problem.inputs.upper, "cuda:1"))
    there = av.Problem(problem.network, inside, gpu.tensor(problem.objective, "cuda:1"))
    found = av.solve(there, "ascent", device=BOTH, settings=settings(problem, 4))
    assert found.lower.device.index == 1 and min(kernels(gpu, 0), kernels(gpu, 1)) > 50
    expected = av.solve(problem, "ascent", device="cuda", settings=settings(problem, 4))
    assert np.allclose(to_numpy(found.lower), expected.lower, rtol=1e-10, atol=1e-10)


def test_a_row_alone_takes_one_device(gpu, problem, spans) -> None:
    av.solve(problem.block(0, 1), "ascent", device=BOTH, settings=settings(problem, 4))
    assert spans == [(0, (0, 1))]


@pytest.mark.parametrize("method", ["interval", "crown", "tightened"])
def test_bounds_of_layers_go_round_devices(gpu, network, box, method: str) -> None:
    expected = av.preactivation_bounds(network, box, method, run=av.Run(device="cuda:1"))
    gpu.events.clear()
    found = av.preactivation_bounds(network, box, method, run=av.Run(device=BOTH))
    assert min(kernels(gpu, 0), kernels(gpu, 1)) > 20
    for end, other in zip(found.lower + found.upper, expected.lower + expected.upper, strict=True):
        # Iterations of tightening go other ways in blocks of other sizes.
        assert isinstance(end, np.ndarray) and np.allclose(end, other, atol=1e-3 if method == "tightened" else 1e-12)
    again = av.preactivation_bounds(network, box, method, known=found, run=av.Run(device=BOTH))
    assert all(np.all(end >= other) for end, other in zip(again.lower, found.lower, strict=True))
    assert np.isfinite(
        av.solve(av.Problem(network, box, np.ones((ROWS, 3)), preactivation=found), "ascent").lower
    ).all()


def test_bounds_of_outputs_go_round_devices(gpu, network, box) -> None:
    expected = av.output_bounds(network, box, "ascent")
    gpu.events.clear()
    found = av.output_bounds(network, box, "ascent", run=av.Run(device=BOTH))
    assert min(kernels(gpu, 0), kernels(gpu, 1)) > 100
    assert np.allclose(found.lower, expected.lower, atol=1e-3) and np.allclose(found.upper, expected.upper, atol=1e-3)


@pytest.mark.parametrize("search", [None, 5.0])
def test_images_go_round_devices(gpu, network, search: float | None, tmp_path) -> None:
    images = np.random.default_rng(6).random((ROWS, 5))
    labels = to_numpy(network(images)).argmax(axis=1)
    labels[1] = (labels[1] + 1) % 3

    def certified(device: str | None, name: str) -> av.Certification:
        chosen = av.CertifySettings(bounds="tightened", output=tmp_path / name, search=search)
        return av.certify(network, images, labels, RADII, settings=chosen, run=av.Run(device=device))

    expected = certified("cuda:1", "one")
    gpu.events.clear()
    found = certified(BOTH, "two")
    assert min(kernels(gpu, 0), kernels(gpu, 1)) > 100
    assert np.array_equal(found.status, expected.status) and np.array_equal(found.correct, expected.correct)
    lines = [json.loads(line) for line in (tmp_path / "two").read_text().splitlines()[1:]]
    assert {(line["image"], line["radius"]) for line in lines} == {(k, r) for k in range(ROWS) for r in RADII}
    assert np.array_equal(certified(None, "two").status, expected.status)


@pytest.mark.parametrize("ks", SOME)
def test_a_device_whose_memory_runs_out_halves_its_own_blocks(gpu, problem, spans, ks: range) -> None:
    chosen = settings(problem, 2)
    expected = av.solve(problem, "ascent", device="cuda", settings=chosen).lower
    alone = [av.solve(problem.block(k, k + 1), "ascent", device="cuda", settings=chosen).lower for k in range(ROWS)]
    for k in ks:
        spans.clear()
        gpu.memories[1].restart(fails_at=(k,))
        found = av.solve(problem, "ascent", device=BOTH, settings=chosen).lower
        assert gpu.memories[1].failures == 1
        assert all(last - first == 2 for index, (first, last) in spans if index == 0)
        own = [span for index, span in spans if index == 1]
        assert own[:3] == [(2, 4), (2, 3), (3, 4)] and all(last - first == 1 for first, last in own[1:])
        halved = [first for first, _ in own[1:]]
        assert np.array_equal(found[halved], np.concatenate([alone[row] for row in halved]))
        others = np.setdiff1d(np.arange(ROWS), halved)
        assert np.array_equal(found[others], expected[others])


@pytest.mark.parametrize("ks", SOME)
def test_nothing_is_left_where_memory_ran_out_on_two_devices(gpu, problem, ks: range) -> None:
    chosen = settings(problem, 2)
    av.solve(problem, "ascent", device=BOTH, settings=chosen)
    kept = [memory.live for memory in gpu.memories]
    for k in ks:
        for memory in gpu.memories:
            memory.restart(fails_at=(k,))
        assert np.isfinite(av.solve(problem, "ascent", device=BOTH, settings=chosen).lower).all()
        assert [memory.failures for memory in gpu.memories] == [1, 1]
        assert [memory.live for memory in gpu.memories] == kept, k
    for memory in gpu.memories:
        memory.restart(fails_at=tuple(range(30, 10**5)))
    with pytest.raises(MemoryError):
        av.solve(problem, "ascent", device=BOTH, settings=chosen)


class Broken(Exception):
    """Something that nobody foresaw."""


def devices() -> Devices:
    places = tuple(Placement.of(np.zeros(1)) for _ in range(2))
    return Devices.of(tuple(replace(place, dtype=dtype) for place, dtype in zip(places, "fd", strict=True)), av.Run())


def ending(found: Devices, first: int, work: Callable[[], object]) -> object:
    """What a block does: the first one something, others until they are to end."""
    if first == 0:
        return work()
    end = time.monotonic() + 20.0
    while not found.given_up():
        assert time.monotonic() < end
        time.sleep(0.01)
    return None


def raising() -> object:
    raise Broken("broken")


def test_an_exception_of_one_device_ends_all() -> None:
    found, begun = devices(), []
    began = time.monotonic()

    def work(place: Placement, first: int, last: int) -> object:
        begun.append(first)
        return ending(found, first, raising)

    with pytest.raises(Broken, match="broken"):
        found.blocks(8, 2, work)
    assert time.monotonic() - began < 5.0 and set(begun) <= {0, 2}


def test_an_interrupt_ends_all_devices() -> None:
    found = devices()
    timer = threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        found.blocks(2, 1, lambda place, first, last: ending(found, 1, raising))
    assert time.monotonic() - began < 5.0


def test_a_timeout_ends_all_devices(gpu, problem) -> None:
    endless = replace(settings(problem, 2), max_passes=10**8, tolerance=0.0)
    began = time.monotonic()
    found = av.solve(problem, "admm", device=BOTH, settings=endless, timeout=1.0)
    assert time.monotonic() - began < 6.0
    assert np.isfinite(found.lower).all() and set(found.status) == {av.Ended.TIMED_OUT}


def test_what_one_device_computes_refuses_several(gpu, network, box) -> None:
    query = av.query(network, box.at(0), "y0 >= 100")
    with pytest.raises(av.InputError, match=r"'cuda:all' names several, and this is computed on one.*solve, certify"):
        av.verify(query, device="cuda:all")
    assert not gpu.events.count(What.KERNEL)


def test_devices_that_are_not_there_are_named(gpu, problem) -> None:
    with pytest.raises(av.DeviceError, match=r"'cuda:2' was asked for.*finds 2 CUDA.*one of 'cuda:0', 'cuda:1'"):
        av.solve(problem, device="cuda:1,cuda:2")


@pytest.mark.parametrize("name", ["cuda:128", "cuda:255", "cuda:256", "cuda:999", "cuda:0,cuda:256"])
def test_numbers_that_torch_would_cut_to_a_byte_are_missed(gpu, problem, name: str) -> None:
    with pytest.raises(av.DeviceError, match=r"finds 2 CUDA devices\. Use one of 'cuda:0', 'cuda:1'"):
        av.solve(problem, device=name)


def test_all_of_no_devices_are_missed(problem) -> None:
    with pytest.raises(av.DeviceError, match="finds 0 CUDA devices"):
        av.solve(problem, device="cuda:all")
