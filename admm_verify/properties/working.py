"""Sets of float64 numbers around the exact ones of a property, which bounds are taken over."""

from collections.abc import Sequence

import numpy as np

from admm_verify.errors import UnsupportedQueryError
from admm_verify.properties.property import Disjunct
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet


def working_sets(owners: Sequence[Disjunct], boxes: Box) -> WalkableSet | None:
    """The input sets of some disjuncts, rounded outward, [owners, inputs]; None where they are boxes alone.

    Shapes: boxes [owners, inputs], rounded outward.
    """
    if all(owner.cut is None or owner.cut.within is None for owner in owners):
        return None
    parts = [owner.cut.within for owner in owners if owner.cut is not None and owner.cut.within is not None]
    assert len(parts) == len(owners), "all disjuncts have one set, or none has"
    ends = [boxes.at(slice(number, number + 1)).range for number in range(len(owners))]
    if any(_cuts(own, part) for own, part in zip(ends, parts, strict=True)):
        # One kind for all.
        parts = [part.within(*own) for own, part in zip(ends, parts, strict=True)]
    return parts[0] if len(parts) == 1 else type(parts[0]).joined(parts)


def _cuts(ends: tuple[np.ndarray, np.ndarray], part: WalkableSet) -> bool:
    """Whether a box is another one than that around a set."""
    return not all(np.array_equal(own, end) for own, end in zip(ends, part.range, strict=True))


def with_rounded(sets: WalkableSet, arithmetic: str) -> WalkableSet:
    """The sets that also hold what their points are rounded to.

    Raises: UnsupportedQueryError where that is not known of them.
    """
    raise UnsupportedQueryError(
        f"In {arithmetic} arithmetic the network runs on rounded inputs, which may lie beside a {type(sets).__name__}. "
        'Ask in real arithmetic (arithmetic="real"), or over a box.'
    )
