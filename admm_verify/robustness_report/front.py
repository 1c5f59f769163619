"""`robustness_report`: accuracy clean, attacked and certified over radii, and how steep the network is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from admm_verify.arrays import Placement, to_numpy
from admm_verify.certificates.digests import arrays_digest, network_digest
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.memory import memory_errors
from admm_verify.network.graph import Network
from admm_verify.network.onnx_files import ModelSource
from admm_verify.options import instance
from admm_verify.robustness.certification import Certification
from admm_verify.robustness.certify import certified, compared, scores_of
from admm_verify.robustness.counterexample import Counterexample
from admm_verify.robustness.data_sets import images_and_labels
from admm_verify.robustness.instances import Instances
from admm_verify.robustness.settings import CertifySettings
from admm_verify.robustness_report.attacks import DISTORTION, GRADIENT, Assault, parts
from admm_verify.robustness_report.breaches import Breaches
from admm_verify.robustness_report.contradictions import rounded_over
from admm_verify.robustness_report.result import (
    AttackOutcome,
    ReportSource,
    ReportStep,
    RobustnessReport,
    smallest_changes,
)
from admm_verify.robustness_report.settings import ReportSettings
from admm_verify.robustness_report.steepness import Steepness, steepness_of
from admm_verify.run import Ended, Run
from admm_verify.verdict import Answer

Found = TypeVar("Found")

_ATTACKS, _CERTIFYING = 0.4, 0.85
"""Shares of the time that is left for the attacks together, and after them for `certify`."""

CERTIFY = "certify"
"""What the bounds' own counterexamples are called."""


@memory_errors()
def robustness_report(
    network: Network | ModelSource,
    inputs: Any,
    labels: Any,
    *,
    eps: Sequence[Any] | np.ndarray,
    norm: str | float | None = None,
    settings: ReportSettings | None = None,
    run: Run | None = None,
) -> RobustnessReport:
    """How accurate is a classifier on its images, on inputs near them that attacks find, and on all inputs near them?

    For every radius of eps, images count as clean, attacked and certified (`RobustnessReport`); attacks are PGD,
    Auto-PGD, the L-BFGS search for the nearest input of another class (`minimal_distortion`) and what `certify` finds
    itself. Certificates are those of `certify`, made without regard to what attacks found; an input in a certified ball
    that is given another class is a contradiction and raised. What is certified at a radius is so at smaller ones, and
    attacks go on at larger ones with what is not broken yet. Beside that: the smallest perturbations found, norms of
    the layers and Lipschitz constants in l2 and in the norm of the balls, and how many images these alone certify.

    network, inputs, labels: as for `certify`; eps: as its radii; norm: comes before that of settings. run: when it is
    over, what is known so far is returned, with its status.
    Shapes: inputs [images, *input_shape] or [images, inputs]; labels [images]; eps [radii], or as for `certify`.
    Units: radii in those of the images, before a normalisation by mean and std.
    Raises: ContradictionError where a certified image is broken by more than rounding; InputError for anything that
    does not fit, as `certify` does; DeviceError; MemoryError when not even one image fits.
    """
    own = Run.of(run)
    chosen = ReportSettings() if settings is None else instance(settings, ReportSettings, "settings")
    certifying = CertifySettings.of(chosen.certifying, norm)
    scores, note = scores_of(network, certifying)
    scores.check_finite()
    images, labels = images_and_labels(inputs, labels)
    instances = Instances.of(compared(scores, certifying), images, labels, _ascending(eps), certifying)
    names = _names(chosen, scores.output_size)
    text = repr(replace(chosen, certifying=certifying, classes=None))
    digests = network_digest(instances.network), arrays_digest([instances.images, instances.labels])
    source = ReportSource(scores.name, instances.near.norm, names, *digests, text, note)
    # Parts of the work watch the time, each for itself: what they have found by then is put together in any case.
    return _Reporting(source, scores, instances, chosen, certifying, own).report()


def _ascending(eps: Any) -> np.ndarray:
    """Radii, or rows of them, the smallest first; whatever is no list of numbers as it is, for others to refuse."""
    found = to_numpy(float64_array(eps, "list of radii"))
    if found.ndim == 1:
        return np.sort(found)
    sizes = found.reshape(len(found), -1).max(axis=1, initial=-np.inf) if found.ndim else found
    return found[np.argsort(sizes, kind="stable")] if found.ndim else found


def _names(settings: ReportSettings, classes: int) -> tuple[str, ...]:
    if settings.classes is None:
        return tuple(map(str, range(classes)))
    if len(settings.classes) != classes:
        raise InputError(f"There are {len(settings.classes)} names of classes; the network has {classes} outputs.")
    return tuple(settings.classes)


@dataclass(frozen=True, eq=False)
class _Reporting:
    """One report on its way."""

    source: ReportSource
    scores: Network
    instances: Instances
    settings: ReportSettings
    certifying: CertifySettings
    run: Run

    def report(self) -> RobustnessReport:
        """The parts one after the other, each with a share of the time."""
        settings, steps = self.settings, list[ReportStep]()
        correct = self._timed(steps, "clean", self.run, self._correct)
        assault = Assault.of(self.instances, correct, settings.rivals, settings.seed)
        attacks = self._attacked(assault, steps)
        shown = [one for attack in attacks for one in attack.nearest if one is not None]
        some = self.run if settings.steepness is None else self.run.within(_CERTIFYING)
        certification = self._timed(steps, CERTIFY, some, lambda run: self._certified(run, shown))
        attacks = (*attacks, self._own(correct, certification, steps[-1].seconds))
        steep: tuple[Steepness, ...] = ()
        if settings.steepness is not None:
            limited = Run.of(self.run, settings.steepness)
            steep = self._timed(steps, "Lipschitz constants", limited, self._steepness)
        return self._joined(correct, certification, attacks, steep, tuple(steps))

    def _timed(self, steps: list[ReportStep], name: str, run: Run, work: Callable[[Run], Found]) -> Found:
        began = time.monotonic()
        found = work(run)
        steps.append(ReportStep(name, time.monotonic() - began, run.ended() or Ended.COMPLETE))
        return found

    def _correct(self, _: Run) -> np.ndarray:
        """Which images are classified like their labels, each for itself where a batch says otherwise."""
        instances, host = self.instances, Placement.numpy()
        every = np.arange(len(instances.images))
        margin = np.concatenate(
            [instances.computed_margin(every[part], instances.images[part], host) for part in parts(instances)]
        )
        for i in np.flatnonzero(margin <= 0):
            if instances.counterexample(int(i), instances.images[i]) is None:
                margin[i] = instances.computed_margin(np.array([i]), instances.images[[i]], host)[0]
        return margin > 0

    def _attacked(self, assault: Assault, steps: list[ReportStep]) -> tuple[AttackOutcome, ...]:
        """All attacks, with equal shares of their time."""
        run, found = self.run.within(_ATTACKS), []
        works: dict[str, Callable[[Run], Breaches]] = {
            name: lambda own, name=name: assault.descend(name, own) for name in GRADIENT
        }
        works[DISTORTION] = assault.nearest
        for number, (name, work) in enumerate(works.items()):
            told = self._timed(steps, name, run.within(1.0 / (len(works) - number)), work)
            found.append(AttackOutcome(name, told.inputs, told.tried, tuple(told.nearest), seconds=steps[-1].seconds))
        return tuple(found)

    def _certified(self, run: Run, shown: Sequence[Counterexample]) -> Certification:
        return certified(self.instances, self.certifying, run, self.source.note, shown)

    def _own(self, correct: np.ndarray, certification: Certification, seconds: float) -> AttackOutcome:
        """What `certify` falsified, as of an attack."""
        breaches = Breaches(self.instances)
        for i in np.flatnonzero(correct):
            seen = {id(one): one for one in certification.counterexamples[i] if one is not None}
            points = [one.input.reshape(-1) for one in seen.values()]
            if points:
                breaches.absorb(np.full(len(points), i), np.stack(points), closer=not self.run.over())
        tried = (certification.status != Answer.TIMED_OUT) | ~correct[:, None]
        return AttackOutcome(CERTIFY, breaches.inputs, tried, tuple(breaches.nearest), seconds)

    def _steepness(self, run: Run) -> tuple[Steepness, ...]:
        """In l2 and in the norm of the balls."""
        found = []
        norms = dict.fromkeys(("l2", self.source.norm))
        if run.over():
            return ()
        margins = self._margins(run)
        for number, norm in enumerate(norms):
            run.say(f"Lipschitz constants, {norm}")
            share = run.within(1.0 / (len(norms) - number))
            found.append(steepness_of(self.scores, norm, margins, share))
        return tuple(found)

    def _margins(self, run: Run) -> np.ndarray:
        """Certified margins of the images themselves, [images]."""
        near = self.instances.near
        points = replace(near, radii=np.zeros(1), reach=np.zeros((1, 1)))
        cheap = CertifySettings(bounds="crown", max_passes=0, arithmetic=self.certifying.arithmetic)
        return certified(replace(self.instances, near=points), cheap, run.silent()).lower[:, 0]

    def _joined(
        self,
        correct: np.ndarray,
        certification: Certification,
        attacks: tuple[AttackOutcome, ...],
        steep: tuple[Steepness, ...],
        steps: tuple[ReportStep, ...],
    ) -> RobustnessReport:
        verified = certification.status == Answer.VERIFIED
        broken = np.any([attack.broken for attack in attacks], axis=0) | ~correct[:, None]
        rounded = self._rounded(verified, attacks, correct)
        self._compare(steep, attacks)
        kept = verified & ~rounded
        answered = np.all([attack.tried for attack in attacks], axis=0)
        return RobustnessReport(
            self.source,
            self.instances.radii,
            self.instances.labels,
            correct,
            broken,
            kept,
            rounded,
            ~broken & ~kept & ~answered,
            certification,
            attacks,
            smallest_changes(attacks, np.max(kept * self.instances.radii, axis=1), self.settings.examples),
            steep,
            steps,
            self.run.ended() or Ended.COMPLETE,
        )

    def _rounded(self, verified: np.ndarray, attacks: tuple[AttackOutcome, ...], correct: np.ndarray) -> np.ndarray:
        """What is certified and broken by rounding alone, with all larger radii, [images, radii].

        Raises: ContradictionError for what is broken otherwise.
        """
        rounded = verified & ~correct[:, None]
        for i in np.flatnonzero(rounded.any(axis=1)):
            found = self.instances.counterexample(int(i), self.instances.images[i])
            if found is not None:
                rounded_over(self.instances, found, 0.0, "the network itself", self.certifying.arithmetic)
        for attack in attacks:
            for i, k in np.argwhere(verified & attack.broken):
                radius, found = float(self.instances.radii[k]), attack.inputs.item((i, k))
                rounded_over(self.instances, found, radius, attack.name, self.certifying.arithmetic)
                rounded[i, k:] |= verified[i, k:]
        return rounded

    def _compare(self, steep: tuple[Steepness, ...], attacks: tuple[AttackOutcome, ...]) -> None:
        """Raises: ContradictionError where an input was found that a Lipschitz constant excludes."""
        for one in steep:
            if one.norm != self.source.norm:
                continue
            for attack in attacks:
                for found in attack.nearest:
                    if found is not None and found.distance < one.radii[found.image] * (1.0 - 1e-9):
                        radius = float(one.radii[found.image])
                        rounded_over(self.instances, found, radius, attack.name, self.certifying.arithmetic)
