"""`certified_return`: what a policy earns at least in a known environment, whatever the noise of its observations."""

import time
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated, Any

import numpy as np

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.memory import memory_errors
from admm_verify.network.layout import per_entry
from admm_verify.options import AtLeastOne, Count, Positive, Range, Settings, choice, count, instance
from admm_verify.policies.policy import Policy
from admm_verify.policies.returns.known_environments import KnownEnvironment
from admm_verify.policies.returns.regrouping import Coordinates, coordinates_for
from admm_verify.policies.returns.return_sets import (
    ReachedStates,
    SetLimits,
    constant_reward,
    reached_states,
    rounded_down,
    start_cells,
)
from admm_verify.policies.returns.shipped import SHIPPED
from admm_verify.reprs import short_repr
from admm_verify.run import Ended, Run

_STARTS = 2**14
"""Cells of a box of start states where actions are discrete."""


@dataclass(frozen=True, repr=False)
class ReturnSettings(Settings):
    """How `certified_return` works.

    cells: sets of states that a step is computed for, at most; more are regrouped into half as many. rounds: how
    often it begins again with twice as many cells, where episodes may end before the horizon because of regrouped
    cells, or rewards differ. slabs: in how many parts what one action moves is cut, along the direction that
    actions depend on. symbols: of a set, at most. share: where actions are continuous, sets are halved down to this
    share of the standard deviation of simulated states, as far as there may be cells. starts: cells that a box of
    start states is halved into before they are regrouped; None for many where actions are discrete, since fine
    cells are regrouped along better directions than those of the box, and one otherwise. steps: of the horizon,
    None for the environment's limit.
    Raises: InputError for a value of another type or range.
    """

    cells: AtLeastOne = 512
    rounds: Count = 2
    slabs: AtLeastOne = 8
    symbols: Annotated[int, Range(2)] = 16
    share: Positive = 0.25
    starts: Annotated[int | None, Range(1)] = None
    steps: Annotated[int | None, Range(1)] = None

    @property
    def limits(self) -> SetLimits:
        """Those of the first round."""
        return SetLimits(self.cells, max(1, self.cells // 2), self.slabs, self.symbols, self.share)


@dataclass(frozen=True, eq=False, repr=False)
class CertifiedReturn:
    """What is earned at least over `horizon` steps, under all noise, from all starts.

    lower: the certified return, -inf for none. steps: how many were looked at; beyond them no step is taken to earn
    more than the least there is. survived: so many steps are certain before an episode ends by itself. cells: sets of
    states at each step. undecided: the share of the sets in which noise can change the action, step by step. hull: a
    box around all states at each step, NaN once all episodes are over.
    Shapes: radius [observation]; cells, undecided [steps + 1]; hull [steps + 1, n] each end.
    """

    lower: float
    environment: str
    policy: str
    radius: np.ndarray
    horizon: int
    steps: int
    survived: int
    cells: np.ndarray
    undecided: np.ndarray
    hull: tuple[np.ndarray, np.ndarray]
    seconds: float
    ended: Ended

    __repr__ = short_repr


@memory_errors()
def certified_return(
    policy: Policy,
    environment: KnownEnvironment | str,
    start: Any,
    radius: Any,
    steps: int | None = None,
    *,
    settings: ReturnSettings | None = None,
    run: Run | None = None,
) -> CertifiedReturn:
    """A certified lower bound of the return over all noise v_t with |v_t| <= radius and all start states.

    x_{t+1} = f(x_t, u_t), u_t = pi(h(x_t) + v_t), return = sum of r(x_t, u_t) while the episode goes on. Sets of states
    are followed step by step, as affine forms: scores of the policy over a set and the noise are bounded together,
    every action that may be the best is followed on the part of the set where it may be, and where sets get too many
    they are regrouped into fewer, larger ones. The bound is the least that is earned on any way. It holds for the
    network in real numbers, and for dynamics and rewards both in real numbers and as float64 computes their texts in
    the order that they are written in, which is gymnasium's for CartPole and MountainCar (its Pendulum multiplies the
    torque in float32); networks as dynamics are meant in real numbers. Observations are rounded to the policy's element
    type before noise is added and behind it. What the policy's own code loses to rounding is no part of it.

    environment: a `KnownEnvironment`, or the name of a shipped one. steps: None for those of settings. start: a
    state, a pair (lower, upper) of states, or a Box. run: asked at every step; once it is over, what is known counts,
    with the least reward that there is for each step that is left, or none where an episode may end.
    Shapes: start [n]; radius a number or [observation], in raw units.
    Raises: InputError for what does not fit together, and where a simulated step earns less than `least_reward`.
    Reference: Luetjens, Everett and How, CoRL 2019 (certified actions); Wu et al., CROP, ICLR 2022, whose tree of
    actions follows single states.
    """
    began = time.monotonic()
    given = _environment(environment)
    checked = _fitting(instance(policy, Policy, "The policy", ", as av.read_policy gives"), given)
    settings = ReturnSettings() if settings is None else instance(settings, ReturnSettings, "The settings")
    wanted = next((one for one in (steps, settings.steps, given.limit) if one is not None), None)
    if wanted is None:
        raise InputError(f"{given.name} has no limit of steps; give a number of steps.")
    horizon = count(wanted, "The number of steps", Range(1))
    reach = per_entry(to_numpy(float64_array(radius, "radius")), checked.network.input_shape, "radius")
    if not (np.isfinite(reach) & (reach >= 0)).all():
        raise InputError(f"The radius {radius} is negative, infinite or NaN; give finite numbers from 0 on.")
    starts = (1 if given.actions is None else _STARTS) if settings.starts is None else settings.starts
    run, limits = Run.of(run), settings.limits
    with quiet_overflow():
        first = start_cells(start, given, starts)
        walk = _Walk(checked, given, reach, horizon, coordinates_for(checked, given, first, reach, horizon), run)
        best, regrouped = walk.certified(first, limits, began)
        for _ in range(settings.rounds):
            if not regrouped or best.lower >= walk.most or run.over():
                break
            limits = replace(limits, cells=2 * limits.cells, groups=2 * limits.groups)
            found, regrouped = walk.certified(first, limits, began)
            best = found if found.lower > best.lower else best
    return replace(best, seconds=time.monotonic() - began)


class _Walk:
    """From sets of states, step by step, to the least that is earned."""

    def __init__(
        self,
        policy: Policy,
        environment: KnownEnvironment,
        radius: np.ndarray,
        horizon: int,
        coordinates: Coordinates,
        run: Run,
    ) -> None:
        self.policy, self.environment, self.radius, self.horizon = policy, environment, radius, horizon
        self.coordinates, self.run = coordinates, run

    @property
    def most(self) -> float:
        """No return is larger, infinite where that is not known."""
        fixed = constant_reward(self.environment)
        return np.inf if fixed is None or fixed < 0 else float(fixed * self.horizon)

    def certified(self, first: AffineForms, limits: SetLimits, began: float) -> tuple[CertifiedReturn, bool]:
        """With so many cells, and whether they were regrouped."""
        seen: list[ReachedStates] = []
        lower, ended = -np.inf, Ended.TOO_LOOSE
        walk = reached_states(self.policy, self.environment, first, self.radius, limits, self.coordinates)
        for now in walk:
            if now.lost:
                break
            seen.append(now)
            # Every step's bound holds; sets that have grown too large know less than those before them.
            lower = max(lower, self._least(now))
            if now.step == self.horizon or not len(now.cells.centre) or lower >= now.stopped:
                ended = Ended.COMPLETE
                break
            over = self.run.ended()
            if over is not None:
                ended = over
                break
            self.run.say(
                f"step {now.step}: {len(now.cells.centre)} sets, certified return {lower:g}", now.step, self.horizon
            )
        last = seen[-1]
        found = CertifiedReturn(
            lower,
            self.environment.name,
            self.policy.name,
            self.radius,
            self.horizon,
            last.step,
            last.survived,
            np.array([len(one.cells.centre) for one in seen]),
            np.array([one.undecided for one in seen]),
            _hulls(seen, self.environment.states),
            time.monotonic() - began,
            ended,
        )
        return found, last.regrouped

    def _least(self, now: ReachedStates) -> float:
        """The least return on all ways, from what is known at a step."""
        fixed, least, left = constant_reward(self.environment), self.environment.least_reward, self.horizon - now.step
        known = fixed if fixed is not None else Fraction(least) if np.isfinite(least) else None
        if not np.isfinite(now.earned) or (left and known is None):
            return now.stopped if now.earned == np.inf else -np.inf
        if not left:
            return min(now.stopped, now.earned)
        assert known is not None, "the least reward is known"
        rest = known * left
        earned = Fraction(now.earned) if fixed is None else fixed * now.step
        # An episode may end before all of it is earned.
        return min(now.stopped, rounded_down(earned + (min(rest, Fraction(0)) if self.environment.ongoing else rest)))


def _hulls(seen: list[ReachedStates], states: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around all states, step by step."""
    low, high = np.full((len(seen), states), np.nan), np.full((len(seen), states), np.nan)
    for i, one in enumerate(seen):
        if len(one.cells.centre):
            lower, upper = one.cells.range
            low[i], high[i] = lower[:, :states].min(axis=0), upper[:, :states].max(axis=0)
    return low, high


def _environment(given: KnownEnvironment | str) -> KnownEnvironment:
    if isinstance(given, str):
        return SHIPPED[choice(given, "The environment", tuple(SHIPPED))]()
    return instance(given, KnownEnvironment, "The environment", ", or the name of a shipped one")


def _fitting(policy: Policy, environment: KnownEnvironment) -> Policy:
    """Raise InputError for a policy that sees or does other things than the environment shows and takes."""
    size, outputs, seen = policy.network.input_size, policy.network.output_size, environment.seen_numbers
    if size != seen:
        raise InputError(f"{policy.name} sees {size} numbers, and {environment.name} shows {seen}.")
    if policy.is_discrete != (environment.actions is not None):
        kind = "discrete" if policy.is_discrete else "continuous"
        raise InputError(f"{policy.name} has {kind} actions, which {environment.name} does not take.")
    wanted = environment.inputs if environment.actions is None else len(environment.actions)
    if outputs != wanted:
        raise InputError(f"{policy.name} has {outputs} outputs, and {environment.name} takes {wanted}.")
    return policy
