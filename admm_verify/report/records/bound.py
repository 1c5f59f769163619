"""What `bound` tells."""

from dataclasses import dataclass

from admm_verify.arrays import to_numpy
from admm_verify.properties.query import Query
from admm_verify.report.records.record import Record
from admm_verify.run import Ended
from admm_verify.splitting.solution import Solution


@dataclass(frozen=True)
class BoundedRow:
    """A row: the bound, the value of a point of the relaxation, what is between them, and why its iterations ended."""

    lower: float
    relaxation_upper: float
    gap: float
    status: Ended


@dataclass(frozen=True)
class BoundRecord(Record):
    """Bounds of a query's rows, in order; passes: the most that any row took."""

    SCHEMA = "admm_verify/bound"

    rows: list[BoundedRow]
    method: str
    passes: int
    seconds: float
    network: str
    query: str

    @classmethod
    def of(cls, query: Query, method: str, solution: Solution) -> "BoundRecord":
        """The record of a query's rows."""
        columns = (to_numpy(part).tolist() for part in (solution.lower, solution.relaxation_upper, solution.gap))
        rows = [BoundedRow(*row) for row in zip(*columns, solution.status, strict=True)]
        passes = int(to_numpy(solution.passes).max())
        return cls(solution.table(), rows, method, passes, solution.seconds, query.network.name, query.name)
