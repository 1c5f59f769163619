"""Splitting neurons at their kink, or their range in the middle: each part inherits slopes and multipliers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.bounds.conditional import ConditionalBounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.region import Region, spread_region
from admm_verify.bounds.relaxed import Bounded, Bounder
from admm_verify.complete.atom_sums import AtomSums
from admm_verify.complete.branching import atom_weights, joint_scores, neuron_scores, range_scores
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.fixed_signs import FixedSigns
from admm_verify.complete.leaf_programs import LeafPrograms
from admm_verify.complete.pool import Nodes
from admm_verify.complete.propagation import Narrowed, Propagation
from admm_verify.complete.seen import Seen
from admm_verify.complete.shared_entries import SharedEntries
from admm_verify.complete.splitter import Closed, Grown, closed, extended, none_left
from admm_verify.complete.tables import join, take
from admm_verify.network.graph import Network
from admm_verify.relaxations.lines import KinkLines
from admm_verify.relaxations.registry import network_lines
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet
from admm_verify.sets.contraction import contract
from admm_verify.settings import SearchSettings

_LAST = np.int32(np.iinfo(np.int32).max)
"""The choice where no neuron is left to split: what remains is a linear program, and worth a longer ascent."""

_CREDIT, _REWARD, _CHANCE = 16.0, 4.0, 1.0 / 128
"""Programs of parts that can still be split: how many there are to begin with, for each that excludes its part, and for
each part that is split. They pay where signs contradict each other, and cost a hundred times as much as bounds.
"""

_TRIED, _WORTH = 256, 0.05
"""Parts after which propagation is given up where it alone has excluded a smaller share of them."""


@dataclass(frozen=True, eq=False)
class Branches(Nodes):
    """Parts of the disjuncts' boxes in which some neurons have a fixed sign, or half of their range.

    splits: +-(1 + number of the neuron, over all activations' operands), 0 for none. choice: the neuron to split
    next, numbered alike, below 0 where the part's program is solved; _LAST where none is left, 0 after a last attempt.
    slopes: of the neurons open at the root. packed: the ends of boxes around the parts, where atoms cut them.
    Shapes: disjunct, bound, choice [n]; splits [n, depth]; beta [n, atoms, depth]; slopes [n, atoms, open]; packed
    [n, 2 inputs], or [n, 0] where nothing cuts.
    """

    choice: np.ndarray
    splits: np.ndarray
    beta: np.ndarray
    slopes: np.ndarray
    packed: np.ndarray

    @property
    def splittable(self) -> np.ndarray:
        return self.choice != 0

    def once_more(self) -> "Branches":
        """The parts for a last attempt each."""
        return replace(self, choice=np.full_like(self.choice, _LAST))


class NeuronSplitter:
    """Splits neurons."""

    def __init__(
        self,
        network: Network,
        disjuncts: Disjuncts,
        boxes: tuple[np.ndarray, InputSet],
        pre: PreactivationBounds | ConditionalBounds,
        home: Placement,
        settings: SearchSettings,
        run: Run,
        record: bool = False,
    ) -> None:
        """boxes: the number of each disjunct's box, and all boxes, whose bounds are pre; each disjunct has a box of its
        own where they are conditional. record: exclude parts only by what a certificate can hold.

        Shapes: boxes [disjuncts], [boxes, inputs]; pre [boxes, n_k].
        """
        self.disjuncts, self.settings = disjuncts, settings
        self.bounder = Bounder(network, home, settings.ascent, run)
        self.network, self.home = self.bounder.network, home
        self.box = boxes[0]
        self.lower, self.upper = [to_numpy(end) for end in pre.lower], [to_numpy(end) for end in pre.upper]
        self.region = self._whole(self.bounder, boxes[1])
        lines = network_lines(self.network, self.region.lower, self.region.upper)
        # Certificates hold signs alone.
        self.hulls = [
            None if isinstance(line, KinkLines) else hull
            for line, hull in zip(lines, self.region.relaxations, strict=True)
        ]
        self.halves = not record
        # A checker cuts what is split alone.
        self.shared = SharedEntries({}, {}) if record else SharedEntries.within(self.network)
        self.starts = [to_numpy(line.start)[:, 0] for line in lines]
        self.signs = FixedSigns([end.shape[1] for end in self.lower], home, self.hulls)
        # Programs and what is passed on from row to row are the host's, wherever bounds are found.
        self.host, self.host_region, signs = self.bounder, self.region, self.signs
        if not home.is_numpy:
            self.host = Bounder(network, Placement.numpy(), settings.ascent, run)
            self.host_region = self._whole(self.host, boxes[1])
            signs = FixedSigns([end.shape[1] for end in self.lower], self.host.home, self.hulls)
        self.propagation = self._propagation(boxes[1], record)
        self.programs = LeafPrograms(self.host, disjuncts, signs, record)
        self.has_programs = self.programs.suits(boxes[1], lines)
        self.sums = None if record else AtomSums(self.bounder, disjuncts, settings.iterations)
        self._credit, self._propagated, self._emptied = _CREDIT, 0, 0
        self._programs_first = self.has_programs and network.weight_count <= settings.program_multiplications
        # Only slopes that can be chosen anywhere are kept with the parts.
        self.columns = [
            np.flatnonzero((to_numpy(line.maximum) > to_numpy(line.minimum)).any(axis=(0, 1))) for line in lines
        ]

    def _whole(self, bounder: Bounder, inputs: InputSet) -> Region:
        """The region of all boxes, where a bounder's home is."""
        put = bounder.home.put
        ends = [tuple(map(put, side)) for side in (self.lower, self.upper)]
        return spread_region(bounder.network, inputs.put(bounder.home), *ends, caution=self.settings.caution)

    def _propagation(self, inputs: InputSet, record: bool) -> Propagation | None:
        """What passes on what signs and atoms say, where that pays."""
        small = self.network.weight_count <= self.settings.propagated_multiplications
        joint = self.disjuncts.atoms > 1 and isinstance(inputs, Box) and not record
        if not (small and joint and Propagation.suits(self.network)):
            return None
        return Propagation(self.host_region, self.box, self.disjuncts, self.settings.propagations)

    def root(self) -> Grown[Branches]:
        """The disjuncts without any split."""
        count, atoms = len(self.disjuncts), self.disjuncts.atoms
        nodes = Branches(
            np.arange(count),
            np.full(count, -np.inf),
            np.zeros(count, dtype=np.int32),
            np.zeros((count, 0), dtype=np.int32),
            np.zeros((count, atoms, 0), dtype=np.float32),
            np.zeros((count, atoms, 0), dtype=np.float32),
            np.zeros((count, 0)) if self.propagation is None else to_numpy(Box.of(*self.disjuncts.inputs.range).packed),
        )
        iterations = self.settings.root_iterations
        return self._bounded(nodes, iterations // 2 if self.disjuncts.multipliers else iterations)

    def expand(self, nodes: Branches) -> Grown[Branches]:
        """Both signs of the chosen neuron of every part, or a part itself once more with what its program says."""
        if self._propagated >= _TRIED and self._emptied < _WORTH * self._propagated:
            self.propagation = None
        solved = (nodes.choice == _LAST) | self._worth_programs(nodes)
        grown = []
        if not solved.all():
            grown.append(self._bounded(self._signs(take(nodes, ~solved)), self.settings.iterations))
        for i in np.flatnonzero(solved):
            self.bounder.run.check()
            grown.append(self._last(take(nodes, np.array([i]))))
        return join(grown)

    def _worth_programs(self, nodes: Branches) -> np.ndarray:
        """The parts whose programs are solved before they are split: as many as earlier ones have earned."""
        if not self._programs_first:
            return np.zeros(len(nodes.choice), dtype=bool)
        self._credit += len(nodes.choice) * _CHANCE
        deep = (nodes.splits != 0).sum(axis=1) >= self.settings.program_depth
        wanted = (nodes.choice > 0) & (nodes.choice < _LAST) & deep
        solved = wanted & (np.cumsum(wanted) <= self._credit)
        self._credit -= np.count_nonzero(solved)
        return solved

    def _last(self, node: Branches) -> Grown[Branches]:
        """One part by its linear program, or by a long ascent."""
        disjuncts, path = self.disjuncts, node.splits[0][node.splits[0] != 0]
        found = self._narrowed(node)
        if found.empty.any():
            return none_left(disjuncts, node, node.splits)
        leaf = None
        if self.has_programs:
            leaf = self.programs.solve(int(node.disjunct[0]), self._region(node, found, self.host_region), path)
        if leaf is None:
            return self._bounded(node, self.settings.last_iterations)
        slopes = self.signs.by_layer(leaf.slopes)
        none = np.zeros(0, dtype=np.float32)
        kept = np.concatenate([none, *(slope[own] for slope, own in zip(slopes, self.columns, strict=True))])
        proof = Closed(disjuncts.number[node.disjunct], leaf.weights[None], path[None], leaf.beta[None], kept[None])
        # The least exact neuron is a poor choice, but where nothing else tells neurons apart.
        chosen = -node.choice if leaf.choice and node.choice[0] != _LAST else np.array([-leaf.choice], dtype=np.int32)
        left = replace(node, choice=chosen)
        self._credit += _REWARD * leaf.excluded
        nothing = np.zeros(0, dtype=np.int64)
        left, proof = (take(left, nothing), proof) if leaf.excluded else (left, take(proof, nothing))
        points = np.repeat(leaf.x[None], len(left.disjunct) * disjuncts.atoms, axis=0)
        own = np.repeat(left.disjunct, disjuncts.atoms)
        return Grown(left, proof, points, own, disjuncts.offset[own])

    def _signs(self, nodes: Branches) -> Branches:
        active, inactive = extended(nodes.splits, nodes.choice), extended(nodes.splits, -nodes.choice)
        both = np.concatenate([active, inactive])
        beta = np.zeros((*nodes.beta.shape[:2], both.shape[1]), dtype=np.float32)
        held = min(both.shape[1], nodes.beta.shape[2])
        beta[..., :held] = nodes.beta[..., :held]
        kept = nodes.disjunct, nodes.bound, nodes.slopes, nodes.packed
        disjunct, bound, slopes, packed = (np.concatenate([part, part]) for part in kept)
        return Branches(disjunct, bound, np.zeros_like(disjunct), both, np.concatenate([beta, beta]), slopes, packed)

    def _bounded(self, nodes: Branches, iterations: int) -> Grown[Branches]:
        work, count = partial(self._block, nodes, iterations), len(nodes.disjunct)
        return join(self.bounder.in_blocks(count, self.disjuncts.atoms, self.settings, work))

    def _block(self, all: Branches, iterations: int, first: int, last: int) -> Grown[Branches]:
        nodes = take(all, np.arange(first, last))
        found = self._narrowed(nodes)
        kept = np.flatnonzero(~found.empty)
        if not len(kept):
            return none_left(self.disjuncts, nodes, nodes.splits)
        return self._climbed(take(nodes, kept), take(found, kept), iterations)

    def _climbed(self, nodes: Branches, found: Narrowed, iterations: int) -> Grown[Branches]:
        put, disjuncts, region = self.home.put, self.disjuncts, self._region(nodes, found, self.region)
        splits = self.signs.splits(nodes.splits, nodes.beta)
        ranges = self.signs.ranges(nodes.splits, nodes.beta, found.lower, found.upper)
        objective, offset = put(disjuncts.objective[nodes.disjunct]), put(disjuncts.offset[nodes.disjunct])
        rows = self.bounder.rows(objective, offset, splits, ranges)
        slopes: Sequence[Array] | None = None
        if nodes.slopes.shape[-1]:
            slopes = self._slopes(nodes, self.box[nodes.disjunct])
        elif disjuncts.multipliers:
            slopes = self.bounder.slopes_of(region, rows, take(disjuncts.multipliers, nodes.disjunct))
        bounded = self.bounder.bound(region, rows, slopes, iterations)
        seen = Seen.of(bounded, self.columns, bounded.pre or self._reached(bounded.vertices), splits, ranges)
        atoms = disjuncts.certified(nodes.disjunct, seen.lower)
        excluded = disjuncts.excluded(nodes.disjunct, atoms)
        found = self._contracted(nodes, found, seen, atoms)
        beta = self.signs.betas(nodes.splits, seen.beta, seen.tau, disjuncts.atoms)
        bounds = np.maximum(nodes.bound, atoms.max(axis=1))
        choice = self._choice(nodes, found, seen, atoms)
        if iterations < self.settings.last_iterations:
            choice = np.where(choice == 0, _LAST, choice)
        flat = np.concatenate([np.zeros((*atoms.shape, 0)), *seen.slopes], axis=-1).astype(np.float32)
        gone = excluded.any(axis=1)
        self._emptied += np.count_nonzero(found.empty & ~gone)
        gone = gone | found.empty
        gone = gone | self._summed(nodes, region, bounded, atoms, gone)
        open = np.flatnonzero(~gone)
        left = take(Branches(nodes.disjunct, bounds, choice, nodes.splits, beta, flat, found.packed), open)
        proof = closed(disjuncts, nodes.disjunct, excluded, atoms, nodes.splits, beta, seen.slopes)
        vertices = seen.vertices[open]
        own = np.repeat(nodes.disjunct[open], disjuncts.atoms)
        return Grown(left, proof, vertices.reshape(-1, vertices.shape[-1]), own, disjuncts.offset[own])

    def _narrowed(self, nodes: Branches) -> Narrowed:
        """What is known of every part: the bounds of every layer with the signs fixed, and what follows of them."""
        boxes = self.box[nodes.disjunct]
        lower, upper = [end[boxes] for end in self.lower], [end[boxes] for end in self.upper]
        self.signs.clip(nodes.splits, lower, upper)
        self.shared.cut(lower, upper)
        if self.propagation is None:
            return Narrowed(nodes.packed, lower, upper, np.zeros(len(boxes), dtype=bool))
        return self.propagation(nodes.disjunct, Box.unpacked(nodes.packed), lower, upper)

    def _contracted(self, nodes: Branches, found: Narrowed, seen: Seen, atoms: np.ndarray) -> Narrowed:
        """The same, cut by planes below the atoms."""
        if self.propagation is None:
            return found
        self._propagated += len(atoms)
        box, empty = contract(Box.unpacked(found.packed), seen.plane, atoms, self.settings.contractions)
        narrowed = self.propagation(nodes.disjunct, box, found.lower, found.upper)
        return replace(narrowed, empty=narrowed.empty | empty)

    def _summed(
        self, nodes: Branches, region: Region, bounded: Bounded, atoms: np.ndarray, gone: np.ndarray
    ) -> np.ndarray:
        """Which parts sums of atoms exclude, [parts]; gone: those that something else has excluded."""
        inputs = self.disjuncts.inputs.at(nodes.disjunct)
        # Recorded proofs hold sums of atoms only where programs have found them.
        if self.sums is None or not self.sums.pay or not isinstance(inputs, Box):
            return np.zeros_like(gone)
        offset = self.disjuncts.offset[nodes.disjunct]
        lower, _ = self.sums.bounded(region, nodes.disjunct, offset, inputs, bounded, atoms)
        excluded = np.asarray((lower > 0).any(axis=1))
        self.sums.count(excluded & ~gone)
        return excluded

    def _region(self, nodes: Branches, found: Narrowed, everything: Region) -> Region:
        """The region of every part, where that of all boxes is."""
        place, boxes = everything.inputs.placement, self.box[nodes.disjunct]
        ends = [tuple(place.put(end)[:, None, :] for end in side) for side in (found.lower, found.upper)]
        region = everything if everything.inputs.count == 1 else everything.take(place.put_indices(boxes))
        region = region.within(*ends)
        if self.propagation is None:
            return region
        return replace(region, inputs=Box.unpacked(place.put(found.packed)).spread())

    def _slopes(self, nodes: Branches, boxes: np.ndarray) -> list[np.ndarray]:
        """The inherited slopes of every layer, CROWN's at the root elsewhere."""
        slopes, first = [], 0
        for start, kept in zip(self.starts, self.columns, strict=True):
            layer = np.repeat(start[boxes][:, None, :].astype(np.float32), self.disjuncts.atoms, axis=1)
            layer[..., kept] = nodes.slopes[..., first : first + len(kept)]
            first += len(kept)
            slopes.append(layer)
        return slopes

    def _choice(self, nodes: Branches, narrowed: Narrowed, seen: Seen, atoms: np.ndarray) -> np.ndarray:
        """The neuron whose split promises most for the atoms of each part, 0 where none is open."""
        gains = self._gains(narrowed, seen, atoms)
        if self.propagation is not None:
            gains = joint_scores(gains, self.propagation.scores(nodes.disjunct, narrowed))
        parts = np.arange(len(atoms))
        top, choice = np.zeros(len(atoms)), np.zeros(len(atoms), dtype=np.int32)
        for k, score in enumerate(gains):
            if score is None:
                continue
            here = score.argmax(axis=1)
            better = score[parts, here] > top
            top = np.where(better, score[parts, here], top)
            choice = np.where(better, 1 + self.signs.first[k] + here, choice).astype(np.int32)
        return choice

    def _gains(self, narrowed: Narrowed, seen: Seen, atoms: np.ndarray) -> list[np.ndarray | None]:
        """What a split of every neuron gains for the best atom, or for all that are near to it where they are tied.

        Shapes: [parts, n_k]; None for layers that are not split.
        """
        parts = np.arange(len(atoms))
        chosen = [(atoms.argmax(axis=1), np.ones(len(atoms)))]
        if self.propagation is not None:
            chosen = [
                (np.full(len(atoms), j), weight) for j, weight in enumerate(atom_weights(atoms).T) if weight.any()
            ]
        gains: list[np.ndarray | None] = []
        for k, (low, high, hull) in enumerate(zip(narrowed.lower, narrowed.upper, self.hulls, strict=True)):
            coefficient, pre = seen.post[k], seen.pre[k]
            if coefficient is None or (hull is not None and not self.halves):
                gains.append(None)
                continue
            total = np.zeros(low.shape)
            # Neurons that are stable everywhere, most of many a layer, gain nothing.
            some = self.columns[k] if hull is None else slice(None)
            for atom, weight in chosen:
                there = coefficient[parts, atom][:, some], pre[parts, atom if pre.shape[1] > 1 else 0][:, some]
                own = low[:, some], high[:, some], *there
                score = neuron_scores(*own) if hull is None else range_scores(hull, *own)
                total[:, some] += weight[:, None] * to_numpy(score)
            gains.append(total)
        return self.shared.moved(gains, narrowed.lower, narrowed.upper)

    def _reached(self, points: Array) -> list[Array]:
        """The inputs of all activations at inputs [..., n], for parts that nothing has climbed."""
        values = self.network.evaluate(points)
        return [values[source] for source in self.network.sources]
