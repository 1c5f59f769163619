"""Linear interpolation along axes of images: one small matrix for each axis."""

from math import prod

import numpy as np

from admm_verify.network.blocks import BlockMap
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse

ALIGNED, ASYMMETRIC, CENTRED = "align_corners", "asymmetric", "half_pixel"
"""Where the places of a result lie between those of the input, in ONNX's words."""

_ROUNDINGS = 6
"""Of a coordinate and of what it weighs both neighbours by."""


def interpolate(builder: Builder, x: Tensor, axis: int, count: int, scale: float, places: str) -> Tensor:
    """x with `count` entries along an axis instead of its own, `scale` times as close; beyond the ends as at them.

    places: of ALIGNED, ASYMMETRIC and CENTRED. Raises: UnsupportedUse for others.
    """
    length, steps = x.shape[axis], np.arange(count, dtype=np.float64)
    if count == length and scale == 1:
        return x
    if places == ALIGNED:
        at = steps * ((length - 1) / (count - 1)) if count > 1 else np.zeros(count)
    elif places == ASYMMETRIC:
        at = steps / scale
    elif places == CENTRED:
        at = (steps + 0.5) / scale - 0.5
    else:
        raise UnsupportedUse(f"its coordinates are {places}; {ALIGNED}, {ASYMMETRIC} and {CENTRED} are read")
    at = np.clip(at, 0.0, length - 1.0)
    low = np.minimum(np.floor(at).astype(np.int64), length - 1)
    high = np.minimum(low + 1, length - 1)
    weight, size, rows = np.zeros((count, length)), np.zeros((count, length)), np.arange(count)
    np.add.at(weight, (rows, low), 1.0 - (at - low))
    np.add.at(weight, (rows, high), at - low)
    for column in (low, high):
        # What a coordinate loses, its weights lose by their sizes, however small they are.
        size[rows, column] = 1.0 + at
    map = BlockMap(weight, prod(x.shape[:axis]), prod(x.shape[axis + 1 :]), size, _ROUNDINGS)
    return Tensor(builder.affine(x, map), (*x.shape[:axis], count, *x.shape[axis + 1 :]))
