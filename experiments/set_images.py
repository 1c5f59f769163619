"""Sets in the plane and certified polygons around their images under a network.

    python -m experiments.set_images [--directions N] [--points N] [--output FOLDER]

A network 2-16-16-2 with random weights maps sets of about the same size: a box, an l2 ball, an l1 ball, an ellipsoid,
and a ball cut with a range. For many directions d, `solve` bounds d'f(x) over the set; the half-planes make a polygon
that holds the image, which many sampled points of the set show from inside. The table tells how much larger than the
samples' convex hull the polygon is, and how many samples lie outside, which must be none.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, HalfspaceIntersection

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
    shape = 0.05 * np.array([[1.0, 0.8], [0.8, 1.0]])
    return {
        "box": av.Box.around(CENTRE, 0.2),
        "l2 ball": av.Ball(CENTRE, 0.22),
        "l1 ball": av.Ball(CENTRE, 0.28, "l1"),
        "ellipsoid": av.Ellipsoid(CENTRE, shape),
        "l2 ball in a range": av.Ball(CENTRE, 0.28, "l2", (np.array([0.1, -1.0]), np.array([1.0, 0.0]))),
    }


def directions(count: int) -> np.ndarray:
    """Evenly spread, [count, 2]."""
    angles = 2.0 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def polygon(rows: np.ndarray, lower: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The corners, in turn, of {y : rows y >= lower} around a point inside."""
    corners = HalfspaceIntersection(np.concatenate([-rows, lower[:, None]], axis=1), inside).intersections
    return corners[ConvexHull(corners).vertices]


def measure(net: av.Network, inputs: WalkableSet, count: int, points: int) -> dict[str, Any]:
    """Bounds in so many directions, samples, and how they compare; the arrays that pictures need among them."""
    rows = directions(count)
    before = av.preactivation_bounds(net, inputs, method="tightened")
    lower = to_numpy(av.solve(av.Problem(net, inputs, rows, preactivation=before)).lower)
    batch = input_rows(net, inputs)
    samples = to_numpy(batch.sample(points, np.random.default_rng(0)))[0]
    samples = np.concatenate([samples, to_numpy(batch.minimiser(directions(400))).reshape(-1, 2)])
    values = net(samples)
    corners, hull = polygon(rows, lower, values.mean(axis=0)), ConvexHull(values)
    return {
        "outside": int(np.sum((values @ rows.T < lower).any(axis=1))),
        "area_over_hull": float(ConvexHull(corners).volume / hull.volume),
        "samples": samples,
        "border": samples[ConvexHull(samples).vertices],
        "values": values,
        "corners": corners,
    }


def draw(path: Path, found: dict[str, dict[str, Any]]) -> None:
    """The sets above, their images below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.0 * len(found), 6.0), layout="constrained")
    panels = figure.subplots(2, len(found), squeeze=False)
    for (name, one), above, below in zip(found.items(), *panels, strict=True):
        above.fill(*one["border"].T, facecolor="#56B4E9", alpha=0.4, edgecolor="#0072B2")
        above.set(title=name, xlim=(-0.15, 0.55), ylim=(-0.45, 0.25), aspect="equal")
        below.scatter(*one["values"][:6000].T, s=1.0, color="0.45", linewidths=0, rasterized=True)
        below.fill(*one["corners"].T, fill=False, edgecolor="#D55E00", linewidth=1.2)
        below.set(title=f"image: area {one['area_over_hull']:.3f} of the hull", aspect="equal")
        below.title.set_fontsize(9)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Bound, compare and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directions", type=int, default=48, help="half-planes of a polygon")
    parser.add_argument("--points", type=int, default=200_000, help="samples of each set")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    net = network()
    found = {name: measure(net, inputs, options.directions, options.points) for name, inputs in sets().items()}
    report = {name: {key: one[key] for key in ("outside", "area_over_hull")} for name, one in found.items()}
    for name, one in report.items():
        print(name, one)
    (options.output / "set_images.json").write_text(json.dumps(report, indent=1) + "\n")
    draw(options.output / "set_images.png", found)


if __name__ == "__main__":
    main()
