"""Linear constraints between inputs: what a functional loses where they are priced, by multipliers that may be any."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.certificates.dyadics import cleared
from admm_verify.certificates.numbers import Numbers
from admm_verify.properties.property import Disjunct
from admm_verify.properties.rows import AtomRows
from admm_verify.sets.dual_simplex import solve_programs
from admm_verify.sets.exact_cut import Inequality
from admm_verify.sets.polytopes import Polytopes


@dataclass(frozen=True, eq=False)
class CheckedCouplings:
    """Rows normals x <= limits that hold over some boxes; which: of every box, the rows that are its own.

    Whatever multipliers mu >= 0 are, a'x >= (a + mu'normals)'x - mu'limits there. Where they come from says nothing of
    that: a method that searches proposes them.
    Shapes: normals[k] [m_k, n]; limits[k] [m_k]; which [boxes].
    """

    numbers: Numbers
    normals: tuple[Any, ...]
    limits: tuple[Any, ...]
    which: np.ndarray

    def at(self, boxes: np.ndarray | slice) -> "CheckedCouplings":
        """The rows of some of the boxes."""
        return replace(self, which=self.which[boxes])

    def priced(self, a: Any, ends: tuple[Any, Any], reach: Any, box: np.ndarray | None) -> tuple[Any, Any, Any]:
        """Functionals a + mu'normals for [rows, n] ones over boxes, what is to be added to their minima, and what
        these numbers are off by in proportion.

        box: the box of every row; None where each has its own, or all have one. Shapes: ends [boxes, n]; reach [n].
        """
        numbers, count = self.numbers, len(a)
        index = (
            box if box is not None else np.zeros(count, dtype=np.int64) if len(self.which) == 1 else np.arange(count)
        )
        own, near = self.which[index], numbers.nearest(a)
        low, high = (numbers.nearest(end) for end in ends)
        found, shift, size = a.copy(), numbers.of(np.zeros(count)), numbers.of(np.zeros(count))
        for k in np.unique(own):
            rows = np.flatnonzero(own == k)
            normals, limits = self.normals[k], self.limits[k]
            if not len(limits):
                continue
            sides = tuple(end if len(end) == 1 else end[index[rows]] for end in (low, high))
            mu = numbers.of(_proposed(near[rows], sides, numbers.nearest(normals), numbers.nearest(limits)))
            found[rows] = a[rows] + mu @ normals
            tiny = 4 * (len(limits) + 1) * numbers.smallest * (np.sum(reach) + a.shape[1])
            shift[rows] = numbers.of(np.zeros(len(rows))) - mu @ limits - tiny
            # Sums of so many products each.
            many = 2 * len(limits) + 4
            lost = numbers.charge(mu, abs(normals) @ reach) + numbers.charge(mu, abs(limits))
            size[rows] = many * (lost + numbers.charge(a[rows], reach))
        return found, shift, size


def coupled(numbers: Numbers, rows: AtomRows, owners: Sequence[Disjunct], arithmetic: str = "real") -> CheckedCouplings:
    """The couplings of the inputs of some disjuncts, one for each box of their rows.

    In exact numbers and real arithmetic as the query says them, limits rounded up; else those that the rows have been
    rounded to.
    """
    which = np.arange(len(owners))
    if not numbers.exact or arithmetic != "real":
        sets = rows.sets
        assert isinstance(sets, Polytopes), "couplings make polytopes of boxes"
        normals, limits = (tuple(map(numbers.of, to_numpy(part))) for part in (sets.normals, sets.ceiling))
        return CheckedCouplings(numbers, normals, limits, which)
    found = [_exact(() if owner.cut is None else owner.cut.rows, owner.box.size) for owner in owners]
    normals, limits = zip(*found, strict=True)
    return CheckedCouplings(numbers, normals, limits, which)


def _exact(rows: Sequence[Inequality], size: int) -> tuple[Any, Any]:
    """Rows in exact numbers, cleared of denominators that are no power of two."""
    values, limits = [], []
    for row in rows:
        own = [Fraction(0)] * size
        for index, coefficient in row.terms:
            own[index] = coefficient
        scale = cleared(own)
        values += [value * scale for value in own]
        limits.append(-row.constant * scale)
    normals = Numbers.fractions(values, (len(limits), size), up=False)
    return normals, Numbers.fractions(limits, (len(limits),), up=True)


def _proposed(a: np.ndarray, ends: Sequence[np.ndarray], normals: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Multipliers, finite and at least zero."""
    with quiet_overflow():
        _, mu = solve_programs(a, (ends[0], ends[1]), normals, limits)
    return np.where(np.isfinite(mu), np.maximum(mu, 0.0), 0.0)
