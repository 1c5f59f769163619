"""Networks inside networks: one graph for a chain of them."""

from admm_verify.arrays import Placement
from admm_verify.errors import InputError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Input, Network, check_network


def splice(builder: Builder, network: Network, x: Tensor) -> Tensor:
    """The network's output, flat, at a value of the graph under construction; its nodes are those it was read with.

    Raises: InputError where the value's size is not that of the network's input, or the network has a head.
    """
    if x.size != network.input_size:
        raise InputError(f"{network.name} takes {network.input_size} numbers and is given {x.size}.")
    places, last = {0: x.node}, x
    check_network(network)
    for i, node in enumerate((network.as_read or network).put(Placement.numpy()).nodes):
        if not isinstance(node, Input):
            last = builder.append(node.reading(places))
            places[i] = last.node
    return last
