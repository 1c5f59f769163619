"""What `certify` tells."""

from dataclasses import dataclass, field

from admm_verify.report.records.record import Record
from admm_verify.robustness.certification import Certification
from admm_verify.sets.norm_names import NormName
from admm_verify.verdict import Answer


@dataclass(frozen=True)
class CertifiedRadius:
    """How many images have each answer at a radius, and the share that is verified."""

    radius: float
    certified_accuracy: float
    verified: int
    falsified: int
    unknown: int
    timed_out: int = field(metadata={"key": "timed-out"})


@dataclass(frozen=True)
class CounterexampleEntry:
    """An input that falsifies an image at some radii: exact numbers, flat in the order of the network's input."""

    radii: list[float]
    label: int
    prediction: int
    output: list[float]
    input: list[float]


@dataclass(frozen=True)
class CertifiedImage:
    """An image: its number, whether it is classified like its label, an answer and a margin per radius, and inputs that
    show what is falsified.
    """

    image: int
    correct: bool
    status: list[Answer]
    lower: list[float]
    counterexamples: list[CounterexampleEntry]

    @classmethod
    def of(cls, found: Certification, i: int) -> "CertifiedImage":
        """An image of a certification."""
        shown = {id(one): one for one in found.counterexamples[i] if one is not None}
        entries = [
            CounterexampleEntry(
                [float(r) for r, own in zip(found.radii, found.counterexamples[i], strict=True) if own is one],
                one.label,
                one.prediction,
                one.output.reshape(-1).tolist(),
                one.input.reshape(-1).tolist(),
            )
            for one in shown.values()
        ]
        return cls(i, bool(found.correct[i]), found.status[i].tolist(), found.lower[i].tolist(), entries)


@dataclass(frozen=True)
class CertifyRecord(Record):
    """Radius by radius and image by image.

    norm: of the balls. note: what was left out of the network, such as a softmax at its end.
    """

    SCHEMA = "admm_verify/certify"

    network: str
    norm: NormName
    radii: list[CertifiedRadius]
    clean_accuracy: float
    seconds: float
    images: list[CertifiedImage]
    note: str | None

    @classmethod
    def of(cls, network: str, found: Certification) -> "CertifyRecord":
        """The record of the images and radii of a network."""
        columns = found.radii, found.certified_accuracy, *(found.count(answer) for answer in Answer)
        radii = [CertifiedRadius(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        images = [CertifiedImage.of(found, i) for i in range(len(found.correct))]
        return cls(repr(found), network, found.norm, radii, found.clean_accuracy, found.seconds, images, found.note)
