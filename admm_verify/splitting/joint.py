"""Ascent over joint relaxations: slopes of single neurons, and one weight for the ball of each layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, select_rows, spread, to_numpy
from admm_verify.bounds.backward import Backward, backward
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.joint import JointLayer, joint_layers
from admm_verify.bounds.region import Joint, Region
from admm_verify.network.graph import Network
from admm_verify.sets.contract import InputSet
from admm_verify.settings import JointSettings
from admm_verify.splitting.loop import Solving
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.sweeps import objectives

Gains = Sequence[Sequence[float]] | None
"""As `joint_layers` takes them."""


def raise_jointly(solving: Solving, gains: Gains, settings: JointSettings) -> None:
    """Raise the ledger's lower bounds by those of joint relaxations, from its multipliers on.

    Its multipliers stay those of the single neurons' relaxation, whose feasible values say nothing where the bound
    ends up above them. Networks with other activations than ReLUs, and rows with constraints, stay as they are.
    """
    ledger, rows = solving.ledger, solving.rows
    layers = None if rows.constrained else joint_layers(ledger.region.per_row, gains)
    if layers is None:
        return
    xp = namespace(ledger.lower)
    block = max(1, solving.settings.block_numbers // sum(node.size for node in rows.network.nodes))
    over = _Over(rows, ledger.region.per_row, layers, settings, block, lambda: solving.run.ended() is not None)
    if rows.inputs.count == 1:
        for k in range(1, len(layers)):
            over = over.tightened(k, gains)
    ledger.lower = xp.maximum(ledger.lower, over.bounds(objectives(ledger.rows), ledger.multipliers.layers))
    above = ledger.lower > ledger.upper
    ledger.upper = xp.where(above, xp.full_like(ledger.upper, float("inf")), ledger.upper)


@dataclass(frozen=True, eq=False)
class _Over:
    """What is climbed over: rows in the precision of the iteration, and a region and its balls in float64.

    block: functionals that climb at a time. over: asked between steps whether to end.
    """

    rows: Rows
    region: Region
    layers: tuple[JointLayer, ...]
    settings: JointSettings
    block: int
    over: Callable[[], bool]

    def bounds(self, functionals: Functionals, known: Sequence[Array] | None = None) -> Array:
        """Certified lower bounds of functionals [m]; the climb starts from multipliers where some are known."""
        place = Placement.of(self.rows.offset)
        climb = _JointClimb.start(
            (self.rows.network, self.rows.inputs),
            tuple(layer.put(place) for layer in self.layers),
            functionals.put(place),
            None if known is None else [place.put(g) for g in known],
            self.settings,
        )
        while climb.done < self.settings.iterations and not self.over():
            climb.step()
        put = self.region.inputs.placement.put
        multipliers, weights = ({k: put(part) for k, part in side.items()} for side in climb.best)
        network = self.region.network
        sweep = backward(network, functionals.start, functionals.constant, lambda k, _: multipliers[k])

        def joint(k: int) -> Joint:
            layer = self.layers[k]
            return lambda a, g: layer.support(a, g, layer.weighed(a, g, weights[k]))

        joints = [joint(k) for k in range(len(self.layers))]
        return self.region.concretise(sweep, joints=joints) - functionals.error

    def tightened(self, k: int, gains: Gains) -> "_Over":
        """With joint bounds of layer k's inputs, where few enough of them are open; the inputs are one set."""
        region, source = self.region, self.region.network.sources[k]
        lower, upper = to_numpy(region.lower[k])[0], to_numpy(region.upper[k])[0]
        wanted = np.flatnonzero((lower < 0) & (upper > 0))
        if not 0 < len(wanted) <= self.settings.neurons or self.over():
            return self
        place, parts = region.inputs.placement, []
        neurons, signs = np.tile(wanted, 2), np.repeat([1.0, -1.0], len(wanted))
        for first in range(0, len(neurons), self.block):
            some = neurons[first : first + self.block]
            sides = np.zeros((len(some), len(lower)))
            sides[np.arange(len(some)), some] = signs[first : first + self.block]
            parts.append(self.bounds(Functionals({source: place.put(sides)}, place.put(np.zeros(len(some))))))
        found = place.xp.concat(parts)
        infinity = float("inf")
        low = spread(found[None, : len(wanted)], wanted, len(lower), -infinity, axis=1)
        high = -spread(found[None, len(wanted) :], wanted, len(lower), -infinity, axis=1)
        xp, lowers, uppers = namespace(low), list(region.lower), list(region.upper)
        lowers[k] = xp.maximum(region.lower[k], low)
        uppers[k] = xp.maximum(lowers[k], xp.minimum(region.upper[k], high))
        closer = region.within(tuple(lowers), tuple(uppers))
        layers = joint_layers(closer, gains)
        assert layers is not None, "Activations are as they were"
        return replace(self, region=closer, layers=layers)


@dataclass(eq=False)
class _JointClimb:
    """Slopes s with g = s a in the layers that functionals reach, weights, and Adam's averages; all move on.

    With p the touching points of the layers and pre the inputs of the network linearised there, q = relu(p) + s (pre -
    p), a (pre - p) is a supergradient of D in the slopes. best: the multipliers and weights of the largest D.

    Shapes: slopes[k] [rows, n_k]; weights[k] [rows, 1].
    """

    over: tuple[Network, InputSet]
    layers: tuple[JointLayer, ...]
    functionals: Functionals
    settings: JointSettings
    slopes: dict[int, Array]
    weights: dict[int, Array]
    mean: dict[int, Array]
    square: dict[int, Array]
    best: tuple[dict[int, Array], dict[int, Array]]
    value: Array | None = None
    done: int = 0

    @classmethod
    def start(
        cls,
        over: tuple[Network, InputSet],
        layers: tuple[JointLayer, ...],
        functionals: Functionals,
        known: Sequence[Array] | None,
        settings: JointSettings,
    ) -> "_JointClimb":
        """From slopes g / a in [0, 1] of known multipliers, or else from the chords'."""
        slopes: dict[int, Array] = {}
        weights: dict[int, Array] = {}

        def choose(k: int, a: Array) -> Array:
            xp, layer, some = namespace(a), layers[k], a != 0
            width = layer.upper - layer.lower
            chord = layer.upper / xp.where(width > 0, width, xp.ones_like(width)) + xp.zeros_like(a)
            ratio = chord if known is None else xp.where(some, known[k] / xp.where(some, a, xp.ones_like(a)), chord)
            slopes[k] = _fitting(layer, ratio)
            g = slopes[k] * a
            weights[k] = layer.weighed(a, g, layer.first_weight(a, g))
            return g

        backward(over[0], functionals.start, functionals.constant, choose)
        zeros = {k: namespace(part).zeros_like(part) for k, part in slopes.items()}
        return cls(over, layers, functionals, settings, slopes, weights, zeros, dict(zeros), (zeros, dict(weights)))

    def step(self) -> None:
        """One backward and one forward sweep."""
        touched: dict[int, Array] = {}
        value = self.functionals.constant * 0.0

        def choose(k: int, a: Array) -> Array:
            nonlocal value
            layer, g = self.layers[k], self.slopes[k] * a
            self.weights[k] = layer.weighed(a, g, self.weights[k], rounds=1)
            touched[k], part = layer.touching(a, g, self.weights[k])
            spent = 0.5 * self.weights[k] * layer.radius**2
            value = value + namespace(part).sum(part, axis=-1) - spent[:, 0]
            return g

        network, inputs = self.over
        sweep = backward(network, self.functionals.start, self.functionals.constant, choose)
        x, least = inputs.best(sweep.input)
        self._keep(value + sweep.constant + least, sweep)
        self.done += 1

        def post(k: int, pre: Array) -> Array:
            a = sweep.post[k]
            if a is None:
                return pre
            p, slope = touched[k], self.slopes[k]
            self._move(k, a * (pre - p))
            return namespace(p).maximum(p, namespace(p).zeros_like(p)) + slope * (pre - p)

        if touched:
            network.forward(x, post, network.activations[max(touched)])

    def _keep(self, value: Array, sweep: Backward) -> None:
        xp, (multipliers, weights) = namespace(value), self.best
        better = xp.ones_like(value, dtype=xp.bool) if self.value is None else value > self.value
        self.value = value if self.value is None else xp.where(better, value, self.value)
        found = {k: g for k, g in enumerate(sweep.pre) if g is not None}
        self.best = (
            {k: select_rows(better, g, multipliers[k]) for k, g in found.items()},
            {k: select_rows(better, self.weights[k], weights[k]) for k in found},
        )

    def _move(self, k: int, gradient: Array) -> None:
        """Adam's step of one layer's slopes."""
        xp, settings, count = namespace(gradient), self.settings, self.done
        self.mean[k] = settings.momentum * self.mean[k] + (1.0 - settings.momentum) * gradient
        self.square[k] = settings.memory * self.square[k] + (1.0 - settings.memory) * gradient**2
        first, second = 1.0 - settings.momentum**count, 1.0 - settings.memory**count
        length = xp.sqrt(self.square[k] / second)
        some = length > 0
        direction = xp.where(some, (self.mean[k] / first) / xp.where(some, length, xp.ones_like(length)), length)
        rate = settings.step * settings.end ** ((count - 1) / max(1, settings.iterations - 1))
        self.slopes[k] = _fitting(self.layers[k], self.slopes[k] + rate * direction)


def _fitting(layer: JointLayer, slopes: Array) -> Array:
    """The nearest slopes in [0, 1]: 1 where a neuron is active, 0 where it is not."""
    xp = namespace(slopes)
    ones, zeros = xp.ones_like(slopes), xp.zeros_like(slopes)
    inside = xp.clip(slopes, 0.0, 1.0)
    return xp.where(layer.lower >= 0, ones, xp.where(layer.upper <= 0, zeros, inside))
