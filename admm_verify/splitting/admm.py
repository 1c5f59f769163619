"""Layered ADMM (Douglas-Rachford): affine graphs on one side, activations and the input set on the other."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array, Placement, namespace, select_rows
from admm_verify.backends.choice import verbs_for
from admm_verify.relaxations.triangle import Triangle
from admm_verify.settings import AdmmSettings
from admm_verify.splitting.affine_graphs import AffineGraphs, build_graphs, layer_multipliers, network_layers
from admm_verify.splitting.primal import PrimalPoint
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import DualSweep, polish_sweep, slope_sweep


@dataclass(frozen=True, eq=False)
class AdmmState:
    """The fixed-point variable z (every block's output and every edge's source) with its Halpern anchor.

    Shapes: sums[b] and edges[e] [rows, n] as their graphs lay them out; scale [rows, 1] the row's factor on all
    penalties; residual and since [rows].
    """

    graphs: AffineGraphs
    scale: Array
    sums: list[Array]
    edges: list[Array]
    anchor_sums: list[Array]
    anchor_edges: list[Array]
    residual: Array
    since: Array


@dataclass(frozen=True, eq=False)
class Points:
    """proj_B(z): the input, (pre, post) of every layer, and z's two parts at these values."""

    x: Array
    layers: list[tuple[Array, Array]]
    sums: list[Array]
    edges: list[Array]


@dataclass(frozen=True)
class Admm:
    """min c'u over u in A (affine graphs), v in B (activations and box), u = v, as a fixed-point iteration on z.

    v = proj_B(z); u = prox of c + indicator of A at 2 v - z, a projection on each affine graph;
    z+ = anchor / (t + 2) + (t + 1) / (t + 2) (z + 2 (u - v)), Halpern's iteration of the reflected operator.
    The multiplier of a layer's value is g = w (u - (2 v - z)), dual feasible because u is optimal on A.

    Reference: DeepSplit, arXiv 2106.09117; Halpern with restarts: Lu and Yang, arXiv 2407.16144 (r2HPDHG).
    """

    settings: AdmmSettings
    passes: int
    stops_at_gap: bool = True

    def start(self, rows: Rows, slopes: list[Array]) -> AdmmState:
        dual = slope_sweep(rows, slopes)
        multipliers = layer_multipliers(rows, network_layers(rows.network), dual)
        graphs, scale = build_graphs(rows, dual, multipliers, self.settings.penalty)
        values, sources = _relaxed_values(rows, graphs, dual)
        sums = []
        for b, block in enumerate(graphs.blocks):
            if block.layer is None:
                continue
            # The node's copies share evenly what clipping to [l, u] moves.
            pull = values[block.layer][1] / len(graphs.blocks_of(block.layer))
            pull = pull + multipliers[block.layer] / (graphs.block_weight(b) * scale)
            image = sum((map.apply(sources[s]) for map, s in zip(block.maps, block.sources, strict=True)), pull)
            sums.append(graphs.place(b, image))
        edges = []
        for edge in graphs.edges:
            layer = graphs.blocks[edge.block].layer
            cost = edge.map.transpose(rows.objective if layer is None else multipliers[layer])
            edges.append(graphs.lay(edge, sources[edge.source] - cost / (graphs.edge_weight(edge) * scale)))
        far, zero = rows.xp.full_like(rows.offset, float("inf")), rows.xp.zeros_like(rows.offset)
        return AdmmState(graphs, scale, sums, edges, sums, edges, far, zero)

    def step(self, rows: Rows, state: AdmmState) -> AdmmState:
        xp, graphs, settings = namespace(state.scale), state.graphs, self.settings
        points, target, edge_target = _reflected(rows, state)
        u_sums, u_edges = graphs.project(rows, state.scale, target, edge_target)
        halpern = verbs_for(Placement.of(state.scale)).halpern
        stepped, squares = [], []
        for arrays in (
            *zip(u_sums, target, state.sums, state.anchor_sums, strict=True),
            *zip(u_edges, edge_target, state.edges, state.anchor_edges, strict=True),
        ):
            moved, square = halpern(*arrays, state.since)
            stepped.append(moved)
            squares.append(square)
        residual = xp.sqrt(_weighted(graphs, squares))
        restart = (residual <= settings.restart * state.residual) | (state.since >= settings.longest)
        count = len(state.sums)
        current = replace(state, sums=stepped[:count], edges=stepped[count:], since=state.since + 1.0)
        return _restarted(rows, state, current, points, restart, residual) if bool(xp.any(restart)) else current

    def multipliers(self, rows: Rows, state: AdmmState) -> list[Array]:
        _, target, edge_target = _reflected(rows, state)
        u_sums, _ = state.graphs.project(rows, state.scale, target, edge_target)
        found = _multipliers(state.graphs, state.scale, _differences(u_sums, target))
        polished = polish_sweep(rows, found).pre
        return [old if g is None else g for g, old in zip(polished, found, strict=True)]

    def point(self, rows: Rows, state: AdmmState) -> PrimalPoint:
        points = _pointwise(rows, state)
        return PrimalPoint(points.x, _shares(rows, state.graphs, points))


def _reflected(rows: Rows, state: AdmmState) -> tuple[Points, list[Array], list[Array]]:
    """v = proj_B(z) and the two parts of 2 v - z."""
    points = _pointwise(rows, state)
    sums = [2.0 * v - z for v, z in zip(points.sums, state.sums, strict=True)]
    return points, sums, [2.0 * v - z for v, z in zip(points.edges, state.edges, strict=True)]


def _relaxed_values(rows: Rows, graphs: AffineGraphs, dual: DualSweep) -> tuple[list[tuple[Array, Array]], list[Array]]:
    """From the best vertex: every layer's (value, what clipping to [l, u] adds to it), and the sources' values."""
    xp, x = rows.xp, rows.inputs.minimiser(dual.input)
    posts: list[Array] = []

    def post(k: int, value: Array) -> Array:
        inside = xp.minimum(xp.maximum(value, rows.lower[k]), rows.upper[k])
        floor, ceiling = rows.relaxations[k].hull(rows.lower[k], rows.upper[k], inside)
        a = dual.sweep.post[k]
        posts.append(floor if a is None else xp.where(a < 0, ceiling, floor))
        return posts[-1]

    found = rows.network.forward(x, post)
    values, sources = [], [x]
    for layer in graphs.layers:
        value, k = found[layer.node], layer.activation
        inside = value if k is None else xp.minimum(xp.maximum(value, rows.lower[k]), rows.upper[k])
        values.append((value, inside - value))
        sources.append(value if k is None else posts[k])
    return values, sources


def _pointwise(rows: Rows, state: AdmmState) -> Points:
    """proj_B(z): copies of one source are averaged, copies of one layer's value are moved alike."""
    graphs = state.graphs
    means = []
    for source in range(len(graphs.layers) + 1):
        copies = [
            graphs.read(edge, z) for edge, z in zip(graphs.edges, state.edges, strict=True) if edge.source == source
        ]
        means.append(sum(copies[1:], copies[0]) / len(copies))
    x = rows.inputs.project(means[0])
    layers, sums = [], list(state.sums)
    for number, (layer, mean) in enumerate(zip(graphs.layers, means[1:], strict=True)):
        node, mine = rows.network.nodes[layer.node], graphs.blocks_of(number)
        target = sum((graphs.outputs(b, state.sums[b]) for b in mine), node.bias)  # pyright: ignore
        k = layer.activation
        if k is None:
            pre = post = 0.5 * (target + mean)
        else:
            pre, post = _projected(rows, k, target, mean)
        for b in mine:
            sums[b] = state.sums[b] + graphs.place(b, (pre - target) / len(mine))
        layers.append((pre, post))
    sources = [x, *(post for _, post in layers)]
    return Points(x, layers, sums, [graphs.lay(edge, sources[edge.source]) for edge in graphs.edges])


def _projected(rows: Rows, k: int, pre: Array, post: Array) -> tuple[Array, Array]:
    """The nearest points of activation k's relaxation."""
    relaxation, lower, upper = rows.relaxations[k], rows.lower[k], rows.upper[k]
    if not isinstance(relaxation, Triangle):
        return relaxation.project(lower, upper, pre, post)
    return verbs_for(Placement.of(rows.offset)).project_triangle(lower, upper, pre, post, rows.order)


def _multipliers(graphs: AffineGraphs, scale: Array, pulls: list[Array]) -> list[Array]:
    """g = w (u - target) of every activation, the mean over its blocks."""
    found = []
    for number, layer in enumerate(graphs.layers):
        if layer.activation is not None:
            mine = graphs.blocks_of(number)
            parts = [graphs.block_weight(b) / len(mine) * graphs.outputs(b, pulls[b]) for b in mine]
            found.append(scale * sum(parts[1:], parts[0]))
    return found


def _shares(rows: Rows, graphs: AffineGraphs, points: Points) -> list[Array]:
    """How far each post lies on the way from its hull's floor to its ceiling, in [0, 1]."""
    xp, shares = rows.xp, []
    for layer, (pre, post) in zip(graphs.layers, points.layers, strict=True):
        k = layer.activation
        if k is not None:
            floor, ceiling = rows.relaxations[k].hull(rows.lower[k], rows.upper[k], pre)
            height = ceiling - floor
            share = (post - floor) / xp.where(height > 0, height, xp.ones_like(height))
            shares.append(xp.where(height > 0, xp.clip(share, 0.0, 1.0), xp.zeros_like(share)))
    return shares


def _restarted(
    rows: Rows, old: AdmmState, state: AdmmState, points: Points, restart: Array, residual: Array
) -> AdmmState:
    """The state with the anchor of some rows moved to their last point, and their penalties rebalanced.

    z = v + multipliers / penalty; since the last anchor v moved by P and z - v by D, both in the penalties' norm. The
    row's penalties are scaled by sqrt(D / P), so that both parts travel alike; v and the multipliers stay.

    Reference: the primal weight update of PDLP (Applegate et al., NeurIPS 2021, section 3.3).
    """
    xp, graphs = namespace(state.scale), state.graphs
    anchor = _pointwise(rows, replace(old, sums=old.anchor_sums, edges=old.anchor_edges))
    pulls = _differences(old.sums, points.sums), _differences(old.edges, points.edges)
    old_pulls = _differences(old.anchor_sums, anchor.sums), _differences(old.anchor_edges, anchor.edges)
    primal = _weighted_square(graphs, _differences(points.sums, anchor.sums), _differences(points.edges, anchor.edges))
    dual = _weighted_square(graphs, *(_differences(a, b) for a, b in zip(pulls, old_pulls, strict=True)))
    moved = restart & (primal > 0) & (dual > 0) & xp.isfinite(old.residual)
    ratio = xp.sqrt(xp.where(moved, dual / xp.where(moved, primal, 1.0), 1.0))
    factor = xp.sqrt(xp.clip(ratio, 1e-2, 1e2))[:, None]

    def placed(values: list[Array], gaps: list[Array], stepped: list[Array]) -> list[Array]:
        rescaled = [v + gap / factor for v, gap in zip(values, gaps, strict=True)]
        return [select_rows(restart, new, z) for new, z in zip(rescaled, stepped, strict=True)]

    sums, edges = placed(points.sums, pulls[0], state.sums), placed(points.edges, pulls[1], state.edges)
    return replace(
        state,
        scale=state.scale * factor,
        sums=sums,
        edges=edges,
        anchor_sums=[select_rows(restart, z, a) for z, a in zip(sums, old.anchor_sums, strict=True)],
        anchor_edges=[select_rows(restart, z, a) for z, a in zip(edges, old.anchor_edges, strict=True)],
        residual=xp.where(restart, residual, old.residual),
        since=xp.where(restart, xp.zeros_like(state.since), state.since),
    )


def _differences(first: list[Array], second: list[Array]) -> list[Array]:
    return [a - b for a, b in zip(first, second, strict=True)]


def _weighted_square(graphs: AffineGraphs, moves: list[Array], edge_moves: list[Array]) -> Array:
    xp = namespace(edge_moves[0])
    return _weighted(graphs, [xp.vecdot(move, move) for move in (*moves, *edge_moves)])


def _weighted(graphs: AffineGraphs, squares: list[Array]) -> Array:
    """The sum of the blocks' and the edges' squares, each times its penalty."""
    blocks = len(squares) - len(graphs.edges)
    weights = [graphs.block_weight(b) for b in range(blocks)] + [graphs.edge_weight(edge) for edge in graphs.edges]
    parts = [weight * square for weight, square in zip(weights, squares, strict=True)]
    return sum(parts[1:], parts[0])
