"""A network cut into parts that follow one another, each bounded by multipliers: the product bounds the whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise

import numpy as np

from admm_verify.lipschitz.descent import descended
from admm_verify.lipschitz.frequency_system import FrequencySystem, frequency_system
from admm_verify.lipschitz.interior_point import best_multipliers
from admm_verify.lipschitz.jacobians import Slopes
from admm_verify.lipschitz.layers import LayerNorm, layer_norms_of, product_of, steepest, steps_of
from admm_verify.lipschitz.multipliers import closed_forms, constant_of_waves, forms_of, proved_constant
from admm_verify.lipschitz.slope_forms import constants_of, evenly, judged, layered
from admm_verify.lipschitz.slope_system import (
    MOST_NEURONS,
    Multipliers,
    SlopeSystem,
    neurons_between,
    slope_system,
)
from admm_verify.lipschitz.wave_search import wave_multipliers
from admm_verify.network.graph import Activation, Input, Network, sources_of
from admm_verify.run import Progress, Run

_INWARD = 0.7
"""Of its best, the share that each layer's multiplier has where the interior point method begins."""

_SMALL, _FEW = 400, 3
"""Neurons and outputs of systems for which the interior point method follows in any case."""

_TRIALS = 3
"""Points of a search that are tried for a proof, the best ones first."""

_MOST_QUICK = 1500
"""Neurons, beyond which a pass over a system takes seconds: frequencies come first where there are any."""

_WORTH = 0.85
"""Of the proved constant, what a descent must have come to for a proof in between."""

_STEPS = 300
"""Of one stage of a descent."""


@dataclass(eq=False)
class Segment:
    """What lies between two nodes that all paths pass, and its least proved constant.

    system: with one multiplier per neuron; waves: with one per channel, where these are many; steepest: of
    the function at the end, which `waves` leaves out. known: the best multipliers of `system` so far.
    """

    system: SlopeSystem | None
    constant: float
    waves: FrequencySystem | None = None
    steepest: float = 1.0
    known: Multipliers | None = None

    def try_out(self, found: Multipliers) -> None:
        """Take multipliers of `system` that prove less than what is known."""
        assert self.system is not None, "they are its"
        if self.known is None or found.constant < self.known.constant:
            self.known = found
        if found.constant < self.constant:
            self.constant = min(self.constant, proved_constant(self.system, found))


def segments_of(
    graph: Network, layers: list[LayerNorm] | None = None, slopes: Sequence[Slopes] | None = None
) -> list[Segment]:
    """The parts of a network, with the product of norms as their constants; as few as multipliers can take.

    layers: the norms of the graph's steps in l2, where they are known; slopes: those of all activations, where they are
    not all that these have.
    """
    steps = steps_of(graph)
    if layers is None:
        layers = list(layer_norms_of(graph, steps, "l2", attain=False))
    found = []
    for start, end in _cuts(graph, slopes):
        constant = product_of(steps, layers, "l2", start).get(end, 0.0)
        node = graph.nodes[end]
        segment = Segment(None, constant, steepest=steepest(node) if isinstance(node, Activation) else 1.0)
        neurons = neurons_between(graph, start, end)
        if slopes is not None or neurons:
            segment.system = slope_system(graph, start, end, slopes)
            if neurons and (segment.system is None or segment.system.neurons > _MOST_QUICK):
                segment.waves = frequency_system(graph, start, end)
        found.append(segment)
    return found


def total(segments: list[Segment]) -> float:
    """The product of the constants. Error: rounded outward."""
    constants = [segment.constant for segment in segments]
    if 0.0 in constants:
        return 0.0
    return float(np.prod(constants)) * (1.0 + 1e-15 * len(constants))


def by_layers(segments: list[Segment]) -> None:
    """Lower the constants by one multiplier per layer; large parts with frequencies wait for the search."""
    for segment in segments:
        if segment.system is not None and segment.waves is None:
            first = next(closed_forms(segment.system), None)
            if first is not None:
                segment.try_out(first)


def by_forms(segments: list[Segment]) -> None:
    """Lower the constants by the best of all multipliers in closed form, where these take no time."""
    for segment in segments:
        if segment.system is not None and segment.system.neurons <= _MOST_QUICK:
            # The first one is that of `by_layers`.
            others = islice(closed_forms(segment.system), 1, None)
            best = min(others, key=lambda found: found.constant, default=None)
            if best is not None:
                segment.try_out(best)


def by_search(segments: list[Segment], tolerance: float, run: Run) -> Iterator[None]:
    """Lower the constants by a search for multipliers, part after part, each for its share of the time that is left.

    Something may have become less wherever it stops.
    """
    some = [segment for segment in segments if segment.system is not None or segment.waves is not None]
    for k, segment in enumerate(some):
        own = run.within(1.0 / (len(some) - k))
        for _ in _by_waves(segment, tolerance, own):
            yield
        for _ in _lowered(segment, tolerance, own):
            yield


def _by_waves(segment: Segment, tolerance: float, run: Run) -> Iterator[None]:
    if segment.waves is None:
        return
    for waves, found in wave_multipliers(segment.waves, tolerance, run):
        _tell(run, segment.waves.neurons, "channels", found.constant)
        known = (1.0 + 1e-12) * segment.steepest
        if known * found.constant < segment.constant:
            segment.constant = min(segment.constant, known * constant_of_waves(segment.waves, waves, found))
            yield
        if run.over():
            return


def _lowered(segment: Segment, tolerance: float, run: Run) -> Iterator[None]:
    """By a descent, then by the interior point method where that is not as close as asked."""
    system = segment.system
    if system is None or not system.neurons or run.over():
        return
    start = segment.known or next(closed_forms(system), None)
    if start is None:
        return
    close = False
    weights = start.weights / start.constant
    judge = partial(judged, forms_of(system))
    for stage in descended(judge, weights, len(system.outer), tolerance, _STEPS):
        close = stage.is_close
        _tell(run, system.neurons, "neurons", stage.constant)
        if stage.ends_here or run.over() or stage.constant < _WORTH * segment.constant:
            segment.try_out(Multipliers(stage.constant, stage.constant * stage.weights))
            yield
        if run.over():
            return
    # Of few outputs the mean is no smoother than the edge, where a descent may settle too early.
    if close and system.neurons > _SMALL and len(system.outer) > _FEW:
        return
    points = sorted(_searched(system, tolerance, run), key=lambda point: point.constant)
    for point in points[:_TRIALS]:
        segment.try_out(point)
    yield


def _searched(system: SlopeSystem, tolerance: float, run: Run) -> Iterator[Multipliers]:
    """From the middle: points of a descent lie at the edge, where the method hardly moves."""
    forms = forms_of(system)
    weights = layered(forms, evenly, _INWARD)
    constant = np.inf if weights is None else float(constants_of(forms, weights)[0])
    if weights is None or not 0.0 < constant < np.inf:
        return
    # A little more than proved is away from the edge, too.
    start = Multipliers(1.1 * constant, 1.1 * constant * weights)
    for point in best_multipliers(system, start, tolerance):
        yield point
        _tell(run, system.neurons, "neurons", point.constant)
        if run.over():
            return


def _tell(run: Run, count: int, what: str, constant: float) -> None:
    if run.tell is not None:
        run.tell(Progress(f"Lipschitz constant of {count} {what}: about {constant:.6g}"))


def _cuts(graph: Network, slopes: Sequence[Slopes] | None) -> list[tuple[int, int]]:
    """Pairs of nodes that all paths pass, one after the other, with as many neurons between as a system takes."""
    places = _passed(graph)
    ends = [places[0]]
    for before, after in pairwise(places):
        if neurons_between(graph, ends[-1], after, slopes) > MOST_NEURONS and before != ends[-1]:
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
