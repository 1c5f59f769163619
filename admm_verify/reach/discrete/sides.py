"""Which side of a cell to halve: the one that leaves most neurons open on the way."""

import numpy as np

from admm_verify.arrays import Float
from admm_verify.network.graph import Network
from admm_verify.relaxations.contract import Relaxation
from admm_verify.relaxations.registry import relaxations_of


def opened(
    network: Network, middle: Float[np.ndarray, "cells n"], ends: Float[np.ndarray, "cells two sides n"]
) -> Float[np.ndarray, "cells sides"]:
    """How much each side of a cell has to do with neurons that are open.

    Where the sides move a neuron's input p by h_i, together by s, its relaxation over p +- s errs by about s r with r
    the range of its lines' slopes; halving side i mends r h_i of that, of which this is the sum over neurons of r h_i /
    s, so that all of them count alike.

    Shapes: middle: the network's inputs from the middle of each cell; ends: those from both ends of each side.
    """
    score = np.zeros((len(ends), ends.shape[2]))
    for centre, end, relaxation in zip(
        _read(network, middle), _read(network, ends), relaxations_of(network), strict=True
    ):
        half = 0.5 * np.abs(end[:, 1] - end[:, 0])
        spread = half.sum(axis=1)
        if isinstance(relaxation, Relaxation):
            slopes = relaxation.slopes(centre - spread, centre + spread)
            gap = (slopes.lower_max - slopes.lower_min) + (slopes.upper_max - slopes.upper_min)
        else:
            # The slopes of a product by one operand range over the other.
            gap = relaxation.gain(np.zeros_like(spread), 2.0 * spread)
        share = np.where(spread > 0, gap, 0.0) / np.where(spread > 0, spread, 1.0)
        score += np.nan_to_num(np.einsum("csk,ck->cs", half, share), nan=0.0)
    return score


def _read(network: Network, x: np.ndarray) -> list[np.ndarray]:
    """What every activation reads at inputs x [..., n]: [..., n_k] each."""
    values = network.evaluate(x.reshape(-1, x.shape[-1]))
    return [np.asarray(values[k]).reshape(*x.shape[:-1], -1) for k in network.sources]
