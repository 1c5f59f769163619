"""CROWN bounds of chosen neurons of one affine node, in blocks that fit a memory budget."""

from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.bounds.backward import Choose, backward
from admm_verify.bounds.region import Region, build_region
from admm_verify.memory import Budget
from admm_verify.network.graph import Activation, Affine, Network, Node
from admm_verify.network.maps import DenseMap, LinearMap
from admm_verify.relaxations.lines import KinkLines
from admm_verify.relaxations.registry import facts_of, network_lines
from admm_verify.sets.contract import InputSet


def linear_bounds(region: Region, wanted: np.ndarray, budget: Budget) -> tuple[Array, Array]:
    """CROWN bounds of the wanted neurons of the region's last node, from the bounds of the activations before it.

    Shapes: region with leading axes [boxes, 1]; wanted [m] -> lower, upper [boxes, m].
    Error: rounded outward. Raises: MemoryError when not even one row fits.
    """
    widest = max(node.size for node in region.network.nodes)
    boxes = region.inputs.lead[0]
    step = max(1, budget.block(boxes * widest))
    sweeper = Sweeper(region)
    blocks = budget.blocks(len(wanted), step, lambda first, last: sweeper.bounds(wanted[first:last]))
    xp = region.inputs.placement.xp
    return xp.concat([low for low, _ in blocks], axis=-1), xp.concat([high for _, high in blocks], axis=-1)


def own_bounds(region: Region, wanted: np.ndarray) -> tuple[Array, Array]:
    """CROWN bounds of one neuron per leading entry of the region, as `linear_bounds`.

    Shapes: region with leading axes [m, 1]; wanted [m] -> lower, upper [m].
    """
    low, high = Sweeper(region).bounds(wanted[:, None])
    return low[:, 0], high[:, 0]


@dataclass(frozen=True, eq=False)
class Neurons:
    """Chosen neurons of a region's last node as functionals of the nodes before it: start'values + constant.

    Shapes: start[i] [boxes or 1, m, n_i] at node i; constant [1, m] or [boxes, m]; error, the rounding of the first
    product, broadcasts against [boxes, m].
    """

    start: dict[int, Array]
    constant: Array
    error: Array

    def signed(self, sign: float) -> "Neurons":
        """The functionals times 1 or -1."""
        return Neurons({i: sign * part for i, part in self.start.items()}, sign * self.constant, self.error)


class Sweeper:
    """Certified bounds of functionals over a region; the lines of all activations are computed once for all blocks."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.lines = network_lines(region.network, region.lower, region.upper)
        self.kinks = [line if isinstance(line, KinkLines) else None for line in self.lines]
        # The sweep starts one node below the target, so the rounding of that first product is added by hand.
        target = region.network.affine[region.network.output]
        first = region.magnitudes[-1]
        assert first is not None
        self.target, self.first = target, region.relative_error * first

    def neurons(self, wanted: np.ndarray) -> Neurons:
        """The given neurons, [m] of every box or [boxes, m]."""
        placement = self.region.inputs.placement
        xp = placement.xp
        error, bias = (_picked(array, wanted) for array in (self.first, self.target.bias))
        lead = wanted.shape if wanted.ndim == 2 else (1, len(wanted))
        start: dict[int, Array] = {}
        for term in self.target.terms:
            rows = term.map.rows_at(wanted.reshape(-1), placement)
            part = xp.reshape(rows, (*lead, rows.shape[-1]))
            start[term.source] = start[term.source] + part if term.source in start else part
        return Neurons(start, bias, error)

    def certify(self, neurons: Neurons, choose: Choose) -> Array:
        """A certified lower bound of every functional, [boxes, m]; choose gives multipliers of lines in range."""
        sweep = backward(self.region.network, neurons.start, neurons.constant, choose)
        bound = self.region.concretise(sweep, self.kinks) - neurons.error
        xp = namespace(bound)
        return xp.where(xp.isnan(bound), xp.full_like(bound, -float("inf")), bound)

    def bounds(self, wanted: np.ndarray) -> tuple[Array, Array]:
        """CROWN's lower and upper bounds of the given neurons, [boxes, m], for wanted [m] or [boxes, m]."""
        neurons = self.neurons(wanted)
        return self.certify(neurons, self._choose), -self.certify(neurons.signed(-1.0), self._choose)

    def _choose(self, k: int, a: Array) -> Array:
        lines = self.lines[k]
        return lines.contact(a, lines.start).slope * a


def _picked(array: Array, wanted: np.ndarray) -> Array:
    """The wanted entries of an array [n] or [boxes, 1, n], for wanted [m] or [boxes, m]."""
    xp, put = namespace(array), Placement.of(array).put_indices
    if wanted.ndim == 1:
        taken = xp.take(array, put(wanted), axis=-1)
        return taken if len(taken.shape) == 1 else taken[..., 0, :]
    size = array.shape[-1]
    own = np.arange(len(wanted))[:, None] * size if len(array.shape) == 3 and array.shape[0] > 1 else 0
    return xp.reshape(xp.take(xp.reshape(array, (-1,)), put((wanted + own).reshape(-1)), axis=0), wanted.shape)


class Reduced:
    """The network below a target without the neurons that contribute nothing, grown layer by layer.

    A neuron inactive in every box has no output: where only matrices touch it, its row and columns are dropped.
    """

    def __init__(self, network: Network, inputs: InputSet) -> None:
        self.network, self.inputs = network, inputs
        self.nodes: list[Node] = [network.nodes[0]]
        self.kept: list[np.ndarray | None] = [None]
        self.bounds: list[tuple[Array, Array]] = []

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
        ends = [tuple(pair[side][:, None, :] for pair in self.bounds) for side in (0, 1)]
        return build_region(network, self.inputs.spread(), ends[0], ends[1])

    def _useful(self, index: int, node: Activation, upper: Array) -> np.ndarray | None:
        """The neurons to keep, or None for all of them."""
        network = self.network
        if not facts_of(node).rectifies or index == network.output or len(network.readers[node.source]) > 1:
            return None
        read = [network.affine[i].terms for i in network.readers[index] if i in network.affine]
        around = [*network.affine[node.source].terms, *(t for terms in read for t in terms if t.source == index)]
        if not all(isinstance(term.map, DenseMap) for term in around):
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
