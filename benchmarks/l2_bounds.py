"""Bounds over l2 balls beside auto_LiRPA's alpha-CROWN and the best attack, one thread.

    python -m benchmarks.l2_bounds [--network NAME] [--images N] [--radii R ...] [--joint] [--lirpa PATH] [--runs N]
                                   [--json FILE]

Rows: true minus other class at the first test images, all other classes. Both sides bound over the whole ball, not cut
with [0, 1], as auto_LiRPA has no cut; "ours cut" is the bound over what of the ball lies in [0, 1]. Ours: ascent over
tightened pre-activation bounds, everything from scratch. Theirs: the default call, 20 iterations that optimise the
pre-activation bounds too. With `--joint`, "ours joint" goes on over joint relaxations of layers; closed is the share of
the way from their bound, or ours where there is none, to the attack that it goes, in the mean over rows. Attacks: our
sequence on every row, whose least value no bound can exceed.

Without `--lirpa`, a folder that holds the package auto_LiRPA and whose dependencies can be imported here, only our side
is measured.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from admm_verify.arrays import to_numpy
from admm_verify.attacks.search import attack
from admm_verify.attacks.targets import Targets
from admm_verify.sets.contract import WalkableSet
from benchmarks.crown_family import Times, in_turn
from benchmarks.robust_accuracy import Subject, subject
from benchmarks.root_bounds import ITERATIONS, PATIENCE
from benchmarks.shares import RESULTS, environment, write_json
from problems.crown_family import CrownInstance

STEPS, PASSES = 12, 60
"""Of ascent for every layer that is tightened, and of the network for the rows."""

JOINT = av.JointSettings(iterations=60)

LARGEST_RATIO = 0.3
"""Of our time over theirs."""


@dataclass(frozen=True)
class BallOutcome:
    """One image and radius: bounds [rows] and times of every piece, and what the attacks found.

    excess: least (ours - theirs) over rows; ratio: our best time over theirs; both None without a peer. closed: None
    without joint relaxations.
    """

    image: int
    radius: float
    bounds: dict[str, list[float]]
    seconds: dict[str, Times]
    attacked: list[float]
    excess: float | None
    ratio: float | None
    closed: float | None

    @property
    def failures(self) -> list[str]:
        """What falls short of the aim."""
        short = [] if self.excess is None or self.excess >= 0.0 else ["bound"]
        return short if self.ratio is None or self.ratio <= LARGEST_RATIO else [*short, "time"]


def measure(net: Subject, image: int, radius: float, options: argparse.Namespace) -> BallOutcome:
    """All pieces on one image and radius."""
    center, label = net.images[image].astype(np.float64), int(net.labels[image])
    rows = [k for k in range(net.network.output_size) if k != label]
    objective = np.zeros((len(rows), net.network.output_size))
    objective[:, label] = 1.0
    objective[np.arange(len(rows)), rows] = -1.0
    ball, cut = av.Ball(center, radius), av.Ball(center, radius, within=(0.0, 1.0))
    pieces: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: _ours(net.network, ball, objective),
        "ours cut": lambda: _ours(net.network, cut, objective),
    }
    if options.joint:
        pieces["ours joint"] = lambda: _ours(net.network, ball, objective, JOINT)
    if options.lirpa is not None:
        lirpa = _peer(CrownInstance("", net.network, av.Box(center, center), objective, {}), radius)
        pieces |= {"peer crown": lirpa.crown, "peer": lirpa.alpha_everywhere}
    found, seconds = in_turn(pieces, options.runs)
    balls = ball.flattened(lambda part: np.repeat(to_numpy(part).reshape(1, -1), len(rows), axis=0))
    targets = Targets(balls, objective[:, None], np.zeros((len(rows), 1)))
    attacked = to_numpy(attack(net.network, targets).loss).astype(np.float64)
    excess = ratio = closed = None
    if options.lirpa is not None:
        excess = float(np.min(found["ours"] - found["peer"]))
        ratio = seconds["ours"].best / seconds["peer"].best
    bounds = {name: bound.tolist() for name, bound in found.items()}
    if options.joint:
        start = found.get("peer", found["ours"])
        closed = float(np.mean((found["ours joint"] - start) / (attacked - start)))
    return BallOutcome(image, radius, bounds, seconds, attacked.tolist(), excess, ratio, closed)


def _peer(instance: CrownInstance, radius: float) -> Any:
    """auto_LiRPA on the ball around the point of an instance."""
    from benchmarks.lirpa import Lirpa  # where auto_LiRPA can be had

    lirpa, package = Lirpa(instance, ITERATIONS, PATIENCE), import_module("auto_LiRPA")
    lirpa.inputs = (package.BoundedTensor(lirpa.inputs[0].data, package.PerturbationLpNorm(norm=2, eps=radius)),)
    return lirpa


def _ours(
    network: av.Network, ball: WalkableSet, objective: np.ndarray, joint: av.JointSettings | None = None
) -> np.ndarray:
    tighten = av.TightenSettings(iterations=STEPS)
    known = av.preactivation_bounds(network, ball, method="tightened", settings=tighten)
    problem = av.Problem(network, ball, objective, preactivation=known)
    chosen = av.JointSettings() if joint is None else joint
    settings = av.SolverSettings(max_passes=PASSES, precision="float32", joint=chosen)
    return to_numpy(av.solve(problem, "ascent", settings=settings).lower)


def table(found: Sequence[BallOutcome]) -> str:
    """A line per image and radius: least row of each bound, CPU seconds, and how far attacks get."""
    columns = [name for name in ("ours", "peer", "ours cut", "ours joint") if name in found[0].bounds]
    head = f"{'image':>5}{'radius':>8}" + "".join(f"{name:>12}{'s':>8}" for name in columns)
    out = [head + f"{'attack':>12}{'excess':>10}{'time':>7}{'closed':>8}"]
    for o in found:
        pairs = ((min(o.bounds[name]), o.seconds[name].best) for name in columns)
        numbers = "".join(f"{least:12.3f}{best:8.3f}" for least, best in pairs)
        compared = f"{'-':>10}{'-':>7}" if o.excess is None or o.ratio is None else f"{o.excess:10.4f}{o.ratio:7.3f}"
        compared += f"{'-':>8}" if o.closed is None else f"{o.closed:8.3f}"
        failed = f"  FAILED: {', '.join(o.failures)}" if o.failures else ""
        out.append(f"{o.image:5}{o.radius:8.2f}{numbers}{min(o.attacked):12.3f}{compared}{failed}")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Bounds over l2 balls beside auto_LiRPA's and the best attack.")
    parser.add_argument("--network", default="mnist_fc_deepsplit", help="a folder of the shared classifiers")
    parser.add_argument("--images", type=int, default=5, help="how many test images")
    parser.add_argument("--radii", type=float, nargs="+", default=[0.5, 1.0, 1.5], help="radii of the balls")
    parser.add_argument("--joint", action="store_true", help="measure joint relaxations of layers too")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each piece")
    parser.add_argument("--lirpa", type=Path, help="folder that holds the package auto_LiRPA")
    parser.add_argument("--json", type=Path, default=RESULTS / "l2_bounds.json", help="where to write the results")
    options = parser.parse_args()
    versions: dict[str, str] = {}
    if options.lirpa is None:
        print("auto_LiRPA is left out; give its folder as --lirpa to measure beside it.", file=sys.stderr)
    else:
        from benchmarks.lirpa import load

        versions = load(options.lirpa)
    net = subject(options.network, options.images)
    report: dict[str, Any] = {
        "environment": environment() | versions,
        "network": options.network,
        "passes": PASSES,
        "steps": STEPS,
    }
    found: list[BallOutcome] = []
    for image in range(options.images):
        for radius in options.radii:
            found.append(measure(net, image, radius, options))
            records = [asdict(o) | {"failures": o.failures} for o in found]
            # Written after every instance, so that a run cut short leaves the others.
            write_json(options.json, report | {"instances": records})
            print(f"image {image}, radius {radius}: done", file=sys.stderr, flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
