"""What sets that are images c + M z of simpler ones share: products with matrices of every set, and lengths."""

from collections.abc import Callable

import numpy as np

from admm_verify.arrays import Array, Float, namespace
from admm_verify.errors import InputError

_MOST_COLUMNS = 64
"""Columns of a matrix that are cropped one by one; more take longer than what a box loses."""


def along(coefficient: Float[Array, "... n"], matrix: Float[Array, "... n m"]) -> Float[Array, "... m"]:
    """c'M, as one product of matrices where rows share M."""
    lead, rows = tuple(matrix.shape[:-2]), coefficient.shape
    if all(size == 1 for size in lead) and len(lead) < len(rows):
        return coefficient @ namespace(matrix).reshape(matrix, tuple(matrix.shape[-2:]))
    if len(lead) == len(rows) - 1 > 1 and lead[-1] == 1:
        return coefficient @ matrix[..., 0, :, :]
    return (coefficient[..., None, :] @ matrix)[..., 0, :]


def applied(matrix: Float[Array, "... n m"], z: Float[Array, "... m"]) -> Float[Array, "... n"]:
    """M z."""
    return along(z, namespace(matrix).matrix_transpose(matrix))


def length(x: Float[Array, "... n"]) -> Float[Array, "..."]:
    """|x|_2, without overflow or underflow of squares; the result is off by a relative error of n roundings."""
    xp = namespace(x)
    most = xp.max(xp.abs(x), axis=-1, keepdims=True)
    scale = xp.where((most > 0) & xp.isfinite(most), most, xp.ones_like(most))
    return (scale * xp.sqrt(xp.sum((x / scale) ** 2, axis=-1, keepdims=True)))[..., 0]


def cropped(crop: Callable[[Array], Array], matrix: Float[Array, "... n m"]) -> Array | None:
    """A matrix with some of its rows, zeros for others; None where it has too many columns."""
    count = matrix.shape[-1]
    if count > _MOST_COLUMNS:
        return None
    return namespace(matrix).stack([crop(matrix[..., j]) for j in range(count)], axis=-1)


def leading(shape: tuple[int, ...], size: int, what: str) -> tuple[int, ...]:
    """The axis that counts sets in an array of some shape, one entry for each of `size` inputs of every set.

    Raises: InputError where the shape holds no such tensors.
    """
    if shape[:1] == (0,):
        raise InputError(f"The {what} has shape {shape}, which is no set at all; give one or more.")
    if len(shape) > 1 and int(np.prod(shape[1:])) == size:
        return shape[:1]
    if shape and int(np.prod(shape)) == size:
        return ()
    raise InputError(
        f"The {what} has shape {shape}, which are no vectors of the {size} numbers that its matrix has rows for; give "
        f"({size},), or (sets, {size})."
    )
