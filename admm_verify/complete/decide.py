"""From a query to what is known about it: the root's bounds, attacks, then the search."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from admm_verify.arrays import Placement
from admm_verify.attacks.confirm import Witness
from admm_verify.backends.placement import iteration_placement
from admm_verify.bounds.arithmetic import tolerant
from admm_verify.bounds.conditional import ConditionalBounds
from admm_verify.bounds.quadratics import with_quadratics
from admm_verify.bounds.work import crown_work
from admm_verify.certificates.certificate import Certificate, Tightening
from admm_verify.certificates.digests import network_digest, property_digest
from admm_verify.complete.checkpoint import FORMAT, Checkpoint, Saved, unwritten
from admm_verify.complete.counterexamples import Counterexamples
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.input_split import HalvedBoxes, InputSplitter
from admm_verify.complete.neuron_split import Branches, NeuronSplitter
from admm_verify.complete.positive_terms import as_softmaxes
from admm_verify.complete.proof import CAUTION, certificate, tightenings
from admm_verify.complete.refine import refined
from admm_verify.complete.root import Root, check_memory
from admm_verify.complete.search import Search, Standing
from admm_verify.complete.settings import EXACT, VerifySettings
from admm_verify.complete.shared_boxes import SharedSplitter
from admm_verify.complete.turns import Turns
from admm_verify.memory import Budget, once_more
from admm_verify.network.placed import unchanging
from admm_verify.properties.query import Query
from admm_verify.properties.rows import AtomRows, as_computed, atom_rows
from admm_verify.relaxations.registry import facts_of
from admm_verify.run import Run, Stopped
from admm_verify.sets.ball import Ball
from admm_verify.sets.box import Box
from admm_verify.sets.polytopes import Polytopes
from admm_verify.settings import RefineSettings

_ATTACKS = (0.3, 3.0, 12.0, 48.0)
"""Seconds of search after which thorough attacks take a turn: most queries are decided before the first."""

_LEAST_ATTACK = 5.0
"""Seconds that a thorough attack may take at least, however little the search has taken."""

_DEAR = 1e9
"""Multiplications of bounds of whole boxes, about a second, from which a short attack that costs less comes first."""

_THOROUGH = 70.0
"""How many times as long as the short attack the thorough ones take, counted in passes."""


class Decision:
    """What is known of a query, which only grows; `decide` stops once it is decided or the run is over."""

    def __init__(self, query: Query, options: VerifySettings, run: Run) -> None:
        self.options, self.run = options, run
        self.arithmetic = query.property.arithmetic if options.arithmetic is None else options.arithmetic
        self.settings = options.search
        if options.certificate:
            # The checker knows of neither contraction nor tolerances of steps nor bounds of other regions or on a
            # condition, and has rounding terms of its own.
            plain = RefineSettings(rounds=0)
            self.settings = replace(self.settings, contractions=0, caution=CAUTION, refinement=plain)
        self.tightenings: list[Tightening] = []
        budget = Budget.of(run)
        rows = as_computed(atom_rows(query.property, budget), self.arithmetic)
        check_memory(query.network, rows.inputs.count, budget)
        errors = "real" if options.certificate else self.arithmetic
        network, self.shares = as_softmaxes(query.network, rows, self.arithmetic, run, options.certificate)
        network = tolerant(network, rows.inputs, errors)
        # Certificates and code in floating point know the network as it was read alone.
        if rows.inputs.sides <= self.settings.input_sides and self.arithmetic == errors == "real":
            network = network if options.certificate else with_quadratics(network, rows.inputs)
        self.query = query = replace(query, network=network)
        self.turns = Turns(self._attack_between)
        self.root = Root(query, rows, self.arithmetic, run.unless(self.turns), plain=options.certificate)
        self.counterexamples = Counterexamples(query, rows, run.silent())
        self._seeds = count()
        self.witness: Witness | None = None
        self.search: Search[HalvedBoxes] | Search[Branches] | None = None
        self.conditional: ConditionalBounds | None = None
        self._earlier = 0
        self.unwritten: str | None = None
        self.checkpoint = None if options.checkpoint is None else Checkpoint(Path(options.checkpoint), self._identity())

    @property
    def quiet(self) -> Run:
        """The run that nobody is told of, over too once no counterexample can be confirmed any more."""
        return self.counterexamples.run

    @property
    def rows(self) -> AtomRows:
        """The query's atoms as rows, charged for their rounding once the root has bounds."""
        return self.root.rows

    @property
    def open(self) -> int:
        """Disjuncts that are not excluded."""
        if self.search is None:
            return len(self.root.open)
        atomless = sum(1 for i in self.root.open if not self.rows.disjuncts[i])
        return len(np.unique(self.search.remaining_disjuncts())) + atomless

    @property
    def lower(self) -> float:
        """The proven bound of the best atom on the worst part that is left, infinite where none is.

        It is at most zero; where it holds on condition that no atom is positive, it therefore holds everywhere.
        """
        if self.search is not None and self.search.pool is not None:
            return self.search.state.lower
        lower, rows = self.root.known.lower, self.rows.disjuncts
        best = (max((lower[row] for row in rows[i]), default=-np.inf) for i in self.root.open)
        return float(min(best, default=np.inf))

    @property
    def subproblems(self) -> int:
        """Parts of the disjuncts bounded in the search."""
        return self._earlier + (0 if self.search is None else self.search.bounded)

    def decide(self) -> None:
        """Decide the query, as far as possible."""
        saved = None if self.checkpoint is None else self.checkpoint.read(HalvedBoxes if self._narrow else Branches)
        # What was found by the time that somebody said stop counts.
        with suppress(Stopped), unchanging(self.query.network):
            self.witness = self.counterexamples.inputs_alone()
            for stage in self._stages(saved):
                if self.witness is not None or not self._asks or self.quiet.over():
                    break
                once_more(stage)
        if self.checkpoint is not None and (self.witness is not None or not self.open):
            self.unwritten = unwritten(self.checkpoint.remove)

    @property
    def _asks(self) -> bool:
        """Whether bounds can tell more: of open atoms, or whether input sets are empty."""
        return bool(self.root.open_rows().size) or (self.rows.sets is not None and not self.root.started)

    def _stages(self, saved: Saved | None) -> list[Callable[[], None]]:
        """What is done about the query in order, until it is decided."""
        if saved is not None:
            return [self._start, partial(self._resume, saved)]
        bounds, better = [self._start, self._crown], [self._ascent, self._tightened]
        if self.options.certificate:
            bounds, better = [self._start], [self._derived]
        attack = [self._quick_attack]
        stages = [*attack, *bounds, *better] if self._bounds_are_dear else [*bounds, *attack, *better]
        if self.options.method == EXACT:
            from admm_verify.complete.milp import check_programs

            check_programs(self.query.network, self.rows.inputs)
            stages.append(self._programs)
        return [*stages, self._search]

    @property
    def _bounds_are_dear(self) -> bool:
        """Whether bounds of whole boxes are estimated to take a while, and longer than a short attack."""
        bounds = self.rows.inputs.count * crown_work(self.query.network)
        return bounds >= max(_DEAR, self.counterexamples.quick_work(self.root.open))

    def _resume(self, saved: Saved) -> None:
        # Disjuncts without atoms are never part of a search, and never excluded.
        bare = [i for i in self.root.open if not self.rows.disjuncts[i]]
        self.root.open = [*bare, *(int(i) for i in saved.disjuncts)]
        self.root.known.bounds, self.conditional = saved.bounds, saved.conditional
        self.search = once_more(lambda: self._made(self.root.disjuncts(part_by_part=self._narrow)))
        self.search.restore(saved.open, saved.stuck, saved.bounded, saved.closed)
        self._run(self.search)

    def _start(self) -> None:
        # Where boxes are halved, whole ones are bounded once more.
        halved = self._narrow and self._bounds_are_dear and not self.options.certificate
        self.root.start("forward" if halved else "crown")
        self._close_empty()

    def _close_empty(self) -> None:
        # A proof excludes disjuncts by their atoms.
        rows = self.rows.disjuncts
        self.root.close_empty(lambda i: self.options.certificate and rows[i])

    def _crown(self) -> None:
        self._solve(0)

    def _quick_attack(self) -> None:
        self.run.say("attack")
        began = time.monotonic()
        self.witness = self.counterexamples.quick(self.root.open)
        self.turns.begin(_THOROUGH * (time.monotonic() - began))

    def _attack_between(self) -> bool:
        """Attack between two blocks of bounds; whether there is no more to be done."""
        self.run.say("attack")
        self.witness = self._attacked(self.root.open, np.inf)
        return self.witness is not None or self.quiet.over()

    def _ascent(self) -> None:
        if not self._narrow:
            self._solve(50)

    def _tightened(self) -> None:
        if not self._narrow:
            self.root.tighten(self.root.open_rows())
            self._close_empty()
            if self.root.open_rows().size:
                self._solve(50)

    def _derived(self) -> None:
        """Tightened bounds whose derivation is recorded; halved boxes are bounded afresh and need none."""
        if not self._narrow:
            network = self.query.network
            self.tightenings.clear()
            self.root.derive(lambda derivation: self.tightenings.extend(tightenings(network, derivation)))

    def _programs(self) -> None:
        """Mixed-integer programs of the open disjuncts, whose points are tried; the search has the last word."""
        from admm_verify.complete.milp import MixedIntegerMinima

        disjuncts = self.root.disjuncts()
        milp = MixedIntegerMinima(self.query.network, disjuncts, self.quiet)
        for disjunct in range(len(disjuncts)):
            if milp.run.over():
                return
            self.run.say(f"mixed-integer program {disjunct + 1} of {len(disjuncts)}")
            found = milp.minimum(disjunct, self.root.bounds_of(self.rows.box[disjuncts.row[disjunct, :1]]))
            if found.x is not None:
                self.witness, _ = self.counterexamples.points(
                    disjuncts, found.x[None], np.array([disjunct]), disjuncts.offset[[disjunct]]
                )
            if self.witness is not None:
                return

    def certificate(self) -> Certificate | None:
        """What proves that no disjunct holds anywhere, if it was recorded and that is so."""
        search = self.search
        if self.open or search is None or search.proofs is None:
            return None
        kind = "input" if self._narrow else "neuron"
        if self.root.empty.any() and any(not rows for rows in self.rows.disjuncts):
            self.unwritten = "A disjunct without atoms is excluded for its empty input set, of which there is no proof."
            return None
        try:
            proven = self.query, self.arithmetic, self.shares
            return certificate(proven, kind, self.tightenings, search.splitter.columns, search.proofs)
        except MemoryError:
            # The answer stands without it.
            self.unwritten = "Memory ran out for the certificate. Free some, or do without."
            return None

    @property
    def _narrow(self) -> bool:
        """Whether boxes have so few sides that splitting them at once beats better bounds of the whole.

        Minima over parts of other sets than boxes, balls and polytopes take long where all neurons can be split.
        """
        if self.options.method == EXACT:
            return False
        if not isinstance(self.rows.inputs, Box | Ball | Polytopes):
            if all(facts_of(node).kinked for node in self.query.network.functions):
                return False
        return self.rows.inputs.sides <= self.settings.input_sides and self.options.max_subproblems != 0

    def _solve(self, passes: int) -> None:
        rows, options = self.root.open_rows(), self.options
        self.run.say(f"{len(self.root.open)} of {len(self.rows.disjuncts)} disjuncts open, {len(rows)} rows")
        method = "auto" if options.method == EXACT else options.method
        solution = self.root.solve(rows, method, passes)
        if self.witness is None and self.root.open_rows().size:
            self.witness = self.counterexamples.primal(self.root, rows, solution.primal)

    def _search(self) -> None:
        if self.options.max_subproblems == 0:
            return
        if not self._narrow:
            self._refine()
        if self.witness is None and self.root.open_rows().size:
            self.search = self._made(self.root.disjuncts(part_by_part=self._narrow))
            self._run(self.search)

    def _refine(self) -> None:
        """Bounds of neurons on condition that an open disjunct holds, some of which are thereby excluded."""
        self.run.say("refinement")
        disjuncts = self.root.disjuncts()
        known = self.root.bounds_of(self.rows.box[disjuncts.row[:, 0]])
        left = refined(self.query.network, disjuncts, known, self.settings, self.quiet.unless(self.turns), self._home)
        if left is not None:
            self._keep(left.disjuncts.number)
            self.root.climbed(left.disjuncts.row, left.disjuncts.multipliers)
            self.conditional = left.bounds

    def _keep(self, disjuncts: np.ndarray) -> None:
        """Only these disjuncts with atoms are open any more."""
        kept = set(disjuncts.tolist())
        self.root.open = [i for i in self.root.open if not self.rows.disjuncts[i] or i in kept]

    def _run(self, search: Search) -> None:
        """Search and attack in turn."""
        spent = 0.0
        for turn in (*_ATTACKS, np.inf):
            began = time.monotonic()
            end = began + turn - spent
            once_more(lambda end=end: search.advance(lambda: time.monotonic() >= end or self._enough(search)))
            spent += time.monotonic() - began
            self.witness = search.witness
            left = np.unique(search.splitter.disjuncts.number[search.remaining_disjuncts()])
            if not len(left) or self.witness is not None or self.quiet.over() or self._enough(search):
                break
            self.run.say("attack")
            self.witness = self._attacked([int(i) for i in left], spent)
            # What was set aside may still hold a counterexample, but is not split again.
            if search.done or self.witness is not None:
                break
        left = search.splitter.disjuncts.number[search.remaining_disjuncts()]
        if self.witness is not None or not self.open:
            return
        if self.conditional is None or not search.done or not len(left):
            self._save(search)
        else:
            # Where all signs are fixed, relaxations are exact for bounds of the whole box, not for conditional ones.
            self._keep(left)
            self.conditional, self._earlier = None, self.subproblems
            self.search = self._made(self.root.disjuncts())
            self._run(self.search)

    def _attacked(self, disjuncts: list[int], spent: float) -> Witness | None:
        """What a thorough attack finds in as long as bounds have `spent`, which go on with the other half."""
        end = time.monotonic() + max(_LEAST_ATTACK, spent)
        # Every attack has random starts of its own.
        seed = next(self._seeds)
        return once_more(lambda: self.counterexamples.thorough(disjuncts, seed, lambda: time.monotonic() >= end))

    def _save(self, search: Search) -> None:
        if self.checkpoint is not None and search.pool is not None and search.stuck is not None:
            checkpoint, pool, stuck = self.checkpoint, search.pool, search.stuck

            def write() -> None:
                state = pool.all(), stuck, search.closed, self.subproblems
                disjuncts = search.splitter.disjuncts.number
                checkpoint.write(Saved(disjuncts, *state, self.root.known.bounds, self.conditional))

            self.unwritten = unwritten(write)

    def _enough(self, search: Search) -> bool:
        limit = self.options.max_subproblems
        return limit is not None and self._earlier + search.bounded >= limit

    def _made(self, disjuncts: Disjuncts) -> Search[HalvedBoxes] | Search[Branches]:
        network, home, run = self.query.network, self._home, self.quiet

        def try_points(
            points: np.ndarray, disjunct: np.ndarray, offset: np.ndarray
        ) -> tuple[Witness | None, np.ndarray]:
            return self.counterexamples.points(disjuncts, points, disjunct, offset)

        if self._narrow:
            # A checkpoint holds parts of one disjunct each.
            together = self.checkpoint is None and SharedSplitter.suits(disjuncts, self.arithmetic)
            splitter = SharedSplitter if together else InputSplitter
            halving = splitter(network, disjuncts, home, self.settings, run, self.arithmetic)
            return Search(halving, self.settings, try_points, run, self._noted, self.options.certificate)
        rows = self.rows
        if self.conditional is None:
            used, own = np.unique(rows.box[disjuncts.row[:, 0]], return_inverse=True)
            boxes = own.reshape(-1), rows.inputs.at(used)
            bounds, record = self.root.bounds_of(used), self.options.certificate
        else:
            # What holds on condition of one disjunct says nothing about another one.
            boxes = np.arange(len(disjuncts)), disjuncts.inputs
            bounds, record = self.conditional, False
        fixing = NeuronSplitter(network, disjuncts, boxes, bounds, home, self.settings, run, record)
        return Search(fixing, self.settings, try_points, run, self._noted, record)

    @property
    def _home(self) -> Placement:
        """Where the search takes place."""
        network = self.query.network
        # A block of subproblems passes through the network at once.
        rows = self.settings.block_numbers // sum(node.size for node in network.nodes)
        work = rows * network.weight_count
        return iteration_placement(Placement.numpy(), self.run.device, "float64", work, self.run.left)

    def _identity(self) -> str:
        """All that a saved state depends on."""
        query, options = self.query, self.options
        digests = network_digest(query.network), property_digest(query.property)
        return repr((FORMAT, *digests, self.arithmetic, options.certificate, self._narrow, self.shares, self.settings))

    def _noted(self, state: Standing) -> None:
        if self.checkpoint is not None and self.checkpoint.due() and self.search is not None:
            self._save(self.search)
        self.run.say(f"{state.bounded} subproblems, {state.open} open, worst bound {state.lower:.6g}", state.bounded)
