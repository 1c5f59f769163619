"""Zonotopes that hold all trajectories of a system in discrete time, step after step, for many cells at once.

Where the graph of a whole horizon bounds every neuron anew from the first state on, each step here starts from the set
that the step before it has left: the rollout is cut at every step, and what the cut carries over is an affine form in
the first state, so that nothing but the relaxation's own error is lost. That is loose for large cells, and takes so
little time that cells can be small.
"""

from dataclasses import dataclass

import numpy as np

from admm_verify.complete.tables import take
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.reach.anchor import Anchor
from admm_verify.reach.checks import TrajectorySets, spread
from admm_verify.reach.discrete.rollout import noise_columns
from admm_verify.reach.discrete.steps import StepMap
from admm_verify.reach.starts import StartSet, first_forms
from admm_verify.run import Run
from admm_verify.sets.box import Box

_SYMBOLS = 60
"""Of a set; there are at least 10 for every state."""


@dataclass(frozen=True, eq=False)
class StepSets(TrajectorySets):
    """The sets after each step, for the cells that still have one.

    cells[t] [k]: which of them have a set after step t, whose forms are states[t] [k, n]. anchor: what their first
    symbols stand for.
    """

    valid_steps: np.ndarray
    anchor: Anchor
    cells: tuple[np.ndarray, ...]
    states: tuple[AffineForms, ...]

    def support(self, step: int, directions: np.ndarray) -> np.ndarray:
        found = np.full((len(self.valid_steps), len(directions)), np.inf)
        if step < len(self.states):
            found[self.cells[step]] = self.anchor.support(self.states[step], directions, self.cells[step])
        return found

    def enclosed(self, step: int) -> AffineForms:
        known = (self.cells[step], self.states[step]) if step < len(self.states) else None
        return spread(known, len(self.valid_steps), self.states[0].size)


def step_sets(
    step: StepMap, inputs: Box, steps: int, widest: np.ndarray, run: Run, starts: StartSet | None = None
) -> StepSets:
    """The sets that all trajectories of a step's system from cells of the first state and the noise run through.

    A cell whose set is wider than `widest`, from its middle on, has none from there on. run: asked
    before every step; once over, nobody has. starts: what the cells are parts of, None for boxes of states.
    Shapes: inputs [cells, numbers], as those of the `rollout` of so many steps; widest [n].
    Error: rounded outward; the system is meant in real numbers. Noise counts as the box around it.
    """
    system, most = step.system, max(_SYMBOLS, 10 * step.system.states)
    anchor, state, first = first_forms(inputs, system.states, starts)
    cells = np.arange(inputs.count)
    found, valid = [(cells, state)], np.zeros(inputs.count, dtype=int)
    for t in range(1, steps + 1):
        if run.over():
            break
        noise = inputs.at((cells[:, None], first + noise_columns(system, t - 1, steps)))
        state = step.forms(beside(state, noise), anchor.at(cells))
        # NaN is not within any width.
        good = (state.deviation <= widest).all(axis=-1)
        if not good.any():
            break
        cells, state = cells[good], take(state, good)
        found.append((cells, state))
        valid[cells] = t
        state = state.reduced(most, anchor.kept)
    return StepSets(valid, anchor, *zip(*found, strict=True))


def beside(state: AffineForms, noise: Box) -> AffineForms:
    """Forms of a step's inputs: those of the state, and noise with symbols of its own."""
    if not noise.size:
        return state
    own, size, symbols = AffineForms.around(noise), state.size, state.symbols
    generators = np.zeros((len(state.centre), size + own.size, symbols + own.size))
    generators[:, :size, :symbols], generators[:, size:, symbols:] = state.generators, own.generators
    centre, radius = (
        np.concatenate(pair, axis=-1) for pair in ((state.centre, own.centre), (state.radius, own.radius))
    )
    return AffineForms(centre, generators, radius)
