"""A part of a network as one system of slopes: what changes in it, in differences of two inputs.

All activations become ones of slopes in [0, 1]: phi(p) = least p + (most - least) psi(p). With z = (x, a) of the
input's differences x and those a of all psi in order, the arguments of psi differ by N z and the output by Y z, where N
is strictly lower triangular in blocks, and a_i (N_i z - a_i) >= 0 for every neuron i.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.lipschitz.jacobians import Slopes, global_slopes
from admm_verify.network.gain import gain_by_sums
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.network.maps import DenseMap, LinearMap
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
        return (slice(start, end) for start, end in zip((0, *self.stops), self.stops, strict=False))

    @property
    def turned(self) -> "SlopeSystem":
        """The system of the transposed Jacobians: from the outputs to the inputs, the last neuron first."""
        both = np.concatenate([self.inner, self.outer])
        first, rest = both[:, : self.inputs], both[:, self.inputs :]
        size = self.neurons
        inner = np.concatenate([rest[size:].T, rest[:size].T[:, ::-1]], axis=1)[::-1]
        outer = np.concatenate([first[size:].T, first[:size].T[:, ::-1]], axis=1)
        stops = tuple(size - stop for stop in (0, *self.stops[:-1]))[::-1] if size else ()
        return SlopeSystem(len(self.outer), inner, outer, stops, self.inner_error, self.outer_error)


@dataclass(frozen=True, eq=False)
class Multipliers:
    """A point (L, t), hopefully with Z(L, t) of `interior_point` positive definite: nothing is proved of it here."""

    constant: float
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class _Spread:
    """How a node's entries differ: by value z, up to |value - exact|_2 <= error; by z itself where it is the unit."""

    value: np.ndarray
    error: float
    is_unit: bool = False


def neurons_between(graph: Network, start: int, end: int, slopes: Sequence[Slopes] | None = None) -> int:
    """How many neurons lie behind node `start`, up to node `end`; of those with slopes of their own the ones with more
    than one.
    """
    places = {i: k for k, i in enumerate(graph.activations) if start < i <= end}
    if slopes is None:
        return sum(graph.nodes[i].size for i in places)
    return sum(int(np.sum(slopes[k][0] < slopes[k][1])) for k in places.values())


def slope_system(graph: Network, start: int, end: int, slopes: Sequence[Slopes] | None = None) -> SlopeSystem | None:
    """The system of what lies between two nodes that all paths pass; None where slopes have no bound, or neurons are
    too many.

    slopes: of every activation, where they are known to lie between others than those over all arguments.
    """
    inputs, neurons = graph.nodes[start].size, neurons_between(graph, start, end, slopes)
    places = {i: k for k, i in enumerate(graph.activations)}
    width = inputs + neurons
    widest = max(node.size for node in graph.nodes[start : end + 1])
    if neurons > MOST_NEURONS or widest * width > _MOST_ENTRIES:
        return None
    found: dict[int, _Spread] = {start: _Spread(np.eye(inputs, width), 0.0, True)}
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
        own = global_slopes(node) if slopes is None else _of_one_operand(node, slopes[places[i]])
        if own is None:
            return None
        pre, first, open = found[node.source], stops[-1] if stops else 0, own[0] < own[1]
        if open.any():
            blocks.append(pre.value[open])
            errors.append(pre.error)
            stops.append(first + int(np.sum(open)))
        found[i] = _activated(pre, own, inputs + first)
    if end not in found:
        return None
    inner = np.concatenate(blocks) if blocks else np.zeros((0, width))
    used = inputs + (stops[-1] if stops else 0)
    last = found[end]
    return SlopeSystem(inputs, inner[:, :used], last.value[:, :used], tuple(stops), _root(errors), last.error)


def _of_one_operand(node: Activation, slopes: Slopes) -> Slopes | None:
    """Slopes of an activation, None where some have no bound, or it takes several numbers."""
    known = node.operands == 1 and all(np.isfinite(side).all() for side in slopes)
    return slopes if known else None


def _affine(node: Affine, found: dict[int, _Spread], width: int) -> _Spread:
    value, error = np.zeros((node.size, width)), 0.0
    for term in node.terms:
        source = found.get(term.source)
        if source is None:
            continue
        some = np.flatnonzero(source.value.any(axis=0))
        columns = np.ascontiguousarray(source.value[:, some].T)
        value[:, some] += to_numpy(term.map.apply(columns)).T
        # Sums of one product by 1 and zeros are exact.
        if not (
            source.is_unit and isinstance(term.map, DenseMap) and term.map.magnitude is None and len(node.terms) == 1
        ):
            size = to_numpy(term.map.magnitude_apply(np.abs(columns)))
            length = float(np.linalg.norm(size)) * (1.0 + gamma(size.size + term.map.roundings + 4))
            error += gamma(2 * term.map.roundings + columns.shape[1] + len(node.terms) + 8) * length
        if source.error > 0.0:
            error += _gain_soon(term.map) * source.error
        error *= 1.0 + 1e-12
    return _Spread(value, error * (1.0 + 1e-12))


def _gain_soon(part: LinearMap) -> float:
    """An upper bound of |W|_2 for errors: by sums, or of matrices |W W'|_F^(1/2), which is often less."""
    by_sums = gain_by_sums(part)
    if not isinstance(part, DenseMap) or part.rows * part.columns > _MOST_ENTRIES or part.magnitude is not None:
        return by_sums
    weight = to_numpy(part.weight).astype(np.float64)
    gram = weight @ weight.T if len(weight) <= weight.shape[1] else weight.T @ weight
    spare = gamma(max(weight.shape) + 4) * float(np.sum(weight**2))
    return min(by_sums, float(np.sqrt(np.linalg.norm(gram) + spare)) * (1.0 + 1e-9))


def _activated(pre: _Spread, slopes: Slopes, first: int) -> _Spread:
    least, most = slopes
    value = least[:, None] * pre.value
    neurons = np.flatnonzero(least < most)
    value[neurons, first + np.arange(len(neurons))] += (most - least)[neurons]
    steepest = float(np.max(np.abs(least), initial=0.0))
    spread = float(np.max(np.abs(least) + np.abs(most), initial=0.0))
    length = float(np.linalg.norm(pre.value)) * (1.0 + gamma(pre.value.size + 4))
    exact = not least.any()
    # most alone is exact; a difference and a product are rounded once each.
    error = steepest * (pre.error + gamma(4) * length) + (0.0 if exact else gamma(4) * spread)
    return _Spread(value, error * (1.0 + 1e-12))


def _root(errors: list[float]) -> float:
    return float(np.sqrt(np.sum(np.square(errors)))) * (1.0 + 1e-12)
