"""The pretend GPU itself: it refuses what a GPU refuses, and counts what is asked of it."""

import gc
import threading
import weakref

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import Placement, to_numpy
from admm_verify.backends.choice import verbs_for
from admm_verify.backends.cuda import CudaVerbs
from admm_verify.backends.verbs import ArrayVerbs
from tests.backends.calls import ARGUMENTS, results, samples
from tests.gpu.events import What
from tests.gpu.pretend import HostRead, pretend_gpu

torch = pytest.importorskip("torch")


@pytest.fixture
def gpu():
    with pretend_gpu(devices=2) as found:
        yield found


def test_nothing_is_left_behind():
    before = {name: getattr(torch.cuda, name) for name in dir(torch.cuda) if not name.startswith("__")}
    makers = torch.tensor, torch.Tensor.to, torch.Tensor.pin_memory, threading.Thread.run
    with pretend_gpu():
        assert torch.cuda.is_available() and torch.tensor(1.0, device="cuda").is_cuda
    assert {name: getattr(torch.cuda, name) for name in before} == before
    assert makers == (torch.tensor, torch.Tensor.to, torch.Tensor.pin_memory, threading.Thread.run)
    with pytest.raises((AssertionError, RuntimeError)):
        torch.zeros(1, device="cuda:7")


@pytest.mark.parametrize(
    "make",
    [
        lambda device: torch.tensor([1.0, 2.0], device=device),
        lambda device: torch.as_tensor([1.0, 2.0], device=device),
        lambda device: torch.asarray(np.array([1.0, 2.0], np.float32), device=device),
        lambda device: torch.stack([torch.asarray(x, dtype=torch.float32, device=device) for x in (1.0, 2)]),
        lambda device: torch.from_numpy(np.array([1.0, 2.0], np.float32)).to(device),
        lambda device: torch.arange(1.0, 3.0, device=device),
        lambda device: torch.zeros(2, device=device) + torch.tensor([1.0, 2.0], device=device),
        lambda device: torch.tensor([1.0, 2.0]).cuda(torch.device(device).index),
        lambda device: torch.tensor([1.0, 2.0]).to(torch.zeros(1, device=device)),
    ],
)
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_tensors_are_where_they_were_asked_for(gpu, make, device):
    x = make(device)
    assert x.is_cuda and not x.is_cpu and x.dtype == torch.float32
    assert x.device == torch.device("cuda", torch.device(device).index or 0)
    assert x.cpu().device.type == "cpu" and x.cpu().tolist() == [1.0, 2.0] == x.tolist()
    assert (x * x + 1).device == x[:1].device == x.device and torch.zeros_like(x).device == x.device
    with pytest.raises(RuntimeError, match="ordinal"):
        torch.zeros(1, device="cuda:2")


def test_results_are_those_of_the_host(gpu):
    host = torch.linspace(-2.0, 3.0, 24, dtype=torch.float64).reshape(2, 3, 4)
    there = host.to("cuda")
    for work in (
        lambda x: torch.where(x > 0, x, 0.0).sum(dim=-1),
        lambda x: torch.cat([x, 2 * x], dim=1).permute(2, 0, 1) @ x.reshape(4, 6).T,
        lambda x: x.clamp(-1, 1).reshape(6, 4)[::2, 1:],
        lambda x: torch.fft.ifft(torch.fft.fft(x)).real,
        lambda x: torch.linalg.svd(x)[1],
        lambda x: x[x > 1],
        lambda x: x[:, [2, 0]].max(dim=0).values,
    ):
        expected, found = work(host), work(there)
        assert found.is_cuda and torch.equal(found.cpu(), expected)
    there[0, 1] = 7.0
    there[1][there[1] < 0] = 0.0
    there.mul_(2.0)[0, :, 0] = torch.ones(3, dtype=torch.float64, device="cuda")
    host[0, 1] = 7.0
    host[1][host[1] < 0] = 0.0
    host.mul_(2.0)[0, :, 0] = 1.0
    assert torch.equal(there.cpu(), host)


def test_numpy_and_other_devices_are_refused(gpu):
    x, y, host = torch.ones(2, device="cuda:0"), torch.ones(2, device="cuda:1"), torch.ones(2)
    for turned in (x.numpy, lambda: np.asarray(x), lambda: np.ones(2) * np.asarray(x)):
        with pytest.raises(TypeError, match="to numpy"):
            turned()
    for mixed in (
        lambda: x + host,
        lambda: host @ x,
        lambda: x + y,
        lambda: torch.cat([x, host]),
        lambda: host.add_(x),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            mixed()
    assert (x + torch.tensor(1.0) + y.to(x.device)).cpu().tolist() == [3.0, 3.0]
    assert [event.device for event in gpu.events if event.what is What.BETWEEN] == [0]


def test_every_look_of_the_host_counts(gpu):
    x = torch.arange(4.0, device="cuda")
    looks = [
        lambda: x.sum().item(),
        lambda: bool(x[0]),
        lambda: float(x[1]),
        x.nonzero,
        lambda: x[x > 2],
        lambda: torch.equal(x, x),
        x.cpu,
        x.tolist,
        lambda: torch.empty(4).copy_(x),
        lambda: torch.linalg.svd(x.reshape(2, 2)),
        lambda: (x > 0).all() and x,
        lambda: to_numpy(x),
    ]
    for look in looks:
        gpu.events.clear()
        look()
        assert gpu.events.host_reads == gpu.events.waits == 1
        with gpu.no_reads(), pytest.raises(HostRead):
            look()
    few = torch.tensor([0, 1], device="cuda")
    gpu.events.clear()
    _ = torch.where(x > 2, x, 0.0), x[1:], x.clone(), x[few], x.max(dim=0)
    x[x > 2] = 5.0
    assert gpu.events.host_reads == gpu.events.waits == 0
    assert x[torch.tensor([0, 1])].shape == (2,) and gpu.events.count(What.TO_DEVICE) == gpu.events.waits == 1


def test_copies_are_known_by_their_size(gpu):
    gpu.events.clear()
    x = gpu.tensor(np.zeros((3, 5)))
    x[1:].cpu()
    x.to(torch.float32).to("cpu", non_blocking=True)
    x.to("cuda"), x.to(torch.float64), x.to(x.device, x.dtype)
    there, back = (
        gpu.events.where(lambda e: e.what is What.TO_DEVICE),
        gpu.events.where(lambda e: e.what is What.TO_HOST),
    )
    assert [(e.shape, e.bytes, e.waits) for e in there] == [((3, 5), 120, True)]
    assert [(e.shape, e.bytes, e.waits) for e in back] == [((2, 5), 80, True), ((3, 5), 60, False)]
    assert gpu.events.bytes(What.TO_HOST) == 140 and gpu.events.kernels == 1
    pinned = torch.zeros(3, 5).pin_memory()
    assert pinned.is_pinned() and not torch.zeros(2).is_pinned()
    gpu.events.clear()
    pinned.copy_(pinned.to("cuda", non_blocking=True), non_blocking=True)
    assert gpu.events.waits == 0 and gpu.events.count(What.TO_DEVICE, What.TO_HOST) == 2


def test_launches_are_counted_by_line(gpu):
    x = torch.ones(3, 5, device="cuda")
    gpu.events.clear()
    y = (2 * x + 1).reshape(5, 3).T[1:]
    assert gpu.events.kernels == 2 and set(gpu.events.by_line(What.KERNEL)) == {""}
    assert gpu.events.moved == 4 * 60 and y.shape == (2, 5)
    torch.empty(7, device="cuda")
    assert gpu.events.kernels == 2
    gpu.events.clear()
    Placement.of(x).double.put(x)
    ((line, count),) = gpu.events.by_line(What.KERNEL).items()
    assert count == 1 and line.startswith("arrays.py:") and line in gpu.events.table()


def test_other_threads_are_on_the_same_gpu(gpu):
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.zeros(3, device="cuda:1")))
    thread.start()
    thread.join()
    assert found[0].device.index == 1 and gpu.memories[1].live == 12 and gpu.memories[0].live == 0


def test_memory_is_what_tensors_hold(gpu):
    memory = gpu.memories[0]
    x = torch.zeros(1000, dtype=torch.float64, device="cuda")
    view = x[10:]
    assert memory.live == torch.cuda.memory_allocated() == 8000
    y = x + 1
    assert memory.live == 16000
    gone = weakref.ref(y)
    del x, y
    gc.collect()
    assert gone() is None and memory.live == 8000 and memory.peak == 16000
    del view
    assert memory.live == 0 and torch.cuda.mem_get_info()[0] == memory.total


def test_allocations_fail_as_they_do_on_a_gpu():
    with pretend_gpu(memory=1250) as gpu:
        memory = gpu.memories[0]
        x = torch.zeros(100, device="cuda")
        for ask in (
            lambda: torch.zeros(300, device="cuda"),
            lambda: torch.cat([x, x, x]),
            lambda: torch.zeros(300).cuda(),
        ):
            with pytest.raises(torch.cuda.OutOfMemoryError, match="CUDA out of memory"):
                ask()
        assert memory.failures == 3 and memory.live == 400
        memory.restart(fails_at=(2,))
        one = x + 1
        with pytest.raises(torch.cuda.OutOfMemoryError):
            x + 1
        x.add_(1)
        _ = one + 1
        del _
        assert memory.allocations == 3 and memory.failures == 1 and memory.live == 800


def test_streams_devices_and_properties(gpu):
    assert torch.cuda.current_stream().cuda_stream == 0
    side = torch.cuda.Stream(device="cuda:1")
    with torch.cuda.stream(side), torch.cuda.device(1):
        assert torch.cuda.current_stream() is side and torch.cuda.current_device() == 1
        assert torch.zeros(2, device="cuda").device.index == 1
        side.wait_stream(torch.cuda.default_stream())
    assert torch.cuda.current_device() == 0 and torch.cuda.current_stream(1) is not side
    assert torch.cuda.get_device_properties(0).total_memory == torch.cuda.mem_get_info()[1]
    gpu.events.clear()
    torch.cuda.synchronize()
    side.record_event().synchronize()
    assert gpu.events.waits == 2 and gpu.events.host_reads == 0


def test_graphs_compute_again_where_they_were_captured(gpu):
    x = torch.ones(2, 40, device="cuda")
    arrays = samples("vertex", np.float32, 2, 40, shared=True).mapped(gpu.tensor)
    # Looking for kernels tries them, which cannot be captured.
    graph, verbs = torch.cuda.CUDAGraph(), verbs_for(Placement.of(x))
    with torch.cuda.graph(graph):
        y = (3 * x)[:, ::2]
        x.add_(1.0)
        found = results(verbs, arrays)["value"]
    # What is captured does not run.
    assert x.sum().item() == 80.0
    assert gpu.events.count(What.CAPTURED) == 3
    graph.replay()
    before = found.cpu()
    gpu.events.clear()
    arrays.arrays["lower"].zero_(), arrays.arrays["upper"].zero_()
    for turn in (2.0, 3.0):
        graph.replay()
        assert torch.equal(y.cpu(), torch.full((2, 20), 3.0 * turn))
    assert gpu.events.count(What.GRAPH) == 2 and gpu.events.launches == 4 and gpu.events.kernels == 2 + 2 * 3
    assert before.abs().min() > 0 and found.abs().max().item() == 0
    for look in (x.cpu, lambda: x.sum().item(), torch.cuda.synchronize, lambda: torch.zeros(2).to("cuda")):
        with pytest.raises(RuntimeError, match="captur"), torch.cuda.graph(torch.cuda.CUDAGraph()):
            look()
    assert x.sum().item() > 0


@pytest.mark.parametrize("verb", ARGUMENTS)
def test_a_verb_is_one_launch_and_what_the_reference_returns(gpu, verb):
    some = samples(verb, np.float64)
    expected = results(ArrayVerbs(), some.copy())
    there = some.mapped(gpu.tensor)
    verbs = verbs_for(Placement.of(gpu.tensor(np.zeros(1))))
    assert isinstance(verbs, CudaVerbs)
    gpu.events.clear()
    for name, found in results(verbs, there).items():
        assert np.allclose(to_numpy(found), expected[name], rtol=1e-13, atol=1e-13), name
    assert gpu.events.by_name(What.KERNEL) == {f"av_{verb}_f64": 1} and gpu.events.moved > 0
    elsewhere = some.mapped(lambda array: gpu.tensor(array, "cuda:1"))
    assert all(found.device.index == 1 for found in results(verbs, elsewhere).values())
    (event,) = (event for event in gpu.events if event.what is What.KERNEL and event.device == 1)
    assert event.lines[0].startswith("backends/")


@pytest.mark.parametrize("method", ["ascent", "primal_dual", "admm"])
def test_solving_there_is_solving_here(gpu, small_network, method):
    box = av.Box(np.full(4, -0.5), np.full(4, 0.5))
    settings = av.SolverSettings(precision="float64")
    here = av.solve(av.Problem(small_network, box, np.eye(3)), method, max_passes=8, settings=settings)
    inside = av.Box(torch.full((4,), -0.5, device="cuda:1"), torch.full((4,), 0.5, device="cuda:1"))
    problem = av.Problem(small_network, inside, torch.eye(3, device="cuda:1"))
    there = av.solve(problem, method, max_passes=8, settings=settings)
    assert there.lower.device.index == 1 and there.lower.dtype == torch.float64
    assert np.allclose(to_numpy(there.lower), here.lower, rtol=1e-12, atol=1e-12)
    assert gpu.events.kernels > 100 and gpu.events.host_reads > 0
