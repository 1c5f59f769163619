"""Robustness reports of two networks, with an attack of foolbox beside them.

    python -m benchmarks.robustness_report [--images N] [--networks NAME ...] [--pages FOLDER] [--json FILE]

A dense and a convolutional MNIST network, the latter trained to be certified, each with the first test images and four
radii. At each radius certified <= attacked <= clean, of the same images, and no input that our attacks or foolbox's PGD
return, moved strictly inside the ball, has another class in a certified ball. A run replaces what the JSON file holds
of its networks and leaves the others; the pages themselves are written where --pages says.
"""

import argparse
import json
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from benchmarks.robust_accuracy import Balls, Subject, foolbox_attacks, subject
from benchmarks.shares import RESULTS, environment, write_json

RADII = {"mnist_6x100_nat": (0.005, 0.01, 0.02, 0.03), "mnist_conv_wong_eps0.1": (0.05, 0.1, 0.15, 0.2)}
"""Per network, from a radius at which most images are certified to one at which few are."""

PEER = "foolbox PGD, 10 starts"


def measure(name: str, images: int, steepness: float, pages: Path | None) -> dict[str, Any]:
    """The report of a network as plain data, and foolbox beside it."""
    given = subject(name, images)
    given = replace(given, network=replace(given.network, name=name))
    settings = av.ReportSettings(steepness=steepness)
    began, wall = time.process_time(), time.monotonic()
    found = av.robustness_report(given.network, given.images, given.labels, eps=RADII[name], settings=settings)
    seconds = {"cpu": time.process_time() - began, "wall": time.monotonic() - wall}
    print(found, flush=True)
    if pages is not None:
        av.report_page(pages / f"{name}.html", found)
    beside = {} if find_spec("foolbox") is None else _foolbox(given, found)
    return {
        "images": images,
        "seconds": seconds,
        "clean_accuracy": found.clean_accuracy,
        "radii": [_radius(found, k) for k in range(len(found.radii))],
        "attacks": {one.name: _attack(found, one) for one in found.attacks},
        "steps": {step.name: step.seconds for step in found.steps},
        "steepness": {one.norm: _steep(one) for one in found.steepness},
        "smallest_perturbation": min((one.found.distance for one in found.examples), default=None),
        "foolbox": beside,
    }


def _radius(found: Any, k: int) -> dict[str, Any]:
    kinds = {name: getattr(found, name) for name in ("certified", "broken", "unknown", "unfinished", "rounded")}
    certified, attacked = found.certified[:, k], found.holding[:, k]
    return {
        "radius": float(found.radii[k]),
        "certified_accuracy": float(found.certified_accuracy[k]),
        "attacked_accuracy": float(found.attacked_accuracy[k]),
        "in_order": bool((certified <= attacked).all() and (attacked <= found.correct).all()),
        "contradictions": int(np.sum(certified & found.broken[:, k])),
        **{name: int(np.sum(which[:, k])) for name, which in kinds.items()},
    }


def _attack(found: Any, attack: Any) -> dict[str, Any]:
    return {
        "accuracy": found.attacked_by(attack).tolist(),
        "images_broken": sum(one is not None for one in attack.nearest),
        "distortion": attack.distortion,
        "seconds": attack.seconds,
    }


def _steep(one: Any) -> dict[str, Any]:
    return {
        "product": None if one.layers is None else one.layers.product,
        "upper": None if one.constant is None else one.constant.upper,
        "lower": None if one.constant is None else one.constant.lower,
    }


def _foolbox(given: Subject, found: Any) -> dict[str, Any]:
    """What foolbox's PGD leaves, what it breaks of the certified, and whom each breaks that the other does not."""
    attack, rows = foolbox_attacks()[PEER], []
    places = np.flatnonzero(found.correct)
    for k, radius in enumerate(found.radii.tolist()):
        balls = Balls(given.take(places), radius)
        broken = np.zeros(len(given.labels), dtype=bool)
        began = time.process_time()
        broken[places] = balls.misled(attack(balls))
        rows.append(
            {
                "radius": radius,
                "accuracy": float(np.mean(found.correct & ~broken)),
                "contradictions": int(np.sum(broken & found.certified[:, k])),
                "missed_by_ours": int(np.sum(broken & ~found.broken[:, k])),
                "found_by_ours_alone": int(np.sum(found.broken[:, k] & found.correct & ~broken)),
                "cpu_seconds": time.process_time() - began,
            }
        )
        print(PEER, rows[-1], flush=True)
    return {"attack": PEER, "radii": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description="Robustness reports of two networks, beside an attack of foolbox.")
    parser.add_argument("--images", type=int, default=200, help="how many images of the test set")
    parser.add_argument("--networks", nargs="+", default=list(RADII), choices=list(RADII), help="which networks")
    parser.add_argument("--steepness", type=float, default=60.0, help="seconds for Lipschitz constants")
    parser.add_argument("--pages", type=Path, help="folder of the pages; none by default")
    parser.add_argument("--json", type=Path, default=RESULTS / "robustness_report.json", help="file of the results")
    options = parser.parse_args()
    report = json.loads(options.json.read_text(encoding="utf-8")) if options.json.is_file() else {}
    for name in options.networks:
        print(f"\n{name}", flush=True)
        measured = measure(name, options.images, options.steepness, options.pages)
        report[name] = {"environment": environment()} | measured
        write_json(options.json, report)


if __name__ == "__main__":
    main()
