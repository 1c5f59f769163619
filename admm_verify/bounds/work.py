"""What bounds cost, in multiplications, before any of them is known."""

import numpy as np

from admm_verify.bounds.receptive import receptive_field
from admm_verify.network.graph import Network


def crown_work(network: Network) -> float:
    """Multiplications behind CROWN bounds of all layers over one box, were every neuron open.

    For either side of a neuron that an activation reads, a sweep of the layers below it, or of its crop if that is
    less. Layers that read the input alone need none.
    """
    read, below, total = set(network.sources), 0.0, 0.0
    for i, node in network.affine.items():
        if i in read and any(term.source != 0 for term in node.terms):
            field = receptive_field(network, i)
            cropped = np.inf if field is None else field.cost(np.arange(node.size))
            total += 2.0 * min(node.size * below, cropped)
        below += node.multiplications
    return total
