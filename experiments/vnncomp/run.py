"""Run `admm-verify verify` on a list of instances; time, replay and report every answer.

    python -m experiments.vnncomp.run INSTANCES.csv --root FOLDER [--cap SECONDS] [--only TEXT] [--resume]
        [--processes N | --persistent] [--memory GIB] [--tree FOLDER] [--output FOLDER]

INSTANCES.csv is a benchmark's own (rows onnx,vnnlib,timeout) or in the shared format with a header. Writes results.csv
row by row, then results.json, cactus.png, report.html, and in answers/ what `verify` printed. Ctrl-C reports what is
done by then; --resume goes on from there. Instances are started one after the other unless --processes says otherwise.
--tree runs the admm_verify of another checkout, say of an older commit; experiments.vnncomp.beside then sets the two
results beside each other.
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol

import admm_verify as av
from experiments.vnncomp.answer import Attempt, Settings
from experiments.vnncomp.fresh import FreshProcesses
from experiments.vnncomp.instances import Instance, read_instances
from experiments.vnncomp.persistent import PersistentWorker
from experiments.vnncomp.records import Record, ResultsFile, judged, read_results
from experiments.vnncomp.replay import replay
from experiments.vnncomp.report import environment, write_report


class Runner(Protocol):
    """Where instances run."""

    def run(self, instance: Instance) -> Attempt | None:
        """Run one; None where the runner was stopped."""
        ...

    def stop(self) -> None:
        """End what another thread is running."""
        ...

    def close(self) -> None:
        """Release what is left when no thread runs anything."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 with a report, 1 with one message on stderr, 130 with a report after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        instances = read_instances(options.instances, options.root, options.cap, options.only)
        return _run(instances, options)
    except av.AdmmVerifyError as error:
        print(f"vnncomp: {error}", file=sys.stderr)
    except OSError as error:
        print(f"vnncomp: {error.filename or options.output}: {error.strerror}.", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vnncomp", description="Verdicts, times and memory of competition instances.")
    parser.add_argument("instances", type=Path, metavar="INSTANCES.csv", help="onnx,vnnlib,timeout; or with a header")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="where the paths start; default: the list's folder")
    parser.add_argument("--cap", type=float, metavar="SECONDS", help="longest timeout of an instance")
    parser.add_argument("--only", default="", metavar="TEXT", help="instances whose id contains this text")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--processes", type=_positive, default=1, metavar="N", help="fresh processes at a time")
    parser.add_argument(
        "--tree", type=Path, metavar="FOLDER", help="checkout whose admm_verify is run, afresh each time"
    )
    where.add_argument("--persistent", action="store_true", help="all in one process, which imports once")
    parser.add_argument("--memory", type=float, metavar="GIB", help="limit handed to `verify`")
    parser.add_argument("--output", type=Path, default=Path("vnncomp-results"), metavar="FOLDER")
    parser.add_argument("--resume", action="store_true", help="keep results.csv and skip the ids in it")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _run(instances: Sequence[Instance], options: argparse.Namespace) -> int:
    folder = options.output.resolve()
    settings = Settings(folder / "answers", options.memory)
    settings.answers.mkdir(parents=True, exist_ok=True)
    records = read_results(folder / "results.csv") if options.resume else []
    results = ResultsFile(folder / "results.csv", records)
    known = {record.id for record in records}
    left = [instance for instance in instances if instance.id not in known]
    if known:
        print(f"{len(instances) - len(left)} of {len(instances)} instances are done already", file=sys.stderr)
    tree = _tree(options)
    runner = PersistentWorker(settings) if options.persistent else FreshProcesses(settings, tree)
    status = 0
    try:
        for number, record in enumerate(_records(runner, left, options.processes), 1):
            results.append(record)
            records.append(record)
            print(_progress(number, len(left), record), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted; reporting what is done", file=sys.stderr)
        status = 130
    finally:
        runner.close()
    mode = {"mode": "persistent" if options.persistent else "fresh", "processes": options.processes}
    if tree is not None:
        mode["tree"] = tree.name
    limits = {"cap_s": options.cap, "memory_gib": options.memory}
    write_report(folder, records, environment({"instances": options.instances.name} | mode | limits))
    return status


def _tree(options: argparse.Namespace) -> Path | None:
    """The checkout to run, made absolute."""
    if options.tree is None:
        return None
    if options.persistent:
        raise av.InputError("--tree needs fresh processes. Leave out --persistent.")
    tree = options.tree.resolve()
    if not (tree / "admm_verify" / "__main__.py").is_file():
        raise av.InputError(f"{options.tree} holds no admm_verify/__main__.py. Give a checkout of the project.")
    return tree


def _records(runner: Runner, instances: Sequence[Instance], side_by_side: int) -> Iterator[Record]:
    """Records as they come, in order of the list where there is one process."""
    with ThreadPoolExecutor(side_by_side) as pool:
        # Replaying belongs to the task: with one process at a time, nothing runs beside it.
        tasks = [pool.submit(_record, runner, instance) for instance in instances]
        try:
            for task in as_completed(tasks):
                record = task.result()
                if record is not None:
                    yield record
        finally:
            for task in tasks:
                task.cancel()
            runner.stop()


def _record(runner: Runner, instance: Instance) -> Record | None:
    attempt = runner.run(instance)
    if attempt is None:
        return None
    replayed, reason = "", ""
    if attempt.verdict == "sat":
        replayed, reason = replay(instance.networks[0][1], instance.query, attempt.witness)
    return judged(instance, attempt, replayed, reason)


def _progress(number: int, count: int, record: Record) -> str:
    width = len(str(count))
    peak = "" if record.peak_mb is None else f"{record.peak_mb:6.0f} MiB"
    line = f"[{number:{width}}/{count}] {record.seconds:7.2f} s {peak:>10}  {record.verdict:9} {record.outcome:8}"
    return f"{line} {record.id}  {record.reason[:80]}".rstrip()


if __name__ == "__main__":
    # A runner that is asked to end must not leave its children behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
