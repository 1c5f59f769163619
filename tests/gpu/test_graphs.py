"""Iterations as CUDA graphs: the same numbers in one launch each, or kernel by kernel where they cannot be captured."""

import gc
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.arrays import to_numpy
from admm_verify.backends.graphs import NotCaptured, Replayed
from admm_verify.splitting import admm, replay
from admm_verify.splitting.admm import Admm
from tests.gpu.events import Events, What
from tests.gpu.pretend import PretendGpu, pretend_gpu
from tests.gpu.test_budgets import KINDS, network as drawn

ROWS = 6


@pytest.fixture
def gpu() -> Iterator[PretendGpu]:
    # Torch reads networks without any GPU.
    for kind in KINDS:
        drawn(kind)
    with pretend_gpu(devices=2) as found:
        yield found


def problem(kind: str = "dense", count: int = ROWS) -> av.Problem:
    rng, of = np.random.default_rng(7), drawn(kind)
    inside = av.Box.around(rng.random((count, *of.input_shape)), radius=0.1)
    return av.Problem(of, inside, rng.standard_normal((count, of.output_size)))


def solved(of: av.Problem, passes: int = 40, device: str = "cuda", **settings: float | str) -> av.Solution:
    how: dict[str, Any] = {"check_interval": 5, "tolerance": 1e-12, "precision": "float64"} | settings
    return av.solve(of, "admm", max_passes=passes, device=device, settings=av.SolverSettings(**how))


def launched_one_by_one(monkeypatch) -> None:
    monkeypatch.setattr(replay, "_LARGEST", 0)


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_replayed_iterations_are_those_that_were_computed(gpu, monkeypatch, kind: str, precision: str) -> None:
    of = problem(kind)
    found = solved(of, precision=precision)
    assert gpu.events.count(What.GRAPH) > 12
    gpu.events.clear()
    launched_one_by_one(monkeypatch)
    expected = solved(of, precision=precision)
    assert gpu.events.count(What.GRAPH, What.CAPTURED) == 0
    for name in ("lower", "relaxation_upper", "primal", "passes"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def test_an_iteration_is_one_launch(gpu) -> None:
    marks = []

    def stop() -> bool:
        marks.append(len(list(gpu.events)))
        return False

    settings = av.SolverSettings(check_interval=1000, tolerance=1e-12)
    av.solve(problem(), "admm", max_passes=60, device="cuda", settings=settings, run=av.Run(stop=stop))
    events = list(gpu.events)
    parts = [Events(events[a:b]) for a, b in pairwise(marks)]
    replayed = [part for part in parts if part.count(What.GRAPH) and not part.count(What.CAPTURED)]
    # Of 30 iterations both kinds are computed once, and captured once.
    assert len(replayed) >= 24
    assert all(part.launches == 1 and part.waits == 0 and part.kernels > 20 for part in replayed)
    assert gpu.events.count(What.GRAPH) == 28 and sum(bool(part.count(What.CAPTURED)) for part in parts) == 2


def test_fewer_rows_are_captured_anew(gpu, monkeypatch) -> None:
    of = problem(count=12)
    found = solved(of, 150, tolerance=0.02)
    assert len(set(np.asarray(found.passes).tolist())) > 2
    shapes = {event.shape[0] for event in gpu.events if event.what is What.CAPTURED and len(event.shape) == 2}
    assert len(shapes) > 1
    launched_one_by_one(monkeypatch)
    expected = solved(of, 150, tolerance=0.02)
    assert np.array_equal(found.lower, expected.lower) and np.array_equal(found.passes, expected.passes)


@pytest.mark.parametrize("what", ["read", "wait", "copy"])
def test_what_cannot_be_captured_is_launched_with_a_warning(gpu, monkeypatch, what: str) -> None:
    of, real = problem(), Admm.step
    expected = solved(of)
    looks = {
        "read": lambda z: z.sum().item(),
        "wait": lambda z: torch.cuda.synchronize(),
        "copy": lambda z: torch.zeros(2).to(z.device),
    }

    def looking(self: Admm, rows: Any, state: Any) -> Any:
        looks[what](state.z)
        return real(self, rows, state)

    monkeypatch.setattr(Admm, "step", looking)
    with pytest.warns(NotCaptured, match=r"launched kernel by kernel: RuntimeError: CUDA error"):
        found = solved(of)
    assert np.array_equal(found.lower, expected.lower)


@pytest.mark.parametrize("ahead", [pytest.param(1, marks=pytest.mark.slow), 9])
def test_memory_that_runs_out_in_a_capture_halves_the_block(gpu, ahead: int) -> None:
    of = problem()
    # What is made once is made.
    solved(of, 8)
    gpu.events.clear()
    gpu.memories[0].restart()
    solved(of, 8)
    events = list(gpu.events)
    first = next(k for k, event in enumerate(events) if event.what is What.CAPTURED)
    before = sum(event.what is What.ALLOCATION for event in events[:first])
    parts = [solved(of.block(*span), 8).lower for span in ((0, 3), (3, 6))]
    gc.collect()
    kept = gpu.memories[0].live
    gpu.memories[0].restart(fails_at=(before + ahead,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = solved(of, 8)
    assert gpu.memories[0].failures == 1
    assert np.array_equal(found.lower, np.concatenate(parts))
    gc.collect()
    assert gpu.memories[0].live == kept


def test_devices_capture_at_once(gpu) -> None:
    of = problem(count=8)
    numbers = 4 * sum(node.size for node in of.network.nodes)
    expected = solved(of, device_block_numbers=numbers)
    gpu.events.clear()
    found = solved(of, device="cuda:0,cuda:1", device_block_numbers=numbers)
    assert {event.device for event in gpu.events if event.what is What.GRAPH} == {0, 1}
    assert np.array_equal(found.lower, expected.lower)


@pytest.mark.parametrize(
    "inputs",
    [av.Ball(np.full((2, 9), 0.5), 0.1), av.Box(np.full((2, 9), 0.4), np.full((2, 9), 0.6))],
    ids=["ball", "constrained"],
)
def test_where_the_host_may_look_nothing_is_captured(gpu, inputs: av.Ball | av.Box) -> None:
    of = drawn("dense")
    limits = () if isinstance(inputs, av.Ball) else av.Constraint({"input": np.ones((1, 9))}, np.array([-4.4]))
    some = av.Problem(of, inputs, np.ones((2, of.output_size)), constraints=limits)
    solved(some, 8)
    assert gpu.events.count(What.CAPTURED, What.GRAPH) == 0


def test_a_gpu_differs_from_the_host_by_when_anchors_move_alone(gpu, monkeypatch) -> None:
    of = problem()
    settings = av.SolverSettings(precision="float64", tolerance=1e-12)
    rare = solved(of).lower
    assert np.abs(rare - av.solve(of, "admm", max_passes=40, settings=settings).lower).max() > 1e-9
    # Where they may move in every iteration, as on the host.
    monkeypatch.setattr(admm, "_PERIOD", 1)
    for precision, near in (("float64", 1e-12), ("float32", 1e-4)):
        settings = av.SolverSettings(precision=precision, tolerance=1e-12, check_interval=5)
        expected = av.solve(of, "admm", max_passes=40, settings=settings).lower
        assert np.allclose(solved(of, precision=precision).lower, expected, rtol=near, atol=near)


def firsts(replayed: Replayed) -> list[float]:
    return [float(to_numpy(array)[0]) for array in replayed.arrays]


def test_arrays_that_change_places_are_read_before_they_are_written(gpu) -> None:
    a, b, c = (gpu.tensor(np.full(3, value)) for value in (1.0, 2.0, 3.0))
    replayed = Replayed([a, b, c])
    for _ in range(3):
        assert replayed.step("turn", lambda held: [held[1], held[2], held[0]])
    assert firsts(replayed) == [1.0, 2.0, 3.0]
    assert replayed.step("turn", lambda held: [held[1], held[2], held[0]])
    assert firsts(replayed) == [2.0, 3.0, 1.0]
    assert (a.cpu()[0].item(), b.cpu()[0].item()) == (1.0, 2.0)
    replayed.hold([b, replayed.arrays[1], a])
    assert replayed.step("more", lambda held: [held[0] + 1.0, held[1], held[2] * held[0]])
    assert firsts(replayed) == [3.0, 3.0, 2.0]


def test_a_pretended_graph_misses_memory_that_is_gone(gpu) -> None:
    x, y = gpu.tensor(np.ones(50)), gpu.tensor(np.zeros(50))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y.copy_(x + 1.0)
    assert y.cpu().sum().item() == 0.0
    graph.replay()
    assert y.cpu().sum().item() == 100.0
    del x
    gc.collect()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        graph.replay()


def test_a_pretended_stream_belongs_to_its_device(gpu) -> None:
    other = torch.cuda.Stream(device="cuda:1")
    with pytest.raises(RuntimeError, match="another device"), torch.cuda.graph(torch.cuda.CUDAGraph(), stream=other):
        pass
