"""How hard to tighten: again with more steps for as long as that takes something off the gaps."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from admm_verify.reach.discrete.cells import Cells
from admm_verify.reach.settings import ReachSettings
from admm_verify.run import Run, Stopped
from admm_verify.settings import TightenSettings

_CLOSE = 0.1
"""Gaps of this share of the sampled width are not worth more steps."""

_PAYS = 0.02
"""What a round takes off the largest gap at least, if another one is to follow."""

_MORE = 4
"""Times the steps of the round before."""

_FINAL = 200
"""Steps of the bounds that are asked for, once neurons have taken so many."""


def tightened(bound: Callable[[ReachSettings], tuple[Cells, float]], settings: ReachSettings, run: Run) -> Cells:
    """Bounds of cells; where settings leave open how to tighten, and nothing is halved, as tight as pays.

    bound: cells for some settings, and the largest gap between a bound and what trajectories attain, in sampled widths.
    Each round takes four times the steps of the one before, as long as that takes some of the gap away and would leave
    half of the time that is left.
    Raises: Stopped where the first round does not end in time; later ones only add to it.
    """
    began = time.monotonic()
    best, gap = bound(settings)
    if settings.method != "tightened" or settings.tighten is not None or settings.tolerance is not None:
        return best
    steps, took = TightenSettings(), time.monotonic() - began
    while np.isfinite(gap) and gap > _CLOSE and _MORE * took < run.left / 2:
        steps = replace(steps, iterations=_MORE * steps.iterations, shallow=_MORE * steps.shallow)
        run.say(f"largest gap {gap:.3g} of the sampled width; tightening in {steps.iterations} steps")
        began, before = time.monotonic(), gap
        try:
            found, gap = bound(replace(settings, tighten=steps, iterations=max(settings.iterations, _FINAL)))
        except Stopped:
            break
        best, took = found.at_most(best.bound), time.monotonic() - began
        if gap > (1.0 - _PAYS) * before:
            break
    return best
