"""Induced norms |W|_{p -> q} = max |W x|_q / |x|_p of linear maps, certified from above and attained from below.

Exact up to rounding are p = q, p = 1 (the largest column) and q = infinity (the largest row). The others, from infinity
to 2 and to 1 and from 2 to 1, are NP-hard (Steinberg 2005; Hendrickx and Olshevsky 2010) and are bounded by those:
|x|_2 <= sqrt(n) |x|_inf, |y|_1 <= sqrt(m) |y|_2, and by sums of absolute values.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from admm_verify.arrays import Placement, gamma, quiet_overflow, to_numpy
from admm_verify.network.blocks import BlockMap
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.gain import gain
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.run import paced
from admm_verify.sets.norm_names import NormName

DUAL: dict[NormName, NormName] = {"l1": "linf", "l2": "l2", "linf": "l1"}
"""The norm in which coefficients are measured: |c'x| <= |c| |x|."""

_STEPS = 12
"""Products with W and W' of the ascent that attains a norm."""


def norm_above(part: LinearMap, source: NormName, target: NormName) -> float:
    """An upper bound of |W|_{source -> target} of a map in exact numbers.

    Error: rounded outward; merged products are charged for the roundings they were stored with.
    """
    if source == target == "l2":
        return gain(part)
    part = part.put(Placement.numpy())
    with quiet_overflow():
        if source == "l1":
            return float(np.max(_lengths(part, target, rows=False), initial=0.0))
        if target == "linf":
            return float(np.max(_lengths(part, DUAL[source], rows=True), initial=0.0))
        return _hard(part, source, target)


def norm_below(part: LinearMap, source: NormName, target: NormName, seed: int = 0) -> float:
    """A value |W x|_target / |x|_source that is attained: at most the norm, and often next to it.

    The ascent x <- dual(W' dual(W x)) never falls.
    Error: rounded inward.
    Reference: Boyd, The power method for l_p norms, Linear Algebra and its Applications 9, 1974.
    """
    part = part.put(Placement.numpy())
    if 0 in (part.rows, part.columns):
        return 0.0
    best = 0.0
    with quiet_overflow():
        x = _first(part, source, target, seed)
        for _ in paced(range(_STEPS)):
            x = steepest_of(x, source)
            y = to_numpy(part.apply(x))
            error = gamma(part.columns + 2 * part.roundings + 8) * to_numpy(part.magnitude_apply(np.abs(x)))
            short = length_of(np.maximum(np.abs(y) - error, 0.0), target)
            long = length_of(np.abs(x), source) * (1.0 + 4.0 * gamma(part.columns + 4))
            value = float(short[0] / long[0]) * (1.0 - 4.0 * gamma(part.rows + 4)) if long[0] > 0 else 0.0
            best = max(best, value) if np.isfinite(value) else best
            x = to_numpy(part.transpose(steepest_of(y, DUAL[target], other=True)))
            if not x.any():
                break
    return best


def _first(part: LinearMap, source: NormName, target: NormName, seed: int) -> np.ndarray:
    """Where to begin: at what is best up to rounding where that is known, else anywhere."""
    if source == "l1":
        best = np.argmax(np.broadcast_to(_lengths(part, target, rows=False), (part.columns,)))
        return np.eye(1, part.columns, int(best))
    if target == "linf":
        best = np.argmax(np.broadcast_to(_lengths(part, DUAL[source], rows=True), (part.rows,)))
        return to_numpy(part.transpose(np.eye(1, part.rows, int(best))))
    return np.random.default_rng(seed).standard_normal((1, part.columns))


def length_of(x: np.ndarray, norm: NormName) -> np.ndarray:
    """|x|_norm along the last axis, up to n + 2 roundings."""
    if norm == "l1":
        return np.sum(np.abs(x), axis=-1)
    most = np.max(np.abs(x), axis=-1, initial=0.0)
    if norm == "linf":
        return most
    scale = np.where(most > 0, most, 1.0)
    return most * np.sqrt(np.sum((x / scale[..., None]) ** 2, axis=-1))


def steepest_of(y: np.ndarray, norm: NormName, other: bool = False) -> np.ndarray:
    """The x of |x|_norm = 1 with the largest y'x."""
    if norm == "l2":
        return y / np.maximum(length_of(y, "l2"), 1e-300)[..., None]
    if norm == "linf":
        return np.where(y >= 0, 1.0, -1.0)
    found = np.zeros_like(y)
    at = np.argmax(np.abs(y), axis=-1)[..., None]
    np.put_along_axis(found, at, np.where(np.take_along_axis(y, at, -1) >= 0, 1.0, -1.0), -1)
    return found


def _hard(part: LinearMap, source: NormName, target: NormName) -> float:
    """Bounds of the norms whose computation is NP-hard."""
    roots = 1.0
    if source == "linf":
        roots *= np.sqrt(part.columns) * (1.0 + gamma(4))
    if target == "l1":
        roots *= np.sqrt(part.rows) * (1.0 + gamma(4))
    by_length = gain(part) * float(roots) * (1.0 + gamma(4))
    charge = 1.0 + 4.0 * gamma(part.rows + part.columns + 8)
    if source == "linf":
        # |W x| <= |W| 1 entry by entry.
        return min(by_length, float(length_of(_lengths(part, "l1", rows=True), target)) * charge)
    return min(by_length, float(length_of(_lengths(part, "l1", rows=False), "l2")) * charge)


def _lengths(part: LinearMap, norm: NormName, rows: bool) -> np.ndarray:
    """Upper bounds of the lengths of all rows, or of all columns."""
    if norm == "linf":
        return _largest(part, rows)
    # Powers of two scale exactly, and squares neither overflow nor vanish.
    plain = _of_sizes(part, lambda size: size).numbers
    most = max((float(np.max(to_numpy(array), initial=0.0)) for array in plain), default=0.0)
    scale = 2.0 ** float(min(np.frexp(most)[1], 1023)) if 0.0 < most < np.inf else 1.0
    power = 2 if norm == "l2" else 1
    sizes = _of_sizes(part, lambda size: (size / scale) ** power)
    ones = np.ones((1, sizes.columns if rows else sizes.rows))
    total = to_numpy(sizes.apply(ones) if rows else sizes.transpose(ones))[0]
    total = total * (1.0 + 2.0 * gamma(part.rows + part.columns + part.roundings + 8)) + 2.0**-1000 * (most > 0)
    return (np.sqrt(total) * (1.0 + gamma(8)) if norm == "l2" else total) * scale


def _largest(part: LinearMap, rows: bool) -> np.ndarray:
    """Upper bounds of the largest entries of all rows, or columns; at least those where windows end at the border."""
    if isinstance(part, TransposedMap):
        return _largest(part.inner, not rows)
    if isinstance(part, DenseMap):
        return np.max(_sizes(part.weight, part), axis=1 if rows else 0, initial=0.0)
    if isinstance(part, DiagonalMap):
        return _sizes(part.scale, part)
    if isinstance(part, SelectionMap):
        return np.ones(1)
    assert isinstance(part, ConvolutionMap | BlockMap), "No map is of another class"
    return np.max(_sizes(part.weight, part), initial=0.0)[None]


def _sizes(weight: object, part: DenseMap | DiagonalMap | ConvolutionMap | BlockMap) -> np.ndarray:
    """|w| of the map in exact numbers, at most."""
    size = np.abs(to_numpy(weight)).astype(np.float64)
    if part.magnitude is None:
        return size
    return (size + gamma(max(part.roundings, 1) + 8) * to_numpy(part.magnitude)) * (1.0 + gamma(4))


def _of_sizes(part: LinearMap, change: Callable[[np.ndarray], np.ndarray]) -> LinearMap:
    """The map of changed sizes of entries; those of selections are ones, which nothing changes."""
    if isinstance(part, TransposedMap):
        return TransposedMap(_of_sizes(part.inner, change))
    if isinstance(part, SelectionMap):
        return part
    if isinstance(part, DiagonalMap):
        return replace(part, scale=change(_sizes(part.scale, part)), magnitude=None)
    assert isinstance(part, DenseMap | ConvolutionMap | BlockMap), "No map is of another class"
    return replace(part, weight=change(_sizes(part.weight, part)), magnitude=None)
