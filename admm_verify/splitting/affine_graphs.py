"""The affine side of the layered splitting: copies of sources and outputs, tied together by one graph per map.

A *layer* is an affine node with what reads it: an activation, or other affine nodes (a layer without activation, whose
output is its input). A *source* is the network's input (0) or the output of layer k (k + 1). Every map of an affine
node is a *block* with its own copy of its image, and the node's value is the sum of those copies and the bias; the
matrices of a node share one block. Every block has its own copy of every source it reads.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from admm_verify.arrays import Array, Placement, inner, namespace, to_numpy
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap, LinearMap, TransposedMap
from admm_verify.run import paced
from admm_verify.splitting.coupling_graph import CouplingGraph, folded
from admm_verify.splitting.graphs import Graph, graph_of
from admm_verify.splitting.packing import Copy, Packing
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import DualSweep, filled


@dataclass(frozen=True)
class GraphLayer:
    """An affine node, the activation that reads it, None where affine nodes do, and the node that others read."""

    node: int
    activation: int | None
    output: int


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
    """All layers, their blocks with their projections, the copies that a vector is made of, and where these lie in it.

    A vector has the columns of all copies in their order, [rows, columns].
    """

    layers: tuple[GraphLayer, ...]
    blocks: tuple[CopyBlock, ...]
    copies: tuple[Copy, ...]
    packing: Packing

    @cached_property
    def images(self) -> list[list[int]]:
        """For every layer the copies whose sum, with the bias, is its value."""
        return _images(self.blocks, len(self.layers))

    @property
    def coupled(self) -> CopyBlock | None:
        """The block of a problem's constraints, None for none."""
        last = self.blocks[-1]
        return last if last.layer is None and last.image is not None else None

    def pulls(self, rows: Rows, slope: Array) -> list[Array]:
        """What a slope [rows, m] of the output moves the copies of its sources by, times the scale, block by block."""
        own = [block for block in self.blocks if block.image is None]
        return [
            rows.xp.concat(
                [map.transpose(slope) / self.copies[e].penalty for e, map in zip(b.edges, b.maps, strict=True)], axis=-1
            )
            for b in own
        ]

    def project(
        self, rows: Rows, scale: Array, point: Array, pulls: list[Array] | None, coupling: CouplingGraph | None
    ) -> Array:
        """argmin over the graphs of c'output + sum of w |u - point|^2 / 2; scale [rows, 1] of all penalties w.

        pulls: of a linear objective, None to make them.
        """
        residual, parts = self.residual(rows, scale, point), []
        own = iter(pulls or self.pulls(rows, rows.objective if residual is None else 2.0 * residual))
        for block in self.blocks:
            edges = [point[:, self.copies[e].columns] for e in block.edges]
            if block.image is None:
                parts.append(point[:, self._joined(block)] - next(own) / scale)
                continue
            image = point[:, self.copies[block.image].columns]
            if block.graph is None:
                assert coupling is not None, "the graph comes with its block"
                sources, image = coupling.project(edges, image)
                parts += [image, *sources]
            else:
                sources, image = block.graph.project(point[:, self._joined(block)], image)
                parts += [image, sources]
        return rows.xp.concat(parts, axis=-1)

    def _joined(self, block: CopyBlock) -> slice:
        """The columns of all of a block's sources."""
        return slice(self.copies[block.edges[0]].first, self.copies[block.edges[-1]].last)

    def residual(self, rows: Rows, scale: Array, point: Array) -> Array | None:
        """y - target of a quadratic objective at the minimiser of |y - target|^2 + sum of w |u - point|^2 / 2 over
        the output's y = sum of M_e u_e + bias; None for a linear objective.

        u_e = point_e - 2 M_e'residual / w_e, so that (I + 2 sum of M_e M_e' / w_e) residual is the one at the point.
        Shapes: [rows, m].
        """
        if rows.squares is None:
            return None
        gap = rows.network.affine[rows.network.output].bias - rows.squares.target
        for e, map in self._outward:
            gap = gap + map.apply(point[:, self.copies[e].columns])
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

    def weighted(self, squares: Array) -> Array:
        """The sum of the entries of squares, each times its penalty, [rows]."""
        return inner(squares, self.packing.weight)


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

    def copied(penalty: float, layout: LinearMap | None, size: int) -> int:
        copies.append(Copy.of(penalty, layout, size, copies[-1].last if copies else 0))
        return len(copies) - 1

    for layer, pairs in groups:
        maps, sources = zip(*pairs, strict=True)
        penalties = [weights[source] / readers[source] for source in sources]
        graph = image = embed = None
        if layer is not None:
            own = weights[layer + 1] * summands[layer]
            graph = graph_of(list(maps), penalties, own, placement)
            image = copied(own, graph.valid, maps[0].rows)
            embed = None if graph.embed is None else TransposedMap(graph.embed)
        edges = tuple(copied(own, embed, map.columns) for own, map in zip(penalties, maps, strict=True))
        blocks.append(CopyBlock(layer, maps, sources, graph, image, edges))
    coupling = sides = None
    if limit is not None:
        penalties = tuple(weights[source] / readers[source] for source in coupled)
        coupling, sides = CouplingGraph.of(list(coupled.values()), limit, penalties), copied(1.0, None, limit.shape[1])
        sizes = [part.shape[-1] for part in coupled.values()]
        edges = tuple(copied(own, None, size) for own, size in zip(penalties, sizes, strict=True))
        blocks.append(CopyBlock(None, (), tuple(coupled), None, sides, edges))
    images = _images(blocks, len(layers))
    reads = [pair for block in blocks for pair in zip(block.sources, block.edges, strict=True)]
    read = [[e for source, e in reads if source == s] for s in range(len(layers) + 1)]
    biases = [rows.network.affine[layer.node].bias for layer in layers]
    sizes = [rows.network.nodes[node].size for node in (0, *(layer.output for layer in layers))]
    packing = Packing.of(copies, images, read, sides, biases, sizes, placement)
    return AffineGraphs(layers, tuple(blocks), tuple(copies), packing), scale, coupling


def _images(blocks: Sequence[CopyBlock], layers: int) -> list[list[int]]:
    return [[b.image for b in blocks if b.layer == k and b.image is not None] for k in range(layers)]


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
