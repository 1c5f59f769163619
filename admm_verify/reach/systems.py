"""Systems with a neural network in feedback, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor

import numpy as np

from admm_verify.enclosures.decimals import decimal
from admm_verify.enclosures.plants import Plant
from admm_verify.errors import InputError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Network, check_network
from admm_verify.network.maps import DenseMap
from admm_verify.network.splice import splice
from admm_verify.options import Range, brief, count, instance, several
from admm_verify.reach.inputs import array, input_set, set_field
from admm_verify.reach.requirements import Requirement
from admm_verify.reprs import short_repr
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox

MOST_STEPS = 20_000
"""Steps of a horizon; graphs and sets of many more have no room in any memory."""


@dataclass(frozen=True, eq=False, repr=False)
class Controller:
    """u = min(max(scale * f(observe x + shift + v) + offset, low), high) with sensor noise v in a set.

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
    noise: WalkableSet | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_network(instance(self.network, Network, "The controller's network"))
        inputs, outputs = self.network.input_size, self.network.output_size
        shapes = (("observe", (inputs, None)), ("shift", (inputs,)), ("scale", (outputs,)), ("offset", (outputs,)))
        for name, shape in shapes:
            set_field(self, name, array(getattr(self, name), shape, f"controller's {name}"))
        if self.limits is not None:
            set_field(self, "limits", _ends(self.limits, (outputs,), "controller's limits"))
            if not (self.limits[0] <= self.limits[1]).all():
                raise InputError(f"The controller's limits {self.limits} are empty; give low <= high.")
        if self.noise is not None:
            set_field(self, "noise", input_set(self.noise, inputs, "sensor noise"))

    @classmethod
    def of(cls, network: Network) -> "Controller":
        """u = f(x).

        Raises: InputError for what is no network.
        """
        check_network(instance(network, Network, "The controller's network"))
        inputs, outputs = network.input_size, network.output_size
        return cls(network, np.eye(inputs), np.zeros(inputs), np.ones(outputs), np.zeros(outputs))

    @property
    def states(self) -> int:
        """Size of the state it observes."""
        return self.observe.shape[1]

    def applied(self, builder: Builder, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """The output at a state, as a part of a network."""
        seen = Tensor(builder.affine(x, DenseMap(self.observe), self.shift), self.shift.shape)
        seen = seen if noise is None else builder.add(seen, noise)
        raw = splice(builder, self.network, seen)
        u = Tensor(builder.affine(raw, DenseMap(np.diag(self.scale)), self.offset), self.offset.shape)
        return u if self.limits is None else builder.activation("clip", u, *self.limits)

    @cached_property
    def law(self) -> Network:
        """The controller without sensor noise as a network of the state."""
        builder = Builder((self.states,), "float64")
        return builder.finish(self.applied(builder, builder.input), "controller")


@dataclass(frozen=True, eq=False, repr=False)
class LinearSystem:
    """x+ = a x + b u + c + e w + r(x, u) with u from the controller and process noise w in a set.

    residual: a network r of (x, u) one after the other; None for none. noise: None for none.
    Shapes: a [n, n]; b [n, m]; c [n]; e [n, p]; noise [p].
    Raises: InputError for shapes that do not fit.
    """

    controller: Controller
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    e: np.ndarray | None = None
    noise: WalkableSet | None = None
    residual: Network | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        controller = instance(self.controller, Controller, "The system's controller")
        n, m = controller.states, controller.network.output_size
        for name, shape in (("a", (n, n)), ("b", (n, m)), ("c", (n,))):
            set_field(self, name, array(getattr(self, name), shape, f"system's {name}"))
        if (self.e is None) != (self.noise is None):
            raise InputError("Process noise needs both its matrix e and its set.")
        if self.e is not None:
            set_field(self, "e", array(self.e, (n, None), "system's e"))
            set_field(self, "noise", input_set(self.noise, self.e.shape[1], "process noise"))
        if self.residual is None:
            return
        residual = check_network(instance(self.residual, Network, "The residual"))
        if (residual.input_size, residual.output_size) != (n + m, n):
            raise InputError(f"The residual must take {n + m} numbers, state and input, and give {n}.")

    @property
    def states(self) -> int:
        """Size of the state."""
        return self.controller.states


@dataclass(frozen=True, eq=False, repr=False)
class NetworkSystem:
    """x+ = f(x).

    Raises: InputError for a network whose output has another size than its input.
    """

    network: Network

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_network(instance(self.network, Network, "The system's network"))
        if self.network.input_size != self.network.output_size:
            raise InputError(
                f"{self.network.name} takes {self.network.input_size} numbers and gives {self.network.output_size}; a "
                "system's network gives the next state, which has the same size."
            )

    @property
    def states(self) -> int:
        """Size of the state."""
        return self.network.input_size


@dataclass(frozen=True, eq=False, repr=False)
class NonlinearSystem:
    """x+ = f(x, u, w) with u from the controller, None where there is no input, and process noise w in a set.

    plant: texts, or a network of (x, u, w) one after the other, such as `trace_plant` makes. noise: None for none.
    Shapes: noise [p], one number for each of w1, w2, .. of the plant.
    Raises: InputError for sizes that do not fit.
    """

    controller: Controller | None
    plant: Plant | Network
    noise: WalkableSet | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        instance(self.plant, (Plant, Network), "The plant")
        if self.controller is not None:
            instance(self.controller, Controller, "The system's controller")
        if isinstance(self.plant, Network):
            self._check_network(check_network(self.plant))
            noises = 0 if self.noise is None else self.plant.input_size - self._reads
        else:
            self._check_texts(self.plant)
            noises = self.plant.noises
        if self.noise is not None:
            set_field(self, "noise", input_set(self.noise, noises, "process noise"))

    @property
    def states(self) -> int:
        """Size of the state."""
        return self.plant.output_size if isinstance(self.plant, Network) else self.plant.states

    @property
    def _reads(self) -> int:
        """How many numbers, state and inputs, the plant reads beside noise."""
        return self.states + (0 if self.controller is None else self.controller.network.output_size)

    def _check_texts(self, plant: Plant) -> None:
        if self.controller is not None:
            _check_fit(self.controller, plant)
        elif plant.inputs:
            raise InputError(f"The plant has {plant.inputs} inputs, and there is no controller that gives them.")
        if (self.noise is None) != (plant.noises == 0):
            given = "no set" if self.noise is None else "a set"
            raise InputError(f"The plant reads {plant.noises} numbers of noise, and {given} of it is given; give both.")

    def _check_network(self, plant: Network) -> None:
        wanted = self._reads + (0 if self.noise is None else self.noise.size)
        observed = self.states if self.controller is None else self.controller.states
        if (observed, plant.input_size) != (self.states, wanted):
            raise InputError(
                f"The plant {plant.name} takes {plant.input_size} numbers and gives {plant.output_size}; with "
                f"{observed} states, {self._reads - self.states} inputs and {wanted - self._reads} numbers of noise it "
                f"has to take {observed + wanted - self.states} and to give {observed}."
            )


def _check_fit(controller: Controller, plant: Plant) -> None:
    given = controller.states, controller.network.output_size
    if given != (plant.states, plant.inputs):
        raise InputError(
            f"The controller reads {given[0]} states and gives {given[1]} inputs; the plant has {plant.states} and "
            f"{plant.inputs}."
        )


@dataclass(frozen=True, eq=False, repr=False)
class ContinuousSystem:
    """dx/dt = f(x, u), where u is taken from the controller at the start of every period and held.

    period: in the equations' unit of time; a float stands for its shortest decimal.
    Raises: InputError for sizes that do not fit, for noise, which only discrete time has, and for a plant with kinks.
    """

    controller: Controller
    plant: Plant
    period: Fraction

    __repr__ = short_repr

    def __post_init__(self) -> None:
        instance(self.controller, Controller, "The system's controller")
        instance(self.plant, Plant, "The plant")
        _check_fit(self.controller, self.plant)
        set_field(self, "period", decimal(self.period, "control period"))
        if not 2.0**-1000 < self.period < 2.0**1000:
            raise InputError(f"The control period is {brief(self.period)}; give a positive number.")
        if self.controller.noise is not None or self.plant.noises:
            kind = "Process" if self.plant.noises else "Sensor"
            raise InputError(f"{kind} noise is supported for systems in discrete time only.")
        if self.plant.kinked is not None:
            equation, function = self.plant.kinked
            raise InputError(
                f"The plant's equation {equation} holds {function}, which has no derivative everywhere, and in "
                "continuous time plants are expanded into Taylor series. Write a smooth function, as sqrt(x**2 + 1e-6) "
                "for abs(x), or a plant in discrete time."
            )

    @property
    def states(self) -> int:
        """Size of the state."""
        return self.plant.states


DiscreteSystem = LinearSystem | NetworkSystem | NonlinearSystem
System = DiscreteSystem | ContinuousSystem
SYSTEMS = LinearSystem, NetworkSystem, NonlinearSystem, ContinuousSystem


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A system with the set it starts in, how long it runs and what it must do.

    names: of the states, for plots. sampled: (lower, upper) of simulated states at the first control times, if known.
    exact: an initial box in exact numbers, where initial is its enclosure; left out where it is not, as after
    `replace` of initial. remarks: what the source states and this task leaves out, as sentences, which go with
    every verdict.
    Shapes: initial [n]; sampled [at most steps + 1, n].
    Raises: InputError for sizes that do not fit, a horizon of less than one step or more than MOST_STEPS, and in
    discrete time for a requirement between two steps.
    """

    name: str
    system: System
    initial: WalkableSet
    steps: int
    requirements: tuple[Requirement, ...] = ()
    names: tuple[str, ...] = ()
    sampled: tuple[np.ndarray, np.ndarray] | None = None
    exact: ExactBox | None = None
    remarks: tuple[str, ...] = ()

    __repr__ = short_repr

    def __post_init__(self) -> None:
        instance(self.name, str, "The name of a task")
        states = instance(self.system, SYSTEMS, "The system").states
        set_field(self, "initial", input_set(self.initial, states, "initial set"))
        set_field(self, "steps", count(self.steps, "The horizon in steps", Range(1, most=MOST_STEPS)))
        for name, kind in (("requirements", Requirement), ("names", str), ("remarks", str)):
            set_field(self, name, several(getattr(self, name), kind, f"{name} of a task"))
        if self.names and len(self.names) != states:
            raise InputError(f"The states are named {brief(self.names)}; give {states} names, or none.")
        if self.sampled is not None:
            set_field(self, "sampled", _ends(self.sampled, (None, states), "sampled states"))
            if len(self.sampled[0]) > self.steps + 1:
                raise InputError(f"There are sampled states at {len(self.sampled[0])} times for {self.steps} steps.")
        if self.exact is not None:
            rounded = instance(self.exact, ExactBox, "The exact initial box").enclosure.range
            same = isinstance(self.initial, Box) and np.array_equal(rounded, self.initial.range)
            set_field(self, "exact", self.exact if same else None)
        for requirement in self.requirements:
            self._check_requirement(requirement)

    def _check_requirement(self, requirement: Requirement) -> None:
        if requirement.states != self.system.states:
            raise InputError(
                f"A requirement is about {requirement.states} states; the system has {self.system.states}."
            )
        if not isinstance(self.system, ContinuousSystem) and ceil(requirement.first) > floor(requirement.last):
            raise InputError(
                f"No step is between {float(requirement.first)} and {float(requirement.last)}, when a requirement is "
                "to hold; steps are whole numbers."
            )

    @property
    def box(self) -> ExactBox:
        """A box around the initial set, in exact numbers; the set itself where it is a box."""
        return ExactBox.of(Box.of(*self.initial.range)) if self.exact is None else self.exact


def _ends(given: object, shape: Sequence[int | None], what: str) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(given, Sequence | np.ndarray) or len(given) != 2:
        raise InputError(f"The {what} are {brief(given)}; give a pair, lower and upper ends.")
    low, high = (array(end, shape, what) for end in given)
    if low.shape != high.shape:
        raise InputError(f"The {what} have lower ends of shape {low.shape} and upper ones of {high.shape}.")
    return low, high
