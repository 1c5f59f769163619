"""The region below some neurons without the entries of activations that these do not depend on.

In attention, a token's queries depend on a share of the products one layer below, and on all of them two layers below.
"""

from dataclasses import replace

import numpy as np

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.bounds.region import Region, build_region
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term, sources_of
from admm_verify.network.maps import DenseMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.run import paced

_LEAST = 2**11
"""Products from which leaving some out can pay; what images see is cut by windows."""

_SHARE = 0.5
"""Where more of an activation's entries are seen, it stays whole."""


def seen_region(region: Region, wanted: np.ndarray) -> Region:
    """The region on which the wanted neurons of its last node are the same functions, without what they do not see.

    The region itself where that is no less. Shapes: wanted [m].
    """
    network = region.network
    if all(node.size < _LEAST or node.operands == 1 for node in network.functions):
        return region
    masks = _seen(network, wanted, region.inputs.placement)
    kept = [np.flatnonzero(masks[i]) for i in network.activations]
    used: list[np.ndarray | None] = [
        # An activation that is not seen at all keeps an entry, so that no array is empty.
        (part if part.size else np.zeros(1, dtype=np.int64))
        if node.size >= _LEAST and len(part) <= _SHARE * node.size
        else None
        for part, node in zip(kept, network.functions, strict=True)
    ]
    if all(part is None for part in used):
        return region
    cut = _Narrower(network, used, region.inputs.placement)
    lower, upper = (
        tuple(_taken(end, cut.sources[k]) for k, end in enumerate(ends)) for ends in (region.lower, region.upper)
    )
    return replace(build_region(cut.network, region.inputs, lower, upper), caution=region.caution)


def _seen(network: Network, wanted: np.ndarray, placement: Placement) -> list[np.ndarray]:
    """Which entries of each node the wanted neurons of the last one depend on, by the magnitudes of all maps."""
    masks = [np.zeros(node.size, dtype=bool) for node in network.nodes]
    masks[-1][wanted] = True
    for i, affine, k in paced(reversed(network.steps)):
        if not masks[i].any():
            continue
        if affine is None:
            node = network.functions[k]
            masks[node.source] |= np.tile(masks[i], node.operands)
            continue
        ones = placement.put(masks[i].astype(np.float64)[None, :])
        for term in affine.terms:
            reached = to_numpy(term.map.magnitude_transpose(ones)) > 0
            # Masks of crops differ from crop to crop.
            masks[term.source] |= reached.reshape(-1, reached.shape[-1]).any(axis=0)
    return masks


class _Narrower:
    """A network with some activations cut to some of their entries; sources: of their inputs, None for all.

    Where a map cannot be cut, a selection before it puts the entries into their old places.
    """

    def __init__(self, network: Network, used: list[np.ndarray | None], placement: Placement) -> None:
        self.placement = placement
        self.nodes: list[Node] = []
        self.place: dict[int, int] = {}
        self.whole: dict[int, int] = {}
        self.used: dict[int, np.ndarray] = {}
        self.sources: list[np.ndarray | None] = []
        self.parents = network.nodes
        functions = iter(zip(network.functions, used, strict=True))
        for i, node in enumerate(network.nodes):
            if isinstance(node, Activation):
                self._activation(i, *next(functions))
            else:
                self.place[i] = self._append(self._reading(node) if isinstance(node, Affine) else node)
        self.network = Network(_read(self.nodes), network.input_shape, network.output_shape)

    def _append(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _activation(self, index: int, node: Activation, used: np.ndarray | None) -> None:
        if used is None:
            self.sources.append(None)
            self.place[index] = self._append(replace(node, source=self.place[node.source]))
            return
        entries = np.concatenate([used + node.size * k for k in range(node.operands)])
        self.sources.append(entries)
        source = self.parents[node.source]
        if isinstance(source, Affine) and all(isinstance(term.map, SelectionMap) for term in source.terms):
            terms = tuple(replace(term, map=self._rows(term.map, entries)) for term in source.terms)
            bias, magnitude = (_taken(part, entries) for part in (source.bias, source.bias_magnitude))
            place = self._append(self._reading(replace(source, terms=terms, bias=bias, bias_magnitude=magnitude)))
        else:
            place = self._append(self._selecting(self.place[node.source], entries, source.size))
        parameters = tuple(_taken(part, used) for part in node.parameters)
        self.place[index] = self._append(replace(node, source=place, size=len(used), parameters=parameters))
        self.used[index] = used

    def _reading(self, node: Affine) -> Affine:
        """An affine node that reads what is left of its sources."""
        terms = []
        for term in node.terms:
            used = self.used.get(term.source)
            part = None if used is None else self._columns(term.map, used)
            if used is None:
                terms.append(Term(self.place[term.source], term.map))
            elif part is not None:
                terms.append(Term(self.place[term.source], part))
            else:
                terms.append(Term(self._spread(term.source, used), term.map))
        return replace(node, terms=tuple(terms))

    def _spread(self, index: int, used: np.ndarray) -> int:
        """A node with the entries that are left of an activation in their old places, and zeros elsewhere."""
        if index not in self.whole:
            gather = np.full(self.parents[index].size, len(used))
            gather[used] = np.arange(len(used))
            self.whole[index] = self._append(self._selecting(self.place[index], gather, len(used)))
        return self.whole[index]

    def _selecting(self, place: int, gather: np.ndarray, size: int) -> Affine:
        """A node with entries of another one of some size; zero for the index behind its end."""
        zero = self.placement.put(np.zeros(len(gather)))
        return Affine((Term(place, SelectionMap.from_gather(gather, size).put(self.placement)),), zero, zero)

    def _rows(self, map: LinearMap, entries: np.ndarray) -> LinearMap:
        """Some rows of a selection."""
        assert isinstance(map, SelectionMap), "asked for no other"
        gather = to_numpy(map.gather)[entries]
        return SelectionMap.from_gather(gather, map.columns, map.roundings).put(self.placement)

    def _columns(self, map: LinearMap, used: np.ndarray) -> LinearMap | None:
        """Some columns of a map, whose other ones do not matter; None where they cannot be taken out."""
        if isinstance(map, DenseMap):
            pick = self.placement.put_indices(used)
            weight = self.placement.xp.take(map.weight, pick, axis=1)
            size = None if map.magnitude is None else self.placement.xp.take(map.magnitude, pick, axis=1)
            return DenseMap(weight, size, map.roundings)
        if isinstance(map, TransposedMap) and isinstance(map.inner, SelectionMap):
            return TransposedMap(self._rows(map.inner, used).with_roundings(map.roundings))
        if isinstance(map, SelectionMap):
            places = np.full(map.columns + 1, len(used))
            places[used] = np.arange(len(used))
            gather = places[to_numpy(map.gather)]
            return SelectionMap.from_gather(gather, len(used), map.roundings).put(self.placement)
        return None


def _read(nodes: list[Node]) -> tuple[Node, ...]:
    """The nodes that activations and the last one depend on, renumbered."""
    needed = {0, len(nodes) - 1, *(i for i, node in enumerate(nodes) if isinstance(node, Activation))}
    for i in range(len(nodes) - 1, 0, -1):
        if i in needed:
            needed.update(sources_of(nodes[i]))
    renumbered = {old: new for new, old in enumerate(sorted(needed))}
    return tuple(
        node if isinstance(node, Input) else node.reading(renumbered) for node in (nodes[old] for old in renumbered)
    )


def _taken(array: Array, entries: np.ndarray | None) -> Array:
    """Entries of an array's last axis; all of them for None."""
    placement = Placement.of(array)
    return array if entries is None else placement.xp.take(array, placement.put_indices(entries), axis=-1)
