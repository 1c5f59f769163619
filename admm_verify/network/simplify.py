"""Merging affine chains, so that affine nodes read the input, activations, or affine nodes that do not merge."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from admm_verify.network.compose import add, compose
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term, sources_of
from admm_verify.network.maps import FLUSHED, MERGE_UNDERFLOW, ROUNDED, DenseMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.signs import nonnegative_nodes
from admm_verify.run import Run, paced

_MANY_TERMS = 4
"""Terms from which a node that several read stays as it is: sums of sums would double their terms at every step."""

_REPEATED = 2**16
"""Entries up to which a matrix may have repeated rows."""


def simplify(network: Network, run: Run | None = None) -> Network:
    """The same function with affine chains merged, equal activations shared and dead nodes dropped.

    After it, every affine node reads the input, activations, or affine nodes that could not be merged into it: their
    maps do not compose, a convolution that several nodes read or that reads a sum would be computed several times, a
    large matrix would have its rows repeated, or entries are repeated for products, as those of the factors of a matrix
    product are, which are bounded before that.
    Parallel terms are added up where their maps allow it. Every activation reads an affine node, and the output is an
    affine node. Merged weights carry the magnitude of their chain, so certified bounds of the result are bounds of the
    original. The graph it was made from stays beside it, without dead nodes, as what the network computes.
    Raises: Stopped once the run, asked at every node, is over.
    """
    originals = alive(list(network.nodes), network.output)
    as_read = network.as_read or replace(network, nodes=originals)
    counts = Counter(source for node in originals for source in set(sources_of(node)))
    nodes: list[Node] = []
    place: dict[int, int] = {}
    readers: dict[int, int] = {}
    twins: dict[tuple[str, int, tuple[bytes, ...]], int] = {}
    paired, nonnegative = _paired(originals), nonnegative_nodes(originals)
    for i, node in paced(enumerate(originals)):
        if run is not None:
            run.check()
        if isinstance(node, Activation):
            source = _affine(place[node.source], nodes)
            key = (node.kind, source, tuple(np.asarray(numbers).tobytes() for numbers in node.parameters))
            if key not in twins:
                nodes.append(replace(node, source=source))
                twins[key] = len(nodes) - 1
            place[i] = twins[key]
        else:
            nodes.append(_merge(node, place, nodes, readers, i in paired) if isinstance(node, Affine) else node)
            place[i] = len(nodes) - 1
            readers[place[i]] = counts[i]
        made = nodes[place[i]]
        if nonnegative[i] and isinstance(made, Affine):
            nodes[place[i]] = replace(made, nonnegative=True)
    output = _affine(place[len(originals) - 1], nodes)
    return replace(network, nodes=alive(nodes, output), as_read=as_read)


def _paired(nodes: Sequence[Node]) -> set[int]:
    """The nodes that hold operands of products, or that only move entries on their way there."""
    found = {node.source for node in nodes if isinstance(node, Activation) and node.operands > 1}
    for i in range(len(nodes) - 1, 0, -1):
        node = nodes[i]
        if i in found and isinstance(node, Affine):
            found |= {term.source for term in node.terms if isinstance(term.map, SelectionMap)}
    return found


def _affine(index: int, nodes: list[Node]) -> int:
    """The index of an affine node with the value of the given node, appending an identity where needed."""
    node = nodes[index]
    if isinstance(node, Affine):
        return index
    zero = np.zeros(node.size)
    nodes.append(Affine((Term(index, SelectionMap.identity(node.size)),), zero, zero))
    return len(nodes) - 1


def _merge(node: Affine, place: dict[int, int], nodes: list[Node], readers: dict[int, int], paired: bool) -> Affine:
    """The affine node with every affine source replaced by that source's own terms, where they merge.

    paired: whether it holds the operands of products.
    """
    given: dict[int, list[LinearMap]] = {}
    for term in node.terms:
        _append(given.setdefault(place[term.source], []), term.map)
    merged = _Merged(node, nodes, readers, paired)
    hidden = [merged.add(part, index, len(parts) > 1) for index, parts in given.items() for part in parts]
    return merged.node(*_behind(node.peak_gain, node.peak_shift, hidden))


def read_through(node: Affine, nodes: Sequence[Node], through: Collection[int]) -> Affine:
    """The affine node reading what some of its sources read, affine nodes of the input, wherever their maps merge."""
    merged, hidden = _Merged(node, nodes, {}, False), []
    for term in node.terms:
        if term.source in through:
            hidden.append(merged.add(term.map, term.source, False))
        else:
            _append(merged.maps.setdefault(term.source, []), term.map)
    gain, shift = _behind(node.peak_gain, node.peak_shift, hidden)
    return replace(merged.node(gain, shift), nonnegative=node.nonnegative)


class _Merged:
    """The terms and the bias of an affine node while its sources are replaced."""

    def __init__(self, node: Affine, nodes: Sequence[Node], readers: Mapping[int, int], paired: bool) -> None:
        self.maps: dict[int, list[LinearMap]] = {}
        self.bias, self.magnitude = node.bias, node.bias_magnitude
        self._nodes, self._readers, self._paired = nodes, readers, paired

    def add(self, map: LinearMap, index: int, shared: bool) -> tuple[float, float]:
        """Add map x_index, through node `index` if it merges.

        shared: whether several nodes read what the map belongs to, so that x_index would be computed several times.
        Returns (gain, shift): values between merged parts stay within gain max|x_source| + shift.
        """
        source = self._nodes[index]
        shared = shared or self._readers.get(index, 1) > 1
        apart = self._paired and isinstance(map, SelectionMap) and map.repeats
        parts = _through(map, source, shared) if isinstance(source, Affine) and not apart else None
        if parts is None or not isinstance(source, Affine):
            _append(self.maps.setdefault(index, []), map)
            return 0.0, 0.0
        self._shift(map, source)
        below = [term.source for term in source.terms]
        # The merged node's own sum is part of the path too, where it adds anything.
        summed = len(below) + 1 if len(below) > 1 or np.any(np.asarray(source.bias_magnitude)) else 0
        hidden = [
            self.add(part.with_roundings(part.roundings + summed), i, shared or below.count(i) > 1)
            for i, part in zip(below, parts, strict=True)
        ]
        # Each row's sum of magnitudes bounds what the merged value, and every partial sum of it, can reach.
        rows = sum((term.map.magnitude_apply(np.ones(term.map.columns)) for term in source.terms), np.zeros(1))
        gain = max(source.peak_gain, float(np.max(rows)))
        shift = max(source.peak_shift, float(np.max(source.bias_magnitude)))
        return _behind(gain, shift, hidden)

    def node(self, gain: float, shift: float) -> Affine:
        """The node as it is now, which hides values within gain max|x_source| + shift."""
        terms = tuple(Term(index, part) for index, parts in sorted(self.maps.items()) for part in parts)
        return Affine(terms, self.bias, self.magnitude, gain, shift)

    def _shift(self, map: LinearMap, source: Affine) -> None:
        """Take the source's bias through the map."""
        before, moved = self.bias, map.apply(source.bias)
        self.bias = moved + before
        # A selection moves the bias without arithmetic; any other map may lose some of it to underflow.
        lost = 0.0 if isinstance(map, SelectionMap) else (map.columns + 1) * MERGE_UNDERFLOW
        # The roundings of the map count in the merged terms; a constant source leaves none.
        weight = 1.0 if source.terms else 2.0 * max(1, map.roundings)
        # What float32 flushes to zero in the source, the map may make large again.
        flushed = 0.0 if isinstance(map, SelectionMap) else FLUSHED
        size = weight * map.magnitude_apply(source.bias_magnitude + flushed) + self.magnitude + lost
        known = ((before == 0) | (moved == 0)) if isinstance(map, SelectionMap) else False
        self.magnitude = np.where(known, size, ROUNDED * size)


def _append(parallel: list[LinearMap], map: LinearMap) -> None:
    """Add a map to one of those that read the same source, or to their list where it adds to none."""
    for i, present in enumerate(parallel):
        total = add(present, map)
        if total is not None:
            parallel[i] = total
            return
    parallel.append(map)


def _through(map: LinearMap, source: Affine, shared: bool) -> list[LinearMap] | None:
    """The map composed with each of the source's maps; None where one does not merge, or where a convolution or many
    terms would be computed more often than before.
    """
    if shared and any(_is_convolution(term.map) for term in source.terms):
        return None
    if _is_convolution(map) and len(source.terms) > 1:
        return None
    if shared and len(source.terms) >= _MANY_TERMS:
        return None
    if isinstance(map, SelectionMap) and map.rows > source.size and any(_grows(map, term.map) for term in source.terms):
        return None
    parts = [compose(map, term.map) for term in source.terms]
    known = [part for part in parts if part is not None]
    return known if len(known) == len(parts) else None


def _grows(repeats: SelectionMap, map: LinearMap) -> bool:
    """Whether a matrix whose rows are repeated would take much more work than the matrix and the repetition."""
    return isinstance(map, DenseMap) and repeats.rows * map.columns > _REPEATED


def _is_convolution(map: LinearMap) -> bool:
    """Whether a map is too expensive to be applied several times."""
    return isinstance(map.inner if isinstance(map, TransposedMap) else map, ConvolutionMap)


def _behind(gain: float, shift: float, hidden: list[tuple[float, float]]) -> tuple[float, float]:
    """Bounds in terms of the sources that stay, from bounds in terms of sources that are bounded by `hidden`."""
    gains, shifts = [pair[0] for pair in hidden], [pair[1] for pair in hidden]
    reach = max(1.0, *gains) if gains else 1.0
    offset = max(0.0, *shifts) if shifts else 0.0
    return max([gain * reach, *gains]), max([gain * offset + shift, *shifts])


def alive(nodes: Sequence[Node], output: int) -> tuple[Node, ...]:
    """The nodes the output depends on, renumbered, the input always first and the output last."""
    needed = {0, output}
    for i in range(output, 0, -1):
        if i in needed:
            # What the network computes may read more than what is relaxed.
            needed.update(sources_of(nodes[i]), sources_of(nodes[i], computed=True))
    order = [*sorted(needed - {output}), output]
    renumbered = {old: new for new, old in enumerate(order)}
    return tuple(_renumber(nodes[old], renumbered) for old in order)


def _renumber(node: Node, renumbered: dict[int, int]) -> Node:
    return node if isinstance(node, Input) else node.reading(renumbered)
