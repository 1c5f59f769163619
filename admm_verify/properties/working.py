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
    withins = {id(owner.cut.within): owner.cut.within for owner in owners if owner.cut is not None}
    if not any(within is not None for within in withins.values()):
        return None
    parts = []
    for number, owner in enumerate(owners):
        box = boxes.at(slice(number, number + 1))
        within = None if owner.cut is None else owner.cut.within
        assert within is not None, "all disjuncts have one set, or none has"
        whole = all(np.array_equal(own, end) for own, end in zip(within.range, box.range, strict=True))
        parts.append(within if whole else within.within(*box.range))
    return parts[0] if len(parts) == 1 else type(parts[0]).joined(parts)


def with_rounded(sets: WalkableSet, arithmetic: str) -> WalkableSet:
    """The sets that also hold what their points are rounded to.

    Raises: UnsupportedQueryError where that is not known of them.
    """
    raise UnsupportedQueryError(
        f"In {arithmetic} arithmetic the network runs on rounded inputs, which may lie beside a {type(sets).__name__}. "
        'Ask in real arithmetic (arithmetic="real"), or over a box.'
    )
