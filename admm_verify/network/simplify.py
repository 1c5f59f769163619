"""Merging affine chains, so that every affine node reads the input or an activation only."""

from dataclasses import replace

import numpy as np

from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.maps import MERGE_UNDERFLOW, LinearMap, SelectionMap, add, compose


def simplify(network: Network) -> Network:
    """The same function with affine chains merged, equal activations shared and dead nodes dropped.

    After it, every affine node reads the input or activations, every activation reads an affine node, and the output
    is an affine node. Merged weights carry the magnitude of their chain, so certified bounds of the result are bounds
    of the original.
    """
    nodes: list[Node] = []
    place: dict[int, int] = {}
    twins: dict[tuple[str, int], int] = {}
    for i, node in enumerate(network.nodes):
        if isinstance(node, Activation):
            source = _affine(place[node.source], nodes)
            if (node.kind, source) not in twins:
                nodes.append(replace(node, source=source))
                twins[node.kind, source] = len(nodes) - 1
            place[i] = twins[node.kind, source]
        else:
            nodes.append(_merge(node, place, nodes) if isinstance(node, Affine) else node)
            place[i] = len(nodes) - 1
    output = _affine(place[network.output], nodes)
    return replace(network, nodes=_alive(nodes, output))


def _affine(index: int, nodes: list[Node]) -> int:
    """The index of an affine node with the value of the given node, appending an identity where needed."""
    node = nodes[index]
    if isinstance(node, Affine):
        return index
    zero = np.zeros(node.size)
    nodes.append(Affine((Term(index, SelectionMap.identity(node.size)),), zero, zero))
    return len(nodes) - 1


def _merge(node: Affine, place: dict[int, int], nodes: list[Node]) -> Affine:
    """The affine node with every affine source replaced by that source's own terms."""
    maps: dict[int, LinearMap] = {}
    bias, magnitude, gain, shift = node.bias, node.bias_magnitude, node.peak_gain, node.peak_shift
    for term in node.terms:
        source = nodes[place[term.source]]
        parts = [(place[term.source], term.map)]
        if isinstance(source, Affine):
            bias = term.map.apply(source.bias) + bias
            # A selection moves the bias without arithmetic; any other map may lose some of it to underflow.
            lost = 0.0 if isinstance(term.map, SelectionMap) else (term.map.columns + 1) * MERGE_UNDERFLOW
            magnitude = term.map.magnitude_apply(source.bias_magnitude) + magnitude + lost
            # Each row's sum of magnitudes bounds what the merged value, and every partial sum of it, can reach.
            rows = sum((part.map.magnitude_apply(np.ones(part.map.columns)) for part in source.terms), np.zeros(1))
            gain = max(gain, source.peak_gain, float(np.max(rows)))
            shift = max(shift, source.peak_shift, float(np.max(source.bias_magnitude)))
            sums = len(source.terms) + 1
            merged = [(inner.source, compose(term.map, inner.map)) for inner in source.terms]
            # The merged node's own sum is part of the path too.
            parts = [(index, part.with_roundings(part.roundings + sums)) for index, part in merged]
        for index, part in parts:
            maps[index] = add(maps[index], part) if index in maps else part
    return Affine(tuple(Term(index, part) for index, part in sorted(maps.items())), bias, magnitude, gain, shift)


def _alive(nodes: list[Node], output: int) -> tuple[Node, ...]:
    """The nodes the output depends on, renumbered, the input always first and the output last."""
    needed = {0, output}
    for i in range(output, 0, -1):
        if i in needed:
            needed.update(_sources(nodes[i]))
    order = [*sorted(needed - {output}), output]
    renumbered = {old: new for new, old in enumerate(order)}
    return tuple(_renumber(nodes[old], renumbered) for old in order)


def _sources(node: Node) -> list[int]:
    if isinstance(node, Affine):
        return [term.source for term in node.terms]
    return [] if isinstance(node, Input) else [node.source]


def _renumber(node: Node, renumbered: dict[int, int]) -> Node:
    if isinstance(node, Affine):
        return replace(node, terms=tuple(Term(renumbered[term.source], term.map) for term in node.terms))
    return node if isinstance(node, Input) else replace(node, source=renumbered[node.source])
