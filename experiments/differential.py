"""Pairs of networks: tables beside NeuroDiff, and how far networks drift from what they were made of.

    python -m experiments.differential [--only PART] [--output FOLDER] [--again]

Parts, each kept in a JSON file of its own and gone on with where it was left:

- roots: the largest difference at the target output over the whole box, certified without splitting, beside NeuroDiff's
  bounds, those of both networks by themselves and the linear relaxation without variables for differences;
- decided: NeuroDiff's instances decided, with parts and processor seconds;
- digits: 100 test images of the digits, ten by ten: is the class the same in balls around them, also where the first
  network is confident; how much of the second network's robustness follows from the first one's and the difference;
- curves: the largest difference certified and attacked, over the size of noise and over the bits of the weights, with
  a picture.

All but the curves of digits need the shared data set (ADMM_VERIFY_SHARED).
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import admm_verify as av
from admm_verify.network.pair import paired
from admm_verify.report.demo import load_digits
from admm_verify.text_tables import table
from problems import pairs
from problems.differential import JOINT_LP, SEPARATE, PairInstance, lookalikes, neurodiff_pairs, published_pairs
from problems.train_digits import SEED, split

RESULTS = Path(__file__).parent / "results" / "differential"

SIGMAS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
BITS = (16, 12, 10, 8, 7, 6, 5, 4, 3)
RADII = (0.01, 0.02, 0.05)
"""Of the balls around the images, on a scale where pixels lie in [0, 1]."""

RADIUS, IMAGES, STEP = 0.02, 100, 10
CONFIDENCE = 0.9
SECONDS = {"decided": 60.0, "digits": 60.0, "curves": 60.0}
"""Of the processor, at most for each question."""

MAKERS: dict[str, Callable[[av.Network], av.Network]] = {
    "float16": pairs.half,
    "int8": pairs.quantised,
    "10 % pruned": lambda network: pairs.pruned(network, 0.1),
}
CERTIFIED, ATTACKED, APART = "#0072B2", "#D55E00", "#999999"
"""From the colour-blind safe palette of Okabe and Ito."""

Row = dict[str, Any]


def roots() -> Iterator[tuple[str, Callable[[], Row]]]:
    """Every pair of networks and box of NeuroDiff once, whatever epsilon was asked about."""
    seen: set[tuple[float, ...]] = set()
    for pair in neurodiff_pairs():
        key = (*pair.lower[:5], *pair.upper[:5], float(pair.output or 0))
        if key not in seen:
            seen.add(key)
            yield pair.name, partial(root, pair)


def root(pair: PairInstance) -> Row:
    """Certified bounds of the whole box, without and with tightened layers, and the attack."""
    joint, size = paired(pair.first, pair.second), pair.first.output_size
    side = np.eye(size)[[pair.output or 0]]
    rows = joint.rows(difference=np.concatenate([side, -side]))
    found: Row = {"neurodiff": pair.whole_box, "apart": pair.rival(SEPARATE), "joint_lp": pair.rival(JOINT_LP)}
    for name, bounds, passes in (("crown", "crown", 0), ("tightened", "tightened", 0), ("ascent", "tightened", 100)):
        began = time.process_time()
        preactivation = av.preactivation_bounds(joint, pair.box, bounds)
        problem = av.Problem(joint, pair.box, rows, preactivation=preactivation)
        solution = av.solve(problem, "ascent", settings=av.SolverSettings(max_passes=passes))
        found |= {name: float(-np.asarray(solution.lower).min()), f"{name}_seconds": time.process_time() - began}
    settings = av.DifferenceSettings(outputs=[pair.output or 0], largest=True, max_subproblems=0)
    found["attacked"] = float(av.difference(pair.first, pair.second, pair.box, settings=settings).largest_attained[0])
    return found


def decided() -> Iterator[tuple[str, Callable[[], Row]]]:
    """All instances that NeuroDiff has a verdict for, and those with a stored witness."""
    for pair in (*neurodiff_pairs(), *published_pairs()):
        yield pair.name, partial(decision, pair)


def decision(pair: PairInstance) -> Row:
    """The verdict on epsilon at the target output, and the truth."""
    began = time.process_time()
    criterion = av.EpsilonEquivalence(pair.epsilon, list(pair.outputs))
    found = av.equivalence(pair.first, pair.second, pair.box, criterion, run=limited("decided"))
    verdict = {"verified": "unsat", "falsified": "sat"}.get(found.answer[0].value, found.answer[0].value)
    assert pair.truth not in ("sat", "unsat") or verdict not in ("sat", "unsat") or verdict == pair.truth, pair.name
    return {
        "verdict": verdict,
        "truth": pair.truth,
        "parts": int(found.subproblems[0]),
        "cpu_seconds": time.process_time() - began,
        "neurodiff_seconds": pair.seconds,
        "neurodiff_splits": pair.splits,
    }


def digits() -> Iterator[tuple[str, Callable[[], Row]]]:
    """Ten images by ten, every maker at every radius."""
    images, labels = test_images()
    network = load_digits().network
    made = {name: make(network) for name, make in MAKERS.items()}

    @cache
    def own(first: int, radius: float) -> np.ndarray:
        return robust(network, images[first : first + STEP], labels[first : first + STEP], radius)

    def row(second: av.Network, first: int, radius: float) -> Row:
        some = images[first : first + STEP], labels[first : first + STEP]
        found = agreement(network, second, some[0], radius)
        return found | carried(network, second, some, radius, own(first, radius))

    for first in range(0, IMAGES, STEP):
        for name, second in made.items():
            for radius in RADII:
                yield f"{name}, radius {radius:g}, from image {first}", partial(row, second, first, radius)


def test_images() -> tuple[np.ndarray, np.ndarray]:
    """Images that were not trained on, and their labels."""
    _, test = split(torch.Generator().manual_seed(SEED))
    return test.images[:IMAGES].double().numpy(), test.labels[:IMAGES].numpy()


def balls(images: np.ndarray, radius: float) -> av.Box:
    """The images within a radius, of which pixels are left in [0, 1]."""
    return av.Box(np.clip(images - radius, 0.0, 1.0), np.clip(images + radius, 0.0, 1.0))


def agreement(first: av.Network, second: av.Network, images: np.ndarray, radius: float) -> Row:
    """Whether classes are the same in all balls, and contradictions by attack."""
    row: Row = {}
    for name, criterion in (("top1", av.Top1Equivalence()), ("confident", av.Top1Equivalence(CONFIDENCE))):
        began = time.process_time()
        found = av.equivalence(first, second, balls(images, radius), criterion, run=limited("digits"))
        values = [one.value for one in found.answer]
        row[name] = {answer: values.count(answer) for answer in ("verified", "falsified", "unknown", "timed-out")}
        row[f"{name}_seconds"] = time.process_time() - began
        if name == "top1":
            row["contradictions"] = contradictions(first, second, images, radius, np.array(values) == "verified")
    return row


def carried(
    first: av.Network, second: av.Network, data: tuple[np.ndarray, np.ndarray], radius: float, own: np.ndarray
) -> Row:
    """How much of what `certify` verifies of the second network, if asked directly, follows from the difference.

    own: the balls in which the first network is robust.
    """
    direct, began = robust(second, data[0], data[1], radius), time.process_time()
    found = av.transfer_robustness(first, second, balls(data[0], radius), data[1])
    by_difference = np.array([one.value == "verified" for one in found.answer])
    return {
        "first": int(own.sum()),
        "second": int(direct.sum()),
        "carried": int((by_difference & direct).sum()),
        "carried_beyond": int((by_difference & ~direct).sum()),
        "carried_seconds": time.process_time() - began,
    }


def robust(network: av.Network, images: np.ndarray, labels: np.ndarray, radius: float) -> np.ndarray:
    """Which balls keep the label, by `certify`."""
    found = av.certify(network, images, labels, [radius], run=limited("digits"))
    return np.array([one.value == "verified" for one in found.status[:, 0]])


def contradictions(
    first: av.Network, second: av.Network, images: np.ndarray, radius: float, verified: np.ndarray
) -> int:
    """Random corners of the verified balls, 500 each, at which the classes are not the same."""
    rng, wrong = np.random.default_rng(0), 0
    for image in images[verified]:
        x = np.clip(image + radius * rng.choice([-1.0, 1.0], (500, len(image))), 0.0, 1.0)
        wrong += int((np.asarray(first(x)).argmax(axis=1) != np.asarray(second(x)).argmax(axis=1)).sum())
    return wrong


def curves() -> Iterator[tuple[str, Callable[[], Row]]]:
    """Every network, noise and number of bits."""
    data, acas = load_digits(), next(pair for pair in lookalikes() if "prop3" in pair.name)
    cases = {
        f"digits, ball of {RADIUS:g}": (data.network, av.Box.around(data.images[0], RADIUS, within=(0.0, 1.0))),
        "ACAS Xu 1_1, property 3": (acas.first, acas.box),
    }
    for name, (network, box) in cases.items():
        for sigma in SIGMAS:
            second = pairs.noisy(network, sigma)
            yield f"{name}, sigma {sigma:g}", partial(drift, network, second, box)
        for bits in BITS:
            second = pairs.quantised(network, bits)
            yield f"{name}, bits {bits}", partial(drift, network, second, box)


def drift(first: av.Network, second: av.Network, box: av.Box) -> Row:
    """The largest difference of any output, certified and attacked, and from ranges of both networks by themselves."""
    began = time.process_time()
    whole = av.difference(first, second, box, settings=av.DifferenceSettings(largest=True, max_subproblems=0))
    settings = av.DifferenceSettings(largest=True, relative=0.1, absolute=1e-9)
    found = av.difference(first, second, box, settings=settings, run=limited("curves"))
    seconds = time.process_time() - began
    ranges = [av.output_bounds(network, box) for network in (first, second)]
    apart = np.maximum(ranges[1].upper - ranges[0].lower, ranges[0].upper - ranges[1].lower).max()
    return {
        "whole_box": float(whole.largest[0]),
        "certified": float(found.largest[0]),
        "attacked": float(found.largest_attained[0]),
        "apart": float(apart),
        "parts": found.subproblems,
        "cpu_seconds": seconds,
    }


def limited(part: str) -> av.Run:
    """A run that other processes of the machine hardly shorten."""
    end = time.process_time() + SECONDS[part]
    return av.Run(stop=lambda: time.process_time() > end)


def picture(rows: dict[str, Row], path: Path) -> None:
    """Both networks, over noise and over bits."""
    names = list(dict.fromkeys(name.rsplit(", ", 1)[0] for name in rows))
    figure = Figure(figsize=(9.0, 3.1 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 2, squeeze=False, sharey="row")
    for line, name in zip(axes, names, strict=True):
        for ax, word, label in zip(line, ("sigma", "bits"), ("relative noise of every weight", "bits"), strict=True):
            prefix = f"{name}, {word} "
            points = [(float(key.removeprefix(prefix)), row) for key, row in rows.items() if key.startswith(prefix)]
            x = [size for size, _ in sorted(points, key=lambda point: point[0])]
            for entry, colour, style, told in (
                ("apart", APART, ":", "certified, ranges of both networks"),
                ("whole_box", CERTIFIED, "--", "certified, whole box"),
                ("certified", CERTIFIED, "-o", "certified, box split"),
                ("attacked", ATTACKED, "-s", "attacked"),
            ):
                y = [row[entry] for _, row in sorted(points, key=lambda point: point[0])]
                ax.plot(x, y, style, color=colour, label=told, markersize=4.0, linewidth=1.4)
            ax.set(yscale="log", xlabel=label, title=name)
            ax.set_xscale("log" if word == "sigma" else "linear")
            ax.grid(alpha=0.3)
        line[1].invert_xaxis()
        line[0].set_ylabel("largest |f' - f|")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def summed(rows: dict[str, Row]) -> dict[str, Row]:
    """The rows of digits, images of one maker and radius together."""
    found: dict[str, Row] = {}
    for name, row in rows.items():
        whole = found.setdefault(name.rsplit(", ", 1)[0], {"images": 0})
        whole["images"] += STEP
        for key, value in row.items():
            if isinstance(value, dict):
                before = whole.get(key, dict.fromkeys(value, 0))
                whole[key] = {answer: before[answer] + count for answer, count in value.items()}
            else:
                whole[key] = whole.get(key, 0) + value
    return found


PARTS = {"roots": roots, "decided": decided, "digits": digits, "curves": curves}


def told(rows: dict[str, Row]) -> str:
    """Rows of one part as a table; entries that are records take a column each."""
    flat = {name: _flat(row) for name, row in rows.items()}
    columns = list(dict.fromkeys(key for row in flat.values() for key in row))
    return table(["", *columns], [[name, *(_shown(row.get(key)) for key in columns)] for name, row in flat.items()])


def _flat(row: Row) -> Row:
    found: Row = {}
    for key, value in row.items():
        found |= {key: "/".join(map(str, value.values()))} if isinstance(value, dict) else {key: value}
    return found


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def measured(part: str, path: Path, again: bool) -> dict[str, Row]:
    """The rows of one part; those that the file has are taken from it."""
    rows: dict[str, Row] = {}
    if path.exists() and not again:
        rows = json.loads(path.read_text(encoding="utf-8"))
    for name, work in PARTS[part]():
        if name not in rows:
            rows[name] = work()
            path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            print(name, rows[name], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="compute everything anew")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for part in PARTS if options.only is None else [options.only]:
        rows = measured(part, options.output / f"{part}.json", options.again)
        print(f"\n{part}\n{told(summed(rows) if part == 'digits' else rows)}\n")
        if part == "curves":
            picture(rows, options.output / "curves.png")


if __name__ == "__main__":
    main()
