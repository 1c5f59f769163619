"""Certified returns of the episodes that are played, where the environment is one whose dynamics are written out."""

from typing import Any

import numpy as np

from admm_verify.errors import InputError
from admm_verify.policies.evaluate_settings import EvaluateSettings
from admm_verify.policies.play.environments import EnvironmentSource
from admm_verify.policies.play.episodes import Playing
from admm_verify.policies.returns.certified_return import ReturnSettings, certified_return
from admm_verify.policies.returns.shipped import SHIPPED
from admm_verify.run import Run, Stopped

_OWN = "gymnasium.envs.classic_control."
"""The module of the environments that are written out, with nothing changed about them."""

_NOTE = (
    "Certified returns are of the network in real numbers and of dynamics that float64 computes: what the policy's own "
    "code rounds, and gymnasium's Pendulum, which rounds torques to float32, is no part of them."
)


def certified_returns(
    playing: Playing, reach: np.ndarray, settings: EvaluateSettings, run: Run
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Certified lower bounds of the returns of the first episodes at every radius, NaN where there is none; and notes.

    Noise of any norm lies in the box of its radii, and what limits it only takes away from it.

    Shapes: reach [radii, inputs] -> [radii, episodes].
    """
    found = np.full((len(reach), settings.episodes), np.nan)
    name, count = playing.source.name, min(settings.certified_episodes, settings.episodes)
    if not count:
        return found, ()
    if not is_shipped(playing.source):
        known = ", ".join(SHIPPED)
        return found, (
            f"No return is certified: of gymnasium's environments, the dynamics of {known} are written out.",
        )
    limit = SHIPPED[name]().limit
    chosen = ReturnSettings(steps=playing.steps if limit is None else min(limit, playing.steps))
    tasks = [(k, e) for e in range(count) for k in range(len(reach))]
    for number, (k, e) in enumerate(tasks):
        own = Run.of(run.within(1.0 / (len(tasks) - number)), settings.return_seconds)
        if own.over():
            break
        begun, _ = playing.source.begin(e, playing.seed)
        state = np.array(begun.unwrapped.state, dtype=np.float64)
        playing.source.end(begun)
        try:
            lower = certified_return(playing.policy, name, state, reach[k], settings=chosen, run=own).lower
        except Stopped:
            break
        except InputError as error:
            return found, (f"No return is certified: {error}",)
        found[k, e] = lower if lower > -np.inf else np.nan
    return _nested(found, reach), () if np.isnan(found).all() else (_NOTE,)


def returns_are_known(playing: Playing, settings: EvaluateSettings) -> bool:
    """Whether returns are to be certified, and can be."""
    return settings.certified_episodes > 0 and is_shipped(playing.source)


def is_shipped(source: EnvironmentSource) -> bool:
    """Whether an environment is one of those that are written out, and made here as gymnasium makes it by default."""
    if not source.registered or source.name not in SHIPPED:
        return False
    one: Any = source.first
    spec, limit = one.spec, SHIPPED[source.name]().limit
    plain = not spec.kwargs and not spec.additional_wrappers and spec.max_episode_steps == limit
    return plain and type(one.unwrapped).__module__.startswith(_OWN)


def _nested(found: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Bounds that also use those at radii that are nowhere smaller, whose noise holds this one."""
    best = np.empty_like(found)
    for k in range(len(reach)):
        wider = (reach >= reach[k]).all(axis=1)
        best[k] = np.fmax.reduce(found[wider], axis=0)
    return best
