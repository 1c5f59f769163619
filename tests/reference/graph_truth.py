"""What values of a program attain over its box, found by samples and gradients and settled in many digits."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from admm_verify import Network
from tests.graph_values import Digits, ExactValues, computed, mp
from tests.random_graphs import Program

STEPS = 30
NEAR = 1e-8
"""Of a value's size: how far from a bound values of float64 are settled without digits."""


def points_of(program: Program, count: int, seed: int) -> np.ndarray:
    """Inner points, vertices, points on faces and on a grid of halves, [count, n]."""
    rng = np.random.default_rng([seed, 1])
    low, high = program.box.lower, program.box.upper
    share = rng.random((count, len(low)))
    mixed = rng.random((count, 1)) < rng.random(share.shape)
    share = np.where(mixed, share, np.rint(rng.random(share.shape)))
    share[: count // 10] = np.rint(8.0 * share[: count // 10]) / 8.0
    return np.clip(low + share * (high - low), low, high)


def values_of(program: Program, x: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        return [value.numpy() for value in computed(program, torch.as_tensor(x))]


def descended(program: Program, x: np.ndarray, value: int, rows: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """Projected gradient descent of row'x_value from every point, [m, n] with rows [m, n_value]."""
    low, high = (torch.as_tensor(end) for end in (program.box.lower, program.box.upper))
    points, chosen = torch.as_tensor(x), torch.as_tensor(rows)
    best, least = points, torch.full((len(x),), float("inf"), dtype=torch.float64)
    for k in range(steps + 1):
        points = points.detach().requires_grad_(True)
        reached = (computed(program, points)[value] * chosen).sum(dim=1)
        better = reached.detach() < least
        best, least = torch.where(better[:, None], points.detach(), best), torch.minimum(reached.detach(), least)
        if not reached.requires_grad:
            break
        (slope,) = torch.autograd.grad(reached.sum(), points)
        slope = torch.nan_to_num(slope)
        points = (points - 0.5 * 0.8**k * (high - low) * torch.sign(slope)).clamp(low, high)
    return best.numpy()


@dataclass(frozen=True, eq=False)
class Attained:
    """Inputs of a program's box that come near the extremes of its values, with the values there, [m, n_i] each."""

    program: Program
    points: np.ndarray
    values: list[np.ndarray]

    @classmethod
    def of(cls, program: Program, count: int, seed: int) -> "Attained":
        """By samples, and by descent from the best of them for objective rows and for what activations read."""
        points = points_of(program, count, seed)
        values = values_of(program, points)
        last, found = len(program.steps) - 1, []
        kept = {last: np.concatenate([program.objective, -program.objective])}
        for i in cls._watched(program):
            kept.setdefault(i, np.concatenate([np.eye(values[i].shape[1]), -np.eye(values[i].shape[1])]))
        for value, rows in kept.items():
            starts = points[(values[value] @ rows.T).argmin(axis=0)]
            found += [starts, descended(program, starts, value, rows, STEPS if value == last else 10)]
        best = np.unique(np.concatenate(found), axis=0)
        return cls(program, best, values_of(program, best))

    @staticmethod
    def _watched(program: Program) -> Iterator[int]:
        """Values that activations and products read."""
        for step in program.steps[1:]:
            if step.operation not in ("dense", "add", "concat", "select"):
                yield from step.sources

    @cached_property
    def rows(self) -> np.ndarray:
        """The objective rows at all points, [m, rows]."""
        return self.values[-1] @ self.program.objective.T + self.program.offset

    def least(self, row: int) -> tuple[Digits, np.ndarray]:
        """The least value of an objective row that was found, in many digits, and where."""
        x = self.points[int(self.rows[:, row].argmin())]
        return self.exact_row(x, row), x

    def exact_row(self, x: np.ndarray, row: int) -> Digits:
        """An objective row at an input, in many digits."""
        objective, offset = self.program.objective[row], float(self.program.offset[row])
        return ExactValues(self.program, x).row(objective, offset)

    def under(self, row: int, bound: float) -> str:
        """Nothing where no value of the row was found under a bound, else what."""
        values = self.rows[:, row]
        for k in np.flatnonzero(values - bound < NEAR * (1.0 + np.abs(values)))[:20]:
            exact = self.exact_row(self.points[k], row)
            if exact < mp.mpf(float(bound)):
                return f"row {row} is {mp.nstr(exact, 20)} < {bound!r} at {self.points[k].tolist()}"
        return ""

    def outside(self, value: int, low: np.ndarray, high: np.ndarray) -> str:
        """Nothing where no entry of a step's value was found outside of an interval, else what."""
        known = self.values[value]
        size = NEAR * (1.0 + np.abs(known))
        near = np.argwhere((known - low < size) | (high - known < size))
        # The most suspicious ones of each entry.
        order = np.argsort(np.minimum(known - low, high - known)[near[:, 0], near[:, 1]])
        seen: dict[int, int] = {}
        for k, i in near[order]:
            seen[i] = seen.get(i, 0) + 1
            if seen[i] > 3:
                continue
            exact = ExactValues(self.program, self.points[k]).entry(value, int(i))
            if not mp.mpf(float(low[i])) <= exact <= mp.mpf(float(high[i])):
                return (
                    f"entry {i} of step {value} is {mp.nstr(exact, 20)}, not in [{low[i]!r}, {high[i]!r}], at "
                    + str(self.points[k].tolist())
                )
        return ""

    def twins(self, network: Network) -> dict[int, int]:
        """For activations, by their place in graph order, the step that holds what they read, where it is plain."""
        merged = network.evaluate(self.points[:50])
        found = {}
        for k, node in enumerate(network.functions):
            if node.kind == "product":
                continue
            alike = [
                step.sources[0] for step in self.program.steps if (step.operation, step.size) == (node.kind, node.size)
            ]
            gaps = [float(np.abs(self.values[i][:50] - merged[node.source]).max()) for i in alike]
            if gaps and min(gaps) <= NEAR * (1.0 + float(np.abs(merged[node.source]).max())):
                found[k] = alike[int(np.argmin(gaps))]
        return found
