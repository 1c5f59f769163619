"""Certificates of every pair of lookalikes that is unsat: recorded, checked, checked in exact numbers, and changed.

    python -m benchmarks.pair_certificates [--timeout SECONDS] [--cap SECONDS] [--changes COUNT] [--only TEXT]
        [--folder FOLDER] [--json FILE]

Every certificate is written, read again and checked in float64 and in exact numbers. Then random changes of it (goals,
atoms, the tree, multipliers, weights of planes, columns, tightenings, digests) are checked as proofs of three queries:
the query itself, and of three that are false, as a sampled input shows: two with smaller thresholds, one with a larger
box. No change may prove these; of the query itself, which is true, any may be accepted, and how many are is told.
Seconds are of the CPU.
"""

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import admm_verify as av
from admm_verify.certificates.certificate import Certificate
from admm_verify.certificates.check import Report, check
from admm_verify.certificates.digests import property_digest
from admm_verify.certificates.files import Extent, read, write
from benchmarks.differential import cpu_limit
from benchmarks.shares import RESULTS, environment, write_json
from problems.differential import PairInstance, lookalikes
from tests.certificates.mutations import MUTATIONS

FALSE = 0.999
"""Of the largest difference that was found, at what a query asks for that is false."""

SMALL, EVERY = 40, 4
"""Leaves up to which changed certificates are checked in exact numbers, too, and how many of them are."""


@dataclass(frozen=True)
class Changes:
    """What checking changed certificates gave: how many of a true query, and of false ones, were accepted."""

    kind: str
    tried: int = 0
    accepted_true: int = 0
    tried_false: int = 0
    accepted_false: int = 0


@dataclass(frozen=True)
class Record:
    """One pair: what recording and checking its certificate gave.

    worst, exact_worst: the smallest margin among the leaves. attained: the difference at an input found, which a false
    query is just below. exact_done: leaves checked in exact numbers before `cap`.
    """

    name: str
    epsilon: float
    verdict: str
    solve: float
    leaves: int
    kilobytes: float
    proved: bool
    worst: float
    check: float
    exact_proved: bool
    exact_worst: float
    exact_done: int
    exact_check: float
    reason: str
    attained: float
    changes: list[Changes]


def asked(instance: PairInstance, joint: av.PairedNetwork, epsilon: float) -> av.Query:
    """Is there an input at which an output differs by more than so much?"""
    numbers, limit = [2 * joint.outputs + k for k in instance.outputs], repr(epsilon)
    return av.query(joint, instance.box, " or ".join(f"y{k} > {limit} or y{k} < -{limit}" for k in numbers))


def attained(instance: PairInstance, joint: av.PairedNetwork, count: int = 20_000) -> float:
    """The largest difference of sampled inputs, each network computed alone."""
    x = np.random.default_rng(3).uniform(instance.lower, instance.upper, (count, len(instance.lower)))
    first, second = (
        np.asarray(network(x.reshape(count, *network.input_shape))).reshape(count, -1) for network in joint.both
    )
    return float(np.abs(second - first)[:, list(instance.outputs)].max())


def false_queries(instance: PairInstance, joint: av.PairedNetwork) -> list[av.Query]:
    """Queries with a solution among the sampled inputs: with smaller thresholds, and of a box three times as wide."""
    middle, radius = 0.5 * (instance.lower + instance.upper), instance.upper - instance.lower
    wide = replace(instance, lower=middle - 1.5 * radius, upper=middle + 1.5 * radius)
    found = [(instance, FALSE), (instance, 0.5), (wide, FALSE)]
    return [asked(one, joint, share * attained(one, joint)) for one, share in found]


def changed(certificate: Certificate, instance: PairInstance, joint: av.PairedNetwork, count: int) -> list[Changes]:
    """Changed certificates as proofs of the query, and of queries that are false."""
    rng = np.random.default_rng(11)
    true = asked(instance, joint, instance.epsilon).property
    false = [query.property for query in false_queries(instance, joint)]
    found = []
    for kind in (None, *MUTATIONS):
        one = Changes("none" if kind is None else kind.__qualname__.split(".")[0].strip("_"))
        for number in range(1 if kind is None else math.ceil(count / len(MUTATIONS))):
            ways = (False, True) if len(certificate.leaves) <= SMALL and number % EVERY == 0 else (False,)
            made = certificate if kind is None else kind(rng, certificate)
            one = replace(one, tried=one.tried + 1, accepted_true=one.accepted_true + check(made, true, joint).proved)
            for query in false:
                claimed = replace(made, query=property_digest(query))
                wrong = [check(claimed, query, joint, exact=way).proved for way in ways]
                one = replace(
                    one, tried_false=one.tried_false + len(wrong), accepted_false=one.accepted_false + sum(wrong)
                )
        found.append(one)
    return found


def exact_check(certificate: Certificate, query: av.Query, cap: float) -> tuple[Report, float]:
    """The report in exact numbers after at most so many seconds, and the seconds."""
    began = time.process_time()
    report = check(certificate, query.property, query.network, exact=True, run=cpu_limit(cap))
    return report, time.process_time() - began


def run(instance: PairInstance, folder: Path, options: argparse.Namespace) -> Record | None:
    """One pair; None where it is not unsat within the timeout."""
    began = time.process_time()
    joint = av.paired(instance.first, instance.second)
    query = asked(instance, joint, instance.epsilon)
    settings = av.VerifySettings(certificate=True)
    outcome = av.verify(query, settings=settings, run=cpu_limit(options.timeout))
    solve = time.process_time() - began
    if outcome.certificate is None:
        print(f"{instance.name:34} {outcome.verdict.value} in {solve:.1f} s, no certificate", flush=True)
        return None
    path = folder / f"{instance.name.replace(' ', '_')}.npz"
    write(outcome.certificate, path)
    certificate = read(path, extent=Extent.of(query.property, joint))
    began = time.process_time()
    report = check(certificate, query.property, joint)
    spent = time.process_time() - began
    exact, exact_spent = exact_check(certificate, query, options.cap)
    record = Record(
        instance.name,
        instance.epsilon,
        outcome.verdict.value,
        solve,
        len(certificate.leaves),
        path.stat().st_size / 1024,
        report.proved,
        report.worst,
        spent,
        exact.proved,
        exact.worst,
        exact.leaves,
        exact_spent,
        report.reason or exact.reason,
        attained(instance, joint),
        changed(certificate, instance, joint, options.changes) if len(certificate.leaves) <= options.largest else [],
    )
    print(line(record), flush=True)
    return record


def line(record: Record) -> str:
    """One line of the table."""
    tried, wrong = (sum(getattr(c, name) for c in record.changes) for name in ("tried_false", "accepted_false"))
    return (
        f"{record.name:34} solve {record.solve:6.2f} s, {record.leaves:5d} leaves, {record.kilobytes:7.1f} KiB, check "
        f"{record.check:6.2f} s {record.proved}, exact {record.exact_check:7.2f} s {record.exact_proved} "
        f"({record.exact_done}), {tried} false claims, {wrong} accepted"
    )


def summary(records: Sequence[Record]) -> dict[str, float]:
    """What all come to."""
    changes = [change for record in records for change in record.changes]
    return {
        "certificates": len(records),
        "proved": sum(record.proved for record in records),
        "proved in exact numbers": sum(record.exact_proved for record in records),
        "seconds to check": sum(record.check for record in records),
        "seconds in exact numbers": sum(record.exact_check for record in records),
        "changed certificates": sum(change.tried for change in changes if change.kind != "none"),
        "of these accepted for the true query": sum(c.accepted_true for c in changes if c.kind != "none"),
        "claims of what is false": sum(change.tried_false for change in changes),
        "of these accepted": sum(change.accepted_false for change in changes),
    }


def main() -> None:
    """Record, check and change the certificates of all pairs that are unsat, and write what came of it."""
    parser = argparse.ArgumentParser(description="Certificates of pairs of lookalikes.")
    parser.add_argument("--timeout", type=float, default=100.0, help="seconds of the CPU to solve each pair")
    parser.add_argument("--cap", type=float, default=600.0, help="seconds of the CPU for a check in exact numbers")
    parser.add_argument("--changes", type=int, default=120, help="changed certificates of each pair")
    parser.add_argument("--largest", type=int, default=400, help="leaves up to which certificates are changed")
    parser.add_argument("--only", default="", help="pairs whose name contains one of these texts, parted by commas")
    parser.add_argument("--folder", type=Path, required=True, help="where to write the certificates")
    parser.add_argument("--json", type=Path, default=RESULTS / "pair_certificates.json", help="where to write results")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    records = []
    for instance in lookalikes():
        if any(text in instance.name for text in options.only.split(",")):
            found = run(instance, options.folder, options)
            records += [] if found is None else [found]
    totals = summary(records)
    limits = {"timeout": options.timeout, "cap": options.cap, "environment": environment()}
    write_json(options.json, limits | {"summary": totals, "pairs": [asdict(record) for record in records]})
    print(", ".join(f"{name} {value:.4g}" for name, value in totals.items()))


if __name__ == "__main__":
    main()
