"""Several steps of a system in discrete time as one network, so that bounds see all of them at once."""

from dataclasses import dataclass

import numpy as np

from admm_verify.errors import InputError
from admm_verify.network.builder import Builder, Tensor, Value
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap
from admm_verify.network.splice import splice
from admm_verify.reach.chart import Chart, chart_of, product
from admm_verify.reach.discrete.written import written
from admm_verify.reach.systems import DiscreteSystem, LinearSystem, NetworkSystem, NonlinearSystem
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet

_POINTS = 500


@dataclass(frozen=True, eq=False)
class Rollout:
    """The network (z_0, w_1 .. w_N, v_1 .. v_N) -> (x_1, .., x_N) of a system, with z_0 the numbers of the first state.

    noise: the set of the numbers of all w and v, in this order.
    """

    network: Network
    states: int
    steps: int
    noise: WalkableSet

    def inputs(self, first: Box) -> Box:
        """The network's input boxes for boxes of the first numbers [cells, n], with the box around all noise."""
        return first.times(Box.of(*self.noise.range))

    def rows(self, directions: np.ndarray) -> np.ndarray:
        """d'x_t as rows over the outputs, all directions of step 1 first: [d, n] -> [steps d, steps n]."""
        return np.kron(np.eye(self.steps), directions)

    def trajectories(self, x: np.ndarray, run: Run | None = None) -> np.ndarray:
        """The states after every step: inputs of the network [points, inputs] -> [points, steps, n].

        run: asked after every block of points; once over, the points so far are all.
        """
        x = x.reshape(-1, self.network.input_size)
        found = []
        # Small blocks stay near the cache.
        for first in range(0, len(x), _POINTS):
            found.append(np.asarray(self.network(x[first : first + _POINTS])))
            if run is not None and run.over():
                break
        values = np.concatenate(found)
        return values.reshape(len(values), self.steps, self.states)


def rollout(system: DiscreteSystem, steps: int, first: Chart | None = None) -> Rollout:
    """`steps` steps of a system as one graph; noise is new in every step.

    first: how numbers give the first state, None for the state itself.
    Raises: InputError for less than one step.
    """
    if steps < 1:
        raise InputError(f"The rollout has {steps} steps; give at least one.")
    process, sensor = noise_charts(system)
    noise = [process] * steps + [sensor] * steps
    sizes = [system.states if first is None else first.numbers, *(chart.numbers for chart in noise)]
    ends = np.cumsum([0, *sizes])
    builder = Builder((int(ends[-1]),), "float64")

    def part(k: int, chart: Chart | None) -> Tensor | None:
        if not sizes[k]:
            return None
        own = builder.select(builder.input, np.arange(ends[k], ends[k + 1]))
        return own if chart is None else chart.applied(builder, own)

    x = part(0, first)
    assert x is not None, "A system has states"
    states = []
    for t in range(steps):
        if isinstance(system, NetworkSystem):
            x = splice(builder, system.network, x, merged=True)
        else:
            noise = part(1 + t, process), part(1 + steps + t, sensor)
            if isinstance(system, LinearSystem):
                x = _linear_step(builder, system, x, *noise)
            else:
                x = _nonlinear_step(builder, system, x, *noise)
        states.append(x)
    network = builder.finish(builder.concat(states, 0), f"{steps} steps")
    return Rollout(network, system.states, steps, noise_set(system, steps))


def noise_set(system: DiscreteSystem, steps: int) -> WalkableSet:
    """The numbers of the noise of so many steps, as a rollout reads them behind those of the first state."""
    process, sensor = (chart.base for chart in noise_charts(system))
    return product([process] * steps + [sensor] * steps)


def noise_columns(system: DiscreteSystem, step: int, steps: int) -> np.ndarray:
    """Where the numbers of the noise of so many steps hold those of one of them, counted from 0."""
    process, sensor = (chart.numbers for chart in noise_charts(system))
    return np.concatenate([step * process + np.arange(process), steps * process + step * sensor + np.arange(sensor)])


def _linear_step(
    builder: Builder, system: LinearSystem, x: Tensor, process: Tensor | None, sensor: Tensor | None
) -> Tensor:
    u = system.controller.applied(builder, x, sensor)
    moved = Tensor(builder.affine(x, DenseMap(system.a), system.c), system.c.shape)
    moved = builder.add(moved, Tensor(builder.affine(u, DenseMap(system.b)), system.c.shape))
    if process is not None and system.e is not None:
        moved = builder.add(moved, Tensor(builder.affine(process, DenseMap(system.e)), system.c.shape))
    if system.residual is not None:
        moved = builder.add(moved, splice(builder, system.residual, builder.concat([x, u], 0)))
    return moved


def _nonlinear_step(
    builder: Builder, system: NonlinearSystem, x: Tensor, process: Tensor | None, sensor: Tensor | None
) -> Tensor:
    plant = system.plant
    u = None if system.controller is None else system.controller.applied(builder, x, sensor)
    if isinstance(plant, Network):
        read: list[Value] = [part for part in (x, u, process) if part is not None]
        return splice(builder, plant, builder.concat(read, 0), merged=True)

    def entries(part: Tensor | None) -> list[Tensor]:
        return (
            []
            if part is None
            else [Tensor(builder.affine(part, DenseMap(row[None])), (1,)) for row in np.eye(part.size)]
        )

    return written(builder, plant.rates, plant.values(entries(x), entries(u), entries(process)))


def noise_charts(system: DiscreteSystem) -> tuple[Chart, Chart]:
    """Process and sensor noise of a step, of no numbers where there is none."""
    controller = None if isinstance(system, NetworkSystem) else system.controller
    given = (
        None if isinstance(system, NetworkSystem) else system.noise,
        None if controller is None else controller.noise,
    )
    # Noise that shows a violation has to be noise for certain.
    process, sensor = (chart_of(Box.point(np.zeros(0)) if noise is None else noise, False) for noise in given)
    return process, sensor
