"""Certificates of every competition instance that is unsat: size, and time to check against time to solve.

    python -m benchmarks.certificates [--timeout SECONDS] [--only TEXT] [--cap SECONDS] [--random COUNT] [--json FILE]

Each instance is solved twice, without a certificate and with one; then the certificate is written, read and checked, in
float64 and, for at most `cap` seconds, in exact numbers. So are certificates of random small networks.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

import admm_verify as av
from admm_verify.certificates.certificate import Certificate
from admm_verify.certificates.check import check
from admm_verify.certificates.files import read, write
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.vnnlib import parse_vnnlib
from benchmarks.root_verdicts import instances
from benchmarks.shares import RESULTS, environment, write_json
from problems.lp_instances import shared_folder


@dataclass(frozen=True)
class Exact:
    """What checking a certificate in exact numbers gave: finished, or why not."""

    finished: bool
    proved: bool
    seconds: float
    reason: str


@dataclass(frozen=True)
class Record:
    """One instance: seconds to solve without and with a certificate, its size, and what checking it gave."""

    id: str
    verdict: str
    solve: float
    recorded: float
    leaves: int
    kilobytes: float
    check: float
    proved: bool
    reason: str
    exact: Exact


class _Late(Exception):
    """A check took too long."""


def exact_check(certificate: Certificate, query: av.Query, cap: float) -> Exact:
    """Check in exact numbers, given up between two blocks of leaves after so many seconds."""
    began = time.monotonic()

    def give_up(progress: av.Progress) -> None:
        if progress.done < (progress.total or 0) and time.monotonic() - began > cap:
            raise _Late(f"{progress.text} in {cap:g} s")

    try:
        report = check(certificate, query.property, query.network, exact=True, run=av.Run(tell=give_up))
    except _Late as late:
        return Exact(False, False, time.monotonic() - began, str(late))
    refused = not report.proved and not report.leaves
    return Exact(not refused, report.proved, report.seconds, report.reason)


def run(name: str, query: av.Query, timeout: float, cap: float) -> Record | None:
    """One query; None where it is not unsat within the timeout."""
    plain = av.verify(query, timeout=timeout)
    if plain.verdict is not av.Verdict.UNSAT:
        return None
    found = av.verify(query, timeout=4 * timeout, settings=av.VerifySettings(certificate=True))
    if found.certificate is None:
        none = Exact(False, False, 0.0, "none made")
        return Record(name, found.verdict.value, plain.seconds, found.seconds, 0, 0.0, 0.0, False, none.reason, none)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proof.npz"
        write(found.certificate, path)
        size = path.stat().st_size / 1024
        began = time.monotonic()
        certificate = read(path)
        report = check(certificate, query.property, query.network)
        spent = time.monotonic() - began
    return Record(
        name,
        found.verdict.value,
        plain.seconds,
        found.seconds,
        len(certificate.leaves),
        size,
        spent,
        report.proved,
        report.reason,
        exact_check(certificate, query, cap),
    )


def random_query(seed: int) -> av.Query:
    """Whether an output of a random ReLU network can be above the largest of many samples, by a share of their range;
    with 3 inputs, whose boxes the search halves, or 24, where it splits neurons.
    """
    rng = np.random.default_rng([seed, 11])
    inputs, share = ((3, 0.05), (24, 1.2))[seed % 2]
    sizes = (inputs, 12, 12, 2)
    weights = [rng.normal(size=pair[::-1]) / np.sqrt(pair[0]) for pair in pairwise(sizes)]
    network = network_from_layers(weights, [rng.normal(size=size) for size in sizes[1:]])
    radius = 1.0 if inputs == 3 else 0.3
    sampled = network(rng.uniform(-radius, radius, size=(20_000, inputs)))
    level = sampled.max(axis=0) + share * np.ptp(sampled, axis=0)
    names = f"(declare-network f (declare-input X real [{inputs}])(declare-output Y real [2]))"
    box = "".join(f"(assert (and (>= X[{i}] -{radius}) (<= X[{i}] {radius})))" for i in range(inputs))
    atoms = f"(assert (or (>= Y[0] {level[0]:.6f}) (>= Y[1] {level[1]:.6f})))"
    return av.Query(f"random/{seed}", parse_vnnlib(f"(vnnlib-version <2.0>){names}{box}{atoms}"), network)


def records(queries: Iterator[tuple[str, av.Query]], timeout: float, cap: float) -> list[Record]:
    """The records of the queries that are unsat, each printed."""
    kept: list[Record] = []
    for name, query in queries:
        found = run(name, query, timeout, cap)
        if found is not None:
            kept.append(found)
            exact = (
                f"{found.exact.seconds:6.2f} s, {found.exact.proved if found.exact.finished else found.exact.reason}"
            )
            print(
                f"{found.id[-60:]:60s} solve {found.solve:6.2f} s, recorded {found.recorded:6.2f} s, "
                f"{found.leaves:6d} leaves, {found.kilobytes:8.1f} KiB, check {found.check:5.2f} s, {found.proved}, "
                f"exact {exact}",
                flush=True,
            )
    return kept


def summarise(what: str, found: Sequence[Record]) -> None:
    """Print how many are proved in float64, and in exact numbers of those whose exact check was finished."""
    slow = max((r.check / max(r.solve, 1e-9) for r in found), default=0.0)
    exact = [record for record in found if record.exact.finished]
    print(
        f"{what}: {sum(r.proved for r in found)} of {len(found)} proved; check over solve at most {slow:.2f}; exact: "
        f"{sum(r.exact.proved for r in exact)} of {len(exact)} proved, "
        f"{sum(r.exact.proved == r.proved for r in exact)} agree with float64, "
        f"{sum(r.exact.seconds for r in exact):.1f} s in all, {max((r.exact.seconds for r in exact), default=0):.1f} s "
        "at most"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timeout", type=float, default=40.0)
    parser.add_argument("--only", default="", help="instances whose id contains this")
    parser.add_argument("--cap", type=float, default=60.0, help="seconds for one check in exact numbers")
    parser.add_argument("--random", type=int, default=40, help="queries about random small networks")
    parser.add_argument("--json", type=Path, default=RESULTS / "certificates.json")
    options = parser.parse_args(arguments)
    folder = shared_folder() / "data"
    rows = instances(folder, options.only)
    competition = ((row["id"], av.read_query(folder / row["spec"], folder / row["model"])) for row in rows)
    drawn = ((f"random/{seed}", random_query(seed)) for seed in range(options.random))
    found = {
        "instances": records(competition, options.timeout, options.cap),
        "random": records(drawn, options.timeout, options.cap),
    }
    for what, part in found.items():
        summarise(what, part)
    summarise("all", [record for part in found.values() for record in part])
    limits = {"environment": environment(), "timeout": options.timeout, "cap": options.cap}
    write_json(options.json, limits | {what: [asdict(r) for r in part] for what, part in found.items()})


if __name__ == "__main__":
    main()
