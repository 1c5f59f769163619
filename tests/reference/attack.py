"""Values that a network attains, found by samples and gradients on plain matrices, with bounds on their own errors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from admm_verify import Box, Network
from admm_verify.network.graph import Activation, Affine

Numbers = np.ndarray

EXTENDED = np.longdouble
"""At least 64 bits of mantissa where the platform has them; `errors` asks the type itself."""


def _sigmoid(x: Numbers) -> Numbers:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


FUNCTIONS: dict[str, Callable[..., Numbers]] = {
    "relu": lambda x: np.maximum(x, 0),
    "prelu": lambda x, slope: np.where(x >= 0, x, slope * x),
    "clip": np.clip,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "elu": lambda x, alpha: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0))),
}
"""phi(x, *parameters), written down again here."""


def derivative(node: Activation, x: Numbers) -> Numbers:
    """phi', up to the error of finite differences, which only makes an attack weaker."""
    step = 1e-6 * np.maximum(1.0, np.abs(x))
    phi = FUNCTIONS[node.kind]
    return (phi(x + step, *node.parameters) - phi(x - step, *node.parameters)) / (2 * step)


@dataclass(frozen=True, eq=False)
class Plain:
    """A network as one matrix per term, in the type of its matrices."""

    network: Network
    matrices: tuple[tuple[Numbers, ...], ...]

    @classmethod
    def of(cls, network: Network, dtype: type = np.float64) -> "Plain":
        """Valid for the graph as it was built: a merged map's weights are rounded already."""
        parts = [node.terms if isinstance(node, Affine) else () for node in network.nodes]
        return cls(network, tuple(tuple(term.map.dense().weight.astype(dtype) for term in terms) for terms in parts))

    def values(self, x: Numbers) -> tuple[list[Numbers], list[Numbers]]:
        """The values of all nodes at inputs x [points, n] and bounds on their rounding errors.

        Functions are taken to be accurate to 8 roundings of their values and Lipschitz with constant 1.
        """
        eps = float(np.finfo(x.dtype).eps)
        values, errors = [x], [np.zeros_like(x)]
        for node, matrices in zip(self.network.nodes[1:], self.matrices[1:], strict=True):
            if isinstance(node, Activation):
                parameters = [p.astype(x.dtype) for p in node.parameters]
                values.append(FUNCTIONS[node.kind](values[node.source], *parameters))
                exact = node.kind in ("relu", "clip")
                errors.append(errors[node.source] * (1 + eps) + (0 if exact else 8 * eps * np.abs(values[-1])))
                continue
            assert isinstance(node, Affine)
            total = np.broadcast_to(node.bias.astype(x.dtype), (len(x), node.size))
            error, size = np.zeros_like(total), np.abs(total)
            for term, matrix in zip(node.terms, matrices, strict=True):
                source, width = values[term.source], np.abs(matrix).T
                total = total + source @ matrix.T
                size = size + np.abs(source) @ width
                error = error + errors[term.source] @ width
            longest = max([matrix.shape[1] for matrix in matrices], default=0) + len(matrices) + 2
            values.append(total)
            errors.append((error + longest * eps * size) * (1 + 1e-6))
        return values, errors

    def gradient(self, values: list[Numbers], start: dict[int, Numbers]) -> Numbers:
        """The gradient in the input of sum over i of start[i]'x_i, [points, n]; start[i] [points, n_i]."""
        weights: list[Numbers] = [start.get(i, np.zeros_like(value)) for i, value in enumerate(values)]
        for i in range(len(values) - 1, 0, -1):
            node = self.network.nodes[i]
            if isinstance(node, Activation):
                weights[node.source] = weights[node.source] + weights[i] * derivative(node, values[node.source])
            elif isinstance(node, Affine):
                for term, matrix in zip(node.terms, self.matrices[i], strict=True):
                    weights[term.source] = weights[term.source] + weights[i] @ matrix
        return weights[0]


def box_points(box: Box, count: int, seed: int) -> Numbers:
    """Points of the box: inner ones, vertices, points on faces, and the centre."""
    rng = np.random.default_rng([seed, 1])
    share = rng.random((count, len(box.lower)))
    mixed = rng.random((count, 1)) < rng.random(share.shape)
    share = np.where(mixed, share, np.rint(rng.random(share.shape)))
    share[0], share[1], share[2] = 0.0, 1.0, 0.5
    return np.clip(box.lower + share * (box.upper - box.lower), box.lower, box.upper)


def descend(plain: Plain, box: Box, x: Numbers, start: dict[int, Numbers], steps: int = 20) -> Numbers:
    """Projected sign descent of sum of start[i]'x_i from every point, with steps from half the box on; also jumps to
    the vertex that the last gradient names.
    """
    radius = box.upper - box.lower
    for k in range(steps):
        with np.errstate(over="ignore", invalid="ignore"):
            slope = plain.gradient(plain.values(x)[0], start)
        x = np.clip(x - 0.5 * 0.8**k * radius * np.sign(slope), box.lower, box.upper)
    return x


def hunt(plain: Plain, box: Box, count: int, seed: int, objective: Numbers) -> Numbers:
    """Points that come near the extremes of neurons and objective rows: samples, then descent from the best ones.

    At most one point per end of each pre-activation and two per objective row are descended from.
    """
    points = box_points(box, count, seed)
    values = plain.values(points)[0]
    starts, weights = [], {i: [] for i in (*_sources(plain.network), plain.network.output)}
    for i in list(weights):
        rows = objective if i == plain.network.output else np.eye(values[i].shape[1])
        rows = np.concatenate([rows, -rows])
        reached = values[i] @ rows.T
        for row, least in zip(rows, reached.argmin(axis=0), strict=True):
            starts.append(points[least])
            for other, known in weights.items():
                known.append(row if other == i else np.zeros(values[other].shape[1]))
    found = descend(plain, box, np.array(starts), {i: np.array(rows) for i, rows in weights.items()})
    return np.concatenate([found, np.array(starts)])


def _sources(network: Network) -> list[int]:
    return sorted(set(network.sources))
