"""Memory of a GPU that runs out: smaller blocks, the same bounds, and nothing that stays behind."""

import gc
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import to_numpy
from admm_verify.network.layers import network_from_layers
from admm_verify.splitting import solve as solving
from tests.gpu.pretend import PretendGpu, pretend_gpu
from tests.test_proofs import case

ROWS = 8
SIZES = (5, 12, 11, 3)
FIRST, SECOND = (0, ROWS // 2), (ROWS // 2, ROWS)


@pytest.fixture(scope="module")
def network() -> av.Network:
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal((m, n)) for n, m in pairwise(SIZES)]
    return network_from_layers(weights, [rng.standard_normal(m) for m in SIZES[1:]], "three layers")


@pytest.fixture(scope="module")
def box() -> av.Box:
    return av.Box.around(np.random.default_rng(4).random((ROWS, SIZES[0])), radius=0.2)


@pytest.fixture(scope="module")
def problem(network, box) -> av.Problem:
    objective = np.random.default_rng(5).standard_normal((ROWS, SIZES[-1]))
    return av.Problem(network, box, objective, preactivation=av.preactivation_bounds(network, box))


@pytest.fixture
def spans(monkeypatch) -> list[tuple[int, int]]:
    """The blocks of rows that `solve` began."""
    begun, solved = [], solving.Block.solved

    def counted(self: solving.Block, first: int, last: int) -> av.Solution:
        begun.append((first, last))
        return solved(self, first, last)

    monkeypatch.setattr(solving.Block, "solved", counted)
    return begun


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Nothing that is there already is looked at again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def held(gpu: PretendGpu) -> int:
    """Bytes that are still alive."""
    gc.collect()
    return sum(memory.live for memory in gpu.memories)


def failing(gpu: PretendGpu, k: int, work: Callable[[], np.ndarray]) -> np.ndarray:
    """What work returns although its k-th allocation fails."""
    gpu.memories[0].restart(fails_at=(k,))
    found = work()
    assert gpu.memories[0].failures == 1
    gpu.memories[0].restart()
    return found


def solved(problem: av.Problem, method: str, passes: int) -> np.ndarray:
    settings = av.SolverSettings(precision="float64", tolerance=1e-9, check_interval=2)
    return av.solve(problem, method, max_passes=passes, device="cuda", settings=settings).lower


def check_halving(
    problem: av.Problem, spans: list, method: str, passes: int, ks: Callable[[int], Iterable[int]]
) -> None:
    """Blocks, bounds and memory where the k-th allocation fails, for each k that is chosen of so many."""
    with pretend_gpu() as gpu:
        solved(problem, method, passes)
        # Neurons that are stable in all rows of a block are eliminated there, so iterates depend on blocks.
        expected = np.concatenate([solved(problem.block(*span), method, passes) for span in (FIRST, SECOND)])
        gpu.memories[0].restart()
        solved(problem, method, passes)
        kept, count = held(gpu), gpu.memories[0].allocations
        for k in ks(count):
            spans.clear()
            found = failing(gpu, k, lambda: solved(problem, method, passes))
            assert spans == [(0, ROWS), FIRST, SECOND], k
            assert np.array_equal(found, expected), k
            assert held(gpu) == kept, k


def test_a_block_whose_memory_cannot_be_had_is_halved(problem, spans):
    check_halving(problem, spans, "ascent", 2, lambda count: (1, 2, 7, 20))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ascent", "primal_dual", "admm", "auto"])
def test_a_block_is_halved_wherever_it_fails(problem, spans, method):
    check_halving(problem, spans, method, 2, lambda count: range(1, 21))
    check_halving(problem, spans, method, 8, lambda count: range(21, count + 1, count // 6))


def test_a_block_of_one_that_does_not_fit_is_a_memory_error(problem):
    with pretend_gpu() as gpu:
        solved(problem, "ascent", 2)
        kept = held(gpu)
        gpu.memories[0].restart(fails_at=tuple(range(30, 10**5)))
        with pytest.raises(MemoryError):
            solved(problem, "ascent", 2)
        gpu.memories[0].restart()
        assert held(gpu) == kept


@pytest.mark.parametrize("method", ["interval", "crown", pytest.param("tightened", marks=pytest.mark.slow)])
def test_bounds_of_layers_are_the_same_in_smaller_blocks(network, box, method):
    def bounded() -> np.ndarray:
        found = av.preactivation_bounds(network, there, method)
        return np.concatenate([to_numpy(end) for end in (*found.lower, *found.upper)], axis=-1)

    with pretend_gpu() as gpu:
        there = av.Box(gpu.tensor(box.lower), gpu.tensor(box.upper))
        expected = bounded()
        gpu.memories[0].restart()
        bounded()
        kept, count = held(gpu), gpu.memories[0].allocations
        for k in [*range(1, 21), *range(21, count + 1, max(1, count // 5))][:: 1 if method == "interval" else 3]:
            # Iterations of tightening in float32 go other ways in other blocks; their bounds hold all the same.
            tolerance = 1e-5 if method == "tightened" else 1e-12
            assert np.allclose(failing(gpu, k, bounded), expected, rtol=tolerance, atol=tolerance), k
            assert held(gpu) == kept, k


@pytest.mark.slow
@pytest.mark.parametrize("inputs", [3, 24])
def test_a_search_goes_on_where_memory_ran_out(inputs):
    query = case(inputs, 0, share=0.05 if inputs == 3 else 1.2)

    def verdict() -> str:
        return av.verify(query, timeout=60, device="cuda").verdict.value

    with pretend_gpu() as gpu:
        expected = verdict()
        gpu.memories[0].restart()
        verdict()
        kept, count = held(gpu), gpu.memories[0].allocations
        for k in [*range(1, 21), *range(21, count + 1, max(1, count // 5))][::2]:
            assert failing(gpu, k, verdict) == expected == "unsat", k
            assert held(gpu) == kept, k
