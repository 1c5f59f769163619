"""A property as arrays: input sets rounded outward and one row per output atom, ready to be bounded."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from typing import TypeVar

import numpy as np

from admm_verify.arrays import Array
from admm_verify.errors import QueryError
from admm_verify.memory import Budget, collector_paused
from admm_verify.properties.property import Atom, Disjunct, Property
from admm_verify.properties.working import with_rounded, working_sets
from admm_verify.rationals import directed_float, is_float, nearest_float
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact_cut import scaling

Thing = TypeVar("Thing")

_ASKED_EVERY = 1024
"""Things between two looks at the clock, some milliseconds."""


@dataclass(frozen=True, eq=False)
class AtomRows:
    """Rows c'y + d, one per input box and output atom (of the same atom on the same line one), in file order.

    A disjunct is excluded when for one of its rows min c'y + d over the box is > 0 (>= 0 where strict). sets: what
    couplings and sets of floats leave of the boxes, rounded outward; None where that is all of them.

    Shapes: boxes, sets [boxes, inputs], rounded outward; box [rows] the row's box; objective [rows, outputs]; offset
    [rows], rounded downward; rounding [rows], the sum of what the objective's entries are off by, rounded upward, 0
    where they are exact; strict [rows]. disjuncts[i]: row numbers of disjunct i; owner [disjuncts]: the box of each.
    """

    boxes: Box
    box: np.ndarray
    objective: np.ndarray
    offset: np.ndarray
    rounding: np.ndarray
    strict: np.ndarray
    disjuncts: tuple[tuple[int, ...], ...]
    sets: WalkableSet | None = None
    owner: tuple[int, ...] = ()

    @property
    def inputs(self) -> WalkableSet:
        """The sets that bounds are taken over, one for each box."""
        return self.boxes if self.sets is None else self.sets

    def padded(self, disjuncts: Sequence[int]) -> np.ndarray:
        """Row numbers of some disjuncts, [disjuncts, atoms of the longest]; shorter ones repeat their last.

        A disjunct without atoms has -1.
        """
        chosen = [self.disjuncts[i] or (-1,) for i in disjuncts]
        lengths = np.array([len(rows) for rows in chosen], dtype=np.int64)
        flat = np.fromiter(chain.from_iterable(chosen), dtype=np.int64, count=lengths.sum())
        place = np.minimum(np.arange(lengths.max(initial=1)), lengths[:, None] - 1)
        return flat[(np.cumsum(lengths) - lengths)[:, None] + place]

    def charge(self, largest: Array) -> np.ndarray:
        """What rounding the objective takes from each row at most, where no output in a box exceeds `largest` in size.

        Shapes: largest [boxes] -> [rows].
        Error: rounded upward.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            taken = np.nextafter(self.rounding * largest[self.box], np.inf)
        return np.where(self.rounding > 0, np.where(np.isnan(taken), np.inf, taken), 0.0)

    def charged(self, largest: Array) -> "AtomRows":
        """Rows that are at most zero wherever their atoms hold, the rounding of their objectives included.

        A row of which nothing can be said becomes one that holds everywhere.
        Shapes: largest [boxes], as for `charge`.
        """
        taken = self.charge(largest)
        offset = np.where(taken > 0, np.nextafter(self.offset - taken, -np.inf), self.offset)
        known = np.isfinite(offset)
        objective = np.where(known[:, None], self.objective, 0.0)
        # Charged once, a row is as good as an exact one.
        return replace(self, objective=objective, offset=np.where(known, offset, -1.0), rounding=np.zeros_like(offset))


def atom_rows(found: Property, budget: Budget | None = None) -> AtomRows:
    """The rows of a property with at least one disjunct.

    budget: the memory that rows and boxes may take and a question that ends it, no limits where not given.
    Raises: QueryError where they do not fit, and for atoms that read inputs; Stopped.
    """
    outputs = found.output_size
    boxes: dict[tuple[int, int], tuple[int, Disjunct]] = {}
    rows: dict[tuple[int, Atom, int], int] = {}
    disjuncts: list[tuple[int, ...]] = []
    owner: list[int] = []
    with collector_paused():
        for disjunct in _paced(found.disjuncts, budget):
            number, _ = boxes.setdefault(region_of(disjunct), (len(boxes), disjunct))
            owner.append(number)
            disjuncts.append(tuple([rows.setdefault((number, atom, atom.line), len(rows)) for atom in disjunct.atoms]))
        inputs = found.input_size
        # Where disjuncts stand side by side, all take the atoms of the longest.
        most = max(map(len, disjuncts), default=0)
        owners = [disjunct for _, disjunct in boxes.values()]
        couplings = max((len(one.cut.rows) for one in owners if one.cut is not None), default=0)
        numbers = len(rows) * outputs + (2 + couplings) * len(boxes) * inputs + len(disjuncts) * most * outputs
        _check_size(numbers, f"{len(disjuncts)} disjuncts of at most {most} atoms", budget)
        objective, scalars = np.zeros((len(rows), outputs)), np.zeros((3, len(rows)))
        for row, (number, atom, _) in enumerate(_paced(rows, budget)):
            scalars[:, row] = number, *_fill(objective[row], atom)
        ends = np.zeros((2, len(boxes), inputs))
        for box, disjunct in enumerate(_paced(owners, budget)):
            ends[:, box] = disjunct.box.enclosure.range
        sets = working_sets(owners, Box.of(*ends))
        strict = np.array([atom.strict for _, atom, _ in rows], dtype=bool)
    own, (_, offset, rounding) = scalars[0].astype(np.int64), scalars
    return AtomRows(Box.of(*ends), own, objective, offset, rounding, strict, tuple(disjuncts), sets, tuple(owner))


def region_of(disjunct: Disjunct) -> tuple[int, int]:
    """What disjuncts with one set of inputs have in common."""
    return id(disjunct.box), id(disjunct.cut)


def _paced(things: Iterable[Thing], budget: Budget | None) -> Iterator[Thing]:
    """The same things, with a question whether to stop now and then."""
    for number, thing in enumerate(things, start=1):
        if budget is not None and not number % _ASKED_EVERY:
            budget.run.check()
        yield thing


def _check_size(numbers: int, what: str, budget: Budget | None) -> None:
    if budget is not None and 8.0 * numbers > budget.bytes:
        raise QueryError(
            f"The query's {what} take {8.0 * numbers / 2**30:.3g} GiB as rows, more than the memory allowed, "
            f"{budget.bytes / 2**30:.3g} GiB. Allow more, or split the query: the long disjuncts apart from the others."
        )


def as_computed(rows: AtomRows, arithmetic: str) -> AtomRows:
    """The same rows on sets that also hold what their points are rounded to when a network in float32 or float64 is
    run on them; in "real" arithmetic the rows as they are.

    Raises: UnsupportedQueryError for sets of which that is not known.
    """
    if arithmetic == "real":
        return rows
    # Ends beyond the type overflow as inputs too, which the bound on the evaluation's error notices.
    boxes = rows.boxes.with_rounded(np.dtype(arithmetic).type)
    return replace(rows, boxes=boxes, sets=None if rows.sets is None else with_rounded(rows.sets, boxes, arithmetic))


def combined(objective: np.ndarray, offset: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The sum of some rows with weights >= 0, at most zero wherever they all are; None where no float64 is exact.

    Shapes: objective [rows, outputs]; offset, weights [rows] -> [outputs], exact, and a number, rounded downward.
    """
    exact = [Fraction(float(weight)) for weight in weights]
    columns = [[Fraction(float(value)) for value in column] for column in (*objective.T, offset)]
    *values, constant = (sum((w * c for w, c in zip(exact, column, strict=True)), Fraction(0)) for column in columns)
    if not all(is_float(value) for value in values):
        return None
    return np.array([float(value) for value in values]), directed_float(constant, np.float64, up=False)


def _fill(objective: np.ndarray, atom: Atom) -> tuple[float, float]:
    """Write the objective of an atom times a positive number over zeros; its offset, rounded down, and what the
    objective is off by, rounded up.
    """
    if not atom.of_outputs:
        raise QueryError("A constraint reads inputs, or is no linear one; ask about the query's about_outputs().")
    terms, lost = atom.terms, 0.0
    scale, exact = scaling(terms)
    if not exact:
        off = sum((abs(value - Fraction(nearest_float(value))) for _, value in terms), Fraction(0))
        lost = directed_float(off, np.float64, up=True)
    for index, coefficient in terms:
        objective[index] = nearest_float(coefficient if scale == 1 else coefficient * scale)
    return directed_float(atom.constant if scale == 1 else atom.constant * scale, np.float64, up=False), lost
