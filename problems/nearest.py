"""Nearest points in two dimensions with their solutions: a system's reachable set, and a small classifier.

Networks are piecewise affine, so that a nearest point is the best one of as many convex quadratic programs as there are
activation patterns in the set of inputs; programs of two variables are solved by the stationary points of all faces.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from admm_verify import Network
from admm_verify.network.builder import Builder
from admm_verify.network.layers import network_from_layers
from admm_verify.network.splice import splice
from admm_verify.reach.discrete.rollout import rollout
from admm_verify.reach.systems import ContinuousSystem, DiscreteSystem

_ROOM = 1e-9

POINTS = 100_000
"""Random inputs, of which the activation patterns are collected."""


def box_rows(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A box as rows G x <= h."""
    eye = np.eye(len(lower))
    return np.concatenate([eye, -eye]), np.concatenate([upper, -lower])


def least_norm(a: np.ndarray, b: np.ndarray, g: np.ndarray, h: np.ndarray) -> tuple[float, np.ndarray | None]:
    """min |a x + b| over g x <= h and a minimiser, by the stationary points of all faces; infinite where it is empty.

    In floating point numbers: constraints may be off by a rounding.
    """
    n, best, where = a.shape[1], np.inf, None
    # Zero rows say yes or no; others have unit length, so that one room fits all.
    lengths = np.linalg.norm(g, axis=1)
    if (h[lengths == 0] < 0).any():
        return best, where
    g, h = (part[lengths > 0] for part in (g / np.maximum(lengths, 1e-300)[:, None], h / np.maximum(lengths, 1e-300)))
    size = max(float(np.abs(a).max(initial=0.0)), 1e-300)
    for active in range(n + 1):
        chosen = list(combinations(range(len(g)), active))
        index = np.array(chosen, dtype=int).reshape(len(chosen), active)
        if not chosen:
            break
        if active == n:
            corner = g[index]
            some = np.abs(np.linalg.det(corner)) > 1e-12
            x = np.linalg.solve(corner[some], h[index][some][..., None])[..., 0]
        else:
            x = _stationary(a / size, b / size, g[index], h[index])
        if not len(x):
            continue
        norms = np.linalg.norm(x @ a.T + b, axis=1)
        norms = np.where((x @ g.T <= h + _ROOM * (1.0 + np.abs(h))).all(axis=1), norms, np.inf)
        least = int(norms.argmin())
        if norms[least] < best:
            best, where = float(norms[least]), x[least]
    return best, where


def _stationary(a: np.ndarray, b: np.ndarray, g: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The points where |a x + b| is least among those with g x = h, [faces, n]; g [faces, rows, n], h [faces, rows]."""
    (faces, rows, n), square = g.shape, a.T @ a
    system = np.zeros((faces, n + rows, n + rows))
    system[:, :n, :n] = square
    system[:, n:, :n] = g
    system[:, :n, n:] = np.swapaxes(g, 1, 2)
    right = np.concatenate([np.broadcast_to(-a.T @ b, (faces, n)), h], axis=1)
    return (np.linalg.pinv(system, rcond=1e-12, hermitian=True) @ right[..., None])[:, :n, 0]


@dataclass(frozen=True, eq=False)
class AffinePiece:
    """f(x) = matrix x + shift where normals x <= limits."""

    matrix: np.ndarray
    shift: np.ndarray
    normals: np.ndarray
    limits: np.ndarray


def affine_pieces(network: Network, lower: np.ndarray, upper: np.ndarray) -> Iterator[AffinePiece]:
    """The pieces of a network of ReLU and clips in which random points of a box lie, which miss only tiny ones."""
    x = np.random.default_rng(0).uniform(lower, upper, (POINTS, len(lower)))
    values = network.evaluate(x)
    columns = []
    for node in network.functions:
        pre = values[node.source]
        low, high = _kinks(node.kind, node.parameters, node.size)
        columns.append((pre > low).astype(np.int8) + (pre > high).astype(np.int8))
    patterns = np.unique(np.concatenate(columns, axis=1), axis=0)
    for pattern in patterns:
        yield _piece(network, pattern)


def _kinks(kind: str, parameters: tuple, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a function begins to rise, and where it ends."""
    if kind == "relu":
        return np.zeros(size), np.full(size, np.inf)
    if kind == "clip":
        low, high = (np.asarray(part) for part in parameters)
        return low, high
    raise ValueError(f"No pieces are known of {kind}")


def _piece(network: Network, pattern: np.ndarray) -> AffinePiece:
    """The piece of one pattern: 0 below the first kink, 1 between both, 2 above the last."""
    parts = [(np.eye(network.input_size), np.zeros(network.input_size))]
    normals, limits, left = [], [], pattern
    for _, affine, k in network.steps:
        if affine is not None:
            matrix, shift = np.zeros((affine.size, network.input_size)), np.asarray(affine.bias)
            for term in affine.terms:
                weight, (a, b) = np.asarray(term.map.dense().weight), parts[term.source]
                matrix, shift = matrix + weight @ a, shift + weight @ b
            parts.append((matrix, shift))
            continue
        node = network.functions[k]
        own, left = left[: node.size], left[node.size :]
        matrix, shift = parts[node.source]
        low, high = _kinks(node.kind, node.parameters, node.size)
        sides = ((1.0, low, own == 0), (-1.0, low, own > 0), (1.0, high, own < 2), (-1.0, high, own == 2))
        for sign, kink, there in sides:
            finite = there & np.isfinite(kink)
            normals.append(sign * matrix[finite])
            limits.append(sign * (kink - shift)[finite])
        middle, base = (own == 1).astype(float), np.where(own == 0, low, np.where(own == 2, high, 0.0))
        parts.append((middle[:, None] * matrix, middle * shift + base))
    matrix, shift = parts[-1]
    return AffinePiece(matrix, shift, np.concatenate(normals), np.concatenate(limits))


def least_distance(network: Network, box: tuple[np.ndarray, np.ndarray], rows: np.ndarray, goal: np.ndarray) -> float:
    """min |rows f(x) - goal| over x in a box: the distance of outputs from a point, with the identity as rows, or, with
    a normal of length one, from a half-plane that they do not meet.
    """
    g, h = box_rows(*box)
    return min(
        least_norm(
            rows @ piece.matrix,
            rows @ piece.shift - goal,
            np.concatenate([g, piece.normals]),
            np.concatenate([h, piece.limits]),
        )[0]
        for piece in affine_pieces(network, *box)
    )


def least_change(network: Network, box: tuple[np.ndarray, np.ndarray], point: np.ndarray) -> float:
    """min |x - point| over the x of a box where another class has a score at least as large as the one at the point."""
    own, best = int(network(point).argmax()), np.inf
    g, h = box_rows(*box)
    for piece in affine_pieces(network, *box):
        for other in set(range(len(piece.shift))) - {own}:
            row, shift = piece.matrix[own] - piece.matrix[other], piece.shift[own] - piece.shift[other]
            normals = np.concatenate([g, piece.normals, row[None]])
            found, _ = least_norm(np.eye(2), -point, normals, np.concatenate([h, piece.limits, [-shift]]))
            best = min(best, found)
    return best


def state_after(system: DiscreteSystem | ContinuousSystem, steps: int) -> Network:
    """The state of a system without noise after some steps, of its first state."""
    assert not isinstance(system, ContinuousSystem), "Steps are those of discrete time"
    whole = rollout(system, steps)
    builder = Builder((whole.states,), "float64")
    states = splice(builder, whole.network, builder.input)
    last = np.arange((steps - 1) * whole.states, steps * whole.states)
    return builder.finish(builder.select(states, last), f"state after {steps} steps")


def spiral_classifier() -> Network:
    """A 2-16-16-3 ReLU network that tells three arms of a spiral apart, trained by gradient descent with momentum."""
    rng = np.random.default_rng(0)
    turn, arm = rng.uniform(0.1, 1.0, 900), np.arange(900) % 3
    angle = 2.0 * np.pi * arm / 3 + 3.0 * turn
    x = turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.03 * rng.standard_normal((900, 2))
    sizes = [2, 16, 16, 3]
    weights = [rng.standard_normal((b, a)) * np.sqrt(2.0 / a) for a, b in pairwise(sizes)]
    biases = [np.zeros(b) for b in sizes[1:]]
    moves = [np.zeros_like(part) for part in (*weights, *biases)]
    for _ in range(3000):
        first = np.maximum(x @ weights[0].T + biases[0], 0.0)
        second = np.maximum(first @ weights[1].T + biases[1], 0.0)
        scores = second @ weights[2].T + biases[2]
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        back = likely / likely.sum(axis=1, keepdims=True)
        back[np.arange(900), arm] -= 1.0
        slopes = []
        for weight, before in ((weights[2], second), (weights[1], first), (weights[0], x)):
            slopes.append((back.T @ before / 900, back.mean(axis=0)))
            back = (back @ weight) * (before > 0)
        slopes.reverse()
        down = [weight for weight, _ in slopes] + [bias for _, bias in slopes]
        for k, slope in enumerate(down):
            moves[k] = 0.9 * moves[k] - 0.1 * slope
        for k in range(3):
            weights[k], biases[k] = weights[k] + moves[k], biases[k] + moves[3 + k]
    return network_from_layers(weights, biases)
