"""Multipliers of slope systems in closed form, layer by layer, and the proof that makes a Lipschitz constant of any."""

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, gamma, quiet_overflow
from admm_verify.lipschitz.interior_point import Multipliers
from admm_verify.lipschitz.slope_system import SlopeSystem

_SPARES = (0.0, 1e-9, 1e-7, 1e-5, 1e-3)
"""How much larger all multipliers are taken until a factorisation proves them."""


def layered_multipliers(system: SlopeSystem, share: float = 1.0) -> Multipliers | None:
    """Multipliers by one pass from the input: of each layer one number, the best for what is eliminated before.

    With X = N_k P^-1 N_k' for the matrix P of the input and the layers before, t_k = share / max eigenvalue of X leaves
    2 t_k I - t_k^2 X, of whose least eigenvalues it is the largest for share 1. L^2 is the largest eigenvalue of
    Y P^-1 Y' then. None where numbers fail.
    Reference: Xu and Sivaranjani, ECLipsE, NeurIPS 2024 (ECLipsE-Fast), for chains; layers with more than one source
    take all of P here.
    """
    from scipy.linalg import solve_triangular

    inputs, width = system.inputs, system.inputs + system.neurons
    factor, weights = np.zeros((width, width)), np.zeros(system.neurons)
    factor[:inputs, :inputs] = np.eye(inputs)
    for layer in system.layers:
        start, end = inputs + layer.start, inputs + layer.stop
        # Of the input's own rows the factor is the identity.
        half = _solved(factor[:start, :start], system.inner[layer, :start], inputs)
        square = half @ half.T
        largest = float(np.linalg.eigvalsh(square)[-1])
        weight = share / largest if largest > 1e-12 * max(1.0, float(np.max(weights, initial=0.0))) else 1.0
        weights[layer] = weight
        factor[start:end, :start] = -weight * half
        try:
            factor[start:end, start:end] = np.linalg.cholesky(2.0 * weight * np.eye(end - start) - weight**2 * square)
        except np.linalg.LinAlgError:
            return None
    last = solve_triangular(factor, system.outer.T, lower=True, check_finite=False)
    constant = float(np.linalg.norm(last, 2))
    return Multipliers(constant, weights * constant) if 0.0 < constant < np.inf else None


def _solved(factor: np.ndarray, rows: np.ndarray, inputs: int) -> np.ndarray:
    """rows C^-T for a lower triangular C that begins with an identity."""
    from scipy.linalg import solve_triangular

    first = rows[:, :inputs]
    if factor.shape[0] == inputs:
        return first.copy()
    rest = rows[:, inputs:] - first @ factor[inputs:, :inputs].T
    below = solve_triangular(factor[inputs:, inputs:], rest.T, lower=True, check_finite=False).T
    return np.concatenate([first, below], axis=1)


def proved_constant(system: SlopeSystem, found: Multipliers) -> float:
    """A Lipschitz constant of a system in exact numbers that multipliers prove; infinite where they prove none.

    Z(L, t) of `interior_point` is positive semidefinite where the Cholesky factorisation of the computed matrix, less
    what it may be off by and less n gamma_{n+1} trace, runs to its end. Multipliers that are a little too small are
    taken larger: the linear part of Z is the mean of Z for outputs y and -y, so that it only grows.
    Reference: Rump, Verification of positive definiteness, BIT 46, 2006.
    """
    for spare in _SPARES:
        constant, weights = found.constant * (1.0 + spare), found.weights * (1.0 + spare)
        with quiet_overflow():
            if _is_proved(system, constant, weights):
                return constant
    return np.inf


def _is_proved(system: SlopeSystem, constant: float, weights: np.ndarray) -> bool:
    if not (0.0 < constant < np.inf and np.isfinite(weights).all() and (weights > 0.0).all()):
        return False
    inputs, width, size = system.inputs, system.inputs + system.neurons, system.inputs + system.neurons
    size += len(system.outer)
    matrix = np.zeros((size, size))
    # Every entry is one product, rounded once.
    matrix[inputs:width, :width] = -weights[:, None] * system.inner
    matrix[width:, :width] = -system.outer
    matrix += matrix.T
    diagonal = np.concatenate([np.full(inputs, constant), 2.0 * weights, np.full(len(system.outer), constant)])
    matrix[np.diag_indices(size)] = diagonal
    # Powers of two scale without rounding, to a diagonal between 1/2 and 4.
    scale = 2.0 ** -np.rint(0.5 * np.log2(diagonal))
    matrix = scale[:, None] * matrix * scale
    off = 2.0 * DOUBLE_ROUNDOFF * float(np.linalg.norm(matrix)) * (1.0 + gamma(size**2 + 4))
    widest = float(np.max(scale[:width]))
    off += 2.0 * float(np.max(scale[inputs:width] * weights, initial=0.0)) * system.inner_error * widest
    off += 2.0 * float(np.max(scale[width:])) * system.outer_error * widest
    charge = (2.0 * gamma(size + 2) * float(np.trace(matrix)) + off) * (1.0 + gamma(size + 16)) + 2.0**-1000
    if not charge < 0.25:
        return False
    matrix[np.diag_indices(size)] -= charge + 4.0 * DOUBLE_ROUNDOFF * float(np.max(np.diagonal(matrix)))
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
