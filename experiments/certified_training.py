"""Certified training: clean against certified accuracy of small convolutional networks, by method.

    python -m experiments.certified_training [--only PART] [--output FOLDER] [--again] [--epochs N]
        [--threads N]

Parts, each kept in a JSON file of its own and gone on with where it was left, trainings in the middle too:

- digits: scikit-learn's digits, every method once, in under a minute;
- mnist: 12 000 training images of MNIST, one training by a mixed loss;
- front: the same images, shorter trainings by intervals, CROWN and intervals, small boxes and mixed losses with
  several parameters of each, with a picture.

Certified is what `av.certify` verifies on 1000 test images (347 of digits) by CROWN alone or, for the part mnist, by
branch and bound of some seconds for what that leaves open; beside it what intervals certify.
All but digits need the shared data set (ADMM_VERIFY_SHARED).
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn import datasets
from torch import nn

import admm_verify as av
from admm_verify.text_tables import table
from problems.mnist_images import mnist_test, mnist_train

RESULTS = Path(__file__).parent / "results" / "certified_training"
EPS = {"digits": 0.1, "mnist": 0.1, "front": 0.1}
TEST_IMAGES, DIGITS_TRAINED = 1000, 1450
SEED = 0
MNIST_EPOCHS = 120

COLOURS = {"interval": "#0072B2", "CROWN and interval": "#D55E00", "small boxes": "#009E73", "mixed": "#CC79A7"}
"""From the colour-blind safe palette of Okabe and Ito."""

Row = dict[str, Any]
Images = tuple[np.ndarray, np.ndarray]


def small_net(size: int, channels: tuple[int, int], hidden: int) -> nn.Sequential:
    """Two convolutions of stride 2 and two dense layers, for images [1, size, size]."""
    first, second = channels
    return nn.Sequential(
        nn.Conv2d(1, first, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(first, second, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * (size // 4) ** 2, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 10),
    )


def digits_data() -> tuple[Images, Images]:
    """Training and test images of the digits."""
    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    order = np.random.default_rng(SEED).permutation(len(labels))
    first, second = order[:DIGITS_TRAINED], order[DIGITS_TRAINED:]
    return (images[first], labels[first]), (images[second], labels[second])


def mnist_data() -> tuple[Images, Images]:
    """Training and test images of MNIST."""
    return mnist_train(), mnist_test(TEST_IMAGES)


def interval_settings(loss: Any, **others: Any) -> av.TrainingSettings:
    """Trainings begin where intervals are as wide at every layer, and keep them so while the radius grows."""
    shared: Row = {"within": (0.0, 1.0), "certified_eps": 0.1, "seed": SEED, "initialisers": (av.IntervalStart(),)}
    return av.TrainingSettings(**(shared | {"loss": loss} | others))


def digits() -> Iterator[tuple[str, Callable[[Path], Row]]]:
    """Every loss once."""
    eps = EPS["digits"]
    losses = {
        "standard": av.StandardLoss(),
        "adversarial": av.AdversarialLoss(eps),
        "interval": av.IntervalLoss(eps),
        "CROWN and interval": av.CrownIntervalLoss(eps),
        "small boxes": av.SmallBoxLoss(eps, share=0.7),
        "mixed": av.MixedLoss(eps, alpha=0.7),
    }
    for name, loss in losses.items():
        chosen = interval_settings(loss, epochs=40, rate=5e-3, batch=50, certified_eps=eps)
        yield name, partial(row, partial(small_net, 8, (8, 16), 50), chosen, digits_data, eps)
    dual = interval_settings(av.DualLoss(eps), epochs=8, rate=5e-3, batch=50, certified_eps=eps)
    yield "dual", partial(row, partial(small_net, 8, (4, 4), 20), dual, digits_data, eps)


def mnist(epochs: int) -> Iterator[tuple[str, Callable[[Path], Row]]]:
    """One training by a mixed loss, at a radius a tenth larger than the one that is certified."""
    eps = EPS["mnist"]
    wide = 1.1 * eps
    chosen = interval_settings(
        av.MixedLoss(wide, alpha=0.5), epochs=epochs, shift=1, rate=3e-3, rate_drops=(0.6, 0.85), ramp=(0.0, 0.2),
        penalties=(av.TightnessPenalty(wide),), checkpoint_every=5,
    )  # fmt: skip
    yield (
        f"mixed, {epochs} epochs",
        partial(row, partial(small_net, 28, (16, 32), 100), chosen, mnist_data, eps, search=3.0),
    )


def front() -> Iterator[tuple[str, Callable[[Path], Row]]]:
    """Four methods, each from what favours clean images to what favours certified ones."""
    eps = EPS["front"]
    losses: dict[str, Any] = {}
    for kappa in (0.7, 0.0):
        losses[f"interval, kappa {kappa:g}"] = av.IntervalLoss(eps, kappa=kappa)
    for share in (0.3, 0.7):
        losses[f"small boxes, share {share:g}"] = av.SmallBoxLoss(eps, share=share, steps=2, size=1.0)
    for alpha in (0.1, 0.5):
        losses[f"mixed, alpha {alpha:g}"] = av.MixedLoss(eps, alpha=alpha)
    for kappa in (0.5, 0.0):
        losses[f"CROWN and interval, kappa {kappa:g}"] = av.CrownIntervalLoss(eps, kappa=kappa)
    for name, loss in losses.items():
        chosen = interval_settings(loss, epochs=10, rate=2e-3, ramp=(0.0, 0.4), penalties=(av.TightnessPenalty(eps),))
        yield name, partial(row, partial(small_net, 28, (8, 16), 64), chosen, mnist_data, eps)


def row(
    make: Callable[[], nn.Module],
    settings: av.TrainingSettings,
    load: Callable[[], tuple[Images, Images]],
    eps: float,
    checkpoint: Path,
    *,
    search: float | None = None,
) -> Row:
    """A training, and what comes of it on test images, which choose nothing."""
    torch.manual_seed(SEED)
    module, (trained, test) = make(), load()
    whole = replace(settings, checkpoint=checkpoint)
    began, processor = time.monotonic(), time.process_time()
    found = av.train(module, trained, whole)
    wall, processor = time.monotonic() - began, time.process_time() - processor
    network = exported(found.module, test[0][:1], checkpoint.with_suffix(".onnx"))
    images, labels = test
    began = time.process_time()
    certified = av.certify(
        network, images, labels, [eps], settings=av.CertifySettings(bounds="crown", max_passes=0, search=search)
    )
    answers = [one.value for one in certified.status[:, 0]]
    checkpoint.unlink()
    return {
        "clean": float(np.mean(network(images).argmax(axis=1) == labels)),
        "certified": answers.count("verified") / len(labels),
        "intervals": interval_share(network, images, labels, eps),
        "falsified": answers.count("falsified") / len(labels),
        "epochs": len(found.history),
        "resumed_from": found.resumed,
        "training_seconds": wall,
        "training_cpu_seconds": processor,
        "certify_cpu_seconds": time.process_time() - began,
        "threads": torch.get_num_threads(),
        "test_images": len(labels),
        "parameters": sum(one.numel() for one in module.parameters()),
    }


def exported(module: nn.Module, example: np.ndarray, path: Path) -> av.Network:
    """The network as its ONNX file says."""
    av.write_onnx(module, torch.from_numpy(example), path)
    return av.read_onnx(path)


def interval_share(network: av.Network, images: np.ndarray, labels: np.ndarray, eps: float) -> float:
    """The share of images that certified intervals verify."""
    settings = av.CertifySettings(bounds="interval", max_passes=0)
    found = av.certify(network, images, labels, [eps], settings=settings)
    return [one.value for one in found.status[:, 0]].count("verified") / len(labels)


def picture(rows: dict[str, Row], path: Path) -> None:
    """Clean against certified."""
    figure = Figure(figsize=(5.5, 4.0), layout="constrained")
    axes = figure.subplots()
    for method, colour in COLOURS.items():
        points = [(name, one) for name, one in rows.items() if name.partition(",")[0] == method]
        if not points:
            continue
        points.sort(key=lambda point: point[1]["clean"])
        x, y = ([100 * one[key] for _, one in points] for key in ("clean", "certified"))
        axes.plot(x, y, "o-", color=colour, label=method, linewidth=1.2)
        for (name, _), across, up in zip(points, x, y, strict=True):
            axes.annotate(name.partition(", ")[2], (across, up), xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set(xlabel="clean accuracy (%)", ylabel=f"certified accuracy at {EPS['front']:g} (%)")
    axes.set_title(f"MNIST, 12 000 training and {TEST_IMAGES} test images", fontsize=9)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110, metadata={"Software": None})


MNIST = "mnist"
PARTS = {"digits": digits, MNIST: partial(mnist, MNIST_EPOCHS), "front": front}


def told(rows: dict[str, Row]) -> str:
    """Rows of one part as a table."""
    columns = ("clean", "certified", "intervals", "epochs", "training_seconds", "training_cpu_seconds")
    return table(["", *columns], [[name, *(f"{one[key]:.4g}" for key in columns)] for name, one in rows.items()])


def measured(part: str, folder: Path, again: bool, epochs: int) -> dict[str, Row]:
    """The rows of one part; those that the file has are taken from it."""
    path, rows = folder / f"{part}.json", {}
    if path.exists() and not again:
        rows = json.loads(path.read_text(encoding="utf-8"))
    for name, work in mnist(epochs) if part == MNIST else PARTS[part]():
        if name not in rows:
            short = "".join(letter if letter.isalnum() else "_" for letter in name)
            rows[name] = work(folder / f"{part}_{short}.safetensors")
            path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            print(name, rows[name], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="compute everything anew")
    parser.add_argument("--epochs", type=int, default=MNIST_EPOCHS, help="of the part mnist")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    for part in PARTS if options.only is None else [options.only]:
        rows = measured(part, options.output, options.again, options.epochs)
        print(f"\n{part}\n{told(rows)}\n")
        if part == "front":
            picture(rows, options.output / "front.png")


if __name__ == "__main__":
    main()
