"""Planes: what certified bounds of a network's rows say of its inner nodes wherever those rows are at most zero."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from admm_verify.arrays import Array, namespace
from admm_verify.bounds.functionals import Functionals, certify
from admm_verify.bounds.region import Region


@dataclass(frozen=True, eq=False)
class Planes:
    """Linear functionals of some nodes' values z_i that are at most zero wherever the rows behind them are.

    sum over i of parts[i]'z_i + constant <= row, and so <= 0 where the row is; parts of node 0 alone are a half-space
    of inputs. constant is -inf where nothing is known.
    Shapes: parts[i] [disjuncts, atoms, n_i]; constant [disjuncts, atoms].
    """

    parts: dict[int, Array]
    constant: Array


def planes_at(
    region: Region, objective: Array, offset: Array, multipliers: Sequence[Array | None], nodes: Collection[int]
) -> dict[int, Planes]:
    """The planes of rows objective f + offset at some nodes t, in the values of nodes up to t alone.

    Activations behind t take the given multipliers of their inputs; the constant is a certified lower bound of the row
    minus the parts, whatever the multipliers.

    Shapes: region with leading axes [disjuncts, 1] or [1, 1]; objective [disjuncts, atoms, outputs]; offset [disjuncts,
    atoms]; multipliers[k] [disjuncts, atoms, n_k], None where the rows do not reach activation k.
    Error: constants rounded downward.
    """
    network, reached = region.network, {}
    carried: dict[int, Array] = {network.output: objective}
    for i, affine, k in reversed(network.steps):
        if i in nodes:
            reached[i] = dict(carried)
        coefficient = carried.pop(i, None)
        if coefficient is None:
            continue
        if affine is None:
            multiplier = multipliers[k]
            passed = namespace(coefficient).zeros_like(coefficient) if multiplier is None else multiplier
            add(carried, network.sources[k], passed)
            continue
        for term in affine.terms:
            add(carried, term.source, term.map.transpose(coefficient))
    if 0 in nodes:
        reached[0] = carried
    return {i: Planes(parts, _rest(region, objective, offset, multipliers, i, parts)) for i, parts in reached.items()}


def _rest(
    region: Region,
    objective: Array,
    offset: Array,
    multipliers: Sequence[Array | None],
    node: int,
    parts: dict[int, Array],
) -> Array:
    """A certified lower bound of the rows minus the parts: below the node hardly anything is left of either."""
    network = region.network

    def choose(k: int, a: Array) -> Array:
        given = multipliers[k]
        return namespace(a).zeros_like(a) if given is None or network.activations[k] <= node else given

    start = {i: -part for i, part in parts.items()}
    start[network.output] = objective if network.output not in parts else namespace(objective).zeros_like(objective)
    return certify(region, Functionals(start, offset), choose)[0]


def add(carried: dict[int, Array], node: int, part: Array) -> None:
    """Add a part to the coefficient of a node."""
    carried[node] = carried[node] + part if node in carried else part
