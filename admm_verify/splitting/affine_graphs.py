"""The affine side of the layered splitting: copies of sources and outputs, tied together by one graph per map.

A *layer* is an affine node with what reads it: an activation, or other affine nodes (a layer without activation, whose
output is its input). A *source* is the network's input (0) or the output of layer k (k + 1). Every map of an affine
node is a *block* with its own copy of its image, and the node's value is the sum of those copies and the bias; the
matrices of a node share one block. Every block has its own copy of every source it reads.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap, LinearMap, TransposedMap
from admm_verify.run import paced
from admm_verify.splitting.coupling_graph import CouplingGraph, folded
from admm_verify.splitting.graphs import Graph, graph_of
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import DualSweep, filled
from admm_verify.splitting.vector import Vector


@dataclass(frozen=True)
class GraphLayer:
    """An affine node, the activation that reads it, None where affine nodes do, and the node that others read."""

    node: int
    activation: int | None
    output: int


@dataclass(frozen=True, eq=False)
class Copy:
    """One part of the splitting's vectors: its penalty, and the map that picks its value's entries, None for all."""

    penalty: float
    layout: LinearMap | None

    def read(self, part: Array) -> Array:
        """The value that a part holds."""
        return part if self.layout is None else self.layout.apply(part)

    def lay(self, value: Array) -> Array:
        """A value as the part holds it, with zeros around it."""
        return value if self.layout is None else self.layout.transpose(value)


@dataclass(frozen=True, eq=False)
class CopyBlock:
    """Maps that share one copy of their sum, the sources they read, and the numbers of the block's copies.

    The network's output, which carries the objective, has layer, graph and image None; a problem's constraints have
    layer and graph None and no maps, as their graph has rows of its own.
    """

    layer: int | None
    maps: tuple[LinearMap, ...]
    sources: tuple[int, ...]
    graph: Graph | None
    image: int | None
    edges: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AffineGraphs:
    """All layers, their blocks with their projections, and the copies that a vector is made of."""

    layers: tuple[GraphLayer, ...]
    blocks: tuple[CopyBlock, ...]
    copies: tuple[Copy, ...]

    @property
    def coupled(self) -> CopyBlock | None:
        """The block of a problem's constraints, None for none."""
        last = self.blocks[-1]
        return last if last.layer is None and last.image is not None else None

    @cached_property
    def images(self) -> list[list[int]]:
        """For every layer the copies whose sum, with the bias, is its value."""
        return [
            [block.image for block in self.blocks if block.layer == k and block.image is not None]
            for k in range(len(self.layers))
        ]

    @cached_property
    def edges(self) -> list[list[int]]:
        """For every source its copies."""
        reads = [pair for block in self.blocks for pair in zip(block.sources, block.edges, strict=True)]
        return [[e for source, e in reads if source == s] for s in range(len(self.layers) + 1)]

    def mean(self, z: Vector, source: int) -> Array:
        """The mean of the copies of a source."""
        first, *others = (self.copies[e].read(z.parts[e]) for e in self.edges[source])
        return sum(others, first) / (1 + len(others))

    def project(self, rows: Rows, scale: Array, point: Vector, coupling: CouplingGraph | None) -> Vector:
        """argmin over the graphs of c'output + sum of w |u - point|^2 / 2; scale [rows, 1] of all penalties w."""
        parts, residual = list(point.parts), self.residual(rows, scale, point)
        slope = rows.objective if residual is None else 2.0 * residual
        for block in self.blocks:
            if block.layer is None and block.image is not None:
                assert coupling is not None, "the graph comes with its block"
                sources, parts[block.image] = coupling.project([parts[e] for e in block.edges], parts[block.image])
                for e, part in zip(block.edges, sources, strict=True):
                    parts[e] = part
            elif block.graph is None or block.image is None:
                for e, map in zip(block.edges, block.maps, strict=True):
                    parts[e] = parts[e] - map.transpose(slope) / (self.copies[e].penalty * scale)
            else:
                sources, parts[block.image] = block.graph.project([parts[e] for e in block.edges], parts[block.image])
                for e, part in zip(block.edges, sources, strict=True):
                    parts[e] = part
        return Vector(parts)

    def residual(self, rows: Rows, scale: Array, point: Vector) -> Array | None:
        """y - target of a quadratic objective at the minimiser of |y - target|^2 + sum of w |u - point|^2 / 2 over
        the output's y = sum of M_e u_e + bias; None for a linear objective.

        u_e = point_e - 2 M_e'residual / w_e, so that (I + 2 sum of M_e M_e' / w_e) residual is the one at the point.
        Shapes: [rows, m].
        """
        if rows.squares is None:
            return None
        gap = rows.network.affine[rows.network.output].bias - rows.squares.target
        for e, map in self._outward:
            gap = gap + map.apply(point.parts[e])
        values, vectors = self._outward_kernel(Placement.of(gap))
        return ((gap @ vectors) / (1.0 + 2.0 * values / scale)) @ vectors.T

    @cached_property
    def _outward(self) -> list[tuple[int, LinearMap]]:
        """The copies that the network's output reads, and the maps it reads them by."""
        own = [block for block in self.blocks if block.graph is None and block.image is None]
        return [pair for block in own for pair in zip(block.edges, block.maps, strict=True)]

    def _outward_kernel(self, place: Placement) -> tuple[Array, Array]:
        """Eigenvalues and eigenvectors of the sum of M_e M_e' / w_e, [m], [m, m]."""
        kept: list[tuple[Array, Array]] = self._kernels
        if not kept:
            total = 0.0
            for e, map in self._outward:
                eye = place.xp.eye(map.rows, dtype=place.dtype, device=place.device)
                total = total + to_numpy(map.apply(map.transpose(eye))).astype(np.float64) / self.copies[e].penalty
            values, vectors = np.linalg.eigh(np.nan_to_num(np.asarray(total)))
            kept.append((place.put(np.maximum(values, 0.0)), place.put(vectors)))
        return kept[0]

    @cached_property
    def _kernels(self) -> list[tuple[Array, Array]]:
        return []

    def weighted(self, squares: Sequence[Array]) -> Array:
        """The sum of the parts' squares [rows], each times its penalty."""
        return reduce(add, (copy.penalty * square for copy, square in zip(self.copies, squares, strict=True)))


def build_graphs(
    rows: Rows, dual: DualSweep, multipliers: list[Array], penalty: float
) -> tuple[AffineGraphs, Array, CouplingGraph | None]:
    """Copies, penalties and projections for a batch of rows, each row's scale [rows, 1], and the constraints' graph.

    A source and its layer's value have one penalty, which is divided evenly among the copies of the source; the image
    of each of n blocks has n times the penalty, so that their sum has the layer's.

    Shapes: multipliers[k] [rows, n] of layer k.
    """
    layers, placement = network_layers(rows.network), Placement.of(rows.offset)
    weights, scale = _penalties(rows, layers, dual, multipliers, penalty)
    groups = _groups(rows.network, layers)
    coupled, limit = folded(rows, _places(layers))
    summands = Counter(layer for layer, _ in groups)
    readers = Counter(source for _, pairs in groups for _, source in pairs) + Counter(list(coupled))
    blocks: list[CopyBlock] = []
    copies: list[Copy] = []
    for layer, pairs in groups:
        maps, sources = zip(*pairs, strict=True)
        penalties = [weights[source] / readers[source] for source in sources]
        graph = image = embed = None
        if layer is not None:
            own = weights[layer + 1] * summands[layer]
            graph, image = graph_of(list(maps), penalties, own, placement), len(copies)
            copies.append(Copy(own, graph.valid))
            embed = None if graph.embed is None else TransposedMap(graph.embed)
        edges = tuple(range(len(copies), len(copies) + len(maps)))
        copies += [Copy(own, embed) for own in penalties]
        blocks.append(CopyBlock(layer, maps, sources, graph, image, edges))
    coupling = None
    if limit is not None:
        penalties = tuple(weights[source] / readers[source] for source in coupled)
        coupling, image = CouplingGraph.of(list(coupled.values()), limit, penalties), len(copies)
        copies += [Copy(1.0, None), *(Copy(own, None) for own in penalties)]
        edges = tuple(range(image + 1, len(copies)))
        blocks.append(CopyBlock(None, (), tuple(coupled), None, image, edges))
    return AffineGraphs(layers, tuple(blocks), tuple(copies)), scale, coupling


def layer_multipliers(rows: Rows, layers: tuple[GraphLayer, ...], dual: DualSweep) -> list[Array]:
    """The multiplier of every layer's value in a sweep: g of its activation, or what its affine readers pass on."""
    own = filled(dual.sweep.pre, rows.neurons(0.0))
    found = []
    for layer in layers:
        if layer.activation is not None:
            found.append(own[layer.activation])
            continue
        total = dual.sweep.nodes[layer.node]
        readers = [k for k, node in enumerate(rows.network.sources) if node == layer.node]
        size = rows.network.nodes[layer.node].size
        zero = rows.xp.zeros((rows.offset.shape[0], size), dtype=rows.offset.dtype, device=rows.offset.device)
        found.append((zero if total is None else total) - sum((own[k] for k in readers), zero))
    return found


def network_layers(network: Network) -> tuple[GraphLayer, ...]:
    """The layers in topological order."""
    layers = []
    for i, affine, k in paced(network.steps):
        if affine is None:
            layers.append(GraphLayer(network.sources[k], k, i))
        elif network.readers[i] & network.affine.keys():
            layers.append(GraphLayer(i, None, i))
    return tuple(layers)


def _places(layers: tuple[GraphLayer, ...]) -> dict[int, int]:
    """The sources by their nodes."""
    return {0: 0} | {layer.output: k + 1 for k, layer in enumerate(layers)}


def _groups(network: Network, layers: tuple[GraphLayer, ...]) -> list[tuple[int | None, list[tuple[LinearMap, int]]]]:
    """The maps and sources of every block with its layer, None for the network's output."""
    places, groups = _places(layers), []
    for k, node in [*((k, layer.node) for k, layer in enumerate(layers)), (None, network.output)]:
        pairs = [(term.map, places[term.source]) for term in network.affine[node].terms]
        matrices = [pair for pair in pairs if isinstance(pair[0], DenseMap)]
        others = [pair for pair in pairs if not isinstance(pair[0], DenseMap)]
        groups += [(k, group) for group in ([matrices] if matrices else []) + [[pair] for pair in others]]
    return groups


def _penalties(
    rows: Rows, layers: tuple[GraphLayer, ...], dual: DualSweep, multipliers: list[Array], penalty: float
) -> tuple[list[float], Array]:
    """Penalties of the sources and their layers' values, shared by the rows, and each row's scale, shared by them.

    penalty rms(multipliers_k) / rms(u_k - l_k) over the neurons unstable in the row, with the input set's stride for
    u_0 - l_0, split into these two so that one factorisation serves all rows.
    """
    everywhere = rows.xp.ones_like(rows.inputs.reach, dtype=rows.xp.bool)
    wanted = [_ratio(dual.input, rows.inputs.stride, everywhere)]
    for layer, g in zip(layers, multipliers, strict=True):
        k = layer.activation
        if k is None:
            # Nothing bounds these values, so their penalty follows the other layers'.
            wanted.append(rows.xp.zeros_like(rows.offset))
        else:
            wanted.append(_ratio(g, rows.upper[k] - rows.lower[k], rows.relaxations[k].repeated(rows.lines[k].bent)))
    table = penalty * np.stack([to_numpy(column).astype(np.float64) for column in wanted], axis=1)
    table = np.where((table > 0) & np.isfinite(table), table, np.nan)
    known = np.isfinite(table).any(axis=1, keepdims=True)
    typical = np.nanmedian(np.where(known, table, 1.0), axis=1, keepdims=True)
    logs = np.log(np.where(np.isfinite(table), table, typical))
    shared = logs.mean(axis=0)
    scale = np.exp((logs - shared).mean(axis=1, keepdims=True))
    return [float(weight) for weight in np.exp(shared)], Placement.of(rows.offset).put(scale)


def _ratio(multipliers: Array, width: Array, unstable: Array) -> Array:
    """rms(multipliers) / rms(width) over the unstable neurons of every row, [rows]."""
    xp = namespace(multipliers)
    chosen = xp.astype(unstable, multipliers.dtype)
    count = xp.maximum(xp.sum(chosen, axis=-1), xp.ones_like(chosen[:, 0]))
    root = xp.sqrt(xp.sum(multipliers**2 * chosen, axis=-1) / count)
    spread = xp.sqrt(xp.sum(width**2 * chosen, axis=-1) / count)
    return root / xp.where(spread > 0, spread, xp.ones_like(spread))
