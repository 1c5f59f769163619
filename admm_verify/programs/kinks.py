"""The lines of all neurons of a network side by side, as a program takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.programs.frame import Entries
from admm_verify.relaxations.lines import KinkLines, Lines


@dataclass(frozen=True, eq=False)
class Kinks:
    """The lines of all neurons with a kink at 0: max(least p, most p) <= post <= chord p + intercept.

    Shapes: [sum n_k] each.
    """

    least: np.ndarray
    most: np.ndarray
    chord: np.ndarray
    intercept: np.ndarray

    @classmethod
    def of(cls, lines: Sequence[Lines]) -> "Kinks":
        """The lines of one row, layer after layer, all of them of kinks."""
        kinks = [line for line in lines if isinstance(line, KinkLines)]
        assert len(kinks) == len(lines), "programs take kinks only"
        layers = [(line.minimum, line.maximum, line.upper_slope, line.upper_intercept) for line in kinks]
        none = [(np.zeros(0),) * 4]
        parts = zip(*none, *layers, strict=True)
        return cls(*(np.concatenate([np.reshape(to_numpy(layer), -1) for layer in part]) for part in parts))

    def gap(self, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
        """How far points are from the graph, in units of the relaxation's height; 0 where that is exact."""
        height = np.where(self.most > self.least, self.intercept, np.inf)
        graph = np.maximum(self.least * pre, self.most * pre)
        return np.abs(post - graph) / np.maximum(height, np.finfo(np.float64).tiny)

    @property
    def bent(self) -> np.ndarray:
        """Where the relaxation is not a line."""
        return self.most > self.least

    def entries(self, pre: np.ndarray, post: np.ndarray) -> list[Entries]:
        """least pre - post <= 0, most pre - post <= 0 and post - chord pre <= intercept, the first rows of a program.

        Shapes: pre, post [sum n_k], columns.
        """
        size = len(pre)
        row, one = np.arange(size), np.ones(size)
        return [
            (row, pre, self.least),
            (row, post, -one),
            (row + size, pre, self.most),
            (row + size, post, -one),
            (row + 2 * size, post, one),
            (row + 2 * size, pre, -self.chord),
        ]

    @property
    def limits(self) -> np.ndarray:
        """The right sides of these rows."""
        return np.concatenate([np.zeros(2 * len(self.least)), self.intercept])
