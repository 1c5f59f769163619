"""Certified bounds of many subproblems' rows at once: ascent in float32 from given slopes, certified in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from admm_verify.arrays import Array, Placement, quiet_overflow
from admm_verify.backends.choice import verbs_for
from admm_verify.bounds.backward import Backward, backward
from admm_verify.bounds.climb import Climb, Functionals, Splits, Step
from admm_verify.bounds.region import Region
from admm_verify.memory import Budget
from admm_verify.network.graph import Network
from admm_verify.relaxations.lines import KinkLines, Lines
from admm_verify.relaxations.registry import network_lines
from admm_verify.run import Stopped
from admm_verify.settings import AscentSettings, SearchSettings
from admm_verify.threads import threads_for, workers_for

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows objective f(x) + offset of every part of a region.

    splits[k]: signs fixed in layer k, None for none; their multipliers are in float32 and move in place.
    Shapes: region with leading axes [parts or 1, 1]; objective [parts, rows, outputs]; offset [parts, rows].
    """

    region: Region
    objective: Array
    offset: Array
    splits: tuple[Splits | None, ...] = ()


@dataclass(frozen=True, eq=False)
class Bounded:
    """Certified lower bounds, with the slopes, the sweep and the best vertices behind them.

    pre: the inputs of all activations of the network linearised at a vertex late in the ascent, in float32; none where
    there was no ascent.
    Shapes: lower [parts, rows]; slopes[k] [parts, rows, sides n_k]; vertices [parts, rows, inputs]; pre[k] [parts,
    rows or 1, n_k].
    """

    lower: Array
    slopes: list[Array]
    sweep: Backward
    vertices: Array
    pre: list[Array]


class Bounder:
    """Bounds the rows of parts of one network's input set."""

    def __init__(self, network: Network, home: Placement, settings: AscentSettings, stop: Callable[[], bool]) -> None:
        """home: where regions live, in float64. stop: asked after every iteration; once true `bound` raises Stopped."""
        self.settings, self.stop, self.home = settings, stop, home
        self.network, self.single = network.put(home), network.put(home.single)
        self.verbs = verbs_for(self.home.single)

    def in_blocks(
        self,
        count: int,
        atoms: int,
        settings: SearchSettings,
        memory: float | None,
        work: Callable[[int, int], Result],
    ) -> list[Result]:
        """work(first, last) on blocks of `count` parts with so many rows each, side by side where that pays.

        Raises: Stopped; MemoryError when not even one part fits.
        """
        multiplications = float(count * atoms * self.network.weight_count)
        workers = workers_for(multiplications) if self.home.is_numpy else 1
        budget = Budget.of(memory, self.stop, workers)
        numbers = atoms * sum(node.size for node in self.network.nodes)
        step = max(1, budget.rows(settings.block_numbers, numbers))
        with threads_for(multiplications, workers), quiet_overflow():
            return budget.blocks(count, step, work)

    def bound(self, rows: Rows, slopes: Sequence[Array] | None, iterations: int) -> Bounded:
        """Certified lower bounds of all rows after some iterations of ascent.

        D(g) with g = slope a - sign beta in the lines of `network_lines` and the multipliers of the splits.

        Shapes: slopes[k], where the ascent starts, [parts, rows, sides n_k]; CROWN's where not given.
        Raises: Stopped.
        """
        xp, region = self.home.xp, rows.region
        lines = network_lines(self.network, region.lower, region.upper)
        lead = tuple(rows.offset.shape)
        found = list(slopes) if slopes is not None else [_spread(line.start, lead, xp) for line in lines]
        pre: list[Array] = []
        if iterations:
            climb, seen = self._climbed(rows, found, iterations)
            found, pre = climb.slopes, self._pre(seen)
        found = [_inside(self.home.put(slope), line, xp) for slope, line in zip(found, lines, strict=True)]

        def choose(k: int, a: Array) -> Array:
            g = lines[k].contact(a, found[k]).slope * a
            split = rows.splits[k] if rows.splits else None
            if split is not None:
                flat = xp.reshape(g, (-1,))
                flat[split.place] = flat[split.place] - self.home.put(split.sign * split.beta)
                g = xp.reshape(flat, g.shape)
            return g

        zero = xp.zeros((*lead, self.network.input_size), dtype=self.home.dtype, device=self.home.device)
        sweep = backward(self.network, {0: zero, self.network.output: rows.objective}, rows.offset, choose)
        kinks = [line if isinstance(line, KinkLines) else None for line in lines]
        coefficient = sweep.nodes[0]
        assert coefficient is not None, "The start at the input is zero, not missing"
        return Bounded(region.concretise(sweep, kinks), found, sweep, region.inputs.minimiser(coefficient), pre)

    def certify(self, rows: Rows, multipliers: Sequence[Array]) -> Array:
        """Certified lower bounds D(g) of all rows for any multipliers g of the activations' inputs, [parts, rows].

        Shapes: multipliers[k] [parts, rows, n_k].
        """
        lead, home = tuple(rows.offset.shape), self.home
        zero = home.xp.zeros((*lead, self.network.input_size), dtype=home.dtype, device=home.device)
        start = {0: zero, self.network.output: rows.objective}
        return rows.region.concretise(backward(self.network, start, rows.offset, lambda k, a: multipliers[k]))

    def _climbed(self, rows: Rows, slopes: list[Array], iterations: int) -> tuple[Climb, Step]:
        single, region = self.home.single, rows.region
        put, xp = single.put, single.xp
        lower, upper = tuple(map(put, region.lower)), tuple(map(put, region.upper))
        lines = network_lines(self.single, lower, upper)
        zero = xp.zeros((*rows.offset.shape, self.network.input_size), dtype=single.dtype, device=single.device)
        functionals = Functionals(
            self.single,
            {0: zero, self.single.output: put(rows.objective)},
            put(rows.offset),
            region.inputs.put(single),
            lines,
        )
        started = [_inside(put(slope), line, xp) for slope, line in zip(slopes, lines, strict=True)]
        climb = Climb(functionals, started, self.settings, iterations, self.verbs, rows.splits)
        seen = climb.step()
        for _ in range(iterations - 1):
            if self.stop():
                raise Stopped
            seen = climb.step()
        return climb, seen

    def _pre(self, seen: Step) -> list[Array]:
        return [seen.values[source] for source in self.single.sources]


def _spread(array: Array, lead: tuple[int, ...], xp: Any) -> Array:
    return xp.broadcast_to(array, (*lead, array.shape[-1]))


def _inside(slopes: Array, lines: Lines, xp: Any) -> Array:
    return xp.minimum(xp.maximum(slopes, lines.minimum), lines.maximum)
