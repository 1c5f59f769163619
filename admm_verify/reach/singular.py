"""States at which a plant is not defined: it divides by 0, takes a negative number's root, or a tangent at a pole.

Where what must not be zero has both signs on a connected set, it is zero in between.
"""

from collections.abc import Mapping

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.arithmetic import FLOATS
from admm_verify.enclosures.expressions import Expression, Name, evaluate, in_order
from admm_verify.enclosures.intervals import ENCLOSURES, Interval
from admm_verify.enclosures.plants import Fault, Plant, Precondition
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.contraction import apart

_CELLS, _HALVINGS, _SHARP = 64, 40, 12
"""Cells looked at side by side, how often each side of them is halved, and how often where a zero is known by then."""

_JUMPING = ("sign", "heaviside", "floor", "ceil", "round")
"""Kinds of activations that are not continuous."""


def singular_start(plant: Plant, initial: WalkableSet, run: Run) -> str:
    """Why the plant is not defined at some state of a set, in words; empty where nothing is found.

    Shapes: initial [n].
    """
    states = {f"x{i + 1}" for i in range(plant.states)}
    with quiet_overflow():
        for condition in plant.conditions:
            of_states = {part.name for part in in_order([condition.node]) if isinstance(part, Name)} <= states
            near = _undefined(plant, condition, initial, run) if of_states else None
            if near is not None:
                return f"{condition.words} for first states near ({', '.join(f'{x:.6g}' for x in near)})."
    return ""


def continuous(network: Network) -> bool:
    """Whether a network's outputs have no jumps, so that images of connected sets are connected."""
    return not any(node.kind in _JUMPING for node in network.functions)


def crossing(plant: Plant, values: Mapping[str, np.ndarray]) -> tuple[int, tuple[int, int]] | None:
    """The first step at which what must not be zero has one sign on one simulated trajectory and the other on another.

    Shapes: values of the plant's names [points, steps] -> step, the two trajectories.
    """
    found = []
    with quiet_overflow():
        for condition in _signed(plant):
            value = np.asarray(evaluate([condition.node], values, FLOATS)[0])
            value = np.where(np.isfinite(value), value, 0.0)
            if value.ndim < 2:
                continue
            both = np.flatnonzero((value.min(axis=0) < 0) & (value.max(axis=0) > 0))
            if len(both):
                step = int(both[0])
                found.append((step, (int(value[:, step].argmin()), int(value[:, step].argmax()))))
    return min(found, default=None)


def crosses(plant: Plant, values: Mapping[str, Interval]) -> str:
    """What must not be zero but has one sign in one of two cells and the other in the other for certain; else empty.

    Shapes: values of the plant's names [2].
    """
    with quiet_overflow():
        for condition in _signed(plant):
            value = evaluate([condition.node], values, ENCLOSURES)[0]
            if value.upper.min() < 0 < value.lower.max():
                return condition.words
    return ""


def _signed(plant: Plant) -> list[Precondition]:
    """What must not be zero."""
    return [condition for condition in plant.conditions if condition.fault is not Fault.ROOT]


def _enclosed(plant: Plant, node: Expression, states: Interval) -> Interval:
    """An expression's range over boxes of states, [..., n] -> [...]."""
    shape = np.shape(states.lower)[:-1]
    value = evaluate([node], plant.values(states.coordinates(), []), ENCLOSURES)[0]
    return Interval(np.broadcast_to(value.lower, shape), np.broadcast_to(value.upper, shape))


def _undefined(plant: Plant, condition: Precondition, initial: WalkableSet, run: Run) -> np.ndarray | None:
    """A state at or near which a condition does not hold; None for none."""
    node, root = condition.node, condition.fault is Fault.ROOT
    box, signs, near = Box.of(*initial.range), set(), None
    cells = box.at(None)
    for turn in range(_HALVINGS * max(1, box.sides) + 1):
        value = _enclosed(plant, node, Interval(*cells.range))
        kept = condition.broken(value)
        if run.over() or not kept.any():
            return near
        cells = cells.at(kept)
        if not isinstance(initial, Box):
            cells = cells.at(~apart(initial.at(None), cells))
            if not cells.count:
                return near
        # Of a set, points inside: nothing outside counts.
        middle = np.asarray(cells.centre if isinstance(initial, Box) else initial.drawn_in(np.asarray(cells.centre)))
        at = _enclosed(plant, node, Interval.point(middle))
        signs |= set(np.sign(at.lower[(at.lower > 0) | (at.upper < 0)]).tolist())
        best = np.argsort(at.upper if root else at.magnitude)[: _CELLS // 2]
        if (at.upper < 0).any() if root else len(signs) > 1:
            near = middle[best[0]]
            if root or turn >= _SHARP * box.sides:
                return near
        cells = cells.at(best)
        share = np.where(cells.halvable, np.asarray(cells.width) / np.maximum(np.asarray(box.width), 1e-300), 0.0)
        if not (share > 0).any():
            return middle[best[0]]
        cells = cells.at((share > 0).any(axis=1))
        cells = cells.halved(share[(share > 0).any(axis=1)].argmax(axis=1))
    return np.asarray(cells.centre)[0]
