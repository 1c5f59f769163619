"""Two networks in one graph: a proof, node by node, that a joint graph holds both and the differences between them.

The graph may come from anywhere. By induction every node of it is found to be a node of f, one of f', or the difference
p' - p of two, in real numbers; a graph of which that cannot be shown is refused. Numbers of nodes of f and f' have to
be theirs; those of differences are compared with numbers of both, and charged for all that they are off by.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.certificates.forms import (
    charged_bias,
    charged_maps,
    is_copied_bias,
    is_copy,
    is_scaling,
    same,
    same_bias,
)
from admm_verify.errors import CertificateError
from admm_verify.network.graph import Activation, Affine, Network, Node, Term
from admm_verify.network.maps import LinearMap
from admm_verify.network.selection import SelectionMap

DIFFERENCES = {"relu_difference": "relu", "tanh_difference": "tanh", "sigmoid_difference": "sigmoid"}
"""Kinds of nodes phi(n, D, n') = h(n') - h(n), and the kind of h."""


@dataclass(frozen=True, order=True)
class NodeMeaning:
    """Node i of f, node j of f', or with both the difference of the latter and the former; -1 for none."""

    first: int = -1
    second: int = -1


Form = Mapping[NodeMeaning, Sequence[LinearMap]]
"""What an affine node reads, through which maps."""


@dataclass(frozen=True)
class OwnEntries:
    """Some consecutive entries of a node, those of another node."""

    start: int
    size: int
    meaning: NodeMeaning


def checked_pair(joint: Network, first: Sequence[Node], second: Sequence[Node]) -> Network:
    """The joint graph u -> [f; f'; f' - f] of two graphs of one input u, with all that its numbers can be off by in its
    magnitudes.

    Raises: CertificateError where a node cannot be shown to hold what is said.
    """
    found = _JointProof(first, second)
    for node in joint.nodes:
        found.take(node)
    size, last = first[-1].size, (len(first) - 1, len(second) - 1)
    ends = found.shown(NodeMeaning(last[0])), found.shown(NodeMeaning(-1, last[1])), found.shown(NodeMeaning(*last))
    wanted = [OwnEntries(k * size, size, end) for k, end in enumerate(ends) if end is not None]
    if found.blocks(joint.nodes[-1]) != wanted or joint.nodes[-1].size != 3 * size:
        hint = "" if found.unknown is None else f" Node {found.unknown} of it is none of theirs, and no difference."
        raise CertificateError(
            f"The joint graph cannot be shown to end in the outputs of both networks and their difference.{hint}"
        )
    return replace(joint, nodes=tuple(found.nodes), as_read=None)


def operands_alone(network: Network) -> dict[int, tuple[int, int]]:
    """For activations that are differences the activations that read n, and n', alone; entries are in one order.

    Those whose operands are not to be found are left out.
    """
    found = {}
    for k, node in enumerate(network.functions):
        source = network.nodes[node.source]
        if node.kind in DIFFERENCES and isinstance(source, Affine):
            ends = [_reader(network, source, start, node.size) for start in (0, 2 * node.size)]
            if None not in ends:
                found[k] = ends[0], ends[1]
    return found


def _reader(network: Network, source: Affine, start: int, size: int) -> int | None:
    """The activation that reads the node of which some entries of another one are those."""
    wanted = np.arange(size)
    for term in source.terms:
        if isinstance(term.map, SelectionMap) and np.array_equal(
            to_numpy(term.map.gather)[start : start + size], wanted
        ):
            whole = term.map.columns == size and not to_numpy(source.bias)[start : start + size].any()
            return network.sources.index(term.source) if whole and term.source in network.sources else None
    return None


class _JointProof:
    """The nodes of a joint graph so far, and what they mean.

    twins: nodes of f' with those of f that are the same function of the input. unknown: the first node without meaning.
    """

    def __init__(self, first: Sequence[Node], second: Sequence[Node]) -> None:
        self.graphs = first, second
        self.twins: dict[int, int] = {}
        self.forms: tuple[list[Form], list[Form]] = ([], [])
        self.forms[0].extend(self._form(node, 0) for node in first)
        for j, node in enumerate(second):
            self.forms[1].append(self._form(node, 1))
            twin = next((i for i, other in enumerate(first) if self._are_twins(i, other, j, node)), None)
            if twin is not None:
                self.twins[j] = twin
        self.nodes: list[Node] = []
        self.meanings: list[NodeMeaning | None] = []
        self.unknown: int | None = None

    def shown(self, meaning: NodeMeaning) -> NodeMeaning | None:
        """How a meaning is said here: twins are nodes of f, and have no difference."""
        twin = self.twins.get(meaning.second)
        if twin is None:
            return meaning
        if meaning.first < 0:
            return NodeMeaning(twin)
        return None if twin == meaning.first else meaning

    def take(self, node: Node) -> None:
        """Append a node of the joint graph."""
        meaning: NodeMeaning | None = None
        if isinstance(node, Affine):
            meaning, node = self._affine(node)
        elif isinstance(node, Activation):
            meaning = self._activation(node)
            # Of what is none of the networks' nothing is believed.
            node = replace(node, limits=None) if meaning is None else node
        elif not self.nodes and node == self.graphs[0][0] == self.graphs[1][0]:
            meaning = NodeMeaning(0)
        if meaning is None and self.unknown is None and self.blocks(node) is None:
            self.unknown = len(self.nodes)
        self.nodes.append(node)
        self.meanings.append(meaning)

    def blocks(self, node: Node) -> list[OwnEntries] | None:
        """The nodes whose entries an affine node holds one after the other, with zeros between them or not."""
        if not isinstance(node, Affine) or np.any(to_numpy(node.bias_magnitude)):
            return None
        found = []
        for term in node.terms:
            meaning, map = self.meanings[term.source], term.map
            if not isinstance(map, SelectionMap):
                return None
            used = np.flatnonzero(to_numpy(map.gather) < map.columns)
            if not len(used):
                continue
            whole = np.arange(map.columns)
            whole_node = len(used) == len(whole) and not (to_numpy(map.gather)[used] - whole).any()
            if meaning is None or not whole_node or (used - used[0] - whole).any():
                return None
            found.append(OwnEntries(int(used[0]), map.columns, meaning))
        found.sort(key=lambda block: block.start)
        return found if all(a.start + a.size <= b.start for a, b in pairwise(found)) else None

    def _form(self, node: Node, side: int) -> Form:
        """What a node of f or f' reads."""
        found: defaultdict[NodeMeaning, list[LinearMap]] = defaultdict(list)
        for term in node.terms if isinstance(node, Affine) else ():
            meaning = self.shown(_of_side(term.source, side))
            assert meaning is not None, "nodes of one network are no differences"
            found[meaning].append(term.map)
        return found

    def _are_twins(self, i: int, first: Node, j: int, second: Node) -> bool:
        if isinstance(first, Activation) and isinstance(second, Activation):
            return _same_function(first, second) and self.twins.get(second.source) == first.source
        if not isinstance(first, Affine) or not isinstance(second, Affine):
            return first == second
        one, two = self.forms[0][i], self.forms[1][j]
        if one.keys() != two.keys() or not same_bias(first, second):
            return False
        return all(len(one[k]) == len(two[k]) and all(map(same, one[k], two[k])) for k in one)

    def _activation(self, node: Activation) -> NodeMeaning | None:
        if node.kind in DIFFERENCES:
            return self._difference(node)
        source = self.meanings[node.source]
        for side, graph in enumerate(self.graphs):
            for k, other in enumerate(graph):
                if source is None or not isinstance(other, Activation) or not _same_function(node, other):
                    continue
                if self.shown(_of_side(other.source, side)) == source:
                    return self.shown(_of_side(k, side))
        return None

    def _difference(self, node: Activation) -> NodeMeaning | None:
        """phi(n, D, n') of n of f, n' of f' and their difference."""
        blocks, size = self.blocks(self.nodes[node.source]), node.size
        if blocks is None or [(block.start, block.size) for block in blocks] != [(k * size, size) for k in range(3)]:
            return None
        n, change, other = (block.meaning for block in blocks)
        if n.second >= 0 or other.first >= 0 or change != NodeMeaning(n.first, other.second):
            return None
        if node.parameters or node.limits is not None:
            return None
        ends = [-1, -1]
        for side, (graph, source) in enumerate(zip(self.graphs, (n.first, other.second), strict=True)):
            for k, one in enumerate(graph):
                if isinstance(one, Activation) and (one.kind, one.source) == (DIFFERENCES[node.kind], source):
                    ends[side] = k
        return None if min(ends) < 0 else NodeMeaning(*ends)

    def _affine(self, node: Affine) -> tuple[NodeMeaning | None, Affine]:
        """What an affine node is, and the node with all that it is off by."""
        # Nothing is believed of signs but what the networks know of them.
        plain = replace(node, nonnegative=False, original=None)
        form = self._read(node)
        if form is None:
            return None, plain
        maps = {key: [node.terms[t].map for t in terms] for key, terms in form.items()}
        for side in (0, 1):
            for k, own in enumerate(self.forms[side]):
                base = self.graphs[side][k]
                if isinstance(base, Affine) and _is_copy(node, maps, base, own):
                    return self.shown(_of_side(k, side)), replace(plain, nonnegative=base.nonnegative)
        meaning = _plain_difference(node, maps)
        if meaning is not None:
            return meaning, plain
        return self._nearest(plain, form)

    def _read(self, node: Affine) -> dict[NodeMeaning, list[int]] | None:
        """The terms of an affine node by what they read; None where one reads what has no meaning."""
        found: defaultdict[NodeMeaning, list[int]] = defaultdict(list)
        for t, term in enumerate(node.terms):
            meaning = self.meanings[term.source]
            if meaning is None:
                return None
            found[meaning].append(t)
        return found

    def _nearest(self, node: Affine, form: Mapping[NodeMeaning, Sequence[int]]) -> tuple[NodeMeaning | None, Affine]:
        """The difference of two affine nodes that this one is nearest to, if it is near to any."""
        bases = [
            [(k, base) for k, base in enumerate(graph) if isinstance(base, Affine) and base.size == node.size]
            for graph in self.graphs
        ]
        best: tuple[float, NodeMeaning | None, Affine] = np.inf, None, node
        for i, first in bases[0]:
            for j, second in bases[1]:
                targets = _targets(form, self.forms[0][i], self.forms[1][j])
                found = None if targets is None else _charged(node, form, targets)
                bias = charged_bias(node, first, second)
                if found is None or bias is None or found[0] + bias[0] >= best[0]:
                    continue
                best = found[0] + bias[0], NodeMeaning(i, j), replace(node, terms=found[1], bias_magnitude=bias[1])
        return best[1], best[2]


Target = tuple[list[LinearMap], list[LinearMap]]
"""Maps that are added, and those that are taken away."""


def _targets(form: Mapping[NodeMeaning, object], first: Form, second: Form) -> dict[NodeMeaning, Target] | None:
    """What W' a' - W a is in terms of what a node reads; None where it reads something else.

    Where that are differences z = a' - a, W' a' = W' z + W' a.
    """
    found: defaultdict[NodeMeaning, Target] = defaultdict(lambda: ([], []))
    for key, maps in second.items():
        pairs = [one for one in form if one.first >= 0 and one.second == key.second >= 0]
        if len(pairs) > 1:
            return None
        found[pairs[0] if pairs else key][0].extend(maps)
        if pairs:
            found[NodeMeaning(pairs[0].first)][0].extend(maps)
    for key, maps in first.items():
        found[key][1].extend(maps)
    return found if form.keys() <= found.keys() else None


def _charged(
    node: Affine, form: Mapping[NodeMeaning, Sequence[int]], targets: Mapping[NodeMeaning, Target]
) -> tuple[float, tuple[Term, ...]] | None:
    """What a node's maps are off by in all, and its terms with magnitudes that cover it; None for other maps."""
    terms, total = list(node.terms), 0.0
    for key, (plus, minus) in targets.items():
        left, taken = list(plus), list(minus)
        for map in plus:
            twin = next((other for other in taken if same(map, other)), None)
            if twin is not None:
                left.remove(map)
                taken.remove(twin)
        own = form.get(key, ())
        if not own:
            if left or taken:
                return None
            continue
        found = charged_maps([terms[t].map for t in own], left, taken)
        if found is None:
            return None
        total += found[0]
        for t, map in zip(own, found[1], strict=True):
            terms[t] = replace(terms[t], map=map)
    return total, tuple(terms)


def _is_copy(node: Affine, maps: Form, base: Affine, form: Form) -> bool:
    """Whether a node is one of the networks, or stands for it with errors that are no smaller."""
    if node.size != base.size or maps.keys() != form.keys() or not is_copied_bias(node, base):
        return False
    return all(len(maps[key]) == len(form[key]) and all(map(is_copy, maps[key], form[key])) for key in form)


def _plain_difference(node: Affine, maps: Form) -> NodeMeaning | None:
    """The difference of any two nodes where it is one less the other."""
    first = [key.first for key in maps if key.second < 0 and is_scaling(maps[key], -1.0)]
    second = [key.second for key in maps if key.first < 0 and is_scaling(maps[key], 1.0)]
    plain = len(maps) == 2 and len(first) == len(second) == 1 and not np.any(to_numpy(node.bias_magnitude))
    return NodeMeaning(first[0], second[0]) if plain else None


def _same_function(node: Activation, other: Activation) -> bool:
    if (node.kind, node.size, node.limits) != (other.kind, other.size, other.limits):
        return False
    pairs = zip(node.parameters, other.parameters, strict=False)
    same = all(np.array_equal(to_numpy(a), to_numpy(b)) for a, b in pairs)
    return same and len(node.parameters) == len(other.parameters)


def _of_side(node: int, side: int) -> NodeMeaning:
    return NodeMeaning(-1, node) if side else NodeMeaning(node)
