"""Policies from networks that somebody else has read: what their outputs are, without heads, with normalisation."""

from admm_verify.errors import InputError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.network.maps import DiagonalMap
from admm_verify.network.selection import SelectionMap
from admm_verify.network.splice import splice
from admm_verify.policies.policy import ContinuousActions, DiscreteActions, Policy
from admm_verify.policies.readers.normaliser import Normalisation, found_scale, normalise
from admm_verify.policies.readers.outcome import CONTINUOUS, DISCRETE, Actions, RawOutputs, taken

_BOUNDED = ("clip", "sigmoid", "tanh")
"""Activation functions in which scores do not end."""


def policy_of_network(network: Network, normalisation: Normalisation, actions: Actions | str | None) -> Policy:
    """The policy that a network is, of which a softmax or an argmax at its end is left out, with a note.

    Continuous actions are clipped to their limits, where there are any.
    Raises: InputError where it is not known what its outputs are, or they do not fit what is said of them.
    """
    notes: tuple[str, ...] = ()
    meaning: Actions | str | None = actions
    if network.head is not None:
        outer, _, inner = network.head.groups
        if outer * inner != 1 or isinstance(actions, ContinuousActions) or actions == CONTINUOUS:
            chosen = "one of several actions" if outer * inner == 1 else "several actions at once"
            raise InputError(
                f"{network.name} ends in {network.head.words} of {network.head.shape} scores: it chooses {chosen}. "
                "Policies that choose one action by its score, or give a vector of numbers, are read; choose another "
                "value by output=..."
            )
        notes, meaning = (network.head.note(network.name),), actions or DISCRETE
        network = network.scores
    if meaning is None:
        meaning = CONTINUOUS if _is_bounded(network) else None
    if meaning is None:
        raise InputError(
            f"{network.name} gives {network.output_size} numbers, and nothing tells whether they are scores of actions "
            "or actions themselves: say actions='discrete', actions='continuous', or actions=(low, high)."
        )
    scale, more = found_scale(normalisation, None, network.input_size)
    notes = (*more, *notes)
    if scale is None and (meaning == DISCRETE or isinstance(meaning, DiscreteActions)):
        count = meaning.count if isinstance(meaning, DiscreteActions) else network.output_size
        if count != network.output_size:
            raise InputError(f"There are {count} actions, and {network.name} gives {network.output_size} scores.")
        return Policy(network, DiscreteActions(count), None, notes)
    builder = Builder((1, *network.input_shape), network.element_type if scale is None else "float64")
    flat = builder.reshape(normalise(builder, builder.input, scale), (network.input_size,))
    inside: Tensor = splice(builder, network, flat)
    result, known, told = taken(builder, RawOutputs(inside), meaning)
    return Policy(builder.finish(result, network.name), known, scale, (*notes, *told))


def _is_bounded(network: Network) -> bool:
    """Whether the outputs are values of a bounded activation function, scaled and shifted at most."""
    node = network.nodes[-1]
    while isinstance(node, Affine) and len(node.terms) == 1:
        if not isinstance(node.terms[0].map, DiagonalMap | SelectionMap):
            return False
        node = network.nodes[node.terms[0].source]
    return isinstance(node, Activation) and node.kind in _BOUNDED
