"""Branch and bound of values: parts of all rows together, those whose bounds are farthest below what is attained first.

A part matters while its bound is below what its group has attained, less the gap that is allowed. That is the search of
a verdict with one atom for each row, whose offset falls as better points are found.
"""

import time
from contextlib import suppress
from dataclasses import replace

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.attacks.confirm import Witness
from admm_verify.attacks.lbfgs import Lbfgs
from admm_verify.attacks.method import Method
from admm_verify.attacks.pgd import Pgd
from admm_verify.attacks.search import QUICK, attack
from admm_verify.attacks.starts import Starts
from admm_verify.attacks.targets import Targets
from admm_verify.backends.placement import iteration_placement
from admm_verify.bounds.arithmetic import output_error
from admm_verify.bounds.conditional import ConditionalBounds
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.emptiness import without_contradictions
from admm_verify.complete.input_split import HalvedBoxes, InputSplitter
from admm_verify.complete.minimum_settings import MinimumSettings
from admm_verify.complete.neuron_split import Branches, NeuronSplitter
from admm_verify.complete.pool import Nodes
from admm_verify.complete.refine import refined
from admm_verify.complete.search import Search, Standing
from admm_verify.complete.shared_boxes import SharedSplitter
from admm_verify.complete.tables import join, take
from admm_verify.complete.value_rows import Incumbents, Thresholds, ValueRows
from admm_verify.memory import once_more
from admm_verify.relaxations.registry import facts_of
from admm_verify.run import Ended, Run, Stopped
from admm_verify.splitting.row_bounds import RowBounds

_ATTACKS: tuple[Method, ...] = (
    QUICK,
    Pgd(Starts(restarts=2, most=16, work=1e7, samples=64), steps=20, last=0.005),
    Lbfgs(Starts(restarts=0, most=4, work=1e6, samples=32), steps=15, targets=2**30),
)
"""What looks for points before the sets are split."""

_POLISH: tuple[Method, ...] = (Pgd(Starts(restarts=0, most=0), steps=15, first=0.05, last=1e-4),)
"""What moves the best points of the search on."""

_FIRST_POLISH, _LATER_POLISH = 0.5, 2.0
"""Seconds of search before the first attack from its points, and how many times longer to each one after."""

_FAR = 2.0**10
"""How many times a score's size attacks look below it, where nothing bounds it."""

_MOVED = 0.05
"""Of the allowed gap, what thresholds fall by before open parts are compared with them anew."""


_HALVES = 1000
"""Parts for each open row, after which networks of kinks alone are split at those."""

_CURVED = 3
"""How many times as many sides sets may have that are halved where activations are curved: with 24, a tanh network took
a quarter of the time."""

_FEW = 6
"""Sides up to which sets are halved from the start."""

_AIM = 1.0 - 2.0**-16
"""Of the allowed gap, what thresholds leave, so that a few roundings more do not keep a gap open."""


class MinimumSearch:
    """What is known of the least values of some groups of rows, which only grows.

    least: certified lower bounds of the rows' scores, in real numbers; attained: the best points.
    """

    def __init__(self, rows: ValueRows, settings: MinimumSettings, run: Run) -> None:
        self.rows, self.settings, self.run = rows, settings, run
        self.attained = Incumbents(rows)
        self.least = np.full(len(rows), -np.inf)
        self.subproblems = 0
        self.thresholds: Thresholds | None = None
        self.search: Search[HalvedBoxes] | Search[Branches] | None = None
        self._chosen = np.zeros(0, dtype=np.int64)
        self._limited, self._before = False, 0

    @property
    def lower(self) -> np.ndarray:
        """Certified lower bounds of the groups' least values, [groups]."""
        return self.rows.least(self._values)

    @property
    def _values(self) -> np.ndarray:
        """Certified lower bounds of the rows' values."""
        return self.rows.scores.values(self.least, np.arange(len(self.rows)))

    @property
    def allowed(self) -> np.ndarray:
        """The gap that every group may keep, [groups]."""
        settings, value = self.settings, self.attained.known
        return np.maximum(settings.relative * np.abs(np.where(np.isfinite(value), value, 0.0)), settings.absolute)

    @property
    def done(self) -> np.ndarray:
        """Which groups need no more, [groups]."""
        return self._closed(self.lower)

    def _closed(self, lower: np.ndarray) -> np.ndarray:
        """Which groups some lower bounds leave no more than the allowed gap."""
        floor = self.attained.value - self.allowed
        return np.isfinite(floor) & (lower >= floor)

    def find(self) -> None:
        """Bound and attack the whole sets, then split them until all gaps are closed or the run is over."""
        with self.run.watching(), suppress(Stopped):
            once_more(self._root)
            if self.settings.max_subproblems != 0:
                once_more(self._split)
        if self.search is not None:
            self._note(self.search)

    def status(self, charged: np.ndarray) -> list[Ended]:
        """How it ended for every group, whose lower bounds with all that is charged are given."""
        ended = self.run.ended() or (Ended.CELL_LIMIT if self._limited else Ended.COMPLETE)
        none, closed, done = np.isneginf(self.lower), self._closed(charged), self.done
        found = np.full(len(none), ended, dtype=object)
        found[none & (ended is Ended.COMPLETE)] = Ended.NO_BOUND
        # Splitting does not help against what arithmetic is charged.
        found[done] = Ended.TOO_LOOSE
        found[closed] = Ended.CONVERGED
        return list(found)

    def charged(self) -> np.ndarray:
        """Certified lower bounds of the rows' values, less what the settings' arithmetic can be off by, [rows]."""
        rows = self.rows
        if self.settings.arithmetic == "real":
            return self._values
        bounds = derived_bounds(rows.network, rows.inputs, "interval", self.run, abandon=False)
        error = to_numpy(output_error(rows.network, rows.inputs, bounds, self.settings.arithmetic))
        lost = 1.0000001 * np.sum(np.abs(rows.objective) * error[rows.group], axis=1)
        lower = np.nextafter(self._values - lost, -np.inf)
        return np.where(np.isnan(lower), -np.inf, lower)

    @property
    def _narrow(self) -> bool:
        """Whether sets are halved first; parts in which neurons are split keep the bounds of all layers of the whole,
        which only kinks, that are gone once they are split, make up for.
        """
        sides = self.rows.inputs.sides
        if all(facts_of(node).kinked for node in self.rows.scores.network.functions):
            return sides <= self.settings.search.input_sides
        return sides <= _CURVED * self.settings.search.input_sides

    @property
    def _few(self) -> bool:
        """Whether so few sides have a width that halving them is all it takes."""
        return self.rows.inputs.sides <= min(_FEW, self.settings.search.input_sides)

    def _root(self) -> None:
        rows, scores, run = self.rows, self.rows.scores, self.run
        run.say(f"bounds of {len(rows)} rows")
        every = np.arange(len(rows))
        self.attained.offer(to_numpy(rows.inputs.centre)[rows.group], every)
        method = "crown" if self._few else "tightened"
        sets = rows.sets
        bounds = derived_bounds(scores.network, sets, method, run, abandon=False, objective=scores.objective)
        self.bounds = without_contradictions(scores.network, sets, bounds, run.endless())[0].take(rows.alike)
        known = RowBounds(scores.network, rows.inputs, scores.objective, np.zeros(len(rows)), rows.group, self.bounds)
        known.sound[:] = True
        for passes in (0, self.settings.passes):
            left = every[~self.done[rows.group]]
            if len(left) and (passes or not self.settings.passes or self._few):
                solution = known.solve(left, "ascent", passes, run)
                self.least = np.maximum(self.least, known.lower)
                self.attained.offer(to_numpy(solution.primal).reshape(len(left), -1), left)
            if not passes:
                run.check()
                self._attack(_ATTACKS, None)

    def _open_rows(self) -> np.ndarray:
        """The rows that keep their group from being done."""
        floor = (self.attained.known - self.allowed)[self.rows.group]
        return np.flatnonzero(~(self._values >= floor))

    def _split_rows(self) -> np.ndarray:
        """Those of them that are compared with a number; the others have none even near their sets."""
        open = self._open_rows()
        return open[np.isfinite(self.attained.known[self.rows.group[open]])]

    def _attack(self, methods: tuple[Method, ...], starts: np.ndarray | None) -> None:
        """Look for better points of the open rows. Shapes: starts [rows, points, n]."""
        rows, scores, open = self.rows, self.rows.scores, self._open_rows()
        if not len(open):
            return
        self.run.say(f"attacks on {len(open)} rows")
        group = rows.group[open]
        # No score is below its bound, so that no attack ends before it has to; without one, numbers of the scores' own
        # size are added to them, which leaves their digits.
        base = self.least[open]
        if not np.isfinite(base).all():
            with quiet_overflow():
                y = to_numpy(scores.network(self.attained.x[group])).reshape(len(open), -1)
            score = np.sum(scores.objective[open] * y, axis=1)
            base = np.where(np.isfinite(base), base, score - _FAR * (1.0 + np.abs(score)))
            base = np.where(np.isfinite(base), base, -(2.0**60))
        targets = Targets(
            rows.inputs.at(group),
            scores.objective[open][:, None, :],
            -base[:, None],
            np.ones(len(open), dtype=bool),
        )
        given = self.attained.x[group][:, None, :] if starts is None else starts[open]
        found = attack(scores.network, targets, methods, starts=given, run=self.run)
        self.attained.offer(to_numpy(found.x), open)

    def _split(self) -> None:
        """Split by one way, and by the other one what that leaves open: halves of boxes crowd around minima at kinks,
        and neurons with curves are at some point split as far as they can be.
        """
        kinked = all(facts_of(node).kinked for node in self.rows.scores.network.functions)
        for halving in (self._narrow, not self._narrow):
            self._chosen = self._split_rows()
            if not len(self._chosen) or self.run.over() or self._limited:
                return
            self.thresholds = Thresholds.below(self.attained, _AIM * self.allowed, self.least)
            first = halving is self._narrow
            conditional = self._refined() if first and not self._few else None
            if len(self._chosen):
                most = _HALVES * len(self._chosen) if halving and first and kinked else np.inf
                self._split_by(self._made(halving, conditional), most)

    def _refined(self) -> ConditionalBounds:
        """Bounds of neurons where the rows' values are below their thresholds, which shows of some rows that they never
        are; the others stay chosen.
        """
        assert self.thresholds is not None, "thresholds come before what they are a condition of"
        chosen, how, run = self._chosen, self.settings.search, self.run.silent()
        disjuncts, group = self._disjuncts(), self.rows.group[chosen]
        kept, found = [], []
        for first in range(0, len(chosen), how.refinement.most_disjuncts):
            self.run.say(f"refinement of rows from {first} of {len(chosen)}")
            some = np.arange(first, min(first + how.refinement.most_disjuncts, len(chosen)))
            known = self.bounds.take(group[some])
            left = refined(self.rows.scores.network, disjuncts.take(some), known, how, run)
            if left is None:
                lower, upper = (tuple(map(to_numpy, side)) for side in (known.lower, known.upper))
                kept.append(some)
                found.append(ConditionalBounds(lower, upper, np.zeros(len(some), dtype=bool)))
            else:
                kept.append(left.disjuncts.number)
                found.append(left.bounds)
        open = np.concatenate(kept)
        gone = np.delete(chosen, open)
        self.least[gone] = np.fmax(self.least[gone], self.thresholds.score(np.zeros(len(gone)), gone))
        self._chosen = chosen[open]
        return join(found)

    def _split_by(self, search: Search, most: float) -> None:
        """Search until nothing is open, or so many parts are bounded."""
        self.search, self._before = search, self.subproblems
        polish, began = _FIRST_POLISH, time.monotonic()
        while not (search.done or self.run.over() or self._enough(search) or search.bounded >= most):
            end = began + polish
            search.advance(lambda end=end: self._ripe(search, most) or time.monotonic() >= end)
            self._note(search)
            if time.monotonic() >= end and not search.done:
                self._attack(_POLISH, None)
                polish *= _LATER_POLISH
            self._lower_thresholds(search)
        self._note(search)
        self.search = None

    def _enough(self, search: Search) -> bool:
        most = self.settings.max_subproblems
        self._limited = most is not None and self._before + search.bounded >= most
        return self._limited

    def _ripe(self, search: Search, most: float) -> bool:
        return self._moved() or self._enough(search) or search.bounded >= most

    def _moved(self) -> bool:
        """Whether better points were found that may spare some parts."""
        assert self.thresholds is not None, "a search has thresholds"
        allowed = self.allowed
        return bool(np.any(self.attained.known - allowed < self.thresholds.floor - _MOVED * allowed))

    def _note(self, search: Search) -> None:
        """Take from the open parts what is known of the rows: whatever is not open is above the threshold."""
        thresholds, chosen = self.thresholds, self._chosen
        self.subproblems = self._before + search.bounded
        if search.pool is None or search.stuck is None or thresholds is None:
            return
        bound = np.zeros(len(chosen))
        for nodes in (search.pool.all(), search.stuck):
            np.minimum.at(bound, nodes.disjunct, nodes.bound)
        self.least[chosen] = np.fmax(self.least[chosen], thresholds.score(bound, chosen))

    def _lower_thresholds(self, search: Search) -> None:
        """Compare the open parts with what is attained by now, and leave out those that do not matter any more."""
        before = self.thresholds
        if search.pool is None or search.stuck is None or before is None:
            return
        after = self.thresholds = Thresholds.below(self.attained, _AIM * self.allowed, self.least, before)
        search.splitter.disjuncts.offset[:, 0] = after.shift[self._chosen]
        fallen = np.nextafter((after.shift - before.shift)[self._chosen], -np.inf)

        def compared(nodes: Nodes) -> Nodes:
            bound = np.nextafter(nodes.bound + fallen[nodes.disjunct], -np.inf)
            return take(replace(nodes, bound=bound), bound < 0)

        open, stuck = compared(search.pool.all()), compared(search.stuck)
        if isinstance(stuck, Branches):
            # Programs of parts say whether they are above a threshold, and have to be asked anew.
            again = fallen[stuck.disjunct] > 0
            open, stuck = join([open, take(stuck, again).once_more()]), take(stuck, ~again)
        search.restore(open, stuck, search.bounded, None)

    def _disjuncts(self) -> Disjuncts:
        """The chosen rows, which hold where their values are below their thresholds."""
        rows, scores, thresholds = self.rows, self.rows.scores, self.thresholds
        chosen, count = self._chosen, len(self._chosen)
        assert thresholds is not None, "thresholds come before the search"
        return Disjuncts(
            inputs=rows.inputs.at(rows.group[chosen]),
            objective=(scores.objective[chosen] / thresholds.unit[chosen, None])[:, None, :],
            offset=thresholds.shift[chosen, None],
            strict=np.ones((count, 1), dtype=bool),
            sound=np.ones((count, 1), dtype=bool),
            row=chosen[:, None],
            number=np.arange(count),
            count=np.ones(count, dtype=np.int64),
        )

    def _made(self, halving: bool, conditional: ConditionalBounds | None) -> Search:
        disjuncts = self._disjuncts()
        network, settings, run = self.rows.scores.network, self.settings.search, self.run.silent()
        numbers = settings.block_numbers // sum(node.size for node in network.nodes)
        work = numbers * network.weight_count
        home = iteration_placement(Placement.numpy(), self.run.device, "float64", work, self.run.left)
        if halving:
            splitter = SharedSplitter if SharedSplitter.suits(disjuncts, "real") else InputSplitter
            halves = splitter(network, disjuncts, home, settings, run)
            return Search(halves, settings, self._tried, run, self._noted)
        if conditional is not None:
            # What holds on condition of one row says nothing about another one.
            alone = np.arange(len(disjuncts)), disjuncts.inputs
            refixing = NeuronSplitter(network, disjuncts, alone, conditional, home, settings, run)
            return Search(refixing, settings, self._tried, run, self._noted)
        groups, own = np.unique(self.rows.group[self._chosen], return_inverse=True)
        sets, bounds = self.rows.inputs.at(groups), self.bounds.take(groups)
        if self._few:
            found = derived_bounds(network, sets, "tightened", run, known=bounds, abandon=False)
            bounds, _ = without_contradictions(network, sets, found, run.endless())
        places = own.reshape(-1), sets
        fixing = NeuronSplitter(network, disjuncts, places, bounds, home, settings, run)
        return Search(fixing, settings, self._tried, run, self._noted)

    def _tried(self, points: np.ndarray, disjunct: np.ndarray, offset: np.ndarray) -> tuple[Witness | None, np.ndarray]:
        """Keep the best of some points of parts; none of them ends the search."""
        self.attained.offer(points, self._chosen[disjunct])
        return None, np.zeros(len(points), dtype=bool)

    def _noted(self, state: Standing) -> None:
        self.run.say(f"{state.bounded} parts, {state.open} open of {len(self._chosen)} rows", state.bounded)
