"""Linear maps between flat vectors: one contract, one class per structure.

Every map knows its rounding: `magnitude_apply` bounds the sum of absolute products behind each output, and
`roundings` counts the floating point operations on the longest path. A map that stands for a merged chain keeps the
magnitude of the chain, |W2||W1| rather than |W2 W1|, so that merging never hides an error.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.errors import ModelError

MERGE_UNDERFLOW = 2.0**-1020
"""Added to a merged product's magnitude per factor: times gamma (at least 2^-52) it covers what underflow takes, which
is at most 2^-1075, however much later factors of the chain scale it up."""


class LinearMap(Protocol):
    """y = W x for batches of flat vectors: x [..., columns] -> y [..., rows]."""

    @property
    def rows(self) -> int:
        """Length of y."""
        ...

    @property
    def columns(self) -> int:
        """Length of x."""
        ...

    @property
    def roundings(self) -> int:
        """Number of roundings on the longest path from an entry of x to an entry of y."""
        ...

    @property
    def numbers(self) -> tuple[Array, ...]:
        """The arrays of floating point numbers that define W."""
        ...

    def apply(self, x: Array) -> Array:
        """W x."""
        ...

    def transpose(self, y: Array) -> Array:
        """W' y, the adjoint: <W x, y> = <x, W' y>."""
        ...

    def absolute_apply(self, x: Array) -> Array:
        """|W| x, for interval arithmetic."""
        ...

    def magnitude_apply(self, x: Array) -> Array:
        """M x with M >= |W|: the chain's product of absolute values, for rounding terms."""
        ...

    def row_block(self, start: int, stop: int) -> Array:
        """Rows start..stop of W as a matrix [stop - start, columns]."""
        ...

    def put(self, placement: Placement) -> "LinearMap":
        """The same map with its arrays moved."""
        ...

    def with_roundings(self, count: int) -> "LinearMap":
        """The same map with another count of roundings."""
        ...

    def dense(self) -> "DenseMap":
        """The same map as a matrix on the host."""
        ...


@dataclass(frozen=True, eq=False)
class DenseMap:
    """A matrix: weight [rows, columns]; magnitude [rows, columns] where the weight is a merged product."""

    weight: Array
    magnitude: Array | None = None
    roundings: int = 0

    def __post_init__(self) -> None:
        # Evaluating the matrix takes a dot product of `columns` terms, however short the paths it was merged from.
        object.__setattr__(self, "roundings", max(self.roundings, self.columns))

    @property
    def rows(self) -> int:
        return self.weight.shape[0]

    @property
    def columns(self) -> int:
        return self.weight.shape[1]

    @property
    def numbers(self) -> tuple[Array, ...]:
        return (self.weight,)

    def apply(self, x: Array) -> Array:
        return _product(x, self.weight.T)

    def transpose(self, y: Array) -> Array:
        return _product(y, self.weight)

    def absolute_apply(self, x: Array) -> Array:
        return _product(x, namespace(x).abs(self.weight).T)

    def magnitude_apply(self, x: Array) -> Array:
        return self.absolute_apply(x) if self.magnitude is None else _product(x, self.magnitude.T)

    def row_block(self, start: int, stop: int) -> Array:
        return self.weight[start:stop, :]

    def with_roundings(self, count: int) -> "DenseMap":
        return replace(self, roundings=count)

    def put(self, placement: Placement) -> "DenseMap":
        magnitude = None if self.magnitude is None else placement.put(self.magnitude)
        return DenseMap(placement.put(self.weight), magnitude, self.roundings)

    def dense(self) -> "DenseMap":
        return self


@dataclass(frozen=True, eq=False)
class DiagonalMap:
    """Elementwise scaling by scale [n]; magnitude [n] where the scale is a merged product."""

    scale: Array
    magnitude: Array | None = None
    roundings: int = 1

    @property
    def rows(self) -> int:
        return self.scale.shape[0]

    @property
    def columns(self) -> int:
        return self.scale.shape[0]

    @property
    def numbers(self) -> tuple[Array, ...]:
        return (self.scale,)

    def apply(self, x: Array) -> Array:
        return x * self.scale

    def transpose(self, y: Array) -> Array:
        return y * self.scale

    def absolute_apply(self, x: Array) -> Array:
        return x * namespace(x).abs(self.scale)

    def magnitude_apply(self, x: Array) -> Array:
        return self.absolute_apply(x) if self.magnitude is None else x * self.magnitude

    def row_block(self, start: int, stop: int) -> Array:
        return self.transpose(_unit_rows(start, stop, self.rows, self.scale))

    def with_roundings(self, count: int) -> "DiagonalMap":
        return replace(self, roundings=count)

    def put(self, placement: Placement) -> "DiagonalMap":
        magnitude = None if self.magnitude is None else placement.put(self.magnitude)
        return DiagonalMap(placement.put(self.scale), magnitude, self.roundings)

    def dense(self) -> DenseMap:
        magnitude = None if self.magnitude is None else np.diag(self.magnitude)
        return DenseMap(np.diag(self.scale), magnitude, self.roundings)


@dataclass(frozen=True, eq=False)
class SelectionMap:
    """Moves entries without arithmetic: y[i] = x[gather[i]], or 0 where gather[i] = columns.

    `scatter` is the same for the adjoint; both exist because no entry of x is used twice. Permutations, slices and
    the parts of a concatenation are selections.
    """

    gather: Array
    scatter: Array
    roundings: int = 0

    @classmethod
    def from_gather(cls, gather: np.ndarray, columns: int, roundings: int = 0) -> "SelectionMap":
        """The selection with the given gather indices; entry `columns` stands for zero."""
        scatter = np.full(columns, len(gather), dtype=np.int64)
        used = gather < columns
        if gather.min(initial=0) < 0 or len(np.unique(gather[used])) != np.count_nonzero(used):
            raise ModelError("A selection repeats an entry or has a negative index; its adjoint would lose the others.")
        scatter[gather[used]] = np.flatnonzero(used)
        return cls(np.asarray(gather, dtype=np.int64), scatter, roundings)

    @classmethod
    def identity(cls, size: int) -> "SelectionMap":
        """y = x."""
        return cls.from_gather(np.arange(size), size)

    @property
    def rows(self) -> int:
        return self.gather.shape[0]

    @property
    def columns(self) -> int:
        return self.scatter.shape[0]

    @property
    def numbers(self) -> tuple[Array, ...]:
        return ()

    def apply(self, x: Array) -> Array:
        return _gather(x, self.gather)

    def transpose(self, y: Array) -> Array:
        return _gather(y, self.scatter)

    def absolute_apply(self, x: Array) -> Array:
        return self.apply(x)

    def magnitude_apply(self, x: Array) -> Array:
        return self.apply(x)

    def row_block(self, start: int, stop: int) -> Array:
        return Placement.of(self.gather, namespace(self.gather).float64).put(self.dense().weight[start:stop])

    def with_roundings(self, count: int) -> "SelectionMap":
        return replace(self, roundings=count)

    def put(self, placement: Placement) -> "SelectionMap":
        gather, scatter = placement.put_indices(self.gather), placement.put_indices(self.scatter)
        return SelectionMap(gather, scatter, self.roundings)

    def dense(self) -> DenseMap:
        weight = np.zeros((self.rows, self.columns))
        gather = to_numpy(self.gather)
        used = np.flatnonzero(gather < self.columns)
        weight[used, gather[used]] = 1.0
        return DenseMap(weight)


def compose(outer: LinearMap, inner: LinearMap) -> LinearMap:
    """The map outer o inner, whose magnitude covers the rounding of its own computation."""
    if isinstance(outer, SelectionMap) and isinstance(inner, SelectionMap):
        padded = np.append(inner.gather, inner.columns)
        return SelectionMap.from_gather(padded[outer.gather], inner.columns, outer.roundings + inner.roundings)
    if isinstance(outer, SelectionMap):
        dense = inner.dense()
        return _rearranged(dense, lambda matrix: _gather(matrix.T, outer.gather).T, outer.roundings + inner.roundings)
    if isinstance(inner, SelectionMap):
        dense = outer.dense()
        return _rearranged(dense, lambda matrix: _gather(matrix, inner.scatter), outer.roundings + inner.roundings)
    roundings = outer.roundings + inner.roundings + 1
    if isinstance(outer, DiagonalMap) and isinstance(inner, DiagonalMap):
        magnitude = _magnitude(outer.scale, outer.magnitude) * _magnitude(inner.scale, inner.magnitude)
        return DiagonalMap(outer.scale * inner.scale, magnitude + 2 * MERGE_UNDERFLOW, roundings)
    left, right = outer.dense(), inner.dense()
    magnitude = _magnitude(left.weight, left.magnitude) @ _magnitude(right.weight, right.magnitude)
    return DenseMap(left.weight @ right.weight, magnitude + (left.columns + 1) * MERGE_UNDERFLOW, roundings)


def _rearranged(dense: DenseMap, move: Callable[[np.ndarray], np.ndarray], roundings: int) -> DenseMap:
    """A matrix with its rows or columns moved, which is exact."""
    magnitude = None if dense.magnitude is None else move(dense.magnitude)
    return DenseMap(np.ascontiguousarray(move(dense.weight)), magnitude, roundings)


def add(first: LinearMap, second: LinearMap) -> DenseMap:
    """The map first + second, two parallel paths from the same source."""
    left, right = first.dense(), second.dense()
    magnitude = _magnitude(left.weight, left.magnitude) + _magnitude(right.weight, right.magnitude)
    return DenseMap(left.weight + right.weight, magnitude, max(first.roundings, second.roundings) + 1)


def _magnitude(value: np.ndarray, magnitude: np.ndarray | None) -> np.ndarray:
    return np.abs(value) if magnitude is None else magnitude


def _product(x: Array, matrix: Array) -> Array:
    """x @ matrix with all leading axes of x folded into one product."""
    if len(x.shape) <= 2:
        return x @ matrix
    xp = namespace(x)
    flat = xp.reshape(x, (-1, x.shape[-1])) @ matrix
    return xp.reshape(flat, (*x.shape[:-1], matrix.shape[-1]))


def _gather(x: Array, index: Array) -> Array:
    xp = namespace(x)
    zero = xp.zeros((*x.shape[:-1], 1), dtype=x.dtype, device=x.device)
    return xp.take(xp.concat([x, zero], axis=-1), index, axis=-1)


def _unit_rows(start: int, stop: int, size: int, like: Array) -> Array:
    unit = np.zeros((stop - start, size))
    unit[np.arange(stop - start), np.arange(start, stop)] = 1.0
    return Placement.of(like).put(unit)
