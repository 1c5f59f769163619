"""What bounds cost, in multiplications, before any of them is known."""

import numpy as np

from admm_verify.bounds.receptive import receptive_field
from admm_verify.network.graph import Network
from admm_verify.sets.contract import InputSet


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


def bounding_work(network: Network, method: str, inputs: InputSet) -> float:
    """Multiplications of one pass of all rows that bounds of a network's widest layer take, none for intervals."""
    widest = max(node.size for node in network.nodes)
    return 0.0 if method == "interval" else float(inputs.lead[0]) * widest * network.weight_count
