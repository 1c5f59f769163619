"""The schema files: what is generated, what the reader of systems takes, and that every example keeps to its own."""

import json
import re
from collections import defaultdict
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import admm_verify as av
from admm_verify.certificates.files import write as write_certificate
from admm_verify.cli import main
from admm_verify.commands.reach import EXAMPLE
from admm_verify.reach.entries import Entries
from admm_verify.reach.set_entries import KINDS
from admm_verify.reach.spec import DESCRIPTIONS
from admm_verify.report.formats import formats, schema_file
from admm_verify.report.schemas import FOLDER, schema_names, schema_text
from tests.certificates.provers import halving_certificate, one_atom
from tests.random_networks import random_case
from tests.reach.tasks import INTEGRATOR, PENDULUM, write
from tests.shared import SHARED, needs_shared


def faults(name, content):
    return [fault.message for fault in Draft202012Validator(json.loads(schema_text(name))).iter_errors(content)]


def test_every_format_has_the_file_that_is_generated():
    made = formats()
    assert set(made) == set(schema_names())
    for name, schema in made.items():
        Draft202012Validator.check_schema(schema)
        assert (FOLDER / f"{name}.json").read_text() == schema_file(schema), "run: python .ci/schemas.py"
        assert schema["title"] == f"admm_verify/{name}"


def test_supports_lists_and_prints_schemas(capsys):
    assert main(["supports", "--schemas"]) == 0
    names = capsys.readouterr().out.split()
    assert names == list(schema_names()) and {"system", "certify_record", "certificate", "verify"} < set(names)
    for name in names:
        assert main(["supports", "--schema", name]) == 0
        assert json.loads(capsys.readouterr().out) == formats()[name]
    with pytest.raises(SystemExit):
        main(["supports", "--schema", "nothing"])


def test_the_header_of_a_certificate(tmp_path):
    case = random_case(15, widest=4, deepest=2)
    found = one_atom(case.network, case.box, case.objective[0], 1e4)
    certificate = halving_certificate(case.network, found, 3)
    assert certificate is not None
    write_certificate(certificate, tmp_path / "proof.npz")
    with np.load(tmp_path / "proof.npz") as arrays:
        header = json.loads(arrays["header"].tobytes())
    assert faults("certificate", header) == []
    assert faults("certificate", header | {"format": 2}) and faults("certificate", header | {"columns": ["1"]})


BOX = {"kind": "box", "lower": [-1, -1], "upper": [1, 1]}
FULL_SETS = {
    "box": BOX,
    "ball": {"kind": "ball", "center": [0.1, 0], "radius": [0.5, 1], "norm": "l1", "within": BOX},
    "ellipsoid": {"kind": "ellipsoid", "center": [0.1, 0], "shape": [[1, 0.5], [0.5, 1]]},
    "polytope": {"kind": "polytope", "normals": [[1, 1]], "limits": [0.1], "box": BOX},
    "zonotope": {"kind": "zonotope", "center": [0.1, 0], "generators": [[1, 0, 0.5], [0, 1, 0.5]]},
    "product": {
        "kind": "product",
        "sets": [{"lower": [0], "upper": [1]}, {"kind": "ball", "center": [0], "radius": 1}],
    },
}
"""A set of every kind with all of its entries."""


def complete(data, **more):
    """A system with every entry of its kind that may be left out."""
    found = deepcopy(data) | {"schema": "admm_verify/system", "version": 1, "state_dim": 2, "state_names": ["p", "q"]}
    found["sampled_inner_bounds"] = {"t": [0, 1], "lower": [[0, 0]] * 2, "upper": [[1, 1]] * 2, "note": ["any"]}
    found["initial_set"]["kind"] = "box"
    about = {"box": {"kind": "box", "lower": [None, -9], "upper": [9, None]}, "of": ["x1*x2", "x2"]}
    found["property"] = [
        {"kind": kind.value, "t_to": found["horizon_steps"] * found.get("control_period", 1), **about}
        for kind in av.Kind
    ]
    found["property"].append({"kind": "always_le", "expr": "x1-9", "t_from": 0, "t_to": 0.1, "expr_note": "a note"})
    if "control_period" not in found:
        found["property"][-1]["t_to"] = 1
    return found | more


def everything():
    """A system of every kind with all of its entries."""
    noise = {"lower": [-0.1, 0], "upper": [0.1, 0]}
    feedback = {"inputs": ["x1", "x2-x1"], "output_offset": [0.5], "u_limits": [[-2, 2]]}
    linear = complete(INTEGRATOR, input_dim=1, violating_x0=[0.3, 0.0])
    linear["controller"] |= feedback | {
        "output_scale": 2,
        "layers": [2, 6, 1],
        "onnx": "net.onnx",
        "sensor_noise": noise,
    }
    linear["dynamics"] |= {"E": [[1], [0]], "process_noise": {"lower": [-0.2], "upper": [0.2]}, "c": [0, 0.1]}
    curved = complete(PENDULUM, input_dim=1, note="of the file")
    curved["controller"] |= feedback | {"clip": [[-1, 1]], "clip_note": "applied"}
    curved["dynamics"] |= {"let": [["s", "sin(x1)"]], "equations": ["x2", "g*s - d*x2 + u1"]}
    discrete = deepcopy(curved)
    discrete["dynamics"] |= {"kind": "discrete", "equations": ["x2", "g*s - d*x2 + u1 + w1"]}
    discrete["dynamics"]["process_noise"] = {"lower": [-0.2], "upper": [0.2]}
    discrete["controller"]["sensor_noise"] = noise
    network = complete(INTEGRATOR, dynamics={"kind": "network"})
    network["controller"] = {"npz": "net.npz"}
    return [linear, curved, discrete, network]


def asked(data, folder, monkeypatch):
    """The entries that the reader asks for in each object of a system, by path and kind."""
    known, finish = defaultdict(set), Entries.finish

    def noted(self):
        for one in self._objects:
            path = re.sub(r"\[\d+\]", "[]", one.path)
            known[path, one.content["kind"] if path == "property[]" else None] |= set(one._known)
        return finish(self)

    with monkeypatch.context() as patch:
        patch.setattr(Entries, "finish", noted)
        path = write(folder, data)
        if data["dynamics"]["kind"] == "network":
            np.savez(folder / "net.npz", W0=np.eye(2), b0=np.zeros(2))
        av.read_task(path)
    return known


def told(data):
    """The entries that the schema knows in each object of a system, by path and kind."""
    schema = json.loads(schema_text("system"))
    (own,) = [
        one
        for one in schema["oneOf"]
        if one["properties"]["dynamics"]["properties"]["kind"]["const"] == data["dynamics"]["kind"]
    ]
    known = {}

    def defined(found):
        return schema["$defs"][found["$ref"].rpartition("/")[2]] if "$ref" in found else found

    def walk(found, path, kind=None):
        found = defined(found)
        # Of the kinds of a set, boxes: the others are read in a test of their own.
        if "oneOf" in found:
            found = defined(found["oneOf"][0])
        if found.get("type") == "array" and "oneOf" in found.get("items", {}):
            for one in found["items"]["oneOf"]:
                for word in defined(one)["properties"]["kind"]["enum"]:
                    walk(one, f"{path}[]", word)
        elif "properties" in found:
            known[path, kind] = set(found["properties"])
            for name, part in found["properties"].items():
                walk(part, f"{path}.{name}" if path else name)

    walk(own, "")
    return known


@pytest.mark.parametrize("number", range(4))
def test_the_schema_of_systems_knows_what_the_reader_asks_for(number, tmp_path, monkeypatch):
    data = everything()[number]
    assert faults("system", data) == []
    read, written = asked(data, tmp_path, monkeypatch), told(data)
    assert set(read) == set(written)
    for (path, kind), names in read.items():
        # What the reader asks for in order to say that it is not supported.
        refused = {"sensor_noise"} if path == "controller" and number == 1 else set()
        # Notes may be anywhere, and are asked for where they may be anything.
        assert names - refused - {"note"} == written[path, kind] - {"note", "notes"}, path


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_of_sets_knows_what_the_reader_asks_for(kind, tmp_path, monkeypatch):
    data = INTEGRATOR | {"initial_set": FULL_SETS[kind]}
    assert faults("system", data) == []
    read = asked(data, tmp_path, monkeypatch)["initial_set", None]
    own = json.loads(schema_text("system"))["$defs"][kind]
    assert read == set(own["properties"]) - {"note", "notes"}
    needed = set(own["required"]) - {"kind"}
    for changed in (
        *({key: value for key, value in FULL_SETS[kind].items() if key != name} for name in needed),
        FULL_SETS[kind] | {"extra": 1},
    ):
        with pytest.raises(av.InputError):
            av.read_task(write(tmp_path, INTEGRATOR | {"initial_set": changed}))
        assert faults("system", INTEGRATOR | {"initial_set": changed})


@pytest.mark.parametrize("number", range(4))
def test_entries_that_the_reader_refuses_break_the_schema(number, tmp_path):
    data = everything()[number]

    def refused(changed):
        path = write(tmp_path, changed)
        if data["dynamics"]["kind"] == "network":
            np.savez(tmp_path / "net.npz", W0=np.eye(2), b0=np.zeros(2))
        with pytest.raises(av.InputError):
            av.read_task(path)
        return bool(faults("system", changed))

    for place in ((), ("controller",), ("dynamics",), ("initial_set",), ("property", 0), ("sampled_inner_bounds",)):
        for entry in ("extra", "extra_note"):
            changed = deepcopy(data)
            part = changed
            for step in place:
                part = part[step]
            part[entry] = "text"
            assert refused(changed)
    for name in ("controller", "dynamics", "initial_set", "horizon_steps"):
        # A plant without inputs has no controller; only the reader knows that this one has some.
        told = refused({key: value for key, value in data.items() if key != name})
        assert told or (name == "controller" and data["dynamics"]["kind"] == "discrete")
    if data["dynamics"]["kind"] == "continuous":
        noise = {"lower": [-0.1, 0], "upper": [0.1, 0]}
        assert refused(data | {"controller": data["controller"] | {"sensor_noise": noise}})
    for change in ({"version": 2}, {"schema": "other"}, {"horizon_steps": 0}, {"control_period": 0}, {"id": 3}):
        assert refused(data | change)
    if data["dynamics"]["kind"] == "network":
        assert refused(data | {"input_dim": 1})


def test_the_embedded_system_keeps_to_its_schema():
    assert faults("system", json.loads(EXAMPLE.read_text())) == []


@pytest.mark.data
@needs_shared
def test_the_shared_systems_keep_to_their_schema():
    specs = sorted((Path(SHARED) / "data" / "reach").glob("*/spec.json"))
    assert len(specs) == 14
    for path in specs:
        av.read_task(path)
        assert faults("system", json.loads(path.read_text())) == [], path


def test_the_page_on_formats_names_all_entries():
    page = (Path(__file__).parents[1] / "FORMATS.md").read_text()
    for name in schema_names():
        schema = json.loads(schema_text(name))
        shown = page if name == "system" else page.partition("## Systems")[0]
        entries = [entry for one in (schema, *schema.get("oneOf", ())) for entry in one.get("properties", ())]
        assert entries and f"`{name}`" in shown
        missing = {entry for entry in entries if f"`{entry}`" not in shown and f'"{entry}"' not in shown}
        # The header of a certificate is for programs; of texts for readers some are examples enough.
        assert not missing - set(DESCRIPTIONS) or name == "certificate", name
