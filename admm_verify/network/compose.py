"""Merging linear maps: chains and parallel paths become one map where that is exact or bounded, and cheap."""

from dataclasses import replace

import numpy as np

from admm_verify.arrays import Array
from admm_verify.network.blocks import BlockMap
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.maps import MERGE_UNDERFLOW, DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap


def compose(outer: LinearMap, inner: LinearMap) -> LinearMap | None:
    """The map outer o inner, whose magnitude covers the rounding of its own computation; None where it is not cheap.

    Matrices absorb matrices, scalings and selections; scalings and selections absorb their own kind; convolutions and
    their adjoints absorb scalings of whole channels, as matrices along an axis do, and these their own kind; identities
    vanish.
    """
    roundings = outer.roundings + inner.roundings
    if isinstance(outer, SelectionMap) and outer.is_identity:
        return inner.with_roundings(roundings)
    if isinstance(inner, SelectionMap) and inner.is_identity:
        return outer.with_roundings(roundings)
    if isinstance(outer, DenseMap):
        return _matrix_after(outer, inner, roundings)
    if isinstance(inner, DenseMap):
        return _after_matrix(outer, inner, roundings)
    if isinstance(outer, BlockMap) or isinstance(inner, BlockMap):
        return _along_one_axis(outer, inner, roundings)
    return _structured(outer, inner, roundings)


def add(first: LinearMap, second: LinearMap) -> LinearMap | None:
    """The map first + second, two parallel paths from the same source; None where it is not cheap.

    Matrices absorb matrices, scalings and selections; scalings and identities add up to a scaling.
    """
    roundings = max(first.roundings, second.roundings) + 1
    if isinstance(first, DenseMap) or isinstance(second, DenseMap):
        if not all(isinstance(part, DenseMap | DiagonalMap | SelectionMap) for part in (first, second)):
            return None
        left, right = first.dense(), second.dense()
        return DenseMap(left.weight + right.weight, magnitude_of(left) + magnitude_of(right), roundings)
    if isinstance(first, BlockMap) and isinstance(second, BlockMap) and first.like(second):
        magnitude = magnitude_of(first) + magnitude_of(second)
        return replace(first, weight=first.weight + second.weight, magnitude=magnitude, roundings=roundings)
    scalings = [_as_scaling(part) for part in (first, second)]
    if scalings[0] is None or scalings[1] is None:
        return None
    magnitude = magnitude_of(scalings[0]) + magnitude_of(scalings[1])
    return DiagonalMap(scalings[0].scale + scalings[1].scale, magnitude, roundings)


def _structured(outer: LinearMap, inner: LinearMap, roundings: int) -> LinearMap | None:
    """The composition of two maps that are no matrices."""
    if isinstance(outer, SelectionMap) and isinstance(inner, SelectionMap):
        padded = np.append(inner.gather, inner.columns)
        return SelectionMap.from_gather(padded[outer.gather], inner.columns, roundings)
    if isinstance(outer, DiagonalMap) and isinstance(inner, DiagonalMap):
        magnitude = magnitude_of(outer) * magnitude_of(inner) + 2 * MERGE_UNDERFLOW
        return DiagonalMap(outer.scale * inner.scale, magnitude, roundings + 1)
    if isinstance(outer, DiagonalMap):
        return _scaled_channels(outer, inner, False)
    return _scaled_channels(inner, outer, True) if isinstance(inner, DiagonalMap) else None


def _matrix_after(outer: DenseMap, inner: LinearMap, roundings: int) -> DenseMap | None:
    if isinstance(inner, SelectionMap):
        # Entries used several times sum columns of the matrix, so cancellation must not reach the magnitude.
        exact = not inner.sums and outer.magnitude is None
        magnitude = None if exact else inner.transpose(magnitude_of(outer))
        return DenseMap(np.ascontiguousarray(inner.transpose(outer.weight)), magnitude, roundings)
    if isinstance(inner, DiagonalMap):
        magnitude = magnitude_of(outer) * magnitude_of(inner) + 2 * MERGE_UNDERFLOW
        return DenseMap(outer.weight * inner.scale, magnitude, roundings + 1)
    if isinstance(inner, DenseMap):
        product = outer.times_sparse(inner)
        if product is not None:
            return DenseMap(product[0], product[1] + (outer.columns + 1) * MERGE_UNDERFLOW, roundings + 1)
        magnitude = magnitude_of(outer) @ magnitude_of(inner) + (outer.columns + 1) * MERGE_UNDERFLOW
        return DenseMap(outer.weight @ inner.weight, magnitude, roundings + 1)
    if isinstance(inner, BlockMap):
        magnitude = inner.magnitude_transpose(magnitude_of(outer)) + (outer.columns + 1) * MERGE_UNDERFLOW
        return DenseMap(inner.transpose(outer.weight), magnitude, roundings + 1)
    return None


def _along_one_axis(outer: LinearMap, inner: LinearMap, roundings: int) -> BlockMap | None:
    """The composition of maps of which one takes a matrix along an axis, where the other one does so, too, or scales
    all places alike.
    """
    if isinstance(outer, BlockMap) and isinstance(inner, BlockMap):
        if not outer.like(inner):
            return None
        magnitude = magnitude_of(outer) @ magnitude_of(inner) + (outer.weight.shape[1] + 1) * MERGE_UNDERFLOW
        return replace(outer, weight=outer.weight @ inner.weight, magnitude=magnitude, roundings=roundings + 1)
    if isinstance(outer, BlockMap) and isinstance(inner, DiagonalMap):
        turned = _scaled_rows(inner, replace(outer, weight=outer.weight.T, magnitude=magnitude_of(outer).T), roundings)
        return turned and replace(turned, weight=turned.weight.T, magnitude=magnitude_of(turned).T)
    if isinstance(outer, DiagonalMap) and isinstance(inner, BlockMap):
        return _scaled_rows(outer, inner, roundings)
    return None


def _scaled_rows(scaling: DiagonalMap, map: BlockMap, roundings: int) -> BlockMap | None:
    """A matrix along an axis with its rows scaled, where the scaling is the same for all places."""
    shape = (map.outer, map.weight.shape[0], map.inner)
    scale, size = (np.reshape(part, shape) for part in (scaling.scale, magnitude_of(scaling)))
    if not np.all(scale == scale[:1, :, :1]):
        return None
    weight = scale[0, :, 0][:, None] * map.weight
    magnitude = size.max(axis=(0, 2))[:, None] * magnitude_of(map) + 2 * MERGE_UNDERFLOW
    return replace(map, weight=weight, magnitude=magnitude, roundings=roundings + 1)


def _after_matrix(outer: LinearMap, inner: DenseMap, roundings: int) -> DenseMap | None:
    if isinstance(outer, SelectionMap):
        magnitude = None if inner.magnitude is None else outer.apply(inner.magnitude.T).T
        return DenseMap(np.ascontiguousarray(outer.apply(inner.weight.T).T), magnitude, roundings)
    if isinstance(outer, DiagonalMap):
        magnitude = magnitude_of(outer)[:, None] * magnitude_of(inner) + 2 * MERGE_UNDERFLOW
        return DenseMap(outer.scale[:, None] * inner.weight, magnitude, roundings + 1)
    return None


def _scaled_channels(scaling: DiagonalMap, map: LinearMap, first: bool) -> LinearMap | None:
    """The map after a scaling if `first`, else the scaling after the map, where it scales whole channels."""
    if isinstance(map, TransposedMap):
        merged = _scaled_channels(scaling, map.inner, not first)
        return None if merged is None else TransposedMap(merged)
    if not isinstance(map, ConvolutionMap):
        return None
    channels = (map.input_shape if first else map.output_shape)[0]
    factors = np.reshape(scaling.scale, (channels, -1))
    if not np.all(factors == factors[:, :1]):
        return None
    merged = _scaled(map, factors[:, 0], first)
    bound = replace(map, weight=magnitude_of(map), magnitude=None)
    covered = _scaled(bound, np.reshape(magnitude_of(scaling), (channels, -1)).max(axis=1), first)
    return replace(merged, magnitude=covered.magnitude, roundings=map.roundings + scaling.roundings + 1)


def _scaled(map: ConvolutionMap, factors: np.ndarray, first: bool) -> ConvolutionMap:
    return map.scaled(None, factors) if first else map.scaled(factors, None)


def _as_scaling(map: LinearMap) -> DiagonalMap | None:
    if isinstance(map, SelectionMap) and map.is_identity:
        return DiagonalMap(np.ones(map.rows), None, map.roundings)
    return map if isinstance(map, DiagonalMap) else None


def magnitude_of(map: BlockMap | DenseMap | DiagonalMap | ConvolutionMap) -> Array:
    """The sums of absolute products behind a map's numbers, in their shape."""
    if map.magnitude is not None:
        return map.magnitude
    return np.abs(map.scale if isinstance(map, DiagonalMap) else map.weight)
