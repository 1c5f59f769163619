"""How much linear maps stretch lengths, at most."""

import numpy as np

from admm_verify.arrays import Placement, gamma, to_numpy
from admm_verify.network.blocks import BlockMap
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.symbols import convolution_gain

_LARGEST = 3200
"""Sides of the largest matrix W W' or W'W that is factorised; it takes some seconds."""

_MOST_ENTRIES = 2**25
"""Of a map as a matrix."""

_SPARES = (1e-6, 1e-3, 1e-1)
"""How much more than the computed eigenvalue, until a factorisation proves it."""


def gain(part: LinearMap, slopes: np.ndarray | None = None) -> float:
    """An upper bound of |W|_2 = max |W x|_2 / |x|_2 of a map in exact numbers.

    |W|_2^2 is the largest eigenvalue of the Gram matrix G of the shorter side. t I - G is positive definite up to n
    gamma_{n+1} trace where its Cholesky factorisation in floating point runs to its end. Large convolutions are bounded
    by their frequencies, other large maps by sqrt(|W|_1 |W|_inf) of absolute sums.

    slopes: factors of 0 to 1 for the columns, |W diag(slopes)|_2 is then meant; None for ones. Shapes: [columns].
    Error: rounded outward.
    Reference: Rump, Verification of positive definiteness, BIT 46, 2006.
    """
    if slopes is None and isinstance(part, TransposedMap | BlockMap):
        inner = part.inner if isinstance(part, TransposedMap) else DenseMap(part.weight, part.magnitude, part.roundings)
        return gain(inner)
    large = min(part.rows, part.columns) > _LARGEST or part.rows * part.columns > _MOST_ENTRIES
    if isinstance(part, ConvolutionMap) and large:
        return min(convolution_gain(part), gain_by_sums(part))
    if large or isinstance(part, SelectionMap | DiagonalMap):
        return gain_by_sums(part)
    matrix = part.dense()
    weight = to_numpy(matrix.weight).astype(np.float64)
    size = np.abs(weight) if matrix.magnitude is None else to_numpy(matrix.magnitude)
    if slopes is not None:
        open_ = slopes > 0
        weight, size = (np.ascontiguousarray(array[:, open_]) * slopes[open_] for array in (weight, size))
    scale = float(np.abs(weight).max(initial=0.0))
    if not 0.0 < scale < np.inf:
        return 0.0 if scale == 0.0 and not size.any() else np.inf
    # Scaled, nothing overflows; what underflows is below the spares.
    weight, size = weight / scale, size / scale
    gram = weight @ weight.T if len(weight) <= weight.shape[1] else weight.T @ weight
    side, inner = len(gram), max(weight.shape)
    frobenius = float(np.sqrt(np.sum(size**2))) * (1.0 + gamma(size.size + 4))
    # Stored products are off by some of their roundings, and so are the entries of G.
    off = gamma(max(part.roundings, 1) + 8) * frobenius
    largest = max(0.0, float(np.linalg.eigvalsh(gram)[-1]))
    for spare in _SPARES:
        level = largest * (1.0 + spare) + 1e-200
        try:
            np.linalg.cholesky(level * np.eye(side) - gram)
        except np.linalg.LinAlgError:
            continue
        above = 2.0 * side * gamma(side + 2) * level + 2.0 * gamma(inner + 2) * frobenius**2
        return float((np.sqrt(level + above) + off) * scale * (1.0 + 1e-12))
    return gain_by_sums(part)


def gain_by_sums(part: LinearMap) -> float:
    """An upper bound of |W|_2, and of |M|_2 of the magnitudes: sqrt(|M|_1 |M|_inf). Error: rounded outward."""
    part = part.put(Placement.numpy())
    rows = float(np.max(to_numpy(part.magnitude_apply(np.ones((1, part.columns)))), initial=0.0))
    columns = float(np.max(to_numpy(part.magnitude_transpose(np.ones((1, part.rows)))), initial=0.0))
    return float(np.sqrt(rows) * np.sqrt(columns)) * (1.0 + 4.0 * gamma(part.rows + part.columns + part.roundings + 8))
