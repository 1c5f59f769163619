"""Multipliers of slope systems in closed form, layer by layer, and the proof that makes a Lipschitz constant of any."""

from collections.abc import Callable, Iterator

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, gamma, quiet_overflow
from admm_verify.lipschitz.frequency_system import FrequencySystem
from admm_verify.lipschitz.slope_forms import SCALINGS, SlopeForms, constants_of, layered
from admm_verify.lipschitz.slope_system import Multipliers, SlopeSystem
from admm_verify.run import paced

_SPARES = (0.0, 1e-9, 1e-7, 1e-5, 1e-3)
"""How much larger all multipliers are taken until a factorisation proves them."""


def closed_forms(system: SlopeSystem) -> Iterator[Multipliers]:
    """Multipliers by one pass over the layers, from the input and from the output, along every scaling.

    The turned system, of the transposed Jacobians, has the constants of this one with the multipliers 1 / t.
    """
    for turned in (False, True):
        some = system.turned if turned else system
        forms = forms_of(some)
        for scaling in SCALINGS:
            weights = layered(forms, scaling)
            constant = np.inf if weights is None else float(constants_of(forms, weights)[0])
            if weights is None or not 0.0 < constant < np.inf:
                continue
            found = constant * weights
            yield Multipliers(constant, 1.0 / found[::-1] if turned else found)


def forms_of(system: SlopeSystem) -> SlopeForms:
    """The forms of one system."""
    return SlopeForms.of(system.inputs, system.inner[None], system.outer[None], system.stops)


def proved_constant(system: SlopeSystem, found: Multipliers) -> float:
    """A Lipschitz constant of a system in exact numbers that multipliers prove; infinite where they prove none.

    Z(L, t) of `interior_point` is positive semidefinite where the Cholesky factorisation of the computed matrix, less
    what it may be off by and less n gamma_{n+1} trace, runs to its end. Multipliers that are a little too small are
    taken larger: the linear part of Z is the mean of Z for outputs y and -y, so that it only grows.
    Reference: Rump, Verification of positive definiteness, BIT 46, 2006.
    """
    return _proved(found, lambda: iter([(system.inner, system.outer)]), (system.inner_error, system.outer_error))


def constant_of_waves(system: FrequencySystem, waves: np.ndarray, found: Multipliers) -> float:
    """The same for the form at some frequencies, which must be all of a mesh, as a real matrix of twice the side."""

    def matrices() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in paced(range(len(waves))):
            inner, outer = system.at(waves[index : index + 1])
            yield inner[0], outer[0]

    return _proved(found, matrices, (system.inner_error, system.outer_error))


def _proved(
    found: Multipliers, matrices: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]], errors: tuple[float, float]
) -> float:
    for spare in _SPARES:
        constant, weights = found.constant * (1.0 + spare), found.weights * (1.0 + spare)
        if not (0.0 < constant < np.inf and np.isfinite(weights).all() and (weights > 0.0).all()):
            return np.inf
        with quiet_overflow():
            if all(_is_definite(constant, weights, inner, outer, errors) for inner, outer in matrices()):
                return constant
    return np.inf


def _is_definite(
    constant: float, weights: np.ndarray, inner: np.ndarray, outer: np.ndarray, errors: tuple[float, float]
) -> bool:
    outputs, width = outer.shape
    inputs, size = width - len(inner), width + outputs
    matrix = np.zeros((size, size), dtype=inner.dtype)
    # Every entry is one product, rounded once.
    matrix[inputs:width, :width] = -weights[:, None] * inner
    matrix[width:, :width] = -outer
    matrix += np.conj(matrix.T)
    diagonal = np.concatenate([np.full(inputs, constant), 2.0 * weights, np.full(outputs, constant)])
    # Powers of two scale without rounding, to a diagonal between 1/2 and 4.
    scale = 2.0 ** -np.rint(0.5 * np.log2(diagonal))
    matrix[np.diag_indices(size)] = diagonal
    matrix = scale[:, None] * matrix * scale
    widest = float(np.max(scale[:width]))
    off = 2.0 * float(np.max(scale[inputs:width] * weights, initial=0.0)) * errors[0] * widest
    off += 2.0 * float(np.max(scale[width:])) * errors[1] * widest
    if np.iscomplexobj(matrix):
        # A Hermitian matrix is definite with its real twin, of which every eigenvalue is one of its own, twice.
        matrix = np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])
    side = len(matrix)
    off += 2.0 * DOUBLE_ROUNDOFF * float(np.linalg.norm(matrix)) * (1.0 + gamma(side**2 + 4))
    charge = (2.0 * gamma(side + 2) * float(np.trace(matrix)) + off) * (1.0 + gamma(side + 16)) + 2.0**-1000
    if not charge < 0.25:
        return False
    matrix[np.diag_indices(side)] -= charge + 4.0 * DOUBLE_ROUNDOFF * float(np.max(np.diagonal(matrix)))
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
