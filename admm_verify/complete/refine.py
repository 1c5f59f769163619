"""Output-aware refinement: rounds of conditional bounds that exclude disjuncts at the root, or make the search
shorter.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from admm_verify.arrays import Placement, to_numpy
from admm_verify.bounds.conditional import ConditionalBounds, conditional_bounds
from admm_verify.bounds.planes import Condition
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Bounder
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.tables import join, take
from admm_verify.network.graph import Affine, Network
from admm_verify.network.maps import DenseMap
from admm_verify.relaxations.registry import network_lines
from admm_verify.run import Run, Stopped
from admm_verify.settings import SearchSettings


@dataclass(frozen=True, eq=False)
class Refined:
    """What is left of disjuncts: those not excluded, and bounds that hold wherever one of them does."""

    disjuncts: Disjuncts
    bounds: ConditionalBounds


def refined(
    network: Network,
    disjuncts: Disjuncts,
    bounds: PreactivationBounds,
    settings: SearchSettings,
    run: Run,
    home: Placement | None = None,
) -> Refined | None:
    """Disjuncts after some rounds of refinement; None where it is not worth its time, or shows nothing.

    A disjunct is excluded where a certified bound of an atom says so, or where certified conditional bounds contradict
    each other. Once stopped, or where memory runs out, what is known so far counts.

    home: where the work is done, in float64; None for NumPy.
    Shapes: bounds [disjuncts, n_k].
    """
    how = settings.refinement
    if not how.rounds or len(disjuncts) > how.most_disjuncts or not disjuncts.sound.all() or not network.activations:
        return None
    return _Rounds(network, settings, run, home or Placement.numpy()).run(disjuncts, bounds)


@dataclass(frozen=True, eq=False)
class _Reached:
    """Bounds of disjuncts' atoms under conditional bounds, and what they come from.

    losses[k]: what the relaxation of each neuron takes from the bounds.
    Shapes: lower [disjuncts, atoms]; multipliers[k] [disjuncts, atoms, n_k]; losses[k] [disjuncts, n_k].
    """

    lower: np.ndarray
    multipliers: tuple[np.ndarray, ...]
    losses: list[np.ndarray]


class _Rounds:
    """Rounds of one network's disjuncts."""

    def __init__(self, network: Network, settings: SearchSettings, run: Run, home: Placement) -> None:
        self.settings, self.home = settings, home
        self.bounder = Bounder(network, home, settings.ascent, run)
        self.network, self.how = self.bounder.network, settings.refinement
        # Two activations of one node share its bounds: the first stands for both.
        self.first = [self.network.sources.index(source) for source in self.network.sources]
        self.costs = _costs(self.network)

    def run(self, disjuncts: Disjuncts, bounds: PreactivationBounds) -> Refined | None:
        """What is left; None where nothing has been gained."""
        lower, upper = (tuple(map(to_numpy, side)) for side in (bounds.lower, bounds.upper))
        left = Refined(disjuncts, ConditionalBounds(lower, upper, np.zeros(len(disjuncts), dtype=bool)))
        gained = False
        try:
            # What has climbed already only needs a look.
            iterations = 0 if disjuncts.multipliers else self.how.root_iterations
            left, reached = _open(left, self._reached(left, iterations))
            for _ in range(self.how.rounds):
                if not len(left.disjuncts):
                    break
                before, worst = len(left.disjuncts), _worst(reached)
                left = Refined(left.disjuncts, self._round(left, reached))
                left, reached = _open(left, self._reached(left, self.how.row_iterations))
                # NaN, which comes of bounds that are no bounds, is no gain.
                better = len(left.disjuncts) < before or _worst(reached) - worst >= self.how.least_gain * abs(worst)
                gained |= better
                if not better:
                    break
        except (Stopped, MemoryError):
            # What is known holds.
            pass
        return left if gained or len(left.disjuncts) < len(disjuncts) else None

    def _reached(self, left: Refined, iterations: int) -> _Reached:
        disjuncts, work = left.disjuncts, partial(self._reached_block, left, iterations)
        return join(self.bounder.in_blocks(len(disjuncts), disjuncts.atoms, self.settings, work))

    def _reached_block(self, left: Refined, iterations: int, first: int, last: int) -> _Reached:
        disjuncts, bounds, put = left.disjuncts, left.bounds, self.home.put
        ends = [tuple(put(end[first:last]) for end in side) for side in (bounds.lower, bounds.upper)]
        inputs = disjuncts.inputs.at(slice(first, last)).put(self.home)
        region = spread_region(self.network, inputs, *ends, caution=self.settings.caution)
        rows = self.bounder.rows(put(disjuncts.objective[first:last]), put(disjuncts.offset[first:last]))
        given = [layer[first:last] for layer in disjuncts.multipliers]
        start = self.bounder.slopes_of(region, rows, given) if given else None
        found = self.bounder.bound(region, rows, start, iterations)
        lines = network_lines(self.network, region.lower, region.upper)
        # What the relaxation of each neuron takes from the bounds of a disjunct's atoms, at most.
        losses = [
            np.zeros((low.shape[0], low.shape[-1])) if post is None else to_numpy(line.loss(post)).max(axis=1)
            for line, post, low in zip(lines, found.sweep.post, region.lower, strict=True)
        ]
        return _Reached(to_numpy(found.lower), tuple(map(to_numpy, found.multipliers)), losses)

    def _round(self, left: Refined, reached: _Reached) -> ConditionalBounds:
        """Bounds of the neurons that matter most, on condition that the disjuncts hold."""
        wanted = self._wanted(reached, left.disjuncts.atoms)
        rows = 2 * max(neurons.shape[1] for neurons in wanted)
        if not rows:
            return left.bounds
        work = partial(self._round_block, left, wanted)
        return join(self.bounder.in_blocks(len(left.disjuncts), rows, self.settings, work))

    def _round_block(self, left: Refined, wanted: list[np.ndarray], first: int, last: int) -> ConditionalBounds:
        disjuncts, own = left.disjuncts, np.arange(first, last)
        return conditional_bounds(
            self.network,
            disjuncts.inputs.at(own).put(self.home),
            take(left.bounds, own),
            Condition(disjuncts.objective[own], disjuncts.offset[own], take(disjuncts.multipliers, own)),
            [neurons[own] for neurons in wanted],
            self.how,
            self.bounder.run,
        )

    def _wanted(self, reached: _Reached, atoms: int) -> list[np.ndarray]:
        """Neurons of every activation for each disjunct, [disjuncts, m_k], those that cost the disjunct's bound most
        per work.

        Passes through the network are counted: of a node of the search one back and forth each iteration and two more.
        """
        how, weights = self.how, self.network.weight_count
        budget = how.nodes * (2 * self.settings.iterations + 2) - 2 * how.row_iterations
        each = 2.0 * (2 * how.iterations + 3)
        losses = [np.zeros_like(loss) for loss in reached.losses]
        for k, first in enumerate(self.first):
            losses[first] = losses[first] + reached.losses[k]
        cost = np.repeat(self.costs, [loss.shape[1] for loss in losses])
        rate = np.where(cost < np.inf, np.concatenate(losses, axis=1) / cost, 0.0)
        order = np.argsort(-rate, axis=1, kind="stable")
        spent = np.cumsum(np.where(np.take_along_axis(rate, order, axis=1) > 0, each * cost[order], np.inf), axis=1)
        taken = np.zeros(rate.shape, dtype=bool)
        np.put_along_axis(taken, order, spent <= budget * weights * atoms, axis=1)
        edges = np.cumsum([loss.shape[1] for loss in losses])[:-1]
        wanted = []
        for mask in np.split(taken, edges, axis=1):
            # Disjuncts that take fewer are filled up with others.
            wanted.append(np.argsort(~mask, axis=1, kind="stable")[:, : int(mask.sum(axis=1).max(initial=0))])
        return wanted


def _costs(network: Network) -> list[float]:
    """Multiplications of a pass for a neuron of each affine node, infinite where that is not worth it.

    What a convolution sees of the input is too little for a plane through all of it to cut.
    """
    counts = [node.multiplications for node in network.affine.values()]
    passes = dict(zip(network.affine, np.cumsum(counts), strict=True))

    def narrow(node: Affine) -> bool:
        return all(term.source == 0 and not isinstance(term.map, DenseMap) for term in node.terms)

    return [np.inf if narrow(network.affine[i]) else float(passes[i]) + 1.0 for i in network.sources]


def _worst(reached: _Reached) -> float:
    return float(reached.lower.max(axis=1).min(initial=np.inf))


def _open(left: Refined, reached: _Reached) -> tuple[Refined, _Reached]:
    """Without the disjuncts that are excluded; the others keep their multipliers."""
    out = left.bounds.empty | left.disjuncts.excluded(np.arange(len(left.disjuncts)), reached.lower).any(axis=1)
    kept = np.flatnonzero(~out)
    disjuncts = replace(left.disjuncts, multipliers=reached.multipliers).take(kept)
    return Refined(disjuncts, take(left.bounds, kept)), take(reached, kept)
