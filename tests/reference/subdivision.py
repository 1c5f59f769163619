"""Truths about random programs by interval arithmetic and halving of boxes, with mpmath's intervals alone."""

from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from mpmath.ctx_iv import MPIntervalContext

from tests.graph_values import EXACT, Digits, ExactValues, mp
from tests.random_graphs import Program, Step

iv: Any = MPIntervalContext()
iv.dps = 40
SPARE = mp.mpf(10) ** -45
"""Relative to 1 and to a value: what functions of 60 digits are widened by."""

MINIMA = {"gelu": -0.75, "gelu_tanh": -0.75, "hardswish": -1.5, "mish": -1.2, "silu": -1.3}
"""About where kinds that fall and rise again are least; those that turn at 0 are in `turns`."""

Interval = Any


@cache
def turns(kind: str) -> tuple[Digits, ...]:
    """Where a function turns from falling to rising, to all digits."""
    if kind in MINIMA:
        with mp.workdps(50):
            return (mp.findroot(lambda x: mp.diff(EXACT[kind], x), mp.mpf(MINIMA[kind]), tol=1e-60, verify=False),)
    return (mp.mpf(0),) if kind in ("cosh", "power", "prelu", "square") else ()


def enclosed(kind: str, x: Interval, parameters: tuple[Digits, ...]) -> Interval:
    """phi over an interval: its values at both ends and where it turns between."""
    if kind in ("sin", "cos"):
        return {"sin": iv.sin, "cos": iv.cos}[kind](x)
    low, high = (mp.make_mpf(end) for end in x._mpi_)
    found = [EXACT[kind](p, *parameters) for p in (low, high, *(t for t in turns(kind) if low < t < high))]
    spare = SPARE * (1 + max(abs(value) for value in found))
    least, most = min(found) - spare, max(found) + spare
    return iv.make_mpf((least._mpf_, most._mpf_))


class IntervalValues:
    """Intervals around the values of a program's steps over a box, an entry at a time."""

    def __init__(self, program: Program, low: np.ndarray, high: np.ndarray) -> None:
        self.program = program
        ends = zip(low, high, strict=True)
        self.known = {(0, i): iv.mpf([float(a), float(b)]) for i, (a, b) in enumerate(ends)}

    def row(self, row: int) -> Interval:
        """An objective row with its offset."""
        last, objective = len(self.program.steps) - 1, self.program.objective[row]
        total = iv.mpf(float(self.program.offset[row]))
        for i in np.flatnonzero(objective):
            total += iv.mpf(float(objective[i])) * self.entry(last, int(i))
        return total

    def entry(self, value: int, i: int) -> Interval:
        """Entry i of a step's value."""
        if (value, i) not in self.known:
            self.known[value, i] = self._computed(self.program.steps[value], i)
        return self.known[value, i]

    def _computed(self, step: Step, i: int) -> Interval:
        x, *others = step.sources
        match step.operation:
            case "dense":
                found = iv.mpf(float(step.arrays[1][i]))
                for j in np.flatnonzero(step.arrays[0][i]):
                    found += iv.mpf(float(step.arrays[0][i, j])) * self.entry(x, int(j))
            case "add":
                found = self.entry(x, i) + self.entry(others[0], i)
            case "concat":
                sizes = np.cumsum([0, *(self.program.steps[source].size for source in step.sources)])
                part = int(np.searchsorted(sizes, i, side="right")) - 1
                found = self.entry(step.sources[part], i - int(sizes[part]))
            case "select":
                found = self.entry(x, int(step.arrays[0][i]))
            case "product":
                found = self._product((x, i), (others[0], i))
            case "matmul":
                inner, columns = step.shapes[1]
                row, column = divmod(i, columns)
                pairs = (((x, row * inner + j), (others[0], j * columns + column)) for j in range(inner))
                found = sum((self._product(*pair) for pair in pairs), iv.mpf(0))
            case kind:
                numbers = tuple(mp.mpf(float(array[i])) for array in step.arrays)
                found = enclosed(kind, self.entry(x, i), numbers)
        return found

    def _product(self, first: tuple[int, int], second: tuple[int, int]) -> Interval:
        one, other = self.entry(*first), self.entry(*second)
        return one**2 if first == second else one * other


def attains(program: Program, row: int, limit: Digits, boxes: int) -> bool | None:
    """Whether an objective row comes down to a limit somewhere in the box; None where so many boxes do not tell."""
    low, high = program.box.lower, program.box.upper
    whole = np.where(high > low, high - low, 1.0)
    left = deque([(low, high)])
    for _ in range(boxes):
        if not left:
            return False
        low, high = left.popleft()
        found = IntervalValues(program, low, high).row(row)
        least, most = (mp.make_mpf(end) for end in found._mpi_)
        if least > limit:
            continue
        middle = low / 2 + high / 2
        if most <= limit or exactly(program, row)(middle) <= limit:
            return True
        axis = int(((high - low) / whole).argmax())
        for start, end in ((low[axis], middle[axis]), (middle[axis], high[axis])):
            part = low.copy(), high.copy()
            part[0][axis], part[1][axis] = start, end
            left.append(part)
    return None if left else False


def exactly(program: Program, row: int) -> Callable[[np.ndarray], Digits]:
    """An objective row at an input."""
    objective, offset = program.objective[row], float(program.offset[row])
    return lambda x: ExactValues(program, x).row(objective, offset)
