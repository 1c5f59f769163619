"""Set the results of two runs beside each other, set by set: what was decided, what was wrong, what it took.

    python -m experiments.vnncomp.beside BEFORE AFTER [--instances]

BEFORE and AFTER are two output folders of experiments.vnncomp.run. Prints a table in Markdown of the instances that
both hold, then every instance whose answer differs, then the ids that only one of them has. `walls` are summed with an
undecided instance at its timeout; `CPU` is what was spent, in seconds, and says more where the machine was busy.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import admm_verify as av
from experiments.vnncomp.records import Record, Summary, read_results, summarised

_COLUMNS = ("set", "instances", "decided", "wrong", "errors", "replayed", "walls [s]", "ratio", "CPU [s]", "ratio")
_INSTANCE_COLUMNS = ("instance", "truth", "answer", "wall [s]", "CPU [s]", "ratio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 with a table on stdout, 1 with one message on stderr."""
    parser = argparse.ArgumentParser(prog="beside", description="Two results of the competition runner, set by set.")
    parser.add_argument("before", type=Path, metavar="BEFORE", help="folder with a results.csv")
    parser.add_argument("after", type=Path, metavar="AFTER", help="folder with a results.csv")
    parser.add_argument("--instances", action="store_true", help="also every instance, the largest gain of CPU last")
    options = parser.parse_args(arguments)
    try:
        before, after = _results(options.before), _results(options.after)
        print("\n".join(beside(before, after, options.instances)))
    except av.AdmmVerifyError as error:
        print(f"beside: {error}", file=sys.stderr)
        return 1
    return 0


def _results(folder: Path) -> list[Record]:
    path = folder / "results.csv"
    if not path.is_file():
        raise av.InputError(f"{folder} holds no results.csv. Give an output folder of experiments.vnncomp.run.")
    return read_results(path)


def beside(before: Sequence[Record], after: Sequence[Record], instances: bool = False) -> list[str]:
    """The lines of the comparison.

    Raises: InputError where no instance is in both, or one had another timeout.
    """
    old, new = {record.id: record for record in before}, {record.id: record for record in after}
    pairs = [(old[name], record) for name, record in new.items() if name in old]
    if not pairs:
        raise av.InputError("The two results have no instance in common. Run the same list twice.")
    for first, second in pairs:
        if first.timeout != second.timeout:
            limits = f"{first.timeout:g} s before and {second.timeout:g} s after"
            raise av.InputError(f"{first.id} had a timeout of {limits}. Run both with one --cap.")
    summaries = [summarised([pair[side] for pair in pairs]) for side in (0, 1)]
    lines = _table(_COLUMNS, [_set(name, summaries[0][name], numbers) for name, numbers in summaries[1].items()])
    differing = [pair for pair in pairs if _answer(pair[0]) != _answer(pair[1])]
    lines += ["", f"Answers that differ: {len(differing)}"]
    lines += [f"- {first.id}: {_answer(first)} -> {_answer(second)}" for first, second in differing]
    for side, found, other in (("before", old, new), ("after", new, old)):
        lines += [f"- only {side}: {name}" for name in found if name not in other]
    if instances:
        ordered = sorted(pairs, key=_gain)
        lines += ["", *_table(_INSTANCE_COLUMNS, [_instance(*pair) for pair in ordered])]
    return lines


def _answer(record: Record) -> str:
    return f"{record.verdict} ({record.outcome})"


def _gain(pair: tuple[Record, Record]) -> float:
    return (pair[0].cpu_seconds or 0.0) - (pair[1].cpu_seconds or 0.0)


def _set(name: str, old: Summary, new: Summary) -> list[str]:
    counts = [(old.decided, new.decided), (old.wrong, new.wrong), (old.error, new.error), (old.replayed, new.replayed)]
    row = [name, str(new.instances), *(f"{first} -> {second}" for first, second in counts)]
    return row + _both(old.seconds, new.seconds) + _both(old.cpu_seconds, new.cpu_seconds)


def _instance(old: Record, new: Record) -> list[str]:
    row = [old.id, new.truth, f"{old.verdict} -> {new.verdict}", f"{old.seconds:.2f} -> {new.seconds:.2f}"]
    if old.cpu_seconds is None or new.cpu_seconds is None:
        return [*row, "", ""]
    return row + _both(old.cpu_seconds, new.cpu_seconds)


def _both(old: float, new: float) -> list[str]:
    """Both numbers, and the second over the first."""
    return [f"{old:.2f} -> {new:.2f}", f"{new / old:.3f}" if old > 0 else ""]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


if __name__ == "__main__":
    sys.exit(main())
