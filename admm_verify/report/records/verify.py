"""What `verify` tells."""

from dataclasses import dataclass, field

from admm_verify.properties.query import Query
from admm_verify.report.records.record import Record
from admm_verify.report.text import exact_text
from admm_verify.verdict import Verdict
from admm_verify.verify import Outcome


@dataclass(frozen=True)
class RowBound:
    """The certified lower bound of an atom's value on its whole box."""

    lower: float


@dataclass(frozen=True)
class VerifyRecord(Record):
    """The answer to a query, as `Outcome` says it; without a network, it was not read to its end.

    exact_input: coordinates as decimals or fractions that say exactly them. note: what was left out of the network,
    such as a softmax at its end, so that rows are about the scores before it.
    """

    SCHEMA = "admm_verify/verify"

    verdict: Verdict
    seconds: float
    query: str
    unconfirmed: str | None = None
    counterexample: list[float] | None = None
    exact_input: list[str] | None = None
    output: list[float] | None = None
    rows: list[RowBound] = field(default_factory=list)
    undecided_disjuncts: int | None = None
    subproblems: int = 0
    lower: float | None = None
    network: str | None = None
    note: str | None = None

    @classmethod
    def of(cls, query: Query, outcome: Outcome) -> "VerifyRecord":
        """The record of a query's outcome."""
        found, output, exact = outcome.counterexample, outcome.output, outcome.exact_input
        return cls(
            outcome.verdict.value,
            outcome.verdict,
            outcome.seconds,
            query.name,
            outcome.unconfirmed,
            None if found is None else found.reshape(-1).tolist(),
            None if exact is None else [exact_text(value) for value in exact],
            None if output is None else output.reshape(-1).tolist(),
            [RowBound(low) for low in outcome.rows_lower.tolist()],
            outcome.undecided,
            outcome.subproblems,
            outcome.lower,
            query.network.name,
            query.note(),
        )
