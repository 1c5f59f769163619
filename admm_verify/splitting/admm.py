"""Layered ADMM (Douglas-Rachford): affine graphs on one side, activations and the input set on the other."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array, namespace, select_rows
from admm_verify.relaxations import triangle
from admm_verify.settings import AdmmSettings
from admm_verify.splitting.affine_graphs import AffineGraphs, factorise
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import best_vertex, polish_sweep, pre_activations, slope_sweep


@dataclass(frozen=True, eq=False)
class AdmmState:
    """The fixed-point variable z (pre-activations and one copy of its source per edge) with its Halpern anchor.

    Shapes: pre[k] [rows, n_k]; edges[e] [rows, n_source]; scale [rows, 1] the row's factor on all penalties; residual
    and since [rows]; multipliers[k], shares[k] [rows, n_k]; x [rows, n_0].
    """

    graphs: AffineGraphs
    scale: Array
    pre: list[Array]
    edges: list[Array]
    anchor_pre: list[Array]
    anchor_edges: list[Array]
    residual: Array
    since: Array
    multipliers: list[Array]
    x: Array
    shares: list[Array]


@dataclass(frozen=True)
class Admm:
    """min c'u over u in A (affine graphs), v in B (activations and box), u = v, as a fixed-point iteration on z.

    v = proj_B(z); u = prox of c + indicator of A at 2 v - z, a projection on each affine graph;
    z+ = anchor / (t + 2) + (t + 1) / (t + 2) (z + 2 (u - v)), Halpern's iteration of the reflected operator.
    The multiplier of pre_k is g_k = w_k (u - (2 v - z)), dual feasible because u is optimal on A.

    Reference: DeepSplit, arXiv 2106.09117; Halpern with restarts: Lu and Yang, arXiv 2407.16144 (r2HPDHG).
    """

    settings: AdmmSettings
    passes: int
    stops_at_gap: bool = True

    def start(self, rows: Rows, slopes: list[Array]) -> AdmmState:
        dual = slope_sweep(rows, slopes)
        xp = namespace(dual.value)
        multipliers = [
            xp.zeros_like(slope) if g is None else g for slope, g in zip(slopes, dual.sweep.pre, strict=True)
        ]
        graphs, scale = factorise(rows, dual.input, multipliers, self.settings.penalty)
        x = best_vertex(rows, dual.input)
        signs = [xp.zeros_like(g) if a is None else a for g, a in zip(multipliers, dual.sweep.post, strict=True)]
        sources = [x]

        def post(k: int, value: Array) -> Array:
            value = xp.minimum(xp.maximum(value, rows.lower[k]), rows.upper[k])
            chord = rows.lines[k].upper_slope * value + rows.lines[k].upper_intercept
            sources.append(xp.where(signs[k] < 0, chord, xp.maximum(value, xp.zeros_like(value))))
            return sources[-1]

        values = pre_activations(rows, rows.network.forward(x, post))
        values = [
            xp.minimum(xp.maximum(value, low), high)
            for value, low, high in zip(values, rows.lower, rows.upper, strict=True)
        ]
        pre = [
            value + g / (weight * scale)
            for value, g, weight in zip(values, multipliers, graphs.weights[1:], strict=True)
        ]
        edges = []
        for edge in graphs.edges:
            pull = rows.objective if edge.layer is None else multipliers[edge.layer]
            edges.append(sources[edge.source] - edge.map.transpose(pull) / (graphs.edge_weight(edge) * scale))
        far, zero = xp.full_like(rows.offset, float("inf")), xp.zeros_like(rows.offset)
        return AdmmState(
            graphs, scale, pre, edges, pre, edges, far, zero, multipliers, x, [xp.zeros_like(g) for g in multipliers]
        )

    def step(self, rows: Rows, state: AdmmState) -> AdmmState:
        xp, graphs = namespace(state.scale), state.graphs
        points = _pointwise(rows, state)
        u_pre, u_edges, multipliers = graphs.project(
            rows,
            state.scale,
            [2.0 * p - z for (p, _), z in zip(points[1:], state.pre, strict=True)],
            [2.0 * points[edge.source][1] - z for edge, z in zip(graphs.edges, state.edges, strict=True)],
        )
        moves = [u - p for u, (p, _) in zip(u_pre, points[1:], strict=True)]
        edge_moves = [u - points[edge.source][1] for u, edge in zip(u_edges, graphs.edges, strict=True)]
        residual = xp.sqrt(_weighted_square(graphs, moves, edge_moves))
        # The anchor moves to the current point once the residual has fallen enough; a fresh row starts that way.
        restart = residual <= self.settings.restart * state.residual
        since = xp.where(restart, xp.zeros_like(state.since), state.since)
        anchor_pre = [select_rows(restart, z, a) for z, a in zip(state.pre, state.anchor_pre, strict=True)]
        anchor_edges = [select_rows(restart, z, a) for z, a in zip(state.edges, state.anchor_edges, strict=True)]
        pull = ((since + 1.0) / (since + 2.0))[:, None]
        return replace(
            state,
            pre=_halpern(state.pre, moves, anchor_pre, pull),
            edges=_halpern(state.edges, edge_moves, anchor_edges, pull),
            anchor_pre=anchor_pre,
            anchor_edges=anchor_edges,
            residual=xp.where(restart, residual, state.residual),
            since=since + 1.0,
            multipliers=multipliers,
            x=points[0][1],
            shares=[_share(rows, k, p, q) for k, (p, q) in enumerate(points[1:])],
        )

    def multipliers(self, rows: Rows, state: AdmmState) -> list[Array]:
        polished = polish_sweep(rows, state.multipliers).sweep.pre
        return [old if g is None else g for g, old in zip(polished, state.multipliers, strict=True)]

    def point(self, rows: Rows, state: AdmmState) -> PrimalPoint:
        return PrimalPoint(state.x, state.shares)


def _pointwise(rows: Rows, state: AdmmState) -> list[tuple[Array, Array]]:
    """proj_B(z): (x, x) for the input, then (pre, post) per activation; copies of one source are averaged."""
    xp, graphs = namespace(state.scale), state.graphs
    means = []
    for source in range(len(rows.lower) + 1):
        copies = [z for edge, z in zip(graphs.edges, state.edges, strict=True) if edge.source == source]
        means.append(sum(copies[1:], copies[0]) / len(copies))
    x = xp.minimum(xp.maximum(means[0], rows.box_lower), rows.box_upper)
    layers = zip(rows.lower, rows.upper, state.pre, means[1:], strict=True)
    return [(x, x)] + [triangle.project(low, high, pre, post) for low, high, pre, post in layers]


def _halpern(points: list[Array], moves: list[Array], anchors: list[Array], pull: Array) -> list[Array]:
    return [
        (1.0 - pull) * anchor + pull * (z + 2.0 * move) for z, move, anchor in zip(points, moves, anchors, strict=True)
    ]


def _weighted_square(graphs: AffineGraphs, moves: list[Array], edge_moves: list[Array]) -> Array:
    xp = namespace(edge_moves[0])
    weights = [*graphs.weights[1:], *(graphs.edge_weight(edge) for edge in graphs.edges)]
    squares = [w * xp.sum(move * move, axis=-1) for w, move in zip(weights, [*moves, *edge_moves], strict=True)]
    return sum(squares[1:], squares[0])


def _share(rows: Rows, k: int, pre: Array, post: Array) -> Array:
    """How far post lies on the way from relu(pre) to the chord, in [0, 1]."""
    xp, line = namespace(pre), rows.lines[k]
    floor = xp.maximum(pre, xp.zeros_like(pre))
    height = line.upper_slope * pre + line.upper_intercept - floor
    share = (post - floor) / xp.where(height > 0, height, xp.ones_like(height))
    return xp.where(height > 0, xp.clip(share, 0.0, 1.0), xp.zeros_like(share))
