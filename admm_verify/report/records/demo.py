"""What `demo` tells."""

from dataclasses import dataclass

from admm_verify.report.records.record import Record
from admm_verify.verdict import Answer


@dataclass(frozen=True)
class DemoImage:
    """A digit: the certified bounds of its worst margin by method, what the relaxation leaves open, and the verdict."""

    label: int
    crown: float
    ascent: float
    admm: float
    gap: float
    verdict: Answer
    seconds: float


@dataclass(frozen=True)
class DemoCurves:
    """Mean distance of the certified bounds of an image to the best feasible values, by method and passes."""

    image: int
    passes: list[int]
    distance: dict[str, list[float]]


@dataclass(frozen=True)
class DemoRecord(Record):
    """Some digits, and how fast each method closes in on their worst margins."""

    SCHEMA = "admm_verify/demo"

    radius: float
    convergence: DemoCurves
    images: list[DemoImage]
