"""A network cut into parts that follow one another, each bounded by multipliers: the product bounds the whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from admm_verify.lipschitz.interior_point import Multipliers, best_multipliers
from admm_verify.lipschitz.layers import LayerNorm, layer_norms_of, product_of, steps_of
from admm_verify.lipschitz.multipliers import layered_multipliers, proved_constant
from admm_verify.lipschitz.slope_system import MOST_NEURONS, SlopeSystem, neurons_between, slope_system
from admm_verify.network.graph import Activation, Input, Network, sources_of
from admm_verify.run import Progress, Run

_INWARD = 0.7
"""Of its best, the share that each layer's multiplier has where the search begins: away from the edge."""

_TRIALS = 3
"""Points of a search that are tried for a proof, the best ones first."""


@dataclass(eq=False)
class Segment:
    """What lies between two nodes that all paths pass, and its least proved constant."""

    system: SlopeSystem | None
    constant: float


def segments_of(graph: Network, layers: list[LayerNorm] | None = None) -> list[Segment]:
    """The parts of a network, with the product of norms as their constants; as few as multipliers can take.

    layers: the norms of the graph's steps in l2, where they are known.
    """
    steps = steps_of(graph)
    if layers is None:
        layers = list(layer_norms_of(graph, steps, "l2", attain=False))
    found = []
    for start, end in _cuts(graph):
        constant = product_of(steps, layers, "l2", start).get(end, 0.0)
        system = slope_system(graph, start, end) if neurons_between(graph, start, end) else None
        found.append(Segment(system, constant))
    return found


def total(segments: list[Segment]) -> float:
    """The product of the constants. Error: rounded outward."""
    constants = [segment.constant for segment in segments]
    if 0.0 in constants:
        return 0.0
    return float(np.prod(constants)) * (1.0 + 1e-15 * len(constants))


def by_layers(segments: list[Segment]) -> None:
    """Lower the constants by multipliers in closed form."""
    for segment in segments:
        if segment.system is not None:
            found = layered_multipliers(segment.system)
            if found is not None and found.constant < segment.constant:
                segment.constant = min(segment.constant, proved_constant(segment.system, found))


def by_search(segments: list[Segment], tolerance: float, run: Run) -> None:
    """Lower the constants by the best multipliers, part after part, each for its share of the time that is left."""
    some = [segment for segment in segments if segment.system is not None]
    for k, segment in enumerate(some):
        own = run.within(1.0 / (len(some) - k))
        assert segment.system is not None, "the others are left out"
        points = sorted(_searched(segment.system, tolerance, own), key=lambda point: point.constant)
        for point in points[:_TRIALS]:
            if point.constant < segment.constant:
                segment.constant = min(segment.constant, proved_constant(segment.system, point))


def _searched(system: SlopeSystem, tolerance: float, run: Run) -> Iterator[Multipliers]:
    start = layered_multipliers(system, _INWARD)
    if start is None or run.over():
        return
    # A little more than proved is away from the edge, too.
    for point in best_multipliers(system, Multipliers(1.1 * start.constant, 1.1 * start.weights), tolerance):
        yield point
        if run.tell is not None:
            run.tell(Progress(f"Lipschitz constant of {system.neurons} neurons: about {point.constant:.6g}"))
        if run.over():
            return


def _cuts(graph: Network) -> list[tuple[int, int]]:
    """Pairs of nodes that all paths pass, one after the other, with as many neurons between as a system takes."""
    places = _passed(graph)
    ends = [places[0]]
    for before, after in pairwise(places):
        if neurons_between(graph, ends[-1], after) > MOST_NEURONS and before != ends[-1]:
            ends.append(before)
    if places[-1] != ends[-1]:
        ends.append(places[-1])
    return list(pairwise(ends))


def _passed(graph: Network) -> list[int]:
    """The input, the activations that all paths pass, and the output."""
    behind: set[int] = {0}
    for i, node in enumerate(graph.nodes):
        if not isinstance(node, Input) and any(source in behind for source in sources_of(node)):
            behind.add(i)
    before: set[int] = {graph.output}
    for i in range(graph.output, 0, -1):
        if i in before:
            before.update(sources_of(graph.nodes[i]))
    live = behind & before
    reached, found = 0, []
    for i in sorted(live):
        if reached <= i and (i in (0, graph.output) or isinstance(graph.nodes[i], Activation)):
            found.append(i)
        reached = max([reached, *(reader for reader in graph.readers[i] if reader in live)])
    # The output of a constant network is behind nothing.
    return found if len(found) > 1 else [0, graph.output]
