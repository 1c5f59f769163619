"""The verbs in native code on the CPU."""

import ctypes
import logging
from collections.abc import Sequence
from functools import cache
from itertools import cycle
from math import prod
from typing import Any

import numpy as np

from admm_verify.backends.verbs import VERBS, Adam, ArrayVerbs, SlopeState, fit, fit_vector, slope_state
from admm_verify.errors import InputError
from admm_verify.kernels.library import native_library

_log = logging.getLogger(__name__)
_PAGE, _LINE = 4096, 64
_APART = 9 * _LINE
_places = cycle(range(_PAGE // _APART))
_Bytes = ctypes.c_char * 0
_POINTER, _COUNT, _NUMBER = ctypes.c_void_p, ctypes.c_longlong, ctypes.c_double
_EXTRAS = {
    "climb": (_POINTER,) * 3 + (_NUMBER,) * 4,
    "reflect_triangle": (_POINTER,),
    "halpern": (_POINTER,),
}
_SUFFIXES = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}


@cache
def native_verbs() -> "NativeVerbs | None":
    """The verbs in native code, or None where there is no library or it disagrees with the reference."""
    library = native_library()
    if library is None:
        return None
    try:
        verbs = NativeVerbs(library)
    except AttributeError as error:
        _log.debug("Native verbs are not used: %s", error)
        return None
    if _agrees(verbs):
        return verbs
    _log.debug("Native verbs are not used: they disagree with the reference on known values.")
    return None


class NativeVerbs:
    """The verbs for NumPy arrays in float32 and float64; arrays that are not C-contiguous are copied."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._entries = {
            (verb, dtype): _entry(library, verb, suffix) for verb in VERBS for dtype, suffix in _SUFFIXES.items()
        }

    def state(self, slopes: np.ndarray) -> SlopeState:
        return slope_state(slopes, lambda shape: _empty(shape, slopes.dtype))

    def descend(
        self, a: np.ndarray, slopes: np.ndarray, chord: np.ndarray, intercept: np.ndarray, box: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        g, value = self._run("descend", (a, slopes), (chord, intercept), box)
        return g, value

    def climb(
        self,
        a: np.ndarray,
        pre: np.ndarray,
        chord: np.ndarray,
        intercept: np.ndarray,
        minimum: np.ndarray,
        maximum: np.ndarray,
        box: np.ndarray,
        state: SlopeState,
        adam: Adam,
    ) -> np.ndarray:
        stored = (state.slopes, state.mean, state.square)
        if stored[0] is stored[1] or stored[1] is stored[2] or stored[0] is stored[2]:
            raise InputError("The slopes and Adam's averages share an array, but each is overwritten: copy it.")
        # Also refuses stored arrays whose shape or dtype is another.
        fit((a, *stored), (), None)
        own = [array if array.flags.carray else np.array(array, order="C") for array in stored]
        numbers = (adam.momentum, adam.memory, adam.rate / adam.first, 1.0 / adam.second)
        bounds = (chord, intercept, minimum, maximum)
        (post,) = self._run("climb", (a, pre), bounds, box, (*map(_pointer, own), *numbers))
        for array, kept in zip(stored, own, strict=True):
            if array is not kept:
                array[...] = kept
        return post

    def vertex(
        self, coefficient: np.ndarray, lower: np.ndarray, upper: np.ndarray, box: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        x, value = self._run("vertex", (coefficient,), (lower, upper), box)
        return x, value

    def support_triangle(
        self, lower: np.ndarray, upper: np.ndarray, post_weight: np.ndarray, pre_weight: np.ndarray, box: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        value, reach = self._run("support_triangle", (post_weight, pre_weight), (lower, upper), box)
        return value, reach

    def project_triangle(
        self, lower: np.ndarray, upper: np.ndarray, pre: np.ndarray, post: np.ndarray, box: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        p, q = self._run("project_triangle", (pre, post), (lower, upper), box)
        return p, q

    def reflect_triangle(
        self,
        sums: np.ndarray,
        edge: np.ndarray,
        bias: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
        box: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        held = fit_vector(bias, sums.shape[1], sums.dtype)
        r_sums, r_edge = self._run("reflect_triangle", (sums, edge), (lower, upper), box, (_pointer(held),))
        return r_sums, r_edge

    def halpern(
        self, u: np.ndarray, r: np.ndarray, z: np.ndarray, anchor: np.ndarray, since: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        held = fit_vector(since, u.shape[0], u.dtype)
        moved, square = self._run("halpern", (u, r, z, anchor), (), None, (_pointer(held),))
        return moved, square

    def _run(
        self,
        verb: str,
        inputs: Sequence[np.ndarray],
        bounds: Sequence[np.ndarray],
        box: np.ndarray | None,
        extras: Sequence[Any] = (),
    ) -> list[np.ndarray]:
        """Results of a verb: matrices, then sums."""
        rows, n, boxes = fit(inputs, bounds, box)
        dtype, counts = inputs[0].dtype, VERBS[verb]
        entry = self._entries.get((verb, dtype))
        if entry is None:
            raise InputError(f"Native code takes float32 and float64, not {dtype}.")
        results = [_empty((rows, n), dtype) for _ in range(counts.matrices)]
        results += [np.empty(rows, dtype) for _ in range(counts.sums)]
        chosen = None if boxes == 1 else np.require(box, np.int64, "C")
        failed = entry(
            *map(_pointer, inputs),
            *map(_pointer, bounds),
            *(None if chosen is None else _pointer(chosen), boxes, rows, n),
            *extras,
            *map(_pointer, results),
        )
        if failed:
            raise InputError(f"A row number in box is negative or not below {boxes}, the number of rows of bounds.")
        return results


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array at the start of a cache line, and not at the same place of a page as the last ones.

    Large arrays all start at the same place of a page, and as many as a verb reads and writes then evict each other
    from the cache: measured at twice the time.
    """
    size = prod(shape)
    buffer = np.empty(size + _PAGE // dtype.itemsize, dtype)
    first = -buffer.__array_interface__["data"][0] % _LINE + next(_places) * _APART
    start = first // dtype.itemsize
    return buffer[start : start + size].reshape(shape)


def _pointer(array: np.ndarray) -> Any:
    """What ctypes passes as the address of an array, or of a contiguous copy; it keeps the memory alive."""
    if array.flags.carray:
        # A quarter of the time of `array.ctypes`.
        return _Bytes.from_buffer(array)  # pyright: ignore[reportArgumentType]
    # NumPy gives no writable view of a read-only array, but its address.
    return np.require(array, requirements=("C", "A")).ctypes


def argument_types(verb: str) -> tuple[Any, ...]:
    """The types of the arguments of a verb's kernels."""
    counts = VERBS[verb]
    return (
        (_POINTER,) * (counts.inputs + counts.bounds + 1)
        + (_COUNT,) * 3
        + _EXTRAS.get(verb, ())
        + (_POINTER,) * (counts.matrices + counts.sums)
    )


def _entry(library: ctypes.CDLL, verb: str, suffix: str) -> Any:
    entry = getattr(library, f"av_{verb}_{suffix}")
    entry.argtypes = argument_types(verb)
    entry.restype = ctypes.c_int
    return entry


def _agrees(verbs: NativeVerbs) -> bool:
    """Whether every verb returns what the reference does, on a few rows longer than a vector register."""
    return all(
        np.allclose(mine, theirs, rtol=1e-5, atol=1e-5)
        for dtype in _SUFFIXES
        for mine, theirs in zip(_samples(verbs, dtype), _samples(ArrayVerbs(), dtype), strict=True)
    )


def _samples(verbs: NativeVerbs | ArrayVerbs, dtype: np.dtype) -> list[np.ndarray]:
    """All results of all verbs on fixed inputs."""
    rows, n = 3, 37
    waves = np.sin(np.arange(1.0, 1.0 + 8 * rows * n).reshape(8, rows, n)).astype(dtype)
    a, b, c, d, mean, square = waves[:6]
    lower, upper = np.minimum(waves[6], waves[7])[:2], np.maximum(waves[6], waves[7])[:2]
    chord, intercept = np.abs(lower), np.abs(upper)
    box, since = np.array([1, 0, 1]), np.arange(1.0, 1.0 + rows).astype(dtype)
    state = SlopeState(np.abs(d), mean.copy(), square**2)
    adam = Adam(0.5, 0.9, 1.0 - 0.5**3, 1.0 - 0.9**3, 0.1)
    return [
        *verbs.descend(a, b, chord, intercept, box),
        verbs.climb(a, b, chord, intercept, lower, upper, box, state, adam),
        *(state.slopes, state.mean, state.square),
        *verbs.vertex(a, lower, upper, box),
        *verbs.support_triangle(lower, upper, a, b, box),
        *verbs.project_triangle(lower, upper, a, b, box),
        *verbs.reflect_triangle(a, b, c[0], lower, upper, box),
        *verbs.halpern(a, b, c, d, since),
    ]
