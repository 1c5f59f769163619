"""Relaxed regions: the one place where functionals are climbed in float32 and then certified in float64."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from admm_verify.arrays import Array, Float, Placement, namespace, quiet_overflow
from admm_verify.backends.device import budget_at, full_precision
from admm_verify.bounds.backward import Backward, Choose, backward
from admm_verify.bounds.climb import Climb, slopes_of
from admm_verify.bounds.functionals import FreeEnds, Functionals, Splits, certify
from admm_verify.bounds.matrix_products import PassedProduct, matrix_products
from admm_verify.bounds.region import Region
from admm_verify.bounds.sums import Sparing
from admm_verify.network.graph import Network
from admm_verify.network.placed import moved
from admm_verify.relaxations.bilinear import BilinearPlanes, MiddlePlanes
from admm_verify.relaxations.difference_planes import ChosenPlanes, DifferencePlanes, FixedPlanes
from admm_verify.relaxations.lines import CurveLines, FixedLines, KinkLines, Lines
from admm_verify.relaxations.registry import lines_of
from admm_verify.relaxations.steps import StepFunction
from admm_verify.run import Run
from admm_verify.sets.contract import InputSet
from admm_verify.settings import AscentSettings, SearchSettings
from admm_verify.threads import threads_for, workers_for

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Twin:
    """What a climb moves over: network, input set and lines in one precision, without any rounding terms."""

    network: Network
    inputs: InputSet
    lines: tuple[Lines, ...]
    owner: Array | None = None


@dataclass(frozen=True, eq=False)
class Bounded:
    """Certified lower bounds of functionals over some inputs, and the slopes, multipliers and sweep behind them.

    pre: the inputs of all activations of the network linearised at an input late in the ascent, in float32; none where
    there was no ascent. lines: of all activations.
    Shapes: lower [parts, rows]; slopes[k] [parts, rows, sides n_k]; multipliers[k] [parts, rows, n_k]; pre[k] [parts,
    rows or 1, n_k].
    """

    lower: Float[Array, "..."]
    slopes: list[Array]
    multipliers: tuple[Array, ...]
    sweep: Backward
    inputs: InputSet
    pre: list[Array]
    lines: tuple[Lines, ...]

    @property
    def vertices(self) -> Array:
        """Where the sweep's plane is least over the inputs, [parts, rows, n]."""
        return self.inputs.minimiser(self.sweep.input)


class Relaxed:
    """A region with the lines of all activations over it; multipliers are slope a, less sign beta where signs are
    fixed, and less tau where ends are constraints, which none through a kink may have.

    Slopes that are handed in may be in any precision, and are brought into the lines' range.
    Shapes: slopes[k] [..., sides n_k] with the leading axes of the functionals.
    """

    def __init__(self, region: Region, single: Network | None = None) -> None:
        """single: the region's network in float32, as far as functionals reach, to spare its conversion."""
        self.region, self._single = region, single
        self.network, self.inputs = region.network, region.inputs
        self.lines = region.lines
        # Multipliers of lines through a kink have an intercept that spares the relaxation's vertices.
        self.kinks = [line if isinstance(line, KinkLines) else None for line in self.lines]

    @property
    def owner(self) -> Array | None:
        """Functionals of one set are neighbours."""
        return None

    @cached_property
    def single(self) -> Twin:
        """The same in float32."""
        region, place = self.region, self.inputs.placement.single
        network = region.network.put(place) if self._single is None else self._single
        lines: list[Lines] = []
        for k, (node, line) in enumerate(zip(network.functions, self.lines, strict=True)):
            # Slopes of curves that float64 holds may overflow; lines of kinks only need rounding.
            if isinstance(line, KinkLines | DifferencePlanes):
                lines.append(line.put(place))
                continue
            own, hull = (region.lower[k], region.upper[k]), region.relaxations[k]
            low, high = map(place.put, own)
            if isinstance(hull, StepFunction):
                low, high = hull.rounded(own, low, high)
            lines.append(lines_of(node, low, high))
        return Twin(network, self.inputs.put(place), tuple(lines))

    @cached_property
    def _fixed(self) -> dict[int, MiddlePlanes | FixedLines | FixedPlanes]:
        """CROWN's planes of products, parallel on both sides, of differences, and CROWN's lines of curves, by
        activation.
        """
        found: dict[int, MiddlePlanes | FixedLines | FixedPlanes] = {}
        for k, line in enumerate(self.lines):
            if isinstance(line, BilinearPlanes):
                if line.limited:
                    continue
                found[k] = MiddlePlanes.of(line.lower, line.upper)
            elif isinstance(line, DifferencePlanes):
                found[k] = FixedPlanes.of(line)
            elif isinstance(line, CurveLines) and (fixed := FixedLines.of(line)) is not None:
                found[k] = fixed
        return found

    @cached_property
    def products(self) -> dict[int, PassedProduct]:
        """The matrix products that sweeps over CROWN's planes pass in one step, by the nodes of their sums."""
        region = self.region
        return {
            found.node: PassedProduct.over(
                found, region.network, region.lower[found.activation], region.upper[found.activation]
            )
            for found in matrix_products(region.network)
        }

    def inside(self, slopes: Sequence[Array]) -> list[Array]:
        """Slopes in float64 and in the lines' range."""
        return [_inside(self.inputs.placement.put(slope), line) for slope, line in zip(slopes, self.lines, strict=True)]

    def certify(self, functionals: Functionals, slopes: Sequence[Array] | None = None) -> tuple[Array, Backward]:
        """Certified lower bounds, [...], and the sweep behind them; from CROWN's slopes where none are given."""
        if slopes is None and not (functionals.splits or functionals.ranges):
            return self._certified(functionals, {})
        found = [line.start for line in self.lines] if slopes is None else self.inside(slopes)
        return certify(self.region, functionals, *self._choice(found, functionals))

    def crown(self, functionals: Functionals) -> Array:
        """`certify` from CROWN's slopes, for functionals [sets, rows] without splits, and without the sweep."""
        return self._certified(functionals, self.products)[0]

    def _certified(self, functionals: Functionals, products: Mapping[int, PassedProduct]) -> tuple[Array, Backward]:
        fixed = self._fixed
        choose, kinks = self._choice([line.start for line in self.lines], functionals)

        def started(k: int, a: Array) -> Array:
            return fixed[k].multiplier(a) if k in fixed else choose(k, a)

        kinks = [fixed.get(k, kink) for k, kink in enumerate(kinks)]
        return certify(self.region, functionals, started, kinks, products)

    def plane(self, functionals: Functionals, slopes: Sequence[Array]) -> tuple[Array, Array]:
        """Certified planes slope'x + shift below the functionals, as `Region.plane`; their error is not subtracted."""
        choose, kinks = self._choice(self.inside(slopes), functionals)
        return self.region.plane(backward(self.network, functionals.start, functionals.constant, choose), kinks)

    def climb(
        self,
        functionals: Functionals,
        slopes: Sequence[Array] | None,
        settings: AscentSettings,
        iterations: int,
    ) -> Climb:
        """A climb in float32 over the functionals' slopes, which has not begun; from CROWN's where none are given."""
        twin, place = self.single, self.inputs.placement.single
        starts = [line.start for line in twin.lines]
        if slopes is not None:
            starts = [_inside(place.put(slope), line) for slope, line in zip(slopes, twin.lines, strict=True)]
        started = _spread(starts, functionals.lead)
        return Climb(twin, functionals.put(place), started, settings, iterations)

    def bounded(
        self,
        functionals: Functionals,
        slopes: Sequence[Array] | None,
        settings: AscentSettings,
        iterations: int,
        run: Run | None = None,
    ) -> Bounded:
        """Certified lower bounds after some iterations of ascent, from CROWN's slopes where none are given.

        Raises: Stopped once the run, asked between iterations, is over.
        """
        pre: list[Array] = []
        if iterations:
            climb = self.climb(functionals, slopes, settings, iterations)
            pre = climb.run(run)
            slopes = climb.slopes
        inside = [line.start for line in self.lines] if slopes is None else self.inside(slopes)
        found = _spread(inside, functionals.lead)
        lower, sweep = certify(self.region, functionals, *self._choice(found, functionals))
        lead = functionals.lead
        multipliers = tuple(
            namespace(low).zeros((*lead, low.shape[-1]), dtype=low.dtype, device=low.device) if g is None else g
            for g, low in zip(sweep.pre, self.region.lower, strict=True)
        )
        return Bounded(lower, found, multipliers, sweep, self.inputs, pre, self.lines)

    def _choice(self, slopes: Sequence[Array], functionals: Functionals) -> tuple[Choose, list[Sparing | None]]:
        """The multipliers of some slopes, and the intercepts of those whose lines have them."""
        put, splits, ranges = self.inputs.placement.put, functionals.splits, functionals.ranges
        kinks: list[Sparing | None] = list(self.kinks)
        for k, line in enumerate(self.lines):
            bound = (splits[k] if splits else None) is not None or (ranges[k] if ranges else None) is not None
            if isinstance(line, DifferencePlanes) and not bound:
                kinks[k] = ChosenPlanes(line, slopes[k])

        def choose(k: int, a: Array) -> Array:
            chosen = kinks[k]
            if isinstance(chosen, ChosenPlanes):
                return chosen.multiplier(a)
            g = self.lines[k].multiplier(a, self.lines[k].contact(a, slopes[k]))
            split, ends = splits[k] if splits else None, ranges[k] if ranges else None
            if ends is not None:
                g = g - put(ends.tau)
            return g if split is None else split.lowered(g, put(split.sign * split.beta))

        return choose, kinks


def single_below(region: Region) -> Network:
    """A region's network in float32 without its last node, for functionals that start before it."""
    nodes = region.network.nodes[:-1]
    network = Network(nodes, region.network.input_shape, (nodes[-1].size,))
    return network.put(region.inputs.placement.single)


def _inside(slopes: Array, line: Lines) -> Array:
    xp = namespace(slopes)
    return xp.minimum(xp.maximum(slopes, line.minimum), line.maximum)


def _spread(slopes: Sequence[Array], lead: tuple[int, ...]) -> list[Array]:
    """Slopes for each of the functionals."""
    return [namespace(slope).broadcast_to(slope, (*lead, slope.shape[-1])) for slope in slopes]


class Bounder:
    """Bounds functionals of one network over parts of its input set."""

    def __init__(self, network: Network, home: Placement, settings: AscentSettings, run: Run) -> None:
        """home: where regions live, in float64. run: asked after every iteration; once over `bound` raises Stopped."""
        self.settings, self.run, self.home = settings, run, home
        self.network, self.single = moved(network, home), moved(network, home.single)

    def in_blocks(
        self,
        count: int,
        atoms: int,
        settings: SearchSettings,
        work: Callable[[int, int], Result],
    ) -> list[Result]:
        """work(first, last) on blocks of `count` parts with so many rows each, side by side where that pays.

        Raises: Stopped; MemoryError when not even one part fits.
        """
        multiplications = float(count * atoms * self.network.weight_count)
        workers = workers_for(multiplications, self.run.threads) if self.home.is_numpy else 1
        budget = budget_at(self.home, self.run, workers)
        numbers = atoms * sum(node.size for node in self.network.nodes)
        step = max(1, budget.rows(budget.near(settings.block_numbers), numbers))
        with threads_for(multiplications, workers, self.run.threads), full_precision(self.home), quiet_overflow():
            return budget.blocks(count, step, work)

    def rows(
        self,
        objective: Array,
        offset: Array,
        splits: tuple[Splits | None, ...] = (),
        ranges: tuple[FreeEnds | None, ...] = (),
    ) -> Functionals:
        """The rows objective f(x) + offset. Shapes: objective [parts, rows, outputs]; offset [parts, rows]."""
        return Functionals({self.network.output: objective}, offset, splits=splits, ranges=ranges)

    def slopes_of(self, region: Region, functionals: Functionals, multipliers: Sequence[Array]) -> list[Array]:
        """The slopes behind multipliers [parts, rows, n_k] of the inputs of all activations."""
        return slopes_of(Relaxed(region, self.single), functionals, [self.home.put(layer) for layer in multipliers])

    def bound(
        self,
        region: Region,
        functionals: Functionals,
        slopes: Sequence[Array] | None,
        iterations: int,
    ) -> Bounded:
        """Certified lower bounds over a region with leading axes [parts or 1, 1], as `Relaxed.bounded`."""
        relaxed = Relaxed(region, self.single)
        return relaxed.bounded(functionals, slopes, self.settings, iterations, self.run)
