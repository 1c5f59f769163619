"""Constants over balls beside differences between points of them, of which the steepest are computed to 18 digits."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from mpmath import mp

import admm_verify as av
from admm_verify.arrays import to_numpy
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.sets.contract import WalkableSet
from benchmarks.lipschitz import KINDS, NORMS, SMOOTH, random_network

DOUBLE, EXTENDED = 2.0**-53, 2.0**-63
"""Units of rounding."""

mp.dps = 40

PRECISE = 40
"""The steepest differences of each kind that are computed to more digits, and all that rounding leaves open."""

SECONDS = 6.0
"""Of the wall for the constants of a network: those until then are judged, too."""

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]

Values = tuple[np.ndarray, np.ndarray]
"""Outputs [points, outputs], and by how much each may be off."""


def drawn_network(seed: int) -> tuple[str, Network]:
    """A dense, convolutional or residual network with rectifiers and smooth functions, or one with max pooling."""
    rng = np.random.default_rng(seed)
    kinds = (*KINDS, "pooling")
    kind = kinds[seed % len(kinds)]
    if kind == "pooling":
        torch.manual_seed(seed)
        size = int(rng.integers(4, 7))
        function = (torch.nn.ReLU(), torch.nn.Tanh(), torch.nn.Identity())[int(rng.integers(3))]
        layers = [torch.nn.Conv2d(2, 3, 3, padding=1), function, torch.nn.MaxPool2d(2), torch.nn.Flatten()]
        layers += [torch.nn.Linear(3 * (size // 2) ** 2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)]
        return kind, av.trace(torch.nn.Sequential(*layers).double().eval(), torch.zeros(1, 2, size, size).double())
    network = random_network(rng, kind)
    nodes = []
    for node in network.nodes:
        bias = 0.5 * rng.standard_normal(node.size)
        moved = isinstance(node, Affine)
        nodes.append(replace(node, bias=bias, bias_magnitude=np.abs(bias)) if moved else node)
    return kind, replace(network, nodes=tuple(nodes))


class Twin:
    """A network in NumPy alone, in double or extended precision, that knows how far its values may be off."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.matrices = {
            i: [(term.source, np.asarray(term.map.dense().weight)) for term in node.terms]
            for i, node in enumerate(network.nodes)
            if isinstance(node, Affine)
        }

    def __call__(self, x: np.ndarray) -> Values:
        """At x [points, inputs]: in extended precision exactly, in double at what rounds to x."""
        unit = EXTENDED if x.dtype == np.longdouble else DOUBLE
        values, errors = [x], [np.zeros(x.shape[1]) if unit == EXTENDED else DOUBLE * np.max(np.abs(x), axis=0)]
        for i, node in enumerate(self.network.nodes[1:], 1):
            if isinstance(node, Affine):
                bias = np.asarray(node.bias).astype(x.dtype)
                value, off, size = bias + np.zeros((len(x), node.size), x.dtype), np.zeros(node.size), np.abs(bias)
                count = 2 + len(node.terms)
                for source, weight in self.matrices[i]:
                    value = value + values[source] @ weight.T.astype(x.dtype)
                    off = off + np.abs(weight) @ errors[source]
                    size = size + np.abs(weight) @ np.max(np.abs(values[source]), axis=0)
                    count += weight.shape[1]
                values.append(value)
                errors.append(1.001 * (off + count * unit * size.astype(np.float64)))
            else:
                assert isinstance(node, Activation) and node.kind in SMOOTH, "its functions are computed here"
                before = values[node.source]
                values.append(function_of(node.kind, before))
                # No slope is above 1.2, and no value beyond |x| + 1.
                size = np.max(np.abs(before), axis=0).astype(np.float64) + 1.0
                errors.append(1.2 * errors[node.source] + 32.0 * unit * size)
        return values[-1], errors[-1]


def function_of(kind: str, x: np.ndarray) -> np.ndarray:
    """The function of a kind, in the precision of x."""
    direct = {
        "relu": lambda: np.maximum(x, 0),
        "tanh": lambda: np.tanh(x),
        "atan": lambda: np.arctan(x),
        "softplus": lambda: np.logaddexp(0, x),
        "softsign": lambda: x / (1 + np.abs(x)),
        "sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "silu": lambda: x / (1 + np.exp(-x)),
    }
    if kind in direct:
        return direct[kind]()
    if x.dtype == np.float64:
        erf = torch.erf(torch.as_tensor(x if kind == "erf" else x * np.sqrt(0.5))).numpy()
        return erf if kind == "erf" else 0.5 * x * (1.0 + erf)
    high = x.astype(np.float64)
    low = (x - high).astype(np.float64)
    found = np.empty(x.shape, x.dtype)
    for place in np.ndindex(x.shape):
        exact = mp.mpf(float(high[place])) + mp.mpf(float(low[place]))
        value = mp.erf(exact) if kind == "erf" else exact * mp.ncdf(exact)
        found[place] = np.longdouble(mp.nstr(value, 30))
    return found


@dataclass(frozen=True, eq=False)
class Measure:
    """How changes of outputs are measured: in a norm, or by one functional."""

    norm: str
    row: np.ndarray | None = None

    def of(self, change: np.ndarray) -> np.ndarray:
        """Of changes [points, outputs]."""
        return size_of(change, self.norm) if self.row is None else np.abs(change @ self.row.astype(change.dtype))

    def most(self, off: np.ndarray, change: np.ndarray, unit: float) -> float:
        """By how much it may be off, for changes that are off by so much."""
        largest, count = np.max(np.abs(change), axis=0).astype(np.float64), len(off) + 4
        weights = np.ones(len(off)) if self.row is None else np.abs(self.row)
        # No norm is above that of sums.
        return float(np.sum(weights * (off + count * unit * largest))) * (1.0 + 1e-9)


class Judge:
    """Differences of a network's values beside constants, pair by pair: violations, and the steepest one."""

    def __init__(self, network: Network) -> None:
        self.twin = Twin(network)
        self.violations, self.closest, self.precise = 0, 0.0, 0

    def judge(self, x: np.ndarray, y: np.ndarray, distance: Distance, upper: float, measure: Measure) -> None:
        """|f(x) - f(y)| <= upper |x - y|, where distance is that of x and y."""
        change, off = self._changes(x.astype(np.float64), y.astype(np.float64), measure)
        length = distance(x, y).astype(np.float64)
        # Double precision cannot tell these from violations.
        doubtful = np.flatnonzero(change + off >= upper * length * (1.0 - 1e-12))
        some = np.union1d(np.argsort((off - change) / length)[:PRECISE], doubtful)
        x, y = (one[some].astype(np.longdouble) for one in (x, y))
        change, off = self._changes(x, y, measure)
        # Lengths are rounded, too.
        length = distance(x, y) * (1.0 + 4.0 * EXTENDED * (x.shape[1] + 8))
        self.precise += len(some)
        self.violations += int(np.sum(change - off > np.longdouble(upper) * length))
        if upper > 0:
            self.closest = max(self.closest, float(np.max((change - off) / (upper * length))))

    def _changes(self, x: np.ndarray, y: np.ndarray, measure: Measure) -> tuple[np.ndarray, float]:
        (first, off), (second, more) = self.twin(x), self.twin(y)
        unit, change = EXTENDED if x.dtype == np.longdouble else DOUBLE, first - second
        return measure.of(change), measure.most(off + more, change, unit)


def size_of(x: np.ndarray, norm: str) -> np.ndarray:
    """Lengths of rows, in their precision."""
    if norm == "linf":
        return np.max(np.abs(x), axis=1)
    return np.sum(np.abs(x), axis=1) if norm == "l1" else np.sqrt(np.sum(x * x, axis=1))


def pairs_of(
    inputs: tuple[WalkableSet, np.ndarray, float],
    steep: np.ndarray,
    way: np.ndarray,
    rng: np.random.Generator,
    count: int,
) -> Values:
    """Pairs inside a ball of a center and a radius: far, near, near ones beside the steepest point, and beside it
    along the way.
    """
    ball, center, radius = inputs
    part = count // 4
    x, y = (to_numpy(ball.sample(count, rng)).reshape(count, -1) for _ in range(2))
    x, y = (center + (1.0 - 1e-9) * (one - center) for one in (x, y))
    near = 10.0 ** rng.uniform(-6, 0, (part, 1))
    y[part : 2 * part] = x[part : 2 * part] + near * (y[part : 2 * part] - x[part : 2 * part])
    beside = slice(2 * part, 3 * part)
    x[beside], y[beside] = (steep + near * (one[beside] - steep) for one in (x, y))
    x[3 * part :] = steep + near * (x[3 * part :] - steep)
    # Towards the center by a share of the way there is room for as large a share of the radius, or of 0.7 of it.
    room = 10.0 ** rng.uniform(-5, -1, (count - 3 * part, 1))
    x[3 * part :] += room * (center - x[3 * part :])
    y[3 * part :] = x[3 * part :] + 0.6 * radius * room * rng.choice([-1.0, 1.0], room.shape) * way
    return x, y


def steepest_way(network: Network, point: np.ndarray, radius: float, norm: str) -> np.ndarray:
    """A direction of length 1 in which outputs change much around a point, by differences."""
    steps = 1e-6 * radius * np.eye(len(point))
    flat = network.input_shape
    change = [network((point + s).reshape(1, *flat)) - network((point - s).reshape(1, *flat)) for s in steps]
    jacobian = np.concatenate(change).reshape(len(steps), -1).T
    if norm == "l2":
        return np.linalg.svd(jacobian)[2][0]
    if norm == "linf":
        return np.where(jacobian[np.argmax(np.sum(np.abs(jacobian), axis=1))] < 0, -1.0, 1.0)
    return np.eye(len(point))[np.argmax(np.sum(np.abs(jacobian), axis=0))]


def around(seed: int, pairs: int) -> dict[str, Any]:
    """One network over one ball: its constants beside pairs of points."""
    kind, network = drawn_network(seed)
    rng = np.random.default_rng([seed, 1])
    size, norm = network.input_size, NORMS[seed // 5 % 3]
    center, radius = rng.standard_normal(size), 10.0 ** rng.uniform(-2, 0.5)
    within = (center - 0.7 * radius, center + radius) if seed % 2 else None
    name = NORMS[int(rng.integers(3))]
    ball = av.Ball(center, radius, norm=name, within=within)
    rows = rng.standard_normal((2, network.output_size))
    # The way and steps along it are short numbers.
    way = np.round(32.0 * rng.standard_normal(size)) / 32.0 + np.eye(size)[0] / 64.0
    found = av.local_lipschitz(
        network,
        ball,
        norm=norm,
        rows=av.DirectedRows(rows, way[None]),
        settings=av.LocalLipschitzSettings(points=8, rounds=4, most_subproblems=30),
        run=av.Run(threads=1, timeout=SECONDS),
    )
    judge = Judge(network)
    steep = center if found.point is None else found.point.reshape(-1)
    ahead = steepest_way(network, steep, radius, norm)
    ahead /= float(size_of(ahead[None], name)[0])
    x, y = pairs_of((ball, center, radius), steep, ahead, rng, pairs)
    judge.judge(x, y, lambda a, b: size_of(a - b, norm), found.upper, Measure(norm))
    assert found.rows is not None and found.rows.along is not None, "rows and a direction were asked for"
    share = judge.closest
    for k, row in enumerate(rows):
        judge.judge(x, y, lambda a, b: size_of(a - b, norm), float(found.rows.upper[k]), Measure(norm, row))
        step = 2.0 ** np.floor(np.log2(0.35 * radius * 1e-3 / float(np.sum(np.abs(way)))))
        start = (center + (1.0 - 1e-3) * (x - center))[: pairs // 4].astype(np.longdouble)
        judge.judge(
            start,
            start + np.longdouble(step) * way.astype(np.longdouble),
            lambda a, b, step=step: np.full(len(a), step, a.dtype),
            float(found.rows.along[k, 0]),
            Measure(norm, row),
        )
    return {
        "seed": seed,
        "kind": kind,
        "norm": norm,
        "ball": name,
        "open_neurons": found.open_neurons,
        "finite": bool(np.isfinite([found.upper, *found.rows.upper, *found.rows.along[:, 0]]).all()),
        "violations": judge.violations,
        "precise": judge.precise,
        "closest": share,
        "closest_of_all": judge.closest,
        "lower_over_upper": found.lower / found.upper if found.upper > 0 else 1.0,
    }


def points(networks: int, pairs: int, jobs: int) -> dict[str, Any]:
    """As many networks, in as many processes."""
    cases = []
    with get_context("spawn").Pool(jobs) as pool:
        for case in pool.imap(partial(around, pairs=pairs), range(networks)):
            cases.append(case)
            print(case, flush=True)
    return summary(cases, pairs)


def summary(cases: list[dict[str, Any]], pairs: int) -> dict[str, Any]:
    """Of all networks together."""
    return {
        "networks": len(cases),
        "pairs": pairs,
        "violations": sum(case["violations"] for case in cases),
        "without_a_bound": sum(not case["finite"] for case in cases),
        "computed_precisely": sum(case["precise"] for case in cases),
        "closest": max(case["closest"] for case in cases),
        "closest_of_rows": max(case["closest_of_all"] for case in cases),
        "kinds": {kind: sum(case["kind"] == kind for case in cases) for kind in (*KINDS, "pooling")},
        "cases": cases,
    }
