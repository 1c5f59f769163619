"""Eliminating neurons that are stable in every row: a smaller network for the iterations.

A stable neuron is linear or zero, so its layer folds into the affine maps around it. The result relaxes the same LP
with one activation node per layer holding only the neurons still unstable in some row; bounds are never taken from it
but from the original network, so its rounding needs no care.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.bounds.couplings import Couplings
from admm_verify.bounds.planes import add
from admm_verify.network.graph import Activation, Affine, Input, Network, Term
from admm_verify.network.maps import DenseMap, DiagonalMap
from admm_verify.network.placed import moved
from admm_verify.network.selection import SelectionMap
from admm_verify.relaxations.registry import facts_of, network_lines, relaxations_of
from admm_verify.run import paced
from admm_verify.splitting.problem import Problem, Rows
from admm_verify.splitting.sweeps import DualPoint


@dataclass(frozen=True, eq=False)
class Elimination:
    """A reduced network and where its activations sit in the original: (layer k, neuron indices) for each."""

    network: Network
    kept: tuple[tuple[int, np.ndarray], ...]
    _moved: dict[Placement, list[tuple[int, Array]]] = field(default_factory=dict, init=False, repr=False)

    def reduce(self, rows: Rows) -> Rows:
        """The same rows on the reduced network."""
        placement = Placement.of(rows.objective)
        network = self.network.put(placement)
        picks = self._picks(placement)
        lower = tuple(_columns(rows.held.lower[k], index) for k, index in picks)
        upper = tuple(_columns(rows.held.upper[k], index) for k, index in picks)
        lines = network_lines(network, lower, upper)
        return replace(
            rows,
            network=network,
            held=replace(rows.held, lower=lower, upper=upper, lines=lines),
            relaxations=relaxations_of(network),
            cut=tuple(_kept(rows.cut[k], index) for k, index in picks),
            couplings=None if rows.couplings is None else _at(rows.couplings, rows.network.output, network.output),
        )

    def restrict(self, point: DualPoint) -> DualPoint:
        """Multipliers of the original network, those of kept neurons only."""
        picks = self._picks(Placement.of(point.coupled))
        slopes = [_columns(point.slopes[k], index) for k, index in picks]
        return DualPoint(slopes, [_kept(point.ranges[k], index) for k, index in picks], point.coupled)

    def expand(self, arrays: list[Array], rows: Rows) -> list[Array]:
        """Per-neuron arrays of the reduced network spread over the original one, zero where neurons are stable."""
        full, placement = rows.neurons(0.0), Placement.of(rows.objective)
        for (k, index), array in zip(self._picks(placement), arrays, strict=True):
            full[k][:, index] = placement.put(array)
        return full

    def _picks(self, placement: Placement) -> list[tuple[int, Array]]:
        """The kept neurons' indices in a placement, moved there once."""
        if placement not in self._moved:
            self._moved[placement] = [(k, placement.put_indices(index)) for k, index in self.kept]
        return self._moved[placement]


@dataclass(frozen=True, eq=False)
class _Partition:
    """The neurons of one activation layer that matter: unstable ones, then active ones; inactive ones are gone."""

    unstable: np.ndarray
    active: np.ndarray
    reduced: int
    source: int


def can_eliminate(problem: Problem) -> bool:
    """Whether stable neurons fold into matrices: ReLU between affine nodes that read activations or the input only.

    Convolutions stay what they are: their matrices would cost more than the neurons they save. So do networks with
    constraints on values between input and output.
    """
    network, couplings = problem.measured, problem.couplings
    if couplings is not None and not couplings.parts.keys() <= {0, network.output}:
        return False
    terms = [term for node in network.affine.values() for term in node.terms]
    return (
        all(facts_of(node).rectifies for node in network.functions)
        and all(isinstance(term.map, DenseMap | DiagonalMap | SelectionMap) for term in terms)
        and not any(term.source in network.affine for term in terms)
    )


@dataclass(frozen=True, eq=False)
class _Folded:
    """An affine node over the input and reduced activations: matrices by source, and the bias."""

    parts: dict[int, Array]
    bias: Array

    def first(self, count: int) -> "_Folded":
        """Its first rows."""
        return _Folded({source: matrix[:count, :] for source, matrix in self.parts.items()}, self.bias[:count])

    def node(self, used: Iterator[bool]) -> Affine:
        """The node without matrices that are zero; used: of each in turn, whether it is not."""
        # Without active neurons nothing reaches past an activation; but a constant still has one value per row.
        useful = {source: matrix for source, matrix in self.parts.items() if next(used)} or {0: self.parts[0]}
        terms = tuple(Term(source, DenseMap(matrix)) for source, matrix in sorted(useful.items()))
        return Affine(terms, self.bias, namespace(self.bias).abs(self.bias))


def eliminate(problem: Problem, place: Placement) -> Elimination:
    """Fold away every neuron that is stable in all rows of the problem, whose network `can_eliminate` allows.

    place: where the products are made, and the reduced network lives.
    """
    network = moved(problem.measured, place) if place.on_gpu else problem.measured.put(place)
    ends = problem.bounds
    bounds = zip(ends.lower, ends.upper, ends.cut, strict=True)
    neurons = [_unstable_and_active(low, high, cut) for low, high, cut in bounds]
    feeds = {source: k for k, source in enumerate(network.sources)}
    nodes: list[Input | Activation | _Folded] = [Input(network.input_size)]
    kept: list[tuple[int, np.ndarray]] = []
    # Rows are the unstable and then the active neurons.
    affine: dict[int, _Folded] = {}
    split: dict[int, _Partition] = {}
    for i, node, k in paced(network.steps):
        if node is not None:
            order = np.concatenate(neurons[feeds[i]]) if i in feeds else np.arange(node.size)
            affine[i] = _fold(node, order, network.input_size, affine, split)
        else:
            function, (unstable, active) = network.functions[k], neurons[k]
            count = len(unstable)
            if count:
                nodes.append(affine[function.source].first(count))
                nodes.append(Activation(function.kind, len(nodes) - 1, count))
                kept.append((k, unstable))
            split[i] = _Partition(unstable, active, len(nodes) - 1, function.source)
    nodes.append(affine[network.output])
    used = iter(_not_zero([part for one in nodes if isinstance(one, _Folded) for part in one.parts.values()]))
    reduced = replace(network, nodes=tuple(one.node(used) if isinstance(one, _Folded) else one for one in nodes))
    return Elimination(_reading_all(reduced), tuple(kept))


def _not_zero(matrices: list[Array]) -> list[bool]:
    """Whether each has an entry that is not zero; asked for all at once, as a GPU is waited for."""
    if all(isinstance(matrix, np.ndarray) for matrix in matrices):
        return [bool(np.any(matrix)) for matrix in matrices]
    xp = namespace(*matrices)
    return to_numpy(xp.stack([xp.any(matrix != 0) for matrix in matrices])).tolist()


def _unstable_and_active(lower: Array, upper: Array, cut: Array | None) -> tuple[np.ndarray, np.ndarray]:
    """Neurons unstable in some row, or with ends that are constraints, and the others active in all rows."""
    xp = namespace(lower)
    # Of bounds on a GPU this alone crosses.
    active, inactive = to_numpy(xp.stack([xp.all(lower >= 0, axis=0), xp.all(upper <= 0, axis=0)]))
    if cut is not None:
        free = ~np.any(to_numpy(cut), axis=0)
        active, inactive = active & free, inactive & free
    return np.flatnonzero(np.asarray(~(active | inactive))), np.flatnonzero(np.asarray(active & ~inactive))


def elimination_pays(problem: Problem, reduced: Elimination, passes: int) -> bool:
    """Whether the iterations on the reduced network are cheaper."""
    return passes > 0 and reduced.network.weight_count < 0.8 * problem.measured.weight_count


def elimination_work(problem: Problem) -> float:
    """Rough number of multiplications that eliminating costs, to be compared with those of the iterations."""
    sizes = [node.size for node in problem.network.affine.values()]
    return float(sum(first * second for first, second in pairwise(sizes)) * problem.network.input_size)


def _fold(
    node: Affine,
    order: np.ndarray,
    inputs: int,
    affine: dict[int, _Folded],
    split: dict[int, _Partition],
) -> _Folded:
    """The given rows of an affine node over the input and the unstable activations, through active neurons."""
    place = Placement.of(node.bias)
    xp, put = place.xp, place.put_indices
    # The input always takes part, so that a node of constant value still has one value per row.
    parts: dict[int, Array] = {0: xp.zeros((len(order), inputs), dtype=place.dtype, device=place.device)}
    bias = xp.take(node.bias, put(order), axis=0)
    for term in node.terms:
        weight = term.map.dense().weight[order] if place.is_numpy else term.map.rows_at(order, place)
        if term.source == 0:
            parts[0] = parts[0] + weight
            continue
        source = split[term.source]
        count = len(source.unstable)
        if count:
            add(parts, source.reduced, xp.take(weight, put(source.unstable), axis=1))
        through, inner = xp.take(weight, put(source.active), axis=1), affine[source.source]
        bias = bias + through @ inner.bias[count:]
        for index, matrix in inner.parts.items():
            add(parts, index, through @ matrix[count:, :])
    return _Folded(parts, bias)


def _reading_all(network: Network) -> Network:
    """The network with zero matrices from what nothing reads to the output: every activation has a copy in ADMM."""
    last, unread = network.affine[network.output], [i for i in network.activations if not network.readers[i]]
    place = Placement.of(last.bias)
    new = {"dtype": place.dtype, "device": place.device}
    zeros = tuple(Term(i, DenseMap(place.xp.zeros((last.size, network.nodes[i].size), **new))) for i in unread)
    return replace(network, nodes=(*network.nodes[:-1], replace(last, terms=(*last.terms, *zeros))))


def _columns(array: Array, index: Array) -> Array:
    return namespace(array).take(array, index, axis=-1)


def _kept(array: Array | None, index: Array) -> Array | None:
    return None if array is None else _columns(array, index)


def _at(couplings: Couplings, old: int, new: int) -> Couplings:
    """Constraints on the input and on an output that has another number."""
    return Couplings({new if i == old else i: part for i, part in couplings.parts.items()}, couplings.offset)
