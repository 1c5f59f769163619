"""Reading systems and what they must do from JSON files."""

import json
import os
from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np

from admm_verify.errors import InputError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap
from admm_verify.properties.rows import directed
from admm_verify.reach.expressions import Reader, affine
from admm_verify.reach.systems import (
    ContinuousSystem,
    Controller,
    Kind,
    LinearSystem,
    NetworkSystem,
    Polytope,
    Requirement,
    System,
    Task,
)
from admm_verify.reach.taylor import Plant
from admm_verify.sets import Box

_DYNAMICS = {
    "discrete_linear": ("A", "B", "c", "E", "process_noise"),
    "continuous": ("equations", "params", "let"),
    "network": (),
}
"""The entries of every kind of dynamics."""

_NETWORK = ("npz", "onnx", "activations", "layers")
_CONTROLLER = (*_NETWORK, "inputs", "output_scale", "output_offset", "clip", "sensor_noise", "u_limits")
"""The entries of a controller; layers and u_limits are for readers."""

ACTIVATIONS = ("relu", "tanh", "sigmoid", "linear")


def read_task(path: str | os.PathLike[str]) -> Task:
    """The system of a JSON file, its controller from the file beside it that the JSON names.

    Decimals are exact: boxes are rounded outward, limits compared as fractions; matrices are taken in float64.

    Raises: InputError for a file that cannot be read or does not say what is needed, naming the entry; ModelError for
    a controller that cannot be read.
    """
    file = Path(path)
    try:
        data = json.loads(file.read_text(), parse_float=Fraction)
    except OSError as error:
        raise InputError(f"The system {file} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError(f"The system {file} is no JSON: {error}.") from error
    try:
        return _task(data, file.parent)
    except (KeyError, TypeError, IndexError, ValueError, ArithmeticError) as error:
        if isinstance(error, InputError):
            raise
        what = f"the entry {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"The system {file} does not say what is needed: {what}.") from error


def _task(data: dict[str, Any], folder: Path) -> Task:
    dynamics, initial = data["dynamics"], data["initial_set"]
    system = _system(data, dynamics, folder)
    lower, upper = ([Fraction(value) for value in initial[side]] for side in ("lower", "upper"))
    if not len(lower) == len(upper) == system.states:
        raise InputError(f"The initial set has {len(lower)} numbers for {system.states} states.")
    box = Box(directed(tuple(lower), np.float64, up=False), directed(tuple(upper), np.float64, up=True))
    steps = int(data["horizon_steps"])
    if steps != data["horizon_steps"]:
        raise InputError(f"horizon_steps is {float(data['horizon_steps'])}; give a whole number.")
    period = Fraction(data.get("control_period", 1))
    found = [_requirement(entry, system.states, period, steps) for entry in data.get("property", [])]
    sampled = data.get("sampled_inner_bounds")
    ends = None if sampled is None else (_floats(sampled["lower"]), _floats(sampled["upper"]))
    names = tuple(data.get("state_names", [f"x{i + 1}" for i in range(system.states)]))
    exact = tuple(lower), tuple(upper)
    return Task(str(data.get("id", folder.name)), system, box, steps, tuple(found), names, ends, exact)


def _system(data: dict[str, Any], dynamics: dict[str, Any], folder: Path) -> System:
    kind = dynamics["kind"]
    if kind not in _DYNAMICS:
        raise InputError(f"The dynamics are {kind!r}; they can be {', '.join(_DYNAMICS)}.")
    # An entry that nobody reads would make verdicts about another system.
    _refuse_others("dynamics", dynamics, _DYNAMICS[kind])
    _refuse_others("controller", data["controller"], _NETWORK if kind == "network" else _CONTROLLER)
    network = _network(data["controller"], folder)
    if kind == "network":
        return NetworkSystem(network)
    states = len(dynamics["A"]) if kind == "discrete_linear" else len(dynamics["equations"])
    controller = _controller(data["controller"], network, states)
    if kind == "discrete_linear":
        return LinearSystem(
            controller,
            _floats(dynamics["A"]),
            _floats(dynamics["B"]),
            _floats(dynamics.get("c", [0] * states)),
            _floats(dynamics["E"]) if "E" in dynamics else None,
            _box(dynamics.get("process_noise")),
        )
    params = {name: float(value) for name, value in dynamics.get("params", {}).items()}
    let = [(name, text) for name, text in dynamics.get("let", [])]
    plant = Plant.read(dynamics["equations"], network.output_size, params, let)
    return ContinuousSystem(controller, plant, Fraction(data["control_period"]))


def _refuse_others(name: str, data: dict[str, Any], allowed: tuple[str, ...]) -> None:
    others = [key for key in data if key not in (*allowed, "kind") and not key.endswith("note")]
    if others:
        raise InputError(
            f"The entry {others[0]!r} of the {name} is not read here; known are {', '.join(allowed) or 'none'}."
        )


def _controller(data: dict[str, Any], network: Network, states: int) -> Controller:
    observe, shift = np.eye(network.input_size), np.zeros(network.input_size)
    if "inputs" in data:
        names = [f"x{i + 1}" for i in range(states)]
        reader = Reader(names)
        parts = [affine(reader.read(text), names) for text in data["inputs"]]
        observe = np.array([[float(value) for value in row] for row, _ in parts])
        shift = np.array([float(constant) for _, constant in parts])
    ones = np.ones(network.output_size)
    scale, offset = (
        np.broadcast_to(np.asarray(_floats(data.get(name, default))), ones.shape).copy()
        for name, default in (("output_scale", 1), ("output_offset", 0))
    )
    limits = data.get("clip")
    ends = None if limits is None else (_floats([pair[0] for pair in limits]), _floats([pair[1] for pair in limits]))
    return Controller(network, observe, shift, scale, offset, ends, _box(data.get("sensor_noise")))


def _network(data: dict[str, Any], folder: Path) -> Network:
    if "npz" not in data:
        from admm_verify.network.from_onnx import read_onnx

        return read_onnx(folder / data["onnx"])
    path = folder / data["npz"]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            layers = [(arrays[f"W{k}"], arrays[f"b{k}"]) for k in range(sum(name.startswith("W") for name in arrays))]
    except OSError as error:
        raise InputError(f"The controller {path} cannot be read: {error.strerror or error}.") from error
    kinds = data.get("activations", ["relu"] * (len(layers) - 1) + ["linear"])
    if len(kinds) != len(layers) or not set(kinds) <= set(ACTIVATIONS):
        raise InputError(
            f"The controller's activations are {kinds} for {len(layers)} layers; name one of "
            f"{', '.join(ACTIVATIONS)} for each."
        )
    builder = Builder((layers[0][0].shape[1],), "float64")
    x = builder.input
    for (weight, bias), kind in zip(layers, kinds, strict=True):
        x = Tensor(builder.affine(x, DenseMap(weight.astype(np.float64)), bias.astype(np.float64)), bias.shape)
        x = x if kind == "linear" else builder.activation(kind, x)
    network = builder.finish(x, path.stem)
    network.check_finite()
    return network


def _requirement(data: dict[str, Any], states: int, period: Fraction, steps: int) -> Requirement:
    kind = data["kind"]
    if kind == "always_le":
        names = [f"x{i + 1}" for i in range(states)]
        found, kind = _half_space(*affine(Reader(names).read(data["expr"]), names)), "always_in"
    else:
        ends = ([None if end is None else Fraction(end) for end in data["box"][side]] for side in ("lower", "upper"))
        found = Polytope.box(*ends)
        if found.normals.shape[1] != states:
            raise InputError(f"A property's box has {found.normals.shape[1]} ends for {states} states.")
    if kind not in {one.value for one in Kind}:
        allowed = ", ".join(one.value for one in Kind)
        raise InputError(f"The property {kind!r} is unknown; it can be {allowed} or always_le.")
    first, last = Fraction(data.get("t_from", 0)) / period, Fraction(data.get("t_to", steps * period)) / period
    return Requirement(Kind(kind), found, first, last, json.dumps(data, default=float))


def _half_space(coefficients: Sequence[Fraction], constant: Fraction) -> Polytope:
    """coefficients'x + constant <= 0, with whole numbers as coefficients."""
    scale = lcm(*(value.denominator for value in coefficients))
    if not any(coefficients) or any(Fraction(float(value * scale)) != value * scale for value in coefficients):
        raise InputError("An expression of always_le names no state, or a coefficient has too many digits.")
    return Polytope(np.array([[float(value * scale) for value in coefficients]]), (-constant * scale,))


def _box(data: dict[str, Any] | None) -> Box | None:
    if data is None:
        return None
    lower, upper = (tuple(Fraction(value) for value in data[side]) for side in ("lower", "upper"))
    return Box(directed(lower, np.float64, up=False), directed(upper, np.float64, up=True))


def _floats(data: Any) -> np.ndarray:
    return np.array(data, dtype=np.float64)
