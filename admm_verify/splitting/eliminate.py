"""Eliminating neurons that are stable in every row: a smaller network for the iterations.

A stable neuron is linear or zero, so its layer folds into the affine maps around it. The result relaxes the same LP
with one activation node per layer holding only the neurons still unstable in some row; bounds are never taken from it
but from the original network, so its rounding needs no care.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.maps import DenseMap
from admm_verify.splitting.problem import Problem, Rows


@dataclass(frozen=True, eq=False)
class Elimination:
    """A reduced network and where its activations sit in the original: (layer k, neuron indices) for each."""

    network: Network
    kept: tuple[tuple[int, np.ndarray], ...]

    def reduce(self, rows: Rows) -> Rows:
        """The same rows on the reduced network."""
        placement = Placement.of(rows.objective)
        network = self.network.put(placement)
        picks = [(k, placement.put_indices(index)) for k, index in self.kept]
        return replace(
            rows,
            network=network,
            lower=tuple(_columns(rows.lower[k], index) for k, index in picks),
            upper=tuple(_columns(rows.upper[k], index) for k, index in picks),
            lines=tuple(rows.lines[k].columns(index) for k, index in picks),
        )

    def restrict(self, arrays: list[Array]) -> list[Array]:
        """Per-neuron arrays of the original network, kept neurons only."""
        return [_columns(arrays[k], Placement.of(arrays[k]).put_indices(index)) for k, index in self.kept]

    def expand(self, arrays: list[Array], rows: Rows) -> list[Array]:
        """Per-neuron arrays of the reduced network spread over the original one, zero where neurons are stable."""
        xp, count = namespace(rows.objective), rows.objective.shape[0]
        placement = Placement.of(rows.objective)
        full = [xp.zeros((count, low.shape[1]), dtype=placement.dtype, device=placement.device) for low in rows.lower]
        for (k, index), array in zip(self.kept, arrays, strict=True):
            spread = np.full(full[k].shape[1], len(index), dtype=np.int64)
            spread[index] = np.arange(len(index))
            padded = xp.concat([array, full[k][:, :1]], axis=-1)
            full[k] = _columns(padded, placement.put_indices(spread))
        return full


def eliminate(problem: Problem) -> Elimination:
    """Fold away every neuron that is stable in all rows of the problem; dense networks only."""
    network = problem.network.put(Placement.numpy())
    lower, upper = (
        [to_numpy(array) for array in side] for side in (problem.preactivation.lower, problem.preactivation.upper)
    )
    nodes: list[Node] = [Input(network.input_size)]
    kept: list[tuple[int, np.ndarray]] = []
    # Each original node as (matrix per reduced node, bias); activations as (unstable, active, reduced node, source).
    affine: dict[int, tuple[dict[int, np.ndarray], np.ndarray]] = {}
    split: dict[int, tuple[np.ndarray, np.ndarray, int, int]] = {}
    for i, node in enumerate(network.nodes[1:], start=1):
        if isinstance(node, Affine):
            affine[i] = _fold(node, network.input_size, affine, split)
        elif isinstance(node, Activation):
            k = len(split)
            active = np.all(lower[k] >= 0, axis=0)
            inactive = np.all(upper[k] <= 0, axis=0)
            unstable = np.flatnonzero(np.asarray(~(active | inactive)))
            if len(unstable):
                parts, bias = affine[node.source]
                nodes.append(_affine_node({s: m[unstable] for s, m in parts.items()}, bias[unstable]))
                nodes.append(Activation(node.kind, len(nodes) - 1, len(unstable)))
                kept.append((k, unstable))
            split[i] = (unstable, active, len(nodes) - 1, node.source)
    nodes.append(_affine_node(*affine[network.output]))
    return Elimination(replace(network, nodes=tuple(nodes)), tuple(kept))


def elimination_pays(problem: Problem, reduced: Elimination, passes: int) -> bool:
    """Whether the iterations on the reduced network are cheaper."""
    return passes > 0 and reduced.network.weight_count < 0.8 * problem.network.weight_count


def elimination_work(problem: Problem) -> float:
    """Rough number of multiplications that eliminating costs, to be compared with those of the iterations."""
    sizes = [node.size for node in problem.network.nodes if isinstance(node, Affine)]
    return float(sum(first * second for first, second in pairwise(sizes)) * problem.network.input_size)


def _fold(
    node: Affine,
    inputs: int,
    affine: dict[int, tuple[dict[int, np.ndarray], np.ndarray]],
    split: dict[int, tuple[np.ndarray, np.ndarray, int, int]],
) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """An affine node over the input and the unstable activations, through the active neurons of its sources."""
    # The input always takes part, so that a node of constant value still has one value per row.
    parts: dict[int, np.ndarray] = {0: np.zeros((node.size, inputs))}
    bias = node.bias
    for term in node.terms:
        weight = term.map.dense().weight
        if term.source == 0:
            parts[0] = parts[0] + weight
            continue
        unstable, active, reduced, source = split[term.source]
        if len(unstable):
            parts[reduced] = parts.get(reduced, 0.0) + weight[:, unstable]
        through = weight[:, active]
        inner, inner_bias = affine[source]
        bias = bias + through @ inner_bias[active]
        for index, matrix in inner.items():
            parts[index] = parts.get(index, 0.0) + through @ matrix[active]
    return parts, bias


def _affine_node(parts: dict[int, np.ndarray], bias: np.ndarray) -> Affine:
    terms = tuple(Term(source, DenseMap(matrix)) for source, matrix in sorted(parts.items()))
    return Affine(terms, bias, np.abs(bias))


def _columns(array: Array, index: Array) -> Array:
    return namespace(array).take(array, index, axis=-1)
