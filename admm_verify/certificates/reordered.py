"""Graphs whose neurons are in another order, or beside some that nothing reads: a proof that they are one function."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.network.graph import Activation, Affine, Node
from admm_verify.network.maps import DenseMap

_MOST = 2**22
"""Entries of the largest matrix whose rows are compared."""


def is_reordered(base: Sequence[Node], made: Sequence[Node]) -> bool:
    """Whether two graphs of dense layers are one function of the input: every neuron of the first is one of the second,
    and what else is in that has no weight where it is read.
    """
    if len(base) != len(made) or base[0] != made[0]:
        return False
    places = [np.arange(base[0].size)]
    for one, two in zip(base[1:], made[1:], strict=True):
        found: np.ndarray | None = None
        if isinstance(one, Activation) and isinstance(two, Activation):
            found = _of_function(one, two, places)
        elif isinstance(one, Affine) and isinstance(two, Affine):
            found = _of_layer(one, two, places)
        if found is None:
            return False
        places.append(found)
    return bool(np.array_equal(places[-1], np.arange(base[-1].size)))


def _of_function(base: Activation, made: Activation, places: Sequence[np.ndarray]) -> np.ndarray | None:
    """Which entries of an activation those of another are, -1 for what nothing may read; None for other functions."""
    known = base.kind == made.kind and base.operands == 1 and base.limits is made.limits is None
    if not known or base.source != made.source or len(base.parameters) != len(made.parameters):
        return None
    own = places[base.source]
    here = own >= 0
    pairs = zip(base.parameters, made.parameters, strict=True)
    same = all(np.array_equal(to_numpy(a)[own[here]], to_numpy(b)[here]) for a, b in pairs)
    return own if same else None


def _of_layer(base: Affine, made: Affine, places: Sequence[np.ndarray]) -> np.ndarray | None:
    """Which neurons of a layer those of another one are, every one once; -1 for others."""
    if [term.source for term in base.terms] != [term.source for term in made.terms]:
        return None
    rows = [_numbers(node) for node in (base, made)]
    if rows[0] is None or rows[1] is None:
        return None
    own, other = [rows[0][0]], [rows[1][0]]
    pairs = zip(base.terms, made.terms, strict=True)
    if any(two.map.roundings < one.map.roundings for one, two in pairs):
        return None
    for term, mine, theirs in zip(base.terms, rows[0][1:], rows[1][1:], strict=True):
        columns = places[term.source]
        spare = columns < 0
        # What is none of the first graph's neurons must have no weight.
        if theirs[:, np.tile(spare, 2)].any():
            return None
        moved = np.where(np.tile(spare, 2), 0.0, mine.reshape(len(mine), 2, -1)[:, :, columns].reshape(len(mine), -1))
        own.append(moved)
        other.append(theirs)
    left: defaultdict[bytes, list[int]] = defaultdict(list)
    for k, row in enumerate(np.concatenate(own, axis=1) + 0.0):
        left[row.tobytes()].append(k)
    found = [
        left[key].pop(0) if left[key] else -1 for key in (r.tobytes() for r in np.concatenate(other, axis=1) + 0.0)
    ]
    return None if any(left.values()) else np.array(found, dtype=np.int64)


def _numbers(node: Affine) -> list[np.ndarray] | None:
    """Bias and its magnitude, then of every term weights and magnitudes side by side; None for other layers."""
    found = [np.stack([to_numpy(node.bias), to_numpy(node.bias_magnitude)], axis=1)]
    for term in node.terms:
        if not isinstance(term.map, DenseMap) or term.map.rows * term.map.columns > _MOST:
            return None
        weight = to_numpy(term.map.weight)
        # Of numbers that are exact it tells that they are.
        magnitude = np.zeros_like(weight) if term.map.magnitude is None else to_numpy(term.map.magnitude)
        found.append(np.concatenate([weight, magnitude], axis=1))
    return found
