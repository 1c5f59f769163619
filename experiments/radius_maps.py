"""Maps of certified radii in the plane for each norm, and what sampling says about them.

    python -m experiments.radius_maps [--side N] [--radii N] [--points N] [--output FOLDER]

A small network is trained on three arms of a spiral in [0, 1]^2. At every point of a grid, `certify` looks for the
largest of many radii within which the class stays the same, in l1, l2 and linf, without a range. The picture shows
them; the table compares them with the truth from above, the smallest radius that is falsified and the distance to the
nearest of many sampled points of another class, and counts the samples of another class within a certified radius,
which must be none. In the plane, the l1 ball lies in the l2 ball and that in the linf ball of the same radius, so
that radii can only shrink in this order.
"""

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree

import admm_verify as av

RESULTS = Path(__file__).parent / "results" / "radius_maps"
NORMS = {"l1": 1.0, "l2": 2.0, "linf": np.inf}
ARMS = 3


def spiral(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on the arms of a spiral in the middle of [0, 1]^2, with a little noise, and their arms."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, ARMS, count)
    share = np.sqrt(rng.uniform(0.02, 1.0, count))
    angle = 2.0 * np.pi * label / ARMS + 3.5 * share
    points = 0.5 + 0.45 * share[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (points + rng.normal(0.0, 0.01, points.shape)).astype(np.float32), label


def classifier(steps: int = 1500) -> av.Network:
    """A network 2-24-24-3, trained on the spiral."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(2, 24), torch.nn.ReLU(), torch.nn.Linear(24, 24), torch.nn.ReLU()]
    module = torch.nn.Sequential(*layers, torch.nn.Linear(24, ARMS))
    points, labels = (torch.as_tensor(part) for part in spiral(1500, 0))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(points), labels).backward()
        optimiser.step()
    return av.trace(module.eval(), points[:1])


def nearest_other(network: av.Network, points: np.ndarray, labels: np.ndarray, p: float, count: int) -> np.ndarray:
    """The distance from every point to the nearest of many samples that the network gives another class."""
    samples = np.random.default_rng(1).uniform(-0.5, 1.5, (count, 2)).astype(np.float32)
    classes = network(samples).argmax(axis=1)
    found = np.full(len(points), np.inf)
    for label in np.unique(labels):
        tree, own = KDTree(samples[classes != label].astype(np.float64)), labels == label
        found[own] = tree.query(points[own].astype(np.float64), p=p)[0]
    return found


def measure(found: av.Certification, other: np.ndarray, seconds: float) -> dict[str, Any]:
    """Figures of one norm."""
    certified, falsified = found.certified_radius, found.falsified_radius
    ratio = certified[falsified < np.inf] / falsified[falsified < np.inf]
    return {
        "norm": found.norm,
        "mean_certified": float(certified.mean()),
        "mean_nearest_sample": float(other.mean()),
        "certified_over_falsified_median": float(np.median(ratio)),
        "undecided_pairs": int(found.count(av.Answer.UNKNOWN).sum()),
        "pairs": int(found.status.size),
        "samples_of_another_class_within": int(np.sum(other < certified)),
        "seconds": seconds,
    }


def main() -> None:
    """Train, certify, compare and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=48, help="points of the grid along a side")
    parser.add_argument("--radii", type=int, default=24, help="radii, evenly spaced")
    parser.add_argument("--points", type=int, default=2_000_000, help="samples that radii are compared with")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    network = classifier()
    ticks = np.linspace(0.0, 1.0, options.side, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    points = grid.reshape(-1, 2)
    labels = network(points).argmax(axis=1)
    radii = 0.3 * np.arange(1, options.radii + 1) / options.radii
    found, report = [], []
    for norm, p in NORMS.items():
        began = time.process_time()
        found.append(av.certify(network, points, labels, radii, norm=norm, settings=av.CertifySettings(within=None)))
        seconds = time.process_time() - began
        report.append(measure(found[-1], nearest_other(network, points, labels, p, options.points), seconds))
        print(report[-1], flush=True)
    shrinking = all((a.certified_radius >= b.certified_radius).all() for a, b in pairwise(found))
    print(f"radii shrink from l1 to linf at every point: {shrinking}")
    av.radius_map_plot(str(options.output / "radius_maps.png"), grid, labels, found)
    (options.output / "radius_maps.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
