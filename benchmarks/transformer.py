"""Certified images of a small vision transformer on digits, beside auto_LiRPA, on one thread.

    python -m benchmarks.transformer [--images N] [--lirpa PATH] [--layer-norm] [--json FILE]

Both take the same trained module and the same test images that it classifies correctly, at three radii. auto_LiRPA
computes CROWN's bounds, and where these do not verify an image, alpha-CROWN's of 20 iterations over them; its module is
built once, which is not counted. Ours are those of `certify`. Tokens are centred, as auto_LiRPA
0.7.1 stops at the square root in a layer norm, whose argument its bounds do not keep positive; with --layer-norm they
are normalised, for ours alone.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

import admm_verify as av
from benchmarks import THREADS
from benchmarks.certify import Count, margins
from benchmarks.shares import RESULTS, environment, write_json
from problems.train_digits import split
from problems.vision_transformer import trained

RADII = (0.005, 0.01, 0.02)
ITERATIONS = 20
SEED = 0


def ours(network: av.Network, images: np.ndarray, labels: np.ndarray, bounds: str, passes: int | None) -> Count:
    """All images and radii in one call."""
    settings = av.CertifySettings(bounds=bounds, max_passes=passes)
    began = time.process_time()
    found = av.certify(network, images, labels, RADII, settings=settings)
    seconds = time.process_time() - began
    counts = [found.count(answer).tolist() for answer in (av.Answer.VERIFIED, av.Answer.FALSIFIED)]
    return Count(f"ours, {bounds}{', no iterations' if passes == 0 else ''}", len(images), *counts, seconds)


class Peer:
    """auto_LiRPA with the module built once."""

    def __init__(self, module: torch.nn.Module, image: torch.Tensor) -> None:
        from auto_LiRPA import BoundedModule

        self.module = BoundedModule(module, image[None], device="cpu", verbose=0)
        arguments = {"iteration": ITERATIONS, "lr_alpha": 0.5, "fix_interm_bounds": True}
        self.module.set_bound_opts({"optimize_bound_args": arguments, "sparse_intermediate_bounds": False})

    def least(self, image: torch.Tensor, radius: float, rows: np.ndarray, method: str) -> float:
        """The least bound of the rows over a box around the image."""
        from auto_LiRPA import BoundedTensor, PerturbationLpNorm

        lower, upper = ((image + sign * radius).clamp(0, 1)[None] for sign in (-1, 1))
        around = BoundedTensor((lower + upper) / 2, PerturbationLpNorm(norm=np.inf, x_L=lower, x_U=upper))
        objective = torch.as_tensor(rows, dtype=torch.float32)[None]
        bound, _ = self.module.compute_bounds(x=(around,), C=objective, method=method, bound_upper=False)
        return float(bound.min())


def peers(module: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> list[Count]:
    """CROWN alone, and CROWN, then alpha-CROWN."""
    tensors = torch.as_tensor(images, dtype=torch.float32)
    peer, counts = Peer(module, tensors[0]), []
    for name, methods in (
        ("auto_LiRPA, CROWN", ["CROWN"]),
        (f"auto_LiRPA, CROWN, then alpha-CROWN {ITERATIONS}", ["CROWN", "CROWN-Optimized"]),
    ):
        verified, began = np.zeros(len(RADII), dtype=int), time.process_time()
        for image, label in zip(tensors, labels, strict=True):
            for k in reversed(range(len(RADII))):
                rows = margins(int(label))
                if any(peer.least(image, RADII[k], rows, method) > 0 for method in methods):
                    verified[: k + 1] += 1
                    break
        counts.append(Count(name, len(images), verified.tolist(), [0] * len(RADII), time.process_time() - began))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Certified images of a small vision transformer on digits.")
    parser.add_argument("--images", type=int, default=100, help="how many test images")
    parser.add_argument("--lirpa", type=Path, help="folder that holds the package auto_LiRPA")
    parser.add_argument("--layer-norm", action="store_true", help="normalise tokens, not only centre them")
    parser.add_argument("--json", type=Path, default=RESULTS / "transformer.json", help="where to write the results")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    training, test = split(generator)
    module = trained(training, generator, options.layer_norm)
    with torch.no_grad():
        right = torch.nonzero(module(test.images).argmax(1) == test.labels).reshape(-1)
    accuracy = len(right) / len(test.labels)
    part = test.take(right[: options.images])
    images, labels = part.images.numpy().astype(np.float64), part.labels.numpy()
    network = av.trace(module, test.images[:1])
    ours(network, images[:1], labels[:1], "crown", 0)
    found = [ours(network, images, labels, "crown", 0), ours(network, images, labels, "crown", None)]
    found.append(ours(network, images, labels, "tightened", None))
    versions: dict[str, str] = {}
    if options.lirpa is not None:
        from benchmarks.lirpa import load

        versions = load(options.lirpa)
        found += peers(module, images, labels)
    print(f"test accuracy {accuracy:.3f}")
    for count in found:
        print(f"{count.name:44}{count.images:6d} {count.verified} falsified {count.falsified} {count.seconds:8.1f} s")
    runs = [asdict(count) for count in found]
    head = {"environment": environment() | versions, "radii": RADII, "test_accuracy": accuracy}
    write_json(options.json, head | {"runs": runs})


if __name__ == "__main__":
    main()
