"""Whether the arguments of a network's functions stay where these are defined."""

import numpy as np

from admm_verify.arrays import namespace, to_numpy
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.errors import InputError
from admm_verify.network.graph import Network
from admm_verify.relaxations.registry import relaxation_of


def defined(network: Network, bounds: PreactivationBounds) -> np.ndarray:
    """Over which of the sets all functions have arguments inside their domains, for all that is known, [sets]."""
    found = np.ones(max(end.shape[0] for end in bounds.lower), dtype=bool) if bounds.lower else np.ones(1, dtype=bool)
    for k, node in enumerate(network.functions):
        relaxation = relaxation_of(node)
        if relaxation.domain:
            admitted = relaxation.admits(bounds.lower[k], bounds.upper[k])
            found = found & to_numpy(namespace(admitted).all(admitted, axis=-1))
    return found


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
