"""The network below a node without the neurons that contribute nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.bounds.region import Region, spread_region
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, sources_of
from admm_verify.network.maps import DenseMap, LinearMap
from admm_verify.relaxations.lines import Lines
from admm_verify.relaxations.registry import facts_of, lines_of
from admm_verify.sets.contract import InputSet


class Reduced:
    """The network below a target without the neurons that contribute nothing, grown layer by layer.

    A neuron inactive in every box has no output: where only matrices touch it, its row and columns are dropped.
    """

    def __init__(self, network: Network, inputs: InputSet) -> None:
        self.network, self.inputs = network, inputs
        self.nodes: list[Node] = [network.nodes[0]]
        self.kept: list[np.ndarray | None] = [None]
        self.bounds: list[tuple[Array, Array]] = []
        self._lines: list[Lines] = []

    def add_affine(self, node: Affine) -> None:
        """Append an affine node with all its rows; the activation that reads it may drop some."""
        self.nodes.append(self._narrowed(node, None))
        self.kept.append(None)

    def add_activation(self, k: int, lower: Array, upper: Array) -> None:
        """Append activation k with its bounds [boxes, n], dropping what is inactive in every box."""
        node = self.network.functions[k]
        used = self._useful(self.network.activations[k], node, upper)
        if used is not None:
            placement = Placement.of(lower)
            pick = placement.put_indices(used)
            lower, upper = (placement.xp.take(end, pick, axis=-1) for end in (lower, upper))
            self.nodes[node.source] = self._narrowed(self.network.affine[node.source], used)
            self.kept[node.source] = used
            node = replace(node, size=len(used))
        self.nodes.append(node)
        self.kept.append(used)
        self.bounds.append((lower, upper))

    def region(self, target: Affine) -> Region:
        """The region of all nodes so far with the target on top, leading axes [boxes, 1]."""
        network = Network((*self.nodes, self._narrowed(target, None)), self.network.input_shape, (target.size,))
        return self._spread(network, range(len(self.bounds)))

    def below(self, target: Affine) -> Region:
        """`region` without the nodes that the target does not depend on."""
        target = self._narrowed(target, None)
        needed = {0, *sources_of(target)}
        for i in range(len(self.nodes) - 1, 0, -1):
            if i in needed:
                needed.update(sources_of(self.nodes[i]))
        order = sorted(needed)
        places = {old: new for new, old in enumerate(order)}
        # What functions were rewritten from is nothing to bounds, and may read other nodes.
        nodes = [_renumbered(self.nodes[i], places) for i in order]
        network = Network((*nodes, _renumbered(target, places)), self.network.input_shape, (target.size,))
        known = enumerate(self.network.activations[: len(self.bounds)])
        return self._spread(network, [k for k, i in known if i in places])

    def _spread(self, network: Network, activations: Sequence[int]) -> Region:
        """The region of a network with some of the activations so far, whose lines all regions share."""
        for k in range(len(self._lines), len(self.bounds)):
            node = self.nodes[self.network.activations[k]]
            assert isinstance(node, Activation)
            self._lines.append(lines_of(node, *(end[:, None, :] for end in self.bounds[k])))
        lower, upper = (tuple(self.bounds[k][side] for k in activations) for side in (0, 1))
        region = spread_region(network, self.inputs, lower, upper)
        return replace(region, known=tuple(self._lines[k] for k in activations))

    def _useful(self, index: int, node: Activation, upper: Array) -> np.ndarray | None:
        """The neurons to keep, or None for all of them."""
        network = self.network
        # A GPU would be waited for, and has time for all of them.
        if Placement.of(upper).on_gpu:
            return None
        if not facts_of(node).rectifies or index == network.output or len(network.readers[node.source]) > 1:
            return None
        read = [network.affine[i].terms for i in network.readers[index] if i in network.affine]
        around = [*network.affine[node.source].terms, *(t for terms in read for t in terms if t.source == index)]
        # Matrices with few entries would lose more by the copy than products gain.
        if not all(isinstance(term.map, DenseMap) and not term.map.is_sparse for term in around):
            return None
        xp = namespace(upper)
        inactive = to_numpy(xp.all(upper <= 0, axis=0))
        # At least one neuron stays, so that no array is empty.
        useful = np.flatnonzero(~inactive) if not inactive.all() else np.zeros(1, dtype=np.int64)
        return useful if len(useful) < node.size else None

    def _narrowed(self, node: Affine, rows: np.ndarray | None) -> Affine:
        """The node's given rows over the sources as they are kept."""
        pairs = [(term, self.kept[term.source]) for term in node.terms]
        if rows is None and all(columns is None for _, columns in pairs):
            return node
        terms = tuple(replace(term, map=_submatrix(term.map, rows, columns)) for term, columns in pairs)
        if rows is None:
            return replace(node, terms=terms)
        pick = Placement.of(node.bias).put_indices(rows)
        xp = namespace(node.bias)
        bias, magnitude = xp.take(node.bias, pick, axis=0), xp.take(node.bias_magnitude, pick, axis=0)
        return replace(node, terms=terms, bias=bias, bias_magnitude=magnitude)


def _submatrix(map: LinearMap, rows: np.ndarray | None, columns: np.ndarray | None) -> LinearMap:
    if rows is None and columns is None:
        return map
    assert isinstance(map, DenseMap), "only matrices are narrowed"

    def cut(matrix: Array) -> Array:
        placement = Placement.of(matrix)
        for axis, pick in enumerate((rows, columns)):
            if pick is not None:
                matrix = placement.xp.take(matrix, placement.put_indices(pick), axis=axis)
        return matrix

    return DenseMap(cut(map.weight), None if map.magnitude is None else cut(map.magnitude), map.roundings)


def _renumbered(node: Node, places: Mapping[int, int]) -> Node:
    if isinstance(node, Input):
        return node
    return (replace(node, original=None) if isinstance(node, Affine) else node).reading(places)
