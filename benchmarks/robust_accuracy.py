"""Certified and robust accuracy side by side: our certificates and attacks against the attacks of foolbox.

    python -m benchmarks.robust_accuracy [--images N] [--networks NAME ...] [--json FILE]

A dense MNIST and a convolutional CIFAR-10 network, each with the first test images and three radii. `certify` bounds
all balls; then foolbox, torchattacks' AutoAttack (where it is installed) and our attacks look for misclassified inputs
in the balls of all images that are classified like their label. Every input that any of them returns is moved strictly
inside the ball and judged by the same torch module, in float32 and float64: a misclassified one in a certified ball is
a contradiction. Ours attack ball by ball with one target per other class, as `verify` does; the others take all images
in one batch. A run replaces what the JSON file holds of its networks and leaves the others.
"""

import argparse
import copy
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

import admm_verify as av
from admm_verify.attacks.apgd import Apgd
from admm_verify.attacks.method import Method
from admm_verify.attacks.pgd import Pgd
from admm_verify.attacks.search import SEQUENCE, attack
from admm_verify.attacks.targets import Targets
from benchmarks.shares import RESULTS, environment, write_json
from problems.lp_instances import shared_folder
from problems.mnist_images import mnist_test

RADII = {"mnist_6x100_nat": (0.01, 0.02, 0.03), "cifar_conv_small_pgd": (0.002, 0.006, 0.012)}
"""Per network, from a radius at which most images that can be certified are to one at which few are."""

PEERS = ("foolbox", "torchattacks")


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier as torch module and as network, with images [count, *shape] in [0, 1] and labels [count]."""

    module: torch.nn.Module
    network: av.Network
    images: np.ndarray
    labels: np.ndarray

    @cached_property
    def exact(self) -> torch.nn.Module:
        """The module in float64."""
        return copy.deepcopy(self.module).double()

    def take(self, index: np.ndarray) -> "Subject":
        """The same classifier with some of the images."""
        return Subject(self.module, self.network, self.images[index], self.labels[index])

    def misled(self, points: np.ndarray) -> np.ndarray:
        """Which points [count, *shape] get another class than their label, or tie, in float32 or float64."""
        found = np.zeros(len(points), dtype=bool)
        for module, dtype in ((self.module, torch.float32), (self.exact, torch.float64)):
            with torch.no_grad():
                scores = module(torch.as_tensor(points, dtype=dtype)).numpy()
            own = np.take_along_axis(scores, self.labels[:, None], axis=1)[:, 0]
            np.put_along_axis(scores, self.labels[:, None], -np.inf, axis=1)
            found |= own <= scores.max(axis=1)
        return found


def subject(name: str, count: int) -> Subject:
    """A network of the shared data set's folder `classifiers` and the first images of its test set."""
    folder = shared_folder() / "data" / "classifiers" / name
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    with np.load(folder / "weights.npz") as arrays:
        layers = [_layer(layer, arrays) for layer in description["layers"]]
    module = torch.nn.Sequential(*layers).eval().requires_grad_(False)
    images, labels = mnist_test(count) if description["dataset"] == "mnist" else cifar_test(count)
    if len(images) < count:
        raise SystemExit(f"There are {len(images)} images for {name}, {count} were asked for.")
    return Subject(module, av.trace(module, torch.as_tensor(images[:1])), images, labels)


def cifar_test(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first stored images, scaled to [0, 1] in float32, [count, 3, 32, 32], and their labels."""
    with np.load(shared_folder() / "data" / "images" / "cifar10_test_subset.npz") as arrays:
        images, labels = arrays["images"][:count], arrays["labels"][:count]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2) / np.float32(255)), labels.astype(np.int64)


class Normalise(torch.nn.Module):
    """(x - mean) / deviation per channel."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.deviation


def _layer(layer: dict[str, Any], arrays: Any) -> torch.nn.Module:
    kind = layer["type"]
    if kind == "normalize":
        return Normalise(layer["mean"], layer["std"])
    if kind in ("relu", "flatten"):
        return {"relu": torch.nn.ReLU, "flatten": torch.nn.Flatten}[kind]()
    weight, bias = (torch.as_tensor(arrays[layer[part]], dtype=torch.float32) for part in ("weight", "bias"))
    if kind == "linear":
        module: torch.nn.Module = torch.nn.Linear(weight.shape[1], weight.shape[0])
    elif kind == "conv2d":
        stride, padding = layer["stride"], layer["padding"]
        module = torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], stride, padding)
    else:
        raise ValueError(f"The layer type {kind} is not known here.")
    module.load_state_dict({"weight": weight, "bias": bias})
    return module


@dataclass(frozen=True, eq=False)
class Balls:
    """The inputs within a radius of every image of a subject and within [0, 1]."""

    subject: Subject
    radius: float

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest float32 number strictly inside, [count, *shape]."""
        images = self.subject.images.astype(np.float64)
        # Rounding moves an end by half a step at most, so that the next number is inside.
        lower = np.nextafter((images - self.radius).astype(np.float32), np.float32(np.inf))
        upper = np.nextafter((images + self.radius).astype(np.float32), np.float32(-np.inf))
        lower, upper = np.maximum(lower, np.float32(0)), np.minimum(upper, np.float32(1))
        assert (images - lower < self.radius).all() and (upper - images < self.radius).all()
        return lower, upper

    def misled(self, points: np.ndarray) -> np.ndarray:
        """Which points, moved strictly inside, are misclassified."""
        return self.subject.misled(np.clip(points.astype(np.float32), *self.ends))


Attack = Callable[[Balls], np.ndarray]
"""Points of the balls, [count, *shape], or beside them by rounding."""


def foolbox_attacks() -> dict[str, Attack]:
    """Every attack for this norm that follows gradients; PGD with ten restarts, the rest with foolbox's defaults."""
    # One of its attacks imports GitPython, which refuses to be imported where there is no git program.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import foolbox

    known = foolbox.attacks
    methods = {
        "foolbox FGSM": known.LinfFastGradientAttack(),
        "foolbox BIM": known.LinfBasicIterativeAttack(),
        "foolbox MI-FGSM": known.LinfMomentumIterativeFastGradientMethod(),
        "foolbox PGD, 10 starts": known.LinfProjectedGradientDescentAttack().repeat(10),
        "foolbox Adam PGD": known.LinfAdamProjectedGradientDescentAttack(),
        "foolbox DeepFool": known.LinfDeepFoolAttack(),
        "foolbox FMN": known.LInfFMNAttack(),
    }

    def run(method: Any, balls: Balls) -> np.ndarray:
        images, labels = (torch.as_tensor(array) for array in (balls.subject.images, balls.subject.labels))
        model = foolbox.PyTorchModel(balls.subject.module, bounds=(0, 1), device="cpu")
        return method(model, images, labels, epsilons=balls.radius)[1].numpy()

    return {name: partial(run, method) for name, method in methods.items()}


def torchattacks_attacks() -> dict[str, Attack]:
    """AutoAttack's standard version, where the package is installed."""
    if find_spec("torchattacks") is None:
        return {}
    import torchattacks

    def run(balls: Balls) -> np.ndarray:
        images, labels = (torch.as_tensor(array) for array in (balls.subject.images, balls.subject.labels))
        method = torchattacks.AutoAttack(balls.subject.module, norm="Linf", eps=balls.radius, seed=0)
        return method(images, labels).detach().numpy()

    return {"torchattacks AutoAttack": run}


def our_attacks() -> dict[str, Attack]:
    """PGD and Auto-PGD on their own, and the whole sequence, each with its default settings."""

    def run(methods: Sequence[Method], balls: Balls) -> np.ndarray:
        rows = np.eye(balls.subject.network.output_size, dtype=np.float32)
        points = []
        for label, lower, upper in zip(balls.subject.labels, *balls.ends, strict=True):
            margins = np.delete(rows[label] - rows, label, axis=0)[:, None]
            ends = (np.tile(end.reshape(1, -1), (len(margins), 1)) for end in (lower, upper))
            targets = Targets(av.Box(*ends), margins, np.zeros(margins.shape[:2], np.float32))
            found = attack(balls.subject.network, targets, methods, any_suffices=True)
            points.append(found.x[np.argmin(found.loss)].reshape(lower.shape))
        return np.stack(points)

    sequences: dict[str, Sequence[Method]] = {"PGD": [Pgd()], "APGD": [Apgd()], "attack": SEQUENCE}
    return {f"our {name}": partial(run, methods) for name, methods in sequences.items()}


def measure(name: str, count: int, attacks: dict[str, Attack]) -> dict[str, Any]:
    """Everything about one network, as plain data; every share is of all images."""
    everything = subject(name, count)
    correct = ~everything.misled(everything.images)
    began = time.process_time()
    found = av.certify(everything.network, everything.images, everything.labels, RADII[name])
    seconds = time.process_time() - began
    print(f"\n{name}: {count} images, clean accuracy {correct.mean():.1%}, `certify` {seconds:.1f} s for all radii")
    attacked, places = everything.take(correct), np.flatnonzero(correct)
    report = []
    for k, radius in enumerate(RADII[name]):
        balls, verified = Balls(attacked, radius), found.status[places, k] == av.Answer.VERIFIED
        runs = {title: _outcome(method, balls, count) for title, method in attacks.items()}
        report.append(_summary(radius, verified, runs, count))
        print(_table(report[-1]))
    return {"images": count, "clean_accuracy": float(correct.mean()), "certify_seconds": seconds, "radii": report}


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an attack did: which balls have a misclassified input, the same for the points as the attack returned them
    (which rounding may have put beside the ball), and CPU seconds.
    """

    misled: np.ndarray
    as_returned: np.ndarray
    seconds: float


def _outcome(method: Attack, balls: Balls, count: int) -> Outcome:
    torch.manual_seed(0)
    began = time.process_time()
    points = method(balls)
    seconds = time.process_time() - began
    return Outcome(balls.misled(points), balls.subject.misled(points), seconds)


def _summary(radius: float, verified: np.ndarray, runs: dict[str, Outcome], count: int) -> dict[str, Any]:
    """Accuracies per attack and per package, how ours compare with the best other package, and contradictions."""

    def share(misled: np.ndarray) -> float:
        return float(np.sum(~misled)) / count

    peers = {
        package: np.any([run.misled for title, run in runs.items() if title.startswith(package)], axis=0)
        for package in PEERS
        if any(title.startswith(package) for title in runs)
    }
    most, anyone = max(np.sum(misled) for misled in peers.values()), np.any(list(peers.values()), axis=0)
    return {
        "radius": radius,
        "certified": float(np.sum(verified)) / count,
        "contradictions": int(sum(np.sum(run.misled & verified) for run in runs.values())),
        "robust": {
            title: {
                "accuracy": share(run.misled),
                "accuracy_as_returned": share(run.as_returned),
                "seconds": run.seconds,
            }
            for title, run in runs.items()
        },
        "robust_by_package": {package: share(misled) for package, misled in peers.items()},
        "ours": {
            title: {
                "points_above_lowest_package": 100 * float(most - np.sum(run.misled)) / count,
                "missed": int(np.sum(anyone & ~run.misled)),
                "found_alone": int(np.sum(run.misled & ~anyone)),
            }
            for title, run in runs.items()
            if title.startswith("our")
        },
    }


def _table(found: dict[str, Any]) -> str:
    packages = ", ".join(f"{package} {value:.1%}" for package, value in found["robust_by_package"].items())
    out = [f"radius {found['radius']:g}: certified {found['certified']:.1%}; all attacks of {packages}"]
    for title, run in found["robust"].items():
        out.append(f"  {title:26} robust accuracy {run['accuracy']:6.1%} in {run['seconds']:7.2f} s")
        if own := found["ours"].get(title):
            out[-1] += f", {own['points_above_lowest_package']:+.1f} points from the lowest package"
            out[-1] += f" ({own['missed']} balls missed, {own['found_alone']} found alone)"
    return "\n".join([*out, f"  misclassified inputs in certified balls: {found['contradictions']}"])


def _versions() -> dict[str, str]:
    found = {}
    for name in ("torch", *PEERS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Certified accuracy, and robust accuracy under foolbox and ours.")
    parser.add_argument("--images", type=int, default=200, help="how many images of each network's test set")
    parser.add_argument("--networks", nargs="+", default=list(RADII), choices=list(RADII), help="which networks")
    parser.add_argument("--json", type=Path, default=RESULTS / "robust_accuracy.json", help="file of the results")
    options = parser.parse_args()
    if find_spec("foolbox") is None:
        raise SystemExit('This benchmark needs foolbox, which is not installed; it comes with pip install ".[test]".')
    attacks = foolbox_attacks() | torchattacks_attacks() | our_attacks()
    report = json.loads(options.json.read_text(encoding="utf-8")) if options.json.is_file() else {}
    for name in options.networks:
        report[name] = {"environment": environment() | _versions()} | measure(name, options.images, attacks)
        write_json(options.json, report)


if __name__ == "__main__":
    main()
