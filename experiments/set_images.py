"""Input sets in the plane and what is certified around their images under a network.

    python -m experiments.set_images [--grid N] [--points N] [--output FOLDER]

A network 2-16-16-2 with random weights maps a box, balls, an ellipsoid and a polytope. `image_plot` bounds and draws
each, cut into cells, and writes a picture; the table tells how far bounds exceed what samples attain, as a share of the
image's sampled width, and how many of further samples lie outside, which must be none.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from admm_verify.arrays import to_numpy
from admm_verify.bounds.preactivation import input_rows
from admm_verify.network.layers import network_from_layers
from admm_verify.sets.contract import WalkableSet

RESULTS = Path(__file__).parent / "results" / "set_images"
CENTRE = np.array([0.2, -0.1])


def network() -> av.Network:
    """The map 2-16-16-2."""
    rng = np.random.default_rng(5)
    sizes = (2, 16, 16, 2)
    weights = [1.4 * rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    return network_from_layers(weights, [0.3 * rng.standard_normal(m) for m in sizes[1:]], "map")


def sets() -> dict[str, WalkableSet]:
    """What is mapped."""
    normals = np.array([[1.0, 1.0], [-1.0, 2.0], [-2.0, -1.0], [1.0, -1.0]])
    return {
        "box": av.Box.around(CENTRE, 0.2),
        "l2_ball": av.Ball(CENTRE, 0.22),
        "l1_ball": av.Ball(CENTRE, 0.28, "l1"),
        "l2_ball_in_a_range": av.Ball(CENTRE, 0.28, "l2", (np.array([0.1, -1.0]), np.array([1.0, 0.0]))),
        "ellipsoid": av.Ellipsoid(CENTRE, 0.05 * np.array([[1.0, 0.8], [0.8, 1.0]])),
        "polytope": av.Polytope(normals, normals @ CENTRE + np.array([0.25, 0.3, 0.4, 0.3])),
    }


def measure(image: av.SetImage, net: av.Network, points: int) -> dict[str, Any]:
    """How bounds compare with samples."""
    batch = input_rows(net, image.inputs)
    samples = to_numpy(batch.sample(points, np.random.default_rng(1)))[0]
    attained = net(samples) @ image.directions.T
    width = attained.max(axis=0) - attained.min(axis=0)
    return {
        "outside": int(np.sum((attained > image.support).any(axis=1))),
        "worst_excess": float(((image.support - attained.max(axis=0)) / width).max()),
        "cells": len(image.upper),
    }


def main() -> None:
    """Bound, compare and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=int, default=6, help="cells along a side of the set's box")
    parser.add_argument("--points", type=int, default=200_000, help="samples of each set")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    net, report = network(), {}
    for name, inputs in sets().items():
        picture = str(options.output / f"{name}.png")
        image = av.image_plot(picture, net, inputs, settings=av.ReachSettings(grid=options.grid))
        report[name] = measure(image, net, options.points)
        print(name, report[name], flush=True)
    (options.output / "set_images.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
