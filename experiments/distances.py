"""Distances of a closed loop's states from unsafe points and half-planes, and the closest inputs that change a
classifier's decision, beside exact solutions by enumeration of activation patterns.

    python -m experiments.distances [--output experiments/results/distances.json]

Every line: the case, both certified ends, the exact distance and how far either end is from it, the parts bounded, and
the CPU seconds of the search. The double integrator needs the shared data set (ADMM_VERIFY_SHARED).
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from problems import feedback
from problems.nearest import least_change, least_distance, spiral_classifier, state_after

_NORMAL = np.array([0.6, 0.8])
"""Of the unsafe half-planes."""


def measured(name: str, search: Callable[[], av.Distance], exact: Callable[[], float]) -> dict[str, Any]:
    """A search beside the exact distance."""
    began = time.process_time()
    found = search()
    spent, truth = time.process_time() - began, exact()
    assert found.lower <= truth + 1e-9, f"{name}: the lower end {found.lower} is above {truth}"
    row = {
        "case": name,
        "lower": found.lower,
        "upper": found.upper,
        "exact": truth,
        "below": truth - found.lower,
        "above": found.upper - truth,
        "parts": found.cells,
        "cpu_seconds": spent,
        "status": found.status.value,
    }
    print(
        f"{name:52s} {found.lower:.8f} <= {truth:.8f} <= {found.upper:.8f}  "
        f"{row['below']:8.1e} {row['above']:8.1e} {found.cells:6d} parts {spent:6.2f} s  {found.status.value}"
    )
    return row


def double_integrator(settings: av.DistanceSettings) -> Iterator[dict[str, Any]]:
    """States after some steps, from a point and from a half-plane."""
    task = feedback.double_integrator()
    low, high = map(np.ravel, task.initial.range)
    box = av.Box(low, high)
    for steps in (1, 2, 3, 4, 5, 6):
        network = state_after(task.system, steps)
        states = network(np.random.default_rng(0).uniform(low, high, (10_000, 2)))
        points = {
            "upper right": states.max(axis=0) + np.array([0.5, 0.3]),
            "above": states.mean(axis=0) + np.array([0.0, 0.5]),
        }
        for where, point in points.items():
            yield measured(
                f"double integrator, step {steps}, point {where}",
                lambda network=network, point=point: av.distance(
                    network, box, av.Box(point, point), settings=settings, timeout=60
                ),
                lambda network=network, point=point: least_distance(network, (low, high), np.eye(2), point),
            )
        limit = float((states @ _NORMAL).max()) + 0.2
        yield measured(
            f"double integrator, step {steps}, half-plane",
            lambda network=network, limit=limit: av.distance(
                network, box, av.Polytope(-_NORMAL[None], [-limit]), settings=settings, timeout=60
            ),
            lambda network=network, limit=limit: least_distance(
                network, (low, high), _NORMAL[None] / np.linalg.norm(_NORMAL), np.array([limit])
            ),
        )


def classifier(settings: av.DistanceSettings) -> Iterator[dict[str, Any]]:
    """The closest input of another class, from random points."""
    network, low, high = spiral_classifier(), -1.2 * np.ones(2), 1.2 * np.ones(2)
    for point in np.random.default_rng(1).uniform(-0.8, 0.8, (10, 2)):
        own = int(network(point).argmax())
        condition = " or ".join(f"y{k} >= y{own}" for k in range(3) if k != own)
        query = av.query(network, av.Box(low, high), condition)
        yield measured(
            f"spiral classifier, class {own} at ({point[0]:.2f}, {point[1]:.2f})",
            lambda query=query, point=point: av.closest_counterexample(query, point, settings=settings, timeout=60),
            lambda point=point: least_change(network, (low, high), point),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("experiments/results/distances.json"))
    parser.add_argument("--tolerance", type=float, default=1e-4)
    options = parser.parse_args()
    settings = av.DistanceSettings(tolerance=options.tolerance)
    rows = [*double_integrator(settings), *classifier(settings)]
    options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"largest distance of an end from the exact one: {max(max(r['below'], r['above']) for r in rows):.2e}")


if __name__ == "__main__":
    main()
