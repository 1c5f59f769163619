"""Trains the demo's digit classifier and writes it, with 12 test images, to the library's data folder.

    python -m problems.train_digits

Images: scikit-learn's digits, which is the test part of UCI's Optical Recognition of Handwritten Digits (E. Alpaydin,
C. Kaynak, 1998, doi 10.24432/C50P49, CC BY 4.0), 8 x 8, divided by 16. Training: half clean, half adversarial images
(projected gradient). The images kept show every outcome at the demo's radius.
"""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from sklearn import datasets

import admm_verify as av
from admm_verify.arrays import Array
from admm_verify.network.layers import network_from_layers
from admm_verify.report.demo import RADIUS, margins

TARGET = Path(av.__file__).parent / "report" / "data" / "digits.safetensors"
SEED = 0
WIDTHS = (64, 50, 50, 50, 50, 10)
TEST_IMAGES = 450
EPOCHS, BATCH, RATE = 60, 100, 3e-3
ATTACK_RADIUS, ATTACK_STEPS = 0.03, 3
KEPT = {"crown": 4, "ascent": 4, "unknown": 3, "falsified": 1}
"""How many images of each outcome are kept: verified by CROWN, by ascent only, not decided, or misled."""


@dataclass(frozen=True, eq=False)
class Digits:
    """Images [count, 64] in [0, 1] and labels [count]."""

    images: torch.Tensor
    labels: torch.Tensor

    def take(self, index: torch.Tensor) -> "Digits":
        return Digits(self.images[index], self.labels[index])


def split(generator: torch.Generator) -> tuple[Digits, Digits]:
    """Training and test images."""
    images, labels = datasets.load_digits(return_X_y=True)
    digits = Digits(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
    order = torch.randperm(len(digits.labels), generator=generator)
    return digits.take(order[:-TEST_IMAGES]), digits.take(order[-TEST_IMAGES:])


def train(digits: Digits, generator: torch.Generator) -> torch.nn.Sequential:
    """The trained classifier; the radius of the attack grows over the first 40 % of the epochs."""
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(WIDTHS):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    module = torch.nn.Sequential(*layers[:-1])
    optimiser = torch.optim.Adam(module.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    loss = torch.nn.functional.cross_entropy
    for epoch in range(EPOCHS):
        radius = ATTACK_RADIUS * min(1.0, epoch / (0.4 * EPOCHS))
        for index in torch.randperm(len(digits.labels), generator=generator).split(BATCH):
            part = digits.take(index)
            moved = attack(module, part, radius, generator)
            total = loss(module(part.images), part.labels) + loss(module(moved), part.labels)
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
        schedule.step()
    return module


def attack(module: torch.nn.Module, digits: Digits, radius: float, generator: torch.Generator) -> torch.Tensor:
    """Images within the radius that the module finds hard: projected gradient from a random start."""
    lower, upper = (digits.images - radius).clamp(0, 1), (digits.images + radius).clamp(0, 1)
    moved = lower + (upper - lower) * torch.rand(lower.shape, generator=generator)
    for _ in range(ATTACK_STEPS):
        moved.requires_grad_()
        value = torch.nn.functional.cross_entropy(module(moved), digits.labels)
        (gradient,) = torch.autograd.grad(value, moved)
        moved = torch.clamp((moved + 0.5 * radius * gradient.sign()).detach(), lower, upper)
    return moved


def outcome(network: av.Network, image: np.ndarray, label: int) -> str:
    """What the demo shows for an image, found with the same solvers: a key of KEPT."""
    problem = av.Problem(network, av.Box.around(image, RADIUS, within=(0.0, 1.0)), margins(label))
    if np.min(av.solve(problem, settings=av.SolverSettings(max_passes=0)).lower) > 0:
        return "crown"
    ascent = av.solve(problem, "ascent")
    if misled(network, ascent.primal, label):
        return "falsified"
    if np.min(ascent.lower) > 0:
        return "ascent"
    admm = av.solve(problem, "admm", settings=av.SolverSettings(tolerance=1e-3))
    return "falsified" if misled(network, admm.primal, label) else "unknown"


def misled(network: av.Network, points: Array, label: int) -> bool:
    """Whether some point gets another label."""
    return bool((np.argmax(network(points), axis=1) != label).any())


def choose(network: av.Network, images: np.ndarray, labels: np.ndarray) -> dict[int, str]:
    """The images kept and their outcomes, among those classified correctly, digits as different as possible."""
    correct = np.flatnonzero(np.argmax(network(images), axis=1) == labels)
    outcomes = {int(i): outcome(network, images[i], int(labels[i])) for i in correct}
    shown = dict.fromkeys(range(10), 0)
    chosen: dict[int, str] = {}
    for name in sorted(KEPT, key=lambda name: KEPT[name]):  # rare outcomes leave the least choice
        for _ in range(KEPT[name]):
            left = [i for i, found in outcomes.items() if found == name and i not in chosen]
            pick = min(left, key=lambda i: shown[int(labels[i])])
            shown[int(labels[pick])] += 1
            chosen[pick] = name
    print({name: sum(found == name for found in outcomes.values()) for name in KEPT}, "of", len(labels))
    return dict(sorted(chosen.items(), key=lambda item: list(KEPT).index(item[1])))


def write(network: av.Network, tensors: dict[str, np.ndarray], test: Digits) -> None:
    """Choose the images and write everything with its provenance."""
    images, labels = test.images.numpy().astype(np.float64), test.labels.numpy()
    accuracy = float(np.mean(np.argmax(network(images), axis=1) == labels))
    chosen = choose(network, images, labels)
    index = list(chosen)
    provenance = {
        "source": "scikit-learn digits: UCI Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998",
        "doi": "10.24432/C50P49",
        "license": "CC BY 4.0",
        "changes": "pixels divided by 16",
        "training": f"{EPOCHS} epochs, half clean, half projected gradient of radius {ATTACK_RADIUS}",
        "seed": str(SEED),
        "torch": str(torch.__version__),
        "test_accuracy": f"{accuracy:.4f}",
        "test_images": str(len(labels)),
        "stored_accuracy": f"{np.mean(np.argmax(network(images[index]), axis=1) == labels[index]):.4f}",
        "radius": str(RADIUS),
        "outcomes": ", ".join(chosen.values()),
    }
    kept = {"images": images[index].astype(np.float32), "labels": labels[index].astype(np.float32)}
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    # One entry: safetensors writes several in a random order, and the file would never come out the same twice.
    TARGET.write_bytes(save(tensors | kept, {"provenance": json.dumps(provenance)}))
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes, test accuracy {accuracy:.4f}, {provenance['outcomes']}")


def main() -> None:
    """Train, choose and write."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    training, test = split(generator)
    module = train(training, generator)
    linear = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
    weights = [layer.weight.detach().numpy() for layer in linear]
    biases = [layer.bias.detach().numpy() for layer in linear]
    tensors = {f"layer{k}.weight": weight for k, weight in enumerate(weights)}
    tensors |= {f"layer{k}.bias": bias for k, bias in enumerate(biases)}
    write(network_from_layers(weights, biases, "digits"), tensors, test)


if __name__ == "__main__":
    main()
