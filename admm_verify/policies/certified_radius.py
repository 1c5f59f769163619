"""`certified_radii`: how much noise the action at each observation stands for certain, and how much it does not."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.memory import memory_errors
from admm_verify.policies.certification import ChangedAction
from admm_verify.policies.certify_actions import discrete_policy, own_actions
from admm_verify.policies.noise import Noise
from admm_verify.policies.settings import PolicySettings, RadiusUnits
from admm_verify.robustness.certification import Certification, radius_name
from admm_verify.robustness.certify import certified
from admm_verify.robustness.instances import Instances
from admm_verify.robustness.settings import CertifySettings
from admm_verify.run import Ended, Run
from admm_verify.sets.norm_names import NORMS, NormName
from admm_verify.text_tables import table
from admm_verify.verdict import Answer

_SMALLEST = 2.0**-40
"""Share of the largest radius below which an action is taken for one that stands no noise."""

_ROUNDED = 1.0 + 2.0**-48
"""More than the roundings of a length, or of a radius and the features' reaches at it, add to them."""


@dataclass(frozen=True, eq=False, repr=False)
class CertifiedRadii:
    """Observation by observation the radius r* up to which the action stays the same: certified <= r* <= attacked.

    attacked: the least radius at which an input is known where it does not stay, which `changes` holds; infinite, and
    None, where there is none up to `largest`. certified: 0 where nothing is. actions: what the policy does at the
    observations. reach: how far features may change at the radius `largest`, in raw units; at others as much less.
    ended: COMPLETE where certified is as near as the tolerance asks to the least radius that it could not certify.

    Shapes: certified, attacked, actions, changes (of `ChangedAction`) [observations]; reach [inputs].
    Units: radii in `units`, the largest over the features where these have their own.
    Error: what is certified are the features' reaches certified / largest * reach, as computed in float64; attacked is
    rounded up.
    """

    policy: str
    largest: float
    reach: np.ndarray
    actions: np.ndarray
    certified: np.ndarray
    attacked: np.ndarray
    changes: np.ndarray
    ended: Ended
    seconds: float
    norm: NormName = "linf"
    units: RadiusUnits = RadiusUnits.RAW
    note: str | None = None

    def __repr__(self) -> str:
        """Quantiles of both."""
        shares = (0.0, 0.1, 0.5, 0.9, 1.0)
        ends = self.certified, self.attacked
        # Of infinite numbers there is no mean between two.
        quantiles = [np.quantile(end, shares, method="inverted_cdf") for end in ends]
        rows = [
            [name, *(f"{q:.4g}" for q in row)] for name, row in zip(("certified", "attacked"), quantiles, strict=True)
        ]
        words = " (standard deviations)" if self.units is RadiusUnits.NORMALISED else ""
        head = f"{self.policy}: {len(self.certified)} observations, {self.seconds:.1f} s, {self.ended.value}"
        head += "" if self.note is None else f"\n{self.note}"
        return f"{head}\n{table([radius_name(self.norm) + words, *(f'{share:.0%}' for share in shares)], rows)}"


@memory_errors()
def certified_radii(
    policy: Any,
    observations: Any,
    largest: Any,
    *,
    norm: str | float | None = None,
    settings: PolicySettings | None = None,
    run: Run | None = None,
) -> CertifiedRadii:
    """For every observation the largest radius, up to `largest`, at which `certify_policy` certifies the action.

    By bisection, all observations in one batch per step, each with a radius of its own, until the certified radius and
    the least one that was not certified differ by `settings.tolerance` of the former. Inputs found on the way show how
    far the action stands at most.

    policy: as for `certify_policy`, with discrete actions. largest: a number, or one per feature, which all grow
    together. run: once it is over, what is known counts.
    Shapes: observations [observations, *observation] or [observations, inputs]; largest a number or [inputs].
    Units: as `settings.units` say: raw, or in standard deviations of the policy's normalisation.
    Raises: InputError for anything that does not fit; DeviceError; MemoryError when not even one observation fits.
    """
    began, run = time.monotonic(), Run.of(run)
    chosen = PolicySettings.of(settings, norm)
    if chosen.output is not None:
        raise InputError("certified_radii keeps no file of what is finished; leave the output out of its settings.")
    given, note = discrete_policy(policy, chosen)
    noise = Noise.of(given, observations, float64_array(largest, "largest radius")[None], chosen)
    if noise.radii[0] <= 0:
        raise InputError("The largest radius is 0; give one above.")
    certifying = chosen.certifying(given.network.input_size)
    instances = own_actions(given.network, noise.observations, noise.reach, certifying)
    search = _Bisection(instances, certifying, chosen.tolerance)
    while len(left := search.left) and not run.over():
        search.step(left, run)
    most = float(noise.radii[0])
    return CertifiedRadii(
        given.name,
        most,
        noise.reach[0],
        instances.labels,
        _certified(search.certified, most),
        search.attacked * most * _ROUNDED,
        search.changes,
        run.ended() or Ended.COMPLETE if len(search.left) else Ended.COMPLETE,
        time.monotonic() - began,
        instances.near.norm,
        RadiusUnits(chosen.units),
        note,
    )


def _certified(share: np.ndarray, most: float) -> np.ndarray:
    """Radii at which no feature reaches farther, as computed, than with its share, at which it was certified."""
    return np.where(share < 1.0, share * most / _ROUNDED, most)


class _Bisection:
    """Shares of the largest radius: certified, not certified, and attacked, for all observations side by side."""

    def __init__(self, instances: Instances, settings: CertifySettings, tolerance: float) -> None:
        self.instances, self.settings, self.tolerance = instances, settings, tolerance
        count = len(instances.images)
        self.certified, self.attacked = np.zeros(count), np.full(count, np.inf)
        self.changes = np.full(count, None, dtype=object)
        self._failed = np.full(count, np.inf)
        self._steps = np.zeros(count)

    @property
    def left(self) -> np.ndarray:
        """The observations whose radius is not known well enough."""
        known = np.where(self.certified > 0, self._failed <= self.certified * (1.0 + self.tolerance), False)
        return np.flatnonzero(~known & (self.certified < 1.0) & (self._failed > _SMALLEST))

    def step(self, numbers: np.ndarray, run: Run) -> None:
        """Certify some observations at a radius each."""
        share = self._next(numbers)
        found = certified(self.instances.shared(numbers, share), self.settings, run.silent())
        status = found.status[:, 0]
        verified, over = status == Answer.VERIFIED, status == Answer.TIMED_OUT
        self.certified[numbers[verified]] = share[verified]
        self._failed[numbers[~verified & ~over]] = share[~verified & ~over]
        self._steps[numbers] += 1
        self._changed(numbers, share, found)

    def _next(self, numbers: np.ndarray) -> np.ndarray:
        """Their next shares: all, then ever smaller ones until one is certified, then between what is and is not."""
        low, high = self.certified[numbers], np.minimum(self._failed[numbers], 1.0)
        down = high * 2.0 ** -(2.0 ** np.minimum(self._steps[numbers] - 1.0, 4.0))
        between = np.where(low > 0, np.sqrt(low * high), down)
        return np.where(self._steps[numbers] == 0, 1.0, between)

    def _changed(self, numbers: np.ndarray, share: np.ndarray, found: Certification) -> None:
        """Inputs at which the action changed: how far they are says more than within what they were found."""
        for p in np.flatnonzero(found.status[:, 0] == Answer.FALSIFIED):
            one, number = found.counterexamples[p, 0], int(numbers[p])
            length = min(float(share[p]), self._length(one.input.reshape(-1), one.original.reshape(-1)))
            if length < self.attacked[number]:
                change = ChangedAction.of(one)
                self.attacked[number], self.changes[number] = length, replace(change, observation=number)
            self._failed[number] = min(self._failed[number], length)

    def _length(self, point: np.ndarray, centre: np.ndarray) -> float:
        """|(point - centre) / largest reach|_p, rounded up."""
        reach = np.broadcast_to(self.instances.near.reach[0], point.shape)
        change = np.abs(point.astype(np.float64) - centre.astype(np.float64))
        moved = np.flatnonzero(change)
        if not len(moved):
            return 0.0
        return float(np.linalg.norm(change[moved] / reach[moved], NORMS[self.instances.near.norm])) * _ROUNDED
