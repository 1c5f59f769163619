"""What is made of a network that nobody changes meanwhile: all blocks of rows share what one of them has moved."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock
from typing import Any, TypeVar

from admm_verify.arrays import Placement
from admm_verify.network.graph import Network

Made = TypeVar("Made")


class _MadeOnce:
    """What is made by whoever comes first; others wait for it."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._made: list[Any] = []

    def get(self, make: Callable[[], Any]) -> Any:
        with self._lock:
            if not self._made:
                self._made.append(make())
            return self._made[0]


_kept: ContextVar[dict[int, tuple[object, dict[Hashable, _MadeOnce]]] | None] = ContextVar("kept", default=None)
"""By the identity of what it is made of, which is held as well, so that no other object gets that identity."""


@contextmanager
def unchanging(network: Network) -> Iterator[None]:
    """Within, `moved` takes a network to a place once, and `made_once` keeps what it makes of the maps there."""
    outer = _kept.get() or {}
    token = _kept.set(outer if id(network) in outer else outer | {id(network): (network, {})})
    try:
        yield
    finally:
        _kept.reset(token)


def moved(network: Network, placement: Placement) -> Network:
    """The network in a place, the same one as before while it is unchanging."""
    found = made_once(network, placement, lambda: network.put(placement))
    kept = _kept.get()
    if kept is not None and id(network) in kept:
        kept.setdefault(id(found), (found, {}))
        for node in found.affine.values():
            for term in node.terms:
                kept.setdefault(id(term.map), (term.map, {}))
    return found


def made_once(owner: object, key: Hashable, make: Callable[[], Made]) -> Made:
    """make(), or what it has returned before for the same owner and key while nobody changes that.

    Of threads that want it at once one makes it, and the next tries where that one fails.
    """
    kept = _kept.get()
    if kept is None or id(owner) not in kept:
        return make()
    return kept[id(owner)][1].setdefault(key, _MadeOnce()).get(make)
