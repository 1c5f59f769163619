"""Two graphs as one, with nodes for the differences of their values.

Of two layers p = W a + b and p' = W' a' + b' the difference is p' - p = W'(a' - a) + (W' - W) a + b' - b, in which
the small numbers alone multiply a: bounds of it keep what the two have in common. Behind a rectifier it is
phi(p, D, p') = relu(p') - relu(p) with D = p' - p, a function of three operands.

Every formula here is an identity whichever nodes of the two graphs are taken for partners; these tell how tight it is.
Reference: Paulsen et al., NeuroDiff, ASE 2020 (arXiv 2009.09943), for difference nodes in intervals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from admm_verify.arrays import Array
from admm_verify.network.bent_differences import Bent, bent_difference
from admm_verify.network.graph import Activation, Affine, Input, Node, Term
from admm_verify.network.map_differences import map_difference, negated, same_map
from admm_verify.network.maps import DiagonalMap, LinearMap
from admm_verify.network.sameness import are_computed_alike, has_exact_bias, same_bias, same_function
from admm_verify.network.selection import SelectionMap
from admm_verify.network.simplify import read_through


@dataclass(eq=False)
class JointGraph:
    """The nodes of a joint graph while it grows; nodes[0] is the input that both are functions of.

    partners: nodes of the first graph with those of the second that they are compared with, in the order of both.
    first, second: where nodes of the two stand here. differences: the node of p' - p for a node p of the first graph
    that has a partner, None where that is zero for all inputs. notes: where differences are plain, in words.
    """

    partners: Mapping[int, int]
    nodes: list[Node]
    first: dict[int, int] = field(default_factory=dict)
    second: dict[int, int] = field(default_factory=dict)
    differences: dict[int, int | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _given: set[int] = field(default_factory=set)

    def append(self, node: Node) -> int:
        """The number of a node that is appended; affine nodes read the input itself where they can."""
        self.nodes.append(read_through(node, self.nodes, self._given) if isinstance(node, Affine) else node)
        return len(self.nodes) - 1

    def give(self, map: LinearMap, shift: Array) -> int:
        """What one of the graphs is given, an affine function of the input."""
        shift = np.asarray(shift, dtype=np.float64)
        if isinstance(map, SelectionMap) and map.is_identity and not shift.any():
            return 0
        self.nodes.append(Affine((Term(0, map),), shift, np.abs(shift)))
        self._given.add(len(self.nodes) - 1)
        return len(self.nodes) - 1

    def give_both(self, first: tuple[LinearMap, Array], second: tuple[LinearMap, Array], rounded: bool = False) -> None:
        """What the two graphs are given, and its difference; rounded: shifts other than 0 may have been rounded."""
        self.first[0] = self.give(*first)
        shifts = np.asarray(first[1]), np.asarray(second[1])
        exact = not rounded or not any(shift.any() for shift in shifts)
        if same_map(second[0], first[0]) and exact and np.array_equal(*shifts):
            self.second[0], self.differences[0] = self.first[0], None
            return
        self.second[0] = self.give(*second)
        if 0 not in self.partners:
            return
        terms = [] if same_map(second[0], first[0]) else self._mapped((0, first[0]), (0, second[0]), None)
        difference, magnitude = _bias_difference(shifts[1], shifts[0])
        magnitude = magnitude if exact else np.abs(shifts[0]) + np.abs(shifts[1])
        self.nodes.append(self.total(terms, difference, magnitude))
        self._given.add(len(self.nodes) - 1)
        self.differences[0] = len(self.nodes) - 1

    def grow(self, first: Sequence[Node], second: Sequence[Node]) -> None:
        """Append all nodes of both graphs behind their inputs, and the differences of partners right behind them."""
        done = 1
        for i in range(1, len(first)):
            self.first[i] = self._copied(first[i], self.first)
            j = self.partners.get(i)
            if j is None:
                continue
            for other in range(done, j):
                self.second[other] = self._copied(second[other], self.second)
            done = j + 1
            if self._are_same(first[i], second[j]):
                self.second[j], self.differences[i] = self.first[i], None
                continue
            self.second[j] = self._copied(second[j], self.second)
            self.differences[i] = self._difference(i, first[i], second[j])
        for other in range(done, len(second)):
            self.second[other] = self._copied(second[other], self.second)

    def _copied(self, node: Node, places: Mapping[int, int]) -> int:
        assert not isinstance(node, Input), "the input comes first"
        return self.append(node.reading(places))

    def minus(self, second: int, first: int) -> int:
        """The node of the plain difference of two nodes of this graph."""
        size = self.nodes[first].size
        terms = [Term(second, SelectionMap.identity(size)), Term(first, DiagonalMap(np.full(size, -1.0)))]
        return self.append(self.total(terms, np.zeros(size), np.zeros(size)))

    def _are_same(self, first: Node, second: Node) -> bool:
        """Whether partners have the same value for all inputs."""
        if isinstance(first, Affine) and isinstance(second, Affine):
            pairs, rest = self._paired_terms(first, second)
            plain = all(self.differences[one.source] is None and same_map(two.map, one.map) for one, two in pairs)
            return not any(rest) and plain and same_bias(first, second) and are_computed_alike(first, second)
        if isinstance(first, Activation) and isinstance(second, Activation):
            known = self.partners.get(first.source) == second.source and self.differences[first.source] is None
            return known and same_function(first, second)
        return False

    def _difference(self, i: int, first: Node, second: Node) -> int:
        if isinstance(first, Affine) and isinstance(second, Affine):
            return self.append(self._affine_difference(first, second))
        assert isinstance(first, Activation) and isinstance(second, Activation), "partners are of one type"
        found = self._bent_difference(i, first, second)
        return self.minus(self.second[self.partners[i]], self.first[i]) if found is None else found

    def _affine_difference(self, first: Affine, second: Affine) -> Affine:
        """p' - p of two affine nodes."""
        pairs, (left, added) = self._paired_terms(first, second)
        terms: list[Term] = []
        for one, two in pairs:
            sources = (self.first[one.source], one.map), (self.second[two.source], two.map)
            terms += self._mapped(*sources, self.differences[one.source])
        terms += [Term(self.second[term.source], term.map) for term in added]
        terms += [self._taken(self.first[term.source], term.map) for term in left]
        difference, magnitude = _bias_difference(second.bias, first.bias)
        if not (has_exact_bias(first) and has_exact_bias(second)):
            magnitude = np.asarray(first.bias_magnitude) + np.asarray(second.bias_magnitude)
        return self.total(terms, difference, magnitude)

    def _mapped(self, first: tuple[int, LinearMap], second: tuple[int, LinearMap], moved: int | None) -> list[Term]:
        """W' a' - W a of (a, W), (a', W') and the node of a' - a, None where that is zero."""
        (a, own), (other, map) = first, second
        behind = [] if moved is None else [Term(moved, map)]
        if same_map(map, own):
            return behind
        change = map_difference(map, own)
        return [Term(other, map), self._taken(a, own)] if change is None else [*behind, Term(a, change)]

    def _taken(self, source: int, map: LinearMap) -> Term:
        """The term -W a."""
        opposite = negated(map)
        if opposite is not None:
            return Term(source, opposite)
        zero = np.zeros(map.rows)
        node = self.append(self.total([Term(source, map)], zero, zero))
        return Term(node, DiagonalMap(np.full(map.rows, -1.0)))

    def _paired_terms(
        self, first: Affine, second: Affine
    ) -> tuple[list[tuple[Term, Term]], tuple[list[Term], list[Term]]]:
        """The terms of two nodes that read partners, and what is left of both."""
        pairs, left, added = [], [], list(second.terms)
        for term in first.terms:
            wanted = [other for other in added if other.source == self.partners.get(term.source)]
            if not wanted:
                left.append(term)
                continue
            best = next((other for other in wanted if same_map(other.map, term.map)), wanted[0])
            pairs.append((term, best))
            added.remove(best)
        return pairs, (left, added)

    def _bent_difference(self, i: int, first: Activation, second: Activation) -> int | None:
        """phi(p') - phi(p) of two activations by nodes of its own; None where there are none of the kind."""
        source = first.source
        if self.partners.get(source) == second.source and first.kind == second.kind:
            places = self.first[source], self.second[second.source], self.differences[source]
            values = Bent(*places, self.first[i], self.second[self.partners[i]], first, second)
            found = bent_difference(self, values)
            if found is not None:
                return found
        self.notes.append(
            f"the difference behind the {first.kind} of {first.size} entries at node {i} is that of two values, each "
            "bounded for itself"
        )
        return None

    def beside(self, parts: Sequence[int | None], bias: Array | None = None) -> int:
        """The node of some nodes' values one after the other, all of one size; None for zeros."""
        size = next(self.nodes[part].size for part in parts if part is not None)
        whole, terms = size * len(parts), []
        for k, part in enumerate(parts):
            if part is not None:
                gather = np.full(whole, size)
                gather[k * size : (k + 1) * size] = np.arange(size)
                terms.append(Term(part, SelectionMap.from_gather(gather, size)))
        shift = np.zeros(whole) if bias is None else bias
        self.nodes.append(self.total(terms, shift, np.abs(shift)))
        return len(self.nodes) - 1

    def total(self, terms: Sequence[Term], bias: Array, magnitude: Array) -> Affine:
        """An affine node; without terms, a constant for every sample."""
        if not terms:
            size = self.nodes[0].size
            terms = [Term(0, SelectionMap.from_gather(np.full(bias.shape[-1], size), size))]
        return Affine(tuple(terms), bias, magnitude)


def _bias_difference(second: Array, first: Array) -> tuple[Array, Array]:
    """The difference of two biases, and the magnitude behind its rounding."""
    difference = np.asarray(second) - np.asarray(first)
    return difference, np.abs(difference)


def alignment(first: Sequence[Node], second: Sequence[Node]) -> dict[int, int]:
    """Nodes of two graphs that are taken for partners: all of two graphs of the same form, else longest common runs."""
    from difflib import SequenceMatcher

    forms = [[_form(node) for node in nodes] for nodes in (first, second)]
    if forms[0] == forms[1]:
        return {i: i for i in range(len(first))}
    found = {}
    for block in SequenceMatcher(None, *forms, autojunk=False).get_matching_blocks():
        found |= {block.a + k: block.b + k for k in range(block.size)}
    return found


def _form(node: Node) -> tuple[object, ...]:
    if isinstance(node, Input):
        return "input", node.size
    return (node.kind if isinstance(node, Activation) else "affine"), node.size
