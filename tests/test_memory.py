"""Memory budgets: blocks cover the work once, shrink when memory runs out, and end when asked to."""

import threading
import time
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify import Run
from admm_verify.bounds.tighten import _append
from admm_verify.memory import Budget, free_bytes
from admm_verify.run import Stopped
from admm_verify.threads import LARGE_PASS, _controller, threads_for
from tests.random_networks import random_case
from tests.splitting.test_layers import small_layers


def test_blocks_cover_the_work_once() -> None:
    blocks = Budget(1e9).blocks(10, 4, lambda first, last: list(range(first, last)))
    assert list(chain(*blocks)) == list(range(10))
    assert [len(block) for block in blocks] == [4, 4, 2]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory"),
        RuntimeError("std::bad_alloc"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_a_failed_allocation_halves_the_block_and_goes_on(error: Exception) -> None:
    sizes = []

    def work(first: int, last: int) -> list[int]:
        if last - first > 2:
            raise error
        sizes.append(last - first)
        return list(range(first, last))

    blocks = Budget(1e9).blocks(9, 9, work)
    assert list(chain(*blocks)) == list(range(9))
    assert max(sizes) == 2


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
def test_a_single_row_that_does_not_fit_is_an_error(error: Exception) -> None:
    def work(first: int, last: int) -> None:
        raise error

    with pytest.raises(MemoryError):
        Budget(1e9).blocks(4, 4, work)


def test_blocks_are_even() -> None:
    blocks = Budget(1e9).blocks(10_000, 9_886, lambda first, last: last - first)
    assert blocks == [5_000, 5_000]


@pytest.mark.parametrize("text", ["a bug", "the allocation of users to groups is broken", "called after deallocation"])
def test_other_errors_pass_through_at_once(text: str) -> None:
    calls = []

    def work(first: int, last: int) -> None:
        calls.append(first)
        raise RuntimeError(text)

    with pytest.raises(RuntimeError, match=text):
        Budget(1e9).blocks(4, 4, work)
    assert len(calls) == 1


def test_blocks_stop_when_asked() -> None:
    with pytest.raises(Stopped):
        Budget(1e9, Run(stop=lambda: True)).blocks(4, 2, lambda first, last: None)


def test_the_default_is_half_of_what_is_free() -> None:
    assert 0 < Budget.of(Run()).bytes <= free_bytes()


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_must_be_positive(limit: float) -> None:
    with pytest.raises(av.InputError, match="memory limit"):
        Run(memory=limit)


def test_a_small_budget_changes_no_bound() -> None:
    case = random_case(3)
    wide = av.preactivation_bounds(case.network, case.box)
    narrow = av.preactivation_bounds(case.network, case.box, run=av.Run(memory=2.0**14))
    for ends, others in ((wide.lower, narrow.lower), (wide.upper, narrow.upper)):
        for end, other in zip(ends, others, strict=True):
            assert np.allclose(end, other, rtol=1e-12, atol=1e-12)
    objective = np.vstack([case.objective] * 5)
    problem = av.Problem(case.network, case.box, objective, 0.0, wide)
    settings = av.SolverSettings(max_passes=40)
    found, blocked = (av.solve(problem, settings=settings, run=run) for run in (None, Run(memory=2.0**14)))
    assert np.allclose(found.lower, blocked.lower, rtol=1e-9, atol=1e-9)


def test_a_small_budget_changes_no_bound_of_a_convolution() -> None:
    network, box = small_layers()
    wide = av.preactivation_bounds(network, box)
    narrow = av.preactivation_bounds(network, box, run=av.Run(memory=2.0**14))
    for end, other in zip(wide.lower + wide.upper, narrow.lower + narrow.upper, strict=True):
        assert np.allclose(end, other, rtol=1e-12, atol=1e-12)


def test_stopped_bounds_are_interval_bounds() -> None:
    case = random_case(3)
    stopped = av.preactivation_bounds(case.network, case.box, run=av.Run(stop=lambda: True))
    interval = av.preactivation_bounds(case.network, case.box, method="interval")
    for end, other in zip(stopped.lower + stopped.upper, interval.lower + interval.upper, strict=True):
        assert np.array_equal(end, other)


@pytest.mark.parametrize("workers", [2, 3, 20])
def test_blocks_side_by_side_cover_the_work_once(workers: int) -> None:
    for count, step in ((10, 4), (10, 100), (1, 3), (0, 3)):
        blocks = Budget(1e9, workers=workers).blocks(count, step, lambda first, last: list(range(first, last)))
        assert list(chain(*blocks)) == list(range(count))
        assert count < 2 or len(blocks) > 1


def test_a_failed_allocation_ends_working_side_by_side() -> None:
    def work(first: int, last: int) -> list[int]:
        if threading.active_count() > threads or last - first > 2:
            raise MemoryError
        return list(range(first, last))

    threads = threading.active_count()
    budget = Budget(1e9, workers=2)
    assert list(chain(*budget.blocks(9, 9, work))) == list(range(9))
    assert not budget.given_up.set


def test_an_error_in_one_thread_ends_the_others() -> None:
    def work(first: int, last: int) -> None:
        if first == 0:
            raise KeyboardInterrupt
        while not budget.given_up():
            time.sleep(0.001)

    budget = Budget(1e9, workers=2)
    with pytest.raises(KeyboardInterrupt):
        budget.blocks(2, 1, work)


def test_rows_solved_side_by_side_have_the_bounds_of_rows_solved_in_turn(monkeypatch) -> None:
    case = random_case(5)
    rng = np.random.default_rng(0)
    objective = rng.standard_normal((7, case.network.output_size))
    problem = av.Problem(case.network, case.box, objective)
    alone = av.solve(problem, "ascent", settings=av.SolverSettings(max_passes=20))
    monkeypatch.setattr("admm_verify.splitting.solve.workers_for", lambda *_: 3)
    together = av.solve(problem, "ascent", settings=av.SolverSettings(max_passes=20))
    np.testing.assert_allclose(together.lower, alone.lower, rtol=1e-9, atol=1e-9)
    stopped = av.solve(problem, "ascent", settings=av.SolverSettings(max_passes=20), run=av.Run(stop=lambda: True))
    assert {status.name for status in stopped.status} <= {"STOPPED", "CONVERGED"}


def test_an_error_in_the_last_thread_ends_the_first() -> None:
    def work(first: int, last: int) -> None:
        if first == 0:
            while not budget.given_up():
                time.sleep(0.001)
        else:
            raise RuntimeError("a bug")

    budget = Budget(1e9, workers=2)
    with pytest.raises(RuntimeError, match="a bug"):
        budget.blocks(2, 1, work)


def test_threads_that_overlap_leave_blas_as_it_was() -> None:
    # Libraries loaded later, such as SciPy's own, are not the library's business.
    blas = _controller()

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in blas.info() if pool["user_api"] == "blas"]

    with blas.limit(limits=2):
        before = threads()
        first, second = threads_for(1.0), threads_for(1.0)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(threads()) == {1}
        second.__exit__(None, None, None)
        assert threads() == before


def test_few_threads_are_used_even_for_large_passes() -> None:
    blas = _controller()

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in blas.info() if pool["user_api"] == "blas"}

    with blas.limit(limits=4):
        large, larger = threads_for(LARGE_PASS, most=2), threads_for(LARGE_PASS, most=3)
        with large:
            with larger, threads_for(1.0):
                assert threads() == {1}
            assert threads() == {2}
        assert threads() == {4}
        with threads_for(LARGE_PASS):
            assert threads() == {4}
        with threads_for(LARGE_PASS, most=8):
            assert threads() == {4}


def test_progress_counts_the_rows_of_all_blocks(monkeypatch) -> None:
    case, told = random_case(5), []
    problem = av.Problem(
        case.network, case.box, np.random.default_rng(0).standard_normal((7, case.network.output_size))
    )
    monkeypatch.setattr("admm_verify.splitting.solve.workers_for", lambda *_: 3)
    av.solve(problem, settings=av.SolverSettings(max_passes=200), run=Run(tell=told.append))
    assert told and {one.total for one in told} == {7}
    assert all(one.done <= 7 for one in told) and told[-1].text.endswith(f"{told[-1].done} of 7 rows finished")


def test_blocks_on_a_device_are_as_large_as_its_memory_holds() -> None:
    host, device = Budget.of(Run()), Budget.of(Run(), free=lambda: 2.0**37)
    assert host.cached and not device.cached
    assert host.block(1000) <= 2**21 // 1000 and device.block(1000) == 2**30 // 1000
    assert host.near(7.0) == 7.0 and device.near(7.0) == 2**30
    assert host.climbing(2**14, 1000) == 16
    # Twenty-four arrays of float64 in half of the memory.
    assert device.climbing(2**14, 1000) == 2**36 // (24 * 8) // 1000
    assert Budget.of(Run(), free=lambda: 2.0**20).block(1000) == 2**19 // (6 * 8) // 1000


@pytest.mark.parametrize("shape", [(5, 3), (1, 9), (4, 1)])
def test_neurons_whose_memory_cannot_be_had_are_bounded_in_halves(shape: tuple[int, int]) -> None:
    frames, neurons = np.arange(shape[0]), np.arange(np.prod(shape)).reshape(shape)
    view = SimpleNamespace(places=lambda frames, neurons: neurons)
    for most in (1, 2, 100):
        done: list = []

        def bound(frames: np.ndarray, neurons: np.ndarray, most: int = most) -> tuple[np.ndarray, np.ndarray]:
            assert len(frames) == len(neurons)
            if neurons.size > most:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return -neurons, neurons

        _append(view, bound, done, frames, neurons)
        places = np.concatenate([place.reshape(-1) for place, _, _ in done])
        assert np.array_equal(np.sort(places), np.arange(neurons.size))
        assert all(np.array_equal(-low, high) and np.array_equal(high, place) for place, low, high in done)
    with pytest.raises(MemoryError):
        _append(view, lambda frames, neurons: bound(frames, neurons, 0), [], frames, neurons)
