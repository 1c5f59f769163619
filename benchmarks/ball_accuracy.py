"""Certified accuracy in l1 and l2 balls, against the attacks of foolbox for these norms.

    python -m benchmarks.ball_accuracy [--images N] [--networks NAME ...] [--norms NORM ...] [--search S] [--json FILE]

MNIST networks, each with the first test images and a few radii in each norm. `certify` bounds all balls; then the
gradient attacks of foolbox look for misclassified inputs in the balls of all images that are classified like their
label. Every input that any of them returns is moved inside the ball and judged by the torch module, in float32 and
float64: a misclassified one in a certified ball is a contradiction. What foolbox misleads and `certify` leaves unknown
is counted too. A run replaces what the JSON file holds of its networks and norms and leaves the others.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

import admm_verify as av
from benchmarks.robust_accuracy import Subject, subject
from benchmarks.shares import RESULTS, environment, write_json

RADII = {"l2": (0.25, 0.5, 1.0), "l1": (1.0, 2.0, 5.0)}
"""Per norm, in units of pixels in [0, 1]."""

NETWORKS = ("mnist_conv_small_nat", "mnist_fc_deepsplit")

ORDER = {"l1": 1, "l2": 2}

SHARE = 1.0 - 1e-6
"""Of the radius, to which what lies further out is moved."""


def foolbox_attacks(norm: str) -> dict[str, Any]:
    """The attacks that follow gradients in a norm: PGD from ten starts, and those that look for the nearest input."""
    # One of its attacks imports GitPython, which refuses to be imported where there is no git program.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import foolbox

    known: Any = foolbox.attacks
    if norm == "l2":
        return {
            "L2 PGD, 10 starts": known.L2ProjectedGradientDescentAttack().repeat(10),
            "L2 DeepFool": known.L2DeepFoolAttack(),
            "DDN": known.DDNAttack(),
            "L2 FMN": known.L2FMNAttack(),
            "Carlini-Wagner": known.L2CarliniWagnerAttack(binary_search_steps=5, steps=200, stepsize=0.02),
        }
    return {
        "L1 PGD, 10 starts": known.L1ProjectedGradientDescentAttack().repeat(10),
        "Sparse L1 descent": known.SparseL1DescentAttack(quantile=0.95, steps=40),
        "L1 FMN": known.L1FMNAttack(),
        "EAD": known.EADAttack(binary_search_steps=5, steps=300, decision_rule="L1"),
    }


def inside(images: np.ndarray, points: np.ndarray, radius: float, norm: str) -> np.ndarray:
    """Points moved into the balls and into [0, 1]; as they are where they lie there, [count, *shape] in float32."""
    centre = images.reshape(len(images), -1).astype(np.float64)
    points = np.clip(points.reshape(len(images), -1), 0.0, 1.0).astype(np.float32)
    change = points.astype(np.float64) - centre
    size = np.linalg.norm(change, ORDER[norm], axis=1, keepdims=True)
    moved = (centre + change * np.minimum(1.0, SHARE * radius / np.maximum(size, 1e-300))).astype(np.float32)
    found = np.where(size < radius, points, moved)
    assert (np.linalg.norm(found - centre, ORDER[norm], axis=1) < radius).all()
    assert (found >= 0).all() and (found <= 1).all()
    return found.reshape(images.shape)


def attacked(balls: Subject, norm: str, radii: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Per attack which balls have a misclassified input, [radii, images], and CPU seconds."""
    import foolbox

    package: Any = foolbox
    model = package.PyTorchModel(balls.module, bounds=(0, 1), device="cpu")
    images, labels = torch.as_tensor(balls.images), torch.as_tensor(balls.labels)
    found = {}
    for name, method in foolbox_attacks(norm).items():
        torch.manual_seed(0)
        began = time.process_time()
        points = method(model, images, labels, epsilons=list(radii))[1]
        seconds = time.process_time() - began
        pairs = zip(points, radii, strict=True)
        misled = np.stack([balls.misled(inside(balls.images, p.numpy(), radius, norm)) for p, radius in pairs])
        found[name] = {"misled": misled, "seconds": seconds}
        print(f"    {name:20} misleads {misled.sum(axis=1).tolist()} in {seconds:.1f} s", flush=True)
    return found


def measure(everything: Subject, norm: str, search: float | None) -> dict[str, Any]:
    """Counts of answers and of contradictions, radius by radius, as plain data."""
    radii, count = RADII[norm], len(everything.images)
    settings = av.CertifySettings(norm=norm, search=search)
    began = time.process_time()
    found = av.certify(everything.network, everything.images, everything.labels, radii, settings=settings)
    seconds = time.process_time() - began
    print(f"  {norm}: {seconds:.1f} s for all radii\n{found}", flush=True)
    correct = np.flatnonzero(~everything.misled(everything.images))
    runs = attacked(everything.take(correct), norm, radii)
    anyone = np.any([run["misled"] for run in runs.values()], axis=0)
    report = []
    for k, radius in enumerate(radii):
        status = found.status[correct, k]
        row = {answer.value: int(found.count(answer)[k]) for answer in av.Answer}
        row |= {"radius": radius, "misled": {name: int(run["misled"][k].sum()) for name, run in runs.items()}}
        row["contradictions"] = int(np.sum(anyone[k] & (status == av.Answer.VERIFIED)))
        row["unknown_and_misled"] = int(np.sum(anyone[k] & (status == av.Answer.UNKNOWN)))
        row["falsified_and_not_misled"] = int(np.sum(~anyone[k] & (status == av.Answer.FALSIFIED)))
        report.append(row)
        print(f"    {row}", flush=True)
    return {
        "images": count,
        "clean_accuracy": len(correct) / count,
        "certify_seconds": seconds,
        "attack_seconds": {name: run["seconds"] for name, run in runs.items()},
        "radii": report,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Certified accuracy in l1 and l2 balls, against foolbox.")
    parser.add_argument("--images", type=int, default=200, help="how many images of the test set")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="of the shared folder `classifiers`")
    parser.add_argument("--norms", nargs="+", default=list(RADII), choices=list(RADII), help="which norms")
    parser.add_argument("--search", type=float, help="seconds of branch and bound for each image left unknown")
    parser.add_argument("--json", type=Path, default=RESULTS / "ball_accuracy.json", help="file of the results")
    options = parser.parse_args()
    if find_spec("foolbox") is None:
        raise SystemExit('This benchmark needs foolbox, which is not installed; it comes with pip install ".[test]".')
    report = json.loads(options.json.read_text(encoding="utf-8")) if options.json.is_file() else {}
    for name in options.networks:
        everything = subject(name, options.images)
        print(name, flush=True)
        for norm in options.norms:
            found = measure(everything, norm, options.search)
            report.setdefault(name, {})[norm] = {"environment": environment(), "search": options.search} | found
            write_json(options.json, report)


if __name__ == "__main__":
    main()
