"""Paths of fixed signs and halved ranges: what they do to bounds, and their multipliers layer by layer."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from admm_verify.arrays import Placement
from admm_verify.bounds.functionals import FreeEnds, Splits
from admm_verify.relaxations.contract import Hull


class FixedSigns:
    """Signs of neurons that are numbered over all layers; a path holds +-(1 + number), padded with zeros.

    In layers without a kink a number stands for one of the operands, of which a path takes the upper or lower half of
    what its codes before have left; their multiplier is kept with the first of these codes.
    Shapes: paths [parts, depth].
    """

    def __init__(self, sizes: Sequence[int], home: Placement, halved: Sequence[Hull | None]) -> None:
        """halved[k]: the relaxation of a layer without a kink, None for one whose signs are fixed."""
        self.first = np.cumsum([0, *sizes])
        self.home, self.halved = home, halved

    def by_layer(self, numbers: np.ndarray) -> list[np.ndarray]:
        """The parts of an array of one number per neuron that belong to every layer."""
        return [numbers[first:last] for first, last in pairwise(self.first)]

    def clip(self, paths: np.ndarray, lower: list[np.ndarray], upper: list[np.ndarray]) -> None:
        """Cut the bounds of every part, in place: lower[k], upper[k] [parts, n_k]."""
        for k, (rows, entries, signs, columns) in enumerate(self._layers(paths)):
            hull = self.halved[k]
            if hull is not None:
                _halve(hull, (rows, entries, signs, columns), lower[k], upper[k])
                continue
            on, off = signs > 0, signs < 0
            lower[k][rows[on], entries[on]] = np.maximum(lower[k][rows[on], entries[on]], 0.0)
            upper[k][rows[off], entries[off]] = np.minimum(upper[k][rows[off], entries[off]], 0.0)

    def splits(self, paths: np.ndarray, beta: np.ndarray) -> tuple[Splits | None, ...]:
        """The splits of every layer, once for every row of their part, with copies of beta [parts, rows, depth]."""
        count, indices, single = beta.shape[1], self.home.put_indices, self.home.single
        found: list[Splits | None] = []
        sizes = np.diff(self.first)
        for size, hull, (rows, entries, signs, columns) in zip(sizes, self.halved, self._layers(paths), strict=True):
            row = (rows[:, None] * count + np.arange(count)).reshape(-1)
            place = row * int(size) + np.repeat(entries, count)
            own = single.put(beta[rows, :, columns].reshape(-1).copy())
            given = Splits(indices(place), indices(row), single.put(np.repeat(signs, count)), own)
            found.append(given if len(rows) and hull is None else None)
        return tuple(found)

    def ranges(
        self, paths: np.ndarray, beta: np.ndarray, lower: Sequence[np.ndarray], upper: Sequence[np.ndarray]
    ) -> tuple[FreeEnds | None, ...]:
        """The halved ranges of every layer as ends of their own, with the multipliers of beta [parts, rows, depth].

        Shapes: lower[k], upper[k] [parts, n_k], cut already.
        """
        put, found = self.home.single.put, []
        for k, (rows, entries, _, columns) in enumerate(self._layers(paths)):
            if self.halved[k] is None or not len(rows):
                found.append(None)
                continue
            parts, size = lower[k].shape
            cut = np.zeros((parts, 1, size), dtype=bool)
            cut[rows, 0, entries] = True
            tau = np.zeros((parts, beta.shape[1], size), dtype=np.float32)
            # The first code of an entry comes last here, and stays.
            tau[rows[::-1], :, entries[::-1]] = beta[rows[::-1], :, columns[::-1]]
            low, high = (put(end[:, None, :]) for end in (lower[k], upper[k]))
            found.append(FreeEnds(low, high, self.home.put_flags(cut), put(tau)))
        return tuple(found)

    def betas(
        self, paths: np.ndarray, split: Sequence[np.ndarray | None], ends: Sequence[np.ndarray | None], count: int
    ) -> np.ndarray:
        """Multipliers beta of `splits` and tau of `ranges` back where they were taken from, [parts, rows, depth]."""
        beta = np.zeros((len(paths), count, paths.shape[1]), dtype=np.float32)
        for own, tau, (rows, entries, _, columns) in zip(split, ends, self._layers(paths), strict=True):
            if own is not None:
                beta[rows, :, columns] = own.reshape(-1, count)
            if tau is not None:
                beta[rows, :, columns] = tau[rows, :, entries]
        return beta

    def _layers(self, paths: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Parts, entries, signs and columns of the paths' signs in every layer."""
        part, column = np.nonzero(paths)
        code = paths[part, column]
        neuron = np.abs(code) - 1
        layer = np.searchsorted(self.first, neuron, side="right") - 1
        for k in range(len(self.first) - 1):
            here = layer == k
            yield part[here], neuron[here] - self.first[k], np.sign(code[here]), column[here]


_Codes = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Parts, entries, signs and columns of some codes of one layer."""


def _halve(hull: Hull, codes: _Codes, lower: np.ndarray, upper: np.ndarray) -> None:
    """Cut ranges [parts, n] in place by one code after the other, each time where the hull says."""
    rows, entries, signs, columns = codes
    for column in np.unique(columns):
        here = columns == column
        row, entry, up = rows[here], entries[here], signs[here] > 0
        below, above = (np.asarray(end)[np.arange(len(row)), entry] for end in hull.halves(lower[row], upper[row]))
        lower[row[up], entry[up]], upper[row[~up], entry[~up]] = above[up], below[~up]
