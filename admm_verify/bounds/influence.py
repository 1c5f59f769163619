"""Which entries of all nodes some outputs depend on: bounds of the others need no sweeps."""

import numpy as np

from admm_verify.arrays import Placement, to_numpy
from admm_verify.network.graph import Network
from admm_verify.run import paced


def influence(network: Network, outputs: np.ndarray) -> list[np.ndarray]:
    """For every node, which of its entries are read on some way to the wanted outputs.

    seen_i = the entries with a nonzero weight in |W|' seen_k for some node k that reads i.

    Shapes: outputs [n], whether each is wanted -> of each node i, [n_i], on the host wherever the network is.
    """
    seen = [np.zeros(node.size, dtype=bool) for node in network.nodes]
    seen[network.output] = seen[network.output] | outputs
    for i, node, k in paced(reversed(network.steps)):
        if node is None:
            source = network.sources[k]
            # The operands of a function of several lie one after the other.
            seen[source] = seen[source] | np.tile(seen[i], network.nodes[source].size // network.nodes[i].size)
            continue
        wanted = Placement.of(node.bias).put(seen[i].astype(np.float64)[None])
        for term in node.terms:
            reached = to_numpy(term.map.absolute_transpose(wanted)) > 0
            seen[term.source] = seen[term.source] | reached[0]
    return seen
