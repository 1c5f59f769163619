"""What a splitting scheme is: start, step, and the multipliers and the primal point of a state."""

from typing import Protocol, TypeVar

from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import Duals, PerRow
from admm_verify.splitting.sweeps import DualPoint

State = TypeVar("State", bound=PerRow)


class Scheme(Protocol[State]):
    """One method of `solve`; the loop around it is written once, in `splitting/loop.py`.

    What a state holds per row can be dropped where the row is finished.
    """

    @property
    def passes(self) -> int:
        """Passes planned; one pass is one product with every W, or with every W'."""
        ...

    @property
    def stops_at_gap(self) -> bool:
        """Whether rows may leave at a check point; False for a scheme with a planned schedule."""
        ...

    @property
    def aims(self) -> bool:
        """False for a scheme that asks for feasibility alone: its rows have zero for an objective."""
        ...

    def start(self, rows: Rows, point: DualPoint) -> State:
        """The first state, from multipliers made of slopes."""
        ...

    def step(self, rows: Rows, state: State) -> State:
        """One iteration of two passes."""
        ...

    def multipliers(self, rows: Rows, state: State) -> Duals:
        """The best multipliers so far, to be certified."""
        ...

    def point(self, rows: Rows, state: State) -> PrimalPoint:
        """The current primal point, to be evaluated."""
        ...
