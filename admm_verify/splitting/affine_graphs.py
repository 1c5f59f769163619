"""Projections on the affine graphs {(sources, pre) : pre = sum W source + b}, one factorisation per node."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.network.maps import LinearMap
from admm_verify.splitting.problem import Rows


@dataclass(frozen=True, eq=False)
class Edge:
    """A copy of a source that one affine node reads. source 0 is the input, k + 1 activation k; layer is the
    activation the node feeds, None for the output, whose edges carry the objective.
    """

    source: int
    layer: int | None
    map: LinearMap


@dataclass(frozen=True, eq=False)
class Factor:
    """Thin singular value decomposition U diag(s) V' of a node's scaled matrix, sources side by side."""

    left: Array
    values: Array
    right: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class AffineGraphs:
    """All edges and factorised nodes of a network.

    weights[s]: penalty of source s and of its pre-activation, shared by all rows up to the row's own scale; it is
    divided evenly among the copies of the source.
    """

    edges: tuple[Edge, ...]
    copies: tuple[int, ...]
    weights: tuple[float, ...]
    factors: tuple[Factor, ...]

    def edge_weight(self, edge: Edge) -> float:
        """The penalty on one copy of a source."""
        return self.weights[edge.source] / self.copies[edge.source]

    def project(
        self, rows: Rows, scale: Array, pre: list[Array], edges: list[Array]
    ) -> tuple[list[Array], list[Array], list[Array]]:
        """argmin over the affine graphs of c'output + sum of w |u - point|^2 / 2, and the multipliers of pre.

        With M = sqrt(w_pre) W / sqrt(w_source) = U s V': y = (U'p - s V'x) / (1 + s^2), x+ = x + V s y, p+ = M x+.

        Shapes: scale [rows, 1]; pre[k] [rows, n_k]; edges[e] [rows, n_source].
        """
        xp = namespace(scale)
        new_edges: list[Array] = []
        for edge, point in zip(self.edges, edges, strict=True):
            if edge.layer is None:
                cost = edge.map.transpose(rows.objective)
                new_edges.append(point - cost / (self.edge_weight(edge) * scale))
            else:
                new_edges.append(point)
        new_pre, multipliers = [], []
        for k, (factor, target) in enumerate(zip(self.factors, pre, strict=True)):
            mine = [e for e, edge in enumerate(self.edges) if edge.layer == k]
            roots = [self.edge_weight(self.edges[e]) ** 0.5 for e in mine]
            root = self.weights[k + 1] ** 0.5
            x = xp.concat([root_e * edges[e] for e, root_e in zip(mine, roots, strict=True)], axis=-1)
            p = root * (target - factor.bias)
            along = x @ factor.right.T
            y = (p @ factor.left - factor.values * along) / (1.0 + factor.values * factor.values)
            x = x + (factor.values * y) @ factor.right
            p = (factor.values * (along + factor.values * y)) @ factor.left.T
            offset = 0
            for e, root_e in zip(mine, roots, strict=True):
                size = edges[e].shape[-1]
                new_edges[e] = x[:, offset : offset + size] / root_e
                offset += size
            new_pre.append(p / root + factor.bias)
            multipliers.append(self.weights[k + 1] * scale * (new_pre[-1] - target))
        return new_pre, new_edges, multipliers


def factorise(
    rows: Rows, input_coefficient: Array, multipliers: list[Array], penalty: float
) -> tuple[AffineGraphs, Array]:
    """Edges, penalties and factorisations for a batch of rows, and each row's scale [rows, 1].

    Penalties: penalty rms(multipliers_k) / rms(u_k - l_k) over the neurons unstable in the row, split into a part per
    layer shared by the rows (so that one factorisation serves all) and a part per row shared by the layers.
    """
    xp = namespace(input_coefficient)
    everywhere = xp.ones_like(rows.box_lower, dtype=xp.bool)
    wanted = [_penalty(input_coefficient, rows.box_upper - rows.box_lower, everywhere)]
    for g, low, high in zip(multipliers, rows.lower, rows.upper, strict=True):
        wanted.append(_penalty(g, high - low, (low < 0) & (high > 0)))
    table = penalty * np.stack([to_numpy(column).astype(np.float64) for column in wanted], axis=1)
    table = np.where((table > 0) & np.isfinite(table), table, np.nan)
    known = np.isfinite(table).any(axis=1, keepdims=True)
    typical = np.nanmedian(np.where(known, table, 1.0), axis=1, keepdims=True)
    logs = np.log(np.where(np.isfinite(table), table, typical))
    layer_logs = logs.mean(axis=0)
    scale = np.exp((logs - layer_logs).mean(axis=1, keepdims=True))
    weights = tuple(float(w) for w in np.exp(layer_logs))
    edges, copies = _edges(rows.network)
    graphs = AffineGraphs(edges, copies, weights, ())
    factors = tuple(_factor(rows, graphs, k) for k in range(len(multipliers)))
    return AffineGraphs(edges, copies, weights, factors), Placement.of(rows.offset).put(scale)


def _penalty(multipliers: Array, width: Array, unstable: Array) -> Array:
    xp = namespace(multipliers)
    chosen = xp.astype(unstable, multipliers.dtype)
    count = xp.maximum(xp.sum(chosen, axis=-1), xp.ones_like(chosen[:, 0]))
    root = xp.sqrt(xp.sum(multipliers**2 * chosen, axis=-1) / count)
    spread = xp.sqrt(xp.sum(width**2 * chosen, axis=-1) / count)
    return root / xp.where(spread > 0, spread, xp.ones_like(spread))


def _edges(network: Network) -> tuple[tuple[Edge, ...], tuple[int, ...]]:
    number = {0: 0} | {node: k + 1 for k, node in enumerate(network.activations)}
    feeds = {node.source: number[i] - 1 for i, node in enumerate(network.nodes) if isinstance(node, Activation)}
    edges = tuple(
        Edge(number[term.source], feeds.get(i), term.map)
        for i, node in enumerate(network.nodes)
        if isinstance(node, Affine)
        for term in node.terms
    )
    counts = [sum(edge.source == source for edge in edges) for source in range(len(number))]
    return edges, tuple(counts)


def _factor(rows: Rows, graphs: AffineGraphs, k: int) -> Factor:
    """The decomposition of activation k's affine node, computed on the host in float64."""
    root = graphs.weights[k + 1] ** 0.5
    parts = [
        to_numpy(edge.map.put(Placement.numpy()).dense().weight) * (root / graphs.edge_weight(edge) ** 0.5)
        for edge in graphs.edges
        if edge.layer == k
    ]
    # The decomposition refuses what is not finite; a graph lost to overflow costs accuracy, never the bound.
    matrix = np.nan_to_num(np.concatenate(parts, axis=1), nan=0.0, posinf=0.0, neginf=0.0)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    node = rows.network.nodes[rows.network.activations[k]]
    assert isinstance(node, Activation)
    affine = rows.network.nodes[node.source]
    assert isinstance(affine, Affine)
    put = Placement.of(rows.offset).put
    return Factor(put(left), put(values), put(right), affine.bias)
