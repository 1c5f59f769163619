"""The root: certified bounds of a query's rows over their whole boxes, and the disjuncts they exclude."""

from collections.abc import Callable, Sequence

import numpy as np

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.bounds.arithmetic import output_error, output_reach
from admm_verify.bounds.preactivation import Derivation, derived_bounds
from admm_verify.bounds.ranges import Origin, PreactivationBounds
from admm_verify.bounds.there import bounding_place, computed_there
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.emptiness import without_contradictions
from admm_verify.errors import QueryError
from admm_verify.memory import Budget
from admm_verify.network.graph import Network
from admm_verify.properties.query import Query
from admm_verify.properties.rows import AtomRows
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.splitting.row_bounds import RowBounds
from admm_verify.splitting.solution import Solution

_ARRAYS = 4
"""Arrays of one number per neuron and box that bounds of whole boxes hold at once."""


class Root:
    """What is known at the root: a certified bound per row, and the disjuncts not excluded yet.

    rows: those given, charged from `start` on for what rounding their objectives takes over the whole boxes.
    known: what is known of them; before `start` nothing of any layer, and nothing said about a row is sound. empty:
    input sets that bounds have proven to be empty.
    """

    def __init__(
        self,
        query: Query,
        rows: AtomRows,
        arithmetic: str,
        run: Run,
        plain: bool = False,
    ) -> None:
        """plain: bounds of neurons as the checker of certificates derives them."""
        self.query, self.rows = query, rows
        self.known = RowBounds(query.network, rows.inputs, rows.objective, rows.offset, rows.box)
        self.open = list(range(len(rows.disjuncts)))
        self.started, self.empty = False, np.zeros(rows.inputs.count, dtype=bool)
        self.tightened = np.zeros(0, dtype=np.int64)
        self.multipliers: list[np.ndarray] = []
        self.run, self.arithmetic, self.plain = run, arithmetic, plain

    def start(self, method: str = "crown") -> None:
        """Bounds of all layers over the whole boxes, and what the network's arithmetic takes from the rows.

        method: of the bounds, "crown" or, where parts of the boxes are bounded afresh anyway, "forward".
        Raises: Stopped once the run is over.
        """
        network, rows, box = self.query.network, self.rows, self.rows.inputs
        bounds = self._bounded(np.arange(box.count), method, None)
        error = to_numpy(output_error(network, box, bounds, self.arithmetic))
        if rows.rounding.any():
            reach = output_reach(network, box, bounds)
            rows = rows.charged(np.nextafter(reach + error.max(axis=-1), np.inf))
        self.rows, self.known = rows, RowBounds(network, box, rows.objective, rows.offset, rows.box, bounds)
        self.known.charge(error)
        self.started = True

    def tighten(self, numbers: np.ndarray) -> None:
        """Tighten the pre-activation bounds of the boxes of these rows, once. Raises: Stopped."""
        boxes = np.setdiff1d(self.rows.box[numbers], self.tightened)
        if not len(boxes):
            return
        found = self._bounded(boxes, "tightened", self.bounds_of(boxes))

        def merged(ends: tuple[Array, ...], better: tuple[Array, ...]) -> tuple[np.ndarray, ...]:
            copies = tuple(map(np.array, ends))
            for end, part in zip(copies, better, strict=True):
                end[boxes] = part
            return copies

        bounds = self.known.bounds
        ends = merged(bounds.lower, found.lower), merged(bounds.upper, found.upper)
        self.known.bounds = PreactivationBounds(*ends, origin=Origin(self.query.network, self.rows.inputs))
        self.tightened = np.append(self.tightened, boxes)

    def derive(self, keep: Callable[[Derivation], None]) -> None:
        """Tighten the pre-activation bounds of all boxes from nothing, told how they come about. Raises: Stopped."""
        self.known.bounds = self._bounded(np.arange(self.rows.inputs.count), "tightened", None, keep)

    def bounds_of(self, boxes: np.ndarray) -> PreactivationBounds:
        """The pre-activation bounds of some boxes."""
        return self.known.bounds.take(boxes)

    def open_rows(self) -> np.ndarray:
        """Numbers of the rows that belong to an open disjunct."""
        return np.array(sorted({row for i in self.open for row in self.rows.disjuncts[i]}), dtype=np.int64)

    def close_empty(self, but: Callable[[int], object] = lambda disjunct: False) -> None:
        """Close the disjuncts whose input sets are empty, but for some."""
        if self.empty.any():
            self.open = [i for i in self.open if but(i) or not self.empty[self.rows.owner[i]]]

    def solve(self, numbers: np.ndarray, method: str, passes: int) -> Solution:
        """Bound some rows, keep what is better than before, and close the disjuncts that it excludes."""
        solution = self.known.solve(numbers, method, passes, self.run)
        if passes:
            self.climbed(numbers, solution.multipliers)
        excluded = np.where(self.rows.strict, self.known.lower >= 0, self.known.lower > 0)
        self.open = [i for i in self.open if not any(excluded[row] for row in self.rows.disjuncts[i])]
        return solution

    def climbed(self, numbers: np.ndarray, multipliers: Sequence[Array]) -> None:
        """Keep multipliers of some rows, from which whoever bounds them next starts.

        Shapes: numbers [...]; multipliers[k] [..., n_k].
        """
        if not self.multipliers:
            rows = len(self.rows.box)
            self.multipliers = [np.zeros((rows, layer.shape[-1]), dtype=np.float32) for layer in multipliers]
        for kept, layer in zip(self.multipliers, multipliers, strict=True):
            kept[numbers] = Placement.numpy(np.float32).put(layer)

    def disjuncts(self, part_by_part: bool = False) -> Disjuncts:
        """The open disjuncts that have atoms, for a search.

        part_by_part: with offsets in real numbers, where what the network's arithmetic takes is found for every part.
        """
        left = [i for i in self.open if self.rows.disjuncts[i]]
        if part_by_part:
            return Disjuncts.of(self.rows, self.rows.offset, np.ones_like(self.known.sound), left)
        return Disjuncts.of(self.rows, self.known.offset, self.known.sound, left, self.multipliers)

    def _bounded(
        self,
        boxes: np.ndarray,
        method: str,
        known: PreactivationBounds | None,
        keep: Callable[[Derivation], None] | None = None,
    ) -> PreactivationBounds:
        network, inputs = self.query.network, self.rows.inputs
        if len(boxes) < inputs.count:
            inputs = inputs.at(boxes)
        # What nothing depends on may still show that a set is empty, which boxes are never.
        objective = self.rows.objective if isinstance(inputs, Box) else None

        def derive(there: WalkableSet) -> PreactivationBounds:
            plain = self.plain
            return derived_bounds(
                network, there, method, self.run, known=known, keep=keep, plain=plain, objective=objective
            )

        # A checker that derives them again does so on the host.
        place = inputs.placement.double if self.plain else bounding_place(network, method, inputs, self.run)
        found = computed_there(place, inputs, derive)
        found, empty = without_contradictions(network, inputs, found, self.run)
        self.empty[boxes] |= empty
        return found


def check_memory(network: Network, boxes: int, budget: Budget) -> None:
    """Raise QueryError where the bounds of all neurons over all boxes do not fit the memory."""
    need = 8.0 * _ARRAYS * boxes * sum(node.size for node in network.nodes)
    if need > budget.bytes:
        raise QueryError(
            f"The query has {boxes} different input boxes; bounds of all neurons over them take {need / 2**30:.3g} "
            f"GiB, more than the memory allowed, {budget.bytes / 2**30:.3g} GiB. Allow more, or split the query."
        )
