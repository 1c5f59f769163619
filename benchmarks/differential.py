"""Pairs of networks decided by `verify`, and the certified largest difference by `minimum`, beside NeuroDiff.

    python -m benchmarks.differential [--timeout SECONDS] [--only TEXT] [--largest SECONDS] [--gap SHARE] [--json FILE]

Every instance asks whether an output of the second network can differ from the first one's by more than epsilon. Truths
are those of the shared data set; where NeuroDiff's logs have seconds and splits they stand beside ours. Seconds
and limits are of the CPU, over all threads: other processes of the machine hardly disturb them, as they do the clock on
the wall, which stands beside them. A counterexample is computed once more by each network alone.
"""

import argparse
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import admm_verify as av
from benchmarks.shares import RESULTS, environment, write_json
from problems.differential import PairInstance, lookalikes, neurodiff_pairs, published_pairs

SETS = {"baselines": neurodiff_pairs, "specs": published_pairs, "lookalikes": lookalikes}
"""The sets of instances, by name."""

_LEAST = 1e-9
"""A difference that is as good as none."""

_LOOK = 0.2
"""Seconds between looks at the CPU's clock."""


@dataclass(frozen=True)
class Record:
    """What came of one instance.

    seconds: of the CPU, with the joining of both networks; wall: on the wall. parts: bounded by branch and bound.
    replayed: the difference of both networks, each computed alone, at a counterexample. wrong: beside the truth, or a
    counterexample of none. certified, attained: the largest difference, as far as it was narrowed down in
    `largest_seconds`, of the CPU; None where it was not asked for.
    """

    set: str
    name: str
    epsilon: float
    truth: str
    verdict: str
    seconds: float
    wall: float
    parts: int
    replayed: float | None
    sampled: float | None
    neurodiff_seconds: float | None
    neurodiff_splits: int | None
    certified: float | None = None
    attained: float | None = None
    largest_seconds: float | None = None

    @property
    def decided(self) -> bool:
        """Whether there is an answer."""
        return self.verdict in ("sat", "unsat")

    @property
    def wrong(self) -> bool:
        """Whether the answer cannot be true."""
        missed = self.verdict == "sat" and not (self.replayed is not None and self.replayed > self.epsilon)
        known = self.verdict == "unsat" and self.sampled is not None and self.sampled > self.epsilon
        return missed or known or (self.decided and self.truth not in (self.verdict, "unknown"))

    @property
    def near(self) -> bool:
        """Whether the certified largest difference is within 1.5 times the largest one of samples and attacks."""
        most = max(self.sampled or 0.0, self.attained or 0.0)
        return self.certified is not None and self.certified <= 1.5 * most


def cpu_limit(seconds: float) -> av.Run:
    """A run that ends after so many seconds of the CPU, of this process."""
    end, asked, ended = time.process_time() + seconds, time.monotonic(), False

    def over() -> bool:
        nonlocal asked, ended
        # That clock may take milliseconds to read.
        if time.monotonic() >= asked:
            asked, ended = time.monotonic() + _LOOK, time.process_time() >= end
        return ended

    return av.Run(stop=over)


def decided(kind: str, instance: PairInstance, timeout: float) -> Record:
    """The verdict of one instance."""
    began, clock = time.process_time(), time.monotonic()
    joint = av.paired(instance.first, instance.second)
    numbers = [2 * joint.outputs + k for k in instance.outputs]
    limit = repr(instance.epsilon)
    condition = " or ".join(f"y{k} > {limit} or y{k} < -{limit}" for k in numbers)
    outcome = av.verify(av.query(joint, instance.box, condition), run=cpu_limit(timeout))
    seconds, wall = time.process_time() - began, time.monotonic() - clock
    replayed = None if outcome.counterexample is None else _difference(instance, outcome.counterexample)
    return Record(
        kind,
        instance.name,
        instance.epsilon,
        instance.truth,
        outcome.verdict.value,
        seconds,
        wall,
        outcome.subproblems,
        replayed,
        instance.sampled,
        instance.seconds,
        instance.splits,
    )


def _difference(instance: PairInstance, x: np.ndarray) -> float:
    """The largest difference of the outputs compared at an input, each network computed alone."""
    first, second = (
        np.asarray(network(np.asarray(x, dtype=np.float64).reshape(1, *network.input_shape))).reshape(-1)
        for network in (instance.first, instance.second)
    )
    return float(np.abs(second - first)[list(instance.outputs)].max())


def largest(instance: PairInstance, timeout: float, gap: float) -> tuple[float, float]:
    """The largest difference of any output compared: certified from above, and attained.

    gap: the share of what is attained by which what is certified may be more.
    """
    joint = av.paired(instance.first, instance.second)
    units = np.eye(joint.outputs)[list(instance.outputs)]
    rows = np.concatenate([joint.rows(difference=units), joint.rows(difference=-units)])
    settings = av.MinimumSettings(relative=gap, absolute=_LEAST)
    found = av.minimum(joint, instance.box, rows[None], settings=settings, run=cpu_limit(timeout))
    return -float(found.lower[0]), -float(found.upper[0])


def measured(sets: Iterable[str], only: str, timeout: float, seconds: float, gap: float) -> list[Record]:
    """Records of all instances whose name contains a text, told one by one; seconds, gap: of the largest difference."""
    found = []
    for kind in sets:
        for instance in SETS[kind]():
            if only not in f"{kind} {instance.name}":
                continue
            record = decided(kind, instance, timeout)
            if seconds and kind == "lookalikes":
                began = time.process_time()
                certified, attained = largest(instance, seconds, gap)
                spent = time.process_time() - began
                record = replace(record, certified=certified, attained=attained, largest_seconds=spent)
            print(line(record), flush=True)
            found.append(record)
    return found


def line(record: Record) -> str:
    """One line of the table."""
    rival = "" if record.neurodiff_splits is None else f"{record.neurodiff_seconds:8.2f} s{record.neurodiff_splits:6d}"
    most = ""
    if record.certified is not None and record.attained is not None:
        most = f"  <= {record.certified:.4g}, attained {record.attained:.4g}, sampled {record.sampled or 0:.4g}"
    told = f"{record.set:11}{record.name:34}{record.epsilon:9.3g} {record.truth:8}{record.verdict:10}"
    wrong = "  WRONG" if record.wrong else ""
    return f"{told}{record.seconds:8.2f} s{record.wall:8.2f} s{record.parts:8d}{rival}{most}{wrong}"


def summary(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """What each set comes to."""
    found = {}
    for kind in dict.fromkeys(record.set for record in records):
        own = [record for record in records if record.set == kind]
        rivals = [record for record in own if record.neurodiff_splits is not None]
        found[kind] = {
            "instances": len(own),
            "decided": sum(record.decided for record in own),
            "wrong": sum(record.wrong for record in own),
            "seconds": sum(record.seconds for record in own),
            "median seconds": statistics.median(record.seconds for record in own),
            "most seconds": max(record.seconds for record in own),
            "median seconds on the wall": statistics.median(record.wall for record in own),
            "most seconds on the wall": max(record.wall for record in own),
            "seconds of NeuroDiff": sum(record.neurodiff_seconds or 0.0 for record in rivals),
            "with more parts than its splits": sum(r.parts > max(1, r.neurodiff_splits or 0) for r in rivals),
            "largest difference within 1.5 times": sum(record.near for record in own),
        }
    return found


def main() -> None:
    """Decide all instances and write what came of them."""
    parser = argparse.ArgumentParser(description="Pairs of networks beside NeuroDiff.")
    parser.add_argument("--timeout", type=float, default=100.0, help="seconds of the CPU for each instance")
    parser.add_argument("--only", default="", help="instances whose set and name contain this text")
    parser.add_argument("--largest", type=float, default=0.0, help="seconds for the largest difference of lookalikes")
    parser.add_argument(
        "--gap", type=float, default=0.4, help="share by which certified may exceed attained differences"
    )
    parser.add_argument("--json", type=Path, default=RESULTS / "differential.json", help="where to write the results")
    options = parser.parse_args()
    records = measured(SETS, options.only, options.timeout, options.largest, options.gap)
    if not records:
        raise SystemExit(f"No instance has {options.only!r} in its set and name.")
    found = summary(records)
    rows = [asdict(record) | {"decided": record.decided, "wrong": record.wrong} for record in records]
    limits = {"timeout": options.timeout, "largest": options.largest, "gap": options.gap}
    write_json(options.json, {"environment": environment(), **limits, "summary": found, "instances": rows})
    for kind, figures in found.items():
        print(kind, ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
