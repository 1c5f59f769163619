"""`lipschitz_constant`: how steep a network is anywhere, at most and at least."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Placement, gamma, quiet_overflow
from admm_verify.lipschitz.attained import steep_pair
from admm_verify.lipschitz.jacobians import jacobian_bound, jacobian_sizes
from admm_verify.lipschitz.layers import layer_norms_of, measured_graph, product_of, steps_of
from admm_verify.lipschitz.segments import Segment, by_forms, by_layers, by_search, segments_of, total
from admm_verify.lipschitz.settings import LipschitzSettings
from admm_verify.memory import memory_errors
from admm_verify.network.graph import Network, check_network
from admm_verify.options import instance, member
from admm_verify.run import Ended, Run, Stopped
from admm_verify.sets.norm_names import NormName, norm_name
from admm_verify.text_tables import table
from admm_verify.threads import threads_for


@dataclass(frozen=True)
class ConstantBound:
    """A certified Lipschitz constant: how it was found, its value, and the seconds since the beginning."""

    method: str
    value: float
    seconds: float


@dataclass(frozen=True, eq=False, repr=False)
class LipschitzConstant:
    """lower <= the least L with |f(x) - f(y)| <= L |x - y| for all inputs x and y <= upper.

    upper is certified, in real numbers, and infinite where no bound is known; lower is what the pair first, second
    attains as computed in float64, 0 without one. bounds: all certified constants in the order in which they were
    found. Shapes: first, second [*input_shape].
    """

    network: str
    norm: NormName
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
        head = f"{table(('bound', 'constant <=', 'seconds'), lines)}\n" if lines else ""
        return (
            f"{head}{self.network}, {self.norm}: {self.lower:.6g} <= Lipschitz constant <= {self.upper:.6g} "
            f"({self.status.value}, {self.seconds:.2f} s)"
        )


@memory_errors()
def lipschitz_constant(
    network: Network,
    *,
    norm: NormName | float = "l2",
    timeout: float | None = None,
    settings: LipschitzSettings | None = None,
    run: Run | None = None,
) -> LipschitzConstant:
    """A global Lipschitz constant of a network, |f(x) - f(y)|_p <= L |x - y|_p for all x and y, certified.

    From fast to close, the least one counts: the product of layers' norms along paths; in l1 and linf the sums of all
    Jacobians' entries; in l2 multipliers in closed form, one per layer (ECLipsE-Fast); the best multipliers, one per
    neuron (LipSDP), which hold in l1 and linf times the root of the numbers of outputs and of inputs. Large networks
    are cut into parts at activations that all paths pass. When the time is up, what was found until then holds.

    Activations without a bound on their slopes, such as squares, and products leave the constant infinite.
    Raises: InputError for what is no network, norm, settings or run, or a network that ends in a softmax or the like.
    Error: rounded outward; multipliers are proved by a factorisation in floating point (Rump, BIT 46, 2006).
    Reference: Fazlyab et al., Efficient and accurate estimation of Lipschitz constants, NeurIPS 2019; Xu and
    Sivaranjani, ECLipsE, NeurIPS 2024.
    """
    began, run = time.monotonic(), Run.of(run, timeout)
    network, name = check_network(network), norm_name(norm)
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
            parts = _bounded(graph, name, run, note)
            pair = steep_pair(graph, name, chosen.points, chosen.rounds, run)
            if chosen.semidefinite and not run.over():
                for _ in by_search(parts, chosen.tolerance, run):
                    note("multipliers per neuron", _from_lengths(graph, name) * total(parts))
        except Stopped:
            status = Ended.TIMED_OUT
    shape = network.input_shape
    return LipschitzConstant(
        network.name,
        name,
        min((bound.value for bound in bounds), default=np.inf),
        0.0 if pair is None else pair.slope,
        None if pair is None else pair.first.reshape(shape),
        None if pair is None else pair.second.reshape(shape),
        tuple(bounds),
        run.ended() or status,
        time.monotonic() - began,
    )


def _bounded(graph: Network, norm: NormName, run: Run, note: Callable[[str, float], None]) -> list[Segment]:
    """Note one bound after the other; returns the parts of the network for whose multipliers one may search."""
    measured = measured_graph(graph)
    measured = measured if measured is graph else measured.put(Placement.numpy())
    steps = steps_of(measured)
    if norm == "l2":
        # Norms of large convolutions take seconds each: there is a bound before.
        quick = list(layer_norms_of(measured, steps, norm, attain=False, quick=True))
        note("product of sums", product_of(steps, quick, norm).get(measured.output, 0.0))
    layers = list(layer_norms_of(measured, steps, norm, attain=False))
    note("product of norms", product_of(steps, layers, norm).get(measured.output, 0.0))
    sizes = jacobian_sizes(graph)
    if sizes is not None:
        note("entries of Jacobians", jacobian_bound(sizes, norm))
    factor = _from_lengths(graph, norm)
    # Norms of large convolutions take seconds.
    parts = segments_of(graph, layers if norm == "l2" and measured is graph else None)
    note("product of norms, l2", factor * total(parts))
    by_layers(parts)
    note("multipliers per layer", factor * total(parts))
    by_forms(parts)
    note("multipliers in closed form", factor * total(parts))
    return parts


def _from_lengths(graph: Network, norm: NormName) -> float:
    """What a constant in l2 is multiplied by: |x|_2 <= sqrt(n) |x|_inf, |y|_1 <= sqrt(m) |y|_2 and |x|_2 <= |x|_1."""
    sizes = {"l1": graph.output_size, "l2": 1, "linf": graph.input_size}
    return float(np.sqrt(sizes[norm])) * (1.0 + gamma(4))
