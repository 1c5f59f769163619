"""Softmax and its like, written as affine nodes and functions of one source each.

softmax_i = sigmoid(x_i - L_i) with L_i = log sum over j != i of exp(x_j): n exponentials, logarithms and sigmoids, and
no product. What it gives is within [0, 1] whatever the bounds of x are. Measured on random rows (widths of bounds over
those of samples, 5 entries of ranges 0.3 to 3): 1.2 to 2.1, where 1 / sum exp(x_j - x_i) takes 1.4 to 2.0 and n^2
exponentials, exp(x_i - log sum exp(x)) 1.3 to 355 and exp(x_i) (1 / sum exp(x_j)) 1.3 to 269.
"""

from collections.abc import Sequence

import numpy as np

from admm_verify.network.blocks import BlockMap
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse
from admm_verify.network.graph import Affine
from admm_verify.network.movement import axes_of, centred, reduce_mean, reduce_sum, reduced_shape, sum_at
from admm_verify.network.selection import SelectionMap

_FAR = 30.0
"""How far below others an entry's constant part makes it next to nothing."""

_OWN = 150
"""Roundings of exponentials, logarithms and differences behind an entry of a softmax, and some more."""

Groups = tuple[int, int, int]
"""The shape (outer, n, inner) around the axis of a softmax."""


def softmax(builder: Builder, x: Tensor, groups: Groups) -> Tensor:
    """exp(x_i) / sum over j of exp(x_j) along the middle axis of x in the shape `groups`; in the shape of x."""
    if groups[1] == 1:
        written = _constant(builder, x, 1.0)
    else:
        along, near = builder.reshape(x, groups), _near(builder, x, groups)
        alone = near & (near.sum(axis=1, keepdims=True) == 1) & (groups[1] > 2)
        written = builder.activation("sigmoid", _above_others(builder, along, near, np.flatnonzero(~alone)))
        written = _with_rests(builder, written, alone) if alone.any() else builder.reshape(written, groups)
    written = _charged(builder, written, groups[1])
    return builder.reshape(builder.stands_for(written, "softmax", [x], shapes=[groups]), x.shape)


def masked_softmax(builder: Builder, x: Tensor, groups: Groups, allowed: np.ndarray) -> Tensor:
    """The softmax of those entries that are allowed, and 0 for the others, as for entries of minus infinity.

    Shapes: allowed [*groups], of which no line is false throughout.
    """
    if allowed.all():
        return softmax(builder, x, groups)
    if not allowed.any(axis=1).all():
        raise UnsupportedUse("its mask leaves nothing of some lines, of which a softmax is no number")
    alone = allowed & (allowed.sum(axis=1, keepdims=True) == 1)
    rest = np.flatnonzero((allowed & ~alone).reshape(-1))
    places = np.full(x.size, rest.size)
    places[rest] = np.arange(rest.size)
    if rest.size:
        written = builder.activation("sigmoid", _above_allowed(builder, x, groups, allowed, rest))
        written = builder.select(written, places.reshape(groups))
    else:
        written = _constant(builder, builder.reshape(x, groups), 0.0)
    written = builder.add(written, alone.astype(np.float64))
    written = _charged(builder, written, groups[1])
    found = builder.stands_for(written, "masked_softmax", [x], allowed.astype(np.float64), shapes=[groups])
    return builder.reshape(found, x.shape)


def log_softmax(builder: Builder, x: Tensor, groups: Groups) -> Tensor:
    """x_i - log sum over j of exp(x_j) along the middle axis of x in the shape `groups`; in the shape of x.

    It is the logarithm of the sigmoid in `softmax`, minus softplus of minus its argument.
    """
    if groups[1] == 1:
        written = _constant(builder, x, 0.0)
    else:
        above = _above_others(builder, builder.reshape(x, groups), np.ones(groups, dtype=bool), np.arange(x.size))
        curve = builder.activation("softplus", builder.scale(above, np.array(-1.0)))
        written = builder.scale(curve, np.array(-1.0))
    written = _charged(builder, written, groups[1])
    return builder.reshape(builder.stands_for(written, "log_softmax", [x], shapes=[groups]), x.shape)


def log_sum_exp(builder: Builder, x: Tensor, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """log sum exp(x) over axes, all of them for None: of differences from the mean, whose ranges are small."""
    chosen = axes_of(x, axes)
    kept = [axis for axis in range(len(x.shape)) if axis not in chosen]
    shape = reduced_shape(x, chosen, keep)
    groups = (int(np.prod(shape)), x.size // int(np.prod(shape)), 1)
    along = builder.select(x, np.transpose(x.labels, [*kept, *chosen]).reshape(groups))
    powers = builder.activation("exp", centred(builder, along))
    logarithm = builder.activation("log", reduce_sum(builder, powers, [1], True))
    found = builder.add(logarithm, reduce_mean(builder, along, [1], True))
    found = _charged(builder, found, groups[1])
    found = builder.stands_for(found, "log_sum_exp", [along], shapes=[groups])
    return builder.reshape(found, shape)


def _charged(builder: Builder, x: Tensor, count: int) -> Tensor:
    """The same value with the roundings of a function of `count` entries that is computed by exponentials of
    differences from the largest entry, relative to 1 and to its size.

    Of s_i = e_i / sum e_j the exponential e_i = exp(d_i) is off by u |d_i|, relatively, and its own roundings, where
    |d_i| <= 104 or nothing is left of it; the sum by count - 1 roundings and the mean of |d_j| with weights s_j, at
    most 1 + log count; a logarithm of the sum by what the sum is off by, relatively, and its own roundings.
    """
    map = SelectionMap.identity(x.size).with_roundings(count + _OWN)
    return Tensor(builder.affine(x, map, None, np.ones(x.size)), x.shape)


def _near(builder: Builder, x: Tensor, groups: Groups) -> np.ndarray:
    """The entries of x in the shape `groups` whose constant part is not far below that of others in their line.

    Masks of large negative numbers are what makes them so. Whatever is said to be near, the softmax written is the same
    function: only bounds of it differ.
    """
    chain, number = [], x.node
    while isinstance(node := builder.node(number), Affine):
        chain.append(node)
        if len(node.terms) != 1 or not isinstance(node.terms[0].map, SelectionMap):
            break
        number = node.terms[0].source
    constant = np.zeros(x.size)
    for k, node in enumerate(reversed(chain)):
        constant = node.bias + (node.terms[0].map.apply(constant) if k else 0.0)
    lines = constant.reshape(groups)
    return lines >= lines.max(axis=1, keepdims=True) - _FAR


def _with_rests(builder: Builder, found: Tensor, alone: np.ndarray) -> Tensor:
    """Softmaxes of lines whose entries are known but those that are alone, which are 1 less the others.

    Shapes: found flat, one for each entry that is not alone; alone [outer, n, inner].
    """
    places = np.full(alone.size, found.size)
    places[~alone.reshape(-1)] = np.arange(found.size)
    known = builder.select(found, places.reshape(alone.shape))
    others = BlockMap(np.ones((alone.shape[1],) * 2), alone.shape[0], alone.shape[2])
    sums = Tensor(builder.affine(known, others), alone.shape)
    rests = builder.select(sums, np.where(alone, sums.labels, sums.size))
    return builder.add(builder.add(known, alone.astype(np.float64)), rests, -1.0)


def _above_others(builder: Builder, along: Tensor, near: np.ndarray, rest: np.ndarray) -> Tensor:
    """x_i - log sum over j != i of exp(x_j) along axis 1, of entries `rest`, flat.

    near: the entries from whose mean differences are taken, of which each line of an entry asked for has another one.
    """
    outer, n, inner = along.shape
    if n == 2:
        return builder.select(builder.add(along, builder.select(along, along.labels[:, ::-1]), -1.0), rest)
    small = centred(builder, along, near)
    powers = builder.activation("exp", small)
    # One map without entries for i itself, so that no rounding or interval of a difference comes in.
    others = BlockMap(np.ones((n, n)) - np.eye(n), outer, inner)
    sums = builder.select(Tensor(builder.affine(powers, others), along.shape), rest)
    return builder.add(builder.select(small, rest), builder.activation("log", sums), -1.0)


def _above_allowed(builder: Builder, x: Tensor, groups: Groups, allowed: np.ndarray, rest: np.ndarray) -> Tensor:
    """`_above_others` of entries `rest` among those that are allowed, of which each line has two or more."""
    lines = np.moveaxis(np.arange(x.size).reshape(groups), 1, -1).reshape(-1, groups[1])
    inside = np.moveaxis(allowed, 1, -1).reshape(lines.shape)
    line, i, j = np.nonzero(inside[:, :, None] & inside[:, None, :] & ~np.eye(groups[1], dtype=bool))
    small = centred(builder, builder.reshape(x, groups), allowed)
    paired = builder.select(builder.activation("exp", small), lines[line, j])
    sums = sum_at(builder, paired, np.searchsorted(rest, lines[line, i]), (rest.size,))
    return builder.add(builder.select(small, rest), builder.activation("log", sums), -1.0)


def _constant(builder: Builder, x: Tensor, value: float) -> Tensor:
    return builder.add(builder.scale(x, np.array(0.0)), np.array(value))
