"""Evaluating a network again and again, on few inputs each time."""

from admm_verify.arrays import Array, Placement
from admm_verify.network.graph import Network, computation


class Computing:
    """f as a network computes it when called, where its numbers have been taken to one place, once for all.

    Shapes: x [batch, input_size] -> [batch, outputs].
    """

    def __init__(self, network: Network, placement: Placement) -> None:
        self._head, self._read = network.head, network.as_read or network
        self._made = {i: computation(self._read.nodes[i], placement) for i, _ in self._read.schedule}

    def __call__(self, x: Array) -> Array:
        batch = self._read.computed(x, self._made)
        return batch if self._head is None else self._head.apply(batch)
