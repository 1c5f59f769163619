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
        settings = self.settings
        restart = (residual <= settings.restart * state.residual) | (state.since >= settings.longest)
        current = replace(
            state,
            pre=_halpern(state.pre, moves, state.anchor_pre, state.since),
            edges=_halpern(state.edges, edge_moves, state.anchor_edges, state.since),
            since=state.since + 1.0,
            multipliers=multipliers,
            x=points[0][1],
            shares=[_share(rows, k, p, q) for k, (p, q) in enumerate(points[1:])],
        )
        return _restarted(rows, state, current, points, restart, residual) if bool(xp.any(restart)) else current

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


def _halpern(points: list[Array], moves: list[Array], anchors: list[Array], since: Array) -> list[Array]:
    pull = ((since + 1.0) / (since + 2.0))[:, None]
    return [
        (1.0 - pull) * anchor + pull * (z + 2.0 * move) for z, move, anchor in zip(points, moves, anchors, strict=True)
    ]


def _restarted(
    rows: Rows, old: AdmmState, state: AdmmState, points: list[tuple[Array, Array]], restart: Array, residual: Array
) -> AdmmState:
    """The state with the anchor of some rows moved to their last point, and their penalties rebalanced.

    z = v + multipliers / penalty; since the last anchor v moved by P and z - v by D, both in the penalties' norm. The
    row's penalties are scaled by sqrt(D / P), so that both parts travel alike; v and the multipliers stay.

    Reference: the primal weight update of PDLP (Applegate et al., NeurIPS 2021, section 3.3).
    """
    xp, graphs = namespace(state.scale), state.graphs
    anchor = _pointwise(rows, replace(old, pre=old.anchor_pre, edges=old.anchor_edges))
    now, before = _split(graphs, points, old.pre, old.edges), _split(graphs, anchor, old.anchor_pre, old.anchor_edges)
    primal, dual = (
        xp.sqrt(_weighted_square(graphs, *(_differences(a, b) for a, b in zip(now[i], before[i], strict=True))))
        for i in (0, 1)
    )
    moved = restart & (primal > 0) & (dual > 0) & xp.isfinite(old.residual)
    ratio = xp.where(moved, dual / xp.where(moved, primal, 1.0), 1.0)
    factor = xp.sqrt(xp.clip(ratio, 1e-2, 1e2))[:, None]

    def placed(kind: int, stepped: list[Array]) -> list[Array]:
        rescaled = [v + gap / factor for v, gap in zip(now[0][kind], now[1][kind], strict=True)]
        return [select_rows(restart, new, z) for new, z in zip(rescaled, stepped, strict=True)]

    pre, edges = placed(0, state.pre), placed(1, state.edges)
    return replace(
        state,
        scale=state.scale * factor,
        pre=pre,
        edges=edges,
        anchor_pre=[select_rows(restart, z, a) for z, a in zip(pre, old.anchor_pre, strict=True)],
        anchor_edges=[select_rows(restart, z, a) for z, a in zip(edges, old.anchor_edges, strict=True)],
        residual=xp.where(restart, residual, old.residual),
        since=xp.where(restart, xp.zeros_like(state.since), state.since),
    )


def _split(
    graphs: AffineGraphs, points: list[tuple[Array, Array]], pre: list[Array], edges: list[Array]
) -> tuple[tuple[list[Array], list[Array]], tuple[list[Array], list[Array]]]:
    """v and z - v, each as (pre-activations, edges)."""
    v_pre = [p for p, _ in points[1:]]
    v_edges = [points[edge.source][1] for edge in graphs.edges]
    return (v_pre, v_edges), (_differences(pre, v_pre), _differences(edges, v_edges))


def _differences(first: list[Array], second: list[Array]) -> list[Array]:
    return [a - b for a, b in zip(first, second, strict=True)]


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
