"""Sums of absolute values of Jacobians' rows and columns, by multipliers of neurons and scales of inputs.

For a row g = c'J and d > 0, |g|_1^2 <= (sum_j d_j) (sum_j g_j^2 / d_j), and equal at d = |g|: what multipliers prove
in l2 for inputs that are scaled by d^-1/2 holds from linf times the root of sum d. With D = diag d, N = (N_x, N_a) and
Y = (Y_x, Y_a) of the system,

    (sum d + S(d, t)) / 2,   S = Y_x D^-1 Y_x' + B Q^-1 B',   B = Y_a + Y_x D^-1 N_x' t,
    Q = 2 t - t N_a - N_a' t - t N_x D^-1 N_x' t              positive definite,

bounds |g|_1 and is convex in (d, t): it is made small under a barrier that keeps Q definite. Columns are rows of J'.
Reference: the semidefinite program of Fazlyab et al., NeurIPS 2019, for linf: Wang et al., arXiv 2204.00846.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from admm_verify.arrays import gamma
from admm_verify.lipschitz.multipliers import closed_forms, proved_constant
from admm_verify.lipschitz.slope_system import Multipliers, SlopeSystem
from admm_verify.run import Run

_FLOOR = 3e-2
"""Of the largest entry, the least one of the scales that a search begins with."""

_BARRIERS = (1.0, 0.1, 0.01)
"""How far the bound is from its least value, relatively, at the end of each stage."""

_STEPS = 100
"""Of a descent."""

_SETTLED = 1e-3
"""Less than that of a logarithm is not worth another descent."""

_DESCENTS = 3
"""Of a stage, one from where another ended: they stop short where they hit the wall."""


def row_system(system: SlopeSystem, row: np.ndarray) -> SlopeSystem:
    """The system of c'f for one row c [outputs]."""
    size = float(np.linalg.norm(row)) * (1.0 + gamma(len(row) + 4))
    error = size * (system.outer_error + gamma(len(row) + 4) * _length(system.outer))
    return replace(system, outer=(row @ system.outer)[None], outer_error=error * (1.0 + 1e-12))


def direction_system(system: SlopeSystem, way: np.ndarray) -> SlopeSystem:
    """The system of f(x + s v) in s, for one direction v [inputs]."""
    n, size = system.inputs, float(np.linalg.norm(way)) * (1.0 + gamma(len(way) + 4))
    spare, more = gamma(n + 4) * size * (1.0 + 1e-12), max(1.0, size) * (1.0 + 1e-12)
    parts = [np.concatenate([part[:, :n] @ way[:, None], part[:, n:]], axis=1) for part in (system.inner, system.outer)]
    inner, outer = (
        more * error + spare * _length(part)
        for part, error in ((system.inner, system.inner_error), (system.outer, system.outer_error))
    )
    return SlopeSystem(1, parts[0], parts[1], system.stops, inner, outer)


def transposed(system: SlopeSystem) -> SlopeSystem:
    """The system of the transposed Jacobians, with what it may be off by: N_x' and Y_a change places."""
    error = (system.inner_error + system.outer_error) * (1.0 + 1e-12)
    return replace(system.turned, inner_error=error, outer_error=error)


def absolute_sum(system: SlopeSystem, start: np.ndarray, run: Run) -> Iterator[float]:
    """Upper bounds of |c'J|_1 for a system with one output, smaller and smaller.

    start: about |c'J|, entry by entry.
    Error: rounded outward; infinite where nothing is proved.
    """
    most = float(np.max(start, initial=0.0))
    if not 0.0 < most < np.inf:
        return
    scales = np.maximum(start, _FLOOR * most)
    found = min(closed_forms(_scaled(system, scales)[0]), key=lambda point: point.constant, default=None)
    if found is None:
        return
    yield _proved(system, scales, found)
    # S is L^2 there, and S / r for r d and r t: sum d = S.
    share = found.constant / np.sqrt(np.sum(scales))
    variables = np.log(np.concatenate([share * scales, share * found.weights / found.constant]))
    for barrier in _BARRIERS:
        if run.over():
            return
        variables = _descended(_ScaledForm.of(system), variables, barrier)
        scales, weights = np.split(np.exp(variables), [system.inputs])
        value = _ScaledForm.of(system).value(scales, weights)
        if value is None:
            return
        constant = float(np.sqrt(value))
        yield _proved(system, scales, Multipliers(constant, weights * constant))


def _scaled(system: SlopeSystem, scales: np.ndarray) -> tuple[SlopeSystem, float]:
    """The system of inputs d^1/2 x, and the root of sum d, rounded upward: of the scales as they are, 1 / root^2."""
    n, root = system.inputs, 1.0 / np.sqrt(scales)
    parts = [np.concatenate([part[:, :n] * root, part[:, n:]], axis=1) for part in (system.inner, system.outer)]
    widest = max(1.0, float(np.max(root))) * (1.0 + 1e-12)
    inner, outer = (
        widest * error + gamma(2) * _length(part) * (1.0 + 1e-12)
        for part, error in zip(parts, (system.inner_error, system.outer_error), strict=True)
    )
    factor = float(np.sqrt(np.sum((1.0 / root) ** 2))) * (1.0 + gamma(n + 12))
    return SlopeSystem(n, parts[0], parts[1], system.stops, inner, outer), factor


def _proved(system: SlopeSystem, scales: np.ndarray, found: Multipliers) -> float:
    scaled, factor = _scaled(system, scales)
    return proved_constant(scaled, found) * factor * (1.0 + gamma(4))


@dataclass(frozen=True, eq=False)
class _ScaledForm:
    """What the scales and multipliers of a system with one output are judged by."""

    first: np.ndarray
    inner: np.ndarray
    last: np.ndarray
    outer: np.ndarray

    @classmethod
    def of(cls, system: SlopeSystem) -> "_ScaledForm":
        n = system.inputs
        return cls(system.inner[:, :n], system.inner[:, n:], system.outer[0, :n], system.outer[0, n:])

    def value(self, scales: np.ndarray, weights: np.ndarray) -> float | None:
        """S(d, t); None where Q is not definite."""
        found = self._solved(scales, weights)
        if found is None:
            return None
        factor, right = found
        return float(np.sum(self.last**2 / scales) + right @ _solve(factor, right))

    def barred(self, scales: np.ndarray, weights: np.ndarray, barrier: float) -> tuple[float, np.ndarray] | None:
        """log(sum d + S) less a share of the logarithm of det Q and of all d, and its gradient in log d and log t.

        With a = Q^-1 B' and x = D^-1 (Y_x' + N_x' t a), S falls by x_j^2 with d_j and by 2 a_i (a_i - N_i (x, a)) with
        t_i.
        """
        found = self._solved(scales, weights)
        if found is None:
            return None
        factor, right = found
        a = _solve(factor, right)
        x = (self.last + (weights * a) @ self.first) / scales
        bound = float(np.sum(scales) + np.sum(self.last**2 / scales) + right @ a)
        inverse = _solve(factor, np.eye(len(weights)))
        # What M^-1 has at (x, a), and at (x, x).
        beside = ((self.first / scales).T * weights) @ inverse
        corner = 1.0 / scales + np.sum(beside * ((self.first / scales).T * weights), axis=1)
        by_scale = 1.0 - x**2
        by_weight = -2.0 * a * (a - self.first @ x - self.inner @ a)
        turned = np.sum(self.inner * inverse.T, axis=1) + np.sum(self.first * beside.T, axis=1)
        of_det = np.concatenate([corner, 2.0 * (np.diagonal(inverse) - turned)])
        both = np.concatenate([scales, weights])
        share = barrier / len(both)
        log_det = float(np.sum(np.log(scales)) + 2.0 * np.sum(np.log(np.diagonal(factor))))
        level = np.log(bound) * (1.0 + barrier) - share * log_det
        gradient = (1.0 + barrier) * np.concatenate([by_scale, by_weight]) / bound - share * of_det
        return float(level), gradient * both

    def _solved(self, scales: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """The Cholesky factor of Q, and B."""
        divided = self.first / scales
        part = weights[:, None] * self.inner
        matrix = -(part + part.T) - weights[:, None] * (divided @ self.first.T) * weights
        matrix[np.diag_indices(len(weights))] += 2.0 * weights
        if not np.isfinite(matrix).all():
            return None
        try:
            factor = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            return None
        return factor, self.outer + weights * (divided @ self.last)


def _descended(form: _ScaledForm, variables: np.ndarray, barrier: float) -> np.ndarray:
    """Logarithms of scales and multipliers where a stage ends."""
    from scipy import optimize

    n, routines, best = len(form.last), optimize, [np.inf, variables]

    def judged(point: np.ndarray) -> tuple[float, np.ndarray]:
        values = np.exp(np.clip(point, -200.0, 200.0))
        found = form.barred(values[:n], values[n:], barrier)
        if found is None:
            # Beyond the barrier: a wall from which line searches turn back.
            return 1e10, np.zeros_like(point)
        if found[0] < best[0]:
            best[:] = [found[0], point.copy()]
        return found

    minimise: Callable[..., Any] = routines.minimize
    for _ in range(_DESCENTS):
        before, options = best[0], {"maxiter": _STEPS, "maxcor": 20}
        minimise(judged, best[1], jac=True, method="L-BFGS-B", options=options)
        if before - best[0] < _SETTLED:
            break
    return best[1]


def _solve(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    from scipy.linalg import cho_solve

    return cho_solve((factor, True), right, check_finite=False)


def _length(part: np.ndarray) -> float:
    return float(np.linalg.norm(part)) * (1.0 + gamma(part.size + 4))
