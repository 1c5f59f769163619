"""Planes: what certified bounds of a network's rows say of its inner nodes wherever those rows are at most zero."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from admm_verify.arrays import Array, namespace
from admm_verify.bounds.functionals import Functionals, certify
from admm_verify.bounds.region import Region
from admm_verify.run import paced


@dataclass(frozen=True, eq=False)
class Condition:
    """Rows objective f + offset that are all at most zero, and multipliers of activations' inputs that bound them.

    Shapes: objective [disjuncts, atoms, outputs]; offset [disjuncts, atoms]; multipliers[k] [disjuncts, atoms, n_k].
    """

    objective: Array
    offset: Array
    multipliers: Sequence[Array]


def planes_at(region: Region, condition: Condition, nodes: Collection[int]) -> dict[int, Functionals]:
    """Planes below the condition's rows at some nodes t: functionals of the values of nodes up to t alone.

    plane <= row, and so plane <= 0 where the row is. Activations behind t take the given multipliers of their inputs;
    the constant is a certified lower bound of the row minus the plane's parts, whatever the multipliers, and -inf where
    nothing is known.

    Shapes: region with leading axes [disjuncts, 1] or [1, 1]; planes [disjuncts, atoms].
    Error: constants rounded downward.
    """
    network, reached = region.network, {}
    carried: dict[int, Array] = {network.output: condition.objective}
    for i, affine, k in paced(reversed(network.steps)):
        if i in nodes:
            reached[i] = dict(carried)
        coefficient = carried.pop(i, None)
        if coefficient is None:
            continue
        if affine is None:
            add(carried, network.sources[k], condition.multipliers[k])
            continue
        for term in affine.terms:
            add(carried, term.source, term.map.transpose(coefficient))
    if 0 in nodes:
        reached[0] = carried
    return {i: Functionals(parts, _rest(region, condition, i, parts)) for i, parts in reached.items()}


def _rest(region: Region, condition: Condition, node: int, parts: dict[int, Array]) -> Array:
    """A certified lower bound of the rows minus the parts: below the node hardly anything is left of either."""
    network, objective = region.network, condition.objective

    def choose(k: int, a: Array) -> Array:
        own = condition.multipliers[k]
        return namespace(a).zeros_like(own) if network.activations[k] <= node else own

    start = {i: -part for i, part in parts.items()}
    start[network.output] = objective if network.output not in parts else namespace(objective).zeros_like(objective)
    return certify(region, Functionals(start, condition.offset), choose)[0]


def add(carried: dict[int, Array], node: int, part: Array) -> None:
    """Add a part to the coefficient of a node."""
    carried[node] = carried[node] + part if node in carried else part
