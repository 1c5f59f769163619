"""Two results of the competition runner beside each other."""

from dataclasses import replace

import pytest

from experiments.vnncomp.beside import beside, main
from experiments.vnncomp.records import Record, ResultsFile
from experiments.vnncomp.run import main as run
from tests.test_vnncomp import HEADER, SHARED_ROWS, fake, folder

__all__ = ["fake", "folder"]

UNSAT = Record("a/one", "a", "unsat", "unsat", 2.0, 1.5, 0.0, 90.0, "", "decided", 40.0, "")
SAT = Record("b/two", "b", "sat", "sat", 4.0, 3.0, 0.0, None, "confirmed", "decided", 40.0, "")
OPEN = Record("b/three", "b", "unknown", "timed-out", 40.5, 39.0, 0.5, 80.0, "", "unknown", 40.0, "")
BEFORE = [UNSAT, SAT, OPEN, replace(UNSAT, id="a/gone")]
AFTER = [
    replace(UNSAT, seconds=1.0, cpu_seconds=0.75),
    replace(SAT, verdict="unsat", outcome="wrong", replay="", cpu_seconds=None),
    replace(OPEN, verdict="unsat", outcome="decided", seconds=10.0, cpu_seconds=9.0),
]


def written(path, records):
    path.mkdir()
    results = ResultsFile(path / "results.csv", ())
    for record in records:
        results.append(record)
    return str(path)


def cells(lines):
    """The first table by its first cell."""
    rows = [line.strip("| ").split(" | ") for line in lines[: lines.index("")]]
    return {row[0]: row[1:] for row in rows}


def test_sets_answers_and_what_is_missing(tmp_path, capsys):
    folders = [written(tmp_path / "before", BEFORE), written(tmp_path / "after", AFTER)]
    assert main(folders) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == beside(BEFORE, AFTER)
    found = cells(lines)
    assert found["a"][:5] == ["1", "1 -> 1", "0 -> 0", "0 -> 0", "0 -> 0"]
    assert found["a"][5:] == ["2.00 -> 1.00", "0.500", "1.50 -> 0.75", "0.500"]
    # An open or wrong one counts as its timeout, whatever its wall was; CPU is what was spent.
    assert found["b"] == [
        "2",
        "1 -> 1",
        "0 -> 1",
        "0 -> 0",
        "1 -> 0",
        "44.00 -> 50.00",
        "1.136",
        "42.00 -> 9.00",
        "0.214",
    ]
    assert found["all"][:2] == ["3", "2 -> 2"] and found["all"][5] == "46.00 -> 51.00"
    assert lines[lines.index("") + 1 :] == [
        "Answers that differ: 2",
        "- b/two: sat (decided) -> unsat (wrong)",
        "- b/three: timed-out (unknown) -> unsat (decided)",
        "- only before: a/gone",
    ]


def test_instances_by_what_they_gain():
    lines = beside(BEFORE, AFTER, instances=True)
    rows = [line.split(" | ")[0] for line in lines[-3:]]
    assert rows == ["| a/one", "| b/two", "| b/three"]
    assert lines[-1] == "| b/three | unknown | timed-out -> unsat | 40.50 -> 10.00 | 39.00 -> 9.00 | 0.231 |"


BAD = {
    "missing": (None, "holds no results.csv"),
    "disjoint": ([replace(UNSAT, id="other")], "no instance in common"),
    "timeouts": ([replace(UNSAT, timeout=30.0)], "40 s before and 30 s after"),
}


@pytest.mark.parametrize("name", BAD)
def test_results_that_cannot_be_compared(name, tmp_path, capsys):
    records, said = BAD[name]
    after = str(tmp_path) if records is None else written(tmp_path / "after", records)
    assert main([written(tmp_path / "before", BEFORE), after]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err


def test_another_tree_is_run(folder, fake, tmp_path, capsys):
    listed = folder / "instances.csv"
    listed.write_text(HEADER + SHARED_ROWS)
    common = [str(listed), "--cap", "1000", "--only", "a/broken", "--output"]
    assert run([*common, str(tmp_path / "before"), "--tree", str(fake)]) == 0
    assert run([*common, str(tmp_path / "after")]) == 0
    capsys.readouterr()
    assert main([str(tmp_path / "before"), str(tmp_path / "after")]) == 0
    # The stand-in calls everything unsat.
    assert "- a/broken: unsat (wrong) -> sat (decided)" in capsys.readouterr().out.splitlines()


REFUSED = {"tree": (["--tree", "nowhere"], "nowhere holds no"), "mode": (["--tree", ".", "--persistent"], "fresh")}


@pytest.mark.parametrize("name", REFUSED)
def test_trees_that_cannot_be_run(name, folder, tmp_path, capsys):
    more, said = REFUSED[name]
    listed = folder / "instances.csv"
    listed.write_text(HEADER + SHARED_ROWS)
    assert run([str(listed), "--output", str(tmp_path / "out"), *more]) == 1
    assert said in capsys.readouterr().err
