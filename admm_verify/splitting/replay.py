"""Iterations of a scheme, on a GPU as CUDA graphs where launching their kernels would take longer than running them."""

from dataclasses import fields, replace
from typing import Any, TypeVar

from admm_verify.arrays import Array, Placement
from admm_verify.backends.graphs import Replayed
from admm_verify.relaxations.triangle import Triangle
from admm_verify.sets.box import Box
from admm_verify.splitting.admm import AdmmState
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.scheme import Scheme
from admm_verify.splitting.state import PerRow

State = TypeVar("State", bound=PerRow)

_LARGEST = 2**25
"""Numbers of a state from which on a step takes longer than its launches: each is then read and written in some 30 us,
and a launch takes a few."""


class Iterations:
    """Iterations of one scheme over the same rows; other rows want other ones.

    The first step of a kind is computed, the second one captured, which takes as long; all others are launches of one
    graph. Graphs have no sizes to be padded to: with fewer rows a step is captured anew.
    """

    def __init__(self, scheme: Scheme, rows: Rows) -> None:
        self.scheme, self.rows = scheme, rows
        self._replays = _same_kernels(rows)
        self._replayed: Replayed | None = None
        self._computed: set[object] = set()

    def __call__(self, state: Any) -> Any:
        """The state after a step; of one that was replayed the next one overwrites the arrays."""
        if not self._replays or not isinstance(state, AdmmState):
            return self.scheme.step(self.rows, state)
        arrays = arrays_of(state)
        if state.kind not in self._computed or sum(map(_size, arrays)) > _LARGEST:
            self._computed.add(state.kind)
            return self.scheme.step(self.rows, state)
        if self._replayed is None:
            self._replayed = Replayed(arrays)
        self._replayed.hold(arrays)
        scheme, rows = self.scheme, self.rows
        if not self._replayed.step(state.kind, lambda held: arrays_of(scheme.step(rows, with_arrays(state, held)))):
            self._replays, self._replayed = False, None
            return scheme.step(rows, state)
        return replace(with_arrays(state, self._replayed.arrays), done=state.done + 1)


def arrays_of(state: Any) -> list[Array]:
    """The arrays of a state, of the records and lists in it too, in their order."""
    if isinstance(state, PerRow):
        return [array for field in fields(state) for array in arrays_of(getattr(state, field.name))]
    if isinstance(state, list):
        return [array for part in state for array in arrays_of(part)]
    return [state] if hasattr(state, "shape") else []


def with_arrays(state: State, arrays: list[Array]) -> State:
    """The state with other arrays in the places of its own, by their order."""
    left = iter(arrays)

    def put(part: Any) -> Any:
        if isinstance(part, PerRow):
            return replace(part, **{field.name: put(getattr(part, field.name)) for field in fields(part)})
        if isinstance(part, list):
            return [put(one) for one in part]
        return next(left) if hasattr(part, "shape") else part

    return put(state)


def _same_kernels(rows: Rows) -> bool:
    """Whether steps launch the same kernels whatever the numbers are, and the host looks at none."""
    plain = not rows.constrained and rows.squares is None and isinstance(rows.inputs, Box)
    return plain and Placement.of(rows.offset).on_gpu and all(isinstance(one, Triangle) for one in rows.relaxations)


def _size(array: Array) -> int:
    size = 1
    for length in array.shape:
        size *= length
    return size
