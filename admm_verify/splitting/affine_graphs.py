"""The affine side of the layered splitting: copies of sources and outputs, tied together by one graph per map.

A *layer* is an affine node with what reads it: an activation, or other affine nodes (a layer without activation, whose
output is its input). A *source* is the network's input (0) or the output of layer k (k + 1). Every map of an affine
node is a *block* with its own copy of its output, and the node's value is the sum of those copies and the bias; the
matrices of a node share one block. Every block has its own copy of every source it reads, an *edge*.
"""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap, LinearMap
from admm_verify.splitting.graphs import Graph, graph_of
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import DualSweep


@dataclass(frozen=True)
class GraphLayer:
    """An affine node and the activation that reads it; activation None where affine nodes do."""

    node: int
    activation: int | None


@dataclass(frozen=True, eq=False)
class Edge:
    """A block's copy of a source."""

    source: int
    block: int
    map: LinearMap


@dataclass(frozen=True, eq=False)
class CopyBlock:
    """Maps that share one copy of their sum: layer None for the network's output, which carries the objective."""

    layer: int | None
    maps: tuple[LinearMap, ...]
    sources: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AffineGraphs:
    """All layers, blocks and edges with their penalties and projections.

    weights[s]: penalty of source s and of its layer's value, shared by all rows up to the row's own scale; it is
    divided evenly among the copies of the source.
    """

    layers: tuple[GraphLayer, ...]
    blocks: tuple[CopyBlock, ...]
    edges: tuple[Edge, ...]
    copies: tuple[int, ...]
    weights: tuple[float, ...]
    graphs: tuple[Graph | None, ...]

    def edge_weight(self, edge: Edge) -> float:
        """The penalty on one copy of a source."""
        return self.weights[edge.source] / self.copies[edge.source]

    def blocks_of(self, layer: int) -> list[int]:
        """The blocks whose copies add up to a layer's value."""
        return [b for b, block in enumerate(self.blocks) if block.layer == layer]

    def block_weight(self, block: int) -> float:
        """The penalty on a block's output: with n blocks n times the layer's, so that their sum has the layer's."""
        layer = self.blocks[block].layer
        assert layer is not None
        return self.weights[layer + 1] * len(self.blocks_of(layer))

    def lay(self, edge: Edge, value: Array) -> Array:
        """A source's value as the edge's copy holds it."""
        graph = self.graphs[edge.block]
        return value if graph is None or graph.embed is None else graph.embed.apply(value)

    def read(self, edge: Edge, copy: Array) -> Array:
        """The source's entries of an edge's copy."""
        graph = self.graphs[edge.block]
        return copy if graph is None or graph.embed is None else graph.embed.transpose(copy)

    def outputs(self, block: int, copy: Array) -> Array:
        """The map's outputs among the entries of a block's copy."""
        graph = self.graphs[block]
        return copy if graph is None or graph.valid is None else graph.valid.apply(copy)

    def place(self, block: int, outputs: Array) -> Array:
        """Outputs as entries of a block's copy, zero where those are free."""
        graph = self.graphs[block]
        return outputs if graph is None or graph.valid is None else graph.valid.transpose(outputs)

    def project(
        self, rows: Rows, scale: Array, sums: list[Array], edges: list[Array]
    ) -> tuple[list[Array], list[Array]]:
        """argmin over the graphs of c'output + sum of w |u - point|^2 / 2: the blocks' outputs, then the edges.

        Shapes: scale [rows, 1]; sums[b] [rows, outputs of block b] (None is not stored: blocks of the output come
        last and have none); edges[e] [rows, n_source].
        """
        new_sums, new_edges = list(sums), list(edges)
        for b, (block, graph) in enumerate(zip(self.blocks, self.graphs, strict=True)):
            mine = [e for e, edge in enumerate(self.edges) if edge.block == b]
            if graph is None:
                for e, map in zip(mine, block.maps, strict=True):
                    cost = map.transpose(rows.objective)
                    new_edges[e] = edges[e] - cost / (self.edge_weight(self.edges[e]) * scale)
                continue
            points, new_sums[b] = graph.project([edges[e] for e in mine], sums[b])
            for e, point in zip(mine, points, strict=True):
                new_edges[e] = point
        return new_sums, new_edges


def build_graphs(rows: Rows, dual: DualSweep, multipliers: list[Array], penalty: float) -> tuple[AffineGraphs, Array]:
    """Edges, penalties and projections for a batch of rows, and each row's scale [rows, 1].

    Penalties: penalty rms(multipliers_k) / rms(u_k - l_k) over the neurons unstable in the row, split into a part per
    layer shared by the rows (so that one factorisation serves all) and a part per row shared by the layers.

    Shapes: multipliers[k] [rows, n] of layer k.
    """
    layers = network_layers(rows.network)
    blocks, edges = _blocks(rows.network, layers)
    xp = rows.xp
    width = rows.inputs.width
    wanted = [_penalty(dual.input, width, xp.ones_like(width, dtype=xp.bool))]
    for layer, g in zip(layers, multipliers, strict=True):
        k = layer.activation
        if k is None:
            # Nothing bounds these values, so their penalty follows the other layers'.
            wanted.append(xp.zeros_like(rows.offset))
        else:
            wanted.append(_penalty(g, rows.upper[k] - rows.lower[k], rows.lines[k].bent))
    table = penalty * np.stack([to_numpy(column).astype(np.float64) for column in wanted], axis=1)
    table = np.where((table > 0) & np.isfinite(table), table, np.nan)
    known = np.isfinite(table).any(axis=1, keepdims=True)
    typical = np.nanmedian(np.where(known, table, 1.0), axis=1, keepdims=True)
    logs = np.log(np.where(np.isfinite(table), table, typical))
    layer_logs = logs.mean(axis=0)
    scale = np.exp((logs - layer_logs).mean(axis=1, keepdims=True))
    weights = tuple(float(w) for w in np.exp(layer_logs))
    copies = tuple(sum(edge.source == source for edge in edges) for source in range(len(layers) + 1))
    plan = AffineGraphs(layers, blocks, edges, copies, weights, ())
    placement = Placement.of(rows.offset)
    graphs = tuple(_graph(plan, b, placement) for b in range(len(blocks)))
    return AffineGraphs(layers, blocks, edges, copies, weights, graphs), placement.put(scale)


def layer_multipliers(rows: Rows, layers: tuple[GraphLayer, ...], dual: DualSweep) -> list[Array]:
    """The multiplier of every layer's value in a sweep: g of its activation, or what its affine readers pass on."""
    filler = rows.neurons(0.0)
    own = [zero if g is None else g for zero, g in zip(filler, dual.sweep.pre, strict=True)]
    found = []
    for layer in layers:
        if layer.activation is not None:
            found.append(own[layer.activation])
            continue
        total = dual.sweep.nodes[layer.node]
        readers = [k for k, source in enumerate(rows.network.sources) if source == layer.node]
        size = rows.network.nodes[layer.node].size
        zero = rows.xp.zeros((rows.offset.shape[0], size), dtype=rows.offset.dtype, device=rows.offset.device)
        found.append((zero if total is None else total) - sum((own[k] for k in readers), zero))
    return found


def network_layers(network: Network) -> tuple[GraphLayer, ...]:
    """The layers in topological order."""
    layers = []
    for i, affine, k in network.steps:
        if affine is None:
            layers.append(GraphLayer(network.sources[k], k))
        elif network.readers[i] & network.affine.keys():
            layers.append(GraphLayer(i, None))
    return tuple(layers)


def _blocks(network: Network, layers: tuple[GraphLayer, ...]) -> tuple[tuple[CopyBlock, ...], tuple[Edge, ...]]:
    blocks: list[CopyBlock] = []
    for k, node in [*((k, layer.node) for k, layer in enumerate(layers)), (None, network.output)]:
        affine = network.affine[node]
        sources = [_source(network, layers, term.source) for term in affine.terms]
        pairs = [(term.map, source) for term, source in zip(affine.terms, sources, strict=True)]
        matrices = [pair for pair in pairs if isinstance(pair[0], DenseMap)]
        others = [pair for pair in pairs if not isinstance(pair[0], DenseMap)]
        for group in [matrices] * bool(matrices) + [[pair] for pair in others]:
            blocks.append(CopyBlock(k, tuple(map for map, _ in group), tuple(source for _, source in group)))
    edges = [
        Edge(source, b, map)
        for b, block in enumerate(blocks)
        for map, source in zip(block.maps, block.sources, strict=True)
    ]
    return tuple(blocks), tuple(edges)


def _source(network: Network, layers: tuple[GraphLayer, ...], node: int) -> int:
    """The number of the source that a node's value is."""
    if node == 0:
        return 0
    if node in network.affine:
        return next(k for k, layer in enumerate(layers) if layer.node == node and layer.activation is None) + 1
    activation = network.activations.index(node)
    return next(k for k, layer in enumerate(layers) if layer.activation == activation) + 1


def _graph(plan: AffineGraphs, b: int, placement: Placement) -> Graph | None:
    block = plan.blocks[b]
    if block.layer is None:
        return None
    weights = [plan.edge_weight(edge) for edge in plan.edges if edge.block == b]
    return graph_of(list(block.maps), weights, plan.block_weight(b), placement)


def _penalty(multipliers: Array, width: Array, unstable: Array) -> Array:
    xp = namespace(multipliers)
    chosen = xp.astype(unstable, multipliers.dtype)
    count = xp.maximum(xp.sum(chosen, axis=-1), xp.ones_like(chosen[:, 0]))
    root = xp.sqrt(xp.sum(multipliers**2 * chosen, axis=-1) / count)
    spread = xp.sqrt(xp.sum(width**2 * chosen, axis=-1) / count)
    return root / xp.where(spread > 0, spread, xp.ones_like(spread))
