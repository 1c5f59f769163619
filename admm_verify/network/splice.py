"""Networks inside networks: one graph for a chain of them."""

from dataclasses import replace

from admm_verify.arrays import Placement
from admm_verify.errors import InputError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Activation, Affine, Network, Term


def splice(builder: Builder, network: Network, x: Tensor) -> Tensor:
    """The network's output, flat, at a value of the graph under construction.

    Raises: InputError where the value's size is not that of the network's input.
    """
    if x.size != network.input_size:
        raise InputError(f"{network.name} takes {network.input_size} numbers and is given {x.size}.")
    places, last = [x.node], x
    for node in network.put(Placement.numpy()).nodes[1:]:
        if isinstance(node, Activation):
            last = builder.append(replace(node, source=places[node.source]))
        elif isinstance(node, Affine):
            terms = tuple(Term(places[term.source], term.map) for term in node.terms)
            last = builder.append(replace(node, terms=terms))
        places.append(last.node)
    return last
