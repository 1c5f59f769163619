"""Constraints between inputs, and of inputs with outputs, on the command line: verdicts, bounds, proofs and records."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

import admm_verify as av
from admm_verify.cli import main
from tests.test_cli import OLD_QUERY, QUERY, files, model_bytes

assert files

WIDE = "(<= (+ X_0 X_1) 1.0)"
"""On it y_0 = relu(x_0) + relu(x_1) is at most 1 where both are positive, and elsewhere too."""


def answered(tmp_path: Path, *conditions: str) -> str:
    text = OLD_QUERY.format(atom=conditions[0]) + "".join(f"(assert {atom})\n" for atom in conditions[1:])
    path = tmp_path / "query.vnnlib"
    path.write_text(text)
    (tmp_path / "net.onnx").write_bytes(model_bytes())
    return str(path)


def test_what_holds_under_a_coupling_is_proved_and_checked(tmp_path, capsys):
    query, network, proof = answered(tmp_path, WIDE, "(>= Y_0 1.25)"), str(tmp_path / "net.onnx"), tmp_path / "p.npz"
    record = tmp_path / "o.json"
    asked = ["verify", query, "--network", network]
    assert main([*asked, "--certificate", str(proof), "--json", str(record)]) == 0
    assert capsys.readouterr().out == "unsat\n"
    assert json.loads(record.read_text())["verdict"] == "unsat"
    for more in ([], ["--exact"]):
        assert main(["check", str(proof), query, "--network", network, *more]) == 0
        assert capsys.readouterr().out.startswith("proved\n")
    free = tmp_path / "free.vnnlib"
    free.write_text(OLD_QUERY.format(atom="(>= Y_0 1.25)"))
    assert main(["check", str(proof), str(free), "--network", network]) == 1
    assert "another query" in capsys.readouterr().err
    assert main(["bound", query, "--network", network, "--json", str(record)]) == 0
    # Over the whole box it is -0.75.
    assert json.loads(record.read_text())["rows"][0]["lower"] == pytest.approx(-0.25, abs=1e-6)


def test_a_counterexample_keeps_the_coupling_exactly(tmp_path, capsys):
    query = answered(tmp_path, "(== (+ X_0 (* 3 X_1)) 0.7)", "(>= Y_0 0.5)")
    record = tmp_path / "o.json"
    assert main(["verify", query, "--network", str(tmp_path / "net.onnx"), "--json", str(record)]) == 0
    assert capsys.readouterr().out.startswith("sat\n")
    first, second = map(Fraction, json.loads(record.read_text())["exact_input"])
    assert first + 3 * second == Fraction(7, 10)


def test_outputs_are_compared_with_inputs(tmp_path, capsys):
    # y_0 - x_0 = relu(-x_0) + relu(x_1) is at least 0, and 2 at most.
    for atom, word in (("(>= Y_0 (+ X_0 2.25))", "unsat"), ("(>= Y_0 (+ X_0 1.75))", "sat")):
        query, proof = answered(tmp_path, atom), tmp_path / "p.npz"
        asked = ["verify", query, "--network", str(tmp_path / "net.onnx")]
        assert main([*asked, "--certificate", str(proof)]) == 0
        assert capsys.readouterr().out.split("\n")[0] == word
    query = answered(tmp_path, "(>= Y_0 (+ X_0 2.25))")
    assert main(["verify", query, "--network", str(tmp_path / "net.onnx"), "--certificate", str(proof)]) == 0
    assert main(["check", str(proof), query, "--network", str(tmp_path / "net.onnx")]) == 0


def test_an_empty_input_set_is_unsat_and_says_so(tmp_path, capsys):
    query = answered(tmp_path, "(<= (+ X_0 X_1) -3.0)", "(>= Y_0 0.0)")
    assert main(["verify", query, "--network", str(tmp_path / "net.onnx")]) == 0
    out, err = capsys.readouterr()
    assert out == "unsat\n" and "line 7 holds nowhere" in err


def test_bounds_where_couplings_exclude_each_other_are_refused_in_their_own_words(tmp_path, capsys):
    query = answered(tmp_path, WIDE, "(>= (+ X_0 X_1) 1.1)", "(>= Y_0 0.0)")
    assert main(["bound", query, "--network", str(tmp_path / "net.onnx")]) == 1
    assert "exclude each other" in capsys.readouterr().err
    assert main(["verify", query, "--network", str(tmp_path / "net.onnx")]) == 0
    assert capsys.readouterr().out == "unsat\n"


def test_declared_float32_widens_the_coupling(tmp_path, capsys):
    text = QUERY.replace("real", "float32").format(atom="(and (<= (+ X[0,0] X[0,1]) 1.0) (>= Y[0,0] {}))")
    for limit, word in (("1.25", "unsat"), ("0.75", "sat")):
        path = tmp_path / "query.vnnlib"
        path.write_text(text.format(limit) if "{}" in text else text)
        (tmp_path / "net.onnx").write_bytes(model_bytes())
        assert main(["verify", str(path), "--network", f"f={tmp_path / 'net.onnx'}"]) == 0
        assert capsys.readouterr().out.split("\n")[0] == word


def test_a_search_over_a_coupled_box_goes_on_from_its_file(tmp_path):
    query = av.read_query(answered(tmp_path, WIDE, "(>= Y_0 1.0009765625)"), str(tmp_path / "net.onnx"))
    path = tmp_path / "state"
    settings = av.VerifySettings(checkpoint=path, max_subproblems=1, search=av.SearchSettings(contractions=0))
    first = av.verify(query, settings=settings)
    second = av.verify(query, settings=av.VerifySettings(checkpoint=path, search=settings.search))
    assert second.verdict is av.Verdict.UNSAT and first.verdict in (av.Verdict.UNSAT, av.Verdict.UNKNOWN)
    other = av.read_query(answered(tmp_path, "(<= (+ X_0 X_1) 1.5)", "(>= Y_0 1.6)"), str(tmp_path / "net.onnx"))
    if first.verdict is av.Verdict.UNKNOWN:
        av.verify(query, settings=settings)
        with pytest.raises(av.InputError, match="another query"):
            av.verify(other, settings=settings)
