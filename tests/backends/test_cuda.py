"""The verbs on a GPU return what the array version does."""

import numpy as np
import pytest

from admm_verify.backends.compiled import VERBS
from admm_verify.backends.cuda import CudaVerbs, cuda_verbs
from admm_verify.backends.verbs import ArrayVerbs
from tests.backends.calls import results, samples

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]


@pytest.fixture(scope="module")
def verbs() -> CudaVerbs:
    pytest.importorskip("cupy")
    found = cuda_verbs()
    assert found is not None
    return found


def on_gpu(array: np.ndarray):
    return torch.tensor(array, device="cuda")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 37), (5, 1000), (70000, 3), (2, 100000)])
@pytest.mark.parametrize("shared", [True, False])
def test_kernels_return_what_the_reference_does(verbs: CudaVerbs, verb: str, dtype, shape, shared: bool) -> None:
    some = samples(verb, dtype, *shape, shared=shared)
    exact = some.mapped(lambda array: array.astype(np.float64) if array.dtype == dtype else array)
    expected = results(ArrayVerbs(), exact)
    for name, found in results(verbs, some.mapped(on_gpu)).items():
        eps = float(np.finfo(dtype).eps)
        # Sums of a row add terms of the size of 1 with either sign.
        error = 64 * eps * (shape[1] ** 0.5 if expected[name].ndim == 1 else 1.0)
        assert found.is_cuda and np.allclose(found.cpu().numpy(), expected[name], rtol=64 * eps, atol=error), name


@pytest.mark.parametrize("verb", VERBS)
def test_nan_is_never_lost(verbs: CudaVerbs, verb: str) -> None:
    clean = samples(verb, np.float32)
    for name in clean.arrays:
        spoiled = clean.copy()
        spoiled.arrays[name][..., -1, None] = np.nan
        expected = results(ArrayVerbs(), spoiled.copy())
        for what, found in results(verbs, spoiled.mapped(on_gpu)).items():
            assert np.isnan(found.cpu().numpy())[np.isnan(expected[what])].all(), f"NaN of {name} is lost in {what}"


def test_kernels_follow_torchs_stream(verbs: CudaVerbs) -> None:
    some = samples("vertex", np.float32, 64, 4096).mapped(on_gpu)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        some.arrays["coefficient"].mul_(-1.0)
        found = results(verbs, some)
    stream.synchronize()
    assert torch.equal(found["x"], results(ArrayVerbs(), some)["x"])


def test_kernels_can_be_captured(verbs: CudaVerbs) -> None:
    some = samples("halpern", np.float32, 8, 512).mapped(on_gpu)
    results(verbs, some)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = results(verbs, some)
    some.arrays["u"].mul_(3.0)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.allclose(captured["moved"], results(ArrayVerbs(), some)["moved"], atol=1e-5)
