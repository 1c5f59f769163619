"""Reading systems and what they must do from JSON files."""

import json
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from admm_verify.enclosures.expressions import NotAffineError, Reader, affine
from admm_verify.enclosures.plants import Plant
from admm_verify.errors import InputError
from admm_verify.network.graph import Network
from admm_verify.options import brief
from admm_verify.reach.controller_files import read_network, read_onnx_file
from admm_verify.reach.entries import (
    Convert,
    Entries,
    count,
    exact,
    exact_or_none,
    listed,
    mapping,
    matrix,
    read_entries,
    text,
    vector,
    word,
)
from admm_verify.reach.quantities import Quantities, state_names
from admm_verify.reach.requirements import Kind, Requirement
from admm_verify.reach.set_entries import read_ends, read_set
from admm_verify.reach.systems import (
    MOST_STEPS,
    ContinuousSystem,
    Controller,
    LinearSystem,
    NetworkSystem,
    NonlinearSystem,
    System,
    Task,
)
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.polytope import Polytope

T = TypeVar("T")

SCHEMA, VERSION = "admm_verify/system", 1
"""What a file may say that it is; the version counts changes that take an entry away or give it another meaning."""

KINDS = ("discrete_linear", "discrete", "continuous", "network")
"""Of dynamics."""

HALF_SPACE = "always_le"
DESCRIPTIONS = (
    "description",
    "source",
    "licence",
    "license",
    "reference",
    "truth",
    "truth_source",
    "violating_x0",
    "simulation_notes",
)
"""Entries for readers of a file. Whatever else is not read is refused; notes go with the verdicts."""


def read_task(path: str | os.PathLike[str]) -> Task:
    """The system of a JSON file, its controller from the file beside it that the JSON names.

    Decimals are exact: boxes are rounded outward, limits compared as fractions; matrices are taken in float64, as are
    centers, radii and shapes of sets. Every entry is read, or is a description, or is refused; limits of the source
    that are not applied (u_limits) and notes become the task's remarks, which are said with every verdict.

    Raises: InputError for a file that cannot be read or does not say what is needed, naming the entry, and for an entry
    that nobody reads; ModelError for a controller that cannot be read.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"The system is {brief(path)}; give the path of a JSON file.")
    file = Path(path)
    try:
        return _task(read_entries(file), file.parent)
    except InputError as error:
        message = str(error)
        named = str(file) in message or message.startswith("The system")
        raise InputError(message if named else f"{message} (In {file}.)") from error


def _task(data: Entries, folder: Path) -> Task:
    data.skip(*DESCRIPTIONS)
    data.get("schema", word(SCHEMA), None)
    data.get("version", count(VERSION, VERSION), None)
    steps = data.take("horizon_steps", count(1, MOST_STEPS))
    name = data.get("id", text, folder.name)
    remarks: list[str] = []
    system = _system(data, folder, remarks)
    states = system.states
    data.get("state_dim", _size("states", states), None)
    initial, box = read_set(data.object("initial_set"))
    if initial.shape != (states,):
        raise InputError(f"The initial set has {initial.size} numbers for {states} states.")
    period = _period(data)
    properties = data.objects("property") if data.has("property") else []
    found = tuple(_requirement(entry, states, period, steps) for entry in properties)
    sampled = _sampled(data.object("sampled_inner_bounds"), steps) if data.has("sampled_inner_bounds") else None
    names = tuple(data.get("state_names", listed(text), state_names(states)))
    remarks += data.finish()
    return Task(name, system, initial, steps, found, names, sampled, box, tuple(remarks))


def _system(data: Entries, folder: Path, remarks: list[str]) -> System:
    dynamics = data.object("dynamics")
    kind = dynamics.take("kind", word(*KINDS))
    if kind == "discrete" and not data.has("controller"):
        return _nonlinear(dynamics, folder, None)
    control = data.object("controller")
    network = read_network(control, folder)
    if control.has("npz") and control.has("onnx"):
        remarks.append(f"{control.where('onnx')} is not read, since {control.where('npz')} is.")
    if kind == "network":
        return NetworkSystem(network)
    data.get("input_dim", _size("inputs", network.output_size), None)
    if kind == "discrete_linear":
        a = dynamics.take("A", matrix)
        return LinearSystem(
            _controller(control, network, len(a), remarks),
            a,
            dynamics.take("B", matrix),
            dynamics.get("c", vector, np.zeros(len(a))),
            dynamics.get("E", matrix, None),
            _noise(dynamics, "process_noise"),
        )
    if kind == "discrete":
        return _nonlinear(dynamics, folder, lambda states: _controller(control, network, states, remarks))
    equations = dynamics.take("equations", listed(text))
    controller = _controller(control, network, len(equations), remarks)
    return ContinuousSystem(controller, _plant(dynamics, network.output_size, 0), _period(data))


def _nonlinear(dynamics: Entries, folder: Path, controlled: Callable[[int], Controller] | None) -> NonlinearSystem:
    """controlled: the controller of so many states, None for none."""
    noise = _noise(dynamics, "process_noise")
    if dynamics.has("onnx"):
        network = read_onnx_file(dynamics, folder)
        return NonlinearSystem(controlled and controlled(network.output_size), network, noise)
    controller = controlled and controlled(len(dynamics.take("equations", listed(text))))
    inputs = 0 if controller is None else controller.network.output_size
    return NonlinearSystem(controller, _plant(dynamics, inputs, 0 if noise is None else noise.size), noise)


def _plant(dynamics: Entries, inputs: int, noises: int) -> Plant:
    equations = dynamics.take("equations", listed(text))
    given = dynamics.get("params", mapping, {})
    params = {name: exact(value, f"{dynamics.where('params')}.{name}") for name, value in given.items()}
    return Plant.read(equations, inputs, params, dynamics.get("let", listed(_pair), []), noises)


def _controller(data: Entries, network: Network, states: int, remarks: list[str]) -> Controller:
    observe, shift = np.eye(network.input_size), np.zeros(network.input_size)
    if data.has("inputs"):
        reader, names = Reader(state_names(states)), state_names(states)
        parts = [affine(reader.read(entry), names) for entry in data.take("inputs", listed(text))]
        where = data.where("inputs")
        observe = np.array([vector([*row], where) for row, _ in parts]).reshape(len(parts), states)
        shift = vector([constant for _, constant in parts], where)
    outputs = network.output_size
    scale = data.get("output_scale", _spread(outputs), np.ones(outputs))
    offset = data.get("output_offset", _spread(outputs), np.zeros(outputs))
    clip = data.get("clip", _limits(outputs), None)
    if data.has("u_limits"):
        low, high = data.take("u_limits", _limits(outputs))
        if clip is None or (clip[0] < low).any() or (clip[1] > high).any():
            limits = json.dumps(np.stack([low, high], axis=1).tolist())
            remarks.append(f"The limits {data.where('u_limits')} = {limits} are not applied; an entry clip would.")
    return Controller(network, observe, shift, scale, offset, clip, _noise(data, "sensor_noise"))


def _period(data: Entries) -> Fraction:
    period = data.get("control_period", exact, Fraction(1))
    if not 2.0**-1000 < period < 2.0**1000:
        raise InputError(f"The control period is {brief(float(period))}; give a positive number.")
    return period


def _requirement(data: Entries, states: int, period: Fraction, steps: int) -> Requirement:
    kind, of = data.take("kind", word(*(one.value for one in Kind), HALF_SPACE)), None
    if kind == HALF_SPACE:
        found, of = _at_most_zero(data.take("expr", text), states)
        kind = Kind.ALWAYS_IN.value
    else:
        texts = data.get("of", listed(text), None)
        of = None if texts is None else Quantities.read(texts, states)
        box = data.object("box")
        box.get("kind", word("box"), None)
        found = Polytope.box(*read_ends(box, exact_or_none))
        size, what = (states, "states") if of is None else (of.count, "quantities")
        if found.normals.shape[1] != size:
            raise InputError(f"A property's box has {found.normals.shape[1]} ends for {size} {what}.")
    first = data.take("t_from", exact) / period if data.has("t_from") else Fraction(0)
    last = data.take("t_to", exact) / period if data.has("t_to") else Fraction(steps)
    return Requirement(Kind(kind), found, first, last, json.dumps(data.content, default=float), of)


def _at_most_zero(expression: str, states: int) -> tuple[Polytope, Quantities | None]:
    """The states where an expression is at most 0: a half-space, or a limit of what is not affine."""
    names = state_names(states)
    try:
        row = affine(Reader(names).read(expression), names)
    except NotAffineError:
        return Polytope(np.ones((1, 1)), (Fraction(0),)), Quantities.read([expression], states)
    return _half_space(*row), None


def _half_space(coefficients: Sequence[Fraction], constant: Fraction) -> Polytope:
    """coefficients'x + constant <= 0, with whole numbers as coefficients."""
    scale = lcm(*(value.denominator for value in coefficients))
    whole = [value * scale for value in coefficients]
    if not any(whole) or any(abs(value) > 2**53 for value in whole):
        raise InputError("An expression of always_le names no state, or a coefficient has too many digits.")
    return Polytope(np.array([[float(value) for value in whole]]), (-constant * scale,))


def _noise(data: Entries, name: str) -> WalkableSet | None:
    return read_set(data.object(name))[0] if data.has(name) else None


def _sampled(data: Entries, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The simulated states at the horizon's control times, as far as they are known."""
    data.skip("note", "t", "u_lower", "u_upper")
    lower, upper = (data.take(side, matrix)[: steps + 1] for side in ("lower", "upper"))
    return lower, upper


def _pair(value: Any, path: str) -> tuple[str, str]:
    pair = listed(text)(value, path)
    if len(pair) != 2:
        raise InputError(f"The entry {path} is {brief(pair)}; give a name and a text.")
    return pair[0], pair[1]


def _limits(outputs: int) -> Convert[tuple[np.ndarray, np.ndarray]]:
    """One pair of ends per input."""

    def ends(value: Any, path: str) -> tuple[np.ndarray, np.ndarray]:
        found = matrix(value, path)
        if found.shape != (outputs, 2) or (found[:, 0] > found[:, 1]).any():
            raise InputError(f"The entry {path} is {brief(value)}; give {outputs} pairs [low, high].")
        return found[:, 0], found[:, 1]

    return ends


def _spread(outputs: int) -> Convert[np.ndarray]:
    """One number, or one per input."""

    def spread(value: Any, path: str) -> np.ndarray:
        found = vector(value if isinstance(value, list) else [value] * outputs, path)
        if len(found) != outputs:
            raise InputError(f"The entry {path} has {len(found)} numbers; give one, or {outputs}.")
        return found

    return spread


def _size(what: str, own: int) -> Convert[int]:
    """A count that the file states beside what it counts."""

    def stated(value: Any, path: str) -> int:
        said = exact(value, path)
        if said != own:
            raise InputError(f"The entry {path} says {brief(value)} {what}; there are {own}.")
        return own

    return stated
