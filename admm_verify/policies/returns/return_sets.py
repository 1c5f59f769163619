"""All states that a policy may come to under noise, step by step, and what is earned at least on the way."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.expressions import Number
from admm_verify.enclosures.intervals import Interval
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.policies.policy import Policy
from admm_verify.policies.returns.known_environments import KnownEnvironment
from admm_verify.policies.returns.noisy_steps import NoisyStep
from admm_verify.policies.returns.regrouping import Coordinates, halved, regrouped
from admm_verify.sets.box import Box

_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class SetLimits:
    """How many sets of states are followed: more than `cells` are regrouped into `groups`.

    slabs: parts of what an action moves along the first coordinate, that sets are cut into. symbols: of a set, at most.
    share: of what states are typically apart, that sets are halved down to where actions are continuous.
    """

    cells: int
    groups: int
    slabs: int
    symbols: int
    share: float


@dataclass(frozen=True, eq=False)
class ReachedStates:
    """All states after some steps in which episodes go on, and what is known of ways that ended before.

    cells: states with what was earned, [cells, n + 1]. earned: the least of that. stopped: the least earned on ways
    that may have ended, inf for none. survived: steps that are certain, up to the first with which an episode may have
    ended. undecided: the share of the cells before in which several actions are possible. regrouped: whether cells were
    at any time. lost: nothing is known of some next states, which these are not.
    """

    step: int
    cells: AffineForms
    earned: float
    stopped: float
    survived: int
    undecided: float
    regrouped: bool
    lost: bool = False


def reached_states(
    policy: Policy,
    environment: KnownEnvironment,
    first: AffineForms,
    radius: np.ndarray,
    limits: SetLimits,
    coordinates: Coordinates,
) -> Iterator[ReachedStates]:
    """The states after 0, 1, 2, .. steps, until all episodes are over or nothing is known of some states.

    Shapes: first [cells, n]; radius [observation].
    """
    step, fixed = NoisyStep(policy.network, environment, radius), constant_reward(environment)
    zero = AffineForms(np.zeros(len(first.centre)), np.zeros_like(first.generators[:, 0]), np.zeros(len(first.centre)))
    cells, stopped, survived, merged, taken = AffineForms.stack([*first.coordinates(), zero]), np.inf, -1, False, 0
    yield ReachedStates(0, cells, 0.0, stopped, 0, 0.0, merged)
    while len(cells.centre):
        if len(cells.centre) > limits.cells:
            cells, merged = regrouped(cells, coordinates.after(taken), limits.groups, limits.slabs), True
        if environment.actions is None:
            cells = halved(cells, limits.share * coordinates.size, limits.cells)
        found = step.following(cells)
        taken += 1
        lost = bool(found.lost.any())
        if survived < 0 and (lost or found.stopped < np.inf):
            survived = taken - 1 if lost else taken
        if found.stopped < np.inf:
            stopped = min(stopped, found.stopped if fixed is None else rounded_down(fixed * taken))
        cells = found.forms.refreshed().reduced(limits.symbols)
        if fixed is None or not len(cells.centre):
            earned = float(np.min(cells.range[0][:, -1], initial=np.inf))
        else:
            earned = rounded_down(fixed * taken)
        undecided = float(np.mean(found.branches > 1))
        known = taken if survived < 0 else survived
        yield ReachedStates(taken, cells, earned, stopped, known, undecided, merged, lost)
        if lost:
            return


def start_cells(start: Any, environment: KnownEnvironment, most: int) -> AffineForms:
    """The start states as cells, a box halved along its longest sides as often as there may be cells.

    Raises: InputError for what is no state of the environment, and no pair of them.
    """
    ends = start.range if isinstance(start, Box) else start
    if isinstance(ends, tuple) and len(ends) == 2:
        low, high = (np.asarray(float64_array(end, "end of the start states")).reshape(-1) for end in ends)
    else:
        low = high = np.asarray(float64_array(ends, "start state")).reshape(-1)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise InputError("The start holds NaN or infinite numbers; give finite ones.")
    if low.shape != (environment.states,) or high.shape != low.shape or not (low <= high).all():
        raise InputError(
            f"The start is between {low} and {high}; give one state of {environment.states} numbers, or a pair (lower, "
            "upper) of such states."
        )
    boxes = [(low, high)]
    while 2 * len(boxes) <= most and (low < high).any():
        axis = int(np.argmax(boxes[0][1] - boxes[0][0]))
        boxes = [half for box in boxes for half in _halved(*box, axis)]
    return AffineForms.around(Box.of(np.stack([box[0] for box in boxes]), np.stack([box[1] for box in boxes])))


def _halved(low: np.ndarray, high: np.ndarray, axis: int) -> list[tuple[np.ndarray, np.ndarray]]:
    middle = 0.5 * low[axis] + 0.5 * high[axis]
    first, second = high.copy(), low.copy()
    first[axis] = second[axis] = middle
    return [(low, first), (second, high)]


def constant_reward(environment: KnownEnvironment) -> Fraction | None:
    """The reward of every step where it is the same number, which then is summed exactly."""
    reward = environment.texts.reward
    return reward.value if isinstance(reward, Number) else None


def rounded_down(value: Fraction) -> float:
    """The largest float64 that is not above."""
    if abs(value) > _LARGEST:
        return _LARGEST if value > 0 else -np.inf
    return float(Interval.number(value).lower)
