"""Selections of entries as linear maps: permutations, reshapes, slices, padding and repeats."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.errors import ModelError
from admm_verify.network.maps import DenseMap


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
    def repeats(self) -> bool:
        """Whether some entry is used more than once."""
        return bool(self.sums)

    @property
    def numbers(self) -> tuple[Array, ...]:
        return ()

    @cached_property
    def _leaves_no_zero(self) -> tuple[bool, bool]:
        """Whether every entry of y, and with an adjoint without sums of x, comes from somewhere."""
        xp = namespace(self.gather)
        return bool(xp.all(self.gather < self.columns)), bool(xp.all(self.scatter < self.rows))

    def apply(self, x: Array) -> Array:
        return x if self.is_identity else _gather(x, self.gather, self._leaves_no_zero[0])

    def transpose(self, y: Array) -> Array:
        if self.is_identity:
            return y
        if not self.sums:
            if isinstance(y, np.ndarray) and self._leaves_no_zero == (True, False):
                # Twice as fast as a copy with a zero to gather from.
                spread = np.zeros((*y.shape[:-1], self.columns), dtype=y.dtype)
                spread[..., self.gather] = y
                return spread
            return _gather(y, self.scatter, self._leaves_no_zero[1])
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


def _gather(x: Array, index: Array, complete: bool = False) -> Array:
    """x at the indices, 0 at the index behind its end; complete: that one does not occur."""
    xp = namespace(x)
    if complete:
        return xp.take(x, index, axis=-1)
    zero = xp.zeros((*x.shape[:-1], 1), dtype=x.dtype, device=x.device)
    return xp.take(xp.concat([x, zero], axis=-1), index, axis=-1)
