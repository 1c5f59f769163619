"""Open subproblems in growing arrays, the worst bound first."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from admm_verify.complete.tables import arrays_of, padded, take


@dataclass(frozen=True, eq=False)
class Nodes(ABC):
    """Subproblems, as NumPy arrays whose leading axes count them.

    disjunct: the disjunct it is part of. bound: the certified lower bound of the best atom; a disjunct is excluded
    where it is positive.
    """

    disjunct: np.ndarray
    bound: np.ndarray

    together = False
    """Whether those of one order belong together, and are taken out at once."""

    @property
    def order(self) -> np.ndarray:
        """The least ones come first, [n]."""
        return self.bound

    @property
    @abstractmethod
    def splittable(self) -> np.ndarray:
        """Where something is left to split."""


Kind = TypeVar("Kind", bound=Nodes)


_FREE, _OPEN, _OUT = 0, 1, 2
"""States of a slot."""


class Pool(Generic[Kind]):
    """Open subproblems, in slots.

    What is taken out stays here until `release` says that its parts are in: whatever fails in between, `put_back`
    undoes without needing any memory.
    """

    def __init__(self, nodes: Kind) -> None:
        self._held = nodes
        self._state = np.full(len(nodes.bound), _OPEN, dtype=np.int8)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._state))

    @property
    def lowest(self) -> float:
        """The least bound of all open subproblems, infinite where there are none."""
        return float(np.min(self._held.bound, where=self._state != _FREE, initial=np.inf))

    @property
    def disjuncts(self) -> np.ndarray:
        """The disjuncts of all open subproblems."""
        return self._held.disjunct[self._state != _FREE]

    @property
    def bytes(self) -> int:
        """Memory of one subproblem."""
        return sum(array[:1].nbytes for _, array in arrays_of(self._held))

    def all(self) -> Kind:
        """All open subproblems."""
        return take(self._held, self._state != _FREE)

    def pop(self, count: int, best: bool = False) -> Kind:
        """Take out those with the least bounds, or with the largest, which are about to be closed.

        count: of subproblems, those that belong together counted once.
        """
        index = np.flatnonzero(self._state == _OPEN)
        if self._held.together and len(index):
            count *= -(-len(index) // len(np.unique(self._held.order[index])))
        if count < len(index):
            order = -self._held.order[index] if best else self._held.order[index]
            chosen = np.argpartition(order, count)[:count]
            if self._held.together:
                chosen = np.flatnonzero(order <= order[chosen].max())
            index = np.sort(index[chosen])
        nodes = take(self._held, index)
        self._state[index] = _OUT
        return nodes

    def put_back(self) -> None:
        """Open again what was taken out."""
        self._state[self._state == _OUT] = _OPEN

    def release(self) -> None:
        """Give up what was taken out: its parts are in."""
        self._state[self._state == _OUT] = _FREE

    def push(self, nodes: Kind) -> None:
        """Put in subproblems, all or none."""
        count = len(nodes.bound)
        free = np.flatnonzero(self._state == _FREE)
        if len(free) < count:
            self._grow(count - len(free))
            free = np.flatnonzero(self._state == _FREE)
        changed = {}
        for name, array in arrays_of(self._held):
            new = getattr(nodes, name)
            wide = tuple(np.maximum(array.shape[1:], new.shape[1:]))
            held = padded(array, (len(array), *wide))
            held[free[:count]] = padded(new, (count, *wide))
            changed[name] = held
        self._held = replace(self._held, **changed)
        self._state[free[:count]] = _OPEN

    def _grow(self, least: int) -> None:
        more = max(least, len(self._state))
        grown = {name: padded(array, (len(array) + more, *array.shape[1:])) for name, array in arrays_of(self._held)}
        state = np.concatenate([self._state, np.full(more, _FREE, dtype=np.int8)])
        self._held, self._state = replace(self._held, **grown), state
