"""What a splitting scheme is: start, step, and the multipliers and the primal point of a state."""

from dataclasses import fields, is_dataclass
from typing import Any, Protocol, TypeVar

from admm_verify.arrays import Array, namespace
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.vector import Vector

State = TypeVar("State")


class Scheme(Protocol[State]):
    """One method of `solve`; the loop around it is written once, in `splitting/loop.py`.

    A state is a frozen dataclass whose arrays all have one entry per row, so that finished rows can be dropped.
    """

    @property
    def passes(self) -> int:
        """Passes planned; one pass is one product with every W, or with every W'."""
        ...

    @property
    def stops_at_gap(self) -> bool:
        """Whether rows may leave at a check point; False for a scheme with a planned schedule."""
        ...

    def start(self, rows: Rows, slopes: list[Array]) -> State:
        """The first state, from lower slopes."""
        ...

    def step(self, rows: Rows, state: State) -> State:
        """One iteration of two passes."""
        ...

    def multipliers(self, rows: Rows, state: State) -> list[Array]:
        """The best multipliers so far, to be certified."""
        ...

    def point(self, rows: Rows, state: State) -> PrimalPoint:
        """The current primal point, to be evaluated."""
        ...


def take_state(state: State, rows: Array) -> State:
    """The state of the given rows only."""
    assert is_dataclass(state)
    taken = {field.name: _take(getattr(state, field.name), rows) for field in fields(state)}
    return type(state)(**taken)


def _take(value: Any, rows: Array) -> Any:
    if isinstance(value, Vector):
        return value.take(rows)
    if isinstance(value, list):
        return [_take(part, rows) for part in value]
    return namespace(value).take(value, rows, axis=0) if hasattr(value, "shape") else value
