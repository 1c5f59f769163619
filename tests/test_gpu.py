"""The same bounds from a GPU: certified in float64, whatever the iterations did in float32."""

import numpy as np
import pytest

import admm_verify as av

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]


@pytest.mark.parametrize("method", ["auto", "ascent", "primal_dual", "admm"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_gpu_agrees_with_numpy(small_network, method, precision):
    box = av.Box(np.full(4, -0.5), np.full(4, 0.5))
    problem = av.Problem(small_network, box, np.eye(3))
    reference = av.solve(problem, "primal_dual", settings=av.SolverSettings(tolerance=1e-8, max_passes=4000))
    found = av.solve(problem, method, device="cuda", settings=av.SolverSettings(precision=precision))
    assert isinstance(found.lower, np.ndarray)
    assert (found.lower <= reference.relaxation_upper).all() and (found.relaxation_upper >= reference.lower).all()
    assert np.abs(found.lower - reference.lower).max() <= 1e-2 * max(1.0, np.abs(reference.lower).max())


def test_results_stay_with_the_box(small_network):
    box = av.Box(torch.full((4,), -0.5, device="cuda"), torch.full((4,), 0.5, device="cuda"))
    solution = av.solve(av.Problem(small_network, box, torch.eye(3, device="cuda")))
    assert solution.lower.device.type == "cuda" and solution.lower.dtype == torch.float64
