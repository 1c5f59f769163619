"""Nearest points of another class and how they transfer: digits, two halves of the training images and two seeds.

    python -m experiments.transfer [--images N] [--output FOLDER]

Four networks 64-64-32-10 are trained, each on one half of the training images from one seed. The tables are in the form
of tables 1, 2 and 4 of "Intriguing properties of neural networks" (arXiv 1312.6199): error rates and the average
distortion, the error rates of every network on every other one's examples, and the same at a common distortion. Where
foolbox is installed, the distances are compared with those of its attacks for least l2 distances, all images the same;
every point of theirs is counted where the network, on it alone in float32, gives another class.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

import admm_verify as av
from admm_verify.text_tables import table
from problems.train_digits import SEED, Digits, split

RESULTS = Path(__file__).parent / "results" / "transfer.json"
HALVES, SEEDS = ("P1", "P2"), (0, 1)
EPOCHS, BATCH, RATE = 40, 50, 3e-3
COMMON = 0.1
"""The distortion that the paper magnifies to."""

FARTHER = 1e-4
"""By what share the changes of foolbox's attacks are made larger, some of which end right at the border."""

Row = dict[str, float | None]


def trained(digits: Digits, seed: int) -> torch.nn.Sequential:
    """A network 64-64-32-10."""
    torch.manual_seed(seed)
    linear = torch.nn.Linear
    layers = [linear(64, 64), torch.nn.ReLU(), linear(64, 32), torch.nn.ReLU(), linear(32, 10)]
    module = torch.nn.Sequential(*layers)
    optimiser = torch.optim.Adam(module.parameters(), RATE)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(digits.labels)).split(BATCH):
            part = digits.take(index)
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(module(part.images), part.labels).backward()
            optimiser.step()
    return module.eval()


def modules(training: Digits) -> dict[str, tuple[torch.nn.Sequential, Digits]]:
    """The four networks by name, each with what it was trained on."""
    half = len(training.labels) // 2
    parts = [training.take(torch.arange(half)), training.take(torch.arange(half, 2 * half))]
    return {
        f"{name} seed {seed}": (trained(part, seed), part)
        for name, part in zip(HALVES, parts, strict=True)
        for seed in SEEDS
    }


def foolbox_methods() -> dict[str, Callable[..., Any]]:
    """Every attack of foolbox for a least l2 distance that runs here; that of Brendel and Bethge needs numba."""
    os.environ["GIT_PYTHON_REFRESH"] = "quiet"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

    known: Any = foolbox.attacks
    methods = {
        "Carlini and Wagner, 1000 steps": known.L2CarliniWagnerAttack(steps=1000),
        "DDN, 1000 steps": known.DDNAttack(steps=1000),
        "DeepFool": known.L2DeepFoolAttack(),
        "FMN, 1000 steps": known.L2FMNAttack(steps=1000),
    }
    if find_spec("numba") is not None:
        methods["Brendel and Bethge, 1000 steps"] = known.L2BrendelBethgeAttack(steps=1000)
    return methods


def theirs(module: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> dict[str, Row]:
    """Mean l2 distance of every attack of foolbox, and of the best of them for each image."""
    methods = foolbox_methods()
    import foolbox

    package: Any = foolbox
    model = package.PyTorchModel(module, bounds=(0, 1), device="cpu")
    given = torch.as_tensor(images), torch.as_tensor(labels)
    found, lengths = {}, []
    for name, method in methods.items():
        torch.manual_seed(0)
        began = time.process_time()
        points = method(model, *given, epsilons=None)[1].numpy()
        seconds = time.process_time() - began
        points = (images + (1.0 + FARTHER) * (points - images)).clip(0.0, 1.0)
        length = np.linalg.norm(points.astype(np.float64) - images, axis=1)
        lengths.append(np.where(misled(module, points, labels), length, np.inf))
        found[name] = summary(lengths[-1], seconds)
    return found | {"best of these": summary(np.min(lengths, axis=0), None)}


def misled(module: torch.nn.Module, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which points get another class than the label, each one alone."""
    with torch.no_grad():
        classes = [int(module(torch.as_tensor(point[None])).argmax()) for point in points]
    return np.array(classes) != labels


def summary(lengths: np.ndarray, seconds: float | None) -> Row:
    """The mean over the images that a point was found for, and how many there are none for."""
    known = np.isfinite(lengths)
    return {"mean_l2": float(lengths[known].mean()), "failed": int(np.sum(~known)), "cpu_seconds": seconds}


def ours(network: av.Network, images: np.ndarray, labels: np.ndarray) -> dict[str, Row]:
    """The same of `minimal_distortion`, with and without the steps to the linearised border."""
    found = {}
    for name, refined in (("L-BFGS alone", 0), ("L-BFGS, refined", av.PricedDescent().refined)):
        began = time.process_time()
        settings = av.DistortionSettings(descent=av.PricedDescent(refined=refined))
        lengths = av.minimal_distortion(network, images, labels, settings=settings).l2
        found[name] = summary(lengths, time.process_time() - began)
    return found


def error(network: av.Network, digits: Digits) -> float:
    """The error rate on images."""
    return float(np.mean(network(digits.images.numpy()).argmax(axis=1) != digits.labels.numpy()))


def compared(networks: dict[str, Any], test: Digits) -> dict[str, dict[str, Row]]:
    """Distances of every network's right images beside foolbox's."""
    if find_spec("foolbox") is None:
        return {}
    found = {}
    for name, (module, network) in networks.items():
        images, labels = test.images.numpy(), test.labels.numpy()
        right = ~misled(module, images, labels)
        found[name] = ours(network, images[right], labels[right]) | theirs(module, images[right], labels[right])
        rows = [
            [key, *("" if value is None else f"{value:.4g}" for value in one.values())]
            for key, one in found[name].items()
        ]
        print(f"{name}, {right.sum()} images\n{table(['attack', 'mean l2', 'failed', 'CPU s'], rows)}", flush=True)
    return found


def main() -> None:
    """Train, attack, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=450, help="test images")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, test = split(torch.Generator().manual_seed(SEED))
    test = test.take(torch.arange(options.images))
    made = modules(training)
    networks = {name: (module, av.trace(module, test.images[:1])) for name, (module, _) in made.items()}
    began = time.process_time()
    settings = av.TransferSettings(common=COMMON)
    found = av.transfer_table(
        {name: one for name, (_, one) in networks.items()}, test.images, test.labels, settings=settings
    )
    seconds = time.process_time() - began
    models = [
        [name, f"{error(networks[name][1], part):.1%}", f"{found.clean[i]:.1%}", f"{found.distortion[i]:.3g}"]
        for i, (name, (_, part)) in enumerate(made.items())
    ]
    print(table(["network", "train error", "test error", "average distortion"], models))
    print(found, flush=True)
    report = {
        "names": list(found.names),
        "train_error": [error(networks[name][1], part) for name, (_, part) in made.items()],
        **{key: getattr(found, key).tolist() for key in ("clean", "examples", "distortion", "errors", "magnified")},
        "common": found.common,
        **{key: getattr(found, key).tolist() for key in ("reached", "noisy", "noise")},
        "failed": sum(one.failed for one in found.found),
        "cpu_seconds": seconds,
        "compared": compared(networks, test),
    }
    options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
