"""From what a policy's layers give to actions: squashed, scaled and limited as the training library does it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.nonlinear import clip
from admm_verify.options import Range, brief, count
from admm_verify.policies.policy import ContinuousActions, DiscreteActions

Actions = DiscreteActions | ContinuousActions
WantedActions = Actions | str | tuple[object, object] | None
"""What a reader may be told of actions: a record, "discrete", "continuous", or (low, high); None to find out."""

DISCRETE, CONTINUOUS = "discrete", "continuous"


@dataclass(frozen=True)
class RawOutputs:
    """What layers give before it is made actions; squashed: by a tanh, so that [-1, 1] stands for the limits."""

    values: Tensor
    squashed: bool = False
    notes: tuple[str, ...] = ()


def wanted_actions(given: WantedActions) -> Actions | str | None:
    """Checked: what a caller says of a policy's actions.

    Raises: InputError for anything else than is allowed, and for limits that are none.
    """
    if given is None or (isinstance(given, str) and given in (DISCRETE, CONTINUOUS)):
        return given
    if isinstance(given, DiscreteActions):
        return DiscreteActions(count(given.count, "The number of actions", Range(1)))
    if isinstance(given, ContinuousActions):
        return _limits(given.low, given.high)
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str) and len(given) == 2:
        return _limits(*given)
    raise InputError(
        f"The actions are {brief(given)}; say 'discrete' or 'continuous', give (low, high), the limits of a vector of "
        "actions, or an av.DiscreteActions or av.ContinuousActions."
    )


def _limits(low: object, high: object) -> ContinuousActions:
    ends = [np.atleast_1d(np.asarray(float64_array(end, "limit of the actions"))).reshape(-1) for end in (low, high)]
    if ends[0].shape != ends[1].shape or not (ends[0] < ends[1]).all():
        raise InputError(
            f"The limits of the actions are {brief(low)} and {brief(high)}; give as many low as high ones, each below "
            "its high one, infinite for none."
        )
    return ContinuousActions(*ends)


def limited(builder: Builder, outputs: RawOutputs, given: ContinuousActions | None) -> tuple[Tensor, ContinuousActions]:
    """The actions in the environment's units, and their limits.

    Squashed values t become low + (t + 1) (high - low) / 2, others are clipped; without limits they stay as they are.
    Raises: InputError where the limits are of another number of actions.
    """
    x = outputs.values
    if given is not None and given.low.size == 1 and x.size > 1:
        given = ContinuousActions(*(np.full(x.size, end[0]) for end in (given.low, given.high)))
    if given is not None and given.low.size != x.size:
        raise InputError(
            f"{given.low.size} actions have limits, and the policy gives {x.size}; give one pair for each."
        )
    if not outputs.squashed:
        if given is None:
            return x, ContinuousActions(np.full(x.size, -np.inf), np.full(x.size, np.inf))
        if np.isinf(given.low).all() and np.isinf(given.high).all():
            return x, given
        return clip(builder, x, given.low.reshape(x.shape), given.high.reshape(x.shape)), given
    t = builder.activation("tanh", x)
    if given is None:
        return t, ContinuousActions(np.full(x.size, -1.0), np.full(x.size, 1.0))
    half = (given.high - given.low) / 2
    if not np.isfinite(half).all():
        raise InputError("The policy squashes its actions to limits, and these are infinite; give finite ones.")
    wide = builder.scale(t, half.reshape(x.shape), roundings=1)
    return builder.add(wide, (given.low + half).reshape(x.shape)), given


def taken(builder: Builder, outputs: RawOutputs, actions: Actions | str) -> tuple[Tensor, Actions, tuple[str, ...]]:
    """What the network ends in, what that means, and notes; actions: what is known of them.

    Raises: InputError where what is known does not fit the number of outputs.
    """
    values = outputs.values
    if isinstance(actions, DiscreteActions) or actions == DISCRETE:
        count = actions.count if isinstance(actions, DiscreteActions) else values.size
        if count != values.size:
            raise InputError(
                f"There are {count} actions, and the policy gives {values.size} scores; they must be as many."
            )
        return values, DiscreteActions(count), outputs.notes
    known = actions if isinstance(actions, ContinuousActions) else None
    result, limits = limited(builder, outputs, known)
    notes = outputs.notes
    if known is None:
        scaled = (
            "its actions are in [-1, 1], not in the environment's units" if outputs.squashed else "none are applied"
        )
        notes = (*notes, f"no limits of its actions are known, and {scaled}: say actions=(low, high)")
    return result, limits, notes
