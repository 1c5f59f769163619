"""Open subproblems in growing arrays, the worst bound first."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, eq=False)
class Nodes(ABC):
    """Subproblems, as NumPy arrays whose leading axes count them.

    disjunct: the disjunct it is part of. bound: the certified lower bound of the best atom; a disjunct is excluded
    where it is positive.
    """

    disjunct: np.ndarray
    bound: np.ndarray

    @property
    @abstractmethod
    def splittable(self) -> np.ndarray:
        """Where something is left to split."""


Kind = TypeVar("Kind", bound=Nodes)
Table = TypeVar("Table", bound="DataclassInstance")


def take(nodes: Table, index: np.ndarray) -> Table:
    """The given rows of a table, a dataclass of arrays, by numbers or by a mask."""
    return replace(nodes, **{name: array[index] for name, array in _arrays(nodes)})


def join(parts: Sequence[Table]) -> Table:
    """All parts as one, arrays padded with zeros to the widest."""
    joined = {}
    for name, first in _arrays(parts[0]):
        arrays = [first, *(getattr(part, name) for part in parts[1:])]
        wide = tuple(np.max([array.shape[1:] for array in arrays], axis=0).astype(int)) if first.ndim > 1 else ()
        joined[name] = np.concatenate([_padded(array, (len(array), *wide)) for array in arrays])
    return replace(parts[0], **joined)


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
        return sum(array[:1].nbytes for _, array in _arrays(self._held))

    def all(self) -> Kind:
        """All open subproblems."""
        return take(self._held, self._state != _FREE)

    def pop(self, count: int, best: bool = False) -> Kind:
        """Take out those with the least bounds, or with the largest, which are about to be closed."""
        index = np.flatnonzero(self._state == _OPEN)
        if count < len(index):
            bound = self._held.bound[index]
            order = np.argpartition(-bound if best else bound, count)
            index = np.sort(index[order[:count]])
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
        for name, array in _arrays(self._held):
            new = getattr(nodes, name)
            wide = tuple(np.maximum(array.shape[1:], new.shape[1:]))
            held = _padded(array, (len(array), *wide))
            held[free[:count]] = _padded(new, (count, *wide))
            changed[name] = held
        self._held = replace(self._held, **changed)
        self._state[free[:count]] = _OPEN

    def _grow(self, least: int) -> None:
        more = max(least, len(self._state))
        grown = {name: _padded(array, (len(array) + more, *array.shape[1:])) for name, array in _arrays(self._held)}
        state = np.concatenate([self._state, np.full(more, _FREE, dtype=np.int8)])
        self._held, self._state = replace(self._held, **grown), state


def _arrays(nodes: "DataclassInstance") -> list[tuple[str, np.ndarray]]:
    return [(field.name, getattr(nodes, field.name)) for field in fields(nodes)]


def _padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in the corner of one of zeros; itself where it has that shape."""
    if array.shape == shape:
        return array
    wide = np.zeros(shape, dtype=array.dtype)
    wide[tuple(slice(0, size) for size in array.shape)] = array
    return wide
