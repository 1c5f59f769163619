"""Interval bounds of all nodes, forward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from admm_verify.arrays import SMALLEST, Array, gamma, namespace, to_numpy
from admm_verify.bounds.bands import Bands, reads_input
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.reduced import Reduced
from admm_verify.bounds.region import largest, node_magnitude, only_moves
from admm_verify.errors import InputError
from admm_verify.network.graph import Affine, Network
from admm_verify.network.selection import SelectionMap
from admm_verify.network.signs import adds_up
from admm_verify.relaxations.registry import ReadsNode, relaxation_of, relaxations_by_source
from admm_verify.run import paced
from admm_verify.sets.contract import InputSet

Ends = Sequence[Array] | Mapping[int, Array]
"""Ends of intervals by the numbers of their nodes."""

_BLOCK_NUMBERS = 2**21
"""Numbers of an interval beyond which it is found for some rows after the others."""

_ROUNDED = 2.0**-30
"""Width of intervals, in shares of the layer's largest end, that is as good as none: roundings of long sums make them
that wide."""

Refine = Callable[["Forward", int, Affine, Array, Array], tuple[Array, Array]]
"""refine(forward, i, node, low, high) -> an interval within [low, high] of an affine node that activations read."""


class Forward:
    """Intervals of all nodes in order, each from those before it.

    lower[i], upper[i] [sets, n_i] of the nodes so far. reduced: the network of the nodes so far, where somebody refines
    what they hold. readers: who reads a node that is worth refining, by that node. repeated: which of its entries are
    refined elsewhere.
    """

    def __init__(
        self,
        network: Network,
        inputs: InputSet,
        refine: Refine | None = None,
        known: PreactivationBounds | None = None,
        bands: Bands | None = None,
    ) -> None:
        """known: bounds of every activation's input that hold already, which all intervals are cut with. bands: around
        functions of the inputs, grown with the intervals, which those of nodes worth refining are cut with.
        """
        low, high = inputs.range
        self.network, self.inputs, self.refine, self.bands = network, inputs, refine, bands
        self.lower, self.upper = [low], [high]
        self.reduced, self.readers = Reduced(network, inputs), bounded_nodes(network)
        self.repeated = repeated_entries(network, self.readers)
        self.given: dict[int, tuple[Array, Array]] = {}
        if known is not None:
            for source, *pair in zip(network.sources, known.lower, known.upper, strict=True):
                self.given[source] = cut(self.given.get(source, (pair[0], pair[1])), (pair[0], pair[1]))

    def run(
        self,
        before: Callable[[], None] | None = None,
        after: Callable[[int], None] | None = None,
        last: int | None = None,
    ) -> "Forward":
        """All nodes from the input on, or those up to node `last`. before(): called before every node; after(count):
        after every activation, with how many are done.

        Raises: InputError where known bounds exclude every value that the intervals allow.
        """
        network = self.network
        self._within(0, self.lower[0], self.upper[0])
        for i, node, k in paced(network.steps[:last]):
            if before is not None:
                before()
            if node is not None:
                low, high = self._within(i, *affine_interval(network, node, self.lower, self.upper))
                if self.bands is not None:
                    self.bands.add_affine(i, node)
                    if i in self.readers and not reads_input(node):
                        low, high = cut((low, high), self.bands.bounds(i))
                if self.refine is not None:
                    if i in self.readers:
                        low, high = self.refine(self, i, node, low, high)
                        if self.bands is not None:
                            self.bands.narrow(i, low, high)
                    self.reduced.add_affine(node)
            else:
                pair = self.of_activation(k)
                if self.bands is not None:
                    self.bands.add_activation(k, *pair)
                if self.refine is not None:
                    self.reduced.add_activation(k, *pair)
                function = network.functions[k]
                low, high = relaxation_of(function).image(*pair)
                low, high = self._within(i, *(function.limits.cut(low, high) if function.limits else (low, high)))
                if after is not None:
                    after(k + 1)
            self.lower.append(low)
            self.upper.append(high)
        return self

    def of_activation(self, k: int) -> tuple[Array, Array]:
        """The interval of activation k's input."""
        source = self.network.sources[k]
        return self.lower[source], self.upper[source]

    def _within(self, index: int, low: Array, high: Array) -> tuple[Array, Array]:
        """The interval of a node cut with what was given for it."""
        if index not in self.given:
            return low, high
        low, high = cut((low, high), self.given[index])
        if bool(namespace(low).any(low > high)):
            raise InputError(
                f"The pre-activation bounds given for node {index} exclude every value that interval arithmetic allows "
                "there. Give bounds that hold over this box."
            )
        return low, high


@dataclass(frozen=True)
class Copies:
    """What repeats entries for the operands of products: every open one of them matters."""

    def open(self, lower: Array, upper: Array) -> Array:
        """Where tighter ends matter."""
        return lower < upper


def bounded_nodes(network: Network) -> dict[int, list[ReadsNode]]:
    """The affine nodes whose intervals are worth refining, with those who read them.

    They are what activations read; where that only repeats entries of affine nodes, as it does for the factors of a
    matrix product, those affine nodes.
    """
    found: dict[int, list[ReadsNode]] = {}
    for source, readers in relaxations_by_source(network).items():
        terms = network.affine[source].terms
        moves = [term.map for term in terms if isinstance(term.map, SelectionMap)]
        copies = len(moves) == len(terms) and any(move.repeats for move in moves)
        below = [term.source for term in terms if term.source in network.affine]
        if not (copies and below):
            found.setdefault(source, []).extend(readers)
        for i in below if copies else ():
            found.setdefault(i, []).append(Copies())
    return found


def repeated_entries(network: Network, bounded: Mapping[int, Sequence[ReadsNode]]) -> dict[int, np.ndarray]:
    """Which entries of nodes repeat those of others in `bounded`, where all who read the nodes are content with that.

    Shapes: of node i [n_i].
    """
    found = {}
    for source, readers in relaxations_by_source(network).items():
        node = network.affine[source]
        if not all(reader.shares_operands for reader in readers) or not _puts_beside(node):
            continue
        repeated = np.zeros(node.size, dtype=bool)
        for term in node.terms:
            if term.source in bounded and isinstance(term.map, SelectionMap):
                repeated |= to_numpy(term.map.gather) < term.map.columns
        found[source] = repeated
    return found


def cut(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    """The intersection of two intervals."""
    xp = namespace(first[0])
    return xp.maximum(first[0], second[0]), xp.minimum(first[1], second[1])


def wide(low: Array, high: Array, operands: int) -> Any:
    """Where intervals of a layer, of so many operands one after the other, are wider than rounding makes them.

    Neurons that are constant, as in networks that take minima of functions of which some are the same, would otherwise
    be open wherever their value is zero.
    """
    xp, blocks = namespace(low), (*low.shape[:-1], operands, low.shape[-1] // operands)
    most = xp.max(xp.reshape(largest(low, high), blocks), axis=-1, keepdims=True)
    return xp.reshape(xp.reshape(high - low, blocks) > _ROUNDED * most, low.shape)


def affine_interval(
    network: Network, node: Affine, lower: Sequence[Array], upper: Sequence[Array]
) -> tuple[Array, Array]:
    """The interval of an affine node from the intervals of the nodes before it.

    W c + b -/+ |W| r with centre c and radius r of the sources, minus and plus a bound on the rounding.

    Shapes: lower[i], upper[i] [..., n_i] -> [..., n].
    Error: rounded outward.
    """
    sources = {term.source for term in node.terms}
    leads = {end[i].shape[:-1] for i in sources for end in (lower, upper)}
    lead = leads.pop() if len(leads) == 1 else ()
    if len(lead) != 1 or lead[0] * node.size <= _BLOCK_NUMBERS:
        return _affine_interval(network, node, lower, upper)
    # A step of many arrays stays near the cache.
    step, parts = -(-_BLOCK_NUMBERS // node.size), []
    for first in range(0, lead[0], step):
        ends = ({i: end[i][first : first + step] for i in sources} for end in (lower, upper))
        parts.append(_affine_interval(network, node, *ends))
    low, high = (namespace(side[0]).concat(list(side), axis=0) for side in zip(*parts, strict=True))
    return low, high


def _moved(node: Affine, lower: Ends, upper: Ends) -> tuple[Array, Array]:
    """The interval of a node that only moves entries, exactly."""
    parts = [(term.map.apply(lower[term.source]), term.map.apply(upper[term.source])) for term in node.terms]
    low, high = parts[0]
    for first, last in parts[1:]:
        low, high = low + first, high + last
    xp = namespace(low)
    # Signs may change.
    return xp.minimum(low, high), xp.maximum(low, high)


def _puts_beside(node: Affine) -> bool:
    """Whether a node has every entry from one source at most, unchanged: what is added to it is zero.

    False on another device, where looking would wait for it.
    """
    if len(node.terms) < 2 or not isinstance(node.bias_magnitude, np.ndarray) or node.bias_magnitude.any():
        return False
    used = np.zeros(node.size, dtype=np.int64)
    for term in node.terms:
        if not isinstance(term.map, SelectionMap):
            return False
        used += term.map.gather < term.map.columns
    return bool((used <= 1).all())


def _least_sum(network: Network, node: Affine, lower: Ends) -> Array:
    """The least value of a node that adds up: that of the least of all sources, less roundings that do not grow with
    their ranges; 0 where that is no positive number.
    """
    xp, count = namespace(node.bias), network.roundings
    total: Array = node.bias
    for term in node.terms:
        total = term.map.apply(lower[term.source]) + total
    size = node_magnitude(node, {term.source: xp.abs(lower[term.source]) for term in node.terms})
    found = total - (8.0 * gamma(count) * size + 8.0 * count * SMALLEST)
    return xp.where(found > 0, found, xp.zeros_like(found))


def _affine_interval(network: Network, node: Affine, lower: Ends, upper: Ends) -> tuple[Array, Array]:
    if only_moves(node) or _puts_beside(node):
        return _moved(node, lower, upper)
    xp = namespace(node.bias)
    middle: Array = node.bias
    spread: Array = xp.zeros_like(node.bias)
    for term in node.terms:
        low, high = lower[term.source], upper[term.source]
        centre = low / 2 + high / 2
        radius = xp.maximum(high - centre, centre - low)
        middle = term.map.apply(centre) + middle
        spread = term.map.absolute_apply(radius) + spread
    reach = {term.source: largest(lower[term.source], upper[term.source]) for term in node.terms}
    # Twice the reach covers |centre| + radius, the magnitudes behind the two products.
    count = network.roundings
    error = 4.0 * gamma(count) * 2.0 * node_magnitude(node, reach) + 8.0 * count * SMALLEST
    low, high = middle - spread - error, middle + spread + error
    if node.nonnegative:
        low = xp.maximum(low, xp.zeros_like(low))
        if adds_up(node):
            low = xp.maximum(low, _least_sum(network, node, lower))
    # Overflow leaves no bound: inf - inf is NaN.
    infinite = xp.full_like(low, float("inf"))
    return xp.where(xp.isnan(low), -infinite, low), xp.where(xp.isnan(high), infinite, high)
