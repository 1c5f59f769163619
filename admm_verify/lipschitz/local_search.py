"""A set of inputs in parts, over each of which fewer neurons have several slopes: the largest constant is the set's.

Parts are split, the steepest first, at the kink of a neuron that is affine over the part, into polytopes; where there
is none, halved along the input that counts most. Over a part without kinks the Jacobian is known, and attained.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.bounds.interval import Forward
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.lipschitz.jacobians import slopes_within
from admm_verify.lipschitz.local_point import SteepestPoint
from admm_verify.lipschitz.local_region import SteepRegion, enclosed_norm
from admm_verify.lipschitz.multipliers import closed_forms, proved_constant
from admm_verify.lipschitz.patterns import Neuron, Patterns, all_patterns, open_neurons
from admm_verify.lipschitz.settings import LocalLipschitzSettings
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.hulls import tightened
from admm_verify.sets.polytopes import Polytopes

_MOST_INPUTS = 20
"""Of positive width, of sets that are split."""

_KINKED = {"relu", "prelu"}
"""Activations that are lines on both sides of 0."""


@dataclass(frozen=True, eq=False)
class _SteepPart:
    """A part of the set, its certified constant, and what its patterns tell."""

    region: SteepRegion
    upper: float
    patterns: Patterns | None


def split_region(
    region: SteepRegion, steep: SteepestPoint, known: float, chosen: LocalLipschitzSettings, run: Run
) -> Iterator[tuple[int, float]]:
    """How many parts there are, and the constant that they prove, better and better.

    known: a constant of the set. It ends once that is within the gap of the lower bound, and where nothing is left to
    split.
    """
    if not chosen.most_subproblems or int(np.sum(region.free)) > _MOST_INPUTS or run.over():
        return
    search = _SplitSearch(steep, known)
    search.add(region)
    count = 1
    while search.queue and not run.over():
        yield count, search.upper
        part = search.queue[0][2]
        if part.upper <= steep.slope * (1.0 + chosen.gap) or count >= chosen.most_subproblems:
            return
        # Where slopes are known there is nothing to gain.
        children = _children(part) if part.region.open_count else None
        if children is None:
            return
        heapq.heappop(search.queue)
        for child in children:
            moved = _narrowed(part.region, child, run)
            if moved is not None:
                search.add(moved)
        count += 1
    if search.queue:
        yield count, search.upper


class _SplitSearch:
    """Parts, the steepest first."""

    def __init__(self, steep: SteepestPoint, known: float) -> None:
        self.steep, self.known, self.made = steep, known, 0
        self.queue: list[tuple[float, int, _SteepPart]] = []

    @property
    def upper(self) -> float:
        """The largest constant of all parts."""
        return min(self.known, -self.queue[0][0])

    def add(self, region: SteepRegion) -> None:
        """Bound a part, and see how steep its middle is."""
        self.steep.try_points(to_numpy(region.inputs.centre).reshape(1, -1))
        patterns = all_patterns(region, self.steep.norm)
        upper = np.inf if patterns is None else patterns.upper
        if patterns is None:
            jacobian = region.jacobian
            upper = np.inf if jacobian is None else enclosed_norm(*jacobian, self.steep.norm)
            if self.steep.norm == "l2" and region.system is not None:
                found = min(closed_forms(region.system), key=lambda point: point.constant, default=None)
                if found is not None and found.constant < upper:
                    upper = min(upper, proved_constant(region.system, found))
        self.made += 1
        part = _SteepPart(region, min(upper, self.known), patterns)
        heapq.heappush(self.queue, (-part.upper, self.made, part))


@dataclass(frozen=True, eq=False)
class _SplitOff:
    """A part of a part: its set, and a neuron that has one sign there, -1 or 1, where it was split at its kink."""

    inputs: WalkableSet
    neuron: Neuron | None = None
    sign: int = 0


def _children(part: _SteepPart) -> tuple[_SplitOff, ...] | None:
    """Two parts; None where there is nothing to split."""
    region = part.region
    if isinstance(region.inputs, Box | Polytopes):
        neuron = _splitter(part)
        if neuron is not None:
            found = _kink(region, neuron)
            if found is not None:
                normal, below, above = found
                return (
                    _SplitOff(_cut(region.inputs, normal, below), neuron, -1),
                    _SplitOff(_cut(region.inputs, -normal, above), neuron, 1),
                )
    return _halves(part)


def _splitter(part: _SteepPart) -> Neuron | None:
    """Of the neurons that are affine over the part and have a kink, the one whose signs take most off the constant."""
    region, system = part.region, part.region.system
    neurons = open_neurons(region)
    if system is None or len(neurons) != system.neurons:
        return None
    kinds = [node.kind for node in region.graph.functions]
    smooth = any(kinds[k] not in _KINKED and kinds[k] != "clip" for k in range(len(kinds)))
    alone = np.logical_not(np.any(system.inner[:, system.inputs :], axis=1)).tolist()
    fit = [i for i, (k, _) in enumerate(neurons) if alone[i] and kinds[k] in _KINKED]
    if smooth or not fit:
        return None
    if part.patterns is not None:
        values = part.patterns.values
        sides = [sorted(float(np.max(np.take(values, side, axis=i))) for side in (0, 1)) for i in fit]
        return neurons[fit[min(range(len(fit)), key=lambda i: sides[i])]]
    reach = [min(-region.ranges[0][k][j], region.ranges[1][k][j]) for k, j in (neurons[i] for i in fit)]
    return neurons[fit[int(np.argmax(reach))]]


def _kink(region: SteepRegion, neuron: Neuron) -> tuple[np.ndarray, float, float] | None:
    """A normal g and limits a, b: wherever the neuron is at most 0, g'x <= a, and where it is at least 0, -g'x <= b.

    Its argument is g'x + c up to what the system may be off by, times the part's size; c is known by its value at the
    middle.
    """
    system, neurons = region.system, open_neurons(region)
    assert system is not None, "the neuron was found in it"
    normal = system.inner[neurons.index(neuron), : system.inputs]
    centre, width = (to_numpy(part).reshape(-1) for part in (region.inputs.centre, region.inputs.width))
    forward = Forward(region.graph, Box.point(centre[None])).run()
    source = region.graph.functions[neuron[0]].source
    low, high = (float(to_numpy(side[source])[0, neuron[1]]) for side in (forward.lower, forward.upper))
    at, size = float(normal @ centre), float(np.abs(normal) @ np.abs(centre))
    # The system's error is of inputs and neurons alike, which change by no more than their arguments.
    spans = [region.ranges[1][k][j] - region.ranges[0][k][j] for k, j in neurons]
    off = system.inner_error * float(np.linalg.norm([*width, *spans])) * (1.0 + 1e-9)
    off += 2.0 * gamma(len(normal) + 8) * size
    off += 4.0 * gamma(4) * (abs(at) + abs(low) + abs(high)) + 2.0**-1000
    found = at - low + off, high - at + off
    return (normal, *found) if normal.any() and np.isfinite(found).all() else None


def _cut(inputs: WalkableSet, normal: np.ndarray, limit: float) -> Polytopes:
    """The part of a set [1, n] where normal'x <= limit."""
    lower, upper = (to_numpy(end) for end in inputs.range)
    if isinstance(inputs, Polytopes):
        normals = np.concatenate([to_numpy(inputs.normals), normal[None, None]], axis=1)
        limits = np.concatenate([to_numpy(inputs.ceiling), [[limit]]], axis=1)
    else:
        normals, limits = normal[None, None], np.array([[limit]])
    return tightened(Polytopes.about(lower, upper, normals, limits, limits))


def _halves(part: _SteepPart) -> tuple[_SplitOff, ...] | None:
    """Halved along the input of which the Jacobian's column is largest, by its width."""
    region = part.region
    jacobian = region.jacobian
    if jacobian is None:
        return None
    lower, upper = (to_numpy(end) for end in region.inputs.range)
    wide = (upper - lower)[0]
    weight = np.sum(np.abs(jacobian[0]) + jacobian[1], axis=0)
    score = wide * np.where(np.isfinite(weight), weight, 1.0)
    j = int(np.argmax(score))
    middle = 0.5 * lower[0, j] + 0.5 * upper[0, j]
    if not lower[0, j] < middle < upper[0, j]:
        return None
    low, high = lower.copy(), upper.copy()
    low[0, j] = high[0, j] = middle
    return _SplitOff(region.inputs.within(lower, high)), _SplitOff(region.inputs.within(low, upper))


def _narrowed(region: SteepRegion, child: _SplitOff, run: Run) -> SteepRegion | None:
    """The region of a part of a part; None where it is empty for certain."""
    if isinstance(child.inputs, Polytopes):
        zero = np.zeros((1, child.inputs.size))
        if bool(np.any(to_numpy(child.inputs.bound(zero, child.inputs.farkas)) > 0)):
            return None
    bounds = derived_bounds(region.graph, child.inputs, "crown", run, abandon=False)
    ends = []
    for side, own, better in zip((0, 1), (bounds.lower, bounds.upper), (np.maximum, np.minimum), strict=True):
        found = [better(before, to_numpy(end)[0]) for before, end in zip(region.ranges[side], own, strict=True)]
        if child.neuron is not None and child.sign == (1 if side == 0 else -1):
            layer, j = child.neuron
            found[layer] = found[layer].copy()
            found[layer][j] = better(found[layer][j], 0.0)
        ends.append(tuple(found))
    if any(bool(np.any(low > high)) for low, high in zip(*ends, strict=True)):
        return None
    slopes = slopes_within(region.graph, *ends)
    return replace(region, inputs=child.inputs, ranges=(ends[0], ends[1]), slopes=slopes)
