"""Differences of two linear maps of one structure, whose magnitudes cover what their numbers are rounded by."""

from dataclasses import replace

import numpy as np

from admm_verify.network.blocks import BlockMap
from admm_verify.network.compose import magnitude_of
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap

_MATRIX_ENTRIES = 2**22
"""Up to which a map of another structure than a matrix becomes one to be compared with it."""

Weighted = DenseMap | BlockMap | ConvolutionMap


def same_map(second: LinearMap, first: LinearMap) -> bool:
    """Whether two maps are the same in real numbers, as far as their numbers tell: of rounded ones none are, but a map
    and itself.
    """
    if second is first:
        return True
    if isinstance(second, TransposedMap) and isinstance(first, TransposedMap):
        return same_map(second.inner, first.inner)
    if isinstance(second, SelectionMap) and isinstance(first, SelectionMap):
        return second.columns == first.columns and np.array_equal(second.gather, first.gather)
    if not is_exact(second) or not is_exact(first):
        return False
    if isinstance(second, DiagonalMap) and isinstance(first, DiagonalMap):
        return np.array_equal(second.scale, first.scale)
    return _alike(second, first) and all(map(np.array_equal, second.numbers, first.numbers))


def map_difference(second: LinearMap, first: LinearMap) -> LinearMap | None:
    """The map x -> W' x - W x; None where the two have no structure in common.

    The difference of two numbers is rounded once, relative to itself; where the numbers themselves were rounded, by
    shares of their magnitudes, which then add up.
    """
    roundings = max(second.roundings, first.roundings) + 1
    if isinstance(second, TransposedMap) and isinstance(first, TransposedMap):
        inner = map_difference(second.inner, first.inner)
        return None if inner is None else TransposedMap(inner)
    if isinstance(second, Weighted) and isinstance(first, Weighted) and _alike(second, first):
        magnitude = None if is_exact(second) and is_exact(first) else magnitude_of(second) + magnitude_of(first)
        return replace(second, weight=second.weight - first.weight, magnitude=magnitude, roundings=roundings)
    scalings = _as_scaling(second), _as_scaling(first)
    if scalings[0] is not None and scalings[1] is not None and second.columns == first.columns:
        exact = is_exact(scalings[0]) and is_exact(scalings[1])
        magnitude = None if exact else magnitude_of(scalings[0]) + magnitude_of(scalings[1])
        return DiagonalMap(scalings[0].scale - scalings[1].scale, magnitude, roundings)
    small = second.rows * second.columns <= _MATRIX_ENTRIES
    matrices = isinstance(second, DenseMap) or isinstance(first, DenseMap)
    plain = (second.rows, second.columns) == (first.rows, first.columns)
    if plain and small and matrices:
        return map_difference(second.dense(), first.dense())
    return None


def negated(map: LinearMap) -> LinearMap | None:
    """The map x -> -W x; None for selections that move anything."""
    if isinstance(map, TransposedMap):
        inner = negated(map.inner)
        return None if inner is None else TransposedMap(inner)
    if isinstance(map, Weighted):
        return replace(map, weight=-map.weight)
    scaling = _as_scaling(map)
    return None if scaling is None else replace(scaling, scale=-scaling.scale)


def is_exact(map: LinearMap) -> bool:
    """Whether a map's numbers are those that it stands for, up to no rounding at all: none were computed by merging,
    nor counted as rounded.
    """
    if isinstance(map, TransposedMap):
        return is_exact(map.inner)
    if isinstance(map, SelectionMap):
        return True
    if isinstance(map, DiagonalMap):
        return map.magnitude is None and map.roundings <= 1
    # Roundings that matrices count beyond their products' are those of sums on their path.
    return isinstance(map, Weighted) and map.magnitude is None


def _alike(second: LinearMap, first: LinearMap) -> bool:
    """Whether two maps differ in their weights alone."""
    if type(second) is not type(first) or (second.rows, second.columns) != (first.rows, first.columns):
        return False
    if isinstance(second, ConvolutionMap) and isinstance(first, ConvolutionMap):
        return second.weight.shape == first.weight.shape and _geometry(second) == _geometry(first)
    if isinstance(second, BlockMap):
        return second.like(first)
    return isinstance(second, DenseMap)


def _geometry(map: ConvolutionMap) -> tuple[object, ...]:
    return map.input_shape, map.output_shape, map.stride, map.padding, map.dilation, map.groups


def _as_scaling(map: LinearMap) -> DiagonalMap | None:
    if isinstance(map, SelectionMap) and map.is_identity:
        return DiagonalMap(np.ones(map.rows))
    return map if isinstance(map, DiagonalMap) else None
