"""The work behind `certify`: images in blocks, each block through stages of ever better bounds."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from threading import Lock

import numpy as np

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.attacks.search import QUICK, attack
from admm_verify.attacks.targets import Targets
from admm_verify.backends.placement import iteration_placements
from admm_verify.backends.several import Devices
from admm_verify.bounds.arithmetic import output_error
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.errors import OutputError
from admm_verify.memory import Budget
from admm_verify.robustness.block import ImageBlock, Stage, middle
from admm_verify.robustness.counterexample import Counterexample
from admm_verify.robustness.findings import Findings
from admm_verify.robustness.halving import Halving
from admm_verify.robustness.instances import Instances
from admm_verify.robustness.journal import Finished, Journal
from admm_verify.robustness.search import ImageSearch
from admm_verify.robustness.settings import CertifySettings
from admm_verify.run import Run, Stopped
from admm_verify.sets.contract import WalkableSet
from admm_verify.settings import SolverSettings
from admm_verify.splitting.row_bounds import RowBounds
from admm_verify.verdict import Answer

GROUP_WORK = 1_500_000
"""Multiplications of one pass over the sets whose pre-activation bounds the host computes together.

They all compute the neurons that are unstable in any of them: beyond this, that costs more than the calls it saves
(measured on dense and convolutional networks of 0.4 to 0.8 million weights).
"""

SMALL_NETWORK = 400_000
"""Weights below which groups grow with what is missing: calls cost more than such networks' products (measured on
policies of 5000 to 70 000 weights, of which six to eight times as many sets a call take a third less).
"""

HOST_ARRAYS = 4
"""Arrays of a block that share the cache on the host: best of 1 to 16 on the MNIST network of DeepSplit."""

BLOCK_NUMBERS = SolverSettings().device_block_numbers


class Certifier:
    """One run over all instances.

    unwritten: why the journal lacks some of what is finished, None where it does not.
    """

    def __init__(
        self,
        instances: Instances,
        plan: list[Stage],
        settings: CertifySettings,
        run: Run,
        shown: Sequence[Counterexample] = (),
    ) -> None:
        self.instances, self.plan, self.settings, self.run, self.shown = instances, plan, settings, run, shown
        rows = instances.network.output_size * len(instances.images) * len(instances.radii)
        work = rows * instances.network.weight_count
        places = iteration_placements(Placement.numpy(), run.device, None, work, run.left)
        places = tuple(place.double for place in places)
        self.every, self.devices = (Devices.of(places, how) for how in (run.endless(), run))
        self.home = self.devices.home
        # Sets live where the work is done.
        self.inner = replace(run.silent(), device=None).unless(self.devices.given_up)
        # Blocks on several devices save what they have found in one journal.
        self._saving = Lock()
        self.findings = Findings(len(instances.images), instances.radii)
        self.spent = np.zeros(self.findings.open.shape)
        self.journal: Journal | None = None
        self.unwritten: str | None = None

    def recall(self, journal: Journal) -> None:
        """Take over what a journal holds, and write what is finished there.

        A counterexample counts if it is one here: rounding on another machine may be another one.
        """
        self.journal = journal
        place = {radius: k for k, radius in enumerate(self.instances.radii.tolist())}
        found = None
        for one in journal.found:
            key = one.image, place[one.radius]
            if one.answer is Answer.VERIFIED:
                self.findings.recall_verified(*key, one.lower)
            elif (point := one.counterexample) is None:
                self.findings.recall_unknown(*key, one.lower, one.searched)
            else:
                # Lines of larger radii often repeat the input of the one before.
                if found is None or found.image != one.image or not np.array_equal(found.input.reshape(-1), point):
                    found = self.instances.counterexample(one.image, point)
                if found is not None:
                    self.findings.recall_falsified(*key, one.lower, found)
        self.findings.spread()

    def certify(self) -> None:
        """Images block by block; what is finished at the end of each, and of each search, goes to the journal."""
        everything = np.arange(len(self.instances.images))
        rows = max(self.instances.network.output_size - 1, len(self.instances.radii))

        with suppress(Stopped):
            # The images themselves cost little, and whether they are correct is told even when the time is up.
            step = self.devices.step(partial(self._fitting, 1))
            self.every.blocks(len(everything), step, lambda place, a, b: self._judge(everything[a:b], place))
            self._save()
            todo = np.flatnonzero(self.findings.open.any(axis=1))
            step = self.devices.step(partial(self._fitting, rows))
            self.devices.blocks(len(todo), step, lambda place, a, b: self._timed_block(todo[a:b], place))
            self._take_shown()
            self._search()
        self._save()
        if self.settings.search is not None:
            self.findings.reopen(self.settings.search)

    def _fitting(self, rows: int, place: Placement, budget: Budget) -> int:
        """How many images make a block when each takes so many rows."""
        numbers = rows * sum(node.size for node in self.instances.network.nodes)
        # On the host blocks stay near the cache and take seconds; another device wants all the rows it can hold.
        step = budget.block(HOST_ARRAYS * numbers) if place.is_numpy else budget.rows(BLOCK_NUMBERS, numbers)
        return max(1, step)

    def _take_shown(self) -> None:
        """Falsify what bounds left unknown and an input that was handed in falsifies."""
        near = self.instances.near
        for one in self.shown:
            point = one.input.reshape(-1)
            for k in np.argsort(near.radii):
                radius = float(near.radii[k])
                if self.findings.is_unknown(one.image, k) and near.holds(one.image, radius, point):
                    self.findings.falsified(one.image, int(k), one)

    def _search(self) -> None:
        """Branch and bound for what all bounds have left unknown, image by image."""
        seconds = self.settings.search
        if seconds is None:
            return
        self._halve(seconds)
        # A search is of one device.
        how = replace(self.run.silent(), device=str(self.home.device) if self.home.on_gpu else self.run.device)
        search = ImageSearch(self.instances, self.findings, self.settings.arithmetic, seconds / 2.0, seconds)
        for image in range(len(self.instances.images)):
            if len(self.findings.unsearched(image, seconds)) and not self.inner.over():
                with self._timed(np.array([image])):
                    search.search(image, how)
                self._report()

    def _halve(self, seconds: float) -> None:
        """A search for many images together where few inputs change, in half of the seconds that each is given."""
        images = np.flatnonzero(self.findings.unsearched_everywhere(seconds).any(axis=1))
        budget = self.devices.budgets[0]
        step = Halving.most(self.instances, budget)
        budget.blocks(len(images), step, lambda a, b: self._halve_together(images[a:b], seconds))

    def _halve_together(self, images: np.ndarray, seconds: float) -> None:
        """The middle radius of each image first, whose answer often settles others."""
        findings, tried = self.findings, np.zeros((len(images), len(self.findings.radii)), dtype=bool)
        run = Run.of(self.inner, 0.5 * seconds * len(images))
        while not run.over():
            places, ks = middle(findings.radii, findings.unsearched_everywhere(seconds)[images] & ~tried)
            chosen = images[places]
            if not len(chosen) or not Halving.suits(self.instances, chosen, ks):
                return
            tried[places, ks] = True
            with self._timed(chosen):
                search = Halving(self.instances, chosen, ks, self.settings.arithmetic, self.home, run)
                search.search(findings.undecided_at, findings.verified, partial(self._try_inputs, self.home))
            self._report()

    def _judge(self, images: np.ndarray, home: Placement) -> None:
        instances, points = self.instances, self.instances.images[images]
        margin = instances.computed_margin(images, points, home)
        for p in np.flatnonzero(margin <= 0):
            found = instances.counterexample(int(images[p]), points[p])
            if found is None:
                # Alone, it is no counterexample: rounding in a batch is another one.
                margin[p] = instances.computed_margin(images[[p]], points[[p]], Placement.numpy())[0]
            else:
                self.findings.misclassified(int(images[p]), found)
        self.findings.judged(images, margin)

    @contextmanager
    def _timed(self, images: np.ndarray) -> Iterator[None]:
        """Charge what is worked on meanwhile for the time, in equal shares, and save what is finished."""
        began, worked = time.monotonic(), self.findings.undecided(images)
        try:
            yield
        finally:
            self.spent[images] += worked * ((time.monotonic() - began) / max(1, int(np.sum(worked))))
        self._save(images if len(self.devices.places) > 1 else None)

    def _save(self, images: np.ndarray | None = None) -> None:
        """Save what is new of some images, by default of all: other devices find more meanwhile."""
        chosen = np.arange(len(self.findings.fresh)) if images is None else images
        fresh = np.argwhere(self.findings.fresh[chosen])
        fresh[:, 0] = chosen[fresh[:, 0]]
        if self.journal is None or not len(fresh):
            return
        try:
            with self._saving:
                self.journal.append([self._finished(int(i), int(k)) for i, k in fresh])
        except OutputError as error:
            # What was found is worth more than its file; the next block tries again.
            self.unwritten = str(error)
            return
        self.unwritten = None if images is None else self.unwritten
        self.findings.fresh[chosen] = False

    def _finished(self, i: int, k: int) -> Finished:
        findings, found = self.findings, self.findings.counterexamples.item((i, k))
        return Finished(
            i,
            float(findings.radii[k]),
            findings.answer.item((i, k)),
            float(findings.lower[i, k]),
            float(findings.searched[i, k]),
            float(self.spent[i, k]),
            None if found is None else found.prediction,
            None if found is None else found.input,
        )

    def _report(self) -> None:
        is_open = self.findings.open
        done, total = int(np.sum(~is_open)), is_open.size
        self.run.say(f"{done} of {total}: {self.findings.text()}", done, total)

    def _timed_block(self, images: np.ndarray, home: Placement) -> None:
        with self._timed(images):
            self._block(ImageBlock(self.instances, images, home))

    def _block(self, block: ImageBlock) -> None:
        """All stages for some images, radius by radius."""
        for number, stage in enumerate(self.plan):
            block.begin(stage)
            while len((pairs := block.next_pairs(self.findings))[0]) and not self.inner.over():
                self._bound(block, *pairs)
                self._report()
            if not number and self.instances.near.is_round:
                self._attack(block)
        if not self.inner.over():
            self.findings.given_up(block.images)
            self._report()

    def _bound(self, block: ImageBlock, places: np.ndarray, ks: np.ndarray) -> None:
        """Bound the open rows of some instances of a block, one of each image, and keep what follows."""
        instances, network, numbers = self.instances, self.instances.network, block.images[places]
        inputs = instances.near.around(numbers, instances.radii[ks]).put(block.home)
        bounds = block.bounds_of(places, ks, inputs, self._derived)
        if bounds is None:
            return
        margins = instances.margins(numbers)
        objective = block.home.put(margins.reshape(-1, margins.shape[2]))
        owner = np.repeat(np.arange(len(places)), margins.shape[1])
        rows = RowBounds(network, inputs, objective, 0.0 * objective[:, 0], owner, bounds)
        rows.charge(output_error(network, inputs, bounds, self.settings.arithmetic))
        rows.lower = block.rows[places, ks].reshape(-1)
        left = np.flatnonzero(rows.lower <= 0)
        solution = rows.solve(left, self.settings.method, block.stage.passes, self.inner)
        lower = rows.lower.reshape(len(places), -1)
        block.rows[places, ks] = lower
        self.findings.bounded(numbers, ks, lower.min(axis=1))
        # No multipliers lift a row above a feasible value of its relaxation.
        low = owner[left][to_numpy(solution.relaxation_upper) <= 0]
        block.hopeless[places[low], ks[low]] = True
        own = owner[left]
        self._try_inputs(block.home, numbers[own], ks[own], solution.primal)

    def _attack(self, block: ImageBlock) -> None:
        """A short attack on the open instances of some images, the smallest radius first."""
        instances, images = self.instances, block.images
        place = instances.element(block.home)
        for k in np.argsort(instances.radii):
            numbers = images[self.findings.open[images, k]]
            if not len(numbers) or self.inner.over():
                continue
            margins = instances.margins(numbers)
            own = np.repeat(numbers, margins.shape[1])
            inputs = instances.near.around(own, np.full(len(own), instances.radii[k])).put(block.home)
            rows = place.put(margins.reshape(len(own), 1, -1))
            found = attack(instances.network, Targets(inputs, rows, 0.0 * rows[..., 0]), [QUICK], run=self.inner)
            self._try_inputs(block.home, own, np.full(len(own), k), found.x)

    def _try_inputs(self, home: Placement, numbers: np.ndarray, ks: np.ndarray, points: Array) -> None:
        """Inputs, one near each of some instances, as counterexamples of those still undecided.

        Shapes: numbers (of images), ks (of radii) [m]; points [m, ...].
        """
        instances, tried = self.instances, np.flatnonzero(self.findings.undecided_at(numbers, ks))
        if not len(tried):
            return
        images, ks, given = numbers[tried], ks[tried], to_numpy(points).reshape(len(numbers), -1)[tried]
        inside = instances.near.inside(images, instances.radii[ks], given)
        margin = instances.computed_margin(images, inside, home)
        likely = np.flatnonzero(margin <= 0)
        decided: set[tuple[int, int]] = set()
        for p in likely[np.argsort(margin[likely])].tolist():
            image, k = pair = int(images[p]), int(ks[p])
            found = None if pair in decided else instances.counterexample(image, inside[p])
            if found is not None:
                decided.add(pair)
                self.findings.falsified(image, k, found)

    def _derived(self, inputs: WalkableSet, bounds: str) -> list[PreactivationBounds] | None:
        """Bounds of some inputs in groups, one after the other; None when interrupted."""
        count, weights = inputs.lead[0], max(1, self.instances.network.weight_count)
        group = int(GROUP_WORK / weights * max(1.0, SMALL_NETWORK / weights))
        step = max(1, group) if inputs.placement.is_numpy else count
        parts = []
        for first in range(0, count, step):
            if self.inner.over():
                return None
            part = inputs if step >= count else inputs.at(slice(first, first + step))
            parts.append(derived_bounds(self.instances.network, part, bounds, self.inner))
        return parts
