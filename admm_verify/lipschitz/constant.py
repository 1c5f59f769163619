"""`lipschitz_constant`: how steep a network is anywhere, at most and at least."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Placement, gamma, quiet_overflow
from admm_verify.lipschitz.attained import steep_pair
from admm_verify.lipschitz.jacobians import jacobian_bound, jacobian_sizes
from admm_verify.lipschitz.layers import LayerNorm, layer_norms_of, measured_graph, product_of, steps_of
from admm_verify.lipschitz.segments import Segment, by_forms, by_layers, by_search, segments_of, total
from admm_verify.lipschitz.settings import LipschitzSettings
from admm_verify.lipschitz.weighed_norms import weighed_constants
from admm_verify.memory import memory_errors
from admm_verify.network.graph import Network, check_network
from admm_verify.options import instance, member
from admm_verify.run import Ended, Run, Stopped
from admm_verify.sets.norm_names import NormName, norm_name
from admm_verify.text_tables import table
from admm_verify.threads import threads_for

Norms = tuple[NormName, NormName]
"""Of differences of inputs and of outputs."""


@dataclass(frozen=True)
class ConstantBound:
    """A certified Lipschitz constant: how it was found, its value, and the seconds since the beginning."""

    method: str
    value: float
    seconds: float


@dataclass(frozen=True, eq=False, repr=False)
class LipschitzConstant:
    """lower <= the least L with |f(x) - f(y)|_q <= L |x - y|_p for all inputs x and y <= upper.

    norm, output_norm: p and q. Both are certified, in real numbers; upper is infinite where no bound is known, and the
    pair first, second attains at least lower, which is 0 without one. bounds: all certified constants in the order in
    which they were found. Shapes: first, second [*input_shape].
    """

    network: str
    norm: NormName
    output_norm: NormName
    upper: float
    lower: float
    first: np.ndarray | None
    second: np.ndarray | None
    bounds: tuple[ConstantBound, ...]
    status: Ended
    seconds: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", member(self.status, "The status of the constant", Ended))

    def __repr__(self) -> str:
        """A table of the bounds, and the enclosure."""
        lines = [(bound.method, f"{bound.value:.6g}", f"{bound.seconds:.2f}") for bound in self.bounds]
        norms = self.norm if self.norm == self.output_norm else f"{self.norm} to {self.output_norm}"
        head = f"{table(('bound', 'constant <=', 'seconds'), lines)}\n" if lines else ""
        return (
            f"{head}{self.network}, {norms}: {self.lower:.6g} <= Lipschitz constant <= {self.upper:.6g} "
            f"({self.status.value}, {self.seconds:.2f} s)"
        )


@memory_errors()
def lipschitz_constant(
    network: Network,
    *,
    norm: NormName | float = "l2",
    output_norm: NormName | float | None = None,
    timeout: float | None = None,
    settings: LipschitzSettings | None = None,
    run: Run | None = None,
) -> LipschitzConstant:
    """A global Lipschitz constant of a network, |f(x) - f(y)|_q <= L |x - y|_p for all x and y, certified.

    From fast to close, the least one counts: the product of layers' norms along paths; the sizes of all Jacobians'
    entries; in l2 multipliers in closed form, one per layer (ECLipsE-Fast), then ones that differ within layers; the
    best multipliers, one per neuron (LipSDP), or one per channel of large convolutional and residual blocks, by their
    frequencies. Between other norms these are looked for together with weights of inputs and outputs; where a network
    is too large for one search, constants in l2 count times roots of the numbers of inputs and of outputs. Large
    networks are cut into parts at activations that all paths pass. When the time is up, what was found until then
    holds.

    norm: p, of inputs; output_norm: q, that of inputs where none is given.
    Activations without a bound on their slopes, such as squares, and products leave the constant infinite.
    Raises: InputError for what is no network, norm, settings or run, or a network that ends in a softmax or the like.
    Error: rounded outward; multipliers are proved by a factorisation in floating point (Rump, BIT 46, 2006).
    Reference: Fazlyab et al., Efficient and accurate estimation of Lipschitz constants, NeurIPS 2019; Xu and
    Sivaranjani, ECLipsE, NeurIPS 2024; Syed and Hu, arXiv 2503.14297; Wang et al., NeurIPS 2022 (l1 and linf).
    """
    began, run = time.monotonic(), Run.of(run, timeout)
    network = check_network(network)
    norms: Norms = norm_name(norm), norm_name(norm if output_norm is None else output_norm)
    chosen = LipschitzSettings() if settings is None else instance(settings, LipschitzSettings, "settings")
    network.check_finite()
    graph = network.put(Placement.numpy())
    bounds: list[ConstantBound] = []

    def note(method: str, value: float) -> None:
        if np.isfinite(value) and value < min((bound.value for bound in bounds), default=np.inf):
            bounds.append(ConstantBound(method, float(value), time.monotonic() - began))

    status, pair = Ended.COMPLETE, None
    with threads_for(graph.weight_count, most=run.threads), quiet_overflow(), run.watching():
        try:
            known = _bounded(graph, norms, note)
            pair = steep_pair(graph, norms, chosen.points, chosen.rounds, run)
            if chosen.semidefinite and not run.over():
                for method, value in _searched(graph, norms, known, chosen.tolerance, run):
                    note(method, value)
        except Stopped:
            status = Ended.TIMED_OUT
    shape = network.input_shape
    return LipschitzConstant(
        network.name,
        *norms,
        min((bound.value for bound in bounds), default=np.inf),
        0.0 if pair is None else pair.slope,
        None if pair is None else pair.first.reshape(shape),
        None if pair is None else pair.second.reshape(shape),
        tuple(bounds),
        run.ended() or status,
        time.monotonic() - began,
    )


@dataclass(frozen=True, eq=False)
class _Known:
    """What a search begins with: the parts of a network, and upper bounds of the entries of its Jacobians."""

    parts: list[Segment]
    sizes: np.ndarray | None


def _bounded(graph: Network, norms: Norms, note: Callable[[str, float], None]) -> _Known:
    """Note one bound after the other, from fast to close."""
    measured = measured_graph(graph)
    measured = measured if measured is graph else measured.put(Placement.numpy())
    steps = steps_of(measured)
    if norms == ("l2", "l2"):
        # Norms of large convolutions take seconds each: there is a bound before.
        quick = list(layer_norms_of(measured, steps, "l2", attain=False, quick=True))
        note("product of sums", product_of(steps, quick, "l2").get(measured.output, 0.0))
    layers: dict[NormName, list[LayerNorm]] = {}
    for name in dict.fromkeys(norms):
        layers[name] = list(layer_norms_of(measured, steps, name, attain=False))
        product = product_of(steps, layers[name], name).get(measured.output, 0.0)
        note("product of norms", product * _between(graph, norms, name))
    sizes = jacobian_sizes(graph)
    if sizes is not None:
        note("entries of Jacobians", jacobian_bound(sizes, *norms))
    factor = _between(graph, norms, "l2")
    # Norms of large convolutions take seconds.
    parts = segments_of(graph, layers.get("l2") if measured is graph else None)
    note("product of norms, l2", factor * total(parts))
    by_layers(parts)
    note("multipliers per layer", factor * total(parts))
    by_forms(parts)
    note("multipliers in closed form", factor * total(parts))
    return _Known(parts, sizes)


def _searched(graph: Network, norms: Norms, known: _Known, tolerance: float, run: Run) -> Iterator[tuple[str, float]]:
    """What searches for multipliers prove, with their names."""
    whole = known.parts[0].system if len(known.parts) == 1 else None
    if norms == ("l2", "l2") or whole is None or known.sizes is None:
        for _ in by_search(known.parts, tolerance, run):
            yield "multipliers per neuron", _between(graph, norms, "l2") * total(known.parts)
        return
    for value in weighed_constants(whole, known.sizes, norms, tolerance, run):
        yield "multipliers and weights", value


def _between(graph: Network, norms: Norms, name: NormName) -> float:
    """What a constant in one norm is multiplied by: |x|_1 <= sqrt(n) |x|_2 <= n |x|_inf, and none is above |x|_1."""
    ranks = {"l1": 2, "l2": 1, "linf": 0}
    roots = graph.input_size ** (0.5 * max(ranks[name] - ranks[norms[0]], 0))
    roots *= graph.output_size ** (0.5 * max(ranks[norms[1]] - ranks[name], 0))
    return float(roots) * (1.0 if roots == 1.0 else 1.0 + gamma(8))
