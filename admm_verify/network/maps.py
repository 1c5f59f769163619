"""Linear maps between flat vectors: one contract, one class per structure; convolutions have a file of their own.

Every map knows its rounding: `magnitude_apply` bounds the sum of absolute products behind each output, and
`roundings` counts the floating point operations on the longest path. A map that stands for a merged chain keeps the
magnitude of the chain, |W2||W1| rather than |W2 W1|, so that merging never hides an error.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Protocol

import array_api_compat
import numpy as np

from admm_verify.arrays import Array, Placement, namespace
from admm_verify.network.few_entries import FewEntries, few_entries

MERGE_UNDERFLOW = 2.0**-1020
"""Added to a merged product's magnitude per factor: times gamma (at least 2^-52) it covers what underflow takes, which
is at most 2^-1075, however much later factors of the chain scale it up."""

FLUSHED = 2.0**-100
"""Added to the magnitude of a value that is computed and then hidden: times a few roundings of float32 it is more than
the smallest normal number, below which the value may be lost."""

ROUNDED = 1.0 + 2.0**-32
"""Times the magnitude of a bias that was computed: it is above the bias's size then, which tells that it was rounded;
sums that are all of one sign would else look like numbers that are known."""


_TURN_LIMIT = 2**23
"""Entries of the largest matrix of which a second copy is kept."""


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
    def multiplications(self) -> int:
        """Multiplications of one product for one vector."""
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

    def absolute_transpose(self, y: Array) -> Array:
        """|W|' y."""
        ...

    def magnitude_transpose(self, y: Array) -> Array:
        """M' y."""
        ...

    def rows_at(self, wanted: np.ndarray, placement: Placement) -> Array:
        """The wanted rows of W as a matrix [len(wanted), columns]; map and placement are in one place."""
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
    def multiplications(self) -> int:
        return self.rows * self.columns if self._few is None else self._few[0].places.size

    @property
    def numbers(self) -> tuple[Array, ...]:
        return (self.weight,)

    @property
    def is_sparse(self) -> bool:
        """Whether products go through the few entries that are not zero."""
        return self._few is not None

    @cached_property
    def _few(self) -> tuple[FewEntries, FewEntries] | None:
        """The matrix and its transpose entry by entry, on the host and where there are so few entries that it pays."""
        return few_entries(self.weight, self.magnitude) if isinstance(self.weight, np.ndarray) else None

    def times_sparse(self, inner: "DenseMap") -> tuple[Array, Array] | None:
        """The product with another matrix and that of the magnitudes or more, where both have few entries."""
        if self._few is None or inner._few is None:
            return None
        return self._few[0].times(inner._few[0], inner.columns)

    def apply(self, x: Array) -> Array:
        if self._few is not None:
            return self._few[0].apply(x)
        return _product(x, self._turned if prod(x.shape) > self.columns else self.weight.T)

    def transpose(self, y: Array) -> Array:
        return _product(y, self.weight) if self._few is None else self._few[1].apply(y)

    @cached_property
    def _turned(self) -> Array:
        """W' laid out by rows where that is worth the copy: for more than one row BLAS turns W over each time."""
        if not isinstance(self.weight, np.ndarray) or self.weight.size > _TURN_LIMIT:
            return self.weight.T
        return np.ascontiguousarray(self.weight.T)

    def absolute_apply(self, x: Array) -> Array:
        return _product(x, namespace(x).abs(self.weight).T) if self._few is None else self._few[0].absolute_apply(x)

    def magnitude_apply(self, x: Array) -> Array:
        if self._few is not None:
            return self._few[0].magnitude_apply(x)
        return self.absolute_apply(x) if self.magnitude is None else _product(x, self.magnitude.T)

    def absolute_transpose(self, y: Array) -> Array:
        return _product(y, namespace(y).abs(self.weight)) if self._few is None else self._few[1].absolute_apply(y)

    def magnitude_transpose(self, y: Array) -> Array:
        if self._few is not None:
            return self._few[1].magnitude_apply(y)
        return self.absolute_transpose(y) if self.magnitude is None else _product(y, self.magnitude)

    def rows_at(self, wanted: np.ndarray, placement: Placement) -> Array:
        return placement.xp.take(self.weight, placement.put_indices(wanted), axis=0)

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
        return self.scale.shape[-1]

    @property
    def columns(self) -> int:
        return self.scale.shape[-1]

    @property
    def multiplications(self) -> int:
        return self.rows

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

    def absolute_transpose(self, y: Array) -> Array:
        return self.absolute_apply(y)

    def magnitude_transpose(self, y: Array) -> Array:
        return self.magnitude_apply(y)

    def rows_at(self, wanted: np.ndarray, placement: Placement) -> Array:
        return self.transpose(unit_rows(wanted, self.rows, placement))

    def with_roundings(self, count: int) -> "DiagonalMap":
        return replace(self, roundings=count)

    def put(self, placement: Placement) -> "DiagonalMap":
        magnitude = None if self.magnitude is None else placement.put(self.magnitude)
        return DiagonalMap(placement.put(self.scale), magnitude, self.roundings)

    def dense(self) -> DenseMap:
        # A matrix counts its roundings otherwise, so that its magnitude has to tell of rounded numbers.
        rounded = np.abs(self.scale) if self.magnitude is None and self.roundings > 1 else self.magnitude
        return DenseMap(np.diag(self.scale), None if rounded is None else np.diag(rounded), self.roundings)


@dataclass(frozen=True, eq=False)
class TransposedMap:
    """The adjoint y = W' x of a map W whose roundings cover both directions, as those of all maps but matrices do."""

    inner: LinearMap

    @property
    def rows(self) -> int:
        return self.inner.columns

    @property
    def columns(self) -> int:
        return self.inner.rows

    @property
    def roundings(self) -> int:
        return self.inner.roundings

    @property
    def multiplications(self) -> int:
        return self.inner.multiplications

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self.inner.numbers

    def apply(self, x: Array) -> Array:
        return self.inner.transpose(x)

    def transpose(self, y: Array) -> Array:
        return self.inner.apply(y)

    def absolute_apply(self, x: Array) -> Array:
        return self.inner.absolute_transpose(x)

    def magnitude_apply(self, x: Array) -> Array:
        return self.inner.magnitude_transpose(x)

    def absolute_transpose(self, y: Array) -> Array:
        return self.inner.absolute_apply(y)

    def magnitude_transpose(self, y: Array) -> Array:
        return self.inner.magnitude_apply(y)

    def rows_at(self, wanted: np.ndarray, placement: Placement) -> Array:
        return self.inner.apply(unit_rows(wanted, self.rows, placement))

    def with_roundings(self, count: int) -> "TransposedMap":
        return TransposedMap(self.inner.with_roundings(count))

    def put(self, placement: Placement) -> "TransposedMap":
        return TransposedMap(self.inner.put(placement))

    def dense(self) -> DenseMap:
        inner = self.inner.dense()
        magnitude = None if inner.magnitude is None else inner.magnitude.T
        return DenseMap(inner.weight.T, magnitude, self.roundings)


def applied(map: LinearMap, x: Array, total: Array | None) -> Array:
    """W x + total, in one operation where the library has one; total [n] or as the result, None for nothing."""
    if isinstance(map, DenseMap) and total is not None and _fuses(x):
        return total.addmm(x, map.weight.T)  # pyright: ignore[reportAttributeAccessIssue]
    part = map.apply(x)
    return part if total is None else part + total


def transposed(map: LinearMap, y: Array, total: Array | None) -> Array:
    """W' y + total, in one operation where the library has one; total as the result, None for nothing."""
    if isinstance(map, DenseMap) and total is not None and _fuses(y) and total.shape[:-1] == y.shape[:-1]:
        return total.addmm(y, map.weight)  # pyright: ignore[reportAttributeAccessIssue]
    part = map.transpose(y)
    if total is None:
        return part
    assert total.shape[-1] == part.shape[-1], "A coefficient has one entry per entry of its node"
    return total + part


def added_product(total: Array, x: Array, matrix: Array) -> Array:
    """total + x @ matrix, in one operation where the library has one; all of them [rows, n]."""
    return total.addmm(x, matrix) if _fuses(x) else total + x @ matrix  # pyright: ignore[reportAttributeAccessIssue]


def _fuses(x: Array) -> bool:
    """Whether products of x are added to something in the same launch: rows of torch."""
    return not isinstance(x, np.ndarray) and len(x.shape) == 2 and array_api_compat.is_torch_array(x)


def _product(x: Array, matrix: Array) -> Array:
    """x @ matrix with all leading axes of x folded into one product."""
    if len(x.shape) <= 2:
        return x @ matrix
    xp = namespace(x)
    flat = xp.reshape(x, (-1, x.shape[-1])) @ matrix
    return xp.reshape(flat, (*x.shape[:-1], matrix.shape[-1]))


def unit_rows(wanted: np.ndarray, size: int, placement: Placement) -> Array:
    """The wanted rows of the identity, [len(wanted), size]."""
    if placement.on_gpu:
        # Of each row its place alone goes there.
        xp, place = placement.xp, placement.put_indices(wanted)
        columns = xp.arange(size, dtype=xp.int64, device=placement.device)
        return xp.astype(place[:, None] == columns[None, :], placement.dtype)
    unit = np.zeros((len(wanted), size))
    unit[np.arange(len(wanted)), wanted] = 1.0
    return placement.put(unit)
