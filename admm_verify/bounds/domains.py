"""Whether the arguments of a network's functions stay where these are defined."""

from admm_verify.arrays import namespace, to_numpy
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.errors import InputError
from admm_verify.network.graph import Network
from admm_verify.relaxations.registry import relaxation_of


def check_domains(network: Network, bounds: PreactivationBounds) -> None:
    """Raise InputError where some function has arguments outside its domain over every one of the sets, for all that is
    known: no bound of anything behind it comes of these sets as they are.
    """
    for k, node in enumerate(network.functions):
        relaxation = relaxation_of(node)
        if not relaxation.domain:
            continue
        low, high = bounds.lower[k], bounds.upper[k]
        defined = to_numpy(namespace(low, high).all(relaxation.admits(low, high), axis=-1))
        if defined.any():
            continue
        inside = to_numpy(relaxation.admits(low[:1, :], high[:1, :]))
        entry = int((~inside[0]).argmax())
        raise InputError(
            f"The {node.kind} of node {network.activations[k]} of {network.name} is defined for {relaxation.domain}, "
            f"and its argument {entry} was only found to lie between {float(low[0, entry]):.6g} and "
            f"{float(high[0, entry]):.6g}. Give a smaller input set, or tighter bounds; av.verify splits the set until "
            "ranges stay where the function is defined."
        )
