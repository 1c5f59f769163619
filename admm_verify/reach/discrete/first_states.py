"""Requirements on first states: whether some state of the initial set breaks one."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from admm_verify.properties.property import Atom
from admm_verify.reach.starts import drawn_inside, upper_support
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox


def first_state(ways: list[list[Atom]], initial: WalkableSet, exact: ExactBox | None) -> np.ndarray | None:
    """A state of the initial set at which all atoms of some way hold; with the most room, where that is a box.

    exact: what a box stands for in exact numbers, None where it stands for itself.
    """
    hull = Box.of(*initial.range)
    box = ExactBox.of(hull) if exact is None else exact
    for atoms in ways:
        found = _roomiest(atoms, box)
        if found is None:
            continue
        if isinstance(initial, Box):
            # The ends may be decimals, which no float equals.
            point = box.project(Fraction(float(value)) for value in found)
            if all(atom.holds(point) for atom in atoms):
                return np.array([float(value) for value in point])
            continue
        rows = matrix(atoms, hull.size)
        tried = np.concatenate([found[None], initial.minimiser(rows), initial.minimiser(rows.sum(axis=0))[None]])
        for near in drawn_inside(initial, tried):
            if np.isfinite(near).all() and all(atom.holds([Fraction(float(x)) for x in near]) for atom in atoms):
                return near
    return None


def excluded(ways: list[list[Atom]], initial: WalkableSet, exact: ExactBox | None) -> bool:
    """Whether every way has an atom that holds nowhere in the initial set."""
    if isinstance(initial, Box):
        box = ExactBox.of(initial) if exact is None else exact
        return all(any(not met(atom, box.least(atom.terms)) for atom in atoms) for atoms in ways)
    return all(any(_nowhere(atom, initial) for atom in atoms) for atoms in ways)


def met(atom: Atom, value: Fraction) -> bool:
    """Whether an atom holds where its terms have a value."""
    return value + atom.constant < 0 if atom.strict else value + atom.constant <= 0


def matrix(atoms: Sequence[Atom], size: int) -> np.ndarray:
    """The coefficients of atoms as floats, [atoms, size]."""
    rows = np.zeros((len(atoms), size))
    for row, atom in zip(rows, atoms, strict=True):
        for i, value in atom.terms:
            row[i] = float(value)
    return rows


def _nowhere(atom: Atom, initial: WalkableSet) -> bool:
    """Whether an atom, whose coefficients are floats, holds nowhere in a set for certain."""
    least = -float(upper_support(initial, -matrix([atom], initial.size))[0])
    return bool(np.isfinite(least)) and not met(atom, Fraction(least))


def _roomiest(atoms: list[Atom], box: ExactBox) -> np.ndarray | None:
    """About the point of a box at which all atoms hold with the most room, by a linear program."""
    from scipy.optimize import linprog

    ends = [(float(low), float(high)) for low, high in zip(*box.range, strict=True)]
    # The last column is the room that all atoms have, at most 1.
    rows = np.append(matrix(atoms, len(ends)), np.ones((len(atoms), 1)), axis=1)
    limits = [-float(atom.constant) for atom in atoms]
    cost = np.append(np.zeros(len(ends)), -1.0)
    found = linprog(cost, rows, limits, bounds=[*ends, (None, 1.0)], method="highs")
    return found.x[: len(ends)] if found.status == 0 else None
