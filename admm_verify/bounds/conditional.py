"""Conditional bounds: of activations' inputs where given rows are at most zero, which says nothing about other inputs.

Reference: the multiplier on the output's constraint is INVPROP's (Kotha et al., NeurIPS 2023); here it is on bounds of
the rows in the values of the layer in question, which spares the layers above.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Placement
from admm_verify.backends.choice import verbs_for
from admm_verify.bounds.backward import backward
from admm_verify.bounds.climb import Climb, Functionals
from admm_verify.bounds.planes import Planes, planes_at
from admm_verify.bounds.region import Region, build_region, largest
from admm_verify.network.graph import Network
from admm_verify.relaxations.lines import KinkLines, Lines
from admm_verify.relaxations.registry import network_lines
from admm_verify.run import Stopped
from admm_verify.sets.contract import InputSet
from admm_verify.settings import RefineSettings


@dataclass(frozen=True, eq=False)
class ConditionalBounds:
    """Bounds of every activation's input wherever all atoms of a disjunct are at most zero, for each disjunct its own.

    empty: disjuncts whose atoms are proven to be at most zero together nowhere; their bounds are anything.
    Shapes: lower[k], upper[k] [disjuncts, n_k]; empty [disjuncts].
    """

    lower: tuple[np.ndarray, ...]
    upper: tuple[np.ndarray, ...]
    empty: np.ndarray

    def take(self, disjuncts: np.ndarray) -> "ConditionalBounds":
        """Those of the given disjuncts."""
        lower, upper = (tuple(end[disjuncts] for end in ends) for ends in (self.lower, self.upper))
        return ConditionalBounds(lower, upper, self.empty[disjuncts])

    @classmethod
    def join(cls, parts: Sequence["ConditionalBounds"]) -> "ConditionalBounds":
        """All parts' disjuncts."""
        lower, upper = (
            tuple(np.concatenate(ends) for ends in zip(*pairs, strict=True))
            for pairs in ([part.lower for part in parts], [part.upper for part in parts])
        )
        return cls(lower, upper, np.concatenate([part.empty for part in parts]))


@dataclass(frozen=True, eq=False)
class Condition:
    """Rows objective f + offset that are all at most zero, and multipliers of activations' inputs that bound them.

    Shapes: objective [disjuncts, atoms, outputs]; offset [disjuncts, atoms]; multipliers[k] [disjuncts, atoms, n_k],
    None where the rows do not reach activation k.
    """

    objective: np.ndarray
    offset: np.ndarray
    multipliers: Sequence[np.ndarray | None]


def conditional_bounds(
    network: Network,
    inputs: InputSet,
    known: ConditionalBounds,
    condition: Condition,
    wanted: Sequence[np.ndarray],
    settings: RefineSettings,
    stop: Callable[[], bool],
) -> ConditionalBounds:
    """Known bounds cut, layer by layer, with what the condition says of the wanted neurons.

    A neuron's input z is at least z + sum_j lambda_j (plane j) where the planes are at most zero, for any lambda >= 0:
    ascent in the slopes below and in lambda in float32, certified in float64.

    Shapes: network and arrays of NumPy in float64; inputs [disjuncts, n_0]; wanted[k] [disjuncts, m_k], neurons of
    activation k, as many as one likes.
    Error: rounded outward. Raises: Stopped.
    """
    lower, upper, empty = list(known.lower), list(known.upper), known.empty
    targets: dict[int, list[int]] = {}
    for k, source in enumerate(network.sources):
        targets.setdefault(source, []).append(k)
    targets = {t: layers for t, layers in targets.items() if wanted[layers[0]].shape[1]}
    everything = _region(network, inputs, lower, upper)
    planes = planes_at(everything, condition.objective, condition.offset, condition.multipliers, targets)
    for t, layers in sorted(targets.items()):
        if stop():
            raise Stopped
        if t not in planes[t].parts:
            # The rows do not depend on it.
            continue
        below, neurons = sum(i < t for i in network.activations), wanted[layers[0]]
        part = Network(network.nodes[: t + 1], network.input_shape, (network.nodes[t].size,))
        low, high = Frame(_region(part, inputs, lower[:below], upper[:below]), planes[t], settings).bounds(neurons)
        for k in layers:
            ends = _cut(lower[k], neurons, low, np.maximum), _cut(upper[k], neurons, high, np.minimum)
            crossed = ends[0] > ends[1]
            empty = empty | crossed.any(axis=1)
            # Where they cross no input meets the condition, and any bounds do.
            lower[k], upper[k] = np.where(crossed, ends[1], ends[0]), ends[1]
    return ConditionalBounds(tuple(lower), tuple(upper), empty)


def _region(network: Network, inputs: InputSet, lower: Sequence[np.ndarray], upper: Sequence[np.ndarray]) -> Region:
    spread = [tuple(end[:, None, :] for end in ends) for ends in (lower, upper)]
    return build_region(network, inputs.spread(), spread[0], spread[1])


def _cut(end: np.ndarray, neurons: np.ndarray, found: np.ndarray, better: np.ufunc) -> np.ndarray:
    """One end [disjuncts, n] with some neurons' own, [disjuncts, m]; those may repeat."""
    end = end.copy()
    better.at(end, (np.arange(len(end))[:, None], neurons), found)
    return end


class Frame:
    """The layers up to one affine node, and planes in the values of these layers."""

    def __init__(self, region: Region, planes: Planes, settings: RefineSettings) -> None:
        """Shapes: region with leading axes [disjuncts, 1]."""
        target, magnitude = region.network.affine[region.network.output], region.magnitudes[-1]
        assert magnitude is not None
        self.region, self.settings = region, settings
        self.target, self.index, self.magnitude = (
            target,
            len(region.network.nodes) - 1,
            self._over_goals(magnitude)[:, 0],
        )
        self.lines = network_lines(region.network, region.lower, region.upper)
        # What is not known to hold cuts nothing: 0 <= 0.
        known = np.isfinite(planes.constant)
        parts = {i: np.where(known[..., None], part, 0.0) for i, part in planes.parts.items()}
        self.planes = Planes(parts, np.where(known, planes.constant, 0.0))

    def bounds(self, neurons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Certified bounds of the given neurons of the last node where the planes are at most zero.

        Shapes: neurons [disjuncts, m] -> lower, upper [disjuncts, m].
        """
        slopes, weights = Duel(self, neurons).run()
        found = self.certified(neurons, slopes, weights)
        return found[:, : neurons.shape[1]], -found[:, neurons.shape[1] :]

    def certified(self, neurons: np.ndarray, slopes: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
        """Lower bounds of the neurons and of their negatives from any slopes, and any weights >= 0 of the planes.

        Shapes: slopes[k] [disjuncts, 2 m, sides n_k]; weights [disjuncts, 2 m, atoms] -> [disjuncts, 2 m].
        Error: rounded downward.
        """
        count = neurons.shape[1]
        own, sign = np.concatenate([neurons, neurons], axis=1), np.repeat([1.0, -1.0], count)
        start = {i: weights @ part for i, part in self.planes.parts.items()}
        place = np.arange(len(own))[:, None], np.arange(2 * count), own
        start[self.index][place] = start[self.index][place] + sign
        constant = (weights @ self.planes.constant[..., None])[..., 0]

        def choose(k: int, a: np.ndarray) -> np.ndarray:
            line = self.lines[k]
            return line.contact(a, np.clip(slopes[k].astype(np.float64), line.minimum, line.maximum)).slope * a

        kinks = [line if isinstance(line, KinkLines) else None for line in self.lines]
        sweep = backward(self.region.network, start, constant, choose)
        found = self.region.concretise(sweep, kinks) - self._lost(weights, own)
        return np.where(np.isnan(found), -np.inf, found)

    def _lost(self, weights: np.ndarray, own: np.ndarray) -> np.ndarray:
        """What rounding the sum of the neuron and the weighted planes can take, [disjuncts, 2 m].

        Each coefficient is off by at most so many roundings of its terms' absolute sum, and each product may lose the
        smallest number.
        """
        atoms, size, reached = weights.shape[-1], np.abs(self.planes.constant), np.zeros(len(own))
        for i, part in self.planes.parts.items():
            reach = self._reach(i)
            size = size + (np.abs(part) * reach).sum(axis=-1)
            reached = reached + reach.sum(axis=-1)[:, 0]
        terms = (weights @ size[..., None])[..., 0] + np.take_along_axis(self.magnitude, own, axis=1)
        return 4.0 * (atoms + 4) * DOUBLE_ROUNDOFF * terms + SMALLEST * (atoms + 2) * (2.0 + 2.0 * reached)[:, None]

    def _over_goals(self, array: np.ndarray) -> np.ndarray:
        return np.broadcast_to(array, (*self.region.inputs.lead, array.shape[-1]))

    def _reach(self, index: int) -> np.ndarray:
        """What a node's values do not exceed in absolute value, [disjuncts, 1, n]."""
        region, magnitude = self.region, self.region.magnitudes[index]
        if magnitude is not None:
            return self._over_goals(magnitude)
        if index == 0:
            return region.inputs.reach
        k = region.network.activations.index(index)
        return largest(*region.relaxations[k].image(region.lower[k], region.upper[k]))


class Duel:
    """Ascent in float32 for both sides of some neurons: in the slopes below, and in the weights of the planes.

    The bound is concave in the weights, and a plane's value in the linearised network is its supergradient; the weights
    take relative steps by its sign.
    """

    def __init__(self, frame: Frame, neurons: np.ndarray) -> None:
        self.settings, home = frame.settings, Placement.numpy().single
        put, region, target, count = home.put, frame.region, frame.target, neurons.shape[1]
        below = Network(region.network.nodes[:-1], region.network.input_shape, (region.network.nodes[-2].size,))
        self.network, self.verbs = below.put(home), verbs_for(home)
        self.inputs = region.inputs.put(home)
        lower, upper = tuple(map(put, region.lower)), tuple(map(put, region.upper))
        self.lines: tuple[Lines, ...] = network_lines(self.network, lower, upper)
        sign = np.repeat(np.array([1.0, -1.0], dtype=np.float32), count)
        parts, lead = frame.planes.parts, (len(neurons), 2 * count)
        there = parts[frame.index]
        self.shift = put(frame.planes.constant + (there * target.bias).sum(axis=-1))
        self.constant = put(np.tile(target.bias[neurons], 2)) * sign
        # Both start at the sources of the last node, which spares that product in every step.
        self.rows: dict[int, np.ndarray] = {}
        self.planes = {i: put(part) for i, part in parts.items() if i != frame.index}
        for term in target.terms:
            own = put(term.map.rows_at(neurons.reshape(-1), Placement.numpy())).reshape(*neurons.shape, -1)
            _add(self.rows, term.source, np.tile(own, (1, 2, 1)) * sign[:, None])
            _add(self.planes, term.source, put(term.map.transpose(there)))
        self.nothing = np.zeros((*lead, region.network.input_size), dtype=np.float32)
        self.slopes = [np.broadcast_to(line.start, (*lead, line.start.shape[-1])) for line in self.lines]

    def run(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Slopes of every activation, and weights of the planes, [disjuncts, 2 m, atoms]."""
        own, plane = (
            np.sum([np.abs(part).sum(axis=-1) for part in parts.values()], axis=0) for parts in (self.rows, self.planes)
        )
        # Where the neuron and the planes together weigh as much.
        weights = own[..., None] / np.maximum(plane, np.finfo(np.float32).tiny)[:, None, :] / plane.shape[1]
        climb, pace = None, self.settings.pace
        for _ in range(self.settings.iterations):
            rows = self._functionals(weights)
            if climb is None:
                climb = Climb(rows, self.slopes, self.settings.ascent, self.settings.iterations, self.verbs)
            climb.rows = rows
            values = climb.step().values
            slope = self.shift[:, None, :] + sum(values[i] @ np.swapaxes(part, 1, 2) for i, part in self.planes.items())
            weights = weights * np.exp(pace * np.sign(slope)).astype(np.float32)
            pace *= self.settings.slowing
        weights = np.where(np.isfinite(weights), weights, 0.0).astype(np.float64)
        return (self.slopes if climb is None else climb.slopes), weights

    def _functionals(self, weights: np.ndarray) -> Functionals:
        start = {i: weights @ part for i, part in self.planes.items()}
        for i, part in self.rows.items():
            _add(start, i, part)
        start.setdefault(0, self.nothing)
        constant = self.constant + (weights @ self.shift[..., None])[..., 0]
        return Functionals(self.network, start, constant, self.inputs, self.lines)


def _add(parts: dict[int, np.ndarray], index: int, part: np.ndarray) -> None:
    parts[index] = parts[index] + part if index in parts else part
