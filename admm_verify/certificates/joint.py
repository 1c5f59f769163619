"""Queries about two networks: the joint graph that is bounded, and how far it is from both as computed."""

from collections.abc import Sequence

import numpy as np

from admm_verify.arrays import Array, to_numpy
from admm_verify.certificates.digests import network_digest
from admm_verify.certificates.evaluation import evaluation_error
from admm_verify.certificates.numbers import Numbers
from admm_verify.certificates.pairs import checked_pair
from admm_verify.certificates.ranges import CheckedNetwork
from admm_verify.certificates.reordered import is_reordered
from admm_verify.errors import CertificateError, InputError
from admm_verify.memory import Budget
from admm_verify.network.graph import Affine, Input, Network, Node, Term
from admm_verify.network.maps import LinearMap
from admm_verify.network.neuron_partners import of_one_form
from admm_verify.network.pair import PairedNetwork
from admm_verify.network.selection import SelectionMap
from admm_verify.network.simplify import read_through, simplify
from admm_verify.run import Run


def checked_joint(network: PairedNetwork) -> Network:
    """The joint graph of two networks, of which everything has been shown, as a network of its own.

    Raises: CertificateError where that is not possible.
    """
    given = network.inputs
    assert given is not None, "made by `paired`"
    first, second = map(_simplified, network.both)
    if network_digest(first) == network_digest(second):
        # The same numbers, rounded or not, are those of one function.
        second = first
    graphs = _of_one_form(first.nodes, second.nodes)
    sides = (graphs[0], given.first, given.first_shift), (graphs[1], given.second, given.second_shift)
    return checked_pair(network, *(_behind(*side) for side in sides))


def check_shown(network: Network, arithmetic: str) -> None:
    """Raise InputError for a joint graph of two networks of which no certificate could ever be checked."""
    if not isinstance(network, PairedNetwork):
        return
    try:
        checked_joint(network)
        if arithmetic != "real":
            JointErrors(network, Budget.of(Run()))
    except CertificateError as error:
        raise InputError(f"{network.name} can have no certificate. {error} Leave the certificate out.") from error


class JointErrors:
    """How far [f(x); f'(x); f'(x) - f(x)] of two networks, computed each for itself, can be from the real numbers; the
    difference is exact.

    Raises: CertificateError for networks of two inputs, which are computed with roundings of their own.
    """

    def __init__(self, network: PairedNetwork, budget: Budget) -> None:
        given = network.inputs
        assert given is not None, "made by `paired`"
        if not (_is_whole(given.first, given.first_shift) and _is_whole(given.second, given.second_shift)):
            raise CertificateError(
                "Only two networks of one and the same input are checked in floating point; prove the query in real "
                "numbers."
            )
        self._models = [CheckedNetwork(part, Numbers(False), budget) for part in map(_simplified, network.both)]

    def __call__(self, lower: np.ndarray, upper: np.ndarray, arithmetic: str) -> np.ndarray:
        """Bounds over boxes, [boxes, outputs]."""
        first, second = (evaluation_error(model, model.derive((lower, upper)), arithmetic) for model in self._models)
        return np.concatenate([first, second, first + second], axis=-1)


def _of_one_form(first: Sequence[Node], second: Sequence[Node]) -> tuple[Sequence[Node], Sequence[Node]]:
    """Both graphs with their neurons in a common order, where that is shown to make no difference."""
    made = of_one_form(first, second)
    return made if is_reordered(first, made[0]) and is_reordered(second, made[1]) else (first, second)


def _simplified(network: Network) -> Network:
    return network if network.as_read is None else simplify(network.as_read)


def _is_whole(map: LinearMap, shift: Array) -> bool:
    return isinstance(map, SelectionMap) and map.is_identity and not to_numpy(shift).any()


def _behind(nodes: Sequence[Node], map: LinearMap, shift: Array) -> Sequence[Node]:
    """A graph as one of the numbers that its input is an affine function of."""
    if _is_whole(map, shift):
        return nodes
    shift = to_numpy(shift)
    found: list[Node] = [Input(map.columns), Affine((Term(0, map),), shift, np.abs(shift))]
    places = {0: 1}
    for i, node in enumerate(nodes[1:], start=1):
        assert not isinstance(node, Input), "the input comes first"
        moved = node.reading(places)
        found.append(read_through(moved, found, {1}) if isinstance(moved, Affine) else moved)
        places[i] = len(found) - 1
    return found
