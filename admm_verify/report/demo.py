"""The demo: an embedded digit classifier, its worst-case margins, and how fast each method closes in on them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

import numpy as np
from safetensors.numpy import load

from admm_verify.network.graph import Network
from admm_verify.network.layers import network_from_layers
from admm_verify.report.records.demo import DemoCurves, DemoImage, DemoRecord
from admm_verify.sets.box import Box
from admm_verify.settings import SolverSettings
from admm_verify.splitting.problem import Problem
from admm_verify.splitting.solve import solve
from admm_verify.streams import tell
from admm_verify.text_tables import table
from admm_verify.verdict import Answer

RADIUS = 0.05
"""Largest change of any pixel, on a scale where pixels lie in [0, 1]."""

_CURVE_PASSES = (2, 4, 10, 20, 40, 100, 200, 400, 1000)


@dataclass(frozen=True, eq=False)
class Digits:
    """The embedded network with some test images [count, 64] and their labels."""

    network: Network
    images: np.ndarray
    labels: np.ndarray


def load_digits() -> Digits:
    """The embedded classifier of 8 x 8 handwritten digits and its images (see problems/train_digits.py)."""
    data = load((resources.files("admm_verify.report") / "data" / "digits.safetensors").read_bytes())
    depth = sum(key.endswith(".weight") for key in data)
    weights = [data[f"layer{k}.weight"] for k in range(depth)]
    biases = [data[f"layer{k}.bias"] for k in range(depth)]
    network = network_from_layers(weights, biases, "digits")
    return Digits(network, data["images"].astype(np.float64), data["labels"].astype(np.int64))


def margins(label: int, classes: int = 10) -> np.ndarray:
    """Rows e_label - e_other for all other classes, [classes - 1, classes]."""
    return np.delete(np.eye(classes)[label] - np.eye(classes), label, axis=0)


def run_demo() -> DemoRecord:
    """Bounds and verdicts on all embedded images, and curves on the one whose margin is closest to zero."""
    digits = load_digits()
    images = [_image(digits, i) for i in range(len(digits.labels))]
    cells = [
        [
            f"image {i} ({image.label})",
            *(f"{bound:.4f}" for bound in (image.crown, image.ascent, image.admm)),
            f"{image.gap:.1e}",
            image.verdict.value,
            f"{image.seconds:.2f} s",
        ]
        for i, image in enumerate(images)
    ]
    lines = [
        f"A classifier of 8 x 8 digits; each pixel may change by {RADIUS}. Worst margin of the true class:\n",
        table(["image (digit)", "CROWN", "ascent", "ADMM", "gap", "verdict", "time"], cells),
        "\nEvery CROWN, ascent and ADMM figure is a certified lower bound; gap is what the relaxation leaves open.",
    ]
    curves = _curves(digits, int(np.argmin([abs(image.ascent) for image in images])))
    return DemoRecord("\n".join(lines), RADIUS, curves, images)


def _image(digits: Digits, index: int) -> DemoImage:
    began = time.monotonic()
    label, image = int(digits.labels[index]), digits.images[index]
    box = Box.around(image, RADIUS, within=(0.0, 1.0))
    problem = Problem(digits.network, box, margins(label))
    crown = solve(problem, settings=SolverSettings(max_passes=0))
    ascent, admm = solve(problem, "ascent"), solve(problem, "admm", settings=SolverSettings(tolerance=1e-3))
    tried = np.concatenate([ascent.primal, admm.primal])
    logits = digits.network(tried)
    misled = bool((np.argmax(logits, axis=1) != label).any())
    lower = np.maximum(ascent.lower, admm.lower)
    shown = Answer.VERIFIED if bool((lower > 0).all()) else Answer.UNKNOWN
    worst = int(np.argmin(lower))
    upper = min(float(ascent.relaxation_upper[worst]), float(admm.relaxation_upper[worst]))
    return DemoImage(
        label,
        *(float(np.min(found.lower)) for found in (crown, ascent, admm)),
        gap=upper - float(lower[worst]),
        verdict=Answer.FALSIFIED if misled else shown,
        seconds=time.monotonic() - began,
    )


def _curves(digits: Digits, index: int) -> DemoCurves:
    label = int(digits.labels[index])
    box = Box.around(digits.images[index], RADIUS, within=(0.0, 1.0))
    problem = Problem(digits.network, box, margins(label))
    best = solve(problem, "primal_dual", settings=SolverSettings(tolerance=0.0, max_passes=4000)).relaxation_upper
    distances = {
        method: [
            float(
                np.mean(best - solve(problem, method, settings=SolverSettings(tolerance=0.0, max_passes=passes)).lower)
            )
            for passes in _CURVE_PASSES
        ]
        for method in ("ascent", "primal_dual", "admm")
    }
    return DemoCurves(index, list(_CURVE_PASSES), distances)


def draw_demo(path: str, curves: DemoCurves, say: Callable[[str], None]) -> None:
    """Write the plot of what `run_demo` found, where there is matplotlib.

    Raises: OutputError when the file cannot be written, InputError when its suffix is no picture format.
    """
    # Imported here: matplotlib is an extra, and the table is worth printing without it.
    try:
        from admm_verify.report.plots import convergence_plot

        title = f"Digits, image {curves.image}: certified bound against the relaxation's optimum"
        convergence_plot(path, curves.passes, curves.distance, title, "distance of the bound, mean over rows")
    except ImportError:
        tell('No plot: matplotlib is missing. Install it with pip install "admm-verify[plot]".\n')
        return
    say(f"Convergence plot written to {path}")
