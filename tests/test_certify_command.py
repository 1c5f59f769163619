"""The command `certify` as a user meets it: files in, a table out, and one clear message for every bad file."""

import io
import json
import os
import re
import signal
import sys
import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from admm_verify import certify, cli
from admm_verify.cli import main
from admm_verify.commands import certify as command_module
from admm_verify.robustness.journal import Journal
from tests.test_certify import classifier_task, lines_of


@pytest.fixture
def files(tmp_path):
    """A network, its images and labels as files."""
    network, images, labels = classifier_task(3)
    matrices = [node.terms[0].map.weight for node in network.nodes[1::2]]
    biases = [node.bias for node in network.nodes[1::2]]
    nodes, tensors, last = [], [], "x"
    for k, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
        tensors += [numpy_helper.from_array(a.astype(np.float32), f"{n}{k}") for n, a in (("w", matrix), ("b", bias))]
        target = "y" if k == len(matrices) - 1 else f"h{k}"
        nodes.append(helper.make_node("Gemm", [last, f"w{k}", f"b{k}"], [target], transB=1))
        if target != "y":
            nodes.append(helper.make_node("Relu", [target], [f"r{k}"]))
        last = f"r{k}"
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, s)) for n, s in (("x", 3), ("y", 4))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    np.savez(tmp_path / "odd.npz", pictures=images)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    (tmp_path / "torn.npz").write_bytes((tmp_path / "set.npz").read_bytes()[:100])
    return tmp_path


def command(files, *more, images="set.npz"):
    paths = ["--network", str(files / "net.onnx"), "--images", str(files / images)]
    return ["certify", *paths, "--radii", "0.1", "0.02", *more]


def test_the_command_end_to_end(files, capsys):
    out, output = str(files / "out.json"), str(files / "found.jsonl")
    assert main(command(files, "--json", out, "--output", output)) == 0
    first = capsys.readouterr()
    assert first.err == "" and "clean accuracy 91.67%" in first.out
    content = json.loads((files / "out.json").read_text())
    assert [entry["radius"] for entry in content["radii"]] == [0.1, 0.02]
    assert content["network"] == "net.onnx" and len(content["images"]) == 12
    verified = sum(status["status"][1] == "verified" for status in content["images"])
    assert verified == content["radii"][1]["verified"] > 0
    assert len(lines_of(files / "found.jsonl")) == 25
    labels = ("--labels", str(files / "labels.npy"))
    assert main(command(files, *labels, "--output", output, images="images.npy")) == 0
    assert capsys.readouterr().out.splitlines()[1:] == first.out.splitlines()[1:]
    assert main(command(files, "--unbounded", "--arithmetic", "float32", "--timeout", "0")) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[4] == "11"


@pytest.mark.parametrize(
    ("more", "images", "words"),
    [
        ((), "images.npy", ["--labels"]),
        ((), "odd.npz", ["no array images and no array labels"]),
        ((), "torn.npz", ["torn.npz", "cannot be read"]),
        ((), "net.onnx", ["net.onnx", "no arrays of numbers"]),
        ((), "missing.npz", ["missing.npz", "No such file"]),
        (("--labels", "set.npz"), "images.npy", ["several arrays"]),
        (("--within", "1", "0"), "set.npz", ["lowest <= highest"]),
        (("--output", "."), "set.npz", ["cannot be written"]),
        (("--within", "2", "3"), "set.npz", ["outside the range"]),
    ],
)
def test_bad_files_of_the_command(more, images, words, files, capsys):
    more = [str(files / word) if word in ("set.npz", ".") else word for word in more]
    assert main(command(files, *more, images=images)) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.strip().splitlines()) == 1
    assert all(word in shown.err for word in words)


def test_the_range_is_given_once(files, capsys):
    with pytest.raises(SystemExit):
        main(command(files, "--within", "0", "1", "--unbounded"))
    assert "not allowed" in capsys.readouterr().err


def npy(header):
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header


def archive(flags, method):
    """An archive of arrays whose members claim to be encrypted, or compressed in some way."""
    file = io.BytesIO()
    np.savez(file, images=np.zeros((2, 3)), labels=np.zeros(2, dtype=int))
    data = file.getvalue()
    for start, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data = re.sub(re.escape(start) + b"(.{%d}).{4}" % (at - 4), start + rb"\1" + bytes((flags, 0, method, 0)), data)
    return data


@pytest.mark.parametrize(
    "content",
    [
        npy(b"{'descr':"),
        npy(b"{'descr':'<f8','fortran_order':False,'shape':(99999999999999999999,)}"),
        npy(b"{'descr':'<f8','fortran_order':False,'shape':(1000000000000,2)}"),
        npy(b"{'descr':'|O','fortran_order':False,'shape':(1,2)}"),
        b"PK\x03\x04 no archive",
        archive(1, 0),
        archive(0, 99),
    ],
)
def test_damaged_arrays_are_named(content, files, capsys):
    (files / "bad.npz").write_bytes(content)
    query = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "X_2", "Y_0", "Y_1", "Y_2", "Y_3"))
    query += "".join(f"(assert (= X_{k} 0))" for k in range(3)) + "(assert (>= Y_0 0))"
    (files / "q.vnnlib").write_text(query)
    bound = ["bound", str(files / "q.vnnlib"), "--network", str(files / "net.onnx")]
    bad = str(files / "bad.npz")
    for words in (
        command(files, images="bad.npz"),
        command(files, "--labels", bad, images="images.npy"),
        [*bound, "--objective", bad],
    ):
        assert main(words) == 1
        shown = capsys.readouterr()
        assert shown.out == "" and len(shown.err.strip().splitlines()) == 1 and "bad.npz" in shown.err


def test_interrupt_keeps_the_table_and_the_file(files, monkeypatch, capsys):
    output, append = files / "found.jsonl", Journal.append
    _, images, labels = classifier_task(3, count=1000)
    np.savez(files / "many.npz", images=images, labels=labels)

    def interrupted(record, *lines):
        append(record, *lines)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Journal, "append", interrupted)
    assert main(command(files, "--output", str(output), images="many.npz")) == 0
    out, error = capsys.readouterr()
    assert error == "" and "1000 images" in out
    timed_out = [int(line.split()[4]) for line in out.splitlines()[3:]]
    assert min(timed_out) > 0 and len(lines_of(output)) == 1 + 2000 - sum(timed_out)


def test_time_counts_from_the_start_of_the_process(files, monkeypatch, capsys):
    asked = []

    def noted(*given, run, **more):
        asked.append(run.deadline - time.monotonic())
        return certify(*given, **more)

    monkeypatch.setattr(command_module, "certify", noted)
    monkeypatch.setattr(cli, "_age", lambda: 50.0)
    monkeypatch.setattr(sys, "argv", ["admm-verify", *command(files, "--timeout", "51")])
    assert main() == 0
    assert 0.0 <= asked[0] <= 1.0


def test_the_command_draws(files, capsys):
    pytest.importorskip("matplotlib")
    picture = files / "a.png"
    assert main(command(files, "--plot", str(picture))) == 0
    assert picture.read_bytes()[1:4] == b"PNG" and not capsys.readouterr().err
    assert main(command(files, "--plot", str(files / "a.xyz"))) == 1
    shown = capsys.readouterr()
    assert not shown.out and "suffix" in shown.err
    np.savez(files / "two.npz", images=np.load(files / "images.npy")[:2], labels=np.load(files / "labels.npy")[:2])
    network = ["--network", str(files / "net.onnx"), "--images", str(files / "two.npz"), "--radii", "0"]
    assert main(["certify", *network, "--plot", str(files / "b.png")]) == 0
    shown = capsys.readouterr()
    assert "verified" in shown.out and "nothing to draw" in shown.err and not (files / "b.png").exists()


def test_the_command_searches_what_its_record_leaves_unknown(files, capsys):
    plain = command(files, "--bounds", "interval", "--max-passes", "0", "--output", str(files / "found.jsonl"))
    assert main(plain) == 0
    unknown = [int(line.split()[3]) for line in capsys.readouterr().out.splitlines()[3:]]
    assert main([*plain, "--search", "20", "--json", str(files / "out.json")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert sum(unknown) > 0 and all(row[3] == row[4] == "0" for row in rows)
    content = json.loads((files / "out.json").read_text())
    assert content["provenance"]["options"]["search"] == 20.0
    assert sum(len(image["counterexamples"]) > 0 for image in content["images"]) == int(rows[0][2])
    assert main(command(files, "--search", "-1")) == 1 and "CertifySettings.search" in capsys.readouterr().err
