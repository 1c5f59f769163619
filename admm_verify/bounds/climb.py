"""One iteration of slope ascent: a backward sweep, the best vertex, and a forward sweep that moves the slopes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol, cast

import numpy as np

from admm_verify.arrays import Array, Float, Placement, namespace
from admm_verify.backends.choice import verbs_for
from admm_verify.backends.verbs import Adam, KinkBounds, Verbs
from admm_verify.bounds.backward import Backward, backward
from admm_verify.bounds.functionals import FreeEnds, Functionals, Splits
from admm_verify.bounds.sums import flat
from admm_verify.network.graph import Network
from admm_verify.relaxations.lines import Contact, KinkLines, Lines, MovedLines
from admm_verify.run import Run
from admm_verify.sets.contract import InputSet
from admm_verify.settings import AscentSettings


class Lined(Protocol):
    """What a climb moves over, in one precision: a network, its input set, and lines for all activations."""

    @property
    def network(self) -> Network: ...

    @property
    def inputs(self) -> InputSet: ...

    @property
    def lines(self) -> tuple[Lines, ...]: ...

    @property
    def owner(self) -> Array | None:
        """Which input set and lines each functional is of, [rows]; None where those of one set are neighbours."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """What one step saw before it moved the slopes: D per row, the best input, the backward sweep, and the values of
    the nodes of the network linearised there, as far as functionals and activations reach.
    """

    value: Float[Array, "..."]
    x: Float[Array, "... n"]
    sweep: Backward
    values: tuple[Array, ...] = ()


def slopes_of(over: Lined, functionals: Functionals, multipliers: Sequence[Array]) -> list[Array]:
    """Slopes that give back multipliers of activations' inputs: the nearest in range, and CROWN's where a line is not
    in use.

    Shapes: multipliers[k] [..., n_k] -> [..., sides n_k].
    """
    lines, found = over.lines, []
    sweep = backward(over.network, functionals.start, 0.0, lambda k, a: lines[k].nearest(a, multipliers[k]))
    for line, g, a in zip(lines, sweep.pre, sweep.post, strict=True):
        xp, shape = namespace(line.start), (*functionals.lead, line.start.shape[-1])
        found.append(xp.broadcast_to(line.start, shape) if g is None or a is None else line.recover(a, g))
    return found


class Climb:
    """Maximise D over the slopes of all functionals at once, by Adam with a geometric schedule; slopes move in place.

    D = constant + min over the input set of a_0'x + sum over neurons of a times the intercept of the line in use; with
    x the best input and pre_k of the network linearised there, |a_k| (pre_k - touching point) is a supergradient of D
    in the slopes of layer k, turned where the line is above.

    Multipliers of the functionals' splits and ranges climb along: -sign pre is the supergradient in beta.

    Reference: the slope ascent of alpha-CROWN (Xu et al., ICLR 2021) and beta-CROWN (Wang et al., NeurIPS 2021), with
    explicit sweeps and this schedule.
    """

    def __init__(
        self,
        over: Lined,
        functionals: Functionals,
        slopes: Sequence[Array],
        settings: AscentSettings,
        iterations: int,
    ):
        """functionals may be replaced between steps by others of the same shape.

        Shapes: functionals in the precision of `over`, as many for each of its input sets; slopes[k] [..., sides n_k].
        """
        self.network, self.functionals, self.settings, self.iterations = over.network, functionals, settings, iterations
        verbs, owner = verbs_for(Placement.of(functionals.constant)), _owners(over, functionals)
        self.best = over.inputs.finder(verbs.vertex, owner)
        self.layers = [_layer(line, slope, verbs, owner) for line, slope in zip(over.lines, slopes, strict=True)]
        self.last = max(*functionals.start, *over.network.activations, 0)
        for k, split in enumerate(functionals.splits):
            if split is not None:
                self.layers[k] = _SplitLayer(self.layers[k], split, settings, iterations)
        for k, range in enumerate(functionals.ranges):
            if range is not None:
                self.layers[k] = _RangeLayer(self.layers[k], range, settings, iterations)
        self.done = 0

    @property
    def slopes(self) -> list[Array]:
        """The slopes after the last step, one array per activation."""
        return [layer.slopes for layer in self.layers]

    def run(self, run: Run | None = None) -> list[Array]:
        """All steps that are left; the inputs of all activations of the network as the last one linearised it.

        Raises: Stopped once the run, asked between steps, is over.
        """
        seen = self.step()
        while self.done < self.iterations:
            if run is not None:
                run.check()
            seen = self.step()
        return [seen.values[source] for source in self.network.sources]

    def step(self) -> Step:
        """Move all slopes once."""
        seen, adam = self.look(), self._adam()

        def post(k: int, pre: Array) -> Array:
            a = seen.sweep.post[k]
            if a is None:
                # What no functional reaches may have any value; functions of several operands give as many as of one.
                return pre[..., : self.network.functions[k].size]
            return self.layers[k].climb(a, pre, adam)

        values = self.network.forward(seen.x, post, self.last)
        self.done += 1
        return replace(seen, values=tuple(values))

    def look(self) -> Step:
        """D at the present slopes."""
        parts: list[Array] = []

        def choose(k: int, a: Array) -> Array:
            g, part = self.layers[k].descend(a)
            parts.append(part)
            return g

        sweep = backward(self.network, self.functionals.start, self.functionals.constant, choose)
        x, part = self.best(sweep.input)
        return Step(added([sweep.constant, part, *parts]), x, sweep)

    def _adam(self) -> Adam:
        settings, count = self.settings, self.done + 1
        least = settings.least_end * min(1.0, settings.least_end_until / self.iterations)
        end = max(least, settings.end_per_iteration**self.iterations)
        rate = settings.step * end ** ((count - 1) / max(1, self.iterations - 2))
        first, second = 1.0 - settings.momentum**count, 1.0 - settings.memory**count
        return Adam(settings.momentum, settings.memory, first, second, rate)


def added(parts: Sequence[Array]) -> Array:
    """The sum of arrays that broadcast, in few operations where each costs as much as a large one."""
    if len(parts) < 3 or isinstance(parts[0], np.ndarray) or not Placement.of(parts[0]).on_gpu:
        return sum(parts[1:], parts[0])
    xp = namespace(*parts)
    return xp.sum(xp.stack(xp.broadcast_arrays(*parts)), axis=0)


class _ClimbLayer(Protocol):
    """The lines of one activation and the slopes chosen among them."""

    @property
    def slopes(self) -> Array: ...

    def descend(self, a: Array) -> tuple[Array, Array]:
        """The multiplier of the lines in use, and the sum of a times their intercepts."""
        ...

    def climb(self, a: Array, pre: Array, adam: Adam) -> Array:
        """The lines in use at pre; then the slopes take Adam's step."""
        ...


def _layer(lines: Lines, slopes: Array, verbs: Verbs, boxes: Array) -> _ClimbLayer:
    if isinstance(lines, KinkLines):
        return _KinkLayer(lines, slopes, verbs, boxes)
    # All others move on both sides; asking would compute them.
    return _MovedLayer(cast(MovedLines, lines), slopes)


def _owners(over: Lined, functionals: Functionals) -> Array:
    """The input set of every functional, [rows]."""
    if over.owner is not None:
        return over.owner
    sets = max(map(prod, (over.inputs.lead, *(line.start.shape[:-1] for line in over.lines))))
    owner = np.repeat(np.arange(sets), prod(functionals.lead) // sets)
    return Placement.of(functionals.constant).put_indices(owner)


class _KinkLayer:
    """Lines through a kink, for which the backend has fused verbs."""

    def __init__(self, lines: KinkLines, slopes: Array, verbs: Verbs, boxes: Array) -> None:
        self.verbs, self.boxes = verbs, boxes
        self.state = verbs.state(flat(slopes))
        # A view of what the verbs overwrite.
        self.slopes = namespace(slopes).reshape(self.state.slopes, slopes.shape)
        self.chord = flat(lines.upper_slope), flat(lines.upper_intercept)
        self.range = flat(lines.minimum), flat(lines.maximum)

    def descend(self, a: Array) -> tuple[Array, Array]:
        xp = namespace(a)
        g, value = self.verbs.descend(flat(a), self.state.slopes, *self.chord, self.boxes)
        return xp.reshape(g, a.shape), xp.reshape(value, a.shape[:-1])

    def climb(self, a: Array, pre: Array, adam: Adam) -> Array:
        # A layer that nothing below distinguishes has one pre-activation for all rows.
        xp = namespace(a)
        pre = pre if pre.shape == a.shape else xp.broadcast_to(pre, a.shape)
        post = self.verbs.climb(flat(a), flat(pre), KinkBounds(*self.chord, *self.range), self.boxes, self.state, adam)
        return xp.reshape(post, a.shape)


class _MovedLayer:
    """Lines or planes that are computed anew for every slope."""

    def __init__(self, lines: MovedLines, slopes: Array) -> None:
        xp = namespace(slopes)
        self.lines, self.slopes = lines, slopes
        self.mean, self.square = xp.zeros_like(slopes), xp.zeros_like(slopes)
        self.contact: Contact | None = None

    def descend(self, a: Array) -> tuple[Array, Array]:
        self.contact = self.lines.contact(a, self.slopes)
        return self.lines.multiplier(a, self.contact), self.lines.value(a, self.contact)

    def climb(self, a: Array, pre: Array, adam: Adam) -> Array:
        assert self.contact is not None
        post, gradient = self.lines.post(a, self.contact, pre), self.lines.gradient(a, self.contact, pre)
        self.mean = adam.momentum * self.mean + (1.0 - adam.momentum) * gradient
        self.square = adam.memory * self.square + (1.0 - adam.memory) * gradient**2
        xp, lines = namespace(a), self.lines
        # Where nothing has moved yet both are zero; the floor keeps 0 / 0 out.
        least = xp.full_like(a[..., :1], xp.finfo(a.dtype).smallest_normal)
        move = adam.rate * (self.mean / adam.first) / xp.maximum(xp.sqrt(self.square / adam.second), least)
        self.slopes = xp.minimum(xp.maximum(self.slopes + lines.span * move, lines.minimum), lines.maximum)
        return post


class _SplitLayer:
    """A layer with fixed signs; the multipliers beta take steps in units of the layer's mean coefficient."""

    def __init__(self, layer: _ClimbLayer, splits: Splits, settings: AscentSettings, iterations: int) -> None:
        xp = namespace(splits.beta)
        self.layer, self.splits = layer, splits
        self.step, self.iterations, self.done = settings.split_step, iterations, 0
        self.mean, self.square = xp.zeros_like(splits.beta), xp.zeros_like(splits.beta)

    @property
    def slopes(self) -> Array:
        return self.layer.slopes

    def descend(self, a: Array) -> tuple[Array, Array]:
        g, value = self.layer.descend(a)
        return self.splits.lowered(g, self.splits.sign * self.splits.beta), value

    def climb(self, a: Array, pre: Array, adam: Adam) -> Array:
        post, xp, splits = self.layer.climb(a, pre, adam), namespace(a), self.splits
        pre = pre if pre.shape == a.shape else xp.broadcast_to(pre, a.shape)
        gradient = -splits.sign * xp.take(xp.reshape(pre, (-1,)), splits.place)
        self.mean[...] = adam.momentum * self.mean + (1.0 - adam.momentum) * gradient
        self.square[...] = adam.memory * self.square + (1.0 - adam.memory) * gradient**2
        least = xp.finfo(a.dtype).smallest_normal
        move = (self.mean / adam.first) / (xp.sqrt(self.square / adam.second) + least)
        unit = xp.take(xp.mean(xp.abs(flat(a)), axis=-1), splits.row)
        rate = self.step * (1.0 - self.done / self.iterations)
        moved = splits.beta + rate * unit * move
        splits.beta[...] = xp.maximum(moved, xp.zeros_like(moved))
        self.done += 1
        return post


class _RangeLayer:
    """A layer with ends of its own; the multipliers tau take steps in units of the layer's mean coefficient."""

    def __init__(self, layer: _ClimbLayer, ranges: FreeEnds, settings: AscentSettings, iterations: int) -> None:
        self.layer, self.ranges = layer, ranges
        self.moves = Falling(settings, iterations, ranges.tau, settings.end_step)

    @property
    def slopes(self) -> Array:
        return self.layer.slopes

    def descend(self, a: Array) -> tuple[Array, Array]:
        g, value = self.layer.descend(a)
        return g - self.ranges.tau, value + self.ranges.gained()

    def climb(self, a: Array, pre: Array, adam: Adam) -> Array:
        post, xp, ranges = self.layer.climb(a, pre, adam), namespace(a), self.ranges
        unit = xp.mean(xp.abs(a), axis=-1, keepdims=True) if ranges.unit is None else ranges.unit
        moved = ranges.tau + unit * self.moves.next(ranges.gradient(pre))
        # A step that changes the sign would pay for another end: it ends at zero.
        ranges.tau[...] = xp.where(moved * ranges.tau < 0, xp.zeros_like(moved), moved)
        return post


class Falling:
    """Steps of Adam for multipliers of constraints, with a geometric schedule over the iterations planned."""

    def __init__(self, settings: AscentSettings, iterations: int, like: Array, step: float) -> None:
        """step: the first one, in the multipliers' units."""
        self.settings, self.iterations, self.step, self.done = settings, iterations, step, 0
        self.mean, self.square = namespace(like).zeros_like(like), namespace(like).zeros_like(like)

    def next(self, gradient: Array) -> Array:
        """The step along a supergradient, in the multipliers' units."""
        xp, settings = namespace(gradient), self.settings
        momentum, memory = settings.limit_momentum, settings.memory
        rate = self.step * settings.limit_end ** (self.done / max(1, self.iterations - 2))
        self.done += 1
        self.mean = momentum * self.mean + (1.0 - momentum) * gradient
        self.square = memory * self.square + (1.0 - memory) * gradient**2
        first, second = 1.0 - momentum**self.done, 1.0 - memory**self.done
        return rate * (self.mean / first) / (xp.sqrt(self.square / second) + xp.finfo(gradient.dtype).smallest_normal)
