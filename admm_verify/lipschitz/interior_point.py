"""The best multipliers of a slope system: a semidefinite program, by a primal-dual interior point method.

For t >= 0 and L the quadratic form

    L |x|^2 + L |y|^2 - 2 y'Y z + 2 sum_i t_i a_i (a_i - N_i z),        z = (x, a),

is that of a matrix Z(L, t). Where Z is positive semidefinite, y = Y z / L and a_i (a_i - N_i z) <= 0 leave
|Y z| <= L |x|: L is a Lipschitz constant. The least L is LipSDP's (Fazlyab et al. 2019), which for chains equals its
form with squares. Z depends on t by matrices of rank two, A_i = e_i v_i' + v_i e_i' with v_i = e_i - N_i', so that the
normal equations are products of entries of few products of matrices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from admm_verify.lipschitz.slope_system import Multipliers, SlopeSystem

_INWARD = 0.95
"""Of the way to where a matrix stops being positive definite."""

_LANCZOS = 25
"""Steps that estimate how long that way is."""

_SHRINK = 0.8
"""From trial to trial of how long that way is."""


@dataclass(frozen=True, eq=False)
class _SlopeProgram:
    """The matrices of a system with as few inputs as neurons read, in the order (x, a, y).

    blocks: of N that are not zero, (rows, columns in z, matrix).
    """

    inputs: int
    neurons: int
    outputs: int
    blocks: tuple[tuple[slice, slice, np.ndarray], ...]
    outer: np.ndarray

    @property
    def size(self) -> int:
        return self.inputs + self.neurons + self.outputs

    @property
    def own(self) -> slice:
        """The neurons in z."""
        return slice(self.inputs, self.inputs + self.neurons)

    @property
    def last(self) -> slice:
        """The outputs behind z."""
        return slice(self.inputs + self.neurons, self.size)

    @property
    def edges(self) -> np.ndarray:
        """The places of x and y."""
        return np.r_[: self.inputs, self.inputs + self.neurons : self.size]

    def matrix(self, constant: float, weights: np.ndarray) -> np.ndarray:
        """Z(L, t)."""
        found = self.change(constant, weights)
        found[self.last, : self.outer.shape[1]] -= self.outer
        found[: self.outer.shape[1], self.last] -= self.outer.T
        return found

    def change(self, constant: float, weights: np.ndarray) -> np.ndarray:
        """The part of Z that is linear in L and t."""
        found = np.zeros((self.size, self.size))
        for rows, columns, part in self.blocks:
            scaled = weights[rows, None] * part
            found[self._at(rows), columns] -= scaled
            found[columns, self._at(rows)] -= scaled.T
        found[self.own, self.own][np.diag_indices(self.neurons)] += 2.0 * weights
        found[self.edges, self.edges] += constant
        return found

    def after(self, left: np.ndarray, constant: float, weights: np.ndarray) -> np.ndarray:
        """A matrix times the part of Z that is linear in L and t."""
        found = np.zeros_like(left)
        for rows, columns, part in self.blocks:
            scaled = weights[rows, None] * part
            found[:, columns] -= left[:, self._at(rows)] @ scaled
            found[:, self._at(rows)] -= left[:, columns] @ scaled.T
        found[:, self.own] += 2.0 * weights * left[:, self.own]
        found[:, self.edges] += constant * left[:, self.edges]
        return found

    def traces(self, matrix: np.ndarray) -> np.ndarray:
        """tr(A_i S) of all multipliers, and that of L last, for a symmetric S."""
        neurons = 2.0 * np.diagonal(self.turned(matrix)[:, self.own])
        return np.append(neurons, np.sum(np.diagonal(matrix)[self.edges]))

    def turned(self, matrix: np.ndarray) -> np.ndarray:
        """V S for a symmetric S [size, n], with the rows v_i' of V."""
        found = matrix[self.own].copy()
        for rows, columns, part in self.blocks:
            found[rows] -= part @ matrix[columns]
        return found

    def _at(self, rows: slice) -> slice:
        return slice(self.inputs + rows.start, self.inputs + rows.stop)


@dataclass(frozen=True, eq=False)
class _Forms:
    """Entries e_i'S e_j, v_i'S e_j and v_i'S v_j of a symmetric S, and v_i'S at x and y."""

    own: np.ndarray
    mixed: np.ndarray
    turned: np.ndarray
    at_edges: np.ndarray
    between: np.ndarray
    edges: np.ndarray

    @classmethod
    def of(cls, program: _SlopeProgram, matrix: np.ndarray) -> "_Forms":
        left = program.turned(matrix)
        own, edges = program.own, program.edges
        turned = program.turned(np.ascontiguousarray(left.T))
        return cls(
            matrix[own, own], left[:, own], turned, left[:, edges], matrix[own][:, edges], matrix[edges][:, edges]
        )


def best_multipliers(system: SlopeSystem, start: Multipliers, tolerance: float) -> Iterator[Multipliers]:
    """Points with smaller and smaller L, all with a Z that is positive definite as far as floats tell.

    start: with such a Z. It ends once L is within the tolerance, relatively, of the least one.
    Method: the direction of Helmberg, Kojima and Monteiro, from an X that is mu Z^-1.
    """
    program = _program(system)
    constant, weights = start.constant, start.weights
    z = program.matrix(constant, weights)
    factor = _factor(z)
    if factor is None:
        return
    inverse = _inverse(factor)
    x = inverse / float(np.trace(inverse[np.ix_(program.edges, program.edges)]))
    while True:
        root, gap = _factor(x), float(np.sum(x * z))
        # Where rounding alone is left of the gap there is nothing to gain.
        if root is None or not gap > 0.0:
            return
        found = _step(program, (constant, weights), (x, inverse), (root, factor), gap)
        if found is None:
            return
        dx, step = found
        along_x = _way(x, dx, root)
        dz = program.change(float(step[-1]), step[:-1])
        along_z = _way(z, dz, factor)
        if max(along_x, along_z) < 1e-6:
            return
        x = x + along_x * dx
        constant, weights = constant + along_z * float(step[-1]), weights + along_z * step[:-1]
        z = program.matrix(constant, weights)
        factor = _factor(z)
        if factor is None:
            return
        inverse = _inverse(factor)
        yield Multipliers(constant, weights)
        if along_x > 0.9 and float(np.sum(x * z)) <= tolerance * constant:
            return


def _step(
    program: _SlopeProgram,
    point: tuple[float, np.ndarray],
    matrices: tuple[np.ndarray, np.ndarray],
    factors: tuple[np.ndarray, np.ndarray],
    gap: float,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Changes of X and of (t, L) by a predictor towards gap 0 and its corrector; None where numbers fail."""
    from scipy import linalg

    (x, inverse), scale = matrices, np.append(point[1], point[0])
    normal = _normal(_Forms.of(program, inverse), _Forms.of(program, x)) * scale[:, None] * scale
    normal[np.diag_indices(len(scale))] *= 1.0 + 1e-13
    try:
        solver = linalg.cho_factor(normal, lower=True, overwrite_a=True, check_finite=False)
    except linalg.LinAlgError:
        return None

    def solved(right: np.ndarray) -> np.ndarray:
        return scale * linalg.cho_solve(solver, right * scale, check_finite=False)

    wanted = np.append(np.zeros(program.neurons), 1.0)
    first = solved(-wanted)
    dx = -x - _mean(program.after(x, float(first[-1]), first[:-1]) @ inverse)
    dz = program.change(float(first[-1]), first[:-1])
    root, factor = factors
    z = program.matrix(*point)
    along = _reach(dx, root), _reach(dz, factor)
    left = float(np.sum((x + along[0] * dx) * (z + along[1] * dz))) / gap
    target = min(1.0, max(left, 0.0) ** (2 if min(along) < 0.3 else 3)) * gap / program.size
    bent = _mean(program.after(dx, float(first[-1]), first[:-1]) @ inverse)
    step = solved(target * program.traces(inverse) - wanted - program.traces(bent))
    moved = _mean(program.after(x, float(step[-1]), step[:-1]) @ inverse)
    return target * inverse - x - moved - bent, step


def _mean(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.T)


def _program(system: SlopeSystem) -> _SlopeProgram:
    """The program of a system; where neurons and outputs read fewer directions than there are inputs, of these."""
    inputs = system.inputs
    read = np.concatenate([system.inner[:, :inputs], system.outer[:, :inputs]])
    rows = np.flatnonzero(read.any(axis=1))
    if len(rows) < inputs:
        small = np.zeros((len(read), len(rows)))
        triangle: np.ndarray = np.asarray(np.linalg.qr(read[rows].T, mode="r"))
        small[rows] = triangle.T
        read, inputs = small, len(rows)
    layers = list(system.layers)
    blocks = []
    for k, layer in enumerate(layers):
        blocks.append((layer, slice(0, inputs), read[layer]))
        for before in layers[:k]:
            columns = slice(inputs + before.start, inputs + before.stop)
            part = system.inner[layer, system.inputs + before.start : system.inputs + before.stop]
            blocks.append((layer, columns, part))
    kept = tuple((rows, columns, np.ascontiguousarray(part)) for rows, columns, part in blocks if part.any())
    outer = np.concatenate([read[system.neurons :], system.outer[:, system.inputs :]], axis=1)
    return _SlopeProgram(inputs, system.neurons, len(outer), kept, outer)


def _normal(q: _Forms, p: _Forms) -> np.ndarray:
    """tr(A_i X A_j Z^-1) for all multipliers, and L last."""
    m = len(q.own)
    found = np.empty((m + 1, m + 1))
    found[:m, :m] = p.own * q.turned + p.turned * q.own + p.mixed.T * q.mixed + p.mixed * q.mixed.T
    # tr(E X A_i Q) = e_i'Q E X v_i + v_i'Q E X e_i, with E the identity at x and y.
    found[:m, m] = np.sum(q.between * p.at_edges + q.at_edges * p.between, axis=1)
    found[m, :m] = found[:m, m]
    found[m, m] = np.sum(p.edges * q.edges)
    return found


def _factor(matrix: np.ndarray) -> np.ndarray | None:
    """The Cholesky factor, None where the matrix is not positive definite."""
    from scipy.linalg import lapack

    routines: Any = lapack
    factor, info = routines.dpotrf(matrix, lower=1, clean=1)
    return None if info else factor


def _inverse(factor: np.ndarray) -> np.ndarray:
    from scipy.linalg import lapack

    routines: Any = lapack
    lower = np.tril(routines.dpotri(factor, lower=1)[0])
    return lower + np.tril(lower, -1).T


def _reach(change: np.ndarray, factor: np.ndarray) -> float:
    """How far to go, at most 1, until S = C C' is singular: nearly 1 / max eigenvalue of -C^-1 dS C^-T."""
    from scipy.linalg import solve_triangular

    x = np.random.default_rng(0).standard_normal(len(factor))
    basis, diagonal, beside = [x / np.linalg.norm(x)], [], []
    for _ in range(min(_LANCZOS, len(factor))):
        image = change @ solve_triangular(factor, basis[-1], lower=True, trans=1, check_finite=False)
        y = -solve_triangular(factor, image, lower=True, check_finite=False)
        diagonal.append(float(basis[-1] @ y))
        y = y - np.array(basis).T @ (np.array(basis) @ y)
        length = float(np.linalg.norm(y))
        if length < 1e-12:
            break
        beside.append(length)
        basis.append(y / length)
    size = len(diagonal)
    small = np.diag(diagonal) + np.diag(beside[: size - 1], 1) + np.diag(beside[: size - 1], -1)
    values, vectors = np.linalg.eigh(small)
    spare = abs(vectors[-1, -1]) * (beside[size - 1] if len(beside) >= size else 0.0)
    largest = float(values[-1]) + spare
    return 1.0 if largest <= 1.0 else 1.0 / largest


def _way(matrix: np.ndarray, change: np.ndarray, factor: np.ndarray) -> float:
    """How far to go: at most 1, and short of where it would not be positive definite."""
    reach = _reach(change, factor)
    way = 1.0 if reach == 1.0 else _INWARD * reach
    while way > 1e-7:
        if _factor(matrix + way * change) is not None:
            return way
        way *= _SHRINK
    return 0.0
