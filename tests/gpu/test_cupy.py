"""CuPy as it is found: streams without warnings, kernels that are missing with one, and arrays without entries."""

import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from admm_verify.arrays import Placement
from admm_verify.backends import cuda
from admm_verify.backends.choice import verbs_for
from admm_verify.backends.verbs import ArrayVerbs
from tests.backends.calls import results, samples
from tests.gpu.pretend import PretendGpu, pretend_gpu
from tests.gpu.pretend_cupy import RawModule


@pytest.fixture
def gpu():
    cuda.cupy_stream.cache_clear()
    with pretend_gpu() as found:
        yield found
    cuda.cupy_stream.cache_clear()


def some_verb(gpu: PretendGpu) -> Any:
    return results(verbs_for(Placement.of(gpu.tensor([0.0]))), samples("vertex", np.float64).mapped(gpu.tensor))


def test_streams_are_made_once_and_not_by_what_cupy_has_given_up(gpu, monkeypatch) -> None:
    made, stream = [], sys.modules["cupy"].cuda.Stream

    class Stream(stream):
        @classmethod
        def from_external(cls, given: Any) -> Any:
            made.append(given.__cuda_stream__())
            return super().from_external(given)

    def given_up(*_: object) -> None:
        raise DeprecationWarning("ExternalStream is deprecated.")

    monkeypatch.setattr(sys.modules["cupy"].cuda, "Stream", Stream)
    monkeypatch.setattr(sys.modules["cupy"].cuda, "ExternalStream", given_up)
    for _ in range(3):
        some_verb(gpu)
    assert made == [(0, torch.cuda.current_stream().cuda_stream)]
    with torch.cuda.stream(torch.cuda.Stream()):
        other = torch.cuda.current_stream().cuda_stream
        some_verb(gpu)
    assert [handle for _, handle in made[1:]] == [other]


@pytest.mark.parametrize("error", [KeyboardInterrupt, torch.OutOfMemoryError])
@pytest.mark.parametrize("where", ["compile", "get_function", "launch"])
def test_kernels_are_there_once_nothing_interrupts(gpu, monkeypatch, error: type, where: str) -> None:
    cuda.cuda_verbs.cache_clear()
    left = [error("CUDA out of memory.")]
    target, name = (cuda.CudaVerbs, "_launch") if where == "launch" else (RawModule, where)
    real = getattr(target, name)

    def interrupted(self: Any, *given: Any) -> Any:
        if left:
            raise left.pop()
        return real(self, *given)

    monkeypatch.setattr(target, name, interrupted)
    with pytest.raises(error):
        some_verb(gpu)
    assert isinstance(verbs_for(Placement.of(gpu.tensor([0.0]))), cuda.CudaVerbs)
    assert some_verb(gpu)


def test_streams_of_an_older_cupy(gpu, monkeypatch) -> None:
    real, made = sys.modules["cupy"].cuda.ExternalStream, []

    def external(handle: int, device: int) -> Any:
        made.append((handle, device))
        return real(handle, device)

    monkeypatch.setattr(sys.modules["cupy"].cuda, "Stream", object)
    monkeypatch.setattr(sys.modules["cupy"].cuda, "ExternalStream", external)
    some_verb(gpu)
    assert made == [(torch.cuda.current_stream().cuda_stream, 0)]


def test_missing_kernels_are_told_of_once(gpu, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    place = Placement.of(gpu.tensor([0.0]))
    with pytest.warns(RuntimeWarning, match=r"without fused kernels.*cupy.*pip install cupy-cuda\d\dx"):
        assert isinstance(verbs_for(place), ArrayVerbs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(verbs_for(place), ArrayVerbs)
    some_verb(gpu)


def test_kernels_that_do_not_compile_are_told_of(gpu, monkeypatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("nvrtc: error:\n invalid value for --gpu-architecture")

    monkeypatch.setattr(sys.modules["cupy"].RawModule.func, "compile", fails)
    with pytest.warns(RuntimeWarning, match=r"ValueError: nvrtc: error: invalid value.*check CuPy"):
        assert isinstance(verbs_for(Placement.of(gpu.tensor([0.0]))), ArrayVerbs)


def test_nobody_without_a_gpu_is_warned() -> None:
    cuda.cuda_verbs.cache_clear()
    assert cuda.cuda_verbs() is None
    cuda.cuda_verbs.cache_clear()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
@pytest.mark.parametrize("verb", ["climb", "descend", "vertex", "halpern", "project_triangle"])
def test_arrays_without_entries(gpu, verb: str, shape: tuple[int, int]) -> None:
    some = samples(verb, np.float32, *shape, shared=True)
    expected = results(ArrayVerbs(), some.copy())
    there = verbs_for(Placement.of(gpu.tensor([0.0])))
    assert isinstance(there, cuda.CudaVerbs)
    for name, found in results(there, some.mapped(gpu.tensor)).items():
        assert found.is_cuda and np.array_equal(found.cpu().numpy(), expected[name]), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_long_rows_are_made_in_pieces(gpu, dtype: type) -> None:
    some = samples("support", dtype, 2, cuda.LONG_ROW)
    expected, wide = results(ArrayVerbs(), some.copy()), some.mapped(gpu.tensor)
    there = verbs_for(Placement.of(wide.arrays["post"]))
    assert isinstance(there, cuda.CudaVerbs)
    gpu.events.clear()
    found = results(there, wide)
    # One launch, and one for each of both sums.
    assert gpu.events.kernels == 3
    for name, sums in found.items():
        error = np.abs(sums.cpu().numpy() - expected[name])
        assert (error <= cuda.LONG_ROW * np.finfo(dtype).eps * 100).all(), name
