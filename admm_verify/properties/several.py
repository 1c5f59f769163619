"""Several networks that one query speaks about, side by side as one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.errors import UnsupportedQueryError
from admm_verify.network.builder import Builder, Value
from admm_verify.network.graph import Network
from admm_verify.network.head_nodes import without_head
from admm_verify.network.splice import splice
from admm_verify.properties.property import Atom, Property
from admm_verify.properties.scores import about_scores


@dataclass(frozen=True, eq=False)
class QueriedNetwork:
    """One of the networks of a query; model: the ONNX bytes that it was read from, where there are some."""

    network: Network
    model: bytes | None = None


def side_by_side(networks: Sequence[Network]) -> Network:
    """(x_f, x_g, ..) -> (f(x_f), g(x_g), ..) as one network, flat, for networks without heads.

    Raises: UnsupportedQueryError for networks that read whole numbers.
    """
    for network in networks:
        if network.refused:
            raise UnsupportedQueryError(
                f"{network.name} reads some of its inputs as whole numbers; queries about such a network are about it "
                "alone, and this one is about several."
            )
    names = " and ".join(dict.fromkeys(network.name for network in networks))
    builder = Builder((sum(network.input_size for network in networks),), networks[0].element_type)
    parts: list[Value] = []
    first = 0
    for network in networks:
        x = builder.select(builder.input, np.arange(first, first + network.input_size))
        parts.append(splice(builder, network, x))
        first += network.input_size
    return builder.finish(builder.concat(parts, 0), names)


def bounded_networks(asked: Property, networks: Sequence[Network], arithmetic: str) -> list[Network]:
    """The networks without heads, whose outputs answer a question about those given: the scores where only they are
    compared with one another, else the heads as nodes.

    Raises: UnsupportedQueryError where neither can be had.
    """
    found, first = [], 0
    for declared, network in zip(asked.networks, networks, strict=True):
        found.append(_without_head(asked, network, (first, first + declared.output_size), arithmetic))
        first += declared.output_size
    return found


def _without_head(asked: Property, network: Network, outputs: tuple[int, int], arithmetic: str) -> Network:
    head = network.head
    if head is None:
        return network
    if not head.places and _compares_alone(asked, network, outputs, arithmetic):
        return network.scores
    written = without_head(network) if arithmetic == "real" and not head.places else None
    if written is None:
        raise UnsupportedQueryError(
            f"{network.name} ends in {head.words}, which is answered by its scores where a query about several "
            f"networks only compares {network.name}'s own outputs two by two, or in real arithmetic. Ask so, or about "
            "networks that end at the scores."
        )
    return written


def _compares_alone(asked: Property, network: Network, outputs: tuple[int, int], arithmetic: str) -> bool:
    """Whether all that is asked of a network's outputs, from one number to before another, its scores tell."""
    first, end = outputs
    disjuncts = []
    for disjunct in asked.disjuncts:
        own = [(atom, [first <= index < end for index, _ in atom.terms]) for atom in disjunct.atoms]
        if any(_in_products(atom, outputs) or (any(mine) and not all(mine)) for atom, mine in own):
            return False
        atoms = tuple(_shifted(atom, first) for atom, mine in own if any(mine))
        disjuncts.append(replace(disjunct, atoms=atoms))
    assert network.head is not None, "asked of networks with a head"
    try:
        about_scores(replace(asked, disjuncts=tuple(disjuncts)), network.head, arithmetic, network.name)
    except UnsupportedQueryError:
        return False
    return True


def _in_products(atom: Atom, outputs: tuple[int, int]) -> bool:
    first, end = outputs
    return any(is_output and first <= index < end for factors, _ in atom.products for is_output, index in factors)


def _shifted(atom: Atom, first: int) -> Atom:
    return replace(atom, terms=tuple((index - first, value) for index, value in atom.terms))
