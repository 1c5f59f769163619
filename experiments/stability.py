"""Two spirals: which networks are stable, and what makes them so.

    python -m experiments.stability [--side N] [--output FOLDER]

Four networks learn points of two arms of a spiral: 2-48-48-2 plainly, on attacked points, and with a penalty on the
norms of its layers; 2-96-96-2 until it knows fewer points by heart, whose labels are partly wrong. For each of them:
error rates, how far points may move before the class changes (attacked from above, certified from below), how steep it
is, and three pictures: what it decides where, the certified l2 radius over the plane, and the loss around the trained
weights, along the two principal directions of the weights on their way there (Li et al., Visualizing the loss landscape
of neural nets, NeurIPS 2018, section 7).
"""

import argparse
import json
import time
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import admm_verify as av
from admm_verify.text_tables import table

RESULTS = Path(__file__).parent / "results" / "stability"

POINTS, NOISE, WRONG = 240, 0.015, 0.15
"""Points to learn, how far they are from their arms, and the share of labels that the overfitted network is taught
wrongly."""

EPS = 0.03
"""By what points may move in every coordinate, for attacks and for training on attacked points."""

RADII = 0.005 * np.arange(1, 25)
"""Of the discs that are certified."""

WIDTH, EPOCHS = 48, 300
SNAPSHOTS = 60
"""Weights on the way that the principal directions are of."""

LANDSCAPE = 25
"""Points of the loss along each direction."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """A network, what it was trained on, and its weights on the way, [snapshots, weights]."""

    name: str
    module: torch.nn.Sequential
    network: av.Network
    points: np.ndarray
    labels: np.ndarray
    way: np.ndarray


def spirals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on two arms of a spiral in [0, 1]^2 and their arms."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % 2
    share = np.sqrt(rng.uniform(0.03, 1.0, count))
    angle = np.pi * label + 3.0 * np.pi * share
    points = 0.5 + 0.45 * share[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.clip(points + rng.normal(0.0, NOISE, points.shape), 0.0, 1.0).astype(np.float32), label


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: on how many points, with how wide layers, and with which share of wrong labels."""

    settings: av.TrainingSettings
    points: int = POINTS
    width: int = WIDTH
    wrong: float = 0.0


def recipes() -> dict[str, Recipe]:
    """Four networks."""
    plain = av.TrainingSettings(av.StandardLoss(), epochs=EPOCHS, batch=40, rate=1e-2)
    long = replace(plain, epochs=2000, batch=50, rate_drops=(0.9,))
    return {
        "plain": Recipe(plain),
        "overfitted": Recipe(long, points=100, width=2 * WIDTH, wrong=WRONG),
        "adversarial": Recipe(replace(plain, loss=av.AdversarialLoss(EPS))),
        "regularised": Recipe(replace(plain, penalties=(av.SpectralPenalty(0.01, of="excess", target=4.0),))),
    }


def learn(name: str, recipe: Recipe, seed: int = 0) -> Learnt:
    """A network after its training."""
    points, labels = spirals(recipe.points, 0)
    told = np.where(np.random.default_rng(1).random(len(labels)) < recipe.wrong, 1 - labels, labels)
    torch.manual_seed(seed)
    linear, width = torch.nn.Linear, recipe.width
    module = torch.nn.Sequential(
        linear(2, width), torch.nn.ReLU(), linear(width, width), torch.nn.ReLU(), linear(width, 2)
    )
    way = [weights(module)]

    def look(progress: av.Progress) -> None:
        if progress.total and progress.done * SNAPSHOTS // progress.total >= len(way):
            way.append(weights(module))

    data = torch.as_tensor(points), torch.as_tensor(told)
    av.train(module, data, recipe.settings, run=av.Run(tell=look))
    way.append(weights(module))
    return Learnt(name, module, av.trace(module, data[0][:1]), points, told, np.array(way))


def weights(module: torch.nn.Module) -> np.ndarray:
    """All weights of a module in one vector."""
    return parameters_to_vector(module.parameters()).detach().numpy().astype(np.float64)


def measure(one: Learnt) -> dict[str, float]:
    """Figures of a network on points that it has not seen."""
    points, labels = spirals(200, 7)
    wrong = one.network(points).argmax(axis=1) != labels
    moved = av.minimal_distortion(one.network, points, labels)
    settings = av.CertifySettings(search=0.5)
    boxes = av.certify(one.network, points, labels, [EPS], settings=settings)
    discs = av.certify(one.network, points, labels, RADII, norm="l2")
    assert (discs.certified_radius <= moved.l2).all(), "a certified disc holds a point of another class"
    steep = av.lipschitz_constant(one.network)
    return {
        "train_error": float(np.mean(one.network(one.points).argmax(axis=1) != one.labels)),
        "test_error": float(np.mean(wrong)),
        "attacked_error": float(boxes.count(av.Answer.FALSIFIED)[0] / len(points)),
        "certified": float(boxes.certified_accuracy[0]),
        "mean_l2_attacked": float(moved.l2[moved.moved].mean()),
        "mean_l2_certified": float(discs.certified_radius[moved.moved].mean()),
        "product": av.layer_norms(one.network).product,
        "lipschitz_upper": steep.upper,
        "lipschitz_lower": steep.lower,
    }


@dataclass(frozen=True, eq=False)
class Plane:
    """The loss in a plane of weights through the trained ones.

    explained: the share of the way's variance that the plane holds. Shapes: x, y [n]; loss [n, n]; way [snapshots, 2].
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    way: np.ndarray
    explained: float


def landscape(one: Learnt, side: int = LANDSCAPE) -> Plane:
    """The cross-entropy of what a network was told, along the principal directions of its way."""
    home = one.way[-1]
    _, sizes, directions = np.linalg.svd(one.way - home, full_matrices=False)
    way = (one.way - home) @ directions[:2].T
    far = 1.2 * np.abs(way).max(axis=0)
    x, y = (np.linspace(-end, end, side) for end in far)
    module, data = deepcopy(one.module), (torch.as_tensor(one.points), torch.as_tensor(one.labels))
    loss = np.zeros((side, side))
    with torch.no_grad():
        for i, j in np.ndindex(loss.shape):
            there = home + x[j] * directions[0] + y[i] * directions[1]
            vector_to_parameters(torch.as_tensor(there, dtype=torch.float32), module.parameters())
            loss[i, j] = float(torch.nn.functional.cross_entropy(module(data[0]), data[1]))
    return Plane(x, y, loss, way, float((sizes[:2] ** 2).sum() / (sizes**2).sum()))


def draw(learnt: list[Learnt], planes: list[Plane], side: int, path: Path) -> dict[str, float]:
    """The pictures, a column for each network; the mean certified radius over the plane of each."""
    figure = Figure(figsize=(3.0 * len(learnt), 8.6), layout="compressed")
    axes = figure.subplots(3, len(learnt), squeeze=False)
    ticks = np.linspace(0.0, 1.0, side, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    radii, images = {}, []
    for (top, middle, bottom), one, plane in zip(axes.T, learnt, planes, strict=True):
        decide(top, one)
        labels = one.network(grid.reshape(-1, 2)).argmax(axis=1)
        found = av.certify(one.network, grid.reshape(-1, 2), labels, RADII, norm="l2")
        radii[one.name] = float(found.certified_radius.mean())
        radius = found.certified_radius.reshape(side, side)
        images.append(
            middle.pcolormesh(ticks, ticks, radius, vmin=0, vmax=RADII[-1], shading="nearest", rasterized=True)
        )
        middle.contour(ticks, ticks, labels.reshape(side, side), levels=[0.5], colors="white", linewidths=0.6)
        middle.set_title(f"certified l2 radius, mean {radii[one.name]:.4f}", fontsize=9)
        middle.set(aspect="equal", xticks=[], yticks=[])
        around(bottom, plane)
    figure.colorbar(images[-1], ax=list(axes[1]), shrink=0.8)
    figure.savefig(path, dpi=80)
    return radii


def decide(axes: Axes, one: Learnt) -> None:
    """What a network decides where, and what it was told."""
    ticks = np.linspace(0.0, 1.0, 200, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    output = one.network(grid)
    axes.contourf(
        ticks, ticks, (output[:, 1] - output[:, 0]).reshape(200, 200) > 0, levels=1, cmap="coolwarm", alpha=0.4
    )
    axes.scatter(*one.points.T, c=one.labels, cmap="coolwarm", s=4)
    axes.set_title(one.name, fontsize=10)
    axes.set(aspect="equal", xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))


def around(axes: Axes, plane: Plane) -> None:
    """The loss around the weights, with the way there."""
    levels = np.geomspace(max(plane.loss.min(), 1e-4), plane.loss.max(), 14)
    axes.contourf(plane.x, plane.y, np.maximum(plane.loss, levels[0]), levels=levels, norm="log", cmap="viridis")
    axes.plot(*plane.way.T, color="white", linewidth=0.8)
    axes.plot(0.0, 0.0, marker="o", color="red", markersize=3)
    axes.set_title(f"loss, {plane.explained:.0%} of the way's variance", fontsize=9)
    axes.tick_params(labelsize=6)


def main() -> None:
    """Train, measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32, help="points of the radius map along a side")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    began = time.process_time()
    learnt = [learn(name, recipe) for name, recipe in recipes().items()]
    report: dict[str, Any] = {one.name: measure(one) for one in learnt}
    planes = [landscape(one) for one in learnt]
    radii = draw(learnt, planes, options.side, options.output / "stability.png")
    for one, plane in zip(learnt, planes, strict=True):
        report[one.name] |= {"mean_radius_over_plane": radii[one.name], "explained": plane.explained}
    keys = list(next(iter(report.values())))
    rows = [[name, *(f"{row[key]:.4g}" for key in keys)] for name, row in report.items()]
    print(table(["network", *(key.replace("_", " ") for key in keys)], rows))
    report = {"networks": report, "eps": EPS, "cpu_seconds": time.process_time() - began}
    (options.output / "stability.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
