"""What the network's own arithmetic adds to a bound in real numbers."""

from dataclasses import replace

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SINGLE_ROUNDOFF, Array, SameArray, namespace, quiet_overflow, to_numpy
from admm_verify.bounds.interval import Forward
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.region import Region, build_region, evaluation_error, evaluation_errors
from admm_verify.network.graph import Activation, Network
from admm_verify.options import choice
from admm_verify.relaxations.registry import facts_of, relaxation_of
from admm_verify.relaxations.steps import StepFunction
from admm_verify.sets.contract import InputSet

ARITHMETICS = ("real", "float32", "float64")


def check_arithmetic(name: str) -> None:
    """Raise InputError for a name that is not in ARITHMETICS."""
    choice(name, "The arithmetic", ARITHMETICS)


def output_error(network: Network, inputs: InputSet, bounds: PreactivationBounds, arithmetic: str) -> Array:
    """Per input set and output, how far the network's own arithmetic can be from real numbers; 0 for "real".

    Infinite where it can overflow.
    Shapes: inputs [sets, n]; bounds of each set -> [sets, outputs].
    """
    placement = inputs.placement.double
    if arithmetic == "real":
        shape = (*inputs.lead, network.output_size)
        return placement.xp.zeros(shape, dtype=placement.dtype, device=placement.device)
    with quiet_overflow():
        region = build_region(network.put(placement), inputs, bounds.lower, bounds.upper)
        return region_error(region, arithmetic)


def output_reach(network: Network, inputs: InputSet, bounds: PreactivationBounds) -> Array:
    """Per input set, a bound on the size of every output in real numbers; NaN or infinite where there is none.

    Shapes: inputs [sets, n]; bounds of each set -> [sets].
    Error: rounded upward.
    """
    placement = inputs.placement.double
    with quiet_overflow():
        region = build_region(network.put(placement), inputs, bounds.lower, bounds.upper)
        return 1.0000001 * placement.xp.max(region.reach_at(network.output), axis=-1)


def region_error(region: Region, arithmetic: str) -> Array:
    """`output_error` over a region in "float32" or "float64", [..., outputs]."""
    return evaluation_error(region, _roundoff(arithmetic))


def _roundoff(arithmetic: str) -> float:
    return SINGLE_ROUNDOFF if arithmetic == "float32" else DOUBLE_ROUNDOFF


def tolerant(network: Network, inputs: InputSet, arithmetic: str) -> Network:
    """The network whose steps are relaxed with what their arguments can be off by over the inputs, as computed in the
    arithmetic: near its jump a step may come out on either side. Itself for "real" and without steps.

    Shapes: inputs [sets, n].
    """
    steps = [k for k, node in enumerate(network.functions) if issubclass(facts_of(node), StepFunction)]
    if arithmetic == "real" or not steps:
        return network
    placement = inputs.placement.double
    wide = network
    for k in steps:
        # Of whatever comes out of them, so that errors in front of them can be bounded in one pass.
        wide = _with_tolerance(wide, k, np.full(network.functions[k].size, _step(network.functions[k]).widest))
    placed = wide.put(placement)
    with quiet_overflow():
        forward = Forward(placed, inputs).run()
        lower, upper = (tuple(side[i] for i in placed.sources) for side in (forward.lower, forward.upper))
        errors, _ = evaluation_errors(build_region(placed, inputs, lower, upper), _roundoff(arithmetic))
    for k in steps:
        most = to_numpy(errors[network.sources[k]]).max(axis=0)
        network = _with_tolerance(network, k, 1.000001 * most)
    return network


def _step(node: Activation) -> StepFunction:
    found = relaxation_of(node)
    assert isinstance(found, StepFunction), "only steps have a tolerance"
    return found


def _with_tolerance(network: Network, k: int, tolerance: np.ndarray) -> Network:
    """The network whose activation k has a tolerance [n] where it is relaxed."""
    node = network.functions[k]
    known = np.where(np.isnan(tolerance), np.inf, tolerance)
    made = replace(node, parameters=_step(node).tolerant(known))
    nodes = tuple(made if i == network.activations[k] else other for i, other in enumerate(network.nodes))
    return replace(network, nodes=nodes, as_read=network.as_read or network)


def lowered(objective: SameArray, offset: SameArray, error: SameArray) -> tuple[SameArray, SameArray]:
    """The offset minus what the outputs' errors can take from the rows, and where that is finite.

    A row whose bound stays positive with this offset is positive as computed. Where the error is infinite the offset
    stays as it is, and no bound in real numbers says anything about the row.
    Shapes: objective, error [..., outputs]; offset [...] -> [...], [...].
    Error: rounded downward.
    """
    xp = namespace(objective)
    with quiet_overflow():
        row_error = 1.0000001 * xp.sum(xp.abs(objective) * error, axis=-1)
        lower = xp.nextafter(offset - row_error, xp.full_like(row_error, -float("inf")))
    sound = xp.isfinite(row_error) & xp.isfinite(lower)
    return xp.where(sound & (row_error > 0), lower, offset), sound
