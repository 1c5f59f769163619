"""Systems from files: what is read, and what is said about files that are wrong."""

import json
from copy import deepcopy
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify import ContinuousSystem, Kind, LinearSystem, NetworkSystem, read_task
from tests.reach.tasks import INTEGRATOR, PENDULUM, write
from tests.shared import SHARED, needs_shared


def changed(data: dict, *path: str, to: object) -> dict:
    data = deepcopy(data)
    place = data
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    return data


def test_a_continuous_system(tmp_path) -> None:
    task = read_task(write(tmp_path, PENDULUM))
    assert isinstance(task.system, ContinuousSystem) and task.system.period == Fraction(1, 10)
    assert (task.name, task.steps, task.names) == ("pendulum", 10, ("x1", "x2"))
    # Boxes are rounded outward: no float is 0.3.
    exact = [Fraction(value) for value in ("0.3", "0.4")]
    assert Fraction(float(task.initial.lower[0])) <= exact[0] and Fraction(float(task.initial.upper[0])) >= exact[1]
    (requirement,) = task.requirements
    assert requirement.kind is Kind.ALWAYS_IN and requirement.set.limits == (Fraction(3, 5), Fraction(1, 2))
    assert (requirement.first, requirement.last) == (0, 10)


def test_a_discrete_system_with_noise(tmp_path) -> None:
    data = changed(INTEGRATOR, "controller", "sensor_noise", to={"lower": [-0.1, 0], "upper": [0.1, 0]})
    data["dynamics"] |= {"E": [[1], [0]], "process_noise": {"lower": [-0.2], "upper": [0.2]}, "c": [0, 0.1]}
    task = read_task(write(tmp_path, data))
    system = task.system
    assert isinstance(system, LinearSystem) and system.noise is not None and system.controller.noise is not None
    assert system.c.tolist() == [0, 0.1] and system.controller.limits is not None


def test_a_network_of_the_state(tmp_path) -> None:
    data = changed(INTEGRATOR, "dynamics", to={"kind": "network"})
    data["controller"] = {"npz": "net.npz", "activations": ["relu", "linear"]}
    path = write(tmp_path, data)
    np.savez(tmp_path / "net.npz", W0=np.eye(2), b0=np.zeros(2), W1=-np.eye(2), b1=np.ones(2))
    task = read_task(path)
    assert isinstance(task.system, NetworkSystem)
    np.testing.assert_allclose(task.system.network(np.array([1.0, -2.0])), [0.0, 1.0])


def test_inputs_scale_and_offset_of_a_controller(tmp_path) -> None:
    data = deepcopy(PENDULUM)
    data["controller"] |= {"inputs": ["2*x1-x2", "0.25"], "output_scale": 3.0, "output_offset": -1.0}
    controller = read_task(write(tmp_path, data)).system.controller
    x = np.array([[0.3, -0.2], [1.0, 2.0]])
    seen = np.stack([2 * x[:, 0] - x[:, 1], np.full(2, 0.25)], axis=1)
    raw = np.asarray(controller.network(seen)).reshape(2, 1)
    np.testing.assert_allclose(np.reshape(controller.law(x), (2, 1)), 3 * raw - 1, atol=1e-12)


def test_half_spaces_have_exact_coefficients(tmp_path) -> None:
    data = changed(PENDULUM, "property", to=[{"kind": "always_le", "expr": "10+1.4*x2-(x1-x2)"}])
    (requirement,) = read_task(write(tmp_path, data)).requirements
    assert requirement.set.normals.tolist() == [[-5.0, 12.0]] and requirement.set.limits == (Fraction(-50),)


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("dynamics", "kind"), "magic", "choose one of discrete_linear, discrete, continuous, network"),
        (("dynamics", "equations"), ["g*d*u1"], "reads 2 states .* the plant has 1"),
        (("dynamics", "equations"), ["x2", "x3"], "'x3' holds x3; there are 2 equations"),
        (("dynamics", "equations"), ["x2", "__import__('os')"], "expression|allowed|write"),
        (("initial_set",), {"lower": [0.0], "upper": [1.0]}, "1 numbers for 2 states"),
        (("initial_set",), {"lower": [1.0, 0], "upper": [0.0, 0]}, "empty"),
        (("controller", "activations"), ["gelu", "linear"], "relu, tanh, sigmoid, linear"),
        (("controller", "npz"), "missing.npz", "missing.npz cannot be read"),
        (("control_period",), 0, "period is 0"),
        (
            ("property",),
            [{"kind": "sometimes", "box": {"lower": [0, 0], "upper": [1, 1]}}],
            "kind 'sometimes' is unknown",
        ),
        (("property",), [{"kind": "always_le", "expr": "x1*x3"}], "name 'x3' at column 4"),
        (
            ("property",),
            [{"kind": "never_in", "of": ["x1*x2"], "box": {"lower": [0, 0], "upper": [1, 1]}}],
            "has 2 ends for 1 quantities",
        ),
        (("property",), [{"kind": "always_in"}], "entry 'property.0..box' is missing"),
        (("horizon_steps",), "many", "horizon_steps is 'many'; give a finite number"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, path, to, message) -> None:
    with pytest.raises(av.InputError, match=message):
        read_task(write(tmp_path, changed(PENDULUM, *path, to=to)))


def test_files_that_are_none(tmp_path) -> None:
    with pytest.raises(av.InputError, match="cannot be read"):
        read_task(tmp_path / "nothing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(av.InputError, match="is no JSON"):
        read_task(tmp_path / "broken.json")
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(av.InputError, match="The entry 'horizon_steps' is missing"):
        read_task(tmp_path / "empty.json")


def test_weights_that_are_nan_are_refused(tmp_path) -> None:
    path = write(tmp_path, PENDULUM)
    np.savez(tmp_path / "net.npz", W0=np.full((3, 2), np.nan), b0=np.zeros(3), W1=np.zeros((1, 3)), b1=np.zeros(1))
    with pytest.raises(av.InputError, match=r"weight W0 .* NaN"):
        read_task(path)


@pytest.mark.data
@needs_shared
def test_shared_systems_are_read() -> None:
    files = sorted((SHARED / "data" / "reach").glob("*/spec.json"))
    assert len(files) == 14
    for file in files:
        task = read_task(file)
        assert task.sampled is not None and task.sampled[0].shape == (task.steps + 1, task.system.states)


@pytest.mark.data
@needs_shared
@pytest.mark.parametrize("name", ["double_integrator_nfl", "nav_set", "cartpole"])
def test_controllers_in_onnx(tmp_path, name: str) -> None:
    """The same controller from its ONNX file as from its arrays, up to float32."""
    folder = SHARED / "data" / "reach" / name
    data = json.loads((folder / "spec.json").read_text())
    del data["controller"]["npz"]
    (tmp_path / "controller.onnx").write_bytes((folder / "controller.onnx").read_bytes())
    (tmp_path / "spec.json").write_text(json.dumps(data))
    given, other = (read_task(path).system.controller for path in (folder / "spec.json", tmp_path / "spec.json"))
    x = np.random.default_rng(0).uniform(-1, 1, (100, given.states))
    first, second = (np.asarray(one.law(x)) for one in (given, other))
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)
