"""`local_lipschitz`: how steep a network is over a set of inputs, at most and at least."""

import time
from dataclasses import dataclass, field, replace

import numpy as np

from admm_verify.arrays import Placement, gamma, quiet_overflow
from admm_verify.bounds.preactivation import input_rows
from admm_verify.errors import InputError
from admm_verify.lipschitz.constant import ConstantBound
from admm_verify.lipschitz.layers import LayerNorm, layer_norms_of, steps_of
from admm_verify.lipschitz.local_point import SteepestPoint
from admm_verify.lipschitz.local_region import SteepRegion, enclosed_norm, freed
from admm_verify.lipschitz.local_rows import (
    DirectedRows,
    RowConstants,
    columns_above,
    given_rows,
    row_bounds,
    rows_above,
    rows_of_whole,
)
from admm_verify.lipschitz.local_search import split_region
from admm_verify.lipschitz.segments import Segment, by_forms, by_layers, by_search, segments_of, total
from admm_verify.lipschitz.settings import LocalLipschitzSettings
from admm_verify.memory import memory_errors
from admm_verify.network.graph import Network, check_network
from admm_verify.options import instance, member
from admm_verify.run import Ended, Run, Stopped
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.norm_names import NormName, norm_name
from admm_verify.sets.sparse import Sparse
from admm_verify.text_tables import table
from admm_verify.threads import threads_for


@dataclass(frozen=True, eq=False, repr=False)
class LocalLipschitz:
    """lower <= the least L with |f(x) - f(y)| <= L |x - y| for all x and y of a set of inputs <= upper.

    Both are certified, in real numbers; upper is infinite where no bound is known. lower is at most the norm of the
    Jacobian at the point, and 0 without one: where none is found, or the set has no inside. rows: what was asked of
    rows and directions. bounds: all certified constants in the order in which they were found. open_neurons: those
    whose slopes differ over the set; subproblems: parts that the set was split into.
    Shapes: point [*input_shape].
    """

    network: str
    norm: NormName
    upper: float
    lower: float
    point: np.ndarray | None
    rows: RowConstants | None
    bounds: tuple[ConstantBound, ...]
    open_neurons: int
    subproblems: int
    status: Ended
    seconds: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", member(self.status, "The status of the constant", Ended))

    def __repr__(self) -> str:
        """A table of the bounds, and the enclosure."""
        lines = [(bound.method, f"{bound.value:.6g}", f"{bound.seconds:.2f}") for bound in self.bounds]
        head = f"{table(('bound', 'constant <=', 'seconds'), lines)}\n" if lines else ""
        rows = "" if self.rows is None else f"{self.rows!r}\n"
        return (
            f"{head}{rows}{self.network}, {self.norm}, over the set: {self.lower:.6g} <= Lipschitz constant <= "
            f"{self.upper:.6g} ({self.status.value}, {self.open_neurons} neurons with several slopes, "
            f"{self.subproblems} parts, {self.seconds:.2f} s)"
        )


@dataclass(eq=False)
class _Notes:
    """The certified constants so far, in the order in which they were found."""

    began: float
    bounds: list[ConstantBound] = field(default_factory=list)

    @property
    def least(self) -> float:
        return min((bound.value for bound in self.bounds), default=np.inf)

    def note(self, method: str, value: float) -> None:
        if np.isfinite(value) and value < self.least:
            self.bounds.append(ConstantBound(method, float(value), time.monotonic() - self.began))


@memory_errors()
def local_lipschitz(
    network: Network,
    inputs: WalkableSet,
    *,
    norm: NormName | float = "l2",
    rows: np.ndarray | DirectedRows | None = None,
    settings: LocalLipschitzSettings | None = None,
    run: Run | None = None,
) -> LocalLipschitz:
    """A Lipschitz constant of a network over a convex set of inputs, |f(x) - f(y)|_p <= L |x - y|_p for x, y in it.

    Over the set, neurons take values between bounds, which leave their slopes between others: of rectifiers 0 or 1
    where the sign is known. From fast to close, the least one counts: all Jacobians entry by entry; norms of layers;
    multipliers per layer and per neuron, in systems of the neurons alone whose slopes differ (local LipSDP); in linf
    and l1 with scales of inputs, for every row or column; for sets of few inputs, the set in parts: split at kinks, or
    halved, until both ends agree. When the run is over, what was found until then holds.

    rows: c of functionals c'f of the outputs, to be bounded by themselves: |c'f(x) - c'f(y)| <= L_c |x - y|_p, such as
    the margins of classes; with directions, too, as `DirectedRows`.
    Shapes: inputs one set of numbers [*input_shape]; rows [k, outputs].
    Raises: InputError for what is no network, set, norm, rows, settings or run, batches of sets, sets that are not
    convex, or a network that ends in a softmax or the like.
    Error: rounded outward, the lower end inward; multipliers are proved by a factorisation in floating point.
    Reference: Clarke, Optimization and Nonsmooth Analysis, 1983 (2.6.5: differences are Jacobians times differences);
    Fazlyab et al., NeurIPS 2019.
    """
    began, run = time.monotonic(), Run.of(run)
    network, name = check_network(network), norm_name(norm)
    chosen = LocalLipschitzSettings() if settings is None else instance(settings, LocalLipschitzSettings, "settings")
    flat, asked = _one_set(network, inputs), given_rows(network, rows)
    network.check_finite()
    graph, notes = network.put(Placement.numpy()), _Notes(began)
    status, steep, region, found, parts = Ended.COMPLETE, None, None, None, 0
    with threads_for(graph.weight_count, most=run.threads), quiet_overflow(), run.watching():
        try:
            region = SteepRegion.of(graph, flat, chosen.bounds, run)
            steep = SteepestPoint(graph, flat, name, region.free)
            _bounded(region, name, chosen, run, notes)
            steep.ascend(chosen.points, chosen.rounds, run)
            if asked is not None:
                found = row_bounds(region, asked, name, notes.least, chosen, run)
            for count, value in split_region(region, steep, notes.least, chosen, run):
                notes.note("parts of the set", value)
                parts = count
        except Stopped:
            status = Ended.TIMED_OUT
    best = None if steep is None else steep.best
    return LocalLipschitz(
        network.name,
        name,
        notes.least,
        0.0 if best is None else best.slope,
        None if best is None else best.point.reshape(network.input_shape),
        None if asked is None else rows_of_whole(asked, name, notes.least).cut(found),
        tuple(notes.bounds),
        0 if region is None else region.open_count,
        parts,
        run.ended() or status,
        time.monotonic() - began,
    )


def _one_set(network: Network, inputs: WalkableSet) -> WalkableSet:
    """A set [1, n] of vectors, in float64.

    Raises: InputError for several sets, and for those that are not convex.
    """
    flat = input_rows(network, inputs).put(Placement.numpy())
    if flat.count != 1:
        raise InputError(f"The inputs are {flat.count} sets; give one, and ask for others one by one.")
    if isinstance(inputs, Sparse):
        raise InputError(
            "A set of inputs with few changed entries is not convex, and differences across it are none inside; give "
            "the av.Box or av.Ball around it."
        )
    return flat


def _bounded(region: SteepRegion, norm: NormName, chosen: LocalLipschitzSettings, run: Run, notes: _Notes) -> None:
    """Note one bound after the other, from fast to close."""
    if region.jacobian is not None:
        notes.note("entries of Jacobians", enclosed_norm(*region.jacobian, norm))
    sizes = {"l1": region.graph.output_size, "l2": 1, "linf": int(np.sum(region.free))}
    # |x|_2 <= sqrt(n) |x|_inf, |y|_1 <= sqrt(m) |y|_2 and |x|_2 <= |x|_1.
    factor = float(np.sqrt(sizes[norm])) * (1.0 + gamma(4))
    parts = _segments(region)
    notes.note("product of norms", factor * total(parts))
    by_layers(parts)
    notes.note("multipliers per layer", factor * total(parts))
    by_forms(parts)
    notes.note("multipliers in closed form", factor * total(parts))
    if not chosen.semidefinite or run.over():
        return
    for _ in by_search(parts, chosen.tolerance, run):
        notes.note("multipliers per neuron", factor * total(parts))
    if norm != "l2":
        for least in (rows_above if norm == "linf" else columns_above)(region, notes.least, run):
            notes.note("multipliers and scales", least)


def _segments(region: SteepRegion) -> list[Segment]:
    """The parts of the network between which all paths pass, with slopes as they are over the set."""
    graph = region.graph
    steps = steps_of(graph)
    # Norms of large convolutions take seconds: only where there is no system of all neurons.
    layers = [_local(layer, region) for layer in layer_norms_of(graph, steps, "l2", False, region.system is not None)]
    parts = segments_of(graph, layers, region.slopes)
    if parts[0].system is not None:
        parts[0].system = freed(parts[0].system, region.free)
    return parts


def _local(layer: LayerNorm, region: SteepRegion) -> LayerNorm:
    """The norm of an activation over the set in l2, where it is less: of k operands, up to root k of their slopes."""
    places = {i: k for k, i in enumerate(region.graph.activations)}
    if layer.node not in places:
        return layer
    k = places[layer.node]
    steepest = max(float(np.max(np.abs(side), initial=0.0)) for side in region.slopes[k])
    root = float(np.sqrt(region.graph.functions[k].operands)) * (1.0 + gamma(4))
    return replace(layer, upper=min(layer.upper, steepest * (root if root > 1.1 else 1.0)))
