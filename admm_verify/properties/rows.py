"""A property as arrays: boxes rounded outward and one row per output atom, ready to be bounded."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, isfinite, lcm

import numpy as np

from admm_verify.properties.property import Atom, Disjunct, InputBox, Property


@dataclass(frozen=True, eq=False)
class AtomRows:
    """Rows c'y + d, one per distinct pair of input box and output atom, in file order.

    A disjunct is excluded when for one of its rows min c'y + d over the box is > 0 (>= 0 where strict).

    Shapes: boxes_lower, boxes_upper [boxes, inputs], rounded outward; box [rows] the row's box; objective
    [rows, outputs]; offset [rows], rounded downward; rounding [rows], the sum of what the objective's entries are off
    by, rounded upward, 0 where they are exact; strict [rows]. disjuncts[i]: row numbers of disjunct i.
    """

    boxes_lower: np.ndarray
    boxes_upper: np.ndarray
    box: np.ndarray
    objective: np.ndarray
    offset: np.ndarray
    rounding: np.ndarray
    strict: np.ndarray
    disjuncts: tuple[tuple[int, ...], ...]

    def charge(self, largest: np.ndarray) -> np.ndarray:
        """What rounding the objective takes from each row at most, where no output in a box exceeds `largest` in size.

        Shapes: largest [boxes] -> [rows].
        Error: rounded upward.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            taken = np.nextafter(self.rounding * largest[self.box], np.inf)
        return np.where(self.rounding > 0, np.where(np.isnan(taken), np.inf, taken), 0.0)

    def charged(self, largest: np.ndarray) -> "AtomRows":
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


def atom_rows(found: Property) -> AtomRows:
    """The rows of a property with at least one disjunct."""
    outputs = found.networks[0].outputs[0].size
    boxes: dict[int, tuple[int, InputBox]] = {}
    rows: dict[tuple[int, Atom], int] = {}
    disjuncts = []
    for disjunct in found.disjuncts:
        number, _ = boxes.setdefault(id(disjunct.box), (len(boxes), disjunct.box))
        disjuncts.append(tuple(rows.setdefault((number, atom), len(rows)) for atom in disjunct.atoms))
    converted = [_row(atom, outputs) for _, atom in rows]
    return AtomRows(
        boxes_lower=np.array([directed(box.lower, np.float64, up=False) for _, box in boxes.values()]),
        boxes_upper=np.array([directed(box.upper, np.float64, up=True) for _, box in boxes.values()]),
        box=np.array([number for number, _ in rows], dtype=np.int64),
        objective=np.array([objective for objective, _, _ in converted]).reshape(len(rows), outputs),
        offset=np.array([offset for _, offset, _ in converted]),
        rounding=np.array([lost for _, _, lost in converted]),
        strict=np.array([atom.strict for _, atom in rows], dtype=bool),
        disjuncts=tuple(disjuncts),
    )


def as_computed(rows: AtomRows, arithmetic: str) -> AtomRows:
    """The same rows on boxes that also hold what their points are rounded to when a network in float32 or float64 is
    run on them; in "real" arithmetic the rows as they are.

    Rounding is monotone, so the rounded ends are enough.
    """
    if arithmetic == "real":
        return rows
    dtype = np.dtype(arithmetic)
    with np.errstate(over="ignore"):
        lower, upper = (end.astype(dtype).astype(np.float64) for end in (rows.boxes_lower, rows.boxes_upper))
    # Ends beyond the type overflow as inputs too, which the bound on the evaluation's error notices.
    lower = np.where(np.isfinite(lower), np.minimum(rows.boxes_lower, lower), rows.boxes_lower)
    upper = np.where(np.isfinite(upper), np.maximum(rows.boxes_upper, upper), rows.boxes_upper)
    return replace(rows, boxes_lower=lower, boxes_upper=upper)


def combined(objective: np.ndarray, offset: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The sum of some rows with weights >= 0, at most zero wherever they all are; None where no float64 is exact.

    Shapes: objective [rows, outputs]; offset, weights [rows] -> [outputs], exact, and a number, rounded downward.
    """
    exact = [Fraction(float(weight)) for weight in weights]
    columns = [[Fraction(float(value)) for value in column] for column in (*objective.T, offset)]
    *values, constant = (sum((w * c for w, c in zip(exact, column, strict=True)), Fraction(0)) for column in columns)
    if not all(_is_exact(value) for value in values):
        return None
    return np.array([float(value) for value in values]), float(directed((constant,), np.float64, up=False)[0])


def inner_box(disjunct: Disjunct, dtype: type[np.floating]) -> tuple[np.ndarray, np.ndarray]:
    """The largest box of `dtype` numbers inside the disjunct's exact box; lower > upper where there is none."""
    lower, upper = directed(disjunct.box.lower, dtype, up=True), directed(disjunct.box.upper, dtype, up=False)
    infinity = dtype(np.inf)
    for i in disjunct.box.strict_lower:
        if Fraction(float(lower[i])) == disjunct.box.lower[i]:
            lower[i] = np.nextafter(lower[i], infinity)
    for i in disjunct.box.strict_upper:
        if Fraction(float(upper[i])) == disjunct.box.upper[i]:
            upper[i] = np.nextafter(upper[i], -infinity)
    return lower, upper


def directed(values: tuple[Fraction, ...], dtype: type[np.floating], up: bool) -> np.ndarray:
    """Rational numbers as floats, rounded up or down and never the other way."""
    with np.errstate(over="ignore"):
        nearest = np.array([_nearest(value) for value in values]).astype(dtype)
    target = dtype(np.inf if up else -np.inf)
    for i, value in enumerate(values):
        if np.isinf(nearest[i]):
            # Beyond the type: outward that is infinity, inward the largest number there is.
            nearest[i] = nearest[i] if nearest[i] == target else np.nextafter(nearest[i], dtype(0))
            continue
        found = Fraction(float(nearest[i]))
        if found < value if up else found > value:
            nearest[i] = np.nextafter(nearest[i], target)
    return nearest


def _nearest(value: Fraction) -> float:
    """The nearest float64, infinite beyond its range."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _row(atom: Atom, outputs: int) -> tuple[np.ndarray, float, float]:
    """Objective, offset, rounded down, and what the objective is off by, of an atom times a positive number."""
    terms, scale = atom.terms, Fraction(1)
    if not all(_is_exact(coefficient) for _, coefficient in terms):
        # Whole numbers without a common divisor are exact wherever any multiple of the coefficients is.
        whole = Fraction(lcm(*(c.denominator for _, c in terms)), gcd(*(c.numerator for _, c in terms)))
        if all(_is_exact(coefficient * whole) for _, coefficient in terms):
            scale = whole
    objective, lost = np.zeros(outputs), Fraction(0)
    for index, coefficient in terms:
        exact = coefficient * scale
        objective[index] = _nearest(exact)
        lost += abs(exact - Fraction(objective[index]))
    down, up = (directed((value,), np.float64, up)[0] for value, up in ((atom.constant * scale, False), (lost, True)))
    return objective, float(down), float(up)


def _is_exact(value: Fraction) -> bool:
    numerator, denominator = value.numerator, value.denominator
    if denominator == 1 and numerator.bit_length() <= 53:
        return True
    nearest = _nearest(value)
    return isfinite(nearest) and nearest.as_integer_ratio() == (numerator, denominator)
