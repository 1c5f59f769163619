"""Counterexamples: from points that bounds or attacks suggest to one that is confirmed."""

from collections.abc import Callable, Sequence

import numpy as np

from admm_verify.arrays import Array, Placement, quiet_overflow, to_numpy
from admm_verify.attacks.confirm import Witness, confirm
from admm_verify.attacks.method import Method
from admm_verify.attacks.search import QUICK, SEQUENCE, attack
from admm_verify.attacks.targets import Targets
from admm_verify.backends.device import full_precision
from admm_verify.backends.placement import iteration_placement
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.root import Root
from admm_verify.errors import ReplayError
from admm_verify.network.onnx_runtime import start_runtime
from admm_verify.properties.property import Disjunct
from admm_verify.properties.query import Query
from admm_verify.properties.rows import AtomRows
from admm_verify.run import Flag, Run, Stopped
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.threads import threads_for

_TRIES = 16
"""Points of one set that are replayed, most promising first; each costs a run of the original model."""

_GATHERED = 2**22
"""Numbers of the atoms that are copied for each of some points; beyond, the points of a disjunct are one product."""

_NEAR = 1e-3
"""Values up to this, times the offset, are looked at again in float64."""


class Counterexamples:
    """Tries points on the open disjuncts of a query.

    failure: why points cannot be confirmed, where that is so; None until then, and no other is tried thereafter. run:
    as given, and over from then on.
    """

    def __init__(self, query: Query, rows: AtomRows, run: Run) -> None:
        self.query, self.rows = query, rows
        self.failure: str | None = None
        self._failed = Flag()
        self.run = run.unless(self._failed)
        self.dtype = np.float64 if query.network.element_type == "float64" else np.float32

    def quick(self, disjuncts: list[int]) -> Witness | None:
        """What a short descent finds."""
        if (self.query.asked or self.query).replays:
            start_runtime()
        return self._attacked(disjuncts, (QUICK,), 0)

    def quick_work(self, disjuncts: list[int]) -> float:
        """Multiplications of a short descent at most: every step goes forward and back."""
        return 2.0 * QUICK.steps * len(disjuncts) * self.query.network.weight_count

    def thorough(self, disjuncts: list[int], seed: int, enough: Callable[[], bool]) -> Witness | None:
        """What the attacks in sequence find until it is enough."""
        return self._attacked(disjuncts, SEQUENCE, seed, self.run.unless(enough))

    def inputs_alone(self) -> Witness | None:
        """A witness of a disjunct without atoms, which holds anywhere in its input set."""
        for disjunct, rows in zip(self.query.property.disjuncts, self.rows.disjuncts, strict=True):
            if not rows and self.run.over():
                return None
            if not rows:
                witness = self._confirm(disjunct, disjunct.box.lowest)
                if witness is not None:
                    return witness
        return None

    def primal(self, root: Root, numbers: np.ndarray, primal: Array) -> Witness | None:
        """What a relaxation's primal inputs of some rows give, each for the open disjuncts of its row.

        Shapes: numbers [rows]; primal [rows, *input_shape].
        """
        disjuncts, place = root.disjuncts(), {int(row): k for k, row in enumerate(numbers)}
        flat = to_numpy(primal).reshape(len(numbers), -1)
        points = flat[[place[int(row)] for row in disjuncts.row.reshape(-1)]]
        own = np.repeat(np.arange(len(disjuncts)), disjuncts.atoms)
        witness, _ = self.points(disjuncts, points, own, disjuncts.offset[own])
        return witness

    def points(
        self, disjuncts: Disjuncts, points: np.ndarray, disjunct: np.ndarray, offset: np.ndarray
    ) -> tuple[Witness | None, np.ndarray]:
        """The first confirmed one of some inputs, each for its own disjunct, and which inputs no bound can exclude.

        Of those, all atoms hold at least within the rounding error that bounds have to allow for, with these offsets.
        Shapes: points [points, inputs]; disjunct [points]; offset [points, atoms] -> hopeless [points].
        """
        worst = self._worst(disjuncts.objective, disjunct, offset, points, self.dtype)
        likely = np.flatnonzero(worst <= 0)
        likely = likely[np.argsort(worst[likely])]
        for i in likely[:_TRIES]:
            witness = self._confirm(self.query.property.disjuncts[disjuncts.number[disjunct[i]]], points[i])
            if witness is not None:
                return witness, np.zeros(len(points), dtype=bool)
        scale = np.abs(offset).max(axis=1, initial=0.0) + 1.0
        near, hopeless = np.flatnonzero(worst <= _NEAR * scale), np.zeros(len(points), dtype=bool)
        again = self._worst(disjuncts.objective, disjunct[near], offset[near], points[near], np.float64)
        hopeless[near] = (again <= 0) & _inside(disjuncts.inputs, disjunct[near], points[near])
        # What was not replayed may be a counterexample yet.
        hopeless[likely[_TRIES:]] = False
        return None, hopeless

    def _confirm(self, disjunct: Disjunct, x: np.ndarray) -> Witness | None:
        if self.failure is not None:
            return None
        try:
            return confirm(self.query, disjunct, x, self.run)
        except ReplayError as error:
            self.failure, self._failed.set = str(error), True
            return None

    def _worst(
        self, objective: np.ndarray, disjunct: np.ndarray, offset: np.ndarray, points: np.ndarray, dtype: type
    ) -> np.ndarray:
        """The largest atom of its disjunct at every point, as computed in a type; infinite where it is NaN."""
        if not len(points):
            return np.zeros(0)
        network = self.query.network
        place = self._place(len(points), dtype)
        threads = threads_for(len(points) * network.weight_count, most=self.run.threads)
        with threads, full_precision(place), quiet_overflow():
            x = place.put(points.astype(dtype).reshape(-1, *network.input_shape))
            y = to_numpy(network(x)).reshape(len(points), -1)
            values = _atoms(objective, disjunct, y) + offset
        return np.where(np.isnan(values), np.inf, values).max(axis=1)

    def _place(self, points: int, dtype: type) -> Placement:
        """Where so many points pass through the network: the run's device, which "auto" chooses by the work."""
        work, element = float(points) * self.query.network.weight_count, np.dtype(dtype).name
        return iteration_placement(Placement.numpy(), self.run.device, element, work, self.run.left)

    def _attacked(
        self, disjuncts: list[int], methods: Sequence[Method], seed: int, run: Run | None = None
    ) -> Witness | None:
        """What attacks find on some disjuncts in a run, by default the query's own, and is confirmed."""
        targets, network = Targets.of(self.rows, disjuncts, self.dtype), self.query.network
        there = targets.put(self._place(len(disjuncts), self.dtype))
        try:
            with quiet_overflow():
                found = attack(network, there, methods, seed=seed, any_suffices=True, run=run or self.run)
        except Stopped:
            return None
        x, loss = to_numpy(found.x), to_numpy(found.loss)
        hits = np.flatnonzero(targets.hit(loss))
        for i in hits[np.argsort(loss[hits])][:_TRIES]:
            witness = self._confirm(self.query.property.disjuncts[disjuncts[i]], x[i])
            if witness is not None:
                return witness
        return None


def _inside(sets: WalkableSet, disjunct: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points lie in the sets of their disjuncts; the nearest points of boxes do."""
    if isinstance(sets, Box) or not len(points):
        return np.ones(len(points), dtype=bool)
    return to_numpy(sets.at(disjunct).found_inside(points))


def _atoms(objective: np.ndarray, disjunct: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The linear part of the atoms of its disjunct at every output.

    Shapes: objective [disjuncts, atoms, outputs]; disjunct [points]; y [points, outputs] -> [points, atoms].
    """
    if len(y) * objective[0].size <= _GATHERED:
        return np.einsum("pao,po->pa", objective[disjunct], y)
    # Conjunctions of a thousand atoms, as of labels among a thousand classes, would be copied once for each point.
    found = np.empty((len(y), objective.shape[1]))
    for one in np.unique(disjunct):
        found[disjunct == one] = y[disjunct == one] @ objective[one].T
    return found
