"""Exact minima of tiny ReLU networks over convex sets: every pattern of active neurons is one convex program."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog, minimize

from admm_verify import Network
from admm_verify.network.graph import Activation, Affine

Pair = tuple[np.ndarray, np.ndarray]
"""A matrix and a vector: an affine map, or rows with their limits."""

_OPTIONS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}

_CUTS = 8
"""Tangents to begin with, which tell what has no point and come near the minimum of the rest."""


@dataclass(frozen=True, eq=False)
class Described:
    """A convex set written out for a solver: x = lift w + shift with rows w <= limits, |w_i| <= wide and
    |round w + away| <= 1.

    Shapes: lift [n, m], shift [n]; rows [k, m], limits [k]; round [j, m], away [j], j = 0 for none.
    """

    lift: np.ndarray
    shift: np.ndarray
    rows: np.ndarray
    limits: np.ndarray
    round: np.ndarray
    away: np.ndarray
    wide: float = np.inf

    def minimum(self, cost: np.ndarray, more: Pair) -> tuple[float, np.ndarray] | None:
        """min cost'x over points of the set where more[0] x <= more[1], and a point there; None where there is none.

        Of parts that the set only touches, some 1e-4 of its size deep, the value may be a little too small.
        """
        rows = np.concatenate([self.rows, more[0] @ self.lift])
        limits = np.concatenate([self.limits, more[1] - more[0] @ self.shift])
        most, near = (-self.wide, self.wide), np.zeros(self.lift.shape[1])
        for _ in range(_CUTS):
            found = linprog(cost @ self.lift, rows, limits, bounds=most, method="highs", options=_OPTIONS)
            if found.status == 2:
                return None
            assert found.status == 0, found.message
            near, point = found.x, self.round @ found.x + self.away
            length = float(np.linalg.norm(point))
            if length <= 1.0 + 1e-9:
                break
            rows = np.concatenate([rows, (point / length @ self.round)[None]])
            limits = np.append(limits, 1.0 - point / length @ self.away)
        else:
            near = self._polished(cost @ self.lift, (rows, limits), near)
        return float(cost @ self.lift @ near + cost @ self.shift), self.lift @ near + self.shift

    def _polished(self, cost: np.ndarray, rows: Pair, near: np.ndarray) -> np.ndarray:
        """The minimum of a program from a point near it, which stays where the solver does not come to an end."""
        size = max(float(np.abs(cost).max()), 1e-300)
        flat = {"type": "ineq", "fun": lambda w: rows[1] - rows[0] @ w, "jac": lambda _: -rows[0]}
        ball = {
            "type": "ineq",
            "fun": lambda w: 1.0 - ((self.round @ w + self.away) ** 2).sum(),
            "jac": lambda w: -2.0 * (self.round @ w + self.away) @ self.round,
        }
        found = minimize(
            lambda w: cost @ w / size,
            near,
            jac=lambda _: cost / size,
            method="SLSQP",
            constraints=[flat, ball],
            options={"ftol": 1e-12, "maxiter": 100},
        )
        # Status 8 is where no step that rounding lets it take goes down.
        return found.x if found.status in (0, 8) else near


def least(network: Network, inputs: Described, objective: np.ndarray, offset: float) -> tuple[float, np.ndarray]:
    """The minimum of objective f + offset over a set, up to some 1e-8 of its size, and a point near it."""
    best, where = np.inf, inputs.shift
    for (matrix, constant), cell in _patterns(network, inputs):
        found = inputs.minimum(objective @ matrix, cell)
        if found is not None and found[0] + objective @ constant + offset < best:
            best, where = found[0] + float(objective @ constant) + offset, found[1]
    return best, where


def _patterns(network: Network, inputs: Described) -> Iterator[tuple[Pair, Pair]]:
    """The output as an affine map of the input, and the rows that say where, for every pattern that occurs."""
    size = network.input_size
    begin = [(np.eye(size), np.zeros(size))]
    yield from _grown(network, inputs, begin, (np.zeros((0, size)), np.zeros(0)))


def _grown(network: Network, inputs: Described, known: list[Pair], cell: Pair) -> Iterator[tuple[Pair, Pair]]:
    if len(known) == len(network.nodes):
        yield known[-1], cell
        return
    node = network.nodes[len(known)]
    if isinstance(node, Affine):
        matrix, constant = np.zeros((node.size, network.input_size)), np.asarray(node.bias, dtype=np.float64)
        for term in node.terms:
            weight = np.asarray(term.map.dense().weight)
            matrix, constant = matrix + weight @ known[term.source][0], constant + weight @ known[term.source][1]
        yield from _grown(network, inputs, [*known, (matrix, constant)], cell)
        return
    assert isinstance(node, Activation) and node.kind == "relu"
    yield from _signed(network, inputs, known, cell, known[node.source], np.zeros(0))


def _signed(
    network: Network, inputs: Described, known: list[Pair], cell: Pair, pre: Pair, active: np.ndarray
) -> Iterator[tuple[Pair, Pair]]:
    """All signs of a layer's neurons, one after the other, that some input has."""
    done = len(active)
    if done == len(pre[1]):
        yield from _grown(network, inputs, [*known, (pre[0] * active[:, None], pre[1] * active)], cell)
        return
    for sign in (0.0, 1.0):
        turn = 1.0 - 2.0 * sign
        rows = np.concatenate([cell[0], turn * pre[0][done : done + 1]])
        part = rows, np.append(cell[1], -turn * pre[1][done])
        if inputs.minimum(np.zeros(network.input_size), part) is not None:
            yield from _signed(network, inputs, known, part, pre, np.append(active, sign))
