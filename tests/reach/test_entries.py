"""System files that say something nobody would read, or nothing that can be read."""

import json
from copy import deepcopy
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import admm_verify as av
from admm_verify.cli import main
from tests.reach.tasks import INTEGRATOR, PENDULUM, write


def read(folder: Path, data: dict[str, Any]) -> av.Task:
    return av.read_task(write(folder, data))


def put(data: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    data = deepcopy(data)
    place: Any = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return data


SET = {"lower": [-5, -5], "upper": [5, 5]}


def ellipsoid(shape: list[list[float]]) -> dict[str, Any]:
    return {"kind": "ellipsoid", "center": [0, 0], "shape": shape}


def polytope(normals: list[list[float]], limits: list[float]) -> dict[str, Any]:
    return {"kind": "polytope", "normals": normals, "limits": limits}


@pytest.mark.parametrize("data", [PENDULUM, INTEGRATOR], ids=["continuous", "discrete"])
@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("property", 0, "t_form"), 0.1, r"'property\[0\].t_form' is not read .* mean t_from\?"),
        (("property", 0, "t_start"), 0.1, r"'property\[0\].t_start' is not read"),
        (("property", 0, "t_until"), 0.1, r"'property\[0\].t_until' is not read"),
        (("property", 0, "expr"), "x1", r"'property\[0\].expr' is not read"),
        (("property", 0, "box", "centre"), [0, 0], r"'property\[0\].box.centre' is not read"),
        (("properties",), [], "'properties' is not read .* mean property"),
        (("process_noise",), SET, "'process_noise' is not read"),
        (("sensor_noise",), SET, "'sensor_noise' is not read .* belongs into controller"),
        (("clip",), [[-1, 1]], "'clip' is not read .* belongs into controller"),
        (("state_constraints",), SET, "'state_constraints' is not read"),
        (("dynamics", "saturation"), [[-1, 1]], "'dynamics.saturation' is not read"),
        (("dynamics", "disturbance"), SET, "'dynamics.disturbance' is not read"),
        (("controller", "u_limit"), [[-1, 1]], "'controller.u_limit' is not read .* mean u_limits"),
        (("controller", "scale"), 2, "'controller.scale' is not read"),
        (("initial_set", "centre"), [0, 0], "'initial_set.centre' is not read"),
        (("initial_set", "kind"), "cube", "initial_set.kind 'cube' is unknown; choose one of box, ball, ellipsoid"),
        (("initial_set", "radius"), 1, "'initial_set.radius' is not read"),
        (("initial_set",), {"kind": "ball", "center": [0, 0]}, "'initial_set.radius' is missing"),
        (("initial_set",), {"kind": "ball", "center": [0, 0], "radius": -1}, r"negative .*\(In initial_set.\)"),
        (("initial_set",), {"kind": "ball", "center": [0, 0], "radius": 1, "norm": "l3"}, "'l3' is unknown"),
        (("initial_set",), {"kind": "ball", "center": [0], "radius": 1}, "initial set has 1 numbers for 2 states"),
        (("initial_set",), ellipsoid([[1, 0], [0, -1]]), r"is indefinite.*\(In initial_set.\)"),
        (("initial_set",), ellipsoid([[1, 2]]), r"shape is an array of shape \(1, 2\)"),
        (("initial_set",), ellipsoid([[1, 0.5], [0, 1]]), "is not symmetric"),
        (("initial_set",), polytope([[1, 1], [-1, -1]], [1, -2]), "empty"),
        (("initial_set",), polytope([[1, 1]], [1]), "bounded|bounds"),
        (("initial_set",), polytope([[1, 1, 1]], [1]), "has 3 numbers for 2 states|bounded|bounds"),
        (("initial_set",), polytope([[1, 1]], [1, 2]), "one number for each"),
        (("initial_set",), {"kind": "zonotope", "center": [0, 0], "generators": [[1, 2]]}, r"\(2,\)|rows for"),
        (("initial_set",), {"kind": "zonotope", "center": [0], "generators": [[1]]}, "has 1 numbers for 2 states"),
        (("initial_set",), {"kind": "product", "sets": []}, "A product of no sets has no inputs"),
        (("initial_set",), {"kind": "product", "sets": [{"lower": [0], "upper": [1]}]}, "has 1 numbers for 2 states"),
        (("property", 0, "box", "kind"), "ellipsoid", r"property\[0\].box.kind 'ellipsoid' is unknown"),
        (("state_names",), ["position"], "give 2 names"),
        (("state_dim",), 3, "state_dim says 3 states; there are 2"),
        (("input_dim",), 2, "input_dim says 2 inputs; there are 1"),
        (("controller", "layers"), [2, 7, 1], "layers says .2, 7, 1., but .* holds .2, 6, 1."),
        (("control_period",), -1, "period is -1"),
        (("control_period",), 0, "period is 0"),
        (("horizon_steps",), True, "horizon_steps is True"),
        (("horizon_steps",), 10**9, "horizon_steps is 1000000000"),
        (("initial_set", "lower"), ["0", 1], r"initial_set.lower\[0\] is '0'"),
        (("initial_set", "lower"), [[0], 1], r"initial_set.lower\[0\] is \[0\]"),
        (("initial_set", "lower"), None, "initial_set.lower is None; give a list"),
        (("initial_set",), [1, 2], "give an object"),
        (("property",), {"kind": "always_in"}, "property is .*; give a list"),
        (("property", 0), 7, r"property\[0\] is 7; give an object"),
        (("property", 0, "kind"), ["always_in"], r"property\[0\].kind \['always_in'\] is unknown"),
        (("controller", "npz"), 3, "controller.npz is 3; give a text"),
        (("controller", "npz"), "", "give the name of a file"),
        (("controller", "clip"), [[1, -1]], "give 1 pairs"),
        (("controller", "clip"), [[None, 1]], r"clip\[0\]\[0\] is None"),
        (("controller", "u_limits"), [-1, 1], r"u_limits\[0\] is -1; give a list"),
        (("controller", "output_scale"), [1, 2], "has 2 numbers; give one, or 1"),
        (("controller", "inputs"), [["x1"], "x2"], r"inputs\[0\] is \['x1'\]; give a text"),
        (("controller", "inputs"), ["x1"], "observe has shape"),
        (("id",), 4, "id is 4; give a text"),
        (("notes",), [1], "notes is .1.; give a text"),
    ],
)
def test_entries_that_nobody_reads_or_that_fit_nothing(tmp_path, data, path, to, message) -> None:
    with pytest.raises(av.InputError, match=message):
        read(tmp_path, put(data, *path, to=to))


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("dynamics", "equations"), ["x2", 3], r"equations\[1\] is 3; give a text"),
        (("dynamics", "equations"), "x2", "give a list"),
        (("dynamics", "equations"), ["x2", "g*u1 + d*1e999999999"], "too large to be read"),
        (("dynamics", "equations"), ["x2", "g*u1 + d*(" * 500], "cannot be read"),
        (("dynamics", "params"), {"g": "1", "d": 1}, "params.g is '1'"),
        (("dynamics", "params"), {"g": 1, "d": 1, "k": 2}, "'k' stands for something that no equation uses"),
        (("dynamics", "params"), {"g": 1, "d": 1, "x1": 2}, "'x1' is taken"),
        (("dynamics", "params"), {"g": 1, "d": 1, "a b": 2}, "'a b' is none that a text could use"),
        (("dynamics", "let"), [["s", "sin(x1)"]], "'s' stands for something that no equation uses"),
        (("dynamics", "let"), [["s"]], r"let\[0\] is \['s'\]; give a name and a text"),
        (("dynamics", "let"), ["s"], r"let\[0\] is 's'; give a list"),
        (("dynamics", "A"), [[1]], "'dynamics.A' is not read"),
        (("property", 0), {"kind": "always_le", "expr": "x1*(((2**64)**64)**64)**64"}, "more than 16384 bits"),
        (("property", 0), {"kind": "always_le", "expr": "x1 - 1", "box": SET}, "box' is not read"),
        (("property", 0), {"kind": "reach_at_end", "box": SET, "t_from": 0.3}, "leave it at 0"),
    ],
)
def test_entries_of_continuous_time(tmp_path, path, to, message) -> None:
    with pytest.raises(av.InputError, match=message):
        read(tmp_path, put(PENDULUM, *path, to=to))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"horizon_steps": 1e999999999}', "too large to be read"),
        ('{"horizon_steps": ' + "9" * 10**6 + "}", "too large to be read"),
        ('{"horizon_steps": 1e-999999999}', "too large to be read"),
        ('{"horizon_steps": NaN}', "holds the number NaN"),
        ('{"horizon_steps": -Infinity}', "holds the number -Infinity"),
        ('{"horizon_steps": 4, "horizon_steps": 5}', "'horizon_steps' is there twice"),
        ("[1, 2]", "give a JSON object"),
        ("null", "give a JSON object"),
        ("", "is no JSON"),
        ('{"horizon_steps": 4', "is no JSON"),
        ('{"horizon_steps": 1e400}', "of at most 1.79e308"),
        (" " * (2**24 + 1), "more than 16 MiB"),
    ],
)
def test_files_that_are_no_systems(tmp_path, capsys, text, message) -> None:
    path = tmp_path / "system.json"
    path.write_text(text)
    assert main(["reach", str(path)]) == 1
    captured = capsys.readouterr()
    assert message in captured.err and not captured.out and len(captured.err.splitlines()) == 1
    assert len(captured.err) < 1000


def test_paths_that_are_no_files(tmp_path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{}")
    for path, message in (
        (tmp_path, "is a folder"),
        ("/dev/null", "no regular file"),
        (tmp_path / "bytes.json", "no UTF-8"),
        ("a\0b", "no such file"),
    ):
        with pytest.raises(av.InputError, match=message):
            av.read_task(path)
    strange: list[Any] = [3, None, b"system.json", {"id": 1}]
    for path in strange:
        with pytest.raises(av.InputError, match="give the path"):
            av.read_task(path)


def test_controllers_that_are_none(tmp_path) -> None:
    path, file = write(tmp_path, INTEGRATOR), tmp_path / "net.npz"
    one = {"W0": np.ones((1, 2)), "b0": np.zeros(1)}
    for arrays in (
        {"W0": np.ones((1, 2))},
        {"weights": np.ones((1, 2))},
        one | {"mean": np.ones(2)},
        one | {"b0": np.zeros(2)},
        {"W0": np.ones(2), "b0": np.zeros(2)},
        {"W0": np.ones((0, 2)), "b0": np.zeros(0)},
        one | {"W0": np.array([["a", "b"]])},
        one | {"W0": np.array([[1j, 2]])},
        one | {"W1": np.ones((1, 2)), "b1": np.zeros(1)},
        one | {"activations": np.array([1.0])},
        one | {"activations": np.array(["tanh"])},
    ):
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        with pytest.raises(av.InputError, match=r"net\.npz|activations"):
            av.read_task(path)
    np.savez(file, W0=np.array([[None, 1]]), b0=np.zeros(1))
    with pytest.raises(av.InputError, match="holds no arrays of numbers"):
        av.read_task(path)
    for content in (b"", b"PK\x03\x04", b"\x93NUMPY"):
        file.write_bytes(content)
        with pytest.raises(av.InputError, match="cannot be read as"):
            av.read_task(path)


def test_activations_of_the_arrays_file_count(tmp_path) -> None:
    """A file that names its activations is no ReLU network where the JSON is silent."""
    data = deepcopy(INTEGRATOR)
    del data["controller"]["activations"], data["controller"]["clip"]
    path, rng = write(tmp_path, data), np.random.default_rng(0)
    weight, last = rng.standard_normal((3, 2)), rng.standard_normal((1, 3))
    arrays = {"W0": weight, "b0": np.zeros(3), "W1": last, "b1": np.zeros(1)}
    arrays["activations"] = np.array(["tanh", "linear"])
    np.savez(tmp_path / "net.npz", **arrays)  # pyright: ignore[reportArgumentType]
    x = rng.standard_normal((5, 2))
    system = av.read_task(path).system
    assert isinstance(system, av.LinearSystem)
    found = np.asarray(system.controller.law(x)).reshape(5, 1)
    np.testing.assert_allclose(found, np.tanh(x @ weight.T) @ last.T, atol=1e-12)


def test_limits_that_are_not_applied_are_said(tmp_path, capsys) -> None:
    data = deepcopy(INTEGRATOR)
    data["controller"] |= {"u_limits": [[-0.5, 0.5]], "u_limits_note": "of the plant"}
    data["notes"] = "without wind"
    task = read(tmp_path, data)
    assert len(task.remarks) == 3 and "u_limits = [[-0.5, 0.5]] are not applied" in task.remarks[0]
    assert main(["reach", str(tmp_path / "system.json"), "--json", str(tmp_path / "out.json")]) == 0
    (verdict,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("verified")]
    assert all(words in verdict for words in ("u_limits", "of the plant", "without wind"))
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["requirements"][0]["remarks"] == found["remarks"] == list(task.remarks)
    # What clip applies is applied.
    data["controller"] |= {"clip": [[-0.5, 0.4]]}
    assert not any("not applied" in remark for remark in read(tmp_path, data).remarks)
    assert main(["reach", str(write(tmp_path, data | {"property": []}))]) == 0
    assert "notes: without wind" in capsys.readouterr().out.splitlines()


def test_descriptions_are_no_entries_to_be_read(tmp_path) -> None:
    data = INTEGRATOR | {"description": {"any": ["thing", None]}, "source": "a paper", "licence": 1, "truth": [None]}
    sampled = {"note": "simulated", "t": "any", "lower": [[0, 0]] * 9, "upper": [[1, 1]] * 9}
    task = read(tmp_path, data | {"sampled_inner_bounds": sampled})
    assert not task.remarks and task.sampled is not None and task.sampled[0].shape == (5, 2)
    with pytest.raises(av.InputError, match="sampled states"):
        read(tmp_path, data | {"sampled_inner_bounds": {"lower": [[0]], "upper": [[1]]}})


HOSTILE = (None, True, -1, 0.5, "", "x", "1e999999999", [], {}, [[]], [None], [["x"]], {"a": 1}, 1e300, ["x", 1], "\0")


@pytest.mark.parametrize("data", [PENDULUM, INTEGRATOR], ids=["continuous", "discrete"])
def test_any_value_anywhere_is_read_or_refused_in_words(tmp_path, data) -> None:
    path = write(tmp_path, data)

    def places(value: Any, *before: Any) -> list[tuple[Any, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [before] * bool(before) + [place for key, part in inner for place in places(part, *before, key)]

    refused = 0
    for place in places(data):
        for value in HOSTILE:
            path.write_text(json.dumps(put(data, *place, to=value)))
            try:
                av.read_task(path)
            except av.AdmmVerifyError as error:
                refused += 1
                assert len(str(error)) < 1000 and "\n" not in str(error)
    assert refused > 300


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "product", "sets": [{"lower": [-0.3], "upper": [0.3]}, ellipsoid([[0.01]]) | {"center": [0]}]},
        {"kind": "product", "sets": [{"lower": [-0.3], "upper": [0.3]}, {"lower": [0.1], "upper": [0.1]}]},
        polytope([[1, 1]], [0.5]) | {"box": {"lower": [-0.3, -0.3], "upper": [0.3, 0.3]}},
    ],
    ids=["product", "product of boxes", "polytope"],
)
def test_ends_between_floats_are_exact_in_sets_of_every_kind(tmp_path, given: dict[str, Any]) -> None:
    """The float above 0.3 belongs to the bounds, and to no counterexample."""
    data = put(INTEGRATOR, "initial_set", to=given)
    task = read(tmp_path, put(data, "property", to=[{"kind": "always_le", "expr": "x1 - 0.3", "t_to": 0}]))
    found = av.reach_sets(task, timeout=1.0)
    assert found.judgements[0].outcome is not av.Answer.FALSIFIED
    assert Fraction(float(found.sets.upper[0, 0])) >= Fraction(3, 10)
    assert not task.initial.contains(np.array([[np.nextafter(0.3, 1.0), 0.1]])).any()
    task = read(tmp_path, put(data, "property", to=[{"kind": "always_le", "expr": "x1 - 0.29", "t_to": 0}]))
    broken = av.reach_sets(task, timeout=20.0).judgements[0]
    assert broken.outcome is av.Answer.FALSIFIED and broken.trajectory is not None
    assert Fraction(29, 100) < Fraction(float(broken.trajectory[0, 0])) <= Fraction(3, 10)
