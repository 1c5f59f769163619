"""Certificates of every competition instance that is unsat: size, and time to check against time to solve.

    python -m benchmarks.certificates [--timeout SECONDS] [--only TEXT] [--json FILE]

Each instance is solved twice, without a certificate and with one; then the certificate is written, read and checked.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import admm_verify as av
from admm_verify.certificates.check import check
from admm_verify.certificates.files import read, write
from benchmarks.root_verdicts import instances
from benchmarks.shares import RESULTS, environment, write_json
from problems.lp_instances import shared_folder


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


def run(row: dict[str, str], folder: Path, timeout: float) -> Record | None:
    """One instance; None where it is not unsat within the timeout."""
    query = av.read_query(folder / row["spec"], folder / row["model"])
    plain = av.verify(query, timeout)
    if plain.verdict is not av.Verdict.UNSAT:
        return None
    found = av.verify(query, 4 * timeout, certificate=True)
    if found.certificate is None:
        return Record(row["id"], found.verdict.value, plain.seconds, found.seconds, 0, 0.0, 0.0, False, "none made")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "proof.npz"
        write(found.certificate, path)
        size = path.stat().st_size / 1024
        began = time.monotonic()
        report = check(read(path), query.property, query.network)
        spent = time.monotonic() - began
    return Record(
        row["id"],
        found.verdict.value,
        plain.seconds,
        found.seconds,
        len(found.certificate.leaves),
        size,
        spent,
        report.proved,
        report.reason,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timeout", type=float, default=40.0)
    parser.add_argument("--only", default="", help="instances whose id contains this")
    parser.add_argument("--json", type=Path, default=RESULTS / "certificates.json")
    options = parser.parse_args(arguments)
    folder = shared_folder() / "data"
    records: list[Record] = []
    for row in instances(folder, options.only):
        found = run(row, folder, options.timeout)
        if found is not None:
            records.append(found)
            print(
                f"{found.id[-60:]:60s} solve {found.solve:6.2f} s, recorded {found.recorded:6.2f} s, "
                f"{found.leaves:6d} leaves, {found.kilobytes:8.1f} KiB, check {found.check:5.2f} s, {found.proved}",
                flush=True,
            )
    proved = sum(record.proved for record in records)
    slow = max((r.check / max(r.solve, 1e-9) for r in records), default=0.0)
    print(f"{proved} of {len(records)} proved; check over solve at most {slow:.2f}")
    write_json(
        options.json,
        {"environment": environment(), "timeout": options.timeout, "instances": [asdict(r) for r in records]},
    )


if __name__ == "__main__":
    main()
