"""Disjuncts that fix most inputs: what depends on the others alone is searched, with all else as constants."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from admm_verify.arrays import Placement, gamma, quiet_overflow, to_numpy
from admm_verify.attacks.confirm import Witness
from admm_verify.bounds.arithmetic import lowered
from admm_verify.bounds.constant_errors import carried_errors
from admm_verify.bounds.points import nodes_at_points
from admm_verify.complete.counterexamples import Counterexamples
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.input_split import InputSplitter
from admm_verify.complete.search import Search
from admm_verify.complete.settings import VerifySettings
from admm_verify.memory import Budget
from admm_verify.network.free_part import FreePart, free_part
from admm_verify.network.graph import Network
from admm_verify.network.simplify import simplify
from admm_verify.properties.query import Query
from admm_verify.properties.rows import AtomRows, atom_rows
from admm_verify.relaxations.registry import facts_of
from admm_verify.run import Run, Stopped
from admm_verify.sets.box import Box
from admm_verify.settings import SearchSettings

_MOST_FREE = 8
"""Inputs of some width that a disjunct may leave."""

_GAIN = 1.5
"""Times as many multiplications as the part that depends on free inputs the network is to have."""

_THIN = 2.0**-40
"""Relative width up to which a side counts as fixed: that of a decimal between two floats, which errors cover."""

_TOGETHER = 2048
"""Disjuncts that are searched at once."""

_MERGED = 2**20
"""Multiplications of a part up to which its chains of affine maps are merged."""

_BLOCK_NUMBERS = 2**22
"""Numbers of all nodes' values at once."""

Try = Callable[[Disjuncts, np.ndarray, np.ndarray, np.ndarray], tuple[Witness | None, np.ndarray]]
"""As `Counterexamples.points`."""


_SHARE = 0.6
"""Of the time that is left, for searching the parts; the rest is for what these leave open."""

_LEAST_PARTS, _PARTS_EACH = 2**14, 2**10
"""Parts of boxes that a search may take where time has no end, over all disjuncts or for each of them, whichever is
more: seconds in small networks, after which what splits neurons goes on."""


class _BandSplitter(InputSplitter):
    """Halves boxes of few sides, whose parts are cheaper to halve again than to bound closely."""

    method = "forward"


@dataclass(eq=False)
class FreeInputs:
    """A search through the disjuncts that leave few inputs free, in real arithmetic.

    excluded: numbers of those that hold nowhere. bounded: parts of them that were bounded.
    """

    network: Network
    rows: AtomRows
    settings: SearchSettings
    run: Run
    attempt: Try
    excluded: list[int] = field(default_factory=list)
    bounded: int = 0
    witness: Witness | None = None

    def search(self, numbers: list[int]) -> None:
        """Search some disjuncts, of one atom or more each, until a counterexample is found or the run is over.

        Raises: Stopped.
        """
        chosen = np.array(numbers)
        lower, upper = self.rows.boxes.at(self.rows.box[self.rows.padded(numbers)[:, 0]]).range
        free = upper - lower > _THIN * np.maximum(np.abs(lower), np.abs(upper))
        count = free.sum(axis=1)
        few = (count > 0) & (count <= min(_MOST_FREE, self.settings.input_sides)) & ~free.all(axis=1)
        patterns, own = np.unique(free[few], axis=0, return_inverse=True)
        for k, pattern in enumerate(patterns):
            part = free_part(self.network, np.flatnonzero(pattern), self.network.weight_count / _GAIN)
            if part is None or _GAIN * part.network.weight_count > self.network.weight_count:
                continue
            mine = np.flatnonzero(few)[own.reshape(-1) == k]
            block = max(1, min(_TOGETHER, _BLOCK_NUMBERS // sum(node.size for node in self.network.nodes)))
            for first in range(0, len(mine), _TOGETHER):
                several = mine[first : first + _TOGETHER]
                self._search(part, chosen[several], (lower[several], upper[several]), block)
                if self.witness is not None or self.run.over():
                    return

    def _search(self, part: FreePart, numbers: np.ndarray, ends: tuple[np.ndarray, np.ndarray], block: int) -> None:
        found = [
            self._disjuncts(part, numbers[i : i + block], (ends[0][i : i + block], ends[1][i : i + block]))
            for i in range(0, len(numbers), block)
        ]
        disjuncts = found[0] if len(found) == 1 else _joined(found)
        own = Disjuncts.of(self.rows, self.rows.offset, np.ones(len(self.rows.box), dtype=bool), numbers.tolist())
        # Products of large matrices take longer than they spare.
        merged = simplify(part.network) if part.network.weight_count <= _MERGED else part.network

        def attempt(points: np.ndarray, disjunct: np.ndarray, offset: np.ndarray) -> tuple[Witness | None, np.ndarray]:
            near = self._near(merged, disjuncts, points, disjunct, offset)
            hopeless = np.zeros(len(points), dtype=bool)
            whole = ends[0][disjunct[near]]
            whole[:, part.free] = points[near][:, : len(part.free)]
            witness, hopeless[near] = self.attempt(own, whole, disjunct[near], own.offset[disjunct[near]])
            return witness, hopeless

        splitter = _BandSplitter(merged, disjuncts, Placement.numpy(), self.settings, self.run)
        search = Search(splitter, self.settings, attempt, self.run)
        most = max(_LEAST_PARTS, _PARTS_EACH * len(numbers)) if self.run.deadline is None else np.inf
        search.advance(lambda: search.bounded >= most)
        self.bounded, self.witness = self.bounded + search.bounded, search.witness
        left = np.unique(search.remaining_disjuncts())
        self.excluded += np.delete(numbers, left).tolist()

    def _disjuncts(self, part: FreePart, numbers: np.ndarray, ends: tuple[np.ndarray, np.ndarray]) -> Disjuncts:
        """Some disjuncts as those of the free part, whose offsets pay for what constants are off by."""
        lower, upper = ends
        fixed = np.delete(np.arange(lower.shape[1]), part.free)
        off = np.zeros(lower.shape[1])
        off[fixed] = (upper - lower).max(axis=0)[fixed]
        known = nodes_at_points(self.network, lower, off, self.run)
        constants = part.constants(known.values)
        inputs = Box.of(*(np.concatenate([end[:, part.free], constants], axis=1) for end in (lower, upper)))
        largest = [np.abs(value).max(axis=0) for value in known.values]
        errors = [error.max(axis=0) for error in known.errors]
        added = {}
        sizes, carried = part.magnitudes(largest), part.magnitudes(errors)
        for one, size, error in zip(part.contributions, sizes, carried, strict=True):
            count = 2 * self.network.affine[one.node].roundings + 8 + sum(len(columns) for _, columns, _ in one.terms)
            added[part.places[one.node]] = (error + gamma(count) * (size + error)) * (1 + 1e-9)
        taken = to_numpy(carried_errors(part.network, inputs, added))
        row = self.rows.padded(numbers.tolist())
        with quiet_overflow():
            offset, sound = lowered(self.rows.objective[row], self.rows.offset[row], taken[:, None, :])
        count = np.array([len(self.rows.disjuncts[i]) for i in numbers])
        return Disjuncts(
            inputs,
            self.rows.objective[row],
            offset,
            self.rows.strict[row],
            sound & known.clear[:, None],
            row,
            numbers,
            count,
        )

    def _near(
        self, network: Network, disjuncts: Disjuncts, points: np.ndarray, disjunct: np.ndarray, offset: np.ndarray
    ) -> np.ndarray:
        """The points at which all atoms hold, or nearly so."""
        y = network.evaluate(points)[-1]
        values = np.einsum("pao,po->pa", disjuncts.objective[disjunct], y) + offset
        return np.flatnonzero(~(values.max(axis=1) > 1e-6 * (1.0 + np.abs(offset).max(axis=1))))


def by_free_inputs(query: Query, settings: VerifySettings, run: Run) -> FreeInputs | None:
    """A search through the disjuncts of a query that leave few inputs free, over; None where it has none of them, or is
    to be decided another way.

    Raises: Stopped once the run is over.
    """
    disjuncts, asked = query.property.disjuncts, (settings.certificate, settings.checkpoint, settings.max_subproblems)
    arithmetic = query.property.arithmetic if settings.arithmetic is None else settings.arithmetic
    if arithmetic != "real" or any(asked) or settings.max_subproblems == 0 or settings.method != "auto":
        return None
    if any(facts_of(node).jumps for node in query.network.functions):
        # Near a jump no constant is known well enough.
        return None
    ends = disjuncts[0].box.range
    fixed = sum(low == high for low, high in zip(*ends, strict=True))
    if 2 * fixed < len(ends[0]) or any(one.cut is not None or not one.atoms for one in disjuncts):
        return None
    rows = atom_rows(query.property, Budget.of(run))
    if rows.rounding.any():
        return None
    part = run.within(_SHARE)
    counterexamples = Counterexamples(query, rows, part.silent())
    search = replace(settings.search, input_iterations=0)
    found = FreeInputs(query.network, rows, search, counterexamples.run, counterexamples.points)
    with suppress(Stopped):
        found.search(list(range(len(disjuncts))))
    run.check()
    return found


def _joined(parts: list[Disjuncts]) -> Disjuncts:
    names = ("objective", "offset", "strict", "sound", "row", "number", "count")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], inputs=Box.joined([Box.of(*part.inputs.range) for part in parts]), **arrays)
