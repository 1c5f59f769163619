"""Linear maps between flat vectors: one contract, one class per structure; convolutions have a file of their own.

Every map knows its rounding: `magnitude_apply` bounds the sum of absolute products behind each output, and
`roundings` counts the floating point operations on the longest path. A map that stands for a merged chain keeps the
magnitude of the chain, |W2||W1| rather than |W2 W1|, so that merging never hides an error.
"""

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
        return self.rows * self.columns

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

    def absolute_transpose(self, y: Array) -> Array:
        return _product(y, namespace(y).abs(self.weight))

    def magnitude_transpose(self, y: Array) -> Array:
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
        magnitude = None if self.magnitude is None else np.diag(self.magnitude)
        return DenseMap(np.diag(self.scale), magnitude, self.roundings)


@dataclass(frozen=True, eq=False)
class SelectionMap:
    """Moves entries without arithmetic: y[i] = x[gather[i]], or 0 where gather[i] = columns.

    Permutations, slices, the parts of a concatenation and repetitions (broadcasting, upsampling) are selections.

    The adjoint is x[j] = z[scatter[j]], 0 where scatter[j] = len(z): z = y and `sums` is empty where no entry is used
    twice, otherwise z joins z_g[j] = sum over i of y[sums[g][i, j]] over g, with 0 for the index `rows`.

    Shapes: gather [rows], scatter [columns], sums[g] [m_g, n_g], together less than 2 rows indices.
    """

    gather: Array
    scatter: Array
    sums: tuple[Array, ...] = ()
    roundings: int = 0
    is_identity: bool = False

    def __post_init__(self) -> None:
        # The adjoint of an entry used m times sums m terms.
        terms = max((index.shape[0] for index in self.sums), default=0)
        object.__setattr__(self, "roundings", max(self.roundings, terms))

    @classmethod
    def from_gather(cls, gather: np.ndarray, columns: int, roundings: int = 0) -> "SelectionMap":
        """The selection with the given gather indices; entry `columns` stands for zero.

        Raises: ModelError for an index below 0 or above `columns`.
        """
        gather = np.asarray(gather, dtype=np.int64)
        if gather.min(initial=0) < 0 or gather.max(initial=0) > columns:
            raise ModelError(f"A selection from {columns} entries has an index that is none of 0..{columns}.")
        is_identity = len(gather) == columns and bool(np.array_equal(gather, np.arange(columns)))
        return cls(gather, *_adjoint_indices(gather, columns), roundings, is_identity)

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
    def multiplications(self) -> int:
        return 0

    @property
    def numbers(self) -> tuple[Array, ...]:
        return ()

    def apply(self, x: Array) -> Array:
        return x if self.is_identity else _gather(x, self.gather)

    def transpose(self, y: Array) -> Array:
        if self.is_identity:
            return y
        if not self.sums:
            return _gather(y, self.scatter)
        xp = namespace(y)
        parts = [
            xp.sum(xp.reshape(_gather(y, xp.reshape(index, (-1,))), (*y.shape[:-1], *index.shape)), axis=-2)
            for index in self.sums
        ]
        return _gather(xp.concat(parts, axis=-1), self.scatter)

    absolute_apply = magnitude_apply = apply
    absolute_transpose = magnitude_transpose = transpose

    def rows_at(self, wanted: np.ndarray, placement: Placement) -> Array:
        gather = to_numpy(self.gather)[wanted]
        weight = np.zeros((len(gather), self.columns))
        used = np.flatnonzero(gather < self.columns)
        weight[used, gather[used]] = 1.0
        return placement.put(weight)

    def with_roundings(self, count: int) -> "SelectionMap":
        return replace(self, roundings=count)

    def put(self, placement: Placement) -> "SelectionMap":
        indices = replace(placement, dtype=placement.xp.int64)
        gather, scatter, *sums = (indices.put(array) for array in (self.gather, self.scatter, *self.sums))
        return replace(self, gather=gather, scatter=scatter, sums=tuple(sums))

    def dense(self) -> DenseMap:
        return DenseMap(self.rows_at(np.arange(self.rows), Placement.numpy()), None, self.roundings)


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


def _adjoint_indices(gather: np.ndarray, columns: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The scatter and sums of a selection."""
    uses = np.bincount(gather, minlength=columns + 1)[:columns]
    order, first = np.argsort(gather, kind="stable"), np.cumsum(uses) - uses
    if uses.max(initial=0) <= 1:
        last = np.append(order, len(gather))
        return np.where(uses == 1, last[first], len(gather)), ()
    scatter, sums, count = np.full(columns, np.count_nonzero(uses)), [], 0
    # Entries whose numbers of uses have as many binary digits share an array, so that padding less than doubles it.
    digits = np.frexp(uses)[1]
    for length in np.unique(digits[uses > 0]):
        entries = np.flatnonzero(digits == length)
        step = np.arange(uses[entries].max())[:, None]
        at = np.minimum(first[entries] + step, len(gather) - 1)
        sums.append(np.where(step < uses[entries], order[at], len(gather)))
        scatter[entries] = count + np.arange(len(entries))
        count += len(entries)
    return scatter, tuple(sums)


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


def unit_rows(wanted: np.ndarray, size: int, placement: Placement) -> Array:
    """The wanted rows of the identity, [len(wanted), size]."""
    unit = np.zeros((len(wanted), size))
    unit[np.arange(len(wanted)), wanted] = 1.0
    return placement.put(unit)
