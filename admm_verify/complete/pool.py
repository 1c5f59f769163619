"""Open subproblems in growing arrays, the worst bound first."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Generic, TypeVar

import numpy as np


@dataclass(frozen=True, eq=False)
class Nodes:
    """Subproblems, as NumPy arrays whose leading axes count them.

    goal: the disjunct it is part of. bound: the certified lower bound of the best atom; a goal is excluded where it is
    positive.
    """

    goal: np.ndarray
    bound: np.ndarray

    @property
    def splittable(self) -> np.ndarray:
        """Where something is left to split."""
        raise NotImplementedError


Kind = TypeVar("Kind", bound=Nodes)


def take(nodes: Kind, index: np.ndarray) -> Kind:
    """The given subproblems, by numbers or by a mask."""
    return replace(nodes, **{name: array[index] for name, array in _arrays(nodes)})


def join(parts: Sequence[Kind]) -> Kind:
    """All parts as one, arrays padded with zeros to the widest."""
    joined = {}
    for name, first in _arrays(parts[0]):
        arrays = [first, *(getattr(part, name) for part in parts[1:])]
        wide = tuple(np.max([array.shape[1:] for array in arrays], axis=0).astype(int)) if first.ndim > 1 else ()
        joined[name] = np.concatenate([_padded(array, (len(array), *wide)) for array in arrays])
    return replace(parts[0], **joined)


class Pool(Generic[Kind]):
    """Open subproblems; slots of those taken out are used again."""

    def __init__(self, nodes: Kind) -> None:
        self._held = nodes
        self._open = np.ones(len(nodes.bound), dtype=bool)

    def __len__(self) -> int:
        return int(self._open.sum())

    @property
    def lowest(self) -> float:
        """The least bound of all open subproblems, infinite where there are none."""
        return float(np.min(self._held.bound, where=self._open, initial=np.inf))

    @property
    def bytes(self) -> int:
        """Memory of one subproblem."""
        return sum(array[:1].nbytes for _, array in _arrays(self._held))

    def all(self) -> Kind:
        """All open subproblems."""
        return take(self._held, self._open)

    def pop(self, count: int, best: bool = False) -> Kind:
        """Take out those with the least bounds, or with the largest, which are about to be closed."""
        index = np.flatnonzero(self._open)
        if count < len(index):
            bound = self._held.bound[index]
            order = np.argpartition(-bound if best else bound, count)
            index = np.sort(index[order[:count]])
        self._open[index] = False
        return take(self._held, index)

    def push(self, nodes: Kind) -> None:
        """Put in subproblems."""
        count = len(nodes.bound)
        free = np.flatnonzero(~self._open)
        if len(free) < count:
            self._grow(count - len(free))
            free = np.flatnonzero(~self._open)
        changed = {}
        for name, array in _arrays(self._held):
            new = getattr(nodes, name)
            wide = tuple(np.maximum(array.shape[1:], new.shape[1:]))
            held = _padded(array, (len(array), *wide))
            held[free[:count]] = _padded(new, (count, *wide))
            changed[name] = held
        self._held = replace(self._held, **changed)
        self._open[free[:count]] = True

    def _grow(self, least: int) -> None:
        more = max(least, len(self._open))
        grown = {name: _padded(array, (len(array) + more, *array.shape[1:])) for name, array in _arrays(self._held)}
        self._held = replace(self._held, **grown)
        self._open = np.concatenate([self._open, np.zeros(more, dtype=bool)])


def _arrays(nodes: Nodes) -> list[tuple[str, np.ndarray]]:
    return [(field.name, getattr(nodes, field.name)) for field in fields(nodes)]


def _padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in the corner of one of zeros; itself where it has that shape."""
    if array.shape == shape:
        return array
    wide = np.zeros(shape, dtype=array.dtype)
    wide[tuple(slice(0, size) for size in array.shape)] = array
    return wide
