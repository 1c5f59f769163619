"""Systems with a neural network in feedback, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import ceil, floor

import numpy as np

from admm_verify.errors import InputError
from admm_verify.network.graph import Network
from admm_verify.properties.rows import directed
from admm_verify.reach.taylor import Plant
from admm_verify.sets import Box


@dataclass(frozen=True, eq=False)
class Controller:
    """u = min(max(scale * f(observe x + shift + v) + offset, low), high) with sensor noise v in a box.

    limits: (low, high), None for none; noise: None for none.
    Shapes: observe [q, n]; shift [q]; scale, offset, low, high [m]; noise [q].
    Raises: InputError for shapes that do not fit.
    """

    network: Network
    observe: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    limits: tuple[np.ndarray, np.ndarray] | None = None
    noise: Box | None = None

    def __post_init__(self) -> None:
        inputs, outputs = self.network.input_size, self.network.output_size
        _check("observe", self.observe, (inputs, self.observe.shape[-1]))
        _check("shift", self.shift, (inputs,))
        for name in ("scale", "offset"):
            _check(name, getattr(self, name), (outputs,))
        for end in () if self.limits is None else self.limits:
            _check("limits", end, (outputs,))
        if self.limits is not None and not (self.limits[0] <= self.limits[1]).all():
            raise InputError(f"The controller's limits {self.limits} are empty; give low <= high.")
        if self.noise is not None:
            _check("sensor noise", np.asarray(self.noise.lower), (inputs,))

    @classmethod
    def of(cls, network: Network) -> "Controller":
        """u = f(x)."""
        inputs, outputs = network.input_size, network.output_size
        return cls(network, np.eye(inputs), np.zeros(inputs), np.ones(outputs), np.zeros(outputs))

    @property
    def states(self) -> int:
        """Size of the state it observes."""
        return self.observe.shape[1]


@dataclass(frozen=True, eq=False)
class LinearSystem:
    """x+ = a x + b u + c + e w + r(x, u) with u from the controller and process noise w in a box.

    residual: a network r of (x, u) one after the other; None for none. noise: None for none.
    Shapes: a [n, n]; b [n, m]; c [n]; e [n, p]; noise [p].
    Raises: InputError for shapes that do not fit.
    """

    controller: Controller
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    e: np.ndarray | None = None
    noise: Box | None = None
    residual: Network | None = None

    def __post_init__(self) -> None:
        n, m = self.controller.states, self.controller.network.output_size
        _check("a", self.a, (n, n))
        _check("b", self.b, (n, m))
        _check("c", self.c, (n,))
        if (self.e is None) != (self.noise is None):
            raise InputError("Process noise needs both its matrix e and its box.")
        if self.e is not None and self.noise is not None:
            _check("e", self.e, (n, self.e.shape[-1]))
            _check("process noise", np.asarray(self.noise.lower), (self.e.shape[-1],))
        if self.residual is not None and (self.residual.input_size, self.residual.output_size) != (n + m, n):
            raise InputError(f"The residual must take {n + m} numbers, state and input, and give {n}.")

    @property
    def states(self) -> int:
        """Size of the state."""
        return self.controller.states


@dataclass(frozen=True, eq=False)
class NetworkSystem:
    """x+ = f(x).

    Raises: InputError for a network whose output has another size than its input.
    """

    network: Network

    def __post_init__(self) -> None:
        if self.network.input_size != self.network.output_size:
            raise InputError(
                f"{self.network.name} takes {self.network.input_size} numbers and gives {self.network.output_size}; a "
                "system's network gives the next state, which has the same size."
            )

    @property
    def states(self) -> int:
        """Size of the state."""
        return self.network.input_size


@dataclass(frozen=True, eq=False)
class ContinuousSystem:
    """dx/dt = f(x, u), where u is taken from the controller at the start of every period and held.

    period: exact, in the equations' unit of time.
    Raises: InputError for sizes that do not fit, and for sensor noise, which only discrete time has.
    """

    controller: Controller
    plant: Plant
    period: Fraction

    def __post_init__(self) -> None:
        given = self.controller.states, self.controller.network.output_size
        if given != (self.plant.states, self.plant.inputs):
            raise InputError(
                f"The controller reads {given[0]} states and gives {given[1]} inputs; the plant has "
                f"{self.plant.states} and {self.plant.inputs}."
            )
        if not self.period > 0:
            raise InputError(f"The control period is {self.period}; give a positive number.")
        if self.controller.noise is not None:
            raise InputError("Sensor noise is supported for systems in discrete time only.")

    @property
    def states(self) -> int:
        """Size of the state."""
        return self.plant.states


DiscreteSystem = LinearSystem | NetworkSystem
System = DiscreteSystem | ContinuousSystem


@dataclass(frozen=True, eq=False)
class Polytope:
    """The set {x : normals x <= limits}; without rows, everything.

    Shapes: normals [rows, n], exact; limits, fractions, [rows].
    """

    normals: np.ndarray
    limits: tuple[Fraction, ...]

    @classmethod
    def box(cls, lower: Sequence[Fraction | None], upper: Sequence[Fraction | None]) -> "Polytope":
        """lower <= x <= upper, where None is no limit.

        Raises: InputError for ends of different lengths, or an empty box.
        """
        if len(lower) != len(upper):
            raise InputError(f"A box has {len(lower)} lower and {len(upper)} upper ends; give one of each per state.")
        for low, high in zip(lower, upper, strict=True):
            if low is not None and high is not None and low > high:
                raise InputError(f"A box from {float(low)} to {float(high)} is empty; give lower <= upper.")
        unit = np.eye(len(lower))
        rows = [(unit[i], end) for i, end in enumerate(upper) if end is not None]
        rows += [(-unit[i], -end) for i, end in enumerate(lower) if end is not None]
        normals = np.array([row for row, _ in rows]).reshape(len(rows), len(lower))
        return cls(normals, tuple(end for _, end in rows))

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether all rows hold, given certified upper bounds of normals x, [..., rows] -> [...]."""
        good = np.ones(values.shape[:-1], dtype=bool)
        for row, limit in enumerate(self.limits):
            # A float below the limit rounded down is below the limit.
            good &= values[..., row] <= directed((limit,), np.float64, up=False)[0]
        return good

    def misses(self, values: np.ndarray) -> np.ndarray:
        """Whether some row holds nowhere, given certified lower bounds of normals x, [..., rows] -> [...]."""
        bad = np.zeros(values.shape[:-1], dtype=bool)
        for row, limit in enumerate(self.limits):
            bad |= values[..., row] > directed((limit,), np.float64, up=True)[0]
        return bad


class Kind(Enum):
    """What trajectories must do with a set; reach_some_time means one time for each trajectory."""

    ALWAYS_IN = "always_in"
    NEVER_IN = "never_in"
    REACH_AT_END = "reach_at_end"
    REACH_SOME_TIME = "reach_some_time"


@dataclass(frozen=True, eq=False)
class Requirement:
    """What trajectories must do between two times, counted in steps or control periods; the last is the end.

    Raises: InputError for times that are negative or the wrong way round, and for an end between steps.
    """

    kind: Kind
    set: Polytope
    first: Fraction
    last: Fraction
    text: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise InputError(
                f"A requirement is for the times {float(self.first)} to {float(self.last)}, in periods; give "
                "0 <= first <= last."
            )
        if self.kind is Kind.REACH_AT_END and self.last.denominator != 1:
            raise InputError(f"The end of a requirement is at {float(self.last)} periods; give a whole number.")

    def control_times(self, steps: int) -> range:
        """The steps of its time that are within a horizon."""
        if self.kind is Kind.REACH_AT_END:
            return range(int(self.last), min(steps, int(self.last)) + 1)
        return range(ceil(self.first), min(steps, floor(self.last)) + 1)

    def room(self, paths: np.ndarray) -> np.ndarray:
        """How far simulated states at steps 0, 1, .. are from breaking it, at these times; negative where they do.

        Shapes: paths [points, steps + 1, n] -> [points].
        """
        times = self.control_times(paths.shape[1] - 1)
        if not len(times):
            return np.full(len(paths), np.inf)
        values = paths[:, times.start : times.stop] @ self.set.normals.T
        # The distance from leaving the set; negative outside.
        inside = np.min(np.array([float(limit) for limit in self.set.limits]) - values, axis=-1, initial=np.inf)
        if self.kind is Kind.NEVER_IN:
            return -inside.max(axis=1)
        return inside.max(axis=1) if self.kind is Kind.REACH_SOME_TIME else inside.min(axis=1)


@dataclass(frozen=True, eq=False)
class Task:
    """A system with the box it starts in, how long it runs and what it must do.

    names: of the states, for plots. sampled: (lower, upper) of simulated states at the control times, where known.
    exact: the ends of the box in exact numbers, where initial is these rounded outward; left out where it is not, as
    after `replace` of initial.
    Shapes: initial [n]; sampled [steps + 1, n].
    Raises: InputError for sizes that do not fit, and a horizon of less than one step.
    """

    name: str
    system: System
    initial: Box
    steps: int
    requirements: tuple[Requirement, ...] = ()
    names: tuple[str, ...] = ()
    sampled: tuple[np.ndarray, np.ndarray] | None = None
    exact: tuple[tuple[Fraction, ...], tuple[Fraction, ...]] | None = None

    def __post_init__(self) -> None:
        states = self.system.states
        if np.shape(self.initial.lower) != (states,):
            raise InputError(f"The initial box has shape {np.shape(self.initial.lower)} for {states} states.")
        if self.steps < 1:
            raise InputError(f"The horizon is {self.steps} steps; give at least one.")
        if self.exact is not None:
            rounded = [directed(end, np.float64, up=up) for end, up in zip(self.exact, (False, True), strict=True)]
            same = zip(rounded, (self.initial.lower, self.initial.upper), strict=True)
            if not all(np.array_equal(*pair) for pair in same):
                object.__setattr__(self, "exact", None)
        for requirement in self.requirements:
            if requirement.set.normals.shape[1:] != (states,):
                raise InputError(
                    f"A requirement is about {requirement.set.normals.shape[-1]} states; the system has {states}."
                )

    @property
    def ends(self) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
        """The ends of the initial box in exact numbers."""
        if self.exact is not None:
            return self.exact
        low, high = (np.reshape(np.asarray(end), -1) for end in (self.initial.lower, self.initial.upper))
        return tuple(Fraction(float(end)) for end in low), tuple(Fraction(float(end)) for end in high)

    @property
    def inner(self) -> Box:
        """The numbers of float64 inside the exact box; initial's ends where there are none, as around 0.1."""
        low, high = (directed(end, np.float64, up=up) for end, up in zip(self.ends, (True, False), strict=True))
        some = low <= high
        return Box(np.where(some, low, self.initial.lower), np.where(some, high, self.initial.upper))

    def around(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The smallest box that holds an initial state near x [n] for certain: x itself wherever it is one."""
        low, high = (directed(end, np.float64, up=up) for end, up in zip(self.ends, (True, False), strict=True))
        x, some = np.clip(x, low, high), low <= high
        return np.where(some, x, self.initial.lower), np.where(some, x, self.initial.upper)


def _check(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise InputError(f"The system's {name} has shape {array.shape}; it must be {shape}.")
    if not np.isfinite(array).all():
        raise InputError(f"The system's {name} has NaN or infinite numbers.")
