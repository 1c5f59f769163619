"""Lipschitz constants over sets of inputs: how small, how fast, beside the exact ones and beside points.

    python -m benchmarks.local_lipschitz [PART ...] [--networks N] [--pairs N] [--images N] [--json FILE]

image: of mnist_fc around a test image. exact: of random small networks over boxes, beside the largest norm of all
Jacobians inside, by enumeration of the patterns that are met. points: of random networks over balls, beside differences
between points. radii: what constants certify around images of mnist_fc, beside what `certify` does. A part that is
measured again replaces what the file says of it.

Figures of others, on the same network and image (PEERS): in linf, eps 0.01, interval Jacobian 5551; in l2, eclipse-nn
0.1.7 382.4 in 21.8 s at radius 0.1 and 752.7 in 35 s at 0.28.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from mpmath import mp

import admm_verify as av
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.norm_names import NormName
from benchmarks.lipschitz import NORMS, Graph
from benchmarks.local_points import points
from benchmarks.local_radii import radii
from benchmarks.robust_accuracy import subject
from benchmarks.shares import RESULTS, measure_parts
from problems.rectifier_jacobians import jacobians, norm_of


@dataclass(frozen=True)
class LocalOutcome:
    """One set: both ends, neurons with several slopes, seconds of one thread's processor time and of the wall."""

    norm: str
    radius: float
    lower: float
    upper: float
    open_neurons: int
    processor_seconds: float
    seconds: float


def measure(network: av.Network, inputs: WalkableSet, norm: NormName, radius: float) -> LocalOutcome:
    """Both ends over one set."""
    began, wall = time.process_time(), time.monotonic()
    found = av.local_lipschitz(network, inputs, norm=norm, run=av.Run(threads=1))
    spent = time.process_time() - began, time.monotonic() - wall
    return LocalOutcome(norm, radius, found.lower, found.upper, found.open_neurons, *spent)


def image() -> list[dict[str, Any]]:
    """Both ends over three sets around the first test image."""
    net = subject("mnist_fc_deepsplit", 1)
    x = net.images[0].astype("float64")
    cases: list[tuple[NormName, float, WalkableSet]] = [("linf", 0.01, av.Box.around(x, 0.01, within=(0.0, 1.0)))]
    cases += [("l2", 0.1, av.Ball(x, 0.1)), ("l2", 0.28, av.Ball(x, 0.28))]
    return [asdict(measure(net.network, inputs, norm, radius)) for norm, radius, inputs in cases]


Layers = tuple[list[np.ndarray], list[np.ndarray]]


def random_chain(rng: np.random.Generator) -> Layers:
    """Weights and biases: 2 to 4 inputs, 1 to 3 hidden layers of 3 to 7 rectifiers, 1 to 3 outputs."""
    hidden = rng.integers(3, 8, int(rng.integers(1, 4)))
    sizes = [int(rng.integers(2, 5)), *hidden, int(rng.integers(1, 4))]
    weights = [rng.standard_normal((m, n)) * np.sqrt(2.0 / n) for n, m in pairwise(sizes)]
    return weights, [0.5 * rng.standard_normal(len(weight)) for weight in weights]


def network_of(layers: Layers) -> av.Network:
    """Rectifiers between dense layers."""
    graph, last = Graph(layers[0][0].shape[1]), 0
    for weight, bias in zip(*layers, strict=True):
        last = graph.function(last, "relu") if last else last
        last = graph.dense(last, weight, bias)
    return graph.network()


def largest(matrices: Iterable[np.ndarray], norm: str) -> tuple[int, Any]:
    """How many, and the largest norm, to 18 digits or so."""
    every = list(matrices)
    if norm != "l2":
        return len(every), max(np.max(np.sum(np.abs(one), axis=1 if norm == "linf" else 0)) for one in every)
    sizes = np.array([norm_of(one.astype(np.float64), norm) for one in every])
    mp.dps = 40
    close = [every[k] for k in np.flatnonzero(sizes >= np.max(sizes) * (1.0 - 1e-12))[:4]]
    return len(every), np.longdouble(str(max(mp.svd_r(mp.matrix(_precise(one)), compute_uv=False)[0] for one in close)))


def _precise(matrix: np.ndarray) -> list[list[Any]]:
    """The entries of a matrix in extended precision, each the sum of two numbers of double precision."""
    high = matrix.astype(np.float64)
    low = (matrix - high).astype(np.float64)
    return [[mp.mpf(a) + mp.mpf(b) for a, b in zip(*rows, strict=True)] for rows in zip(high, low, strict=True)]


def exact(count: int) -> dict[str, Any]:
    """Our ends over the largest norm of all Jacobians in a box, for random networks."""
    settings, cases = av.LocalLipschitzSettings(most_subproblems=20_000), []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        weights, biases = random_chain(rng)
        x, norm = rng.standard_normal(weights[0].shape[1]), NORMS[seed % 3]
        radius = float(rng.choice([0.3, 1.0, 2.0]))
        low, high = x - radius, x + radius
        began = time.process_time()
        precise = [[part.astype(np.longdouble) for part in parts] for parts in (weights, biases)]
        patterns, size = largest(jacobians(precise[0], precise[1], low, high), norm)
        enumerated = time.process_time() - began
        began = time.process_time()
        box = av.Box(low, high)
        found = av.local_lipschitz(
            network_of((weights, biases)), box, norm=norm, settings=settings, run=av.Run(threads=1)
        )
        cases.append(
            {
                "sizes": [len(x), *(len(bias) for bias in biases)],
                "norm": norm,
                "radius": radius,
                "patterns": patterns,
                "exact": float(size),
                "over": float((found.upper - size) / (size or 1.0)),
                "lower_over": float((found.lower - size) / (size or 1.0)),
                "parts": found.subproblems,
                "processor_seconds": time.process_time() - began,
                "enumeration_seconds": enumerated,
            }
        )
        print(seed, cases[-1], flush=True)
    over = [case["over"] for case in cases]
    return {
        "networks": count,
        "least_over": min(over),
        "most_over": max(over),
        "below": sum(value < 0 for value in over),
        "beyond_1e-6": sum(value > 1e-6 for value in over),
        "lower_above_exact": sum(case["lower_over"] > 0 for case in cases),
        "cases": cases,
    }


def main() -> int:
    """Measure some parts, and write all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("image", "exact", "points", "radii")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; all unless given")
    parser.add_argument("--networks", type=int, help="50 of exact and 200 of points unless given")
    parser.add_argument("--pairs", type=int, default=20_000, help="of points, per network")
    parser.add_argument("--images", type=int, default=10, help="of radii")
    parser.add_argument("--close", action="store_true", help="radii with the best multipliers, which takes long")
    parser.add_argument("--jobs", type=int, default=1, help="processes of points")
    parser.add_argument("--json", type=Path, default=RESULTS / "local_lipschitz.json")
    options = parser.parse_args()
    if not set(options.parts) <= set(names):
        parser.error(f"parts are {', '.join(names)}")
    ways = {
        "image": image,
        "exact": lambda: exact(options.networks or 50),
        "points": lambda: points(options.networks or 200, options.pairs, options.jobs),
        "radii": lambda: radii(options.images, options.close),
    }
    measure_parts(options.json, ways, options.parts)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
