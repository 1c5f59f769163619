"""What `report` tells."""

from dataclasses import dataclass

import numpy as np

from admm_verify.report.records.record import Record
from admm_verify.robustness_report.result import AttackOutcome, RobustnessReport, SmallestChange
from admm_verify.robustness_report.steepness import Steepness
from admm_verify.run import Ended
from admm_verify.sets.norm_names import NormName


@dataclass(frozen=True)
class ReportedRadius:
    """Accuracies within a radius, and how many images are certified, broken by an attack, unknown, unfinished (unknown,
    and not worked on to the end) and certified in real numbers but of another class by rounding.
    """

    radius: float
    attacked_accuracy: float
    certified_accuracy: float
    certified: int
    broken: int
    unknown: int
    unfinished: int
    rounded: int


@dataclass(frozen=True)
class ReportedClass:
    """How many images have a label, and how many of them are clean, attacked and certified, the latter per radius."""

    name: str
    images: int
    clean: int
    attacked: list[int]
    certified: list[int]


@dataclass(frozen=True)
class ReportedAttack:
    """The accuracy that an attack alone leaves per radius, at how many images it went to its end, of how many images it
    found an input of another class anywhere, the mean root mean square change of the nearest ones, and its time.
    """

    name: str
    accuracy: list[float]
    finished: list[int]
    images: int
    distortion: float
    seconds: float


@dataclass(frozen=True)
class ReportedImage:
    """An image: its label, whether it is clean, the largest radius at which it is certified, 0 for none, the smallest
    at which it is broken, and the distance of the nearest input found that has another class, null for none.
    """

    image: int
    label: int
    correct: bool
    certified_radius: float
    broken_radius: float | None
    distance: float | None


@dataclass(frozen=True)
class ReportedChange:
    """One of the smallest perturbations: the image, its label, the class that the input is given, the distance of both
    and the attack that found it; both inputs as exact numbers, flat.
    """

    image: int
    label: int
    prediction: int
    distance: float
    attack: str
    original: list[float]
    input: list[float]

    @classmethod
    def of(cls, one: SmallestChange) -> "ReportedChange":
        """One of a report's."""
        found = one.found
        points = found.original.reshape(-1).tolist(), found.input.reshape(-1).tolist()
        return cls(found.image, found.label, found.prediction, found.distance, one.attack, *points)


@dataclass(frozen=True)
class ReportedLayer:
    """A layer: what it is, its certified norm, and one that is attained, null for none."""

    node: int
    kind: str
    upper: float
    lower: float | None


@dataclass(frozen=True)
class ReportedSteepness:
    """Norms of the layers and their product, the certified and the attained Lipschitz constant, null where there was no
    time, and how many images these certify alone, per radius; null for other norms than that of the balls.
    """

    norm: NormName
    layers: list[ReportedLayer]
    product: float | None
    upper: float | None
    lower: float | None
    certified: list[int] | None

    @classmethod
    def of(cls, one: Steepness, report: RobustnessReport) -> "ReportedSteepness":
        """The steepness of a report in one norm."""
        layers = [] if one.layers is None else list(one.layers.layers)
        same = one.norm == report.source.norm
        return cls(
            one.norm,
            [ReportedLayer(layer.node, layer.kind, layer.upper, layer.lower) for layer in layers],
            None if one.layers is None else one.layers.product,
            None if one.constant is None else one.constant.upper,
            None if one.constant is None else one.constant.lower,
            np.sum(one.certified(report.radii), axis=0).tolist() if same else None,
        )


@dataclass(frozen=True)
class ReportedStep:
    """A part of the work, how long it took and how it ended."""

    name: str
    seconds: float
    status: Ended


@dataclass(frozen=True)
class ReportRecord(Record):
    """A robustness report in numbers. network_digest, data_digest: SHA-256 of the network as read, and of images and
    labels as it is given them.
    """

    SCHEMA = "admm_verify/report"

    network: str
    norm: NormName
    status: Ended
    clean_accuracy: float
    radii: list[ReportedRadius]
    classes: list[ReportedClass]
    attacks: list[ReportedAttack]
    images: list[ReportedImage]
    examples: list[ReportedChange]
    steepness: list[ReportedSteepness]
    steps: list[ReportedStep]
    network_digest: str
    data_digest: str
    settings: str
    note: str | None

    @classmethod
    def of(cls, report: RobustnessReport) -> "ReportRecord":
        """The record of a report."""
        source = report.source
        return cls(
            repr(report),
            source.network,
            source.norm,
            report.status,
            report.clean_accuracy,
            [_radius(report, k) for k in range(len(report.radii))],
            [_class(report, label) for label in np.unique(report.labels).tolist()],
            [_attack(report, attack) for attack in report.attacks],
            [_image(report, i) for i in range(len(report.labels))],
            [ReportedChange.of(one) for one in report.examples],
            [ReportedSteepness.of(one, report) for one in report.steepness],
            [ReportedStep(step.name, step.seconds, step.status) for step in report.steps],
            source.network_digest,
            source.data_digest,
            source.settings,
            source.note,
        )


def _radius(report: RobustnessReport, k: int) -> ReportedRadius:
    kinds = report.certified, report.broken, report.unknown, report.unfinished, report.rounded
    counts = (int(np.sum(found[:, k])) for found in kinds)
    accuracies = float(report.attacked_accuracy[k]), float(report.certified_accuracy[k])
    return ReportedRadius(float(report.radii[k]), *accuracies, *counts)


def _class(report: RobustnessReport, label: int) -> ReportedClass:
    images, clean, attacked, certified = report.of_class(label)
    return ReportedClass(report.source.classes[label], images, clean, attacked.tolist(), certified.tolist())


def _attack(report: RobustnessReport, attack: AttackOutcome) -> ReportedAttack:
    finished = np.sum(attack.tried, axis=0).tolist()
    count = sum(one is not None for one in attack.nearest)
    accuracy = report.attacked_by(attack).tolist()
    return ReportedAttack(attack.name, accuracy, finished, count, attack.distortion, attack.seconds)


def _image(report: RobustnessReport, i: int) -> ReportedImage:
    found = [attack.nearest[i] for attack in report.attacks]
    broken = report.radii[report.broken[i]]
    return ReportedImage(
        i,
        int(report.labels[i]),
        bool(report.correct[i]),
        float(np.max(report.radii[report.certified[i]], initial=0.0)),
        float(broken[0]) if len(broken) else None,
        min((one.distance for one in found if one is not None), default=None),
    )
