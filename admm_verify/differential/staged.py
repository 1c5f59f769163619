"""Rows over many sets at once, bounded in stages: the same rows over every set, as long as they are open."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import prod

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.complete.emptiness import without_contradictions
from admm_verify.memory import Budget
from admm_verify.network.graph import Network
from admm_verify.run import Run, Stopped
from admm_verify.sets.contract import WalkableSet
from admm_verify.settings import AscentSettings
from admm_verify.threads import threads_for

Open = Callable[[np.ndarray], np.ndarray]
"""Which rows are open at some lower bounds. Shapes: lower [sets, rows] -> [sets, rows]."""


@dataclass(frozen=True)
class Effort:
    """Bounds of layers, and the passes of ascent for the rows, two for every iteration; 0 for none."""

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
    with run.watching(), suppress(Stopped):
        for effort in efforts:
            wanted = open(lower)
            left = np.flatnonzero(wanted.any(axis=1))

            def bounded(first: int, last: int, left=left, wanted=wanted, effort: Effort = effort) -> None:
                run.check()
                run.say(f"{effort.bounds} bounds of sets from {first} of {len(left)}", first, len(left))
                own = left[first:last]
                row = np.flatnonzero(wanted[own].any(axis=0))
                some = Functionals({network.output: objective[np.ix_(own, row)]}, offset[row])
                place = np.ix_(own, row)
                lower[place] = np.fmax(lower[place], _bounded(network, sets.at(own), some, effort, run.silent()))

            budget.blocks(len(left), max(1, budget.block(numbers)), bounded)
    return lower


def _bounded(network: Network, sets: WalkableSet, rows: Functionals, effort: Effort, run: Run) -> np.ndarray:
    """The bounds of one effort, [sets, rows].

    Raises: Stopped.
    """
    found = derived_bounds(network, sets, effort.bounds, run, abandon=False)
    pre, _ = without_contradictions(network, sets, found, run.endless())
    relaxed = Relaxed(spread_region(network, sets, pre.lower, pre.upper))
    with threads_for(prod(rows.lead) * network.weight_count, most=run.threads):
        return to_numpy(relaxed.bounded(rows, None, AscentSettings(), effort.passes // 2, run).lower)
