"""What `check` tells."""

from dataclasses import dataclass

from admm_verify.certificates.check import Report
from admm_verify.properties.query import Query
from admm_verify.report.records.record import Record


@dataclass(frozen=True)
class CheckRecord(Record):
    """Whether a certificate proves a query, and if not, why; None: for want of a certificate nothing was found out.

    digests: SHA-256 of what was read. leaves: those that were checked; worst: the smallest margin among them.
    """

    SCHEMA = "admm_verify/check"

    proved: bool
    exact: bool
    query: str
    network: str
    reason: str
    arithmetic: str | None = None
    query_digest: str | None = None
    network_digest: str | None = None
    leaves: int | None = None
    worst: float | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, query: Query, exact: bool, found: Report | str) -> "CheckRecord":
        """The record of what was found about a query's certificate, or of why it cannot be read."""
        names = query.name, query.network.name
        if isinstance(found, str):
            return cls("not-proved", False, exact, *names, found)
        text = "not-proved"
        if found.proved:
            numbers = ", in exact numbers" if exact else ""
            told = zip(("query", "network"), names, (found.query, found.network), strict=True)
            lines = [f"{what} {name}, SHA-256 of what was read {digest}" for what, name, digest in told]
            head = f"in {found.arithmetic} arithmetic, with {found.leaves} leaves{numbers}"
            text = "\n".join(["proved", head, *lines])
        return cls(
            text,
            found.proved,
            exact,
            *names,
            found.reason,
            found.arithmetic,
            found.query,
            found.network,
            found.leaves,
            found.worst,
            found.seconds,
        )
