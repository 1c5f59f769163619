"""The verbs in native code on the CPU."""

import ctypes
import logging
from functools import cache
from itertools import cycle
from math import prod
from typing import Any

import numpy as np

from admm_verify.arrays import Array
from admm_verify.backends.compiled import ALL_VERBS, CompiledVerbs, KernelCall
from admm_verify.backends.verbs import SlopeState, agrees, slope_state
from admm_verify.errors import InputError
from admm_verify.kernels.library import native_library

_log = logging.getLogger(__name__)
_PAGE, _LINE = 4096, 64
_APART = 9 * _LINE
_places = cycle(range(_PAGE // _APART))
_Bytes = ctypes.c_char * 0
_POINTER, _COUNT, _NUMBER = ctypes.c_void_p, ctypes.c_longlong, ctypes.c_double
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
    if agrees(verbs):
        return verbs
    _log.debug("Native verbs are not used: they disagree with the reference on known values.")
    return None


class NativeVerbs(CompiledVerbs):
    """The verbs for NumPy arrays in float32 and float64."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._entries = {
            (verb, dtype): _entry(library, verb, suffix) for verb in ALL_VERBS for dtype, suffix in _SUFFIXES.items()
        }

    def state(self, slopes: Array) -> SlopeState:
        return slope_state(slopes, lambda shape: _empty(shape, slopes.dtype))

    def _run(self, call: KernelCall) -> list[np.ndarray]:
        verb, inputs, bounds, box, extras, numbers, _, sizes = call
        rows, n, boxes = call.fit()
        dtype, counts = call.first.dtype, ALL_VERBS[verb]
        entry = self._entries.get((verb, dtype))
        if entry is None:
            raise InputError(f"Native code takes float32 and float64, not {dtype}.")
        results = [_empty((rows, size), dtype) for size in sizes or (n,) * counts.matrices]
        results += [np.empty(rows, dtype) for _ in range(counts.sums)]
        chosen = None if boxes == 1 else np.require(box, np.int64, "C")
        failed = entry(
            *map(_pointer, inputs),
            *map(_pointer, bounds),
            *(None if chosen is None else _pointer(chosen), boxes, rows, n),
            *map(_pointer, extras),
            *numbers,
            *map(_pointer, results),
        )
        if failed:
            raise InputError(f"A row number in box is negative or not below {boxes}, the number of rows of bounds.")
        return results

    def _address(self, array: np.ndarray) -> int:
        return id(array)

    def _contiguous(self, array: np.ndarray) -> np.ndarray:
        return array if array.flags.carray else np.array(array, order="C")


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
    counts = ALL_VERBS[verb]
    return (
        (_POINTER,) * (counts.inputs + counts.bounds + 1)
        + (_COUNT,) * 3
        + (_POINTER,) * counts.extras
        + (_NUMBER,) * counts.numbers
        + (_POINTER,) * (counts.matrices + counts.sums)
    )


def _entry(library: ctypes.CDLL, verb: str, suffix: str) -> Any:
    entry = getattr(library, f"av_{verb}_{suffix}")
    entry.argtypes = argument_types(verb)
    entry.restype = ctypes.c_int
    return entry
