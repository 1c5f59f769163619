"""Whether linear equations have a solution in a cube, in rational numbers."""

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

_WIDTH = Fraction(2)
"""Of the range [-1, 1] of every unknown, which counts from its lower end here."""

_PRIME = 2**61 - 1
"""Of which hardly any minor is a multiple by chance."""


def solvable(columns: Sequence[Sequence[Fraction]], target: Sequence[Fraction], start: Sequence[bool]) -> bool:
    """Whether sum_j columns_j z_j = target for some z with |z_j| <= 1, exactly.

    start: for every unknown, whether the search starts it at 1 rather than at -1; a good guess saves steps.
    The simplex method with bounds, first phase; Bland's rule makes it end.
    Reference: Chvátal, Linear Programming (1983), chapters 3 and 8.
    """
    return not _independent([*columns, target]) and _CubeEquations(columns, target, start).feasible()


def _independent(columns: Sequence[Sequence[Fraction]]) -> bool:
    """Whether columns have proven to be linearly independent; false says nothing.

    Those that are so modulo a prime, once they are whole numbers, are so: a minor that is not zero there is not zero.
    Most points beside a flat set are told apart like this, in a fraction of the time.
    """
    if len(columns) > len(columns[0]):
        return False
    left = []
    for column in columns:
        scale = lcm(*(value.denominator for value in column))
        left.append([value.numerator * (scale // value.denominator) % _PRIME for value in column])
    while left:
        column = left.pop()
        pivot = next((i for i, value in enumerate(column) if value), None)
        if pivot is None:
            return False
        over = pow(column[pivot], -1, _PRIME)
        for k, other in enumerate(left):
            share = other[pivot] * over % _PRIME
            if share:
                left[k] = [(a - share * b) % _PRIME for a, b in zip(other, column, strict=True)]
    return True


class _CubeEquations:
    """Rows of equations solved for the basic unknowns; those from `count` on are what rows lack, and are to be 0."""

    def __init__(
        self, columns: Sequence[Sequence[Fraction]], target: Sequence[Fraction], start: Sequence[bool]
    ) -> None:
        self.count, self.upper = len(columns), list(start)
        ends = [_WIDTH if up else Fraction(0) for up in start]
        # With w = z + 1 the equations are sum columns w = target + sum columns.
        left = [
            value + sum((column[i] * (1 - end) for column, end in zip(columns, ends, strict=True)), Fraction(0))
            for i, value in enumerate(target)
        ]
        signs = [1 if value >= 0 else -1 for value in left]
        self.rows = [[sign * column[i] for column in columns] for i, sign in enumerate(signs)]
        self.values = [abs(value) for value in left]
        self.basic = [self.count + i for i in range(len(target))]

    def feasible(self) -> bool:
        while self._lacking() > 0:
            entering = self._entering()
            if entering is None:
                return False
            self._move(*entering)
        return True

    def _lacking(self) -> Fraction:
        pairs = zip(self.basic, self.values, strict=True)
        return sum((value for unknown, value in pairs if unknown >= self.count), Fraction(0))

    def _entering(self) -> tuple[int, int] | None:
        """The first unknown whose change makes up for what lacks, and the sign of the change."""
        lacking = [row for unknown, row in zip(self.basic, self.rows, strict=True) if unknown >= self.count]
        inside = set(self.basic)
        for j in range(self.count):
            if j in inside:
                continue
            gain = sum((row[j] for row in lacking), Fraction(0))
            if gain > 0 and not self.upper[j]:
                return j, 1
            if gain < 0 and self.upper[j]:
                return j, -1
        return None

    def _move(self, j: int, sign: int) -> None:
        """Change an unknown until a basic one, or itself, is at an end."""
        step, leaving, end = _WIDTH, None, False
        for i, row in enumerate(self.rows):
            fall = sign * row[j]
            if fall > 0:
                room, up = self.values[i] / fall, False
            elif fall < 0 and self.basic[i] < self.count:
                room, up = (self.values[i] - _WIDTH) / fall, True
            else:
                continue
            if room < step or (room == step and leaving is not None and self.basic[i] < self.basic[leaving]):
                step, leaving, end = room, i, up
        self.values = [value - sign * step * row[j] for value, row in zip(self.values, self.rows, strict=True)]
        if leaving is None:
            self.upper[j] = not self.upper[j]
            return
        gone = self.basic[leaving]
        if gone < self.count:
            self.upper[gone] = end
        self.values[leaving] = step if sign > 0 else _WIDTH - step
        self._pivot(leaving, j)

    def _pivot(self, leaving: int, j: int) -> None:
        own = [value / self.rows[leaving][j] for value in self.rows[leaving]]
        for i, row in enumerate(self.rows):
            if i != leaving and row[j]:
                self.rows[i] = [a - row[j] * b for a, b in zip(row, own, strict=True)]
        self.rows[leaving], self.basic[leaving] = own, j
