"""Pairs of inputs whose outputs differ much: how steep a network is at least."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.bounds.interval import Forward
from admm_verify.lipschitz.norms import DUAL, length_of, steepest_of
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.relaxations.registry import relaxation_of
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.norm_names import NormName

_SCALES = (0.1, 1.0, 10.0)
"""Of the points that are drawn first, beside the origin."""

_POWER = 8
"""Products with a Jacobian and its transpose."""

_NEAR = (2.0**-12, 2.0**-6, 1.0)
"""How far the second input of a pair is from the first, by the latter's size: next to it slopes hardly change, and far
from it rounding in the difference counts little."""

_TRIED = 4
"""Points whose pairs are enclosed."""

_MOST_NUMBERS = 2**22
"""Of all nodes for the pairs that are enclosed together."""


@dataclass(frozen=True, eq=False)
class SteepPair:
    """Two inputs, flat, and what |f(x) - f(y)|_q / |x - y|_p is at least, in real numbers."""

    slope: float
    first: np.ndarray
    second: np.ndarray


def steep_pair(
    network: Network, norms: tuple[NormName, NormName], points: int, rounds: int, run: Run
) -> SteepPair | None:
    """The steepest pair that an ascent finds: from random points, moved to random neighbours wherever that is steeper.

    None where no value is finite. The same for the same network and counts, unless the run ends before.
    """
    rng = np.random.default_rng(0)
    size = network.input_size
    x = rng.standard_normal((points, size)) * np.resize(_SCALES, points)[:, None]
    x[0] = 0.0
    slope, direction = slopes_and_directions(network, x, norms, rng)
    best = _paired(network, x, direction, slope, norms)
    for k in range(rounds):
        if run.over():
            break
        # Halves of the points start again from the steeper ones.
        order = np.argsort(-slope)
        x, slope, direction = (np.concatenate([a[order[: points // 2]]] * 2) for a in (x, slope, direction))
        spread = (1.0 + length_of(x, "linf"))[:, None] * 0.5 ** rng.integers(0, 8, (len(x), 1))
        moved = x + spread * rng.standard_normal(x.shape) * (rng.random(x.shape) < rng.choice([0.1, 1.0]))
        found, towards = slopes_and_directions(network, moved, norms, rng)
        better = found > slope
        x = np.where(better[:, None], moved, x)
        direction = np.where(better[:, None], towards, direction)
        slope = np.where(better, found, slope)
        if k % 8 == 7 or k == rounds - 1:
            best = max((best, _paired(network, x, direction, slope, norms)), key=lambda pair: pair.slope)
    return best if 0.0 <= best.slope < np.inf else None


def slopes_and_directions(
    network: Network,
    x: np.ndarray,
    norms: tuple[NormName, NormName],
    rng: np.random.Generator,
    free: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """|J|_{p -> q} at points, more or less, and directions in which it is attained; of some inputs, where others keep
    still.

    Shapes: x [points, n]; free [n].
    """
    values = [to_numpy(value) for value in network.evaluate(x)]
    slopes = [to_numpy(relaxation_of(node).gradient(values[node.source])) for node in network.functions]
    source, target = norms
    direction = steepest_of(rng.standard_normal(x.shape), source)
    length, best = np.zeros(len(x)), direction
    for _ in range(_POWER):
        direction = direction if free is None else direction * free
        change = _forward(network, slopes, direction)
        found = np.nan_to_num(length_of(change, target), nan=0.0, posinf=0.0)
        best = np.where((found > length)[:, None], direction, best)
        length = np.maximum(length, found)
        back = _backward(network, slopes, steepest_of(change, DUAL[target]))
        direction = steepest_of(back if free is None else back * free, source)
    return length, best


def _forward(network: Network, slopes: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """J x, row by row."""
    values: list[np.ndarray] = [x]
    for i, affine, k in network.steps:
        if affine is None:
            product = slopes[k] * values[network.sources[k]]
            operands = network.functions[k].operands
            values.append(product.reshape(len(x), operands, -1).sum(axis=1))
            continue
        total = np.zeros((len(x), network.nodes[i].size))
        for term in affine.terms:
            total = total + to_numpy(term.map.apply(values[term.source]))
        values.append(total)
    return values[-1]


def _backward(network: Network, slopes: list[np.ndarray], y: np.ndarray) -> np.ndarray:
    """J' y, row by row."""
    reached: dict[int, np.ndarray] = {network.output: y}
    for i, _, k in reversed(network.steps):
        own = reached.pop(i, None)
        node = network.nodes[i]
        if own is None:
            continue
        if isinstance(node, Activation):
            parts = {node.source: slopes[k] * np.concatenate([own] * node.operands, axis=-1)}
            _gather(reached, parts)
        elif isinstance(node, Affine):
            for term in node.terms:
                _gather(reached, {term.source: to_numpy(term.map.transpose(own))})
    return reached.get(0, np.zeros((len(y), network.input_size)))


def _gather(reached: dict[int, np.ndarray], parts: dict[int, np.ndarray]) -> None:
    for source, part in parts.items():
        reached[source] = reached[source] + part if source in reached else part


def _paired(
    network: Network, x: np.ndarray, direction: np.ndarray, slope: np.ndarray, norms: tuple[NormName, NormName]
) -> SteepPair:
    """The steepest pair along directions from some points."""
    some = np.argsort(-slope)[:_TRIED]
    size = (1.0 + length_of(x[some], "linf"))[:, None]
    first = np.concatenate([x[some]] * len(_NEAR))
    second = np.concatenate([x[some] + near * size * direction[some] for near in _NEAR])
    found = attained_slopes(network, first, second, norms)
    at = int(np.argmax(found))
    return SteepPair(float(found[at]), first[at], second[at])


def attained_slopes(
    network: Network, first: np.ndarray, second: np.ndarray, norms: tuple[NormName, NormName]
) -> np.ndarray:
    """|f(x) - f(y)|_q / |x - y|_p at least, for pairs; -1 where it is not finite.

    Shapes: first, second [pairs, n]. Error: rounded inward; both values are enclosed in intervals.
    """
    step = max(1, _MOST_NUMBERS // sum(node.size for node in network.nodes))
    apart = []
    for k in range(0, len(first), step):
        (low, high), (least, most) = (_enclosed(network, x[k : k + step]) for x in (first, second))
        apart.append(np.maximum(np.maximum(low - most, least - high), 0.0))
    change, way = np.concatenate(apart), np.abs(first - second)
    short = length_of(change, norms[1]) * (1.0 - 4.0 * gamma(change.shape[1] + 8))
    long = length_of(way, norms[0]) * (1.0 + 4.0 * gamma(way.shape[1] + 8))
    found = short / np.where(long > 0, long, np.inf) * (1.0 - gamma(4))
    return np.where(np.isfinite(found), found, -1.0)


def _enclosed(network: Network, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outputs at points in real numbers, between two numbers each."""
    found = Forward(network, Box.point(x)).run()
    low, high = (to_numpy(side[network.output]) for side in (found.lower, found.upper))
    shape = (len(x), network.output_size)
    return np.broadcast_to(low, shape), np.broadcast_to(high, shape)
