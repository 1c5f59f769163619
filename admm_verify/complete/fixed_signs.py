"""Paths of fixed signs: what they do to bounds, and their multipliers layer by layer."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from admm_verify.arrays import Placement, to_numpy
from admm_verify.bounds.functionals import Splits


class FixedSigns:
    """FixedSigns of neurons that are numbered over all layers; a path holds +-(1 + number), padded with zeros.

    Shapes: paths [parts, depth].
    """

    def __init__(self, sizes: Sequence[int], home: Placement) -> None:
        self.first = np.cumsum([0, *sizes])
        self.home = home

    def by_layer(self, numbers: np.ndarray) -> list[np.ndarray]:
        """The parts of an array of one number per neuron that belong to every layer."""
        return [numbers[first:last] for first, last in pairwise(self.first)]

    def clip(self, paths: np.ndarray, lower: list[np.ndarray], upper: list[np.ndarray]) -> None:
        """Cut the bounds of every part, in place: lower[k], upper[k] [parts, n_k]."""
        for k, (rows, entries, signs, _) in enumerate(self._layers(paths)):
            on, off = signs > 0, signs < 0
            lower[k][rows[on], entries[on]] = np.maximum(lower[k][rows[on], entries[on]], 0.0)
            upper[k][rows[off], entries[off]] = np.minimum(upper[k][rows[off], entries[off]], 0.0)

    def splits(self, paths: np.ndarray, beta: np.ndarray) -> tuple[Splits | None, ...]:
        """The splits of every layer, once for every row of their part, with copies of beta [parts, rows, depth]."""
        count, indices, single = beta.shape[1], self.home.put_indices, self.home.single
        found: list[Splits | None] = []
        for size, (rows, entries, signs, columns) in zip(np.diff(self.first), self._layers(paths), strict=True):
            row = (rows[:, None] * count + np.arange(count)).reshape(-1)
            place = row * int(size) + np.repeat(entries, count)
            own = single.put(beta[rows, :, columns].reshape(-1).copy())
            given = Splits(indices(place), indices(row), single.put(np.repeat(signs, count)), own)
            found.append(given if len(rows) else None)
        return tuple(found)

    def betas(self, paths: np.ndarray, splits: Sequence[Splits | None], count: int) -> np.ndarray:
        """The multipliers back where `splits` took them from, [parts, rows, depth]."""
        beta = np.zeros((len(paths), count, paths.shape[1]), dtype=np.float32)
        for split, (rows, _, _, columns) in zip(splits, self._layers(paths), strict=True):
            if split is not None:
                beta[rows, :, columns] = to_numpy(split.beta).reshape(-1, count)
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
