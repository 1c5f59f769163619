"""Sets of float64 numbers around the exact ones of a property, which bounds are taken over."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from admm_verify.arrays import SMALLEST
from admm_verify.errors import UnsupportedQueryError
from admm_verify.properties.property import Disjunct
from admm_verify.rationals import directed_float, nearest_float
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import Inequality, scaling
from admm_verify.sets.polytopes import Polytopes


def working_sets(owners: Sequence[Disjunct], boxes: Box) -> WalkableSet | None:
    """The input sets of some disjuncts, rounded outward, [owners, inputs]; None where they are boxes alone.

    Shapes: boxes [owners, inputs], rounded outward.
    """
    cuts = [owner.cut for owner in owners]
    parts = [cut.within for cut in cuts if cut is not None and cut.within is not None]
    if not parts:
        return _polytopes(owners, boxes) if any(cut is not None for cut in cuts) else None
    assert len(parts) == len(owners), "all disjuncts have one set, or none has"
    ends = [boxes.at(slice(number, number + 1)).range for number in range(len(owners))]
    if any(_cuts(own, part) for own, part in zip(ends, parts, strict=True)):
        # One kind for all.
        parts = [part.within(*own) for own, part in zip(ends, parts, strict=True)]
    return parts[0] if len(parts) == 1 else type(parts[0]).joined(parts)


def _polytopes(owners: Sequence[Disjunct], boxes: Box) -> Polytopes:
    """Boxes cut with couplings; those with fewer than others have some that always hold."""
    rows = [() if owner.cut is None else owner.cut.rows for owner in owners]
    most = max(map(len, rows))
    normals, limits = np.zeros((len(owners), most, boxes.size)), np.ones((len(owners), most))
    for number, (owner, own) in enumerate(zip(owners, rows, strict=True)):
        for k, row in enumerate(own):
            limits[number, k] = _fill(normals[number, k], row, owner.box)
    return Polytopes.about(*boxes.range, normals, limits, limits)


def _fill(normal: np.ndarray, row: Inequality, box: ExactBox) -> float:
    """Write the coefficients of a row times a positive number over zeros; what it is at most in the box, rounded up."""
    scale, exact = scaling(row.terms)
    limit = -row.constant * scale
    for index, coefficient in row.terms:
        normal[index] = nearest_float(coefficient * scale)
        if not exact:
            off = abs(Fraction(float(normal[index])) - coefficient * scale)
            limit += off * box.reach(index)
    return directed_float(limit, np.float64, up=True)


def _cuts(ends: tuple[np.ndarray, np.ndarray], part: WalkableSet) -> bool:
    """Whether a box is another one than that around a set."""
    return not all(np.array_equal(own, end) for own, end in zip(ends, part.range, strict=True))


def with_rounded(sets: WalkableSet, boxes: Box, arithmetic: str) -> WalkableSet:
    """The sets that also hold what their points are rounded to, as boxes do.

    Raises: UnsupportedQueryError where that is not known of them.
    """
    if not isinstance(sets, Polytopes):
        raise UnsupportedQueryError(
            f"In {arithmetic} arithmetic the network runs on rounded inputs, which may lie beside a "
            f'{type(sets).__name__}. Ask in real arithmetic (arithmetic="real"), or over a box.'
        )
    kind = np.finfo(arithmetic)
    # A rounding changes a number by less than this.
    off = boxes.reach * float(kind.eps) + float(kind.smallest_subnormal)
    size = np.abs(sets.normals)
    more = (size * off[:, None]).sum(axis=-1) * (1.0 + 1e-9) + SMALLEST * boxes.size
    limits = np.nextafter(sets.ceiling + more, np.inf)
    return Polytopes.about(*boxes.range, sets.normals, limits, limits)
