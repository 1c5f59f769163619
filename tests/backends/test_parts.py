"""Verbs of many arrays of different widths: in native code, and by CUDA's kernels on the host with real threads."""

from typing import Any

import numpy as np
import pytest

from admm_verify.arrays import host_copies, to_numpy
from admm_verify.backends import cuda
from admm_verify.backends.compiled import PART_VERBS, PARTS, CompiledVerbs
from admm_verify.backends.native import native_verbs
from admm_verify.backends.verbs import ArrayVerbs
from admm_verify.errors import InputError
from tests.backends.test_host_kernels import Threaded
from tests.gpu.host_kernels import HostKernels
from tests.gpu.pretend import pretend_gpu

torch = pytest.importorskip("torch")

ROWS = 5
WIDTHS = [(), (3,), (3, 40, 1, 7), (2, 9, 1, 5, 300, 7, 4), (2, 9, 1, 5, 30, 7, 4, 11), tuple(range(1, 2 * PARTS + 2))]


@pytest.fixture(params=["native", "threads"])
def verbs(request) -> CompiledVerbs:
    if request.param == "native":
        return native_verbs() or pytest.skip("native code cannot be built here")
    return Threaded(HostKernels.of(cuda.source()))


def moved(verbs: CompiledVerbs, arrays: list[np.ndarray]) -> list[Any]:
    return [torch.tensor(array) for array in arrays] if isinstance(verbs, Threaded) else arrays


def drawn(widths: tuple[int, ...], dtype: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(len(widths))
    first, second = ([rng.standard_normal((ROWS, n)).astype(dtype) for n in widths] for _ in range(2))
    return first, second


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("widths", WIDTHS, ids=len)
def test_the_best_is_kept_row_by_row(verbs: CompiledVerbs, widths: tuple[int, ...], dtype) -> None:
    found, old = drawn(widths, dtype)
    value, best = np.array([1, 2, -np.inf, np.nan, 5], dtype), np.array([0, 3, -np.inf, 1, 4], dtype)
    better = value > best
    kept = verbs.keep(*moved(verbs, [value, best]), moved(verbs, found), moved(verbs, old))
    expected = [
        np.where(better, value, best),
        *(np.where(better[:, None], *pair) for pair in zip(found, old, strict=True)),
    ]
    assert len(kept) == len(expected)
    for mine, theirs in zip(kept, expected, strict=True):
        assert to_numpy(mine).dtype == dtype and np.array_equal(to_numpy(mine), theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("widths", WIDTHS[1:], ids=len)
def test_means_move_together(verbs: CompiledVerbs, widths: tuple[int, ...], dtype) -> None:
    means, arrays = drawn(widths, dtype)
    found = verbs.averages(list(zip(moved(verbs, means), moved(verbs, arrays), strict=True)), 0.3)
    reference = ArrayVerbs()
    expected = [reference.blend(means[0], arrays[0], 0.3)]
    expected += [reference.average(mean, a, 0.3) for mean, a in zip(means[1:], arrays[1:], strict=True)]
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert np.allclose(to_numpy(mine), theirs, rtol=1e-6, atol=1e-7)


def test_arrays_that_do_not_fit_are_refused(verbs: CompiledVerbs) -> None:
    found, old = drawn((3, 4), np.float32)
    value, best = found[0][:, 0].copy(), old[0][:, 0].copy()
    for wrong in (old[0][:, :2].copy(), old[0][:4].copy(), old[0].astype(np.float64)):
        with pytest.raises(InputError):
            verbs.keep(*moved(verbs, [value, best]), moved(verbs, found), moved(verbs, [wrong, old[1]]))
        with pytest.raises(InputError):
            verbs.averages(list(zip(moved(verbs, found), moved(verbs, [wrong, old[1]]), strict=True)), 0.3)


def test_every_one_has_a_kernel_of_both_types() -> None:
    names = HostKernels.of(cuda.source()).names
    assert set(names) >= {f"av_{verb}_{suffix}" for verb in PART_VERBS for suffix in ("f32", "f64")}


def test_arrays_of_a_gpu_come_in_one_copy_for_each_dtype() -> None:
    rng = np.random.default_rng(0)
    given = [
        rng.standard_normal((2, 3)),
        rng.standard_normal(4).astype(np.float32),
        np.zeros((0, 2)),
        rng.standard_normal(1),
    ]
    assert all(one is other for one, other in zip(host_copies([given[0], None, given[1]]), given[:2], strict=True))
    with pretend_gpu() as gpu:
        there = [gpu.tensor(array) for array in given]
        gpu.events.clear()
        found = host_copies([there[0], None, *there[1:]])
        assert gpu.events.host_reads == 2
    for mine, theirs in zip(found, given, strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape and np.array_equal(mine, theirs)
