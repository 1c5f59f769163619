"""The JSON of every command: entries as they have always been called, under a schema that they keep to."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from admm_verify import Answer, __version__
from admm_verify.cli import main
from admm_verify.report.records.bound import BoundRecord
from admm_verify.report.records.certify import CertifyRecord
from admm_verify.report.records.check import CheckRecord
from admm_verify.report.records.demo import DemoCurves, DemoImage, DemoRecord
from admm_verify.report.records.diff import DiffRecord
from admm_verify.report.records.lipschitz import LipschitzRecord
from admm_verify.report.records.policy import PolicyRecord
from admm_verify.report.records.reach import ReachRecord
from admm_verify.report.records.robustness_report import ReportRecord
from admm_verify.report.records.transfer import TransferRecord
from admm_verify.report.records.verify import VerifyRecord
from tests.test_cli import QUERY, WEIGHT, model_bytes


def faults(record, content):
    """Where a record's JSON breaks its schema, and what the schema says about that."""
    schema = record.schema()
    Draft202012Validator.check_schema(schema)
    return [f"{fault.json_path}: {fault.message}" for fault in Draft202012Validator(schema).iter_errors(content)]


ENTRIES = {
    BoundRecord: {"rows", "method", "passes", "seconds", "network", "query"},
    CertifyRecord: {"norm", "radii", "clean_accuracy", "seconds", "images", "network", "note"},
    CheckRecord: {"proved", "exact", "query", "network", "reason", "arithmetic", "query_digest", "network_digest"}
    | {"leaves", "worst", "seconds"},
    DemoRecord: {"radius", "images", "convergence"},
    DiffRecord: {"first", "second", "criterion", "sets", "subproblems", "notes", "seconds"},
    LipschitzRecord: {
        "network",
        "norm",
        "layers",
        "product",
        "upper",
        "lower",
        "bounds",
        "inputs",
        "status",
        "seconds",
        "local",
        "output_norm",
    },
    PolicyRecord: {"policy", "environment", "norm", "units", "radii", "episodes", "observations", "ended", "seconds"}
    | {"notes", "deviations"},
    ReachRecord: {"system", "steps", "period", "directions", "upper", "attained", "during", "cells", "ended", "seconds"}
    | {"remarks", "requirements"},
    ReportRecord: {"network", "norm", "status", "clean_accuracy", "radii", "classes", "attacks", "images", "examples"}
    | {"steepness", "steps", "network_digest", "data_digest", "settings", "note"},
    TransferRecord: {"networks", "errors", "common", "magnified", "noisy", "noise", "status", "seconds"},
    VerifyRecord: {"verdict", "unconfirmed", "counterexample", "exact_input", "output", "rows", "undecided_disjuncts"}
    | {"subproblems", "lower", "seconds", "network", "query", "note"},
}
"""What each JSON has always held, beside what all of them do."""

HEAD = {"schema", "version", "provenance"}


def written(kind, arguments, path, status=0):
    assert main([*arguments, "--json", str(path)]) == status
    content = strict(path.read_text())
    assert faults(kind, content) == []
    assert set(content) == ENTRIES[kind] | HEAD
    assert content["schema"] == f"admm_verify/{arguments[0]}" == kind.SCHEMA
    made = content["provenance"]
    assert made["command"] == ["admm-verify", *arguments, "--json", str(path)]
    assert made["versions"]["admm_verify"] == __version__ and made["versions"]["numpy"] == np.__version__
    for file in made["files"]:
        assert file["sha256"] == hashlib.sha256(Path(file["path"]).read_bytes()).hexdigest()
    return content


def strict(text):
    """What JSON says without the numbers that only Python reads."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("atom", ["(>= Y[0,0] 2.5)", "(>= Y[0,1] 0.5)"])
def test_answers_to_queries(atom, tmp_path):
    (tmp_path / "net.onnx").write_bytes(model_bytes())
    (tmp_path / "query.vnnlib").write_text(QUERY.format(atom=atom))
    given = [str(tmp_path / "query.vnnlib"), "--network", str(tmp_path / "net.onnx")]
    written(BoundRecord, ["bound", *given], tmp_path / "bound.json")
    proof = str(tmp_path / "proof.npz")
    found = written(VerifyRecord, ["verify", *given, "--certificate", proof], tmp_path / "verify.json")
    assert (found["exact_input"] is None) == (found["verdict"] == "unsat")
    if found["verdict"] == "unsat":
        assert written(CheckRecord, ["check", proof, *given], tmp_path / "check.json")["leaves"] is not None
    unread = written(VerifyRecord, ["verify", *given, "--timeout", "0"], tmp_path / "unread.json")
    assert unread["verdict"] == "timed-out" and unread["network"] is None
    assert unread["provenance"]["arithmetic"] is None and found["provenance"]["arithmetic"] == "real"
    assert found["provenance"]["options"] | {"timeout": 0.0, "certificate": None, "json": None} == (
        unread["provenance"]["options"] | {"json": None}
    )
    assert [Path(file["path"]).name for file in found["provenance"]["files"]] == ["query.vnnlib", "net.onnx"]
    assert unread["lower"] is None and found["lower"] == ("inf" if found["verdict"] == "unsat" else found["lower"])
    (tmp_path / "torn.npz").write_bytes(b"PK")
    torn = written(CheckRecord, ["check", str(tmp_path / "torn.npz"), *given], tmp_path / "torn.json", status=1)
    assert not torn["proved"] and torn["reason"] and torn["leaves"] is None


def test_certified_images(tmp_path):
    (tmp_path / "net.onnx").write_bytes(model_bytes())
    images = np.random.default_rng(0).uniform(0, 1, (4, 2))
    np.savez(tmp_path / "set.npz", images=images, labels=np.zeros(4, dtype=int))
    given = ["--network", str(tmp_path / "net.onnx"), "--images", str(tmp_path / "set.npz"), "--radii", "0.1", "0.01"]
    found = written(CertifyRecord, ["certify", *given], tmp_path / "certify.json")
    for radius in found["radii"]:
        assert sum(radius[answer.value] for answer in Answer) == 4


def test_a_robustness_report(tmp_path):
    (tmp_path / "net.onnx").write_bytes(model_bytes())
    images = np.random.default_rng(0).uniform(0, 1, (4, 2))
    np.savez(tmp_path / "set.npz", images=images, labels=np.zeros(4, dtype=int))
    given = [str(tmp_path / "net.onnx"), str(tmp_path / "set.npz"), "--eps", "0.1", "0.01"]
    found = written(ReportRecord, ["report", *given], tmp_path / "report.json")
    for radius in found["radii"]:
        assert radius["certified"] + radius["broken"] + radius["unknown"] == 4
    assert [Path(file["path"]).name for file in found["provenance"]["files"]] == ["net.onnx", "set.npz"]


@pytest.mark.parametrize("criterion", [[], ["--largest"], ["--eps", "0.3"], ["--eps", "9"], ["--top1"]])
def test_two_networks(criterion, tmp_path):
    for name, scale in (("first", 1.0), ("second", 1.25)):
        (tmp_path / f"{name}.onnx").write_bytes(model_bytes(scale * WEIGHT))
    np.savez(tmp_path / "boxes.npz", lower=[[0.1, -1.0]] * 3, upper=np.ones((3, 2)))
    pair = [str(tmp_path / f"{name}.onnx") for name in ("first", "second")]
    found = written(
        DiffRecord, ["diff", *pair, "--inputs", str(tmp_path / "boxes.npz"), *criterion], tmp_path / "diff.json"
    )
    assert [one["set"] for one in found["sets"]] == [0, 1, 2] and len(found["provenance"]["files"]) == 3
    for one in found["sets"]:
        # y_0 = relu(x_0) + relu(x_1) of one is up to 2, that of the other up to 2.5.
        if one["answer"] is None:
            largest = max(max(-end["lower"], end["upper"]) for end in one["outputs"])
            assert 0.5 <= largest <= 0.51 and found["criterion"] is None and one["disagreement"] is None
        else:
            expected = {"0.3": "falsified", "9": "verified", "--top1": "verified"}[criterion[-1]]
            assert one["answer"] == expected and (one["disagreement"] is not None) == (expected == "falsified")
            assert one["outputs"] is None and found["criterion"]


@pytest.mark.parametrize("options", [(), ("--layers-only", "--norm", "linf")])
def test_constants(options, tmp_path):
    (tmp_path / "net.onnx").write_bytes(model_bytes())
    given = [str(tmp_path / "net.onnx"), *options]
    found = written(LipschitzRecord, ["lipschitz", *given], tmp_path / "lipschitz.json")
    assert found["norm"] == ("linf" if options else "l2") and found["layers"][0]["upper"] > 0
    assert (found["upper"] is None) == bool(options)
    if not options:
        assert 0 < found["lower"] <= found["upper"] <= found["product"]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_constants_over_sets(norm, tmp_path):
    (tmp_path / "net.onnx").write_bytes(model_bytes())
    np.save(tmp_path / "x.npy", np.array([0.5, 0.25], np.float32))
    np.savez(tmp_path / "box.npz", lower=[0.25, 0.0], upper=[0.75, 0.5])
    ball = ["--center", str(tmp_path / "x.npy"), "--eps", "0.25", "--within", "0", "1"]
    for inputs in (ball, ["--inputs", str(tmp_path / "box.npz")]):
        given = ["lipschitz", str(tmp_path / "net.onnx"), *inputs, "--norm", norm, "--each-output"]
        found = written(LipschitzRecord, given, tmp_path / "lipschitz.json")
        local = found["local"]
        assert 0 < local["lower"] <= local["upper"] <= found["product"] * (1 + 1e-9) and found["upper"] is None
        assert len(local["point"]) == 2 and max(local["rows"]) <= local["upper"] * (1 + 1e-9)
    assert main(["lipschitz", str(tmp_path / "net.onnx"), "--inputs", str(tmp_path / "box.npz"), "--eps", "1"]) == 1


def test_examples_on_other_networks(tmp_path):
    images = np.array([[1.0, 0.25], [0.1, 0.9]], np.float32)
    # The class is the larger number, and twice the second one counts for the second network.
    for name, second in (("first", 1.0), ("second", 2.0)):
        (tmp_path / f"{name}.onnx").write_bytes(model_bytes(np.diag([1.0, second]).astype(np.float32)))
    np.savez(tmp_path / "set.npz", images=images, labels=[0, 1])
    pair = [str(tmp_path / f"{name}.onnx") for name in ("first", "second")]
    given = ["transfer", *pair, "--images", str(tmp_path / "set.npz"), "--points", str(tmp_path / "points.npz")]
    found = written(TransferRecord, [*given, "--common", "0.2"], tmp_path / "transfer.json")
    assert [one["network"] for one in found["networks"]] == ["first.onnx", "second.onnx"] and found["common"] == 0.2
    assert len(found["provenance"]["files"]) == 3 and found["status"] == "complete"
    assert found["errors"] == [[1.0, 0.5], [0.5, 1.0]]
    points = np.load(tmp_path / "points.npz")["points"]
    for one, own in zip(found["networks"], points, strict=True):
        lengths = [float(length) for length in one["l2"]]
        assert np.linalg.norm(own - images, axis=1) == pytest.approx(
            np.where(np.isinf(lengths), np.nan, lengths), nan_ok=True
        )


def test_sets(tmp_path):
    found = written(ReachRecord, ["reach", "--steps", "1"], tmp_path / "reach.json")
    names = [Path(file["path"]).name for file in found["provenance"]["files"]]
    assert names == ["double_integrator.json", "double_integrator.npz"]


def test_numbers_that_are_not_finite_are_texts():
    image = DemoImage(3, -np.inf, np.nan, 0.5, np.inf, Answer.UNKNOWN, 0.1)
    record = DemoRecord("", 0.1, DemoCurves(0, [1, 2], {"admm": [1.0, np.nan]}), [image])
    content = record.json()
    assert faults(DemoRecord, content) == [] and set(content) == ENTRIES[DemoRecord] | HEAD
    assert content["images"][0]["gap"] == "inf" and content["images"][0]["crown"] == "-inf"
    assert content["convergence"]["distance"] == {"admm": [1.0, "nan"]}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"radius": "wide"}, "$.radius: 'wide' does not match '^(-?inf|nan)$'"),
        ({"radius": True}, "$.radius: True is not of type 'number', 'string'"),
        ({"images": [{"label": 1.5}]}, "$.images[0].label: 1.5 is not of type 'integer'"),
        ({"convergence": None}, "$.convergence: None is not of type 'object'"),
        ({"convergence": {"distance": {"admm": 3}}}, "$.convergence.distance.admm: 3 is not of type 'array'"),
        ({"more": 1}, "'more' was unexpected"),
        ({"version": 1}, "$.version: 2 was expected"),
    ],
)
def test_the_schema_finds_faults(change, fault):
    good = DemoRecord("", 0.1, DemoCurves(0, [], {}), []).json()
    assert faults(DemoRecord, good) == []
    assert any(fault in text for text in faults(DemoRecord, good | change))
