"""Parts in which signs leave a linear program: HiGHS's multipliers, certified like any others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from admm_verify.arrays import SINGLE_ROUNDOFF, quiet_overflow
from admm_verify.bounds.region import Region
from admm_verify.complete.bounding import Bounder, Rows
from admm_verify.complete.goals import Goals
from admm_verify.complete.signs import Signs
from admm_verify.relaxations.lines import KinkLines, Lines
from admm_verify.relaxations.registry import network_lines

if TYPE_CHECKING:
    from admm_verify.programs.frame import Frame
    from admm_verify.programs.relaxed import Optimum

_MOST_MULTIPLICATIONS = 2**22
"""Of one pass through the networks whose programs are small enough to be solved part by part."""

_SECONDS = 5.0
"""What one program may take."""

_EXACT = 1e-9
"""How far a neuron may be from its graph, in units of its range, where the relaxation counts as exact."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """What the program of a part says: whether the part is excluded, by which sum of atoms and which lines.

    x: where the program's minimum is attained. choice: the neuron that is least exact there, as 1 + its number, 0 where
    the minimum is that of the network itself.
    Shapes: weights [atoms], slopes [sum n_k], beta [splits], float32; x [inputs].
    """

    excluded: bool
    weights: np.ndarray
    slopes: np.ndarray
    beta: np.ndarray
    x: np.ndarray
    choice: int


class LeafPrograms:
    """Linear programs over the parts of one network's input set."""

    def __init__(
        self, bounder: Bounder, goals: Goals, signs: Signs, reach: Callable[[int], np.ndarray], record: bool
    ) -> None:
        """reach(goal): what the outputs do not exceed in absolute value over the goal's box, [outputs]. record: exclude
        parts only by lines and multipliers of splits, which a certificate can hold; general multipliers reach the
        optimum also where the range of a neuron is what binds.
        """
        self.bounder, self.goals, self.signs, self.reach, self.record = bounder, goals, signs, reach, record
        self._frame: Frame | None = None

    def suits(self, lines: Sequence[Lines]) -> bool:
        """Whether programs would be exact up to rounding, and small."""
        size = self.bounder.network.weight_count
        return size <= _MOST_MULTIPLICATIONS and all(isinstance(line, KinkLines) for line in lines)

    def solve(self, goal: int, region: Region, path: np.ndarray) -> Leaf | None:
        """One part, whose region has leading axes [1, 1]; None where HiGHS fails or an atom says nothing.

        Shapes: path [splits], +-(1 + number of the neuron).
        """
        # Most searches end without a program, and SciPy takes a third of a second to import.
        from admm_verify.programs.frame import Frame
        from admm_verify.programs.kinks import Kinks
        from admm_verify.programs.relaxed import Part, relaxed_minimum

        goals, network = self.goals, self.bounder.network
        if not goals.sound[goal].all():
            return None
        if self._frame is None:
            self._frame = Frame.of(network)
        lines = network_lines(network, region.lower, region.upper)
        kinks = Kinks.of([line for line in lines if isinstance(line, KinkLines)])
        part = Part(region.box_lower[0, 0], region.box_upper[0, 0], kinks, path)
        found = relaxed_minimum(self._frame, part, goals.objective[goal], goals.offset[goal], _SECONDS)
        if found is None:
            return None
        weights = _rounded(found.weights)
        lower = self._certified(goal, region, path, found, weights)
        strict = bool((goals.strict[goal] & (weights == 1)).any())
        gap = kinks.gap(found.pre, found.post)
        choice = 1 + int(gap.argmax()) if gap.max(initial=0.0) > _EXACT else 0
        slopes, beta = found.slopes.astype(np.float32), found.beta.astype(np.float32)
        return Leaf(lower >= 0 if strict else lower > 0, weights, slopes, beta, found.x, choice)

    def _certified(self, goal: int, region: Region, path: np.ndarray, found: "Optimum", weights: np.ndarray) -> float:
        objective, offset = self._sum(goal, weights)
        beta = found.beta.astype(np.float32)[None, None]
        rows = Rows(region, objective[None, None], np.array([[offset]]), self.signs.splits(path[None], beta))
        given = found.slopes.astype(np.float32) if self.record else found.multipliers
        layers = [part[None, None] for part in self.signs.by_layer(given)]
        with quiet_overflow():
            lower = self.bounder.bound(rows, layers, 0).lower if self.record else self.bounder.certify(rows, layers)
        return float(lower[0, 0])

    def _sum(self, goal: int, weights: np.ndarray) -> tuple[np.ndarray, float]:
        """The atoms' weighted sum, at most its value in exact numbers wherever the outputs are within reach."""
        own, offsets = self.goals.objective[goal], self.goals.offset[goal]
        single = np.flatnonzero(weights)
        if len(single) == 1 and weights[single[0]] == 1:
            return own[single[0]], float(offsets[single[0]])
        exact = weights.astype(np.float64)
        # A sum of products is off by at most so many roundings of the sum of their absolute values.
        share = 2.0 * (len(weights) + 1) * np.finfo(np.float64).eps
        error = share * (exact @ np.abs(own) @ self.reach(goal) + exact @ np.abs(offsets))
        return exact @ own, float(np.nextafter(exact @ offsets - 2.0 * error, -np.inf))


def _rounded(weights: np.ndarray) -> np.ndarray:
    """Weights in float32; a single one where the others are rounding."""
    best = weights.argmax()
    if weights[best] >= 1.0 - SINGLE_ROUNDOFF:
        return np.eye(len(weights), dtype=np.float32)[best]
    return weights.astype(np.float32)
