"""Signs and comparisons as steps, of single entries or of signs again."""

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse
from admm_verify.network.graph import Activation
from admm_verify.network.switch import Comparison, line_of

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
