"""Normalisations by statistics of the value itself, written as centring, squares and a power -1/2 times the centred."""

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse
from admm_verify.network.limits import Limits
from admm_verify.network.movement import centred, reduce_mean


def standardise(builder: Builder, x: Tensor, groups: tuple[int, int], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over the last axis of x in the shape `groups`; in the shape of x."""
    # The squares of all n entries add up to n at most, and those of n - 1 entries to a (n - 1)-th of the last one's.
    limits = Limits(_root(groups[1] - 1), _root(groups[1]))
    written = _over_root_mean_square(builder, centred(builder, builder.reshape(x, groups)), epsilon, limits)
    return builder.reshape(
        builder.stands_for(written, "standardised", [x], np.array(epsilon), shapes=[groups]), x.shape
    )


def over_root_mean_square(builder: Builder, x: Tensor, groups: tuple[int, int], epsilon: float) -> Tensor:
    """x / sqrt(mean x^2 + epsilon) over the last axis of x in the shape `groups`; in the shape of x."""
    limits = Limits(_root(groups[1]), _root(groups[1]))
    written = _over_root_mean_square(builder, builder.reshape(x, groups), epsilon, limits)
    return builder.reshape(builder.stands_for(written, "rms_norm", [x], np.array(epsilon), shapes=[groups]), x.shape)


def _root(number: int) -> float:
    """The square root, rounded up."""
    return float(np.nextafter(np.sqrt(float(number)), np.inf))


def _over_root_mean_square(builder: Builder, along: Tensor, epsilon: float, limits: Limits) -> Tensor:
    if not epsilon > 0:
        raise UnsupportedUse(f"its epsilon is {epsilon}; positive numbers are supported")
    squares = builder.activation("square", along)
    variance = builder.add(reduce_mean(builder, squares, [1], True), np.array(epsilon))
    return builder.product(along, builder.activation("power", variance, -0.5), limits)


def layer_norm(
    builder: Builder, x: Tensor, first: int, scale: np.ndarray | None, shift: np.ndarray | None, epsilon: float
) -> Tensor:
    """The axes from `first` on standardised together, times a scale, plus a shift; both broadcast to x."""
    found = standardise(builder, x, _trailing(x, first), epsilon)
    return affinely(builder, found, scale, shift)


def root_mean_square_norm(builder: Builder, x: Tensor, first: int, scale: np.ndarray | None, epsilon: float) -> Tensor:
    """The axes from `first` on over their root mean square, times a scale that broadcasts to x."""
    return affinely(builder, over_root_mean_square(builder, x, _trailing(x, first), epsilon), scale, None)


def group_norm(
    builder: Builder, x: Tensor, groups: int, scale: np.ndarray | None, shift: np.ndarray | None, epsilon: float
) -> Tensor:
    """Groups of channels, axis 1 of x, standardised, times a scale, plus a shift, of which both are [channels]."""
    if len(x.shape) < 2 or x.shape[1] % groups:
        raise UnsupportedUse(f"its input of shape {x.shape} has no channels that split into {groups} groups")
    rows = x.shape[0] * groups
    found = standardise(builder, x, (rows, x.size // rows), epsilon)
    column = (-1, *(1 for _ in x.shape[2:]))
    parts = [None if part is None else part.reshape(column) for part in (scale, shift)]
    return affinely(builder, found, *parts)


def affinely(builder: Builder, x: Tensor, scale: np.ndarray | None, shift: np.ndarray | None) -> Tensor:
    """x times a scale plus a shift, either maybe none, which broadcast to x."""
    for part in (scale, shift):
        if part is not None and np.broadcast_shapes(part.shape, x.shape) != x.shape:
            raise UnsupportedUse(f"its scale or shift of shape {part.shape} does not fit its input of shape {x.shape}")
    x = x if scale is None else builder.scale(x, scale)
    return x if shift is None else builder.add(x, shift)


def _trailing(x: Tensor, first: int) -> tuple[int, int]:
    columns = int(np.prod(x.shape[first:]))
    return x.size // columns, columns
