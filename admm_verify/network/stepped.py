"""Signs, comparisons and the places of the largest numbers as steps."""

from typing import TypeVar

import numpy as np

from admm_verify.network.builder import Builder, Scored, Tensor, UnsupportedUse, Value
from admm_verify.network.graph import Activation
from admm_verify.network.movement import reduce_sum
from admm_verify.network.switch import Comparison, line_of

T = TypeVar("T")

_CLASSES = 128
"""Numbers of which the largest is found, each against each."""

_CLEAR = 2.0**-10
"""Shares of the numbers that a sum adds up within which its sign might depend on rounding."""


def sign(builder: Builder, x: Tensor) -> Tensor:
    """The sign of every entry; one of a scaled and shifted sign is a step of what that is the sign of."""
    found = _sign_of_step(builder, x)
    return builder.activation("sign", x) if found is None else found


def step(builder: Builder, condition: Comparison) -> Tensor:
    """1 where a comparison holds, else 0."""
    found = builder.activation("heaviside", condition.excess, 0.0)
    return _complement(builder, found) if condition.inverted else found


def both(builder: Builder, first: Comparison, second: Comparison) -> Comparison:
    """Whether two comparisons hold."""
    return Comparison(builder.add(builder.add(step(builder, first), step(builder, second)), np.array(-1.5)))


def either(builder: Builder, first: Comparison, second: Comparison) -> Comparison:
    """Whether one of two comparisons holds."""
    return Comparison(builder.add(builder.add(step(builder, first), step(builder, second)), np.array(-0.5)))


def equal(builder: Builder, first: Value, second: Value) -> Comparison:
    """Whether two values are the same number: neither is larger."""
    gaps = [builder.add(x, y, -1.0) for x, y in ((first, second), (second, first))]
    return either(builder, Comparison(gaps[0]), Comparison(gaps[1])).negated()


def nonzero(builder: Builder, value: Value) -> Comparison:
    """Whether a value is another number than 0."""
    known = value if isinstance(value, Tensor) else builder.lift(value)
    return either(builder, Comparison(known), Comparison(builder.scale(known, np.array(-1.0))))


def placed(builder: Builder, value: T) -> T | Tensor:
    """The place of the largest score, the first one or the last one of several, as the number that it is."""
    if not isinstance(value, Scored) or value.head.steps not in (("argmax",), ("last_argmax",)) or value.head.labels:
        return value
    outer, classes, inner = value.head.groups
    best = builder.activation("heaviside", _excess(builder, value), 0.0)
    weights = np.broadcast_to(np.arange(classes, dtype=np.float64)[:, None], (outer, classes, inner))
    place = reduce_sum(builder, builder.scale(best, weights), [1], False)
    assert isinstance(place, Tensor), "it is made of scores"
    return builder.reshape(place, value.shape)


def is_place(builder: Builder, value: Scored, wanted: np.ndarray) -> Comparison:
    """Whether the largest score is at a place."""
    classes = value.head.groups[1]
    if value.head.steps not in (("argmax",), ("last_argmax",)) or value.head.labels or wanted.size != 1:
        raise UnsupportedUse("it compares labels, or several places at once")
    number = wanted.item()
    if number not in range(classes):
        raise UnsupportedUse(f"it compares a place of {classes} with {number}")
    scores = _excess(builder, value)
    excess = builder.select(scores, scores.labels[:, int(number), :])
    return Comparison(builder.reshape(excess, value.shape))


def _excess(builder: Builder, value: Scored) -> Tensor:
    """Positive at the largest score of every group, where it is not below those before it and above those behind it,
    or the other way round; else negative. Shapes: [outer, classes, inner].
    """
    outer, classes, inner = value.head.groups
    if classes > _CLASSES:
        raise UnsupportedUse(f"it takes the place of the largest of {classes} numbers as a number; {_CLASSES} are read")
    x = builder.reshape(value.scores, (outer, classes, 1, inner))
    other = builder.reshape(value.scores, (outer, 1, classes, inner))
    mine, theirs = np.indices((classes, classes))
    kept = theirs > mine if value.head.steps == ("argmax",) else theirs < mine
    # Against itself a score loses, clearly.
    lead = builder.add(builder.add(x, other, -1.0), -1.0 * (mine == theirs)[None, :, :, None])
    wins = builder.activation("heaviside", lead, kept[None, :, :, None].astype(np.float64))
    return builder.add(reduce_sum(builder, wins, [2], False), np.array(1.5 - classes))


def _complement(builder: Builder, x: Tensor) -> Tensor:
    return builder.add(builder.scale(x, np.array(-1.0)), np.ones(x.shape))


def _sign_of_step(builder: Builder, x: Tensor) -> Tensor | None:
    """sign(w s + b) of a sign or a step s as c + d step of what s is of; None where x is anything else."""
    try:
        line = line_of(builder, x)
    except UnsupportedUse:
        return None
    place = line.place.astype(np.int64)
    if len(place) != 1 or len(np.unique(place >> 32)) != 1:
        return None
    node = builder.node(int(place[0, 0] >> 32))
    if not isinstance(node, Activation) or node.kind not in ("heaviside", "sign"):
        return None
    entries, weight, shift = place[0] & 0xFFFFFFFF, line.weight[0], line.shift
    if node.kind == "sign":
        levels = np.array([-1.0, 0.0, 1.0])[:, None] + np.zeros(x.size)
    else:
        at_zero = np.asarray(node.parameters[0])[entries]
        levels = np.stack([np.zeros(x.size), at_zero, np.ones(x.size)])
    inner = weight * levels + shift
    if np.any(np.abs(inner) <= _CLEAR * (np.abs(weight) + np.abs(shift))):
        return None
    left, middle, right = np.sign(inner)
    rise = right - left
    if np.any((rise == 0) & (middle != left)):
        return None
    at_zero = np.where(rise == 0, 0.0, (middle - left) / np.where(rise == 0, 1.0, rise))
    source = builder.select(Tensor(node.source, (node.size,)), entries.reshape(x.shape))
    jumped = builder.activation("heaviside", source, at_zero.reshape(x.shape))
    return builder.add(builder.scale(jumped, rise.reshape(x.shape)), left.reshape(x.shape))
