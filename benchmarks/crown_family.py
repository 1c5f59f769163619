"""CROWN and slope ascent beside auto_LiRPA's CROWN and alpha-CROWN on real networks, one thread.

    python -m benchmarks.crown_family [--only TEXT] [--passes N] [--lirpa PATH] [--json FILE]

With `--lirpa`, a checkout of auto_LiRPA whose dependencies can be imported here, both sides run in this process,
instance by instance in turn, so that another process on the machine disturbs both alike; otherwise the stored figures
stand for it, measured elsewhere, and time ratios are for orientation only. Both sides fix all pre-activation bounds to
CROWN's with the adaptive slopes, and both times include computing those bounds once: auto_LiRPA's alpha-CROWN is
handed them, and computes them again to start its slopes.
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
from benchmarks.shares import RESULTS, environment, write_json
from problems.crown_family import CrownInstance, PeerBound, crown_instances

ITERATIONS, NO_EARLY_STOP = 100, 1000
ALPHA = f"alpha{ITERATIONS}-fixedinterm"

LEAST_GAIN = 1e-4
"""Rows that alpha-CROWN raises by less say nothing about the share of its gain."""

LARGEST_LOSS, LEAST_SHARE = 1e-4, 0.99
"""A row passes where our CROWN bound is below theirs by at most this share of it, and where ascent gains this share of
what alpha-CROWN gains."""


@dataclass(frozen=True)
class Times:
    """CPU seconds of several runs."""

    best: float
    median: float


@dataclass(frozen=True)
class Comparison:
    """One instance; ratios are our seconds over theirs, best of the runs where both ran here.

    crown_difference: least (ours - theirs) / |theirs| over rows. share: least (ascent - their CROWN) / (their
    alpha-CROWN - their CROWN) over rows with a gain, None where no row has one.
    """

    instance: str
    rows: int
    crown: Times
    ascent: Times
    peer_crown: Times
    peer_alpha: Times
    peer_ran_here: bool
    crown_difference: float
    crown_ratio: float
    gaining_rows: int
    share: float | None
    mean_share: float | None
    ascent_ratio: float

    @property
    def passed(self) -> bool:
        """Whether every row passes."""
        return self.crown_difference >= -LARGEST_LOSS and (self.share is None or self.share >= LEAST_SHARE)


def compare(instance: CrownInstance, passes: int, runs: int, with_lirpa: bool) -> Comparison:
    """Both sides on one instance."""
    pieces: dict[str, Callable[[], np.ndarray]] = {
        "crown": lambda: _ours(instance, "auto", 0),
        "ascent": lambda: _ours(instance, "ascent", passes),
    }
    if with_lirpa:
        from benchmarks.lirpa import Lirpa  # where torch and auto_LiRPA can be had

        lirpa = Lirpa(instance, ITERATIONS, NO_EARLY_STOP)
        pieces |= {"peer_crown": lirpa.crown, "peer_alpha": lirpa.alpha()}
    bounds, times = in_turn(pieces, runs)
    for name, method in (("peer_crown", "CROWN"), ("peer_alpha", ALPHA)):
        if name not in bounds:
            stored: PeerBound = instance.peers[method]
            bounds[name], times[name] = stored.bound, Times(stored.seconds, stored.seconds)
    theirs = bounds["peer_crown"]
    gain = bounds["peer_alpha"] - theirs
    wide = gain > LEAST_GAIN
    shares = (bounds["ascent"] - theirs)[wide] / gain[wide]
    return Comparison(
        instance=instance.name,
        rows=len(gain),
        **times,
        peer_ran_here=with_lirpa,
        crown_difference=float(np.min((bounds["crown"] - theirs) / np.maximum(np.abs(theirs), 1e-9))),
        crown_ratio=times["crown"].best / times["peer_crown"].best,
        gaining_rows=len(shares),
        share=float(np.min(shares)) if len(shares) else None,
        mean_share=float(np.mean(shares)) if len(shares) else None,
        ascent_ratio=times["ascent"].best / times["peer_alpha"].best,
    )


def _ours(instance: CrownInstance, method: str, passes: int) -> np.ndarray:
    bounds = av.preactivation_bounds(instance.network, instance.box)
    problem = av.Problem(instance.network, instance.box, instance.objective, preactivation=bounds)
    return np.asarray(av.solve(problem, method, settings=av.SolverSettings(max_passes=passes)).lower)


def in_turn(
    pieces: dict[str, Callable[[], np.ndarray]], runs: int, clock: Callable[[], float] = time.process_time
) -> tuple[dict[str, np.ndarray], dict[str, Times]]:
    """The last result and the times of each piece, all pieces once in every run; an untimed run comes first."""
    results = {name: work() for name, work in pieces.items()}
    seconds: dict[str, list[float]] = {name: [] for name in pieces}
    for _ in range(runs):
        for name, work in pieces.items():
            began = clock()
            results[name] = work()
            seconds[name].append(clock() - began)
    return results, {name: Times(min(found), statistics.median(found)) for name, found in seconds.items()}


def summarise(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """One line per network."""
    lines = []
    for network in dict.fromkeys(_network(c) for c in found):
        part = [c for c in found if _network(c) == network]
        shares = [c.share for c in part if c.share is not None]
        means = [c.mean_share for c in part if c.mean_share is not None]
        lines.append(
            {
                "network": network,
                "instances": len(part),
                "crown_difference": min(c.crown_difference for c in part),
                "crown_ratio": statistics.median(c.crown_ratio for c in part),
                "largest_crown_ratio": max(c.crown_ratio for c in part),
                "share": min(shares, default=None),
                "mean_share": statistics.mean(means) if means else None,
                "ascent_ratio": statistics.median(c.ascent_ratio for c in part),
                "largest_ascent_ratio": max(c.ascent_ratio for c in part),
                "failed": [c.instance for c in part if not c.passed],
            }
        )
    return lines


def table(found: Sequence[Comparison]) -> str:
    """A line per instance."""
    out = [f"{'instance':52}{'worst CROWN':>12}{'time':>7}{'rows':>6}{'worst share':>12}{'time':>7}"]
    for c in found:
        share = "-" if c.share is None else f"{c.share:.5f}"
        out.append(
            f"{c.instance[-51:]:52}{c.crown_difference:12.1e}{c.crown_ratio:7.3f}{c.gaining_rows:6d}{share:>12}"
            f"{c.ascent_ratio:7.3f}{'' if c.passed else '  FAILED'}"
        )
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Bounds and CPU seconds beside auto_LiRPA's; ratios: ours / theirs.")
    parser.add_argument("--only", default="", help="instances whose name contains this text")
    parser.add_argument("--passes", type=int, default=2 * ITERATIONS, help="budget of passes of the ascent")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each side")
    parser.add_argument("--lirpa", type=Path, help="folder that holds the package auto_LiRPA")
    parser.add_argument("--json", type=Path, default=RESULTS / "crown_family.json", help="where to write the results")
    options = parser.parse_args()
    versions: dict[str, Any] = {}
    if options.lirpa is not None:
        from benchmarks.lirpa import load

        versions = load(options.lirpa)
    found = []
    for instance in crown_instances(options.only):
        found.append(compare(instance, options.passes, options.runs, options.lirpa is not None))
        print(f"{instance.name}: done", file=sys.stderr, flush=True)
    lines = summarise(found)
    report = {
        "environment": environment() | versions,
        "passes": options.passes,
        "peer": "auto_LiRPA in the same process" if options.lirpa else "auto_LiRPA's stored figures",
        "summary": lines,
        "instances": [asdict(c) | {"passed": c.passed} for c in found],
    }
    write_json(options.json, report)
    print(table(found))
    for line in lines:
        print(line)


def _network(comparison: Comparison) -> str:
    return "/".join(part for part in comparison.instance.split("/")[:2] if not part.startswith("img"))


if __name__ == "__main__":
    main()
