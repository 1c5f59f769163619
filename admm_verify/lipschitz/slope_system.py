"""A part of a network as one system of slopes: what changes in it, in differences of two inputs.

All activations become ones of slopes in [0, 1]: phi(p) = least p + (most - least) psi(p). With z = (x, a) of the
input's differences x and those a of all psi in order, the arguments of psi differ by N z and the output by Y z, where N
is strictly lower triangular in blocks, and a_i (N_i z - a_i) >= 0 for every neuron i.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.lipschitz.jacobians import Slopes, global_slopes
from admm_verify.network.gain import gain_by_sums
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.run import paced

MOST_NEURONS = 2600
"""Of a system: beyond, a step takes a minute."""

_MOST_ENTRIES = 2**25
"""Of the matrix that says how a node's entries differ."""


@dataclass(frozen=True, eq=False)
class SlopeSystem:
    """The matrices N and Y, and what they may be off by.

    Shapes: inner = N [m, n + m]; outer = Y [p, n + m]; stops: where the blocks of neurons end, layer by layer.
    inner_error, outer_error: bounds of |N - exact N|_2 and |Y - exact Y|_2.
    """

    inputs: int
    inner: np.ndarray
    outer: np.ndarray
    stops: tuple[int, ...]
    inner_error: float
    outer_error: float

    @property
    def neurons(self) -> int:
        return len(self.inner)

    @property
    def layers(self) -> Iterator[slice]:
        """The neurons of each layer."""
        return (slice(start, end) for start, end in zip((0, *self.stops[:-1]), self.stops, strict=True))

    @property
    def turned(self) -> "SlopeSystem":
        """The system of the transposed Jacobians: from the outputs to the inputs, the last neuron first."""
        both = np.concatenate([self.inner, self.outer])
        first, rest = both[:, : self.inputs], both[:, self.inputs :]
        size = self.neurons
        inner = np.concatenate([rest[size:].T, rest[:size].T[:, ::-1]], axis=1)[::-1]
        outer = np.concatenate([first[size:].T, first[:size].T[:, ::-1]], axis=1)
        stops = tuple(size - stop for stop in (0, *self.stops[:-1]))[::-1]
        return SlopeSystem(len(self.outer), inner, outer, stops, self.inner_error, self.outer_error)


@dataclass(frozen=True, eq=False)
class Multipliers:
    """A point (L, t), hopefully with Z(L, t) of `interior_point` positive definite: nothing is proved of it here."""

    constant: float
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class _Spread:
    """How a node's entries differ: by value z, up to |value - exact|_2 <= error."""

    value: np.ndarray
    error: float


def neurons_between(graph: Network, start: int, end: int) -> int:
    """How many neurons lie behind node `start`, up to node `end`."""
    return sum(node.size for node in graph.nodes[start + 1 : end + 1] if isinstance(node, Activation))


def slope_system(graph: Network, start: int, end: int) -> SlopeSystem | None:
    """The system of what lies between two nodes that all paths pass; None where slopes have no bound, or neurons are
    too many.
    """
    inputs, neurons = graph.nodes[start].size, neurons_between(graph, start, end)
    width = inputs + neurons
    widest = max(node.size for node in graph.nodes[start : end + 1])
    if neurons > MOST_NEURONS or widest * width > _MOST_ENTRIES:
        return None
    found: dict[int, _Spread] = {start: _Spread(np.eye(inputs, width), 0.0)}
    blocks: list[np.ndarray] = []
    stops: list[int] = []
    errors: list[float] = []
    for i in paced(range(start + 1, end + 1)):
        node = graph.nodes[i]
        if isinstance(node, Affine):
            # What lies before the start on no path is constant.
            if all(term.source in found or term.source < start for term in node.terms):
                found[i] = _affine(node, found, width)
            continue
        if not isinstance(node, Activation) or node.source not in found:
            continue
        slopes = global_slopes(node)
        if slopes is None:
            return None
        pre = found[node.source]
        blocks.append(pre.value)
        errors.append(pre.error)
        first = stops[-1] if stops else 0
        stops.append(first + node.size)
        found[i] = _activated(pre, slopes, inputs + first)
    if end not in found:
        return None
    inner = np.concatenate(blocks) if blocks else np.zeros((0, width))
    used = inputs + (stops[-1] if stops else 0)
    last = found[end]
    return SlopeSystem(inputs, inner[:, :used], last.value[:, :used], tuple(stops), _root(errors), last.error)


def _affine(node: Affine, found: dict[int, _Spread], width: int) -> _Spread:
    value, error = np.zeros((node.size, width)), 0.0
    for term in node.terms:
        source = found.get(term.source)
        if source is None:
            continue
        some = np.flatnonzero(source.value.any(axis=0))
        value[:, some] += to_numpy(term.map.apply(np.ascontiguousarray(source.value[:, some].T))).T
        size = gain_by_sums(term.map)
        length = float(np.linalg.norm(source.value)) * (1.0 + gamma(source.value.size + 4))
        roundings = 2 * term.map.roundings + source.value.shape[0] + len(node.terms) + 8
        error += size * (source.error + gamma(roundings) * length) * (1.0 + 1e-12)
    return _Spread(value, error * (1.0 + 1e-12))


def _activated(pre: _Spread, slopes: Slopes, first: int) -> _Spread:
    least, most = slopes
    value = least[:, None] * pre.value
    neurons = np.arange(len(least))
    value[neurons, first + neurons] += most - least
    steepest = float(np.max(np.abs(least), initial=0.0))
    spread = float(np.max(np.abs(least) + np.abs(most), initial=0.0))
    length = float(np.linalg.norm(pre.value)) * (1.0 + gamma(pre.value.size + 4))
    exact = not least.any()
    # most alone is exact; a difference and a product are rounded once each.
    error = steepest * (pre.error + gamma(4) * length) + (0.0 if exact else gamma(4) * spread)
    return _Spread(value, error * (1.0 + 1e-12))


def _root(errors: list[float]) -> float:
    return float(np.sqrt(np.sum(np.square(errors)))) * (1.0 + 1e-12)
