"""Sets and verdicts by cells alone, which are halved until they do what is asked of them."""

import time

import numpy as np

from admm_verify.reach.dynamics import Dynamics
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.refinement import CellRefinement
from admm_verify.reach.sets import ReachSets
from admm_verify.reach.settings import ReachSettings
from admm_verify.reach.systems import ContinuousSystem, Task
from admm_verify.run import Ended, Run


def cellwise_reach(
    task: Task, dynamics: Dynamics, directions: np.ndarray, settings: ReachSettings, run: Run
) -> tuple[ReachSets, list[Judgement]]:
    """Sets and verdicts, as far as possible. Shapes: directions [d, n]."""
    began, refinement = time.monotonic(), CellRefinement(task, dynamics, directions, settings, run)
    refinement.start(refinement.starts.grid(settings.grid), run)
    ended = refinement.refine(settings.cells, run, settings.tolerance)
    judgements = [refinement.judgement(i, ended) for i in range(len(task.requirements))]
    parts, (lower, upper) = refinement.parts, refinement.parts.inputs.range
    period = float(task.system.period) if isinstance(task.system, ContinuousSystem) else 1.0
    sets = ReachSets(
        directions,
        parts.bound.max(axis=0),
        refinement.inner,
        lower,
        upper,
        parts.bound,
        refinement.known.paths,
        time.monotonic() - began,
        Ended.TOO_LOOSE if ended is Ended.COMPLETE and not np.isfinite(parts.bound).all() else ended,
        period,
        None if parts.during is None else parts.during.max(axis=0),
        refinement.ending,
    )
    return sets, judgements
