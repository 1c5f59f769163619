"""What becomes of answers when files are shared, cannot be written, or their writer is killed."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest

import admm_verify as av
from admm_verify import cli, files
from admm_verify.commands.reach import EXAMPLE
from admm_verify.complete import decide
from admm_verify.complete.checkpoint import Checkpoint
from admm_verify.complete.pool import Pool
from admm_verify.robustness import journal
from admm_verify.robustness.instances import Instances
from admm_verify.robustness.journal import FORMAT, Finished, Journal
from tests.test_certify import classifier_task, lines_of
from tests.test_checkpoint import LEVEL, query
from tests.test_cli import QUERY, model_bytes

TASK = {"format": FORMAT}
FULL = OSError(errno.ENOSPC, "No space left on device")


def fail(*arguments):
    raise FULL


def instances(count=40):
    network, images, labels = classifier_task(1, count)
    return Instances.of(network, images, labels, [0.1], av.CertifySettings())


def verified(first, last):
    return [Finished(i, 0.1, av.Answer.VERIFIED, 1.0) for i in range(first, last)]


def test_opening_a_record_waits_for_whoever_writes(tmp_path, monkeypatch):
    path, given = tmp_path / "found.jsonl", instances()
    own, opened = Journal(path, TASK, given), []
    other = threading.Thread(target=lambda: opened.append(Journal(path, TASK, given)))

    def halting(handle, content):
        os.write(handle, content[:150])
        other.start()
        # Without a lock the other one is done long before.
        other.join(0.3)
        os.write(handle, content[150:])

    with monkeypatch.context() as patch:
        patch.setattr(journal, "write_all", halting)
        own.append(verified(0, 20))
    other.join()
    assert opened[0].found == verified(0, 20)
    own.append(verified(20, 30))
    opened[0].append(verified(30, 40))
    assert Journal(path, TASK, given).found == verified(0, 40)


OPENING = """
from tests.test_unwritten import *
given = instances()
os.write(1, b"ready")
for _ in range(30):
    Journal(sys.argv[1], TASK, given)
"""


def test_processes_lose_no_lines_of_a_record(tmp_path):
    path, given = tmp_path / "found.jsonl", instances()
    own = Journal(path, TASK, given)
    with subprocess.Popen([sys.executable, "-c", OPENING, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read(5) == b"ready"
        for first in range(0, 40, 4):
            own.append(verified(first, first + 4))
    assert process.returncode == 0 and Journal(path, TASK, given).found == verified(0, 40)


def test_a_record_that_was_deleted_begins_anew(tmp_path):
    path, given = tmp_path / "found.jsonl", instances()
    own = Journal(path, TASK, given)
    path.unlink()
    own.append(verified(0, 3))
    assert Journal(path, TASK, given).found == verified(0, 3)


def test_lines_never_go_to_the_record_of_another_task(tmp_path):
    path, given = tmp_path / "found.jsonl", instances()
    own = Journal(path, TASK, given)
    own.append(verified(0, 3))
    path.unlink()
    Journal(path, TASK | {"network": "another"}, given)
    before = path.read_bytes()
    with pytest.raises(av.OutputError, match="replaced meanwhile"):
        own.append(verified(3, 6))
    assert path.read_bytes() == before


def test_lines_are_written_together_or_not_at_all(tmp_path, monkeypatch):
    path, given = tmp_path / "found.jsonl", instances()
    own = Journal(path, TASK, given)
    own.append(verified(0, 3))
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fail)
        with pytest.raises(av.OutputError, match="No space left"):
            own.append(verified(3, 6))
    assert path.read_bytes() == before


def test_a_record_that_cannot_begin_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(av.InputError, match="No space left"):
        Journal(tmp_path / "found.jsonl", TASK, instances())
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (os.devnull, str(tmp_path / "pipe"), str(tmp_path)):
        with pytest.raises(av.InputError, match=r"cannot be read and written|folder"):
            Journal(path, TASK, instances())


def test_results_are_kept_where_their_record_cannot_be_written(tmp_path, monkeypatch):
    network, images, labels = classifier_task(3)
    path = tmp_path / "found.jsonl"
    whole = av.certify(network, images, labels, [0.1, 0.02])
    assert whole.unwritten is None
    original = Journal.append

    def refused(self, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fsync", fail)
            original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", refused)
        found = av.certify(network, images, labels, [0.1, 0.02], settings=av.CertifySettings(output=path))
    assert (found.status == whole.status).all() and "No space left" in str(found.unwritten)
    assert len(lines_of(path)) == 1
    assert av.certify(network, images, labels, [0.1, 0.02], settings=av.CertifySettings(output=path)).unwritten is None
    assert len(lines_of(path)) == 1 + found.status.size


def test_a_search_goes_on_where_its_checkpoint_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "search.npz"
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fail)
        part = av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=30, checkpoint=path))
        assert part.verdict is av.Verdict.UNKNOWN and "No space left" in str(part.unwritten)
        decided = av.verify(query(LEVEL), settings=av.VerifySettings(checkpoint=path))
        assert decided.verdict is av.Verdict.UNSAT and decided.unwritten is None
    assert list(tmp_path.iterdir()) == []
    assert av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=30, checkpoint=path)).unwritten is None
    monkeypatch.setattr(files.os, "fsync", fail)
    before = path.read_bytes()
    assert (
        av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=60, checkpoint=path)).unwritten is not None
    )
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["search.npz"]


def test_answers_stand_where_memory_runs_out_for_their_files(tmp_path, monkeypatch):
    def without_memory(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(Pool, "all", without_memory)
    part = av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=30, checkpoint=tmp_path / "search.npz"))
    assert part.verdict is av.Verdict.UNKNOWN and "Memory ran out for the checkpoint" in str(part.unwritten)
    monkeypatch.setattr(decide, "certificate", without_memory)
    found = av.verify(query(LEVEL), settings=av.VerifySettings(certificate=True))
    assert found.verdict is av.Verdict.UNSAT and found.certificate is None
    assert "Memory ran out for the certificate" in str(found.unwritten)


def test_searches_share_a_checkpoint(tmp_path):
    path, found = tmp_path / "search.npz", []
    av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=30, checkpoint=path))

    def search():
        found.append(av.verify(query(LEVEL), settings=av.VerifySettings(checkpoint=path)))

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.verdict for one in found] == [av.Verdict.UNSAT] * 2 and [one.unwritten for one in found] == [None] * 2


def test_a_checkpoint_is_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (os.devnull, tmp_path / "pipe"):
        with pytest.raises(av.InputError, match="no regular file"):
            Checkpoint(path, "identity").read(lambda content: content)


KILLED = """
from tests.test_unwritten import *
count, name, path = 0, sys.argv[1], sys.argv[3]
original = getattr(os, name)

def killing(*arguments):
    global count
    count += 1
    if count == int(sys.argv[2]):
        if name == "write":
            original(arguments[0], bytes(arguments[1])[:70])
        os.kill(os.getpid(), 9)
    return original(*arguments)

setattr(os, name, killing)
if sys.argv[4] == "certify":
    av.certify(*classifier_task(3), [0.1, 0.02], settings=av.CertifySettings(output=path))
else:
    av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=30, checkpoint=path))
"""


def killed(name, count, path, what):
    done = subprocess.run([sys.executable, "-c", KILLED, name, str(count), str(path), what], check=False)
    return done.returncode == -9


@pytest.mark.parametrize(
    "name, count",
    [
        ("write", 2),
        ("fsync", 2),
        *(pytest.param(*at, marks=pytest.mark.slow) for at in (("write", 1), ("ftruncate", 2))),
    ],
)
def test_a_killed_certification_goes_on_from_its_record(name, count, tmp_path):
    path = tmp_path / "found.jsonl"
    network, images, labels = classifier_task(3)
    assert killed(name, count, path, "certify")
    found, whole = (
        av.certify(network, images, labels, [0.1, 0.02], settings=av.CertifySettings(output=output))
        for output in (path, None)
    )
    assert (found.status == whole.status).all() and len(lines_of(path)) == 1 + found.status.size


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_killed_search_goes_on_from_its_checkpoint(name, tmp_path):
    path = tmp_path / "search.npz"
    av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=10, checkpoint=path))
    before = path.read_bytes()
    assert killed(name, 1, path, "verify")
    assert path.read_bytes() == before
    assert av.verify(query(LEVEL), settings=av.VerifySettings(checkpoint=path)).verdict is av.Verdict.UNSAT
    assert not path.exists()


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "net.onnx").write_bytes(model_bytes())
    (tmp_path / "sat.vnnlib").write_text(QUERY.format(atom="(>= Y[0,1] 0.5)"))
    (tmp_path / "unsat.vnnlib").write_text(QUERY.format(atom="(>= Y[0,0] 2.5)"))
    return lambda name, *more: [
        "verify",
        str(tmp_path / f"{name}.vnnlib"),
        "--network",
        str(tmp_path / "net.onnx"),
        *more,
    ]


def test_the_verdict_comes_before_files_that_cannot_be_written(asked, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files.os, "fsync", fail)
    wanted = ["--json", str(tmp_path / "o.json"), "--certificate", str(tmp_path / "proof.npz")]
    assert cli.main(asked("unsat", *wanted)) == 1
    shown = capsys.readouterr()
    assert shown.out == "unsat\n" and len(shown.err.splitlines()) == 1
    assert "The certificate" in shown.err and "The JSON file" in shown.err and shown.err.count("No space left") == 2
    assert cli.main(asked("sat", "--serialise-assignments", str(tmp_path / "folder"))) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("sat\nX real [1,2]\n") and "The assignment" in shown.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "net.onnx", "sat.vnnlib", "unsat.vnnlib"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_assignments_need_a_folder(asked, tmp_path, capsys):
    assert cli.main(asked("sat", "--serialise-assignments", str(tmp_path / "net.onnx"))) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and "it is no folder" in shown.err


def test_every_file_is_tried(tmp_path, capsys):
    report, full = tmp_path / "report.json", tmp_path / "full.png"
    full.symlink_to("/dev/full")
    assert cli.main(["reach", "--steps", "1", "--plot", str(full), "--json", str(report)]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("double_integrator") and "The plot" in shown.err and report.exists()


def test_no_file_is_written_twice_or_over_its_own_input(asked, tmp_path, capsys):
    model, both = str(tmp_path / "net.onnx"), str(tmp_path / "both")
    before = (tmp_path / "net.onnx").read_bytes()
    for more, words in [
        (["--json", model], "also read"),
        (["--checkpoint", str(tmp_path / "sat.vnnlib")], "also read"),
        (["--json", both, "--certificate", both], "written twice"),
    ]:
        assert cli.main(asked("sat", *more)) == 1
        shown = capsys.readouterr()
        assert shown.out == "" and words in shown.err
    assert (tmp_path / "net.onnx").read_bytes() == before and not os.path.exists(both)
    model = onnx.load(tmp_path / "net.onnx")
    onnx.save(model, tmp_path / "outside.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    shutil.copytree(EXAMPLE.parent, tmp_path / "system")
    for command, path in [
        (["verify", asked("sat")[1], "--network", str(tmp_path / "outside.onnx")], tmp_path / "net.data"),
        (["reach", str(tmp_path / "system" / EXAMPLE.name)], tmp_path / "system" / "double_integrator.npz"),
    ]:
        before = path.read_bytes()
        assert cli.main([*command, "--json", str(path)]) == 1
        assert "also read" in capsys.readouterr().err and path.read_bytes() == before
    np.save(tmp_path / "rows.npy", np.eye(2))
    rows = str(tmp_path / "rows.npy")
    assert cli.main(["bound", *asked("sat")[1:], "--objective", rows, "--json", rows]) == 1
    assert "also read" in capsys.readouterr().err


LONG = "x" * 300


@pytest.mark.parametrize(
    "more",
    [[option, LONG] for option in ("--json", "--certificate", "--checkpoint", "--serialise-assignments")]
    + [["--network", LONG], ["--network", f"f={LONG}"], ["--json", "loop"]],
)
def test_names_that_the_system_does_not_take(more, asked, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    words = asked("sat", *more)
    assert cli.main(words[:2] + more if "--network" in more else words) == 1
    error = capsys.readouterr().err
    assert ("too long" in error or "Too many levels" in error) and len(error.splitlines()) == 1


def test_a_name_before_a_file_is_told_from_a_file_with_a_name_in_it(asked, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    query, network = asked("sat")[1], (tmp_path / "net.onnx").read_bytes()
    (tmp_path / "f=net.onnx").write_bytes(network)
    assert cli.main(["verify", query, "--network", "f=net.onnx"]) == 1
    assert "both files exist" in capsys.readouterr().err
    (tmp_path / "net.onnx").unlink()
    assert cli.main(["verify", query, "--network", "f=net.onnx"]) == 0


def test_a_record_that_contradicts_itself_or_the_network_is_refused(tmp_path):
    network, images, labels = classifier_task(1, 30)
    path, radii = tmp_path / "found.jsonl", [0.0, 0.02, 0.5]
    found = av.certify(network, images, labels, radii, settings=av.CertifySettings(output=path))
    header, *lines = path.read_text().splitlines()
    content = [json.loads(line) for line in lines]
    wrong = int(np.flatnonzero(~found.correct)[0])
    right = next(one for one in content if one["status"] == "verified" and one["radius"] > 0)
    others = [line for line, one in zip(lines, content, strict=True) if one["image"] not in (wrong, right["image"])]
    moved = right | {"image": wrong, "label": int(labels[wrong])}
    for damaged in (
        [right, right | {"status": "falsified", "lower": None}],
        [right, right | {"status": "falsified", "lower": None, "radius": 0.0}],
        [moved],
    ):
        path.write_text("\n".join([header, *others, *map(json.dumps, damaged)]) + "\n")
        with pytest.raises(av.InputError, match="is damaged"):
            av.certify(network, images, labels, radii, settings=av.CertifySettings(output=path))
