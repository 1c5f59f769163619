"""What `robustness_report` returns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.errors import ContradictionError
from admm_verify.options import member
from admm_verify.robustness.certification import Certification, radius_name
from admm_verify.robustness.counterexample import Counterexample
from admm_verify.robustness_report.steepness import Steepness
from admm_verify.run import Ended
from admm_verify.sets.norm_names import NormName
from admm_verify.text_tables import table


@dataclass(frozen=True, eq=False)
class AttackOutcome:
    """What one attack did. inputs: of each ball that it broke an input of another class (`Counterexample`), else None;
    tried: the attack went to its end there; nearest: of each image the input that changed least, None for none.

    Shapes: inputs, tried [images, radii]; nearest [images].
    """

    name: str
    inputs: np.ndarray
    tried: np.ndarray
    nearest: tuple[Counterexample | None, ...]
    seconds: float

    @property
    def broken(self) -> np.ndarray:
        """Which balls it broke, [images, radii]."""
        return self.inputs.astype(bool)

    @property
    def distortion(self) -> float:
        """The mean of sqrt(sum_i (x'_i - x_i)^2 / n) over the nearest inputs x' of n numbers, NaN without one.

        Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, section 4.2.
        """
        found = [one for one in self.nearest if one is not None]
        changes = [(one.input.astype(np.float64) - one.original.astype(np.float64)).reshape(-1) for one in found]
        return float(np.mean([np.sqrt(np.mean(change * change)) for change in changes])) if changes else float("nan")


@dataclass(frozen=True)
class ReportStep:
    """A part of the work: its name, how long it took, and how it ended."""

    name: str
    seconds: float
    status: Ended


@dataclass(frozen=True)
class SmallestChange:
    """One of the smallest perturbations found, by which attack, and the largest radius at which the image is certified,
    0 for none.
    """

    found: Counterexample
    attack: str
    certified: float


@dataclass(frozen=True, eq=False)
class ReportSource:
    """What a report is about. network_digest, data_digest: SHA-256 of the network as read and of images and labels as
    the network is given them. classes: names. note: what was left out of the network. settings: in one line.
    """

    network: str
    norm: NormName
    classes: tuple[str, ...]
    network_digest: str
    data_digest: str
    settings: str
    note: str | None


@dataclass(frozen=True, eq=False, repr=False)
class RobustnessReport:
    """Accuracy of a classifier clean, attacked and certified within radii, and how steep it is.

    An image counts as clean where it is classified like its label; as attacked, at a radius, where it is clean and no
    attack nor `certify` found an input of the ball that has another class as computed; as certified where it is
    verified. What is certified in real numbers and has another class by rounding alone (rounded) is not counted as
    certified. Thus certified <= attacked <= clean, and both only fall as radii grow.

    Shapes: radii [radii], ascending; labels, correct [images]; broken, certified, rounded, unfinished [images, radii]:
    unfinished is what is neither broken nor certified and was not worked on to the end.
    Raises: ContradictionError for content that is not like this.
    """

    source: ReportSource
    radii: np.ndarray
    labels: np.ndarray
    correct: np.ndarray
    broken: np.ndarray
    certified: np.ndarray
    rounded: np.ndarray
    unfinished: np.ndarray
    certification: Certification
    attacks: tuple[AttackOutcome, ...]
    examples: tuple[SmallestChange, ...]
    steepness: tuple[Steepness, ...]
    steps: tuple[ReportStep, ...]
    status: Ended

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", member(self.status, "The status of the report", Ended))
        wrong = np.argwhere(self.certified & (self.broken | ~self.correct[:, None]))
        if len(wrong):
            i, k = wrong[0]
            raise ContradictionError(f"Image {i} is both certified and broken at radius {self.radii[k]:g}.")
        if (self.certified[:, 1:] > self.certified[:, :-1]).any() or (self.broken[:, 1:] < self.broken[:, :-1]).any():
            raise ContradictionError("An image is certified at a radius and not at a smaller one, or broken likewise.")

    @property
    def clean_accuracy(self) -> float:
        """Share of the images that are classified like their label."""
        return float(np.mean(self.correct))

    @property
    def attacked_accuracy(self) -> np.ndarray:
        """Share of all images that are classified like their label and that no attack broke, [radii]."""
        return np.mean(self.holding, axis=0)

    @property
    def certified_accuracy(self) -> np.ndarray:
        """Share of all images that are certified, [radii]."""
        return np.mean(self.certified, axis=0)

    @property
    def holding(self) -> np.ndarray:
        """Which images are clean and not broken, [images, radii]."""
        return self.correct[:, None] & ~self.broken

    @property
    def unknown(self) -> np.ndarray:
        """Which images are clean, not broken and not certified, [images, radii]."""
        return self.holding & ~self.certified

    def of_class(self, label: int) -> tuple[int, int, np.ndarray, np.ndarray]:
        """How many images have a label, how many of them are clean, attacked [radii] and certified [radii]."""
        own = self.labels == label
        counts = (np.sum(found[own], axis=0) for found in (self.holding, self.certified))
        attacked, certified = counts
        return int(np.sum(own)), int(np.sum(self.correct[own])), attacked, certified

    def attacked_by(self, attack: AttackOutcome) -> np.ndarray:
        """The accuracy that one attack alone leaves, [radii]."""
        return np.mean(self.correct[:, None] & ~attack.broken, axis=0)

    def __repr__(self) -> str:
        """A line per radius, and how steep the network is."""
        count = len(self.labels)
        rows = [
            [
                f"{radius:g}",
                f"{self.clean_accuracy:.2%}",
                f"{self.attacked_accuracy[k]:.2%}",
                f"{self.certified_accuracy[k]:.2%}",
                *(str(int(np.sum(found[:, k]))) for found in (self.unknown, self.unfinished, self.rounded)),
            ]
            for k, radius in enumerate(self.radii.tolist())
        ]
        head = [radius_name(self.source.norm), "clean", "attacked", "certified", "unknown", "unfinished", "rounded"]
        seconds = sum(step.seconds for step in self.steps)
        first = f"{self.source.network}: {count} images, {seconds:.1f} s, {self.status.value}"
        lines = [first, *([] if self.source.note is None else [self.source.note]), table(head, rows)]
        return "\n".join([*lines, *map(_steep, self.steepness)])


def _steep(one: Steepness) -> str:
    if one.constant is None:
        return f"{one.norm}: no Lipschitz constant in the time given"
    return f"{one.norm}: {one.constant.lower:.6g} <= Lipschitz constant <= {one.constant.upper:.6g}"


def smallest_changes(attacks: Sequence[AttackOutcome], certified: np.ndarray, most: int) -> tuple[SmallestChange, ...]:
    """The nearest input found for each image that is classified like its label, of the images that take least.

    Shapes: certified [images], the largest radius at which each image is certified, 0 for none.
    """
    best: dict[int, SmallestChange] = {}
    for attack in attacks:
        for one in attack.nearest:
            if one is not None and (one.image not in best or one.distance < best[one.image].found.distance):
                best[one.image] = SmallestChange(one, attack.name, float(certified[one.image]))
    return tuple(sorted(best.values(), key=lambda change: (change.found.distance, change.found.image))[:most])
