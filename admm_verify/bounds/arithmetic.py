"""What the network's own arithmetic adds to a bound in real numbers."""

from admm_verify.arrays import DOUBLE_ROUNDOFF, SINGLE_ROUNDOFF, Array, SameArray, namespace, quiet_overflow
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.region import Region, build_region, evaluation_error
from admm_verify.network.graph import Network
from admm_verify.options import choice
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
    return evaluation_error(region, SINGLE_ROUNDOFF if arithmetic == "float32" else DOUBLE_ROUNDOFF)


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
