"""Output-aware refinement at the root: what it proves, and what it spares the search, one thread.

    python -m benchmarks.refinement [--only TEXT] [--timeout SECONDS] [--json FILE]

The competition instances of the shared data set whose truth is "unsat" and whose networks classify images. `miss` is
how far our tightened root bound (200 steps of ascent, which stands for the linear program's optimum over the same
bounds of neurons) stays below zero on the worst disjunct; `share` its part of the gap to the least value that projected
gradients find there: 0 is proved, 1 is as hard as it gets. Asked for: what misses by a share below 0.25 is proved at
the root in a second; a round costs no more than 50 subproblems for each disjunct, at the mean time that the search
takes for one; the median search of 100 to 5000 subproblems needs at most 0.75 times as many.
"""

import argparse
import csv
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import admm_verify as av
from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.attacks.gradient import value_and_gradient
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.bounds.region import build_region
from admm_verify.bounds.relaxed import Bounder
from admm_verify.complete import decide
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.refine import refined
from admm_verify.network.graph import Network
from admm_verify.properties.rows import atom_rows
from admm_verify.run import Run
from admm_verify.settings import RefineSettings, SearchSettings
from benchmarks.shares import RESULTS, environment, least_seconds, write_json
from problems.lp_instances import shared_folder

CATEGORIES = ("oval21", "mnist_fc", "cifar10_resnet", "marabou-cifar10", "sri_resnet_a")
ASKED = ("oval21", "mnist_fc")
"""Those that what is asked for is about."""
NEAR, SECONDS, ROUND, RATIO = 0.25, 1.0, 50.0, 0.75
SEARCHES = (100, 5000)
PLAIN = RefineSettings(rounds=0)


@dataclass(frozen=True)
class Record:
    """One instance; no share where the root's bounds prove it, no round where nothing is left to refine.

    disjuncts: open at the root. root_seconds: bounds of neurons and refinement, from scratch. round_subproblems: the
    time of a round for each disjunct, in subproblems of the search without refinement. nodes, seconds: of `verify`,
    with and without.
    """

    id: str
    disjuncts: int
    miss: float
    share: float
    proved: bool
    root_seconds: float
    round_subproblems: float | None
    nodes: int
    nodes_without: int
    seconds: float
    seconds_without: float
    verdicts: tuple[str, str]

    @property
    def ratio(self) -> float:
        return self.nodes / max(1, self.nodes_without)

    @property
    def asked(self) -> bool:
        return any(name in self.id for name in ASKED)

    @property
    def failures(self) -> list[str]:
        """What falls short of what is asked for."""
        near = self.asked and self.share < NEAR
        return [
            name
            for name, short in (
                ("root", near and not self.proved),
                ("seconds", near and self.root_seconds > SECONDS),
                ("round", self.round_subproblems is not None and self.round_subproblems > ROUND),
                ("verdict", set(self.verdicts) != {"unsat"}),
            )
            if short
        ]


def measure(name: str, query: av.Query, timeout: float) -> Record:
    """One instance."""
    network, rows = query.network.put(Placement.numpy()), atom_rows(query.property)
    box = rows.boxes
    began = time.process_time()
    whole = av.preactivation_bounds(network, box, "tightened")
    disjuncts = Disjuncts.of(rows, rows.offset, np.ones(len(rows.offset), dtype=bool), range(len(rows.disjuncts)))
    own = rows.box[disjuncts.row[:, 0]]
    bounds = PreactivationBounds(*(tuple(end[own] for end in side) for side in (whole.lower, whole.upper)))
    left = _refined(network, disjuncts, bounds, RefineSettings())
    root = time.process_time() - began
    miss, share, open = _miss(network, disjuncts, bounds)
    with_, without = (_verified(query, how, timeout) for how in (RefineSettings(), PLAIN))
    cost = None
    if len(open) and without[0]:
        part = disjuncts.take(open)
        kept = PreactivationBounds(*(tuple(end[open] for end in side) for side in (bounds.lower, bounds.upper)))
        # The second round's time: the first bounds of the rows are part of the first.
        one, two = (least_seconds(lambda r=r: _rounds(network, part, kept, r), 5) for r in (1, 2))
        search = without[1] - least_seconds(lambda: av.verify(query, settings=av.VerifySettings(max_subproblems=0)), 1)
        cost = (two - one) / len(open) / (max(search, 1e-9) / without[0])
    proved = left is not None and not len(left.disjuncts)
    numbers = with_[0], without[0], with_[1], without[1]
    return Record(name, len(open), miss, share, proved or not len(open), root, cost, *numbers, (with_[2], without[2]))


def _refined(network: Network, disjuncts: Disjuncts, bounds: PreactivationBounds, how: RefineSettings) -> Any:
    return refined(network, disjuncts, bounds, SearchSettings(refinement=how), Run())


def _rounds(network: Network, disjuncts: Disjuncts, bounds: PreactivationBounds, rounds: int) -> None:
    """So many rounds, whatever they gain."""
    _refined(network, disjuncts, bounds, replace(RefineSettings(), rounds=rounds, least_gain=-np.inf))


def _miss(network: Network, disjuncts: Disjuncts, bounds: PreactivationBounds) -> tuple[float, float, np.ndarray]:
    """The largest miss, the largest share of the gap, and the disjuncts that are open."""
    ends = [tuple(end[:, None] for end in side) for side in (bounds.lower, bounds.upper)]
    region = build_region(network, disjuncts.inputs.spread(), *ends)
    bounder = Bounder(network, Placement.numpy(), SearchSettings().ascent, Run())
    with quiet_overflow():
        rows = bounder.rows(disjuncts.objective, disjuncts.offset)
        lower = bounder.bound(region, rows, None, 200).lower.max(axis=1)
    open = np.flatnonzero(lower <= 0)
    if not len(open):
        return 0.0, 0.0, open
    values = np.array([_attacked(network, disjuncts, int(disjunct)) for disjunct in open])
    return float(-lower[open].min()), float((-lower[open] / (values - lower[open])).max()), open


def _attacked(network: Network, disjuncts: Disjuncts, disjunct: int, starts: int = 20, steps: int = 100) -> float:
    """The least value of a disjunct's best atom that signed gradients find from random starts."""
    low, high = disjuncts.inputs.at(disjunct).range
    points = np.random.default_rng(0).uniform(low, high, (starts, len(low)))
    best = np.inf
    for step in range(steps):
        output = network.evaluate(points)[-1] @ disjuncts.objective[disjunct].T + disjuncts.offset[disjunct]
        best = min(best, float(output.max(axis=1).min()))
        _, gradient = value_and_gradient(network, points, disjuncts.objective[disjunct][output.argmax(axis=1)])
        points = np.clip(points - 0.25 * 0.96**step * (high - low) * np.sign(gradient), low, high)
    return best


def _verified(query: av.Query, how: RefineSettings, timeout: float) -> tuple[int, float, str]:
    began = time.process_time()
    with patch.object(decide, "SearchSettings", lambda: SearchSettings(refinement=how)):
        found = av.verify(query, timeout=timeout)
    return found.subproblems, time.process_time() - began, found.verdict.value


def instances(only: str) -> Iterator[tuple[str, av.Query]]:
    folder = shared_folder() / "data"
    with open(folder / "instances.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = row["id"].removeprefix("vnncomp/")
            if row["category"].removeprefix("vnncomp_") in CATEGORIES and row["truth"] == "unsat" and only in name:
                yield name, av.read_query(folder / row["spec"], folder / row["model"])


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """What was asked for, and what came out."""
    near = [r for r in records if r.asked and r.share < NEAR]
    long = [r for r in records if SEARCHES[0] <= r.nodes_without <= SEARCHES[1]]
    return {
        "near": {r.id: r.proved for r in near},
        "slowest_root": max((r.root_seconds for r in near), default=None),
        "median_ratio": statistics.median(r.ratio for r in long) if long else None,
        "median_ratio_asked": statistics.median(r.ratio for r in long if r.asked)
        if any(r.asked for r in long)
        else None,
        "searches": {r.id: r.ratio for r in long},
        "seconds": sum(r.seconds for r in records),
        "seconds_without": sum(r.seconds_without for r in records),
        "failed": {r.id: r.failures for r in records if r.failures},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="instances whose name contains this")
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--json", type=Path, default=RESULTS / "refinement.json")
    options = parser.parse_args()
    records = []
    print(
        f"{'instance':58}{'open':>5}{'miss':>7}{'share':>7}{'root':>6}{'s':>6}{'round':>7}{'nodes':>13}{'seconds':>13}"
    )
    for name, query in instances(options.only):
        r = measure(name, query, options.timeout)
        records.append(r)
        cost = "-" if r.round_subproblems is None else f"{r.round_subproblems:.0f}"
        print(
            f"{name[-57:]:58}{r.disjuncts:5}{r.miss:7.3f}{r.share:7.2f}{'yes' if r.proved else 'no':>6}"
            f"{r.root_seconds:6.2f}{cost:>7}{r.nodes:6} /{r.nodes_without:6}{r.seconds:6.2f} /{r.seconds_without:6.2f}",
            flush=True,
        )
    summary = summarise(records)
    print(summary)
    report = {"environment": environment(), "summary": summary}
    write_json(options.json, report | {"records": [asdict(r) | {"ratio": r.ratio} for r in records]})


if __name__ == "__main__":
    main()
