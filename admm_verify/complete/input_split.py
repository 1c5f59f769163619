"""Splitting the input set: boxes around it are halved where that closes the most of the gap, and bounded afresh."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.bounds.arithmetic import lowered, output_error, region_error
from admm_verify.bounds.domains import defined
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.region import Region, spread_region
from admm_verify.bounds.relaxed import Bounded, Bounder
from admm_verify.complete.atom_sums import AtomSums
from admm_verify.complete.branching import side_scores
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.emptiness import without_contradictions
from admm_verify.complete.pool import Nodes
from admm_verify.complete.seen import Seen
from admm_verify.complete.splitter import Grown, closed, extended, none_left
from admm_verify.complete.tables import join, take
from admm_verify.network.graph import Network
from admm_verify.relaxations.registry import sides
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.contraction import apart, contract, contract_by_planes
from admm_verify.sets.polytopes import Polytopes
from admm_verify.settings import SearchSettings


@dataclass(frozen=True, eq=False)
class HalvedBoxes(Nodes):
    """Parts of the disjuncts' boxes.

    path: +-(1 + side) for every upper and lower half taken so far, then zeros.
    Shapes: disjunct, bound, side (the input to halve next, -1 where none is left) [n]; packed (the boxes' ends)
    [n, 2 inputs]; path [n, depth].
    """

    side: np.ndarray
    packed: Array
    path: np.ndarray

    @property
    def splittable(self) -> np.ndarray:
        return self.side >= 0

    @property
    def inputs(self) -> Box:
        """The boxes."""
        return Box.unpacked(self.packed)


class InputSplitter:
    """Halves boxes."""

    method = "crown"
    """Of the bounds of neurons."""

    def __init__(
        self,
        network: Network,
        disjuncts: Disjuncts,
        home: Placement,
        settings: SearchSettings,
        run: Run,
        arithmetic: str = "real",
    ) -> None:
        """disjuncts: with offsets in real numbers; what the arithmetic takes from them depends on the part."""
        self.disjuncts, self.settings, self.run = disjuncts, settings, run
        self.arithmetic = arithmetic
        self.bounder = Bounder(network, home, settings.input_ascent, run)
        self.network, self.home = self.bounder.network, home
        self.sums = AtomSums(self.bounder, disjuncts, settings.input_iterations)

    @property
    def columns(self) -> list[np.ndarray]:
        """All slopes of every activation, in order."""
        return [np.arange(node.size * sides(node)) for node in self.network.functions]

    def root(self) -> Grown[HalvedBoxes]:
        """The disjuncts' own boxes."""
        disjunct = np.arange(len(self.disjuncts))
        path = np.zeros((len(disjunct), 0), dtype=np.int16)
        bound = np.full(len(disjunct), -np.inf)
        packed = Box.of(*self.disjuncts.inputs.range).packed
        return self._bounded(HalvedBoxes(disjunct, bound, disjunct, packed, path))

    def expand(self, nodes: HalvedBoxes) -> Grown[HalvedBoxes]:
        """Both halves of every box."""
        side = nodes.side
        packed = nodes.inputs.halved(side).packed
        down, up = extended(nodes.path, -1 - side), extended(nodes.path, 1 + side)
        disjunct, bound = np.tile(nodes.disjunct, 2), np.tile(nodes.bound, 2)
        return self._bounded(HalvedBoxes(disjunct, bound, np.tile(side, 2), packed, np.concatenate([down, up])))

    def _bounded(self, nodes: HalvedBoxes) -> Grown[HalvedBoxes]:
        parts = self._parts(nodes).put(self.home)
        # Whoever checks a proof derives bounds without bands.
        plain = self.settings.caution > 1.0
        objective = self.disjuncts.objective
        pre = derived_bounds(self.network, parts, self.method, self.run, plain=plain, objective=objective)
        pre, empty = without_contradictions(self.network, parts, pre, self.run)
        if self.settings.contractions and empty.any():
            # Recorded proofs exclude these too by bounds of atoms, which are as good as infinite.
            kept = np.flatnonzero(~empty)
            if not len(kept):
                return none_left(self.disjuncts, nodes, nodes.path)
            nodes, parts, pre = take(nodes, kept), parts.at(self.home.put_indices(kept)), pre.take(kept)
        work, count = partial(self._block, nodes, parts, pre), len(nodes.disjunct)
        return join(self.bounder.in_blocks(count, self.disjuncts.atoms, self.settings, work))

    def _parts(self, nodes: HalvedBoxes) -> WalkableSet:
        """What of the disjuncts' sets lies in the boxes."""
        whole, boxes = self.disjuncts.inputs, nodes.inputs
        return boxes if isinstance(whole, Box) else whole.at(nodes.disjunct).within(*boxes.range)

    def _block(
        self, all: HalvedBoxes, parts: WalkableSet, bounds: PreactivationBounds, first: int, last: int
    ) -> Grown[HalvedBoxes]:
        nodes, part = take(all, np.arange(first, last)), parts.part(first, last)
        pre = PreactivationBounds(*(tuple(end[first:last] for end in ends) for ends in (bounds.lower, bounds.upper)))
        put, disjuncts, disjunct = self.home.put, self.disjuncts, nodes.disjunct
        region = spread_region(self.network, part, pre.lower, pre.upper, self.settings.caution)
        offset, sound = self._offset(disjunct, region)
        rows = self.bounder.rows(put(disjuncts.objective[disjunct]), put(offset))
        found = self.bounder.bound(region, rows, None, self.settings.input_iterations)
        seen = Seen.of(found, self.columns)
        atoms = np.where(sound, disjuncts.certified(disjunct, seen.lower), -np.inf)
        excluded = disjuncts.excluded(disjunct, atoms)
        inputs, empty = self._contracted(nodes, region, found, seen, atoms)
        gone = excluded.any(axis=1)
        # Recorded proofs hold bounds of atoms alone.
        if self.settings.contractions and self.sums.pay:
            lower, planes = self.sums.bounded(region, disjunct, offset, nodes.inputs, found, atoms)
            summed = (lower > 0).any(axis=1)
            self.sums.count(summed & ~(gone | empty))
            empty = empty | summed
            if isinstance(self.disjuncts.inputs, Box):
                # Bounds over parts of other sets say nothing of all of their boxes.
                inputs, outside = contract(inputs, planes, lower, self.settings.contractions)
                empty = empty | outside
        scores = side_scores(self.network, to_numpy(inputs.width), pre, found, atoms) * inputs.halvable
        # Where the arithmetic itself may fail everywhere, as by overflow, smaller boxes are of no use.
        scores[~sound.any(axis=1) & defined(self.network, pre)] = 0.0
        side = np.where(scores.max(axis=1) > 0, scores.argmax(axis=1), -1)
        bound = np.maximum(nodes.bound, atoms.max(axis=1))
        open = np.flatnonzero(~(gone | empty))
        left = take(HalvedBoxes(disjunct, bound, side, inputs.packed, nodes.path), open)
        vertices = seen.vertices[open]
        proof = closed(disjuncts, disjunct, excluded, atoms, nodes.path, None, seen.slopes)
        points, own = vertices.reshape(-1, inputs.size), np.repeat(disjunct[open], disjuncts.atoms)
        return Grown(left, proof, points, own, self._at(points, own))

    def _contracted(
        self, nodes: HalvedBoxes, region: Region, found: Bounded, seen: Seen, atoms: np.ndarray
    ) -> tuple[Box, np.ndarray]:
        """The boxes without what planes below the atoms exclude, and which of them are excluded altogether."""
        whole, rounds, boxes = self.disjuncts.inputs, self.settings.contractions, nodes.inputs
        if isinstance(whole, Box):
            return contract(boxes, seen.plane, atoms, rounds)
        # Recorded proofs hold bounds of atoms alone.
        if not rounds:
            return boxes, np.zeros(len(nodes.disjunct), dtype=bool)
        own = whole.at(nodes.disjunct)
        slope, shift = (to_numpy(side) for side in region.plane(found.sweep))
        shift = np.where(np.isfinite(atoms), shift, -np.inf)
        if isinstance(own, Polytopes):
            slope, shift = np.concatenate([slope, own.normals], axis=1), np.concatenate([shift, -own.ceiling], axis=1)
        left, empty = contract_by_planes(boxes, slope, shift, rounds)
        return left, empty | apart(own, left)

    def _at(self, points: np.ndarray, disjunct: np.ndarray) -> np.ndarray:
        """The atoms' offsets at points less what the network's arithmetic can take there, [points, atoms]."""
        if self.arithmetic == "real" or not len(points):
            return self.disjuncts.offset[disjunct]
        box = Box.point(self.home.put(points))
        pre = derived_bounds(self.network, box, "interval", self.run, abandon=False)
        error = output_error(self.network, box, pre, self.arithmetic)[:, None, :]
        return lowered(self.disjuncts.objective[disjunct], self.disjuncts.offset[disjunct], to_numpy(error))[0]

    def _offset(self, disjunct: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
        """The atoms' offsets on every part less what the network's arithmetic can take, and where that is finite."""
        offset = self.disjuncts.offset[disjunct]
        if self.arithmetic == "real":
            return offset, np.ones(offset.shape, dtype=bool)
        return lowered(self.disjuncts.objective[disjunct], offset, to_numpy(region_error(region, self.arithmetic)))
