"""A property as arrays: boxes rounded outward and one row per output atom, ready to be bounded."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm

import numpy as np

from admm_verify.errors import UnsupportedQueryError
from admm_verify.properties.property import Atom, Disjunct, InputBox, Property


@dataclass(frozen=True, eq=False)
class AtomRows:
    """Rows c'y + d, one per distinct pair of input box and output atom, in file order.

    A disjunct is excluded when for one of its rows min c'y + d over the box is > 0 (>= 0 where strict).

    Shapes: boxes_lower, boxes_upper [boxes, inputs], rounded outward; box [rows] the row's box; objective
    [rows, outputs], exact; offset [rows], rounded downward; strict [rows]. disjuncts[i]: row numbers of disjunct i.
    """

    boxes_lower: np.ndarray
    boxes_upper: np.ndarray
    box: np.ndarray
    objective: np.ndarray
    offset: np.ndarray
    strict: np.ndarray
    disjuncts: tuple[tuple[int, ...], ...]


def atom_rows(found: Property) -> AtomRows:
    """The rows of a property with at least one disjunct.

    Raises: UnsupportedQueryError for coefficients that no float64 represents even after clearing denominators.
    """
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
        objective=np.array([objective for objective, _ in converted]).reshape(len(rows), outputs),
        offset=np.array([offset for _, offset in converted]),
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


def _row(atom: Atom, outputs: int) -> tuple[np.ndarray, float]:
    """Objective, exact, and offset, rounded down, of an atom, scaled by a positive number where needed."""
    scale = Fraction(1)
    if any(not _is_exact(coefficient) for _, coefficient in atom.terms):
        scale = Fraction(lcm(*(coefficient.denominator for _, coefficient in atom.terms)))
    objective = np.zeros(outputs)
    for index, coefficient in atom.terms:
        exact = coefficient * scale
        objective[index] = _nearest(exact)
        if not _is_exact(exact):
            raise UnsupportedQueryError(
                f"Line {atom.line}: the coefficient {coefficient} cannot be represented in float64, even after "
                "clearing denominators. Use coefficients with fewer digits."
            )
    return objective, float(directed((atom.constant * scale,), np.float64, up=False)[0])


def _is_exact(value: Fraction) -> bool:
    nearest = _nearest(value)
    return np.isfinite(nearest) and Fraction(nearest) == value
