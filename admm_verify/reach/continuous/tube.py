"""Reachable sets of a continuous plant with a neural controller held constant over each control period."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.decimals import decimal
from admm_verify.enclosures.flow import FlowSettings, Substep, flow, next_substeps
from admm_verify.enclosures.intervals import Interval
from admm_verify.enclosures.taylor import Plant
from admm_verify.errors import InputError
from admm_verify.network.graph import Network
from admm_verify.reach.continuous.control import ControlSettings, controlled
from admm_verify.run import Run
from admm_verify.sets.box import Box


@dataclass(frozen=True)
class ContinuousSettings:
    """Reachable sets of continuous plants.

    flow: integration over a period. control: planes of the controller. widest: half a side from which on a
    cell's set is given up as too loose.
    """

    flow: FlowSettings = field(default_factory=FlowSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    widest: float = 1e3


@dataclass(frozen=True, eq=False)
class Period:
    """The substeps of one control period for the cells that still had sets.

    Shapes: cells [k], numbers of these cells in ascending order.
    """

    cells: np.ndarray
    substeps: tuple[Substep, ...]


@dataclass(frozen=True, eq=False)
class Tube:
    """Sets that hold all trajectories from each cell, period by period.

    initial: the cells' own forms. valid_steps [cells]: how many periods have sets.
    """

    initial: AffineForms
    periods: tuple[Period, ...]
    valid_steps: np.ndarray

    def support(self, step: int, directions: np.ndarray) -> np.ndarray:
        """Upper bounds of d'x at a control time for directions [d, n] -> [cells, d]; infinite where there is no set."""
        if step == 0:
            return self.initial.support(directions)
        period = self.periods[step - 1] if step <= len(self.periods) else None
        return self._spread(period, lambda part: part.substeps[-1].end.support(directions), len(directions))

    def support_during(self, step: int, directions: np.ndarray) -> np.ndarray:
        """Upper bounds of d'x over the whole period from control time `step` on, [cells, d]."""
        period = self.periods[step] if step < len(self.periods) else None

        def most(part: Period) -> np.ndarray:
            return np.max([substep.support(directions) for substep in part.substeps], axis=0)

        return self._spread(period, most, len(directions))

    def box(self, step: int) -> Interval:
        """Boxes at a control time, [cells, n]."""
        size = self.initial.centre.shape[-1]
        unit = np.eye(size)
        ends = self.support(step, np.concatenate([unit, -unit]))
        return Interval(-ends[:, size:], ends[:, :size])

    def _spread(self, period: Period | None, value: Callable[[Period], np.ndarray], directions: int) -> np.ndarray:
        found = np.full((len(self.valid_steps), directions), np.inf)
        if period is not None:
            found[period.cells] = value(period)
        return found


def reach(
    plant: Plant,
    controller: Network,
    lower: np.ndarray,
    upper: np.ndarray,
    steps: int,
    period: float | Fraction,
    settings: ContinuousSettings | None = None,
    run: Run | None = None,
) -> Tube:
    """The sets that all trajectories of x' = f(x, u), u = controller(x) at every control time, run through.

    Where a cell's sets become too loose to go on, its valid_steps stay behind. A float period stands for its shortest
    decimal. run: asked before every period; once over, the tube ends there.
    Shapes: lower, upper [cells, n], the parts of the initial set.
    Raises: InputError where sizes do not fit, or a cell is empty or not finite.
    Error: rounded outward; the controller is meant in real numbers.
    """
    initial = initial_forms(plant, controller, lower, upper)
    valid = np.zeros(len(lower), dtype=np.int64)
    periods: list[Period] = []
    for found in trace(plant, controller, initial, steps, period, settings, run):
        periods.append(found)
        valid[found.cells] = len(periods)
        if run is not None:
            run.say(f"{len(lower)} cells, period {len(periods)} of {steps}", len(periods), steps)
    return Tube(initial, tuple(periods), valid)


def initial_forms(plant: Plant, controller: Network, lower: np.ndarray, upper: np.ndarray) -> AffineForms:
    """The cells as affine forms, [cells, n].

    Raises: InputError where sizes do not fit, or an end is not finite, or a cell is empty.
    """
    lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    if lower.shape != upper.shape or lower.ndim != 2 or lower.shape[1] != plant.states or not len(lower):
        raise InputError(
            f"The cells have shapes {lower.shape} and {upper.shape}; give [cells, {plant.states}] for both ends."
        )
    if controller.input_size != plant.states or controller.output_size != plant.inputs:
        raise InputError(
            f"The controller takes {controller.input_size} numbers and gives {controller.output_size}; the plant has "
            f"{plant.states} states and {plant.inputs} inputs."
        )
    return AffineForms.around(Box(lower, upper))


def trace(
    plant: Plant,
    controller: Network,
    initial: AffineForms,
    steps: int,
    period: float | Fraction,
    settings: ContinuousSettings | None = None,
    run: Run | None = None,
) -> Iterator[Period]:
    """The periods of `reach` one by one, for callers that keep only what they need of each.

    Ends before `steps` periods where no cell has a set any more, or where the run is over.
    """
    chosen = ContinuousSettings() if settings is None else settings
    length = decimal(period, "control period")
    if length <= 0:
        raise InputError(f"The control period is {period}; give a positive number.")
    cells, state, count = np.arange(len(initial.centre)), initial, chosen.flow.substeps
    for _ in range(steps):
        if run is not None and run.over():
            return
        control, shared = controlled(controller, state, chosen.control)
        substeps, loss = flow(plant, shared, control, length, chosen.flow, count)
        count = next_substeps(len(substeps), loss, chosen.flow)
        with quiet_overflow():
            good = np.isfinite(loss) & (substeps[-1].end.deviation <= chosen.widest).all(axis=-1)
        if not good.any():
            return
        cells = cells[good]
        kept = tuple(substep.at(good) for substep in substeps)
        yield Period(cells, kept)
        state = kept[-1].end.refreshed().reduced(chosen.flow.symbols)
