"""Certified images of a LeNet-like classifier with maximum pools, beside a loop over auto_LiRPA, on one thread.

    python -m benchmarks.lenet [--images N] [--radii R ...] [--bounds B ...] [--lirpa PATH] [--looped N] [--json FILE]

Ours bounds all images and radii in one call of `certify`. The loop takes one image after the other, the largest radius
first, and goes on to a smaller one only where that is not verified: with CROWN alone, and with the library's default
call, alpha-CROWN of 20 iterations with optimised intermediate bounds. Building its module once is not counted. Both
sides run in this process, the loop on the first images only.
"""

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import admm_verify as av
from benchmarks import THREADS
from benchmarks.certify import Count, margins, ours
from benchmarks.shares import RESULTS, environment, write_json
from problems.mnist_images import mnist_test
from problems.train_lenet import train_lenet

PEERS = {"auto_LiRPA, CROWN": ("CROWN", "patches"), "auto_LiRPA, its default call": ("CROWN-Optimized", "matrix")}
"""Method and form of convolutions; optimised slopes of a maximum pool are only there for matrices."""


@dataclass(frozen=True)
class Bound:
    """Seconds of one call, and the least margin it proves."""

    seconds: float
    margin: float


class Peer:
    """auto_LiRPA on boxes around one image after the other."""

    def __init__(self, module: torch.nn.Module, method: str, convolutions: str) -> None:
        from auto_LiRPA import BoundedModule

        options = {"conv_mode": convolutions}
        self.module = BoundedModule(module, torch.zeros(1, 1, 28, 28), options, device="cpu", verbose=0)
        self.method = method

    def bound(self, image: np.ndarray, label: int, radius: float) -> Bound:
        """The least margin over the box, cut with [0, 1]."""
        from auto_LiRPA import BoundedTensor, PerturbationLpNorm

        middle = torch.as_tensor(image)[None]
        around = PerturbationLpNorm(
            norm=np.inf, x_L=(middle - radius).clamp(0.0, 1.0), x_U=(middle + radius).clamp(0.0, 1.0)
        )
        rows = torch.as_tensor(margins(label), dtype=torch.float32)[None]
        began = time.process_time()
        lower, _ = self.module.compute_bounds(
            x=(BoundedTensor(middle, around),), C=rows, method=self.method, bound_upper=False
        )
        return Bound(time.process_time() - began, float(lower.detach().min()))


def looped(
    name: str, peer: Peer, images: np.ndarray, labels: np.ndarray, radii: list[float]
) -> tuple[Count, dict[str, float]]:
    """Verified images per radius, and the mean seconds of one call."""
    verified, spent = np.zeros(len(radii), dtype=int), []
    order = np.argsort(radii)[::-1]
    for image, label in zip(images, labels, strict=True):
        for k in order:
            found = peer.bound(image, int(label), radii[k])
            spent.append(found.seconds)
            if found.margin > 0:
                verified += np.asarray(radii) <= radii[k]
                break
    count = Count(name, len(images), verified.tolist(), [0] * len(radii), sum(spent))
    return count, {"calls": len(spent), "seconds_per_call": float(np.mean(spent))}


def one_by_one(network: av.Network, images: np.ndarray, radius: float) -> dict[str, float]:
    """Mean CPU seconds of the pre-activation bounds of one image, by method."""
    found: dict[str, float] = {}
    for method in ("crown", "tightened"):
        began = time.process_time()
        for image in images:
            av.preactivation_bounds(network, av.Box.around(image.astype(float), radius, (0.0, 1.0)), method)
        found[method] = (time.process_time() - began) / len(images)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Certified accuracy of a LeNet on MNIST test images, CPU seconds.")
    parser.add_argument("--images", type=int, default=50, help="how many test images")
    parser.add_argument("--radii", nargs="+", type=float, default=[0.01, 0.02, 0.04])
    parser.add_argument("--bounds", nargs="+", default=["crown", "tightened"], help="choices of `certify`")
    parser.add_argument("--lirpa", type=Path, help="folder that holds the package auto_LiRPA")
    parser.add_argument("--looped", type=int, default=5, help="images that auto_LiRPA loops over")
    parser.add_argument("--json", type=Path, default=RESULTS / "lenet.json", help="where to write the results")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    module = train_lenet()
    network = av.trace(module, torch.zeros(1, 1, 28, 28))
    images, labels = mnist_test(options.images)
    radii = sorted(options.radii)
    single = one_by_one(network, images[:4], radii[len(radii) // 2])
    runs = [ours(network, images, labels, bounds, radii=radii) for bounds in options.bounds]
    report: dict[str, Any] = {"environment": environment(), "radii": radii, "seconds_an_image": single}
    if options.lirpa is not None:
        from benchmarks.lirpa import load

        report["environment"] |= load(options.lirpa)
        part = slice(0, options.looped)
        for name, (method, convolutions) in PEERS.items():
            peer = Peer(module, method, convolutions)
            count, calls = looped(name, peer, images[part], labels[part], radii)
            runs.append(count)
            report[name] = calls
        runs += [ours(network, images[part], labels[part], bounds, radii=radii) for bounds in options.bounds]
    report["runs"] = [asdict(run) | {"images_per_second": run.rate} for run in runs]
    write_json(options.json, report)
    print(f"CPU seconds of one image's bounds: {single}")
    for run in runs:
        print(f"{run.name:44}{run.images:5d} images, verified {run.verified} at {radii}: {run.seconds:.1f} s")


if __name__ == "__main__":
    main()
