"""One step of a system in discrete time: of single states, and of sets of them."""

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.arithmetic import FLOATS
from admm_verify.enclosures.expressions import evaluate
from admm_verify.enclosures.plants import Plant, enclosed
from admm_verify.network.builder import Builder
from admm_verify.network.graph import Network
from admm_verify.reach.anchor import Anchor
from admm_verify.reach.control import ControlSettings, controlled
from admm_verify.reach.discrete.rollout import noise_charts, rollout
from admm_verify.reach.discrete.sides import opened
from admm_verify.reach.systems import DiscreteSystem, NonlinearSystem

_PLANES = ControlSettings(iterations=0, tighten=0)
"""CROWN's own planes: four cells without ascent take less time, and are tighter, than one with it."""


class StepMap(ABC):
    """The next state x+ of (x, w, v), the state and the numbers of process and sensor noise one behind the other."""

    system: DiscreteSystem

    @abstractmethod
    def simulated(self, z: np.ndarray) -> np.ndarray:
        """Next states, up to rounding, [points, n + noise] -> [points, n]."""

    @abstractmethod
    def forms(self, z: AffineForms, anchor: Anchor) -> AffineForms:
        """Forms of the next states with symbols of their own behind those of z; not finite where they are not known.

        Shapes: z [cells, n + noise] -> [cells, n].
        """

    @abstractmethod
    def opened(self, middle: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """How much each side of a cell has to do with what is not linear in a step, in shares that only compare.

        Shapes: middle [cells, n + noise], ends [cells, 2, sides, n + noise] -> [cells, sides].
        """


def step_of(system: DiscreteSystem) -> StepMap:
    """A step of any system."""
    if isinstance(system, NonlinearSystem) and isinstance(system.plant, Plant):
        return PlantStep(system, system.plant)
    return NetworkStep(system)


class NetworkStep(StepMap):
    """Of a system whose steps are one network."""

    def __init__(self, system: DiscreteSystem) -> None:
        self.system, self.network = system, rollout(system, 1).network

    def simulated(self, z: np.ndarray) -> np.ndarray:
        return np.asarray(self.network.evaluate(z)[-1])

    def forms(self, z: AffineForms, anchor: Anchor) -> AffineForms:
        return controlled(self.network, z, _PLANES, anchor)[0]

    def opened(self, middle: np.ndarray, ends: np.ndarray) -> np.ndarray:
        return opened(self.network, middle, ends)


class PlantStep(StepMap):
    """Of a plant from text: planes of the controller, then the arithmetic of affine forms."""

    def __init__(self, system: NonlinearSystem, plant: Plant) -> None:
        self.system, self.controller, self.plant, self.charts = system, system.controller, plant, noise_charts(system)
        self.sizes = [system.states, *(chart.numbers for chart in self.charts)]

    @cached_property
    def law(self) -> Network | None:
        """The controller as a network of (x, w, v); None without one."""
        controller, (states, process, sensor) = self.controller, self.sizes
        if controller is None:
            return None
        builder = Builder((states + process + sensor,), "float64")
        x = builder.select(builder.input, np.arange(states))
        noise = builder.select(builder.input, states + process + np.arange(sensor)) if sensor else None
        noise = None if noise is None else self.charts[1].applied(builder, noise)
        return builder.finish(controller.applied(builder, x, noise), "controller")

    def simulated(self, z: np.ndarray) -> np.ndarray:
        values = self.values(z)
        with quiet_overflow():
            found = evaluate(self.plant.rates, values, FLOATS)
        return np.stack([np.broadcast_to(one, len(z)) for one in found], axis=-1)

    def values(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """The values of the plant's names, up to rounding, [points] each."""
        states, process, _ = self.sizes
        control = [] if self.law is None else list(np.asarray(self.law.evaluate(z)[-1]).T)
        noise = self.charts[0].states(z[:, states : states + process])
        return self.plant.values(list(z[:, :states].T), control, list(noise.T))

    def forms(self, z: AffineForms, anchor: Anchor) -> AffineForms:
        with quiet_overflow():
            return enclosed(self.plant.rates, self.plant.conditions, self.names(z, anchor)).refreshed()

    def names(self, z: AffineForms, anchor: Anchor) -> dict[str, AffineForms]:
        """Forms of the plant's names over the symbols of z, and one of its own for each input, [cells] each."""
        states, process, _ = self.sizes
        control: list[AffineForms] = []
        if self.law is not None:
            found, z = controlled(self.law, z, _PLANES, anchor)
            control = found.coordinates()
        parts = z.coordinates()
        noise = (
            self.charts[0].forms(AffineForms.stack(parts[states : states + process])).coordinates() if process else []
        )
        return self.plant.values(parts[:states], control, noise)

    def opened(self, middle: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """By the controller's open neurons, and how far the step bends along each side beside how far sides move it."""
        count, _, sides, size = ends.shape
        centre = self.simulated(middle)[:, None]
        low, high = self.simulated(ends.reshape(-1, size)).reshape(count, 2, sides, -1).swapaxes(0, 1)
        with quiet_overflow():
            moved = np.abs(high - low).sum(axis=1, keepdims=True)
            bent = np.abs(high - centre + (low - centre)) / np.where(moved > 0, moved, 1.0)
        score = np.nan_to_num(bent, nan=0.0, posinf=0.0).sum(axis=-1)
        return score if self.law is None else score + opened(self.law, middle, ends)
