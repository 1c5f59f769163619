"""Polytopes as callers state them."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import array_api_compat
import numpy as np

from admm_verify.arrays import Array, Placement, quiet_overflow, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.options import brief, instance
from admm_verify.rationals import directed, number
from admm_verify.sets.box import Box
from admm_verify.sets.hulls import bounding_box, refuse_empty, tightened
from admm_verify.sets.images import leading
from admm_verify.sets.polytopes import Polytopes

_MOST_TIGHTENED = 64
"""Inputs up to which the ranges of all are looked for; of more, the box stays as it was given."""


class Polytope(Polytopes):
    """The set {x : normals x <= limits}, cut with a box where one is given; or a batch of such sets.

    Without rows or a box, it is everything. A set of inputs has to be bounded, and not empty, which is looked at where
    it is asked for the first time; a requirement of reachability may be any. Points that the set gives lie inside,
    exactly; where rows leave no room, as two that state an equality, up to rounding.

    Shapes: normals [rows, n], exact; limits [rows], exact: any numbers, kept as fractions; box [*input_shape], with
    rows in the order of inputs. Batches: normals [sets, rows, n] and limits [sets, rows], or a box [sets, n].
    Raises: InputError unless there is one finite limit for every row, for a row of zeros, which limits nothing, and for
    a box of another size; where it is a set of inputs also for an empty set, and one without bounds.
    Error: bounds hold for limits rounded upward to floats, membership for those rounded downward.
    """

    exact: np.ndarray
    limits: tuple[Any, ...]
    around: Box | None
    place: Placement

    def __init__(self, normals: Array, limits: Sequence[Any] | np.ndarray, box: Box | None = None) -> None:
        rows = np.array(to_numpy(float64_array(normals, "polytope's normals")))
        if rows.ndim not in (2, 3) or (rows.ndim == 3 and not len(rows)):
            raise InputError(
                f"The polytope's normals has shape {rows.shape}; give (rows, inputs), or (sets, rows, inputs)."
            )
        if not np.isfinite(rows).all():
            raise InputError("The polytope's normals has NaN or infinite numbers; give finite ones.")
        given = _listed(limits)
        if rows.ndim == 3:
            if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != len(rows):
                raise InputError(
                    f"The polytopes' limits are {brief(given)} for {len(rows)} sets; give a sequence for each."
                )
            kept: tuple[Any, ...] = tuple(_limits(own, part) for own, part in zip(rows, given, strict=True))
        else:
            kept = _limits(rows, given)
        empty = np.argwhere(~rows.any(axis=-1))
        if len(empty):
            raise InputError(
                f"The polytope's row {empty[0][-1]} of normals is zero, which limits nothing; leave it out."
            )
        rows.setflags(write=False)
        self._fill(exact=rows, limits=kept, around=_fitting(box, rows), place=_place(normals, box))

    def _fill(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        box = "" if self.around is None else f", box={self.around!r}"
        return f"Polytope({self.exact.shape[-2]} rows of {self.exact.shape[-1]} numbers{box})"

    @classmethod
    def box(cls, lower: Sequence[Fraction | None], upper: Sequence[Fraction | None]) -> "Polytope":
        """lower <= x <= upper, where None is no limit.

        Raises: InputError for ends of different lengths, or an empty box.
        """
        lower, upper = (_box_ends(ends, side) for ends, side in ((lower, "lower"), (upper, "upper")))
        if len(lower) != len(upper):
            raise InputError(f"A box has {len(lower)} lower and {len(upper)} upper ends; give one of each per state.")
        for low, high in zip(lower, upper, strict=True):
            if low is not None and high is not None and low > high:
                raise InputError(f"A box from {float(low)} to {float(high)} is empty; give lower <= upper.")
        unit = np.eye(len(lower))
        rows = [(unit[i], end) for i, end in enumerate(upper) if end is not None]
        rows += [(-unit[i], -end) for i, end in enumerate(lower) if end is not None]
        normals = np.array([row for row, _ in rows]).reshape(len(rows), len(lower))
        return cls(normals, tuple(end for _, end in rows))

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether all rows hold, given certified upper bounds of normals x, [..., rows] -> [...]."""
        # A float below the limit rounded down is below the limit.
        return np.all(values <= directed(self.limits, np.float64, up=False), axis=-1)

    def misses(self, values: np.ndarray) -> np.ndarray:
        """Whether some row holds nowhere, given certified lower bounds of normals x, [..., rows] -> [...]."""
        return np.any(values > directed(self.limits, np.float64, up=True), axis=-1)

    def cut(self, box: Box) -> Polytopes | None:
        """The part of one set in a box of its own, as a set [1, n] of inputs; None where it is empty."""
        lower, upper = (to_numpy(end).reshape(1, -1) for end in box.range)
        ceiling, floor = (directed(self.limits, np.float64, up=up)[None] for up in (True, False))
        found = Polytopes.about(lower, upper, self.normals[None], ceiling, floor)
        try:
            refuse_empty(found)
        except InputError:
            return None
        return found

    @cached_property
    @quiet_overflow()
    def bounded(self) -> Polytopes:
        """The sets of inputs, with the smallest boxes around them where these are few.

        Raises: InputError for empty sets, and for those without bounds.
        """
        n = self.exact.shape[-1]
        boxes = () if self.around is None else leading(self.around.shape, n, "box of a polytope")
        several = self.exact.ndim == 3 or len(boxes) > 0
        normals = self.exact if self.exact.ndim == 3 else self.exact[None]
        limits = self.limits if self.exact.ndim == 3 else (self.limits,)
        ceiling, floor = (
            np.array([directed(part, np.float64, up=up) for part in limits]).reshape(normals.shape[:2])
            for up in (True, False)
        )
        if self.around is None:
            ends = [bounding_box(*own) for own in zip(normals, ceiling, floor, strict=True)]
            lower, upper = map(np.stack, zip(*ends, strict=True))
        else:
            lower, upper = (to_numpy(end).reshape(-1, normals.shape[-1]) for end in self.around.range)
        count = max(len(lower), len(normals))
        parts = [np.broadcast_to(part, (count, *part.shape[1:])) for part in (lower, upper, normals, ceiling, floor)]
        found = Polytopes.about(*parts)
        refuse_empty(found)
        if self.around is not None and found.size <= _MOST_TIGHTENED and found.rows:
            found = tightened(found)
            refuse_empty(found)
        return (found if several else found.at(0)).put(self.place)

    def flattened(self, flatten: Callable[[Array], Array]) -> Polytopes:
        if self.around is not None:
            # Tensors with their axes in another order are refused.
            flatten(self.around.lower)
        return self.bounded.flattened(flatten)

    @property
    def lower(self) -> Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The lower ends of the box around."""
        return self.bounded.lower

    @property
    def upper(self) -> Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The upper ends."""
        return self.bounded.upper

    @cached_property
    def normals(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The rows' normals, where the box lives."""
        return self.place.put(self.exact)

    @property
    def ceiling(self) -> Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The limits rounded up."""
        return self.bounded.ceiling

    @property
    def floor(self) -> Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The limits rounded down."""
        return self.bounded.floor

    @property
    def inner(self) -> Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A point in the middle."""
        return self.bounded.inner

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self.bounded.numbers


def _listed(limits: object) -> object:
    """Limits of an array as a list; those of NumPy may be exact numbers of any kind."""
    if array_api_compat.is_torch_array(limits):
        return to_numpy(float64_array(limits, "polytope's limits")).tolist()
    return limits.tolist() if isinstance(limits, np.ndarray) else limits


def _limits(rows: np.ndarray, given: object) -> tuple[Fraction, ...]:
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != len(rows):
        raise InputError(
            f"The polytope's limits are {brief(given)} for {len(rows)} rows of normals; give one number for each."
        )
    return tuple(number(limit, f"polytope's limit {i}") for i, limit in enumerate(given))


def _fitting(box: Box | None, normals: np.ndarray) -> Box | None:
    """A polytope's box [n] or [sets, n], whatever tensors it was given for."""
    if box is None:
        return None
    shape = tuple(instance(box, Box, "The box of a polytope").lower.shape)
    lead = leading(shape, normals.shape[-1], "box of a polytope")
    if lead and normals.ndim == 3 and 1 not in (lead[0], len(normals)) and lead[0] != len(normals):
        raise InputError(f"The polytopes have {lead[0]} boxes for {len(normals)} sets of rows; give as many of both.")
    return box


def _place(normals: Any, box: Box | None) -> Placement:
    if box is not None:
        return box.placement
    return Placement.of(normals).double if hasattr(normals, "device") else Placement.numpy()


def _box_ends(given: object, side: str) -> list[Fraction | None]:
    ends = given.tolist() if isinstance(given, np.ndarray) else given
    if not isinstance(ends, Sequence) or isinstance(ends, str):
        raise InputError(f"A box has {brief(given)} as its {side} ends; give one number, or None, per state.")
    return [None if end is None else number(end, f"{side} end {i} of a box") for i, end in enumerate(ends)]
