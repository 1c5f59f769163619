"""What `evaluate_policy` tells: what a policy earns, what noise can take away, and what is certified."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from admm_verify.policies.certification import PolicyCertification
from admm_verify.policies.deviation_bounds import DeviationBounds
from admm_verify.policies.play.episodes import Episodes
from admm_verify.policies.settings import RadiusUnits
from admm_verify.robustness.certification import radius_name
from admm_verify.run import Ended
from admm_verify.sets.norm_names import NormName
from admm_verify.text_tables import table


@dataclass(frozen=True, eq=False, repr=False)
class PolicyEvaluation:
    """Returns of a policy in an environment, without noise, under attack, and certified, radius by radius.

    reach: how far each feature may change. clean: episodes without noise. attacks, attacked: of each attack the
    episodes from the same beginnings, of several variants the worst; what attacks find is an estimate: the worst return
    is no larger, and may be smaller. certification: of the actions at observations that were met without noise, or of
    how far they move where they are continuous; None where there is none. certified: lower bounds of the returns of
    episodes under all noise, NaN for none. ended: how this ended; episodes that were not finished by then are missing.
    notes: what was taken for granted, in words.

    Shapes: radii [radii], in the order given; reach [radii, inputs]; clean [episodes]; attacked [attacks, radii,
    episodes]; certified [radii, episodes].
    Units: returns are sums of rewards, undiscounted.
    """

    policy: str
    environment: str
    discrete: bool
    norm: NormName
    units: RadiusUnits
    radii: np.ndarray
    reach: np.ndarray
    clean: Episodes
    attacks: tuple[str, ...]
    attacked: Episodes
    certification: PolicyCertification | DeviationBounds | None
    certified: np.ndarray
    ended: Ended
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def clean_return(self) -> float:
        """Mean over the episodes without noise, NaN where none was finished."""
        return _mean(self.clean.returns)

    @cached_property
    def worst_found(self) -> np.ndarray:
        """The least return known of each episode at each radius, [radii, episodes], NaN where no attack was finished.

        No noise, and noise of a radius that is nowhere larger, are noise of this radius, too.
        """
        found = np.empty((len(self.radii), len(self.clean.returns)))
        for k in range(len(self.radii)):
            inside = (self.reach <= self.reach[k]).all(axis=1)
            own = self.attacked.returns[:, inside].reshape(-1, found.shape[1])
            least = np.fmin.reduce(own, axis=0, initial=np.nan)
            found[k] = np.where(np.isnan(least), np.nan, np.fmin(least, self.clean.returns))
        return found

    @property
    def attacked_return(self) -> np.ndarray:
        """Mean over episodes of the least return known at each radius, [radii]: an estimate of the worst case."""
        return np.array([_mean(one) for one in self.worst_found])

    @property
    def certified_return(self) -> np.ndarray:
        """Mean of the certified lower bounds over the episodes that have one, [radii], NaN where none has."""
        return np.array([_mean(one) for one in self.certified])

    @property
    def attack_returns(self) -> np.ndarray:
        """Mean over finished episodes of every attack at every radius, [attacks, radii]."""
        return np.array([[_mean(one) for one in rows] for rows in self.attacked.returns]).reshape(-1, len(self.radii))

    @property
    def certified_ratio(self) -> np.ndarray | None:
        """Share of the observations at which the action is certified, [radii]; None for continuous actions, and where
        nothing was certified.
        """
        found = self.certification
        return found.certified_ratio if isinstance(found, PolicyCertification) else None

    def __repr__(self) -> str:
        """A line per radius, with all four numbers side by side; then what every attack found."""
        clean, worst = _told(self.clean.returns), self.worst_found
        rows = [
            [f"{radius:g}", clean, _told(worst[k]), kept, _told(self.certified[k])]
            for k, (radius, kept) in enumerate(zip(self.radii, self._certified_texts, strict=True))
        ]
        words = " (standard deviations)" if self.units is RadiusUnits.NORMALISED else ""
        what = "certified ratio" if self.discrete else "largest deviation: found, certified"
        head = ["clean return", "attacked return (estimate)", what, "certified return"]
        lines = [self._head, table([radius_name(self.norm) + words, *head], rows)]
        if self.attacks:
            means = [[f"{radius:g}", *map(_told, self.attacked.returns[:, k])] for k, radius in enumerate(self.radii)]
            lines += ["Mean return under each attack:", table([radius_name(self.norm) + words, *self.attacks], means)]
        return "\n".join([*lines, *self.notes])

    @property
    def _certified_texts(self) -> list[str]:
        """What is certified of the actions at each radius."""
        found = self.certification
        if isinstance(found, PolicyCertification):
            return [f"{ratio:.2%}" for ratio in found.certified_ratio]
        if isinstance(found, DeviationBounds):
            return [f"{low:.4g}, {high:.4g}" for low, high in found.mad.T]
        return ["none"] * len(self.radii)

    @property
    def _head(self) -> str:
        finished, steps = self.clean.finished, self.clean.steps
        count = int(finished.sum())
        played = f"{count} episodes" if count == len(finished) else f"{count} of {len(finished)} episodes"
        if finished.any():
            played += f" of {int(steps[finished].min())} to {int(steps[finished].max())} steps"
        states = 0 if self.certification is None else len(self.certification.actions)
        return (
            f"{self.policy} in {self.environment}: {played}, {states} observations certified, "
            f"{self.ended.value}, {self.seconds:.1f} s"
        )


def _mean(returns: np.ndarray) -> float:
    known = returns[~np.isnan(returns)]
    return float(known.mean()) if len(known) else float("nan")


def _told(returns: np.ndarray) -> str:
    """The mean, and of how many episodes it is where some are missing: those that ended early are finished first."""
    finished = int(np.sum(~np.isnan(returns)))
    return _number(_mean(returns)) + ("" if finished in (0, len(returns)) else f" ({finished} of {len(returns)})")


def _number(value: float) -> str:
    return "none" if np.isnan(value) else f"{value:.6g}"
