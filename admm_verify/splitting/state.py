"""Records of arrays with one entry per row, of which finished rows can be dropped."""

from dataclasses import dataclass, fields
from typing import Any, Self

from admm_verify.arrays import Array, namespace, select_rows
from admm_verify.bounds.backward import Backward
from admm_verify.splitting.problem import Rows


@dataclass(frozen=True, eq=False)
class PerRow:
    """A record whose arrays, alone, in lists and in records like it, have one entry per row; the rest is shared."""

    def take(self, rows: Array) -> Self:
        """The record of the given rows only."""
        return type(self)(**{field.name: _take(getattr(self, field.name), rows) for field in fields(self)})


@dataclass(frozen=True, eq=False)
class Incumbent(PerRow):
    """The best multipliers that a scheme has seen, and their dual value.

    Shapes: value [rows]; multipliers[k] [rows, n_k].
    """

    value: Array
    multipliers: list[Array]

    @classmethod
    def none(cls, rows: Rows) -> "Incumbent":
        """Nothing yet, which every value is better than."""
        return cls(rows.xp.full_like(rows.offset, -float("inf")), rows.neurons(0.0))

    def improved(self, value: Array, sweep: Backward) -> "Incumbent":
        """With a sweep's multipliers in the rows where its value is larger."""
        better = value > self.value
        multipliers = [
            old if g is None else select_rows(better, g, old)
            for g, old in zip(sweep.pre, self.multipliers, strict=True)
        ]
        return Incumbent(namespace(value).where(better, value, self.value), multipliers)


def _take(value: Any, rows: Array) -> Any:
    if isinstance(value, PerRow):
        return value.take(rows)
    if isinstance(value, list):
        return [_take(part, rows) for part in value]
    return namespace(value).take(value, rows, axis=0) if hasattr(value, "shape") else value
