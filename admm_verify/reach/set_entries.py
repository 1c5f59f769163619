"""Sets of states and noise from the objects of a system's JSON."""

from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

import numpy as np

from admm_verify.errors import InputError
from admm_verify.rationals import number
from admm_verify.reach.entries import Convert, Entries, exact, listed, matrix, vector, word
from admm_verify.sets.ball import Ball
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.ellipsoid import Ellipsoid
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.polytope import Polytope
from admm_verify.sets.product import Product
from admm_verify.sets.zonotope import Zonotope

T = TypeVar("T")

NORMS = ("l1", "l2", "linf")


def read_set(data: Entries) -> tuple[WalkableSet, ExactBox | None]:
    """The set of an object, and what a box stands for in exact numbers.

    Raises: InputError for an unknown kind, and as the set of the kind does, with the path of the object.
    """
    kind = data.get("kind", word(*KINDS), "box")
    if kind == "box":
        box = ExactBox(*read_ends(data, exact))
        return box.enclosure, box
    try:
        return KINDS[kind](data), None
    except InputError as error:
        named = data.path in str(error)
        raise InputError(str(error) if named else f"{error} (In {data.path}.)") from error


def read_ends(data: Entries, convert: Convert[T]) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """The ends of a box."""
    lower, upper = (tuple(data.take(side, listed(convert))) for side in ("lower", "upper"))
    if len(lower) != len(upper):
        raise InputError(f"The box {data.path} has {len(lower)} lower and {len(upper)} upper ends; give as many.")
    return lower, upper


def _exact_box(data: Entries) -> ExactBox:
    data.get("kind", word("box"), None)
    return ExactBox(*read_ends(data, exact))


def _box(data: Entries) -> Box:
    return _exact_box(data).enclosure


def _rows_of(box: ExactBox) -> tuple[np.ndarray, tuple[Fraction, ...]]:
    """Rows for the ends that floats do not hold, since limits of rows are exact.

    Where no float64 number lies between two ends, those around them stay.
    """
    sides = zip((-1, 1), box.range, box.inside.range, box.enclosure.range, strict=True)
    ends = [
        (i, sign, end)
        for sign, exact_ends, inner, outer in sides
        for i, end in enumerate(exact_ends)
        if inner[i] != outer[i]
    ]
    unit = np.eye(box.size)
    normals = np.array([sign * unit[i] for i, sign, _ in ends]).reshape(len(ends), box.size)
    return normals, tuple(sign * end for _, sign, end in ends)


def _ball(data: Entries) -> WalkableSet:
    def radius(value: object, path: str) -> float | np.ndarray:
        return vector(value, path) if isinstance(value, list) else float(number(value, f"entry {path}"))

    within = _box(data.object("within")).range if data.has("within") else None
    center, norm = data.take("center", vector), data.get("norm", word(*NORMS), "l2")
    return Ball(center, data.take("radius", radius), norm=norm, within=within)


def _ellipsoid(data: Entries) -> WalkableSet:
    return Ellipsoid(data.take("center", vector), data.take("shape", matrix))


def _polytope(data: Entries) -> WalkableSet:
    normals, limits = data.take("normals", matrix), data.take("limits", listed(exact))
    if not data.has("box"):
        return Polytope(normals, tuple(limits))
    box = _exact_box(data.object("box"))
    found, (more, ends) = Polytope(normals, tuple(limits), box.enclosure), _rows_of(box)
    return Polytope(np.concatenate([normals, more]), (*limits, *ends), box.enclosure) if ends else found


def _zonotope(data: Entries) -> WalkableSet:
    return Zonotope(data.take("center", vector), data.take("generators", matrix))


def _product(data: Entries) -> WalkableSet:
    return Product(*map(_factor, data.objects("sets")))


def _factor(data: Entries) -> WalkableSet:
    """A set beside others; a box whose ends are no floats as a polytope, so that points are inside in exact numbers."""
    found, box = read_set(data)
    if box is None:
        return found
    normals, limits = _rows_of(box)
    return Polytope(normals, limits, box.enclosure) if limits else found


KINDS: dict[str, Callable[[Entries], WalkableSet]] = {
    "box": _box,
    "ball": _ball,
    "ellipsoid": _ellipsoid,
    "polytope": _polytope,
    "zonotope": _zonotope,
    "product": _product,
}
"""Every kind of set, by its word."""
