"""Convolutions of NumPy arrays in native code: direct sums of products, whose rounding gamma bounds."""

import ctypes
import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from admm_verify.kernels.library import native_library

if TYPE_CHECKING:
    from admm_verify.network.convolution import ConvolutionMap

_log = logging.getLogger(__name__)
_TYPES = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
_ARGUMENTS = (
    *(ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
    *(ctypes.c_longlong, ctypes.c_void_p),
)

Convolve = Callable[["ConvolutionMap", np.ndarray, np.ndarray, bool], np.ndarray]
"""convolve(map, x, kernel, forward): W x or, backward, W' x with a kernel of the map's shape; x [..., n]."""


def native_convolution(dtype: np.dtype) -> Convolve | None:
    """Convolutions in native code, or None where there is no library for arrays of this type."""
    return _convolutions().get(dtype)


@cache
def _convolutions() -> dict[np.dtype, Convolve]:
    library = native_library()
    if library is None:
        return {}
    found: dict[np.dtype, Convolve] = {}
    for dtype, suffix in _TYPES.items():
        try:
            entry = library[f"av_convolve_{suffix}"]
        except AttributeError as error:
            _log.debug("Native convolutions are not used: %s", error)
            return {}
        entry.argtypes, entry.restype = _ARGUMENTS, ctypes.c_int
        found[dtype] = _bound(entry, dtype)
    return found


def _bound(entry: Callable[..., int], dtype: np.dtype) -> Convolve:
    def convolve(map: "ConvolutionMap", x: np.ndarray, kernel: np.ndarray, forward: bool) -> np.ndarray:
        # Nothing behind this point knows where an array ends.
        if x.shape[-1] != (map.columns if forward else map.rows) or kernel.shape != map.weight.shape:
            raise ValueError(
                f"A convolution from {map.input_shape} to {map.output_shape} met {x.shape}, {kernel.shape}."
            )
        held = np.ascontiguousarray(x, dtype=dtype)
        weight, shape = np.ascontiguousarray(kernel, dtype=dtype), _shape(map)
        result = np.empty((*x.shape[:-1], map.rows if forward else map.columns), dtype)
        rows = result.size // max(1, result.shape[-1])
        pointers = [array.ctypes.data for array in (shape, weight, held, result)]
        if entry(pointers[0], int(forward), pointers[1], pointers[2], rows, pointers[3]):
            raise MemoryError("A convolution found no memory for one block of rows.")
        return result

    return convolve


def _shape(map: "ConvolutionMap") -> np.ndarray:
    """The fields of the kernel's Shape, in its order."""
    groups, (outputs, depth, *kernel) = map.groups, map.weight.shape
    numbers = (groups, outputs // groups, depth, *map.input_shape[1:], *map.output_shape[1:], *kernel)
    return np.array((*numbers, *map.stride, *map.padding[:2], *map.dilation), dtype=np.int64)
