"""Layered ADMM (Douglas-Rachford): affine graphs on one side, activations and the input set on the other."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array, Placement, namespace
from admm_verify.backends.choice import verbs_for
from admm_verify.relaxations.triangle import Triangle
from admm_verify.settings import AdmmSettings
from admm_verify.splitting.affine_graphs import AffineGraphs, CopyBlock, build_graphs, layer_multipliers, network_layers
from admm_verify.splitting.coupling_graph import CouplingGraph
from admm_verify.splitting.primal import PrimalPoint, best_response, relaxed_values
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import Duals, PerRow
from admm_verify.splitting.sweeps import DualPoint, DualSweep, Units, filled, polish_sweep, slope_sweep
from admm_verify.splitting.vector import Vector

_PERIOD = 6
"""Iterations from one move of anchors to the next on a GPU, where each costs as much as an iteration more."""


@dataclass(frozen=True, eq=False)
class AdmmState(PerRow):
    """The fixed-point variable z with its Halpern anchor.

    scale: the row's factor on all penalties; residual: |u - v| at the last anchor; since: iterations from there, and
    done: from the beginning.
    coupling: the graph of the rows' constraints, None for none.
    Shapes: scale [rows, 1]; residual and since [rows].
    """

    graphs: AffineGraphs
    coupling: CouplingGraph | None
    scale: Array
    z: Vector
    anchor: Vector
    residual: Array
    since: Array
    done: int = 0


@dataclass(frozen=True, eq=False)
class Pointwise:
    """v = proj_B(z), with the input and (pre, post) of every layer that its copies hold."""

    v: Vector
    x: Array
    layers: list[tuple[Array, Array]]

    @property
    def sources(self) -> list[Array]:
        """The input, and the outputs of all layers."""
        return [self.x, *(post for _, post in self.layers)]


@dataclass(frozen=True)
class Admm:
    """min c'u, or |u - target|^2, over u in A (affine graphs), v in B (activations and input set), u = v, as a
    fixed-point iteration on z.

    v = proj_B(z); u = prox of c + indicator of A at 2 v - z, a projection on each affine graph;
    z+ = anchor / (t + 2) + (t + 1) / (t + 2) (z + 2 (u - v)), Halpern's iteration of the reflected operator.
    The multiplier of a layer's value is g = w (u - (2 v - z)), dual feasible because u is optimal on A. aims: False to
    ask for feasibility alone: the least t such that all constraints hold up to t, each in the unit of its graph.

    Reference: DeepSplit, arXiv 2106.09117; Halpern with restarts: Lu and Yang, arXiv 2407.16144 (r2HPDHG).
    """

    settings: AdmmSettings
    passes: int
    stops_at_gap: bool = True
    aims: bool = True

    def start(self, rows: Rows, point: DualPoint) -> AdmmState:
        units = None if rows.aims else Units.of(rows, point)
        if units is not None:
            point = replace(point, coupled=units.multipliers / units.values.shape[1])
        dual = slope_sweep(rows, point)
        multipliers = layer_multipliers(rows, network_layers(rows.network), dual)
        graphs, scale, coupling = build_graphs(rows, dual, multipliers, self.settings.penalty)
        z = _first_vector(rows, graphs, scale, dual, multipliers)
        if coupling is not None and graphs.coupled is not None:
            z = _with_constraints(
                coupling, graphs.coupled, z, scale, point.coupled, pointwise(rows, graphs, z, None, scale).sources
            )
        far, zero = rows.xp.full_like(rows.offset, float("inf")), rows.xp.zeros_like(rows.offset)
        return AdmmState(graphs, coupling, scale, z, z, far, zero)

    def step(self, rows: Rows, state: AdmmState) -> AdmmState:
        graphs, z = state.graphs, state.z
        v = pointwise(rows, graphs, z, state.coupling, state.scale).v
        r = 2.0 * v - z
        u = graphs.project(rows, state.scale, r, state.coupling)
        moved, residual = _halpern(graphs, u, r, z, state.anchor, state.since)
        stepped = replace(state, z=moved, since=state.since + 1.0, done=state.done + 1)
        restart = (residual <= self.settings.restart * state.residual) | (state.since >= self.settings.longest)
        # A GPU does not tell the host whether any row wants to: there all are asked, but only now and then.
        blind = Placement.of(residual).on_gpu
        wanted = state.done % _PERIOD == 0 if blind else bool(rows.xp.any(restart))
        return _restarted(rows, state, stepped, v, restart, residual) if wanted else stepped

    def multipliers(self, rows: Rows, state: AdmmState) -> Duals:
        graphs = state.graphs
        r = 2.0 * pointwise(rows, graphs, state.z, state.coupling, state.scale).v - state.z
        moves = graphs.project(rows, state.scale, r, state.coupling) - r
        found = []
        for layer, images in zip(graphs.layers, graphs.images, strict=True):
            if layer.activation is not None:
                # The layer's multiplier is the mean over its images.
                copies = [(graphs.copies[i], moves.parts[i]) for i in images]
                first, *others = (copy.penalty / len(images) * copy.read(move) for copy, move in copies)
                found.append(state.scale * sum(others, first))
        coupled, block = rows.unweighted(), graphs.coupled
        if state.coupling is not None and block is not None and block.image is not None:
            free = state.scale * moves.parts[block.image] / state.coupling.unit
            coupled = rows.xp.maximum(free, coupled)
        residual = graphs.residual(rows, state.scale, r)
        rows, duals = rows.tilted(residual), Duals(found, coupled, residual)
        return replace(duals, layers=filled(polish_sweep(rows, duals).pre, found))

    def point(self, rows: Rows, state: AdmmState) -> PrimalPoint:
        found = pointwise(rows, state.graphs, state.z, state.coupling, state.scale)
        return PrimalPoint(found.x, _shares(rows, state.graphs, found))


def pointwise(rows: Rows, graphs: AffineGraphs, z: Vector, coupling: CouplingGraph | None, scale: Array) -> Pointwise:
    """proj_B(z): copies of one source are averaged, images that add up to one layer's value are moved alike."""
    x = rows.inputs.project(graphs.mean(z, 0))
    parts, layers = list(z.parts), []
    for number, (layer, images) in enumerate(zip(graphs.layers, graphs.images, strict=True)):
        read = [graphs.copies[i].read(z.parts[i]) for i in images]
        target, mean = sum(read, rows.network.affine[layer.node].bias), graphs.mean(z, number + 1)
        if layer.activation is None:
            pre = post = 0.5 * (target + mean)
        else:
            pre, post = _projected(rows, layer.activation, target, mean)
        for i in images:
            parts[i] = z.parts[i] + graphs.copies[i].lay((pre - target) / len(images))
        layers.append((pre, post))
    found = Pointwise(Vector(parts), x, layers)
    for source, edges in zip(found.sources, graphs.edges, strict=True):
        for e in edges:
            parts[e] = graphs.copies[e].lay(source)
    block = graphs.coupled
    if coupling is not None and block is not None and block.image is not None:
        parts[block.image] = coupling.limited(z.parts[block.image], None if rows.aims else scale)
    return found


def _with_constraints(
    coupling: CouplingGraph, block: CopyBlock, z: Vector, scale: Array, coupled: Array, sources: list[Array]
) -> Vector:
    """The first vector with its copies for constraints, whose multipliers are those given."""
    parts, read = list(z.parts), [sources[s] for s in block.sources]
    pull = coupled * coupling.unit / scale
    assert block.image is not None, "constraints have left sides"
    parts[block.image] = coupling.limited(coupling.apply(read), None) + pull
    for e, x, down in zip(block.edges, read, coupling.pulls(pull), strict=True):
        parts[e] = x - down
    return Vector(parts)


def _projected(rows: Rows, k: int, pre: Array, post: Array) -> tuple[Array, Array]:
    """The nearest points of activation k's relaxation."""
    relaxation = rows.relaxations[k]
    if not isinstance(relaxation, Triangle):
        return relaxation.project(rows.lower[k], rows.upper[k], pre, post)
    held = rows.held
    return verbs_for(Placement.of(rows.offset)).project_triangle(held.lower[k], held.upper[k], pre, post, rows.order)


def _first_vector(rows: Rows, graphs: AffineGraphs, scale: Array, dual: DualSweep, multipliers: list[Array]) -> Vector:
    """z = v + multipliers / penalty, with v the relaxed values of the sweep's best response."""
    xp, values = rows.xp, relaxed_values(rows, best_response(rows, dual))
    sources, parts = [values[0], *(values[layer.output] for layer in graphs.layers)], []
    for block in graphs.blocks:
        k, g = block.layer, rows.objective
        if k is None and block.image is not None:
            # Constraints come last; until they have values of their own, their copies are those of the sources.
            first = rows.unweighted()
            parts += [first, *(sources[s] for s in block.sources)]
            continue
        inward = [(map, sources[s]) for map, s in zip(block.maps, block.sources, strict=True)]
        if k is not None and block.image is not None:
            copy, g, value = graphs.copies[block.image], multipliers[k], values[graphs.layers[k].node]
            pull, activation = g / (copy.penalty * scale), graphs.layers[k].activation
            if activation is not None:
                # The layer's images share evenly what clipping its value to [l, u] moves.
                inside = xp.minimum(xp.maximum(value, rows.lower[activation]), rows.upper[activation])
                pull = (inside - value) / len(graphs.images[k]) + pull
            parts.append(copy.lay(sum((map.apply(x) for map, x in inward), pull)))
        for e, (map, x) in zip(block.edges, inward, strict=True):
            copy = graphs.copies[e]
            parts.append(copy.lay(x - map.transpose(g) / (copy.penalty * scale)))
    return Vector(parts)


def _shares(rows: Rows, graphs: AffineGraphs, found: Pointwise) -> list[Array]:
    """How far each post lies on the way from its hull's floor to its ceiling, in [0, 1]."""
    xp, shares = rows.xp, []
    for layer, (pre, post) in zip(graphs.layers, found.layers, strict=True):
        k = layer.activation
        if k is not None:
            floor, ceiling = rows.relaxations[k].hull(rows.lower[k], rows.upper[k], pre)
            height = ceiling - floor
            share = (post - floor) / xp.where(height > 0, height, xp.ones_like(height))
            shares.append(xp.where(height > 0, xp.clip(share, 0.0, 1.0), xp.zeros_like(share)))
    return shares


def _halpern(
    graphs: AffineGraphs, u: Vector, r: Vector, z: Vector, anchor: Vector, since: Array
) -> tuple[Vector, Array]:
    """Halpern's step and the residual |u - v| in the penalties' norm, with v = (r + z) / 2."""
    halpern = verbs_for(Placement.of(since)).halpern
    found = [halpern(*parts, since) for parts in zip(u.parts, r.parts, z.parts, anchor.parts, strict=True)]
    moved, squares = zip(*found, strict=True)
    return Vector(list(moved)), namespace(since).sqrt(graphs.weighted(squares))


def _restarted(rows: Rows, old: AdmmState, stepped: AdmmState, v: Vector, restart: Array, residual: Array) -> AdmmState:
    """The state with the anchor of some rows moved to their last point z, and their penalties rebalanced.

    z = v + multipliers / penalty; since the last anchor v moved by P and z - v by D, both in the penalties' norm. The
    row's penalties are scaled by sqrt(D / P), so that both parts travel alike; v and the multipliers stay.

    Reference: the primal weight update of PDLP (Applegate et al., NeurIPS 2021, section 3.3).
    """
    xp, graphs = rows.xp, old.graphs
    begin = pointwise(rows, graphs, old.anchor, old.coupling, old.scale).v
    pull = old.z - v
    primal = graphs.weighted((v - begin).squares())
    dual = graphs.weighted((pull - (old.anchor - begin)).squares())
    moved = restart & (primal > 0) & (dual > 0) & xp.isfinite(old.residual)
    ratio = xp.sqrt(xp.where(moved, dual / xp.where(moved, primal, 1.0), 1.0))
    factor = xp.sqrt(xp.clip(ratio, 1e-2, 1e2))[:, None]
    z = (v + pull / factor).where(restart, stepped.z)
    return replace(
        stepped,
        scale=old.scale * factor,
        z=z,
        anchor=z.where(restart, old.anchor),
        residual=xp.where(restart, residual, old.residual),
        since=xp.where(restart, xp.zeros_like(stepped.since), stepped.since),
    )
