"""Layered ADMM (Douglas-Rachford): affine graphs on one side, activations and the input set on the other."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array, Placement, namespace, select_rows
from admm_verify.backends.choice import verbs_for
from admm_verify.relaxations.triangle import Triangle
from admm_verify.settings import AdmmSettings
from admm_verify.splitting.affine_graphs import AffineGraphs, CopyBlock, build_graphs, layer_multipliers, network_layers
from admm_verify.splitting.coupling_graph import CouplingGraph
from admm_verify.splitting.primal import PrimalPoint, best_response, relaxed_values
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import Duals, PerRow
from admm_verify.splitting.sweeps import DualPoint, DualSweep, Units, filled, polish_sweep, slope_sweep

_PERIOD = 6
"""Iterations from one move of anchors to the next on a GPU, where each costs as much as an iteration more.

That alone is why bounds there differ by more than rounding from the host's, by some percent before they converge.
"""


@dataclass(frozen=True, eq=False)
class AdmmState(PerRow):
    """The fixed-point variable z with its Halpern anchor.

    scale: the row's factor on all penalties; residual: |u - v| at the last anchor; since: iterations from there, and
    done: from the beginning.
    coupling: the graph of the rows' constraints, None for none; pulls: of a linear objective, None for a quadratic one.
    Shapes: scale [rows, 1]; residual and since [rows]; z, anchor [rows, columns].
    """

    graphs: AffineGraphs
    coupling: CouplingGraph | None
    scale: Array
    pulls: list[Array] | None
    z: Array
    anchor: Array
    residual: Array
    since: Array
    done: int = 0

    @property
    def kind(self) -> bool:
        """Whether anchors may move in the next step on a GPU, which decides what that launches."""
        return self.done % _PERIOD == 0


@dataclass(frozen=True, eq=False)
class Pointwise:
    """r = 2 v - z for v = proj_B(z), with the input and the (pre, post) of all layers that v holds.

    Shapes: reflected [rows, columns]; pre, post [rows, all].
    """

    reflected: Array
    x: Array
    pre: Array
    post: Array


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
            found = pointwise(rows, graphs, z, None, scale)
            sources = [found.x, *graphs.packing.outputs(found.post)]
            z = _with_constraints(coupling, graphs, graphs.coupled, z, scale, point.coupled, sources)
        far, zero = rows.xp.full_like(rows.offset, float("inf")), rows.xp.zeros_like(rows.offset)
        pulls = graphs.pulls(rows, rows.objective) if rows.squares is None else None
        return AdmmState(graphs, coupling, scale, pulls, z, z, far, zero)

    def step(self, rows: Rows, state: AdmmState) -> AdmmState:
        graphs, z = state.graphs, state.z
        r = pointwise(rows, graphs, z, state.coupling, state.scale).reflected
        u = graphs.project(rows, state.scale, r, state.pulls, state.coupling)
        halpern = verbs_for(Placement.of(z)).halpern
        moved, square = halpern(u, r, z, state.anchor, graphs.packing.weight, state.since, None)
        residual = rows.xp.sqrt(square)
        stepped = replace(state, z=moved, since=state.since + 1.0, done=state.done + 1)
        restart = (residual <= self.settings.restart * state.residual) | (state.since >= self.settings.longest)
        # A GPU does not tell the host whether any row wants to: there all are asked, but only now and then.
        blind = Placement.of(residual).on_gpu
        wanted = state.kind if blind else bool(rows.xp.any(restart))
        return _restarted(rows, state, stepped, r, restart, residual) if wanted else stepped

    def multipliers(self, rows: Rows, state: AdmmState) -> Duals:
        graphs = state.graphs
        r = pointwise(rows, graphs, state.z, state.coupling, state.scale).reflected
        moves = graphs.project(rows, state.scale, r, state.pulls, state.coupling) - r
        # A layer's multiplier is the mean over its images.
        layers = graphs.packing.values(state.scale * graphs.packing.penalties.gathered(moves))
        found = [g for layer, g in zip(graphs.layers, layers, strict=True) if layer.activation is not None]
        coupled, block = rows.unweighted(), graphs.coupled
        if state.coupling is not None and block is not None and block.image is not None:
            free = state.scale * moves[:, graphs.copies[block.image].columns] / state.coupling.unit
            coupled = rows.xp.maximum(free, coupled)
        residual = graphs.residual(rows, state.scale, r)
        rows, duals = rows.tilted(residual), Duals(found, coupled, residual)
        return replace(duals, layers=filled(polish_sweep(rows, duals).pre, found))

    def point(self, rows: Rows, state: AdmmState) -> PrimalPoint:
        found = pointwise(rows, state.graphs, state.z, state.coupling, state.scale)
        return PrimalPoint(found.x, _shares(rows, state.graphs, found))


def pointwise(rows: Rows, graphs: AffineGraphs, z: Array, coupling: CouplingGraph | None, scale: Array) -> Pointwise:
    """proj_B(z): copies of one source are averaged, images that add up to one layer's value are moved alike."""
    packing = graphs.packing
    x = rows.inputs.project(packing.inputs.gathered(z))
    target, mean = packing.targets.gathered(z), packing.means.gathered(z)
    pre, post = _projected(rows, graphs, target, mean)
    back, block = [x, pre - target, post], graphs.coupled
    if block is not None and block.image is not None:
        sides = z[:, graphs.copies[block.image].columns]
        # Until constraints have values of their own, their copies stay where they are.
        back.append(sides if coupling is None else coupling.limited(sides, None if rows.aims else scale))
    reflect, source = verbs_for(Placement.of(z)).reflect, rows.xp.concat(back, axis=-1)
    return Pointwise(reflect(z, source, packing.sign, packing.gain, packing.back, None), x, pre, post)


def _with_constraints(
    coupling: CouplingGraph,
    graphs: AffineGraphs,
    block: CopyBlock,
    z: Array,
    scale: Array,
    coupled: Array,
    sources: list[Array],
) -> Array:
    """The first vector with its copies for constraints, whose multipliers are those given."""
    read = [sources[s] for s in block.sources]
    pull = coupled * coupling.unit / scale
    assert block.image is not None, "constraints have left sides"
    parts = [z[:, : graphs.copies[block.image].first], coupling.limited(coupling.apply(read), None) + pull]
    # Their columns are the last ones.
    parts += [x - down for x, down in zip(read, coupling.pulls(pull), strict=True)]
    return namespace(z).concat(parts, axis=-1)


def _projected(rows: Rows, graphs: AffineGraphs, pre: Array, post: Array) -> tuple[Array, Array]:
    """The nearest points of the activations' relaxations; where there is none, of pre = post."""
    held, packing, xp = rows.held, graphs.packing, rows.xp
    plain = all(type(one) is Triangle for one in rows.relaxations)
    if plain and all(layer.activation is not None for layer in graphs.layers) and graphs.layers:
        lower, upper = held.joined
        return verbs_for(Placement.of(pre)).project_triangle(lower, upper, pre, post, rows.order)
    found = []
    for layer, target, mean in zip(graphs.layers, packing.values(pre), packing.outputs(post), strict=True):
        k = layer.activation
        middle = 0.5 * (target + mean) if k is None else None
        found.append((middle, middle) if k is None else _on_hull(rows, k, target, mean))
    if not found:
        return pre, post
    first, second = zip(*found, strict=True)
    return xp.concat(list(first), axis=-1), xp.concat(list(second), axis=-1)


def _on_hull(rows: Rows, k: int, pre: Array, post: Array) -> tuple[Array, Array]:
    """The nearest points of activation k's relaxation."""
    relaxation, held = rows.relaxations[k], rows.held
    if not isinstance(relaxation, Triangle):
        return relaxation.project(rows.lower[k], rows.upper[k], pre, post)
    return verbs_for(Placement.of(pre)).project_triangle(held.lower[k], held.upper[k], pre, post, rows.order)


def _first_vector(rows: Rows, graphs: AffineGraphs, scale: Array, dual: DualSweep, multipliers: list[Array]) -> Array:
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
    count = rows.offset.shape[0]
    return xp.concat([xp.broadcast_to(part, (count, part.shape[-1])) for part in parts], axis=-1)


def _shares(rows: Rows, graphs: AffineGraphs, found: Pointwise) -> list[Array]:
    """How far each post lies on the way from its hull's floor to its ceiling, in [0, 1]."""
    xp, shares, packing = rows.xp, [], graphs.packing
    for layer, pre, post in zip(graphs.layers, packing.values(found.pre), packing.outputs(found.post), strict=True):
        k = layer.activation
        if k is not None:
            floor, ceiling = rows.relaxations[k].hull(rows.lower[k], rows.upper[k], pre)
            height = ceiling - floor
            share = (post - floor) / xp.where(height > 0, height, xp.ones_like(height))
            shares.append(xp.where(height > 0, xp.clip(share, 0.0, 1.0), xp.zeros_like(share)))
    return shares


def _restarted(rows: Rows, old: AdmmState, stepped: AdmmState, r: Array, restart: Array, residual: Array) -> AdmmState:
    """The state with the anchor of some rows moved to their last point z, and their penalties rebalanced.

    z = v + multipliers / penalty; since the last anchor v moved by P and z - v by D, both in the penalties' norm. The
    row's penalties are scaled by sqrt(D / P), so that both parts travel alike; v and the multipliers stay.

    Reference: the primal weight update of PDLP (Applegate et al., NeurIPS 2021, section 3.3).
    """
    xp, graphs = rows.xp, old.graphs
    begin = 0.5 * (pointwise(rows, graphs, old.anchor, old.coupling, old.scale).reflected + old.anchor)
    v, pull = 0.5 * (r + old.z), 0.5 * (old.z - r)
    primal = graphs.weighted((v - begin) ** 2)
    dual = graphs.weighted((pull - (old.anchor - begin)) ** 2)
    moved = restart & (primal > 0) & (dual > 0) & xp.isfinite(old.residual)
    ratio = xp.sqrt(xp.where(moved, dual / xp.where(moved, primal, 1.0), 1.0))
    factor = xp.sqrt(xp.clip(ratio, 1e-2, 1e2))[:, None]
    z = select_rows(restart, v + pull / factor, stepped.z)
    return replace(
        stepped,
        scale=old.scale * factor,
        z=z,
        anchor=select_rows(restart, z, old.anchor),
        residual=xp.where(restart, residual, old.residual),
        since=xp.where(restart, xp.zeros_like(stepped.since), stepped.since),
    )
