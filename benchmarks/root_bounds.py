"""Root bounds with tightened pre-activation bounds beside auto_LiRPA's alpha-CROWN, one thread.

    python -m benchmarks.root_bounds [--only TEXT] [--runs N] [--lirpa PATH] [--bounds METHOD] [--device D]
                                     [--json FILE]

Ours: CROWN; ascent over CROWN's pre-activation bounds; ascent over tightened ones. Theirs, with the library's default
step sizes and 20 iterations: CROWN; alpha-CROWN over fixed pre-activation bounds (the time of those left out); the
default call, which optimises them too. Every time of ours is that of everything from scratch.

With `--lirpa`, a checkout of auto_LiRPA whose dependencies can be imported here, both sides run in this process,
instance by instance in turn; otherwise stored figures stand for it where there are any, measured elsewhere, and time
ratios are for orientation only. On a GPU only our side runs there, and times are wall seconds.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from admm_verify.arrays import to_numpy
from benchmarks.crown_family import Times, in_turn
from benchmarks.shares import RESULTS, environment, write_json
from problems.crown_family import CrownInstance
from problems.root_instances import root_instances

PASSES = 30
ITERATIONS, PATIENCE = 20, 10
STORED = {"peer crown": "CROWN", "peer fixed": "alpha20-fixedinterm", "peer opt": "alpha20-optinterm"}

LEAST_SHARE = {"mnist_fc": 0.99}
"""Least share of the gain of their default call over their fixed pre-activation bounds; 1 where not named here."""

LARGEST_RATIO = {"cifar10_resnet": 0.08}
"""Largest share of the time of their default call; 0.1 where not named here."""


@dataclass(frozen=True)
class Outcome:
    """One instance: sums over rows and times of every piece, "ours ..." and "peer ..."; no peer where none is known.

    share: (ours tightened - peer fixed) / (peer opt - peer fixed) on the sums, None without a gain. excess: ours
    tightened - peer opt on the sums. ratio: best time of ours tightened over that of peer opt.
    """

    instance: str
    rows: int
    peer: str
    bounds: dict[str, list[float]]
    sums: dict[str, float]
    seconds: dict[str, Times]
    share: float | None
    excess: float | None
    ratio: float | None

    @property
    def network(self) -> str:
        """The network's name: the first two parts of the instance's."""
        return "/".join(part for part in self.instance.split("/")[:2] if not part.startswith("img"))

    @property
    def failures(self) -> list[str]:
        """What falls short of what is asked of this family of networks."""
        family = self.instance.split("/")[0]
        if self.excess is None or self.ratio is None:
            return []
        enough = self.excess >= 0 or (family in LEAST_SHARE and (self.share or 0.0) >= LEAST_SHARE[family])
        quick = self.peer != "here" or self.ratio <= LARGEST_RATIO.get(family, 0.1)
        return [name for name, good in (("bound", enough), ("time", quick)) if not good]


def measure(instance: CrownInstance, bounds: str, runs: int, with_lirpa: bool, device: str) -> Outcome:
    """All pieces on one instance."""
    box = _placed(instance.box, device)
    pieces: dict[str, Callable[[], np.ndarray]] = {
        "ours crown": lambda: _ours(instance, box, "crown", 0),
        "ours ascent": lambda: _ours(instance, box, "crown", PASSES),
        "ours tightened": lambda: _ours(instance, box, bounds, PASSES),
    }
    if with_lirpa:
        from benchmarks.lirpa import Lirpa  # where torch and auto_LiRPA can be had

        lirpa = Lirpa(instance, ITERATIONS, PATIENCE)
        pieces |= {"peer crown": lirpa.crown, "peer fixed": lirpa.alpha(), "peer opt": lirpa.alpha_everywhere}
    found, seconds = in_turn(pieces, runs, time.process_time if device == "cpu" else time.perf_counter)
    if not with_lirpa:
        for name, method in STORED.items():
            if method in instance.peers:
                stored = instance.peers[method]
                found[name], seconds[name] = stored.bound, Times(stored.seconds, stored.seconds)
    return _outcome(instance, found, seconds, "here" if with_lirpa else "stored" if "peer opt" in found else "none")


def _ours(instance: CrownInstance, box: av.Box, bounds: str, passes: int) -> np.ndarray:
    known = av.preactivation_bounds(instance.network, box, method=bounds)
    problem = av.Problem(instance.network, box, instance.objective, preactivation=known)
    return to_numpy(
        av.solve(problem, "ascent", settings=av.SolverSettings(max_passes=passes, precision="float32")).lower
    )


def _placed(box: av.Box, device: str) -> av.Box:
    if device == "cpu":
        return box
    import torch

    return av.Box(*(torch.as_tensor(np.array(end), device=device) for end in (box.lower, box.upper)))


def _outcome(instance: CrownInstance, found: dict[str, np.ndarray], seconds: dict[str, Times], peer: str) -> Outcome:
    sums = {name: float(np.sum(bound)) for name, bound in found.items()}
    share = excess = ratio = None
    if "peer opt" in found:
        ours, gain = sums["ours tightened"], sums["peer opt"] - sums["peer fixed"]
        excess, ratio = ours - sums["peer opt"], seconds["ours tightened"].best / seconds["peer opt"].best
        share = (ours - sums["peer fixed"]) / gain if gain > 0 else None
    bounds = {name: bound.tolist() for name, bound in found.items()}
    return Outcome(instance.name, len(instance.objective), peer, bounds, sums, seconds, share, excess, ratio)


def summarise(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One line per network."""
    lines = []
    for network in dict.fromkeys(o.network for o in found):
        part = [o for o in found if o.network == network]
        shares = [o.share for o in part if o.share is not None]
        ratios = [o.ratio for o in part if o.ratio is not None]
        lines.append(
            {
                "network": network,
                "instances": len(part),
                "compared": len(ratios),
                "at_least_peer": sum(o.excess is not None and o.excess >= 0 for o in part),
                "median_share": statistics.median(shares) if shares else None,
                "worst_share": min(shares, default=None),
                "median_ratio": statistics.median(ratios) if ratios else None,
                "worst_ratio": max(ratios, default=None),
                "seconds": {name: _median(part, name) for name in dict.fromkeys(n for o in part for n in o.seconds)},
                "failed": {o.instance: o.failures for o in part if o.failures},
            }
        )
    return lines


def _median(part: Sequence[Outcome], piece: str) -> float:
    return statistics.median(o.seconds[piece].best for o in part if piece in o.seconds)


def table(found: Sequence[Outcome], lines: Sequence[dict[str, Any]]) -> str:
    """A line per instance, then a line per network."""
    columns = ("ours crown", "ours ascent", "ours tightened", "peer fixed", "peer opt")
    out = [f"{'sum of bounds':45}" + "".join(f"{name:>15}" for name in columns) + f"{'share':>9}{'time':>8}"]
    for o in found:
        sums = "".join(f"{o.sums[name]:15.4f}" if name in o.sums else f"{'-':>15}" for name in columns)
        failed = f"  FAILED: {', '.join(o.failures)}" if o.failures else ""
        out.append(f"{_label(o.instance):45}{sums}{_number(o.share, 9, 4)}{_number(o.ratio, 8, 3)}{failed}")
    head = f"{'median seconds':24}" + "".join(f"{name:>15}" for name in columns)
    out += ["", head + f"{'>= peer':>10}{'share':>9}{'worst':>9}{'time':>8}{'worst':>8}"]
    for line in lines:
        seconds = "".join(_number(line["seconds"].get(name), 15, 3) for name in columns)
        shares = _number(line["median_share"], 9, 4) + _number(line["worst_share"], 9, 4)
        ratios = _number(line["median_ratio"], 8, 3) + _number(line["worst_ratio"], 8, 3)
        count = f"{line['at_least_peer']}/{line['compared']}"
        out.append(f"{line['network'][-23:]:24}{seconds}{count:>10}{shares}{ratios}")
    return "\n".join(out)


def _label(instance: str) -> str:
    """The instance's name, cut, without a part that the next one repeats."""
    parts = instance.split("/")
    kept = [part for part, following in zip(parts, [*parts[1:], ""], strict=True) if not following.startswith(part)]
    return "/".join(kept)[:44]


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Root bounds and seconds beside auto_LiRPA's; time: ours / theirs.")
    parser.add_argument("--only", default="", help="instances whose name contains this text")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each piece")
    parser.add_argument("--lirpa", type=Path, help="folder that holds the package auto_LiRPA")
    parser.add_argument("--bounds", default="tightened", help="our method for the pre-activation bounds")
    parser.add_argument("--device", default="cpu", help="where our side runs: cpu or cuda")
    parser.add_argument("--json", type=Path, default=RESULTS / "root_bounds.json", help="where to write the results")
    options = parser.parse_args()
    versions: dict[str, str] = {}
    if options.lirpa is not None:
        from benchmarks.lirpa import load

        versions = load(options.lirpa)
    report: dict[str, Any] = {"environment": environment() | versions, "device": options.device}
    report |= {"bounds": options.bounds, "passes": PASSES}
    found: list[Outcome] = []
    for instance in root_instances(options.only):
        found.append(measure(instance, options.bounds, options.runs, options.lirpa is not None, options.device))
        records = [asdict(o) | {"network": o.network, "failures": o.failures} for o in found]
        # Written after every instance, so that a run cut short leaves the others.
        write_json(options.json, report | {"summary": summarise(found), "instances": records})
        print(f"{instance.name}: done", file=sys.stderr, flush=True)
    print(table(found, summarise(found)))


if __name__ == "__main__":
    main()
