"""Reachable sets of a continuous plant with a neural controller held constant over each control period."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, floor

import numpy as np

from admm_verify.arrays import quiet_overflow
from admm_verify.complete.tables import take
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.flow import FlowSettings, Substep, flow, next_substeps
from admm_verify.enclosures.intervals import Interval
from admm_verify.reach.anchor import Anchor
from admm_verify.reach.checks import TrajectorySets, spread
from admm_verify.reach.control import ControlSettings, controlled
from admm_verify.reach.requirements import Requirement
from admm_verify.reach.starts import StartSet, first_forms
from admm_verify.reach.systems import ContinuousSystem
from admm_verify.run import Run
from admm_verify.sets.box import Box

_PIECES = 8
"""Of a substep, where it comes near a set to be avoided."""


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
class Tube(TrajectorySets):
    """Sets that hold all trajectories from each cell, period by period.

    initial: the cells' own forms. anchor: what their first symbols stand for. valid_steps [cells]: how many periods
    have sets.
    """

    initial: AffineForms
    anchor: Anchor
    periods: tuple[Period, ...]
    valid_steps: np.ndarray

    def support(self, step: int, directions: np.ndarray) -> np.ndarray:
        """Upper bounds of d'x at a control time for directions [d, n] -> [cells, d]; infinite where there is no set."""
        if step == 0:
            return self.anchor.support(self.initial, directions)
        period = self.periods[step - 1] if step <= len(self.periods) else None
        return self._spread(
            period, lambda part: self.anchor.support(part.substeps[-1].end, directions, part.cells), len(directions)
        )

    def support_during(self, step: int, directions: np.ndarray) -> np.ndarray:
        """Upper bounds of d'x over the whole period from control time `step` on, [cells, d]."""
        period = self.periods[step] if step < len(self.periods) else None

        def most(part: Period) -> np.ndarray:
            return np.max([self._passed(substep, directions, part.cells) for substep in part.substeps], axis=0)

        return self._spread(period, most, len(directions))

    def enclosed(self, step: int) -> AffineForms:
        if step == 0:
            return self.initial
        period = self.periods[step - 1] if step <= len(self.periods) else None
        cells, size = len(self.valid_steps), self.initial.size
        return spread(None if period is None else (period.cells, period.substeps[-1].end), cells, size)

    def stays_inside(self, requirement: Requirement) -> np.ndarray:
        begin, end, region = floor(requirement.first), ceil(requirement.last), requirement.set
        if begin == end:
            return self.inside(requirement, begin)
        good = self.valid_steps >= end
        if requirement.of is None:
            for t in range(begin, end):
                good &= region.holds(self.support_during(t, region.normals))
            return good
        for period in self.periods[begin:end]:
            for substep in period.substeps:
                parts = [
                    region.holds(self._during(requirement, piece, region.normals, period.cells))
                    for piece in substep.pieces(_PIECES)
                ]
                good[period.cells] &= np.all(parts, axis=0)
        return good

    def stays_outside(self, requirement: Requirement) -> np.ndarray:
        """Whether every piece of time has a row of the region that holds nowhere in it, [cells]."""
        begin, end, region = floor(requirement.first), ceil(requirement.last), requirement.set
        if begin == end:
            return self.outside(requirement, begin)
        good = self.valid_steps >= end
        for period in self.periods[begin:end]:
            for substep in period.substeps:
                away = region.misses(-self._during(requirement, substep, -region.normals, period.cells))
                # Long pieces of a path around a corner touch it; shorter ones do not.
                if not away[good[period.cells]].all():
                    parts = [
                        region.misses(-self._during(requirement, piece, -region.normals, period.cells))
                        for piece in substep.pieces(_PIECES)
                    ]
                    away |= np.all(parts, axis=0)
                good[period.cells] &= away
        return good

    def during(self, steps: int, directions: np.ndarray) -> np.ndarray:
        return np.stack([self.support_during(t, directions) for t in range(steps)], axis=1)

    def box(self, step: int) -> Interval:
        """Boxes at a control time, [cells, n]."""
        size = self.initial.size
        unit = np.eye(size)
        ends = self.support(step, np.concatenate([unit, -unit]))
        return Interval(-ends[:, size:], ends[:, :size])

    def _during(
        self, requirement: Requirement, substep: Substep, directions: np.ndarray, cells: np.ndarray
    ) -> np.ndarray:
        """Upper bounds of d'y over what a requirement is about, over a whole substep of some cells."""
        if requirement.of is None:
            return self._passed(substep, directions, cells)
        passed = substep.box
        return requirement.of.support(AffineForms.around(Box.of(passed.lower, passed.upper)), directions)

    def _passed(self, substep: Substep, directions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Upper bounds of d'x over all times of a substep of some cells, [cells, d]."""
        return substep.support(directions, lambda forms: self.anchor.support(forms, directions, cells))

    def _spread(self, period: Period | None, value: Callable[[Period], np.ndarray], directions: int) -> np.ndarray:
        found = np.full((len(self.valid_steps), directions), np.inf)
        if period is not None:
            found[period.cells] = value(period)
        return found


def reach(
    system: ContinuousSystem,
    inputs: Box,
    steps: int,
    settings: ContinuousSettings | None = None,
    run: Run | None = None,
    starts: StartSet | None = None,
) -> Tube:
    """The sets that all trajectories from cells of first states run through.

    starts: what the cells are parts of, None for boxes of states.

    Where a cell's sets become too loose to go on, its valid_steps stay behind. run: asked before every period; once
    over, the tube ends there.
    Shapes: inputs [cells, n].
    Error: rounded outward; the controller is meant in real numbers.
    """
    chosen, run = ContinuousSettings() if settings is None else settings, Run() if run is None else run
    (anchor, initial, _), periods = first_forms(inputs, inputs.size, starts), []
    valid, cells, state, count = np.zeros(inputs.count, int), np.arange(inputs.count), initial, None
    while len(periods) < steps and not run.over():
        control, shared = controlled(system.controller.law, state, chosen.control, anchor.at(cells))
        substeps, loss = flow(system.plant, shared, control, system.period, chosen.flow, count)
        count = next_substeps(len(substeps), loss, chosen.flow)
        with quiet_overflow():
            good = np.isfinite(loss) & (substeps[-1].end.deviation <= chosen.widest).all(axis=-1)
        if not good.any():
            break
        cells = cells[good]
        periods.append(Period(cells, take(tuple(substeps), good)))
        valid[cells] = len(periods)
        state = periods[-1].substeps[-1].end.refreshed().reduced(chosen.flow.symbols, anchor.kept)
        run.say(f"{inputs.count} cells, period {len(periods)} of {steps}", len(periods), steps)
    return Tube(initial, anchor, tuple(periods), valid)
