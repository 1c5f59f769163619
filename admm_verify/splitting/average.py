"""Weighted averages of primal points, which converge where single iterates jump between vertices."""

from admm_verify.arrays import Array, namespace
from admm_verify.bounds.backward import Backward
from admm_verify.splitting.primal import PrimalPoint


def averaged(x_mean: Array, share_mean: list[Array], x: Array, sweep: Backward, iteration: int) -> PrimalPoint:
    """The running mean after one more point, with weights growing like iteration^2.

    A neuron's share is 1 (ceiling) where its coefficient is negative, else 0 (floor): the best response to the dual.
    """
    weight = 3.0 / (iteration + 3.0)
    xp = namespace(x)
    shares = []
    for mean, a in zip(share_mean, sweep.post, strict=True):
        kept = (1.0 - weight) * mean
        shares.append(kept if a is None else xp.where(a < 0, kept + weight, kept))
    return PrimalPoint((1.0 - weight) * x_mean + weight * x, shares)
