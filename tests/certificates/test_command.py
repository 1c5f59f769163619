"""The command `check`: what it prints and how it ends."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest

from admm_verify import Query, Run
from admm_verify.certificates.digests import network_digest, property_digest
from admm_verify.certificates.files import read, write
from admm_verify.commands.check import add_options, check_file
from tests.certificates.provers import halving_certificate, one_atom
from tests.random_networks import random_case


@pytest.fixture
def made(tmp_path):
    case = random_case(15, widest=4, deepest=2)
    found = one_atom(case.network, case.box, case.objective[0], 1e4)
    certificate = halving_certificate(case.network, found, 3)
    assert certificate is not None
    path = tmp_path / "proof.npz"
    write(certificate, path)
    return Query("query", found, case.network), path


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.set_defaults(say=print, command_line=[], given={}, files=[])
    return parser.parse_args([*arguments, "--network", "net.onnx"])


@pytest.mark.parametrize("exact", [[], ["--exact"]])
def test_a_proof_is_confirmed(made, tmp_path, capsys, exact):
    query, path = made
    report = tmp_path / "report.json"
    assert check_file(options(str(path), "query.vnnlib", "--json", str(report), *exact), query, Run()) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "proved" and not printed.err
    content = json.loads(report.read_text())
    assert content["proved"] and content["arithmetic"] == "real" and content["worst"] > 0
    assert content["exact"] is bool(exact)
    assert (content["query"], content["network"]) == ("query", query.network.name)
    second, *named = printed.out.splitlines()[1:]
    assert second.startswith("in real arithmetic, with ")
    digests = {"query": property_digest(query.property), "network": network_digest(query.network)}
    for line, (name, digest) in zip(named, digests.items(), strict=True):
        assert line.startswith(f"{name} {content[name]}, ") and line.endswith(digest)
        assert content[f"{name}_digest"] == digest


def test_another_arithmetic_must_be_asked_for_by_name(made, tmp_path, capsys):
    query, path = made
    write(replace(read(path), arithmetic="float32"), path)
    assert check_file(options(str(path), "query.vnnlib"), query, Run()) == 1
    assert "recorded for float32" in capsys.readouterr().err
    assert check_file(options(str(path), "query.vnnlib", "--arithmetic", "float32"), query, Run()) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("in float32 arithmetic")


def test_a_wrong_or_broken_proof_is_not(made, tmp_path, capsys):
    query, path = made
    other = one_atom(query.network, random_case(15, widest=4, deepest=2).box, np.ones(query.network.output_size), -1e4)
    assert check_file(options(str(path), "query.vnnlib"), Query("other", other, query.network), Run()) == 1
    printed = capsys.readouterr()
    assert printed.out == "not-proved\n" and "another query" in printed.err
    path.write_bytes(path.read_bytes()[:-30])
    report = tmp_path / "report.json"
    assert check_file(options(str(path), "query.vnnlib", "--json", str(report)), query, Run()) == 1
    printed = capsys.readouterr()
    assert printed.out == "not-proved\n" and "no certificate" in printed.err
    assert not json.loads(report.read_text())["proved"]
