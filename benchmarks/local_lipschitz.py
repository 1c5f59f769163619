"""Lipschitz constants of mnist_fc over sets around a test image, and what they certify.

    python -m benchmarks.local_lipschitz [--image I] [--json FILE]

Figures of others, on the same network and image (PEERS): in linf, eps 0.01, interval Jacobian 5551; in l2, eclipse-nn
0.1.7 382.4 in 21.8 s at radius 0.1 and 752.7 in 35 s at 0.28.
"""

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import admm_verify as av
from benchmarks.robust_accuracy import subject
from benchmarks.shares import RESULTS, environment, write_json


@dataclass(frozen=True)
class LocalOutcome:
    """One set: both ends, neurons with several slopes, seconds of one thread's processor time and of the wall."""

    norm: str
    radius: float
    lower: float
    upper: float
    open_neurons: int
    processor_seconds: float
    seconds: float


def measure(network: av.Network, inputs: av.Box | av.Ball, norm: str, radius: float) -> LocalOutcome:
    """Both ends over one set."""
    began, wall = time.process_time(), time.monotonic()
    found = av.local_lipschitz(network, inputs, norm=norm, run=av.Run(threads=1))
    spent = time.process_time() - began, time.monotonic() - wall
    return LocalOutcome(norm, radius, found.lower, found.upper, found.open_neurons, *spent)


def main() -> None:
    """Print a line per set, and write all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=int, default=0)
    parser.add_argument("--json", type=Path, default=RESULTS / "local_lipschitz.json")
    options = parser.parse_args()
    net = subject("mnist_fc_deepsplit", options.image + 1)
    x = net.images[options.image].astype("float64")
    cases = [("linf", 0.01, av.Box.around(x, 0.01, within=(0.0, 1.0)))]
    cases += [("l2", radius, av.Ball(x, radius)) for radius in (0.1, 0.28)]
    found = []
    for norm, radius, inputs in cases:
        found.append(measure(net.network, inputs, norm, radius))
        print(found[-1], flush=True)
    write_json(options.json, {"environment": environment(), "outcomes": [asdict(one) for one in found]})


if __name__ == "__main__":
    main()
