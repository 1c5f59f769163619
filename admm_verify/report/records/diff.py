"""What `diff` tells."""

from dataclasses import dataclass

from admm_verify.differential.difference import Difference
from admm_verify.differential.equivalence import Disagreement, Equivalence
from admm_verify.report.records.record import Record
from admm_verify.report.text import exact_text
from admm_verify.run import Ended
from admm_verify.verdict import Answer


@dataclass(frozen=True)
class OutputDifference:
    """The ends of an output's difference: certified `lower` and `upper`, attained `least` and `greatest` between."""

    output: int
    lower: float
    least: float
    greatest: float
    upper: float
    status: Ended


@dataclass(frozen=True)
class DisagreementEntry:
    """An input at which the networks are not equivalent, flat, and what both compute there.

    exact_input: coordinates as decimals or fractions that say exactly the point of the set.
    """

    input: list[float]
    exact_input: list[str]
    first: list[float]
    second: list[float]

    @classmethod
    def of(cls, found: Disagreement) -> "DisagreementEntry":
        """The entry of a disagreement."""
        flat = (part.reshape(-1).tolist() for part in (found.input, found.first, found.second))
        point, first, second = flat
        return cls(point, [exact_text(value) for value in found.exact], first, second)


@dataclass(frozen=True)
class ComparedSet:
    """A set of inputs: its number, and an answer where a criterion was given, else the differences of the outputs."""

    set: int
    answer: Answer | None = None
    disagreement: DisagreementEntry | None = None
    outputs: list[OutputDifference] | None = None


@dataclass(frozen=True)
class DiffRecord(Record):
    """Two networks set by set.

    criterion: in which sense they are equivalent or not, in words; None where their difference was asked for. notes:
    where they are not compared layer by layer, and what was left out of them, and why.
    """

    SCHEMA = "admm_verify/diff"

    first: str
    second: str
    criterion: str | None
    sets: list[ComparedSet]
    subproblems: int
    notes: list[str]
    seconds: float

    @classmethod
    def of(cls, first: str, second: str, found: Difference | Equivalence) -> "DiffRecord":
        """The record of two networks by their names."""
        if isinstance(found, Difference):
            words, sets = None, [ComparedSet(s, outputs=_outputs(found, s)) for s in range(len(found.lower))]
            parts = found.subproblems
        else:
            words, parts = found.criterion.words, int(found.subproblems.sum())
            pairs = zip(found.answer, found.disagreements, strict=True)
            sets = [
                ComparedSet(s, answer, None if one is None else DisagreementEntry.of(one))
                for s, (answer, one) in enumerate(pairs)
            ]
        return cls(repr(found), first, second, words, sets, parts, list(found.notes), found.seconds)


def _outputs(found: Difference, s: int) -> list[OutputDifference]:
    ends = (part[s].tolist() for part in (found.lower, found.least, found.greatest, found.upper))
    return [OutputDifference(*row) for row in zip(found.outputs, *ends, found.status[s], strict=True)]
