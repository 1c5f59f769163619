"""Conditional bounds: of activations' inputs where given rows are at most zero, which says nothing about other inputs.

Reference: the multiplier on the output's constraint is INVPROP's (Kotha et al., NeurIPS 2023); here it is on bounds of
the rows in the values of the layer in question, which spares the layers above.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Array, Bool, Float, Placement, namespace, to_numpy
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.planes import Condition, add, planes_at
from admm_verify.bounds.region import Region, spread_region
from admm_verify.bounds.relaxed import Relaxed, single_below
from admm_verify.network.graph import Network
from admm_verify.run import Run
from admm_verify.sets.contract import InputSet
from admm_verify.settings import RefineSettings


@dataclass(frozen=True, eq=False)
class ConditionalBounds:
    """Bounds of every activation's input wherever all atoms of a disjunct are at most zero, for each disjunct its own.

    empty: disjuncts whose atoms are proven to be at most zero together nowhere; their bounds are anything.
    """

    lower: tuple[Float[np.ndarray, "disjuncts _"], ...]
    upper: tuple[Float[np.ndarray, "disjuncts _"], ...]
    empty: Bool[np.ndarray, " disjuncts"]


def conditional_bounds(
    network: Network,
    inputs: InputSet,
    known: ConditionalBounds,
    condition: Condition,
    wanted: Sequence[np.ndarray],
    settings: RefineSettings,
    run: Run,
) -> ConditionalBounds:
    """Known bounds cut, layer by layer, with what the condition says of the wanted neurons.

    A neuron's input z is at least z + sum_j lambda_j (plane j) where the planes are at most zero, for any lambda >= 0:
    ascent in the slopes below and in lambda in float32, certified in float64.

    Shapes: network and inputs [disjuncts, n_0] in float64 in one place, where the work is done, and the condition
    anywhere; wanted[k] [disjuncts, m_k], neurons of activation k, as many as one likes.
    Error: rounded outward. Raises: Stopped.
    """
    place = inputs.placement
    xp, put = place.xp, place.put
    lower, upper, empty = list(map(put, known.lower)), list(map(put, known.upper)), place.put_flags(known.empty)
    condition = Condition(put(condition.objective), put(condition.offset), list(map(put, condition.multipliers)))
    targets: dict[int, list[int]] = {}
    for k, source in enumerate(network.sources):
        targets.setdefault(source, []).append(k)
    targets = {t: layers for t, layers in targets.items() if wanted[layers[0]].shape[1]}
    everything = spread_region(network, inputs, lower, upper)
    planes = planes_at(everything, condition, targets)
    for t, layers in sorted(targets.items()):
        run.check()
        if t not in planes[t].start:
            # The rows do not depend on it.
            continue
        below, neurons = sum(i < t for i in network.activations), wanted[layers[0]]
        part = Network(network.nodes[: t + 1], network.input_shape, (network.nodes[t].size,))
        region = spread_region(part, inputs, lower[:below], upper[:below])
        low, high = Conditioned(region, planes[t], settings).bounds(neurons)
        for k in layers:
            ends = _cut(lower[k], neurons, low, xp.maximum), _cut(upper[k], neurons, high, xp.minimum)
            crossed = ends[0] > ends[1]
            empty = empty | xp.any(crossed, axis=1)
            # Where they cross no input meets the condition, and any bounds do.
            lower[k], upper[k] = xp.where(crossed, ends[1], ends[0]), ends[1]
    return ConditionalBounds(tuple(map(to_numpy, lower)), tuple(map(to_numpy, upper)), to_numpy(empty))


def _cut(end: Array, neurons: np.ndarray, found: Array, better: Callable[[Array, Array], Array]) -> Array:
    """One end [disjuncts, n] with some neurons' own, [disjuncts, m]; of those that repeat any one counts."""
    chosen = _places(end, neurons)
    cut = namespace(end).asarray(end, copy=True)
    cut[chosen] = better(end[chosen], found)
    return cut


def _places(array: Array, neurons: np.ndarray) -> tuple[Array, Array]:
    """Index arrays of some neurons [disjuncts, m] of every row of an array [disjuncts, n]."""
    put = Placement.of(array).put_indices
    return put(np.arange(len(neurons))[:, None]), put(neurons)


class Conditioned:
    """The layers up to one affine node, and planes in the values of these layers."""

    def __init__(self, region: Region, planes: Functionals, settings: RefineSettings) -> None:
        """Shapes: region with leading axes [disjuncts, 1]."""
        self.relaxed, self.settings, self.index = Relaxed(region, single_below(region)), settings, region.network.output
        # What is not known to hold cuts nothing: 0 <= 0.
        xp = namespace(planes.constant)
        known = xp.isfinite(planes.constant)
        parts = {i: xp.where(known[..., None], part, xp.zeros_like(part)) for i, part in planes.start.items()}
        self.planes = Functionals(parts, xp.where(known, planes.constant, xp.zeros_like(planes.constant)))

    def bounds(self, neurons: np.ndarray) -> tuple[Array, Array]:
        """Certified bounds of the given neurons of the last node where the planes are at most zero.

        Shapes: neurons [disjuncts, m] -> lower, upper [disjuncts, m].
        """
        slopes, weights = Duel(self, neurons).run()
        found = self.certified(neurons, slopes, weights)
        return found[:, : neurons.shape[1]], -found[:, neurons.shape[1] :]

    def certified(self, neurons: np.ndarray, slopes: Sequence[Array], weights: Array) -> Array:
        """Lower bounds of the neurons and of their negatives from any slopes, and any weights >= 0 of the planes.

        Shapes: slopes[k] [disjuncts, 2 m, sides n_k]; weights [disjuncts, 2 m, atoms] -> [disjuncts, 2 m].
        Error: rounded downward.
        """
        count, home = neurons.shape[1], Placement.of(weights)
        own, sign = np.concatenate([neurons, neurons], axis=1), home.put(np.repeat([1.0, -1.0], count))
        start = {i: weights @ part for i, part in self.planes.start.items()}
        disjunct, place = _places(weights, own)
        chosen = disjunct, home.put_indices(np.arange(2 * count)), place
        start[self.index][chosen] = start[self.index][chosen] + sign
        constant = (weights @ self.planes.constant[..., None])[..., 0]
        return self.relaxed.certify(Functionals(start, constant, self._lost(weights, own)), slopes)[0]

    def _lost(self, weights: Array, own: np.ndarray) -> Array:
        """What rounding the sum of the neuron and the weighted planes can take, [disjuncts, 2 m].

        Each coefficient is off by at most so many roundings of its terms' absolute sum, and each product may lose the
        smallest number.
        """
        xp, atoms = namespace(weights), weights.shape[-1]
        size, reached = xp.abs(self.planes.constant), xp.zeros_like(weights[:, 0, 0])
        for i, part in self.planes.start.items():
            reach = self._reach(i)
            size = size + xp.sum(xp.abs(part) * reach, axis=-1)
            reached = reached + xp.sum(reach, axis=-1)[:, 0]
        whole = self._reach(self.index)[:, 0, :]
        magnitude = whole[_places(whole, own)]
        terms = (weights @ size[..., None])[..., 0] + magnitude
        return 4.0 * (atoms + 4) * DOUBLE_ROUNDOFF * terms + SMALLEST * (atoms + 2) * (2.0 + 2.0 * reached)[:, None]

    def _reach(self, index: int) -> Array:
        """What a node's values do not exceed in absolute value, [disjuncts, 1, n]."""
        reach = self.relaxed.region.reach_at(index)
        return namespace(reach).broadcast_to(reach, (*self.relaxed.inputs.lead, reach.shape[-1]))


class Duel:
    """Ascent in float32 for both sides of some neurons: in the slopes below, and in the weights of the planes.

    The bound is concave in the weights, and a plane's value in the linearised network is its supergradient; the weights
    take relative steps by its sign.
    """

    def __init__(self, conditioned: Conditioned, neurons: np.ndarray) -> None:
        self.settings, self.relaxed = conditioned.settings, conditioned.relaxed
        home, planes, count = self.relaxed.inputs.placement.double, conditioned.planes, neurons.shape[1]
        xp, put = home.xp, home.single.put
        target, there = self.relaxed.network.affine[conditioned.index], planes.start[conditioned.index]
        sign = put(np.repeat(np.array([1.0, -1.0], dtype=np.float32), count))
        self.shift = put(planes.constant + xp.sum(there * target.bias, axis=-1))
        self.constant = put(target.bias[home.put_indices(np.tile(neurons, 2))]) * sign
        # Both start at the sources of the last node, which spares that product in every step.
        self.rows: dict[int, Array] = {}
        self.planes = {i: put(part) for i, part in planes.start.items() if i != conditioned.index}
        for term in target.terms:
            own = xp.reshape(put(term.map.rows_at(neurons.reshape(-1), home)), (*neurons.shape, -1))
            add(self.rows, term.source, xp.concat([own, own], axis=1) * sign[:, None])
            add(self.planes, term.source, put(term.map.transpose(there)))

    def run(self) -> tuple[Sequence[Array], Array]:
        """Slopes of every activation, and weights of the planes, [disjuncts, 2 m, atoms]."""
        xp = namespace(self.shift)
        own, plane = (
            xp.sum(xp.stack([xp.sum(xp.abs(part), axis=-1) for part in parts.values()]), axis=0)
            for parts in (self.rows, self.planes)
        )
        # Where the neuron and the planes together weigh as much.
        least = xp.full_like(plane, xp.finfo(plane.dtype).smallest_normal)
        weights = own[..., None] / xp.maximum(plane, least)[:, None, :] / plane.shape[1]
        settings, pace = self.settings, self.settings.pace
        turned = {i: xp.permute_dims(part, (0, 2, 1)) for i, part in self.planes.items()}
        climb = self.relaxed.climb(self._functionals(weights), None, settings.ascent, settings.iterations)
        for _ in range(settings.iterations):
            climb.functionals = self._functionals(weights)
            values = climb.step().values
            slope = self.shift[:, None, :] + sum(values[i] @ part for i, part in turned.items())
            weights = weights * xp.exp(pace * xp.sign(slope))
            pace *= settings.slowing
        return climb.slopes, xp.astype(xp.where(xp.isfinite(weights), weights, xp.zeros_like(weights)), xp.float64)

    def _functionals(self, weights: Array) -> Functionals:
        start: dict[int, Array] = {i: weights @ part for i, part in self.planes.items()}
        for i, part in self.rows.items():
            add(start, i, part)
        return Functionals(start, self.constant + (weights @ self.shift[..., None])[..., 0])
