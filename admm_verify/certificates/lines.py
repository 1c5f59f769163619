"""Lines below and above activations over intervals, for any slopes that somebody chose: what a checked kind gives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from admm_verify.certificates.numbers import Numbers


@dataclass(frozen=True, eq=False)
class CheckedLines:
    """below p + below_at <= phi(p) <= above p + above_at for l <= p <= u.

    Valid when: the caller charges kinks the rounding of |coefficient| max|phi| and |multiplier| max|p|.
    Where phi has m operands, p are all of them. weights: what the lines were chosen by where that is not their slopes.
    Shapes: below, above [rows or 1, m n]; below_at, above_at [rows or 1, n], below_at None for 0.
    """

    below: np.ndarray
    below_at: np.ndarray | None
    above: np.ndarray
    above_at: np.ndarray
    weights: np.ndarray | None = None


Chosen = tuple[np.ndarray, np.ndarray]
"""Columns [c] and the slopes chosen there [rows, c]."""


class CheckedKind(ABC):
    """phi of an activation node, made of the node's parameters, and what the checker knows of its kind.

    Shapes: low, high [rows or 1, m n] for m operands, one after the other.
    """

    operands: int = 1
    """How many numbers phi takes."""
    kinked: bool = False
    """A kink at 0 and nothing else: one slope can be chosen, that below, and a sign makes phi linear."""
    rectifies: bool = False
    """max(p, 0), of which tighter ends of a known sign say nothing."""
    curved: bool = False
    """In float64 only."""
    evaluation_roundings: float = 32.0
    """Roundings of max(1, max|phi|) by which float code may miss phi(p), whoever wrote it."""
    argument_roundings: float = 0.0
    """Roundings of max(1, max|phi'|) max|p| by which it may miss phi(p) besides."""

    @property
    def sides(self) -> int:
        """Slopes of one neuron that can be chosen."""
        return 1 if self.kinked else 2

    def fault(self) -> str | None:
        """Why nothing of these parameters can be checked, None where it can."""
        return None

    @abstractmethod
    def lines(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None) -> CheckedLines:
        """The rule's lines over [low, high], or those with the chosen slopes moved to where they are useful."""

    def within(self, numbers: Numbers, lines: CheckedLines, low: np.ndarray, high: np.ndarray) -> CheckedLines:
        """Lines as steep as those of a larger range, as near as they can be over this one."""
        return lines

    @abstractmethod
    def image(self, numbers: Numbers, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """An interval that holds phi([low, high]), rounded outward."""

    @abstractmethod
    def gain(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Lipschitz constants of phi in its operands on [low, high], rounded upward; float64."""

    def repeated(self, values: np.ndarray) -> np.ndarray:
        """A number of every value for each of its operands, [rows, n] -> [rows, m n]."""
        return values if self.operands == 1 else np.concatenate([values] * self.operands, axis=-1)

    def folded(self, numbers: np.ndarray) -> np.ndarray:
        """The sum over the operands, [rows, m n] -> [rows, n]."""
        return reduce(add, np.split(numbers, self.operands, axis=-1))

    def carried(self, low: np.ndarray, high: np.ndarray, error: np.ndarray) -> np.ndarray:
        """How much phi is off where its argument, within [low, high], is off by so much; float64."""
        return self.folded(self.gain(low, high) * error)

    def own_error(self, low: np.ndarray, high: np.ndarray, reach: np.ndarray, roundoff: float) -> np.ndarray:
        """How much float code may miss phi by on [low, high], where |phi| <= reach; float64."""
        found = self.evaluation_roundings * roundoff * np.maximum(reach, 1.0)
        if not self.argument_roundings:
            return found
        size = np.maximum(np.abs(low), np.abs(high)) * np.maximum(self.gain(low, high), 1.0)
        return found + self.argument_roundings * roundoff * size

    def like(self, numbers: Numbers, low: np.ndarray, high: np.ndarray, lines: CheckedLines) -> CheckedLines:
        """Lines over [low, high] with the slopes of others, which are in float64."""
        slopes = lines.weights
        if slopes is None:
            slopes = lines.below if self.kinked else np.concatenate([lines.below, lines.above], axis=-1)
        return self.lines(numbers, low, high, (np.arange(slopes.shape[1]), numbers.of(np.nan_to_num(slopes))))


def chosen_sides(
    numbers: Numbers, slopes: tuple[np.ndarray, np.ndarray], chosen: Chosen | None, steepest: float
) -> list[np.ndarray]:
    """The slopes below and above, of which some were chosen, each between 0 and the steepest there is."""
    zero, most = numbers.number(0), numbers.number(steepest)
    return [np.minimum(np.maximum(part, zero), most) for part in replaced(slopes, chosen)]


def replaced(slopes: Sequence[np.ndarray], chosen: Chosen | None) -> list[np.ndarray]:
    """The slopes below and above, with those that were chosen in place of some."""
    parts = list(slopes)
    if chosen is None:
        return parts
    columns, values = chosen
    size = parts[0].shape[1]
    both = np.concatenate(parts, axis=-1)
    both = np.broadcast_to(both, (max(len(both), len(values)), 2 * size)).copy()
    both[:, columns] = values
    return [both[:, :size], both[:, size:]]
