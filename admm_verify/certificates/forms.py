"""Linear maps as numbers that can be compared: sums of them, and how far one sum can be from another.

What was computed is within a share of its magnitude of the number that it stands for; sums are split into what is
rounded and what that takes away, so that equal numbers are told apart from those that are only near.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, to_numpy
from admm_verify.network.blocks import BlockMap
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Affine
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap

_UPWARD = 1.0 + 2.0**-40
"""Covers the rounding of a few sums of numbers that are not negative."""

_SHARE = 2.0**50
"""One over the share of a magnitude that rounding terms take for it at the least, in float64 and in exact numbers."""

_LEAST_ROUNDINGS = 16
"""Roundings that every computed bias is charged for."""

_NEAR = 2.0**-40
"""Share of its numbers that a sum may be off by: more than any rounding, less than any other network."""

_DENSE_LIMIT = 2**22
"""Entries of the largest matrix that a structured map is made for a comparison."""


@dataclass(frozen=True, eq=False)
class MapNumbers:
    """A map's numbers by its structure, and how far the ones that they stand for can be from them; None for not at all.

    Shapes: numbers, off as the structure says.
    """

    structure: tuple[object, ...]
    numbers: np.ndarray
    off: np.ndarray | None = None

    @property
    def negative(self) -> "MapNumbers":
        """That of -W."""
        return replace(self, numbers=-self.numbers)


def part_of(map: LinearMap) -> MapNumbers | None:
    """The part that a map is; None for maps of an unknown kind."""
    if isinstance(map, TransposedMap):
        inner = part_of(map.inner)
        return None if inner is None else replace(inner, structure=("transposed", *inner.structure))
    if isinstance(map, SelectionMap):
        if map.is_identity:
            return MapNumbers(("scaling", map.rows), np.ones(map.rows))
        return MapNumbers(("selection", map.columns, to_numpy(map.gather).astype("<i8").tobytes()), np.ones(1))
    if isinstance(map, DiagonalMap):
        scale = to_numpy(map.scale)
        count = map.roundings if map.magnitude is not None else map.roundings - 1
        return MapNumbers(("scaling", map.rows), scale, _off(scale, map.magnitude, count))
    if not isinstance(map, DenseMap | BlockMap | ConvolutionMap):
        return None
    weight = to_numpy(map.weight)
    count = 0 if map.magnitude is None else map.roundings
    return MapNumbers(_structure(map), weight, _off(weight, map.magnitude, count))


def _structure(map: DenseMap | BlockMap | ConvolutionMap) -> tuple[object, ...]:
    shape = tuple(int(size) for size in map.weight.shape)
    if isinstance(map, DenseMap):
        return "matrix", shape
    if isinstance(map, BlockMap):
        return "blocks", shape, map.outer, map.inner
    frame = map.input_shape, map.output_shape, map.stride, map.padding, map.dilation
    return "convolution", shape, tuple(tuple(int(size) for size in part) for part in frame), map.groups


def _off(numbers: np.ndarray, magnitude: object, count: int) -> np.ndarray | None:
    if count <= 0:
        return None
    size = np.abs(numbers if magnitude is None else to_numpy(magnitude))
    return 2.0 * DOUBLE_ROUNDOFF * count * size


def same(one: LinearMap, other: LinearMap) -> bool:
    """Whether two maps are the same in real numbers: one and itself, or equal numbers that are exact."""
    if one is other:
        return True
    a, b = part_of(one), part_of(other)
    if a is None or b is None or a.off is not None or b.off is not None:
        return False
    return a.structure == b.structure and np.array_equal(a.numbers, b.numbers)


def is_copy(map: LinearMap, base: LinearMap) -> bool:
    """Whether a map stands for all that another can stand for: by the same numbers, with errors no smaller."""
    if map is base:
        return True
    a, b = part_of(map), part_of(base)
    if a is None or b is None or a.structure != b.structure or not np.array_equal(a.numbers, b.numbers):
        return False
    return b.off is None or (a.off is not None and bool((a.off >= b.off).all()))


def is_scaling(maps: Sequence[LinearMap], factor: float) -> bool:
    """Whether some maps are one, of every entry times an exact factor."""
    found = part_of(maps[0]) if len(maps) == 1 else None
    return (
        found is not None
        and found.structure[0] == "scaling"
        and found.off is None
        and bool((found.numbers == factor).all())
    )


def charged_maps(
    own: Sequence[LinearMap], plus: Sequence[LinearMap], minus: Sequence[LinearMap]
) -> tuple[float, list[LinearMap]] | None:
    """Maps of which the sum stands for what some maps add up to less some others, with a magnitude that covers all that
    it is off by, and the sum of that; None where it is far off, or not to be compared.
    """
    groups = own, plus, minus
    parts = [_parts(group) for group in groups]
    if len({part.structure for group in parts for part in group or ()}) > 1 or any(group is None for group in parts):
        groups = tuple(_in_matrices(group) for group in groups)
        parts = [_parts(group) for group in groups]
    mine, added, taken = parts
    if mine is None or added is None or taken is None:
        return None
    terms = [*added, *(part.negative for part in taken), *(replace(part.negative, off=None) for part in mine)]
    off = _sum_size(terms)
    if off is None:
        return None
    first = widened(groups[0][0], off)
    return None if first is None else (float(off.sum()), [first, *groups[0][1:]])


def charged_bias(node: Affine, first: Affine, second: Affine) -> tuple[float, np.ndarray] | None:
    """What a bias is off by as the difference of two, in all, and a magnitude that covers it; None for far off."""
    one, two = _bias_part(first), _bias_part(second)
    off = _sum_size([two, one.negative, replace(_bias_part(node).negative, off=None)])
    if off is None:
        return None
    magnitude = to_numpy(node.bias_magnitude)
    return float(off.sum()), np.where(off > 0, magnitude + off * (_SHARE * _UPWARD), magnitude)


def same_bias(first: Affine, second: Affine) -> bool:
    """Whether two nodes add the same numbers, in real numbers."""
    if first.bias is second.bias:
        return True
    a, b = _bias_part(first), _bias_part(second)
    return a.off is None and b.off is None and np.array_equal(a.numbers, b.numbers)


def is_copied_bias(node: Affine, base: Affine) -> bool:
    """Whether a node's bias stands for all that another one's can stand for."""
    return np.array_equal(to_numpy(node.bias), to_numpy(base.bias)) and bool(
        (to_numpy(node.bias_magnitude) >= to_numpy(base.bias_magnitude)).all()
    )


def widened(map: LinearMap, off: np.ndarray) -> LinearMap | None:
    """The map with a magnitude that covers what its numbers are off by; None for maps that have none.

    Shapes: off as the numbers of its structure.
    """
    if not off.any():
        return map
    if isinstance(map, TransposedMap):
        inner = widened(map.inner, off)
        return None if inner is None else TransposedMap(inner)
    if isinstance(map, SelectionMap) and map.is_identity:
        map = DiagonalMap(np.ones(map.rows), None, map.roundings)
    if isinstance(map, DiagonalMap):
        return replace(map, magnitude=_magnitude(map.scale, map.magnitude, off), roundings=max(1, map.roundings))
    if isinstance(map, DenseMap | BlockMap | ConvolutionMap):
        return replace(map, magnitude=_magnitude(map.weight, map.magnitude, off))
    return None


def _parts(maps: Sequence[LinearMap] | None) -> list[MapNumbers] | None:
    found = [part_of(map) for map in maps or ()]
    known = [part for part in found if part is not None]
    return known if maps is not None and len(known) == len(found) else None


def _in_matrices(maps: Sequence[LinearMap]) -> list[LinearMap]:
    """Maps of several structures as matrices, those that are not too large."""
    return [map.dense() if map.rows * map.columns <= _DENSE_LIMIT else map for map in maps]


def _bias_part(node: Affine) -> MapNumbers:
    bias, magnitude = to_numpy(node.bias), to_numpy(node.bias_magnitude)
    exact = np.array_equal(np.abs(bias), magnitude)
    return MapNumbers(("bias",), bias, None if exact else _off(bias, magnitude, max(node.roundings, _LEAST_ROUNDINGS)))


def _sum_size(parts: Sequence[MapNumbers]) -> np.ndarray | None:
    """A bound on the sum of the true numbers of some parts, entry by entry; None where structures differ, or where it
    is no rounding.
    """
    structure = parts[0].structure
    if any(part.structure != structure for part in parts):
        return None
    total, lost, size = parts[0].numbers, np.zeros(parts[0].numbers.shape), np.abs(parts[0].numbers)
    for part in parts[1:]:
        total, error = _two_sum(total, part.numbers)
        lost, size = lost + np.abs(error), size + np.abs(part.numbers)
    for part in parts:
        if part.off is not None:
            lost, size = lost + part.off, size + part.off
    near = np.isfinite(size) & (np.abs(total) <= _NEAR * size)
    return (np.abs(total) + lost) * _UPWARD if near.all() else None


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a + b, rounded, and what that takes away, exactly (Knuth)."""
    total = a + b
    virtual = total - a
    return total, (a - (total - virtual)) + (b - virtual)


def _magnitude(numbers: object, magnitude: object, off: np.ndarray) -> np.ndarray:
    size = np.abs(to_numpy(numbers)) if magnitude is None else to_numpy(magnitude)
    return size + off * (_SHARE * _UPWARD)
