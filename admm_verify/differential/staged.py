"""Rows over many sets at once, bounded in stages: the same rows over every set, as long as they are open."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.complete.emptiness import without_contradictions
from admm_verify.memory import Budget
from admm_verify.network.graph import Network
from admm_verify.run import Run, Stopped
from admm_verify.sets.contract import WalkableSet
from admm_verify.splitting.row_bounds import RowBounds

Open = Callable[[np.ndarray], np.ndarray]
"""Which rows are open at some lower bounds. Shapes: lower [sets, rows] -> [sets, rows]."""


@dataclass(frozen=True)
class Effort:
    """Bounds of layers, and the passes of ascent for the rows; 0 for none."""

    bounds: str
    passes: int


CROWN = Effort("crown", 0)


def tightened(passes: int) -> Effort:
    """Tightened bounds of the layers, and so many passes."""
    return Effort("tightened", passes)


def staged_bounds(
    network: Network,
    sets: WalkableSet,
    rows: tuple[np.ndarray, np.ndarray],
    efforts: list[Effort],
    open: Open,
    run: Run,
) -> np.ndarray:
    """Certified lower bounds of rows c'f(x) + d over every set, [sets, rows], -inf before there is one.

    Every effort is for the rows that are open then, and for the sets with some. What is bounded when the run is over
    counts.
    Shapes: rows: objective [sets, rows, outputs] and offset [rows].
    """
    objective, offset = rows
    lower = np.full(objective.shape[:2], -np.inf)
    budget = Budget.of(run)
    # A set has its layers' bounds, and its rows' multipliers at every neuron.
    numbers = (2 + objective.shape[1]) * sum(node.size for node in network.nodes)
    with suppress(Stopped):
        for effort in efforts:
            wanted = open(lower)
            left = np.flatnonzero(wanted.any(axis=1))

            def bounded(first: int, last: int, left=left, wanted=wanted, effort: Effort = effort) -> None:
                run.check()
                run.say(f"{effort.bounds} bounds of sets from {first} of {len(left)}", first, len(left))
                own = left[first:last]
                owner, row = np.nonzero(wanted[own])
                some = RowBounds(network, sets.at(own), objective[own[owner], row], offset[row], owner)
                _solve(some, effort, run.silent())
                lower[own[owner], row] = np.maximum(lower[own[owner], row], some.lower)

            budget.blocks(len(left), max(1, budget.block(numbers)), bounded)
    return lower


def _solve(rows: RowBounds, effort: Effort, run: Run) -> None:
    """Bound some rows with an effort."""
    found = derived_bounds(rows.network, rows.inputs, effort.bounds, run, abandon=False)
    rows.bounds, _ = without_contradictions(rows.network, rows.inputs, found, run.endless())
    rows.sound[:] = True
    rows.solve(np.arange(len(rows.owner)), "ascent", effort.passes, run)
