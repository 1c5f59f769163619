"""What `solve` and bounds ask of a GPU: launches, host reads and copies, counted on a pretend one."""

from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from tests.gpu.events import Events, What, calling_lines
from tests.gpu.pretend import pretend_gpu
from tests.random_networks import chain

SIZES = (12, 40, 30, 20, 10)


def network(seed: int = 0) -> av.Network:
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((m, n)) * np.sqrt(2.0 / n) for n, m in pairwise(SIZES)]
    return chain(weights, [0.1 * rng.standard_normal(len(weight)) for weight in weights])


def boxes(count: int) -> av.Box:
    centre = np.random.default_rng(1).uniform(-1.0, 1.0, (count, SIZES[0]))
    return av.Box(centre - 0.1, centre + 0.1)


def problem(rows: int = 4) -> av.Problem:
    objective = np.random.default_rng(2).standard_normal((rows, SIZES[-1]))
    return av.Problem(network(), boxes(rows), objective)


def iterations(method: str, gpu) -> list[Events]:
    """What happens in each iteration with its check point, if it has one; every fifth."""
    marks: list[int] = []

    def stop() -> bool:
        if any(line.startswith("splitting/loop.py") for line in calling_lines()):
            marks.append(len(list(gpu.events)))
        return False

    gpu.events.clear()
    settings = av.SolverSettings(check_interval=5, tolerance=1e-12)
    av.solve(problem(), method, max_passes=44, device="cuda", run=av.Run(stop=stop), settings=settings)
    events = list(gpu.events)
    return [Events(events[first:last]) for first, last in pairwise(marks)]


@pytest.mark.parametrize(("method", "launches"), [("ascent", 23), ("primal_dual", 39), ("admm", 36)])
def test_an_iteration_reads_nothing_and_a_check_point_once(method: str, launches: int) -> None:
    with pretend_gpu() as gpu:
        parts = iterations(method, gpu)
    assert len(parts) == 21
    checked = [k for k, part in enumerate(parts) if part.host_reads]
    # The first mark is behind the first iteration.
    assert checked == ([] if method == "ascent" else [4, 9, 14, 19])
    assert all(parts[k].host_reads == 1 for k in checked)
    others = [part for k, part in enumerate(parts) if k % 5 != 4]
    assert all(part.count(What.TO_DEVICE) == part.count(What.TO_HOST) == 0 for part in others)
    assert np.median([part.kernels for part in others]) <= launches


@pytest.mark.parametrize(
    "method", ["ascent", "auto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("primal_dual", "admm"))]
)
def test_a_gpu_finds_what_the_host_finds(method: str) -> None:
    some = problem()
    settings = av.SolverSettings(max_passes=400, tolerance=1e-7, precision="float64")
    expected = av.solve(some, method, settings=settings)
    with pretend_gpu():
        found = av.solve(some, method, settings=settings, device="cuda")
    scale = np.abs(expected.lower)
    assert np.all(np.abs(found.lower - expected.lower) <= 2e-3 * scale)
    assert np.all(found.lower <= expected.relaxation_upper) and np.all(expected.lower <= found.relaxation_upper)


@pytest.mark.parametrize(("method", "most"), [("crown", 5.0), ("tightened", 20.0)])
def test_launches_for_a_thousand_boxes(method: str, most: float) -> None:
    """Sixteen boxes in as much less memory need as many blocks."""
    count = 16
    with pretend_gpu(memory=2.0**37 * count / 1000) as gpu:
        some = boxes(count).mapped(gpu.tensor)
        gpu.events.clear()
        found = av.preactivation_bounds(network(), some, method)
        assert gpu.events.kernels / 1000 <= most
    expected = av.preactivation_bounds(network(), boxes(count), method)
    near = 1e-12 if method == "crown" else 1e-3
    for side, other in ((found.lower, expected.lower), (found.upper, expected.upper)):
        assert all(
            np.allclose(mine.cpu(), theirs, rtol=near, atol=near) for mine, theirs in zip(side, other, strict=True)
        )
