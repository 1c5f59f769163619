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
        disjuncts, count, put = self.disjuncts, len(self.disjuncts), self.home.put
        region = spread_region(self.network, parts.part(first, last), pre.lower, pre.upper, self.settings.caution)
        shape = (last - first, count)
        rows = self.bounder.rows(
            put(np.broadcast_to(disjuncts.objective[:, 0], (*shape, disjuncts.objective.shape[-1]))),
            put(np.broadcast_to(disjuncts.offset[:, 0], shape)),
        )
        found = self.bounder.bound(region, rows, None, _ITERATIONS)
        seen = Seen.of(found, self.columns)
        atoms = disjuncts.certified(nodes.disjunct, seen.lower[part, nodes.disjunct][:, None])
        excluded = disjuncts.excluded(nodes.disjunct, atoms)
        bound = np.maximum(nodes.bound, atoms[:, 0])
        open = np.flatnonzero(~excluded[:, 0])
        asked = np.full(shape, -np.inf)
        asked[part[open], nodes.disjunct[open]] = -1.0
        boxes = everywhere.part(first, last)
        scores = side_scores(self.network, to_numpy(boxes.width), pre, found, asked) * boxes.halvable
        side = np.where(scores.max(axis=1) > 0, scores.argmax(axis=1), -1)
        least = np.full(last - first, np.inf)
        np.minimum.at(least, part[open], bound[open])
        left = SharedHalves(nodes.disjunct, bound, side[part], nodes.packed, nodes.path, least[part])
        slopes = [slope[part, nodes.disjunct][:, None] for slope in seen.slopes]
        proof = closed(disjuncts, nodes.disjunct, excluded, atoms, nodes.path, None, slopes)
        points, asking = seen.vertices[part[open], nodes.disjunct[open]], nodes.disjunct[open]
        return Grown(take(left, open), proof, points, asking, disjuncts.offset[asking])
