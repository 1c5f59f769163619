"""States at which a plant is not defined: it divides by zero, or takes the square root of a negative number.

Where a divisor has both signs on a connected set, it is zero in between.
"""

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.arithmetic import FLOATS
from admm_verify.enclosures.expressions import Expression, Name, evaluate, in_order
from admm_verify.enclosures.intervals import ENCLOSURES, Interval
from admm_verify.enclosures.taylor import Plant
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.contraction import apart

_CELLS, _HALVINGS = 64, 40
"""Cells looked at side by side, and how often each side of them is halved."""


def singular_start(plant: Plant, initial: WalkableSet, run: Run) -> str:
    """Why the plant is not defined at some state of a set, in words; empty where nothing is found.

    Shapes: initial [n].
    """
    states = {f"x{i + 1}" for i in range(plant.states)}
    with quiet_overflow():
        for node, root in _partial(plant):
            of_states = {part.name for part in in_order([node]) if isinstance(part, Name)} <= states
            near = _undefined(plant, node, root, initial, run) if of_states else None
            if near is not None:
                return f"{_what(plant, node, root)} for first states near ({', '.join(f'{x:.6g}' for x in near)})."
    return ""


def crossing(plant: Plant, paths: np.ndarray, controls: np.ndarray) -> tuple[int, tuple[int, int]] | None:
    """The first step at which a divisor has one sign on one simulated trajectory and the other on another one.

    Shapes: paths [points, steps + 1, n]; controls [points, steps + 1, inputs] -> step, the two trajectories.
    """
    names = plant.values(list(np.moveaxis(paths, -1, 0)), list(np.moveaxis(controls, -1, 0)))
    found = []
    with quiet_overflow():
        for node in plant.divisors:
            value = np.broadcast_to(evaluate([node], names, FLOATS)[0], paths.shape[:2])
            value = np.where(np.isfinite(value), value, 0.0)
            both = np.flatnonzero((value.min(axis=0) < 0) & (value.max(axis=0) > 0))
            if len(both):
                step = int(both[0])
                found.append((step, (int(value[:, step].argmin()), int(value[:, step].argmax()))))
    return min(found, default=None)


def crosses(plant: Plant, states: Interval, controls: Interval) -> str:
    """Which divisor has one sign on one of two boxes and the other on the other one for certain, in words; else empty.

    Shapes: states [2, n], controls [2, inputs].
    """
    with quiet_overflow():
        for node in plant.divisors:
            value = _enclosed(plant, node, states, controls)
            if value.upper.min() < 0 < value.lower.max():
                return _what(plant, node, root=False)
    return ""


def _partial(plant: Plant) -> list[tuple[Expression, bool]]:
    """The divisors, and marked as such what roots are taken of."""
    return [*((node, False) for node in plant.divisors), *((node, True) for node in plant.radicands)]


def _what(plant: Plant, node: Expression, root: bool) -> str:
    where = [i + 1 for i, rate in enumerate(plant.rates) if any(part is node for part in in_order([rate]))]
    what = "takes the square root of a negative number" if root else "divides by 0"
    return f"The plant's equation {where[0]} {what}"


def _enclosed(plant: Plant, node: Expression, states: Interval, controls: Interval | None = None) -> Interval:
    """An expression's range over boxes of states and controls, [..., n] -> [...]."""
    shape, inputs = np.shape(states.lower)[:-1], [] if controls is None else controls.coordinates()
    value = evaluate([node], plant.values(states.coordinates(), inputs), ENCLOSURES)[0]
    return Interval(np.broadcast_to(value.lower, shape), np.broadcast_to(value.upper, shape))


def _undefined(plant: Plant, node: Expression, root: bool, initial: WalkableSet, run: Run) -> np.ndarray | None:
    """A state at or near which what is divided by is zero, or what a root is taken of is negative; None for none."""
    box, signs = Box.of(*initial.range), set()
    cells = box.at(None)
    for _ in range(_HALVINGS * max(1, box.sides) + 1):
        value = _enclosed(plant, node, Interval(*cells.range))
        kept = value.lower < 0 if root else (value.lower <= 0) & (value.upper >= 0)
        if run.over() or not kept.any():
            return None
        cells = cells.at(kept)
        if not isinstance(initial, Box):
            cells = cells.at(~apart(initial.at(None), cells))
            if not cells.count:
                return None
        # Of a set, points inside: nothing outside counts.
        middle = np.asarray(cells.centre if isinstance(initial, Box) else initial.drawn_in(np.asarray(cells.centre)))
        at = _enclosed(plant, node, Interval.point(middle))
        signs |= set(np.sign(at.lower[(at.lower > 0) | (at.upper < 0)]).tolist())
        best = np.argsort(at.upper if root else at.magnitude)[: _CELLS // 2]
        if (at.upper < 0).any() if root else len(signs) > 1:
            return middle[best[0]]
        cells = cells.at(best)
        share = np.where(cells.halvable, np.asarray(cells.width) / np.maximum(np.asarray(box.width), 1e-300), 0.0)
        if not (share > 0).any():
            return middle[best[0]]
        cells = cells.at((share > 0).any(axis=1))
        cells = cells.halved(share[(share > 0).any(axis=1)].argmax(axis=1))
    return np.asarray(cells.centre)[0]
