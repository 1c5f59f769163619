"""Inputs of two networks that a query ties together, as functions of fewer numbers, exactly."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from admm_verify.properties.cuts import most
from admm_verify.properties.property import Disjunct, Property
from admm_verify.rationals import is_float, nearest_float
from admm_verify.sets.exact_cut import Inequality, Terms
from admm_verify.sets.exact_points import equalities

_MOST_TERMS = 2**20
"""Coefficients of all inputs together, beyond which equations are not solved."""

_ZERO, _ONE = Fraction(0), Fraction(1)

Solved = dict[int, tuple[dict[int, Fraction], Fraction]]
"""Inputs as sums of others, the free ones, and a constant."""


@dataclass(frozen=True, eq=False)
class Ties:
    """x = A u + a for the inputs x of two networks, one after the other, and fewer numbers u, in exact numbers.

    entries[k]: u_k = x_j - x_i, where i may be missing. rows[j]: x_j as terms of u, and a constant.
    """

    entries: tuple[tuple[int, int | None], ...]
    rows: tuple[tuple[Terms, Fraction], ...]

    def point(self, u: Sequence[Fraction]) -> tuple[Fraction, ...]:
        """The inputs x at u."""
        return tuple(sum((value * u[k] for k, value in terms), constant) for terms, constant in self.rows)

    def of(self, x: Sequence[Fraction]) -> tuple[Fraction, ...]:
        """The u that inputs x have, where they are tied."""
        return tuple(x[j] if i is None else x[j] - x[i] for j, i in self.entries)

    def settled(self, x: Sequence[Fraction], dtype: type[np.floating]) -> tuple[Fraction, ...]:
        """Inputs near x, of which those that others follow from are the nearest numbers of a type."""
        near = list(x)
        for j in {j for entry in self.entries for j in entry if j is not None}:
            near[j] = Fraction(float(dtype(nearest_float(x[j]))))
        return self.point(self.of(near))

    def moved(self, terms: Iterable[tuple[int, Fraction]]) -> tuple[Terms, Fraction]:
        """A sum of inputs as one of u, and a constant."""
        found: dict[int, Fraction] = {}
        shift = _ZERO
        for j, value in terms:
            own, constant = self.rows[j]
            shift += value * constant
            for k, coefficient in own:
                found[k] = found.get(k, _ZERO) + value * coefficient
        return tuple((k, value) for k, value in found.items() if value), shift


def ties_of(asked: Property, real: bool) -> Ties | None:
    """How the inputs of two networks are tied in all disjuncts of a property; None where they are not, or not by
    numbers that float64 holds.

    real: whether differences of inputs may stand for them, which in floating point are rounded apart.
    """
    first, second = (declared.input_size for declared in asked.networks)
    regions = list({(id(one.box), id(one.cut)): one for one in asked.disjuncts}.values())
    if not regions or any(one.cut is not None and one.cut.within is not None for one in regions):
        return None
    partner = {first + i: i for i in range(first)} if first == second else {}
    solved = _all_solved(regions, partner)
    if solved is None:
        return None
    apart = {j: i for j, i in partner.items() if i not in solved and j not in solved}
    apart = _compared(regions, solved, apart) if real else {}
    if not apart and not any(_crosses(j, terms, first) for j, (terms, _) in solved.items()):
        return None
    return _made(first + second, solved, apart, real)


def _crosses(j: int, terms: Mapping[int, Fraction], first: int) -> bool:
    """Whether an input follows from some of the other network, or is known."""
    return not terms or any((i < first) != (j < first) for i in terms)


def _made(size: int, solved: Solved, apart: dict[int, int], real: bool) -> Ties | None:
    """The ties of inputs that follow from others, and of those that stand beside others by a difference."""
    shifted = {j for j, (terms, shift) in solved.items() if _is_shift(terms) and shift and not is_float(shift)}
    if shifted and not real:
        return None
    apart = apart | {j: next(iter(solved[j][0])) for j in shifted}
    free = [j for j in range(size) if j not in solved or j in shifted]
    places = _free_places(free, apart)
    rows: list[tuple[Terms, Fraction]] = []
    for j in range(size):
        terms, shift = ({j: _ONE}, _ZERO) if j in places else solved[j]
        if not real and (shift or not _is_shift(terms)):
            return None
        own: dict[int, Fraction] = {}
        for i, value in terms.items():
            for k in places[i]:
                own[k] = own.get(k, _ZERO) + value
        rows.append((tuple((k, value) for k, value in own.items() if value), shift))
        if not is_float(shift) or not all(is_float(value) for _, value in rows[-1][0]):
            return None
    return Ties(tuple((j, apart.get(j)) for j in free), tuple(rows))


def _free_places(free: Sequence[int], apart: Mapping[int, int]) -> dict[int, tuple[int, ...]]:
    """The entries of u whose sum a free input is: its own, and where that is a difference those of the other input."""
    found: dict[int, tuple[int, ...]] = {}
    for k, j in enumerate(free):
        # Chains of differences are short: of a shift, of a partner.
        others = found[apart[j]] if j in apart else ()
        found[j] = (*others, k)
    return found


def _is_shift(terms: Mapping[int, Fraction]) -> bool:
    return list(terms.values()) == [_ONE]


def _common_equations(regions: Sequence[Disjunct]) -> list[Inequality]:
    """The equations between inputs that hold in all regions, by their cuts or for the whole box."""
    cuts = {id(one.cut): one.cut.rows for one in regions if one.cut is not None}
    found = list(dict.fromkeys(row for rows in cuts.values() for row in equalities(rows)))
    known = {key: frozenset(rows) for key, rows in cuts.items()}
    for one in regions:
        if not found:
            break
        own = known.get(id(one.cut), frozenset())
        found = [row for row in found if all(half in own or _holds(one, half) for half in (row, _opposite(row)))]
    return found


def _opposite(row: Inequality) -> Inequality:
    return Inequality(tuple((i, -value) for i, value in row.terms), -row.constant, False)


def _holds(region: Disjunct, row: Inequality) -> bool:
    """Whether a row holds all over the box."""
    return row.admits(most(region.box, row))


def _all_solved(regions: Sequence[Disjunct], partner: Mapping[int, int]) -> Solved | None:
    """`_solved` of what holds in all regions: equations, and where boxes fix an input and its partner their difference.

    The differences are solved with the equations, as other inputs may follow from those that boxes fix.
    """
    equations = _common_equations(regions)
    solved = _solved(equations)
    if solved is None:
        return None
    free = [(j, i) for j, i in partner.items() if i not in solved and j not in solved]
    gaps = [row for row in (_fixed_gap(regions, j, i) for j, i in free) if row is not None]
    return _solved([*equations, *gaps]) if gaps else solved


def _solved(equations: Sequence[Inequality]) -> Solved | None:
    """Equations solved for one input each, of the last network where they have one, by those that stay free; None where
    they exclude each other, or take too much.
    """
    solved: Solved = {}
    readers: dict[int, set[int]] = {}
    count = 0
    for row in equations:
        terms, constant = _substituted(row.terms, solved)
        constant += row.constant
        if not terms:
            if constant:
                return None
            continue
        pivot = max(terms)
        head = terms.pop(pivot)
        own = {j: -value / head for j, value in terms.items()}
        shift = -constant / head
        for other in readers.pop(pivot, set()):
            known, old = solved[other]
            factor = known.pop(pivot)
            for j, value in own.items():
                known[j] = known.get(j, _ZERO) + factor * value
                if not known[j]:
                    del known[j]
            solved[other] = known, old + factor * shift
            for j in own:
                _note(readers, j, other, j in known)
            count += len(own)
        solved[pivot] = own, shift
        for j in own:
            _note(readers, j, pivot, True)
        count += len(own)
        if count > _MOST_TERMS:
            return None
    return solved


def _note(readers: dict[int, set[int]], entry: int, reader: int, reads: bool) -> None:
    own = readers.setdefault(entry, set())
    if reads:
        own.add(reader)
    else:
        own.discard(reader)


def _substituted(terms: Terms, solved: Solved) -> tuple[dict[int, Fraction], Fraction]:
    """A sum of inputs as one of free inputs, and a constant."""
    found: dict[int, Fraction] = {}
    shift = _ZERO
    for entry, value in terms:
        own, constant = solved.get(entry, ({entry: _ONE}, _ZERO))
        shift += value * constant
        for j, coefficient in own.items():
            found[j] = found.get(j, _ZERO) + value * coefficient
    return {j: value for j, value in found.items() if value}, shift


def _fixed_gap(regions: Sequence[Disjunct], j: int, i: int) -> Inequality | None:
    """The equation between two inputs that all boxes fix, equally far apart; else None."""
    gap = None
    for one in regions:
        if not (one.box.fixes(j) and one.box.fixes(i)):
            return None
        own = one.box.range[0][j] - one.box.range[0][i]
        if gap is not None and own != gap:
            return None
        gap = own
    return None if gap is None else Inequality(((i, -_ONE), (j, _ONE)), -gap, False)


def _compared(regions: Sequence[Disjunct], solved: Solved, apart: dict[int, int]) -> dict[int, int]:
    """Of inputs and their partners, those of which some region bounds the difference."""
    found: dict[int, int] = {}
    cuts = {id(one.cut): one.cut.rows for one in regions if one.cut is not None}
    for rows in cuts.values():
        for row in rows:
            terms, _ = _substituted(row.terms, solved)
            if len(terms) == 2 and not sum(terms.values()):
                low, high = sorted(terms)
                if apart.get(high) == low:
                    found[high] = low
    return found
