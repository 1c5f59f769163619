"""Splitting one box for several disjuncts at once: bounds of neurons over a part serve all that are open there."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.region import spread_region
from admm_verify.complete.branching import side_scores
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.emptiness import without_contradictions
from admm_verify.complete.input_split import HalvedBoxes, InputSplitter
from admm_verify.complete.seen import Seen
from admm_verify.complete.splitter import Grown, closed
from admm_verify.complete.tables import join, take
from admm_verify.sets.box import Box
from admm_verify.sets.contraction import contract

_MOST = 64
"""Disjuncts up to which all of them are bounded over every part that is open for one."""

_ITERATIONS = 0
"""Of ascent for the disjuncts' rows, which gains less than the halves that it takes the time of."""


@dataclass(frozen=True, eq=False)
class SharedHalves(HalvedBoxes):
    """Parts of one box, a node for each disjunct that is open there; those of one part follow each other.

    least: the least bound of all disjuncts that are open there, by which parts come.
    """

    least: np.ndarray

    together = True

    @property
    def order(self) -> np.ndarray:
        return self.least


class SharedSplitter(InputSplitter):
    """Halves boxes for all disjuncts at once, where this closes the most of the gaps of those that are open."""

    @staticmethod
    def suits(disjuncts: Disjuncts, arithmetic: str) -> bool:
        """Whether all disjuncts ask one atom each of one box, in real numbers."""
        inputs, several = disjuncts.inputs, 1 < len(disjuncts) <= _MOST
        if not (several and disjuncts.atoms == 1 and isinstance(inputs, Box) and arithmetic == "real"):
            return False
        ends = to_numpy(inputs.packed)
        return bool((ends == ends[:1]).all())

    def _bounded(self, nodes: HalvedBoxes) -> Grown[HalvedBoxes]:
        packed, own = np.unique(to_numpy(nodes.packed), axis=0, return_inverse=True)
        own = own.reshape(-1)
        boxes = Box.unpacked(packed)
        parts = boxes.put(self.home)
        plain, objective = self.settings.caution > 1.0, self.disjuncts.objective
        pre = derived_bounds(self.network, parts, self.method, self.run, plain=plain, objective=objective)
        pre, empty = without_contradictions(self.network, parts, pre, self.run)
        if self.settings.contractions and empty.any():
            # Recorded proofs exclude these too by bounds of atoms, which are as good as infinite.
            left, kept = ~empty[own], np.flatnonzero(~empty)
            nodes, own = take(nodes, left), (np.cumsum(~empty) - 1)[own[left]]
            boxes, parts, pre = boxes.at(kept), parts.at(self.home.put_indices(kept)), pre.take(kept)
        work = partial(self._shared, nodes, own, (boxes, parts, pre))
        return join(self.bounder.in_blocks(parts.count, len(self.disjuncts), self.settings, work))

    def _shared(
        self, all: HalvedBoxes, own: np.ndarray, whole: tuple[Box, Box, PreactivationBounds], first: int, last: int
    ) -> Grown[HalvedBoxes]:
        """The nodes of some parts. whole: all parts on the host, and where they are bounded, with their bounds.

        Shapes: own [nodes], the part of each.
        """
        everywhere, parts, bounds = whole
        place = np.flatnonzero((first <= own) & (own < last))
        nodes, part = take(all, place), own[place] - first
        pre = PreactivationBounds(*(tuple(end[first:last] for end in ends) for ends in (bounds.lower, bounds.upper)))
        disjuncts, put = self.disjuncts, self.home.put
        region = spread_region(self.network, parts.part(first, last), pre.lower, pre.upper, self.settings.caution)
        row, asked = _rows(part, nodes.disjunct, last - first)
        rows = self.bounder.rows(put(disjuncts.objective[asked, 0]), put(disjuncts.offset[asked, 0]))
        found = self.bounder.bound(region, rows, None, _ITERATIONS)
        seen = Seen.of(found, self.columns)
        atoms = disjuncts.certified(nodes.disjunct, seen.lower[part, row][:, None])
        excluded = disjuncts.excluded(nodes.disjunct, atoms)
        bound = np.maximum(nodes.bound, atoms[:, 0])
        open = np.flatnonzero(~excluded[:, 0])
        boxes = everywhere.part(first, last)
        if self.settings.contractions:
            boxes, open = self._contracted_all(boxes, part, open, seen.plane[part, row], atoms)
        weighed = np.full(asked.shape, -np.inf)
        weighed[part[open], row[open]] = -1.0
        scores = side_scores(self.network, to_numpy(boxes.width), pre, found, weighed) * boxes.halvable
        side = np.where(scores.max(axis=1) > 0, scores.argmax(axis=1), -1)
        least = np.full(last - first, np.inf)
        np.minimum.at(least, part[open], bound[open])
        left = SharedHalves(nodes.disjunct, bound, side[part], boxes.packed[part], nodes.path, least[part])
        slopes = [slope[part, row][:, None] for slope in seen.slopes]
        proof = closed(disjuncts, nodes.disjunct, excluded, atoms, nodes.path, None, slopes)
        points, asking = seen.vertices[part[open], row[open]], nodes.disjunct[open]
        return Grown(take(left, open), proof, points, asking, disjuncts.offset[asking])

    def _contracted_all(
        self, boxes: Box, part: np.ndarray, open: np.ndarray, plane: np.ndarray, atoms: np.ndarray
    ) -> tuple[Box, np.ndarray]:
        """The boxes without what no open disjunct can hold in, and the nodes that are still open.

        Shapes: part, plane, atoms of all nodes.
        """
        own, rounds = part[open], self.settings.contractions
        cut, empty = contract(boxes.at(own), plane[open][:, None], atoms[open], rounds)
        open, own, cut = open[~empty], own[~empty], cut.at(np.flatnonzero(~empty))
        lower, upper = (np.array(to_numpy(end)) for end in boxes.range)
        low, high = np.full_like(lower, np.inf), np.full_like(upper, -np.inf)
        np.minimum.at(low, own, cut.range[0])
        np.maximum.at(high, own, cut.range[1])
        some = np.isin(np.arange(len(lower)), own)
        lower[some], upper[some] = low[some], high[some]
        return Box.of(lower, upper), open


def _rows(part: np.ndarray, disjunct: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """The place of each node among those of its part, and the disjuncts of all places, [parts, places]: those that are
    left over repeat the first one.
    """
    order = np.argsort(part, kind="stable")
    count = np.bincount(part, minlength=parts)
    first = np.cumsum(count) - count
    row = np.empty(len(part), dtype=np.int64)
    row[order] = np.arange(len(part)) - first[part[order]]
    asked = np.repeat(disjunct[order][np.minimum(first, len(part) - 1)][:, None], max(1, int(count.max())), axis=1)
    asked[part, row] = disjunct
    return row, asked
