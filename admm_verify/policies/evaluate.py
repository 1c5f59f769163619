"""`evaluate_policy`: what a policy earns in an environment, what noise can take away, and what is certified."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from admm_verify.memory import memory_errors
from admm_verify.network.layout import per_entry
from admm_verify.options import instance
from admm_verify.policies.certification import PolicyCertification
from admm_verify.policies.certify_policy import certify_policy
from admm_verify.policies.deviation_bounds import DeviationBounds
from admm_verify.policies.evaluate_settings import EvaluateSettings
from admm_verify.policies.evaluation import PolicyEvaluation
from admm_verify.policies.noise import Noise
from admm_verify.policies.play.attacks import disturbance
from admm_verify.policies.play.environments import EnvironmentSource
from admm_verify.policies.play.episodes import Episodes, Lane, Playing, Visited
from admm_verify.policies.play.greedy import copies_alike
from admm_verify.policies.play.perturbations import Perturbations
from admm_verify.policies.policy import Policy
from admm_verify.policies.read import read_policy
from admm_verify.policies.settings import RadiusUnits
from admm_verify.policies.shipped_returns import certified_returns, returns_are_known
from admm_verify.run import Ended, Run, Stopped
from admm_verify.sets.norm_names import norm_name


@memory_errors()
def evaluate_policy(
    policy: Any,
    environment: Any,
    radii: Sequence[Any] | np.ndarray,
    *,
    settings: EvaluateSettings | None = None,
    run: Run | None = None,
) -> PolicyEvaluation:
    """What does a policy earn in an environment, with its observations as they are, and with noise of each radius?

    Episodes are played without noise, and again from the same beginnings under every attack at every radius, side by
    side; in every step an attack chooses what the policy sees from the ball {z : |(z - x) / r|_p <= 1} around the
    observation x, exactly, and the environment goes on from its true state. What attacks find is an estimate of the
    worst return, never a bound. Of observations met without noise it is certified that the action stays, as by
    `certify_policy`, or how far continuous ones move, as by `certify_deviation`. Where the dynamics are known here, the
    return of the first episodes under all noise is certified, as by `certified_return`.

    policy: a Policy, or what `read_policy` reads, such as a zip file of stable-baselines3.
    environment: the id of one of gymnasium (extra `rl`); an object with `reset` and `step` as these have, of which
    copies are played where it can be copied; or a function without arguments that makes such objects.
    run: once it is over, what is finished by then is returned.

    Shapes: radii [radii], or [radii, inputs] where features may change by different amounts.
    Units: radii as `settings.certifying.units` say: raw, or in standard deviations of the policy's normalisation.
    Raises: InputError for anything that does not fit, and where the environment fails; ModelError for files;
    MissingPackageError without gymnasium, or what its environment needs.
    """
    began = time.monotonic()
    run = Run.of(run)
    given = policy if isinstance(policy, Policy) else read_policy(policy)
    chosen = EvaluateSettings() if settings is None else instance(settings, EvaluateSettings, "settings")
    source = EnvironmentSource.of(environment, given)
    try:
        with run.watching():
            return _EvaluationRun.of(given, source, radii, chosen, run).found(began)
    finally:
        source.close()


@dataclass(frozen=True, eq=False)
class _EvaluationRun:
    """One evaluation on its way."""

    noise: Noise
    playing: Playing
    radii: Any
    settings: EvaluateSettings
    run: Run

    @classmethod
    def of(
        cls, policy: Policy, source: EnvironmentSource, radii: Any, settings: EvaluateSettings, run: Run
    ) -> "_EvaluationRun":
        """Everything checked before anything is played."""
        begun, observation = source.begin(0, settings.seed)
        source.end(begun)
        certifying, shape = settings.certifying, policy.network.input_shape
        noise = Noise.of(policy, source.interface.observations([observation]), radii, certifying)
        within = (-np.inf, np.inf) if certifying.within is None else certifying.within
        floor, ceiling = (per_entry(end, shape, "range within") for end in within)
        balls = Perturbations(norm_name(certifying.norm), noise.reach, floor, ceiling)
        return cls(noise, Playing(policy, source, balls, settings.steps, settings.seed), radii, settings, run)

    def found(self, began: float) -> PolicyEvaluation:
        """Play, certify, attack."""
        settings, playing, run = self.settings, self.playing, self.run
        visited = Visited(settings.states, settings.seed)
        clean = playing.play([Lane(e) for e in range(settings.episodes)], None, run, visited)
        certification = self._certified(visited, run.within(0.4))
        attacks, notes = self._attacks()
        some = run.within(0.6 if returns_are_known(playing, settings) else 1.0)
        parts = [self._attacked(name, some.within(1.0 / (len(attacks) - k))) for k, name in enumerate(attacks)]
        certified, more = certified_returns(playing, self.noise.reach, settings, run)
        certifying = settings.certifying
        # Parts of the work have shares of the time.
        cut = not all(part.finished.all() for part in (clean, *parts))
        return PolicyEvaluation(
            playing.policy.name,
            playing.source.name,
            playing.policy.is_discrete,
            norm_name(certifying.norm),
            RadiusUnits(certifying.units),
            self.noise.radii,
            self.noise.reach,
            clean,
            attacks,
            _together(parts, (len(self.noise.radii), settings.episodes)),
            certification,
            certified,
            run.ended() or (Ended.TIMED_OUT if cut else Ended.COMPLETE),
            time.monotonic() - began,
            (*playing.policy.notes, *playing.source.notes, *notes, *more),
        )

    def _attacks(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The attacks that can be played, and why others cannot."""
        source, names = self.playing.source, self.settings.attacks
        notes = []
        if not source.repeats:
            notes.append(
                f"The reset of {source.name} takes no seed and it cannot be copied: episodes under attack begin "
                "elsewhere than those without."
            )
        if "greedy" in names and not self._copies():
            names = tuple(name for name in names if name != "greedy")
            notes.append(f"{source.name} cannot be copied on its way: there is no greedy worst-case play.")
        return tuple(names), tuple(notes)

    def _copies(self) -> bool:
        """Whether the environment can be copied; where there is no time to find out, nothing is played anyway."""
        try:
            playing = self.playing
            return self.run.over() or copies_alike(playing.source, playing.policy, playing.seed)
        except Stopped:
            return True

    def _attacked(self, name: str, run: Run) -> Episodes:
        """All episodes at all radii under an attack, [radii, episodes]."""
        attack = disturbance(name, self.playing.policy.network.input_size, self.settings)
        shape = len(self.noise.radii), self.settings.episodes, attack.variants
        lanes = [Lane(e, row, v) for row in range(shape[0]) for e in range(shape[1]) for v in range(shape[2])]
        return self.playing.play(lanes, attack, run).shaped(*shape).worst

    def _certified(self, visited: Visited, run: Run) -> PolicyCertification | DeviationBounds | None:
        """What is certified of the actions at what was met, None where nothing was."""
        if not visited.kept:
            return None
        try:
            return certified_actions(self.playing.policy, visited.observations, self.radii, self.settings, run)
        except Stopped:
            return None


def certified_actions(
    policy: Policy, observations: np.ndarray, radii: Any, settings: EvaluateSettings, run: Run
) -> PolicyCertification | DeviationBounds:
    """Whether discrete actions stay the same under noise, and how far continuous ones move."""
    each = None if policy.is_discrete else settings.deviation_seconds
    limited = Run.of(run, None if each is None else each * len(observations))
    return certify_policy(policy, observations, radii, settings=settings.certifying, run=limited)


def _together(parts: Sequence[Episodes], shape: tuple[int, int]) -> Episodes:
    """The episodes of all attacks, [attacks, radii, episodes]."""
    if not parts:
        none = np.zeros((0, *shape))
        return Episodes(none, none.astype(int), none.astype(bool))
    return Episodes(
        np.stack([one.returns for one in parts]),
        np.stack([one.steps for one in parts]),
        np.stack([one.limited for one in parts]),
    )
