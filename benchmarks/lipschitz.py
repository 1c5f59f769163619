"""Certified Lipschitz constants: how small, how fast, and beside how many pairs of points none is violated.

    python -m benchmarks.lipschitz [PART ...] [--networks N] [--pairs N] [--width N] [--json FILE]

classifier: layers' norms and the constants of mnist_fc from fast to close, with wall and CPU seconds; random: networks
20-30-30-10; convolutions: norms of random ones beside the dense SVD; resnet18: the table of layers and the constant of
a network with random weights; norms: between all pairs of l1, l2 and linf, beside sums of entries; points: every bound
of random dense, convolutional and residual networks beside slopes between random points. A part that is measured again
replaces what the file says of it.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import admm_verify as av
from admm_verify.lipschitz.norms import length_of, norm_above
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.maps import DenseMap, LinearMap
from admm_verify.network.selection import SelectionMap
from benchmarks.shares import RESULTS, measure_parts

CLASSIFIER = Path(__file__).parents[2] / "shared" / "data" / "classifiers" / "mnist_fc_deepsplit" / "weights.npz"
NORMS = ("l1", "l2", "linf")
SMOOTH = ("relu", "relu", "tanh", "sigmoid", "softplus", "atan", "erf", "gelu", "silu", "softsign")
KINDS = ("dense", "convolution", "residual", "residual convolution")


class Graph:
    """A network under construction."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self.nodes: list[Node] = [Input(int(np.prod(shape)))]

    def sum(self, *parts: tuple[int, LinearMap]) -> int:
        """The sum of linear maps of earlier nodes."""
        rows = parts[0][1].rows
        self.nodes.append(Affine(tuple(Term(source, part) for source, part in parts), np.zeros(rows), np.zeros(rows)))
        return len(self.nodes) - 1

    def dense(self, source: int, weight: np.ndarray, bias: np.ndarray) -> int:
        """W x + b of an earlier node."""
        self.nodes.append(Affine((Term(source, DenseMap(weight)),), bias, np.abs(bias)))
        return len(self.nodes) - 1

    def function(self, source: int, kind: str) -> int:
        """A function of an earlier node, entry by entry."""
        self.nodes.append(Activation(kind, source, self.nodes[source].size))
        return len(self.nodes) - 1

    def network(self) -> Network:
        """The network whose output is the last node."""
        return Network(tuple(self.nodes), self.shape, (self.nodes[-1].size,), element_type="float64")


def dense(weights: list[np.ndarray], kinds: list[str]) -> Network:
    """Matrices with functions between them."""
    graph, last = Graph(weights[0].shape[1]), 0
    for weight, kind in zip(weights, [*kinds, ""], strict=True):
        last = graph.sum((last, DenseMap(weight)))
        last = graph.function(last, kind) if kind else last
    return graph.network()


def random_network(rng: np.random.Generator, kind: str) -> Network:
    """A small network; its functions are rectifiers and smooth ones."""
    layers = int(rng.integers(1, 4))
    kinds = [str(name) for name in rng.choice(SMOOTH, 2 * layers)]
    if kind == "dense":
        sizes = [*rng.integers(2, 9, layers + 1), int(rng.integers(1, 5))]
        weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
        return dense(weights, kinds[:layers])
    if kind == "residual":
        size = int(rng.integers(2, 7))
        graph, last = Graph(size), 0
        for k in range(layers):
            hidden = graph.function(graph.sum((last, DenseMap(rng.standard_normal((5, size))))), kinds[k])
            branch = DenseMap(rng.standard_normal((size, 5)))
            last = graph.sum((last, SelectionMap.identity(size)), (hidden, branch))
        return graph.network()
    shape = (2, int(rng.integers(4, 7)), int(rng.integers(4, 7)))
    graph, last = Graph(*shape), 0
    for k in range(layers):
        stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        first = ConvolutionMap.of(rng.standard_normal((3, shape[0], 3, 3)) / 3, shape, stride, (1, 1, 1, 1))
        last_of_block = graph.function(graph.sum((last, first)), kinds[2 * k])
        if kind == "residual convolution":
            second = ConvolutionMap.of(rng.standard_normal((3, 3, 3, 3)) / 3, first.output_shape, padding=(1, 1, 1, 1))
            skip = ConvolutionMap.of(rng.standard_normal((3, shape[0], 1, 1)), shape, stride)
            last_of_block = graph.function(graph.sum((last_of_block, second), (last, skip)), kinds[2 * k + 1])
        last, shape = last_of_block, first.output_shape
    graph.sum((last, DenseMap(rng.standard_normal((2, graph.nodes[last].size)))))
    return graph.network()


def points(networks: int, pairs: int) -> dict[str, Any]:
    """Slopes between pairs of points beside every bound, of l2 and of two other pairs of norms of each network."""
    settings = av.LipschitzSettings(points=8, rounds=4)
    others = [pair for pair in product(NORMS, repeat=2) if pair != ("l2", "l2")]
    bounds, violations, closest = 0, [], 0.0
    methods: dict[str, int] = {}
    for seed in range(networks):
        rng = np.random.default_rng(seed)
        kind = KINDS[seed % len(KINDS)]
        network = random_network(rng, kind)
        x = rng.standard_normal((pairs, network.input_size)) * 10.0 ** rng.uniform(-2, 2, (pairs, 1))
        y = x + rng.standard_normal(x.shape) * 10.0 ** rng.uniform(-4, 1, (pairs, 1))
        values = network(x.reshape(-1, *network.input_shape)), network(y.reshape(-1, *network.input_shape))
        change = values[0] - values[1]
        # Less than what rounding makes of the difference.
        noise = 1e-12 * (np.max(np.abs(values[0]), axis=1) + np.max(np.abs(x), axis=1) + 10.0)
        chosen = [("l2", "l2"), *(others[k] for k in rng.choice(len(others), 2, replace=False))]
        for source, target in chosen:
            slope = float(np.max((length_of(change, target) - noise) / length_of(x - y, source)))
            found = [av.lipschitz_constant(network, norm=source, output_norm=target, settings=settings)]
            if "convolution" in kind and source == target == "l2":
                with small_systems():
                    found.append(av.lipschitz_constant(network, settings=settings))
            for constant in found:
                slope = max(slope, constant.lower * (1.0 - 1e-9))
                for bound in constant.bounds:
                    bounds += 1
                    methods[bound.method] = methods.get(bound.method, 0) + 1
                    closest = max(closest, slope / bound.value)
                    if slope > bound.value:
                        violations.append({"seed": seed, "method": bound.method, "norms": [source, target]})
    return {
        "networks": networks,
        "pairs": pairs,
        "bounds": bounds,
        "methods": methods,
        "violations": violations,
        "closest": closest,
    }


@contextmanager
def small_systems() -> Iterator[None]:
    """Within, convolutions have multipliers per channel, as if they were large."""
    with (
        mock.patch("admm_verify.lipschitz.segments.MOST_NEURONS", 0),
        mock.patch("admm_verify.lipschitz.slope_system.MOST_NEURONS", 0),
    ):
        yield


def timed(network: Network, **given: Any) -> dict[str, Any]:
    """The constant of a network: its bounds, and seconds by both clocks."""
    began, used = time.monotonic(), time.process_time()
    found = av.lipschitz_constant(network, **given)
    return {
        "upper": found.upper,
        "lower": found.lower,
        "bounds": [[bound.method, bound.value, bound.seconds] for bound in found.bounds],
        "status": found.status.value,
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - used,
    }


def classifier() -> dict[str, Any]:
    """mnist_fc: certified norms, and constants from fast to close."""
    with np.load(CLASSIFIER) as stored:
        weights = [stored[f"{k}.weight"].astype(np.float64) for k in (1, 3, 5, 7, 9)]
    network = dense(weights, ["relu"] * 4)
    layers = av.layer_norms(network)
    return {
        "norms": [layer.upper for layer in layers.layers if layer.kind == "Dense"],
        "exact": [float(np.linalg.norm(weight, 2)) for weight in weights],
        "product": layers.product,
        "closed": timed(network, settings=av.LipschitzSettings(semidefinite=False, rounds=1)),
        "all": timed(network),
    }


def small_dense(seed: int) -> Network:
    """A network 20-30-30-10 with weights of variance 1 / inputs."""
    rng = np.random.default_rng(seed)
    return dense([rng.standard_normal((m, n)) / np.sqrt(n) for n, m in ((20, 30), (30, 30), (30, 10))], ["relu"] * 2)


def random(count: int = 5) -> list[dict[str, Any]]:
    """The constants of some, by seed."""
    return [{"seed": seed, **timed(small_dense(seed))} for seed in range(count)]


def norms() -> list[dict[str, Any]]:
    """Of one network 20-30-30-10: the least constant between two norms beside the best without a search."""
    network = small_dense(0)
    found = []
    for source, target in product(NORMS, repeat=2):
        if source == target == "l2":
            continue
        whole = timed(network, norm=source, output_norm=target)
        closed = min(value for method, value, _ in whole["bounds"] if method != "multipliers and weights")
        found.append({"norms": [source, target], "without_weights": closed, **whole})
    return found


def convolutions(count: int = 100) -> dict[str, float]:
    """Certified norms of random convolutions over those of the dense SVD: the least and the greatest ratio."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(count):
        groups = int(rng.integers(1, 3))
        kernel, stride = rng.integers(1, 4, 2), rng.integers(1, 3, 2)
        shape = (2 * groups, int(rng.integers(4, 9)), int(rng.integers(4, 9)))
        weight = rng.standard_normal((2 * groups, 2, *kernel))
        top, left, bottom, right = (int(side) for side in rng.integers(0, 2, 4))
        part = ConvolutionMap.of(
            weight, shape, (int(stride[0]), int(stride[1])), (top, left, bottom, right), groups=groups
        )
        ratios.append(norm_above(part, "l2", "l2") / float(np.linalg.norm(part.dense().weight, 2)))
    return {"count": count, "least": min(ratios), "greatest": max(ratios)}


def resnet18(width: int) -> dict[str, Any]:
    """The table of all layers, and the constant beside the product of norms, of a network with random weights."""
    import torch

    from problems.resnet18 import build

    network = av.trace(build(0, width), torch.zeros(1, 3, 32, 32))
    began, used = time.monotonic(), time.process_time()
    layers = av.layer_norms(network, attained=False)
    table = {
        "layers": len(layers.layers),
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - used,
    }
    settings = av.LipschitzSettings(points=8, rounds=2)
    return {"width": width, "table": table, "product": layers.product, "constant": timed(network, settings=settings)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("classifier", "random", "norms", "convolutions", "resnet18", "points")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; all unless given")
    parser.add_argument("--networks", type=int, default=200, help="of points")
    parser.add_argument("--pairs", type=int, default=20_000, help="of points, per network")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage of resnet18")
    parser.add_argument("--json", type=Path, default=RESULTS / "lipschitz.json")
    options = parser.parse_args()
    if not set(options.parts) <= set(names):
        parser.error(f"parts are {', '.join(names)}")
    ways = {
        "classifier": classifier,
        "random": random,
        "norms": norms,
        "convolutions": convolutions,
        "resnet18": lambda: resnet18(options.width),
        "points": lambda: points(options.networks, options.pairs),
    }
    measure_parts(options.json, ways, options.parts)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
