"""What `transfer` tells."""

from dataclasses import dataclass

from admm_verify.report.records.record import Record
from admm_verify.robustness.transferred import TransferTable
from admm_verify.run import Ended


@dataclass(frozen=True)
class AttackedNetwork:
    """A network, its error rate on the images, and its adversarial examples.

    distortion: their mean; reached: the same where they are magnified. l2, predictions: for each image the distance of
    the nearest point found, 0 where the image is misclassified as it is and infinite where none was found, and the
    class there, -1 without one. note: what was left out of the network.
    """

    network: str
    clean_error: float
    examples: int
    failed: int
    distortion: float
    reached: float
    l2: list[float]
    predictions: list[int]
    note: str | None


@dataclass(frozen=True)
class TransferRecord(Record):
    """Adversarial examples of networks, tried on all of them, as `TransferTable` says it.

    errors, magnified: a row for each network's examples, an error rate for each network that is tried. noise: a row for
    each of the distortions `noisy`.
    """

    SCHEMA = "admm_verify/transfer"

    networks: list[AttackedNetwork]
    errors: list[list[float]]
    common: float
    magnified: list[list[float]]
    noisy: list[float]
    noise: list[list[float]]
    status: Ended
    seconds: float

    @classmethod
    def of(cls, found: TransferTable) -> "TransferRecord":
        """The record of a table."""
        columns = (part.tolist() for part in (found.clean, found.examples, found.distortion, found.reached))
        networks = [
            AttackedNetwork(
                name, clean, examples, one.failed, size, reached, one.l2.tolist(), one.predictions.tolist(), one.note
            )
            for name, one, clean, examples, size, reached in zip(found.names, found.found, *columns, strict=True)
        ]
        tables = (part.tolist() for part in (found.errors, found.magnified, found.noisy, found.noise))
        errors, magnified, noisy, noise = tables
        return cls(repr(found), networks, errors, found.common, magnified, noisy, noise, found.status, found.seconds)
