"""What is made of a network that nobody changes meanwhile: all blocks of rows share what one of them has moved."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from admm_verify.arrays import Placement
from admm_verify.network.graph import Network

Made = TypeVar("Made")

_kept: ContextVar[dict[int, tuple[object, dict[Hashable, Any]]] | None] = ContextVar("kept", default=None)
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
    """make(), or what it has returned before for the same owner and key while nobody changes that."""
    kept = _kept.get()
    if kept is None or id(owner) not in kept:
        return make()
    own = kept[id(owner)][1]
    if key not in own:
        own[key] = make()
    return own[key]
