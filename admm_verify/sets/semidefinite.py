"""Symmetric positive semidefinite matrices: factors with a bound on what they are off, and exact tests."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, Float, gamma
from admm_verify.errors import InputError

_ASYMMETRY = 1e-12
"""Relative to the roots of both diagonal entries: more is no rounding."""

_MOST_EXACT = 40
"""Sizes up to which rational numbers tell whether a matrix that may be singular is indefinite."""

Factors = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def factored(centers: Float[np.ndarray, "... n"], shapes: Float[np.ndarray, "... n n"]) -> Factors:
    """What an ellipsoid keeps of its shape: matrix, deviation, axes, inverse, spare and doubt of `Ellipsoid.of`.

    Raises: InputError for a matrix that is not symmetric or has a negative eigenvalue.
    """
    lead, n = shapes.shape[:-2], shapes.shape[-1]
    many = len(lead) > 0
    found = [
        _factors(c, q, f" {k}" if many else "")
        for k, (c, q) in enumerate(zip(centers.reshape(-1, n), shapes.reshape(-1, n, n), strict=True))
    ]
    parts = (np.stack(part) for part in zip(*found, strict=True))
    matrix, deviation, axes, inverse, spare, doubt = (part.reshape(*lead, *part.shape[1:]) for part in parts)
    return matrix, deviation, axes, inverse, spare, doubt


def _factors(center: np.ndarray, shape: np.ndarray, which: str) -> Factors:
    matrix, scale = _checked(shape, which)
    n, over = len(matrix), np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    # Powers of two scale the diagonal to about 1 without rounding.
    correlation = over[:, None] * matrix * over
    values, vectors = np.linalg.eigh(correlation)
    some = values > 64 * n * DOUBLE_ROUNDOFF * max(1.0, values[-1])
    root = vectors * np.sqrt(np.where(some, values, 0.0))
    # Turned so that the columns of axes are orthogonal, as the nearest point wants them.
    long = scale[:, None] * root
    turn = np.linalg.svd(long / max(np.abs(long).max(), 1e-300))[2].T
    half = root @ turn
    # Columns of zeros stay zeros.
    half[:, np.abs(half).max(axis=0) <= 8 * n * DOUBLE_ROUNDOFF] = 0.0
    rounding = gamma(2 * n + 8) * (np.abs(correlation) + np.abs(half) @ np.abs(half).T)
    residual = np.abs(correlation - half @ half.T) + rounding
    off = residual.sum(axis=1).max() * (1.0 + gamma(n + 8))
    weights = np.where(some, 1.0 / np.sqrt(np.where(some, values, 1.0)), 0.0)
    inverse = ((vectors * weights) @ turn).T * over
    axes = scale[:, None] * half
    deviation = np.nextafter(np.sqrt(np.diagonal(matrix)), np.inf) * (np.diagonal(matrix) > 0)
    spare = np.sqrt(off) * (1.0 + 4.0 * DOUBLE_ROUNDOFF) * scale
    doubt = _doubt(inverse, axes, off, scale) + misled(center, deviation, inverse, DOUBLE_ROUNDOFF)
    return matrix, deviation, axes, inverse, spare, np.array([doubt])


def misled(
    center: Float[np.ndarray, "... n"],
    deviation: Float[np.ndarray, "... n"],
    inverse: Float[np.ndarray, "... n n"],
    roundoff: float,
    moved: np.ndarray | float = 0.0,
) -> Float[np.ndarray, "..."]:
    """How far |z| of a computed point c + U z, or of a computed z, can be from that of the exact one.

    moved: how far the center is from the exact one.
    """
    n = center.shape[-1]
    error = moved + (n + 8) * roundoff * (np.abs(center) + 2.0 * np.sqrt(n) * deviation)
    return 2.0 * np.linalg.norm((np.abs(inverse) @ error[..., None])[..., 0], axis=-1)


def _doubt(inverse: np.ndarray, axes: np.ndarray, off: float, scale: np.ndarray) -> float:
    """How far |z| with the computed inverse can be from sqrt(d' inv(shape) d) near 1, relatively."""
    n = len(axes)
    slip = np.abs(np.eye(n) - inverse @ axes) + gamma(n + 4) * np.abs(inverse) @ np.abs(axes)
    lost = float(np.linalg.norm(slip))
    if lost >= 0.1:
        # Flat sets have no inverse; how far points are from the plane is not looked at.
        lost = 16 * n * DOUBLE_ROUNDOFF * np.linalg.norm(np.abs(inverse) @ np.abs(axes))
    condition = float(np.linalg.norm(inverse * scale)) / (1.0 - min(lost, 0.5))
    return float(2.0 * (lost + off * condition**2))


def _checked(shape: np.ndarray, which: str) -> tuple[np.ndarray, np.ndarray]:
    """The matrix that is taken for a shape, and powers of two near the roots of its diagonal."""
    diagonal = np.diagonal(shape)
    root = np.sqrt(np.maximum(diagonal, 0.0))
    away = np.abs(shape - shape.T) > _ASYMMETRY * np.outer(root, root)
    if away.any():
        i, j = np.argwhere(away)[0]
        raise InputError(
            f"The ellipsoid's shape{which} is not symmetric: its entries ({i}, {j}) and ({j}, {i}) are {shape[i, j]} "
            f"and {shape[j, i]}; give a symmetric matrix."
        )
    # Halves of the smallest numbers are zero.
    matrix, n = np.where(shape == shape.T, shape, 0.5 * shape + 0.5 * shape.T), len(shape)
    exponent = np.frexp(np.where(diagonal > 0, root, 1.0))[1]
    scale = np.where(diagonal > 0, np.ldexp(1.0, exponent), 0.0)
    over = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    odd = (diagonal < 0) | ((diagonal == 0) & np.abs(matrix).any(axis=1))
    values = np.linalg.eigvalsh(over[:, None] * matrix * over)
    least, doubt = values[0], 64 * n * DOUBLE_ROUNDOFF * max(1.0, values[-1])
    if odd.any() or least < -doubt:
        sign = f"its diagonal entry {np.argmax(odd)} is {diagonal[odd][0]}" if odd.any() else _eigenvalue(matrix)
        raise InputError(f"The ellipsoid's shape{which} is indefinite: {sign}; give a positive semidefinite matrix.")
    if least <= doubt and not (n <= _MOST_EXACT and _is_semidefinite(matrix)):
        matrix = matrix + np.diag(2.0 * doubt * scale**2)
    return matrix, scale


def _eigenvalue(matrix: np.ndarray) -> str:
    return f"its least eigenvalue is about {np.linalg.eigvalsh(matrix)[0]:.3g}"


def _exact(matrix: np.ndarray) -> list[list[Fraction]]:
    return [[Fraction(float(value)) for value in row] for row in matrix]


def _is_semidefinite(matrix: np.ndarray) -> bool:
    return form_at_most_one(matrix, [Fraction(0)] * len(matrix)) is not None


def form_at_most_one(matrix: np.ndarray, d: Sequence[Fraction]) -> bool | None:
    """Whether c'd <= sqrt(c' matrix c) for all c, exactly, which is d' inv(matrix) d <= 1 where there is an inverse.

    None where the matrix is not positive semidefinite.
    """
    rows, left, total = _exact(matrix), list(d), Fraction(0)
    inside = True
    for k, row in enumerate(rows):
        pivot = row[k]
        if pivot < 0 or (pivot == 0 and any(row[k:])):
            return None
        if pivot == 0:
            inside &= left[k] == 0
            continue
        total += left[k] ** 2 / pivot
        for i in range(k + 1, len(rows)):
            share = rows[i][k] / pivot
            if share:
                left[i] -= share * left[k]
                rows[i] = [a - share * b for a, b in zip(rows[i], row, strict=True)]
    return inside and total <= 1
