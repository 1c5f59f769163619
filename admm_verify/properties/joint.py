"""Questions about two networks as ones about their joint network, in whose nodes differences of both are bounded."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from admm_verify.arrays import Array
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap, LinearMap
from admm_verify.network.pair import PairedNetwork, paired
from admm_verify.network.pair_inputs import PairInputs
from admm_verify.network.selection import SelectionMap
from admm_verify.properties.property import Property
from admm_verify.properties.tied import about_ties
from admm_verify.properties.ties import Ties, ties_of


def joint_question(
    asked: Property, networks: Sequence[Network], arithmetic: str
) -> tuple[Property, PairedNetwork, Ties] | None:
    """The same question about the joint network of two, and how their inputs follow from its; None where the inputs are
    not tied, or the outputs are not as many.

    In floating point, inputs are tied where they are the same numbers, and constraints are between outputs alone.
    """
    if len(networks) != 2 or networks[0].output_size != networks[1].output_size:
        return None
    real = arithmetic == "real"
    if not real and not all(atom.of_outputs for disjunct in asked.disjuncts for atom in disjunct.atoms):
        return None
    ties = ties_of(asked, real)
    found = None if ties is None else about_ties(asked, ties)
    if ties is None or found is None:
        return None
    first = networks[0].input_size
    own, shift = _map(ties, 0, first)
    other, other_shift = _map(ties, first, len(ties.rows))
    rounded = any(Fraction(float(constant)) != constant for _, constant in ties.rows)
    inputs = PairInputs((len(ties.entries),), own, other, shift, other_shift, rounded)
    return found, paired(networks[0], networks[1], inputs), ties


def _map(ties: Ties, first: int, end: int) -> tuple[LinearMap, Array]:
    """The inputs of one network as an affine function of those of the joint one."""
    rows = ties.rows[first:end]
    size, shift = len(ties.entries), np.array([float(constant) for _, constant in rows])
    if all([value for _, value in terms] in ([], [1]) for terms, _ in rows):
        gather = np.array([terms[0][0] if terms else size for terms, _ in rows], dtype=np.int64)
        return SelectionMap.from_gather(gather, size), shift
    matrix = np.zeros((len(rows), size))
    for j, (terms, _) in enumerate(rows):
        for k, value in terms:
            matrix[j, k] = float(value)
    exact = all(Fraction(float(value)) == value for terms, _ in rows for _, value in terms)
    return DenseMap(matrix, None if exact else np.abs(matrix)), shift
