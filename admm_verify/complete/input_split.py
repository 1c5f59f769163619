"""Splitting the input box: boxes are halved where that closes the most of the gap, and bounded afresh."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.bounds.preactivation import PreactivationBounds, preactivation_bounds
from admm_verify.bounds.region import build_region
from admm_verify.complete.bounding import Bounder, Rows
from admm_verify.complete.branching import side_scores
from admm_verify.complete.contraction import contract
from admm_verify.complete.goals import Goals
from admm_verify.complete.pool import Nodes
from admm_verify.complete.splitting import Grown
from admm_verify.memory import Budget
from admm_verify.network.graph import Network
from admm_verify.sets import Box
from admm_verify.settings import SearchSettings
from admm_verify.threads import threads_for, workers_for


@dataclass(frozen=True, eq=False)
class Boxes(Nodes):
    """Parts of the goals' boxes.

    Shapes: goal, bound, side (the input to halve next, -1 where none is left) [n]; lower, upper [n, inputs].
    """

    side: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @property
    def splittable(self) -> np.ndarray:
        return self.side >= 0


class InputSplitter:
    """Halves boxes."""

    def __init__(
        self,
        network: Network,
        goals: Goals,
        home: Placement,
        settings: SearchSettings,
        stop: Callable[[], bool],
        memory: float | None,
    ) -> None:
        self.goals, self.settings, self.stop, self.memory = goals, settings, stop, memory
        self.bounder = Bounder(network, home, settings.input_ascent, stop)
        self.network, self.home = self.bounder.network, home

    def root(self) -> Grown[Boxes]:
        """The goals' own boxes."""
        goal = np.arange(len(self.goals))
        return self._bounded(goal, self.goals.lower, self.goals.upper, np.full(len(goal), -np.inf))

    def expand(self, nodes: Boxes) -> Grown[Boxes]:
        """Both halves of every box."""
        place, side = np.arange(len(nodes.side)), nodes.side
        middle = 0.5 * nodes.lower[place, side] + 0.5 * nodes.upper[place, side]
        below, above = nodes.upper.copy(), nodes.lower.copy()
        below[place, side], above[place, side] = middle, middle
        lower, upper = np.concatenate([nodes.lower, above]), np.concatenate([below, nodes.upper])
        return self._bounded(np.tile(nodes.goal, 2), lower, upper, np.tile(nodes.bound, 2))

    def _bounded(self, goal: np.ndarray, lower: np.ndarray, upper: np.ndarray, known: np.ndarray) -> Grown[Boxes]:
        work = float(len(goal) * self.goals.atoms * self.network.weight_count)
        workers = workers_for(work) if self.home.is_numpy else 1
        budget = Budget.of(self.memory, self.stop, workers)
        step = max(1, budget.rows(self.settings.block_numbers, self._numbers))
        box = Box(self.home.put(lower), self.home.put(upper))
        pre = preactivation_bounds(self.network, box, "crown", self.memory, self.stop)

        def work_on(first: int, last: int) -> Grown[Boxes]:
            part = slice(first, last)
            bounds = PreactivationBounds(*(tuple(end[part] for end in ends) for ends in (pre.lower, pre.upper)))
            return self._block(goal[part], Box(box.lower[part], box.upper[part]), bounds, known[part])

        with threads_for(work, workers), quiet_overflow():
            return Grown.join(budget.blocks(len(goal), step, work_on))

    @property
    def _numbers(self) -> int:
        return self.goals.atoms * sum(node.size for node in self.network.nodes)

    def _block(self, goal: np.ndarray, box: Box, pre: PreactivationBounds, known: np.ndarray) -> Grown[Boxes]:
        put, goals = self.home.put, self.goals
        ends = [tuple(end[:, None, :] for end in side) for side in (pre.lower, pre.upper)]
        region = build_region(self.network, box.lower[:, None, :], box.upper[:, None, :], ends[0], ends[1])
        rows = Rows(region, put(goals.objective[goal]), put(goals.offset[goal]))
        found = self.bounder.bound(rows, None, self.settings.input_iterations)
        atoms = goals.certified(goal, to_numpy(found.lower))
        closed = goals.excluded(goal, atoms).any(axis=1)
        coefficient = to_numpy(found.sweep.nodes[0])
        lower, upper, empty = contract(
            to_numpy(box.lower), to_numpy(box.upper), coefficient, atoms, self.settings.contractions
        )
        scores = side_scores(self.network, put(upper - lower), pre, found, atoms) * _halvable(lower, upper)
        side = np.where(scores.max(axis=1) > 0, scores.argmax(axis=1), -1)
        bound = np.maximum(known, atoms.max(axis=1))
        open = np.flatnonzero(~(closed | empty))
        nodes = Boxes(goal[open], bound[open], side[open], lower[open], upper[open])
        vertices = to_numpy(found.vertices)[open]
        return Grown(nodes, vertices.reshape(-1, lower.shape[1]), np.repeat(goal[open], goals.atoms))


def _halvable(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Where a number lies strictly between the ends."""
    middle = 0.5 * lower + 0.5 * upper
    return (lower < middle) & (middle < upper)
