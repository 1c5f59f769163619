"""Branch and bound for many images at once, where few inputs change: what is near them is halved side by side."""

import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from admm_verify.arrays import Placement
from admm_verify.backends.device import budget_at
from admm_verify.complete.batches import Batches
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.input_split import HalvedBoxes, InputSplitter
from admm_verify.complete.splitter import Grown
from admm_verify.complete.tables import join, take
from admm_verify.memory import Budget, memory_errors
from admm_verify.robustness.instances import Instances
from admm_verify.run import Run, Stopped
from admm_verify.settings import SearchSettings

Undecided = Callable[[np.ndarray, np.ndarray], np.ndarray]
Verified = Callable[[np.ndarray, np.ndarray], object]
"""Asked of, and told of, instances: numbers of images and of radii, [m] each."""

TryInputs = Callable[[np.ndarray, np.ndarray, np.ndarray], object]
"""Told of inputs [m, n], one near each of some instances, that may be counterexamples."""

_SETTINGS = SearchSettings(least_batch=256, most_batch=4096)
"""Batches of many images are large at once; their boxes are few each."""


class Halving:
    """One search over some instances, one of each image: every other class is a disjunct on the box around its ball.

    Shapes: images, ks (numbers of radii) [m].
    """

    def __init__(
        self, instances: Instances, images: np.ndarray, ks: np.ndarray, arithmetic: str, home: Placement, run: Run
    ) -> None:
        self.images, self.ks, self._run = images, ks, run
        disjuncts = _disjuncts(instances, images, ks)
        self._splitter = InputSplitter(instances.network, disjuncts, home, _SETTINGS, run, arithmetic)
        self._batches = Batches(_SETTINGS)
        # Every box that is halved makes two.
        self._most = max(1, _fitting(instances, budget_at(home, run)) // 2)
        self._stuck = np.zeros(len(images), dtype=bool)

    @staticmethod
    def most(instances: Instances, budget: Budget) -> int:
        """How many images are searched for together, whose boxes are all bounded at once in the beginning."""
        return max(1, _fitting(instances, budget) // (instances.network.output_size - 1))

    @staticmethod
    def suits(instances: Instances, images: np.ndarray, ks: np.ndarray) -> bool:
        """Whether so few inputs change that halves of what is near are soon small in all of them."""
        return instances.near.around(images, instances.radii[ks]).sides <= _SETTINGS.input_sides

    def search(self, undecided: Undecided, verified: Verified, try_inputs: TryInputs) -> None:
        """Halve until every instance is decided, cannot be, or the run is over."""
        nodes = None
        with suppress(Stopped):
            while not self._run.over() and (nodes is None or len(nodes.bound)):
                began = time.monotonic()
                try:
                    with memory_errors():
                        nodes, count = self._step(nodes, try_inputs)
                except MemoryError:
                    if nodes is None or self._batches.size <= 1:
                        raise
                    self._batches.ran_out_of_memory()
                    continue
                self._batches.took(count, time.monotonic() - began)
                nodes = self._settled(nodes, undecided, verified)

    def _step(self, nodes: HalvedBoxes | None, try_inputs: TryInputs) -> tuple[HalvedBoxes, int]:
        """Boxes with some of them replaced by their halves, and how many were bounded."""
        if nodes is None:
            grown = self._splitter.root()
            self._try(grown, try_inputs)
            return grown.open, len(self._splitter.disjuncts)
        chosen = self._next(nodes)
        grown = self._splitter.expand(take(nodes, chosen))
        self._try(grown, try_inputs)
        rest = np.ones(len(nodes.bound), dtype=bool)
        rest[chosen] = False
        return join([take(nodes, rest), grown.open]), 2 * len(chosen)

    def _next(self, nodes: HalvedBoxes) -> np.ndarray:
        """The boxes to halve next: those of the instances with the fewest, so that most are decided in any time."""
        owner = self._owner(nodes)
        left = np.bincount(owner, minlength=len(self.images))[owner]
        return np.argsort(left, kind="stable")[: min(self._batches.size, self._most)]

    def _settled(self, nodes: HalvedBoxes, undecided: Undecided, verified: Verified) -> HalvedBoxes:
        """The boxes of instances that are undecided and can still be decided; those without any are verified."""
        owner = self._owner(nodes)
        self._stuck[owner[~nodes.splittable]] = True
        empty = np.ones(len(self.images), dtype=bool)
        empty[owner] = False
        wanted = undecided(self.images, self.ks) & ~self._stuck
        proved = np.flatnonzero(empty & wanted)
        verified(self.images[proved], self.ks[proved])
        return take(nodes, wanted[owner])

    def _try(self, grown: Grown[HalvedBoxes], try_inputs: TryInputs) -> None:
        owner = self._splitter.disjuncts.number[grown.disjunct]
        try_inputs(self.images[owner], self.ks[owner], grown.points)

    def _owner(self, nodes: HalvedBoxes) -> np.ndarray:
        return self._splitter.disjuncts.number[nodes.disjunct]


def _fitting(instances: Instances, budget: Budget) -> int:
    """How many boxes of those that make a batch may be bounded at once."""
    numbers = sum(node.size for node in instances.network.nodes)
    return budget.rows(_SETTINGS.most_batch * numbers, numbers)


def _disjuncts(instances: Instances, images: np.ndarray, ks: np.ndarray) -> Disjuncts:
    """f_t - f_j <= 0 near every instance, for every class j but its label t."""
    margins = instances.margins(images)
    owner = np.repeat(np.arange(len(images)), margins.shape[1])
    one = (len(owner), 1)
    return Disjuncts(
        instances.near.around(images[owner], instances.radii[ks[owner]]),
        margins.reshape(len(owner), 1, -1),
        np.zeros(one),
        np.zeros(one, dtype=bool),
        np.ones(one, dtype=bool),
        np.arange(len(owner))[:, None],
        owner,
        np.ones(len(owner), dtype=np.int64),
    )
