"""The one place of the solvers that makes a bound: multipliers in, certified lower bounds out."""

from admm_verify.arrays import Array, namespace
from admm_verify.bounds.backward import Backward
from admm_verify.bounds.region import Region
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import multiplier_sweep


def certified_bound(rows: Rows, region: Region, multipliers: list[Array]) -> Array:
    """A certified lower bound of every row from any multipliers g_k, one array per activation layer.

    D(g) = sum_k g_k'b_k + min over the box of a_0'x + sum_k sum_i min over the vertices (p, q) of neuron i's relaxation
    of (a_{k,i} q - g_{k,i} p), with a_k = W_k' g_{k+1} and g_L = c; recomputed in float64, minus the rounding term.
    Multipliers that are NaN or infinite give -inf, which is no bound.

    Shapes: rows and region in float64; multipliers[k] [rows, n_k] -> [rows].
    Error: rounded downward.
    Reference: DeepSplit, arXiv 2106.09117; Dvijotham et al., arXiv 1803.06567 (the dual).
    """
    return certified_sweep(rows, region, multiplier_sweep(rows, multipliers))


def certified_sweep(rows: Rows, region: Region, sweep: Backward) -> Array:
    """The same from the multipliers' own backward sweep, done in float64 on these rows."""
    bound = region.concretise(sweep)
    xp = namespace(bound)
    return xp.broadcast_to(bound, rows.offset.shape)
