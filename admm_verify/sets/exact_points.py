"""Points of exact sets near ones that were computed: numbers of a type where the set has such, else rational ones."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import product

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.rationals import directed_float
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import ExactCut, Inequality

Point = tuple[Fraction, ...]

_INWARD = (0.0, 1e-12, 1e-7, 1e-5, 1e-3, 0.05)
"""How far to go towards the middle of the set, where rounding has left it."""

_GRIDS = (None, 30, 20, 10, 4)
"""Binary digits that coordinates keep, so that sums of them are numbers of the type."""


def nearest_point(
    box: ExactBox,
    cut: ExactCut,
    around: WalkableSet,
    x: np.ndarray,
    dtype: type[np.floating],
    over: Callable[[], bool],
) -> Point | None:
    """A point of a box and a cut near x, exactly; one of numbers of a type wherever such a one was found.

    around: a set of floats that holds these, in which to go. None where x is not finite, or no point was found before
    the time is `over`.
    Shapes: x [inputs]; around [1, inputs].
    """
    if not np.isfinite(x).all():
        return None
    ways = list(_candidates(around, x))
    for number, (kind, way) in enumerate(product((dtype, np.float64), ways)):
        if number and over():
            return None
        point = box.nearest(way, kind)
        if point is not None and box.holds(point) and cut.found(point):
            return point
    equal = equalities(cut.rows)
    if not equal:
        return None
    found = [point for way in ways for point in _on(box, cut, equal, way)]
    return next((point for point in found if _representable(point, dtype)), found[0] if found else None)


def equalities(rows: Sequence[Inequality]) -> list[Inequality]:
    """One of each pair of rows that together are an equation."""
    known: set[Inequality] = set()
    found = []
    for row in rows:
        opposite = Inequality(tuple((i, -value) for i, value in row.terms), -row.constant, False)
        if not row.strict and opposite in known:
            found.append(row)
        if not row.strict:
            known.add(row)
    return found


def _candidates(around: WalkableSet, x: np.ndarray) -> Iterator[np.ndarray]:
    """x itself, the nearest point of the set, and points on the way from there to its middle."""
    given = x[None].astype(np.float64)
    yield given[0]
    with quiet_overflow():
        middle = around.centre
        for near in (around.drawn_in(given), around.project(given)):
            for share in _INWARD:
                way = (near + share * (middle - near))[0]
                if np.isfinite(way).all():
                    yield way


def _on(box: ExactBox, cut: ExactCut, equal: Sequence[Inequality], x: np.ndarray) -> Iterator[Point]:
    """Points that solve the equations and lie in the set, near x: those of few digits after the others."""
    solved = _eliminated(box, equal)
    if solved is None:
        return
    for digits in _GRIDS:
        point = list(box.project(_rounded(value, digits) for value in x))
        for pivot, row in solved:
            point[pivot] = Fraction(0)
            point[pivot] = -row.value(point)
        if box.holds(point) and cut.found(point):
            yield tuple(point)


def _eliminated(box: ExactBox, equal: Sequence[Inequality]) -> list[tuple[int, Inequality]] | None:
    """The equations solved for one entry each, x[pivot] + (terms of no pivot) + constant = 0; None if they exclude
    each other.

    Pivots are entries of positive width whose coefficient has the smallest odd part: the others make them numbers of
    few digits.
    """
    free = {i for i, (low, high) in enumerate(zip(*box.range, strict=True)) if low < high}
    solved: list[tuple[int, dict[int, Fraction], Fraction]] = []
    for row in equal:
        terms, constant = dict(row.terms), row.constant
        for pivot, known, shift in solved:
            factor = terms.pop(pivot, Fraction(0))
            if factor:
                constant -= factor * shift
                for i, value in known.items():
                    terms[i] = terms.get(i, Fraction(0)) - factor * value
        choice = [(_odd(value, terms), i) for i, value in terms.items() if value and i in free]
        if not choice:
            fixed = all(not value or i not in free for i, value in terms.items())
            if fixed and constant + sum(value * box.lower[i] for i, value in terms.items()):
                return None
            continue
        pivot = min(choice)[1]
        head = terms.pop(pivot)
        own = {i: value / head for i, value in terms.items() if value}
        shift = constant / head
        for k, (other, known, old) in enumerate(solved):
            factor = known.pop(pivot, Fraction(0))
            merged = {i: known.get(i, Fraction(0)) - factor * own.get(i, Fraction(0)) for i in {*known, *own}}
            solved[k] = (other, merged, old - factor * shift)
        solved.append((pivot, own, shift))
    return [(pivot, Inequality(tuple(known.items()), shift, False)) for pivot, known, shift in solved]


def _odd(value: Fraction, terms: dict[int, Fraction]) -> int:
    """The odd part of a coefficient once all of them are whole."""
    scaled = abs(value)
    for other in terms.values():
        scaled *= other.denominator
    number = scaled.numerator
    return number // (number & -number) if number else 0


def _rounded(value: float, digits: int | None) -> Fraction:
    exact = Fraction(float(value))
    return exact if digits is None else Fraction(round(exact * 2**digits), 2**digits)


def _representable(point: Point, dtype: type[np.floating]) -> bool:
    with quiet_overflow():
        ends = [(directed_float(value, dtype, False), directed_float(value, dtype, True)) for value in point]
    return all(low == high and np.isfinite(low) for low, high in ends)
