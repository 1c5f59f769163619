"""Certified accuracy of the MNIST network of DeepSplit, beside a loop over auto_LiRPA, on one thread.

    python -m benchmarks.certify [--images N] [--bounds B ...] [--lirpa PATH] [--looped N] [--json FILE]

Ours bounds all images and radii in one call. The loop takes one image after the other, the largest radius first, and
goes on to a smaller one only where that is not verified: with CROWN alone, and with CROWN, then auto_LiRPA's default
alpha-CROWN (20 iterations, intermediate bounds too) where CROWN does not verify. Building its module once is not
counted. Both run in this process, the loop on the first images only.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import admm_verify as av
from benchmarks.shares import RESULTS, environment, write_json
from problems.crown_family import CrownInstance, crown_instances
from problems.lp_instances import mnist_fc_instances
from problems.mnist_images import mnist_test

RADII = (0.01, 0.02, 0.05)
ITERATIONS = 20
STORED = ("CROWN", "alpha20-fixedinterm", "alpha20-optinterm")


@dataclass(frozen=True)
class Count:
    """What one side found: verified and falsified images per radius, and CPU seconds for all radii."""

    name: str
    images: int
    verified: list[int]
    falsified: list[int]
    seconds: float

    @property
    def rate(self) -> float:
        """Images a second, all radii of an image counting once."""
        return self.images / self.seconds


def ours(
    network: av.Network,
    images: np.ndarray,
    labels: np.ndarray,
    bounds: str,
    passes: int | None = None,
    radii: Sequence[float] = RADII,
) -> Count:
    """All images and radii in one call."""
    settings = av.CertifySettings(bounds=bounds, max_passes=passes)
    began = time.process_time()
    found = av.certify(network, images, labels, radii, settings=settings)
    seconds = time.process_time() - began
    counts = [found.count(answer).tolist() for answer in (av.Answer.VERIFIED, av.Answer.FALSIFIED)]
    return Count(f"ours, {bounds}{', no iterations' if passes == 0 else ''}", len(images), *counts, seconds)


class Loop:
    """auto_LiRPA on one box after the other, its module built once."""

    def __init__(self, network: av.Network, box: av.Box) -> None:
        from benchmarks.lirpa import Lirpa

        objective = margins(0)
        self.lirpa = Lirpa(CrownInstance("", network, box, objective, {}), ITERATIONS, ITERATIONS)
        self.bound(box, objective, 2 * [self.lirpa.crown, self.lirpa.alpha_everywhere])

    def bound(
        self, box: av.Box, objective: np.ndarray, methods: Sequence[Callable[[], np.ndarray]]
    ) -> list[tuple[bool, float]]:
        """Whether each method in turn, until one does, verifies the box, and its CPU seconds."""
        import torch
        from auto_LiRPA import BoundedTensor, PerturbationLpNorm

        found = []
        for method in methods:
            began = time.process_time()
            lower, upper = (torch.as_tensor(e.reshape(1, -1), dtype=torch.float32) for e in (box.lower, box.upper))
            around = PerturbationLpNorm(norm=np.inf, x_L=lower, x_U=upper)
            self.lirpa.inputs = (BoundedTensor((lower + upper) / 2, around),)
            self.lirpa.objective = torch.as_tensor(objective, dtype=torch.float32)[None]
            found.append((bool(method().min() > 0), time.process_time() - began))
            if found[-1][0]:
                break
        return found


def looped(network: av.Network, images: np.ndarray, labels: np.ndarray) -> list[Count]:
    """auto_LiRPA image by image: CROWN alone, and CROWN then alpha-CROWN; largest radius first, smaller ones follow."""
    boxes = [[av.Box.around(image, radius, (0.0, 1.0)) for radius in RADII] for image in images]
    loop = Loop(network, boxes[0][0])
    counts = []
    for name, methods in (
        ("auto_LiRPA, CROWN", [loop.lirpa.crown]),
        (f"auto_LiRPA, CROWN, then alpha-CROWN {ITERATIONS}", [loop.lirpa.crown, loop.lirpa.alpha_everywhere]),
    ):
        verified, seconds = np.zeros(len(RADII), dtype=int), 0.0
        for own, label in zip(boxes, labels, strict=True):
            for k in reversed(range(len(RADII))):
                found = loop.bound(own[k], margins(int(label)), methods)
                seconds += sum(spent for _, spent in found)
                if found[-1][0]:
                    verified[: k + 1] += 1
                    break
        counts.append(Count(name, len(images), verified.tolist(), [0] * len(RADII), seconds))
    return counts


def margins(label: int) -> np.ndarray:
    """Rows f_t - f_j, [9, 10]."""
    return np.delete(np.eye(10)[label] - np.eye(10), label, axis=0)


def stored() -> dict[str, list[int]]:
    """How many of the images with stored bounds each variant of auto_LiRPA verifies, per radius."""
    found = crown_instances("mnist_deepsplit_fc")
    counts: dict[str, list[int]] = {"images": [len(found) // len(RADII)] * len(RADII)}
    for method in STORED:
        at = [[i.peers[method].bound.min() > 0 for i in found if i.name.endswith(f"eps{radius}")] for radius in RADII]
        counts[method] = [sum(map(bool, part)) for part in at]
    return counts


def table(found: Sequence[Count]) -> str:
    """A line per side."""
    out = [f"{'':44}{'images':>7}{'verified at ' + str(RADII):>36}{'falsified':>16}{'images/s':>10}"]
    out += [f"{c.name:44}{c.images:7d}{c.verified!s:>36}{c.falsified!s:>16}{c.rate:10.2f}" for c in found]
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Certified accuracy on MNIST test images, and images a second.")
    parser.add_argument("--images", type=int, default=1000, help="how many test images")
    parser.add_argument("--bounds", nargs="+", default=["crown", "tightened"], help="choices of `certify`")
    parser.add_argument("--lirpa", type=Path, help="folder that holds the package auto_LiRPA")
    parser.add_argument("--looped", type=int, default=20, help="images that auto_LiRPA loops over")
    parser.add_argument("--json", type=Path, default=RESULTS / "certify.json", help="where to write the results")
    options = parser.parse_args()
    network = mnist_fc_instances()[0].network
    images, labels = mnist_test(options.images)
    for bounds in options.bounds:
        ours(network, images[:2], labels[:2], bounds)
    found = [ours(network, images, labels, "crown", passes=0)]
    found += [ours(network, images, labels, bounds) for bounds in options.bounds]
    versions: dict[str, str] = {}
    if options.lirpa is not None:
        from benchmarks.lirpa import load

        versions = load(options.lirpa)
        part = slice(0, options.looped)
        found += looped(network, images[part], labels[part])
        found += [ours(network, images[part], labels[part], bounds) for bounds in options.bounds]
    print(table(found))
    peers = stored()
    print(f"stored figures of auto_LiRPA, verified at {RADII}: {peers}")
    first = images[: peers["images"][0]], labels[: peers["images"][0]]
    same = [ours(network, *first, bounds) for bounds in options.bounds]
    print(table(same))
    report = {
        "environment": environment() | versions,
        "radii": RADII,
        "runs": [asdict(c) | {"images_per_second": c.rate} for c in found],
        "stored": peers,
        "same_images": [asdict(c) for c in same],
    }
    write_json(options.json, report)


if __name__ == "__main__":
    main()
