"""Bounds of weighted sums of a disjunct's atoms: where all of them hold, no such sum is positive."""

import numpy as np

from admm_verify.arrays import SMALLEST, gamma, to_numpy
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.region import Region
from admm_verify.bounds.relaxed import Bounded, Bounder
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.sets.box import Box
from admm_verify.sets.contraction import sum_weights

_TRIED, _WORTH = 256, 0.05
"""Parts after which sums are given up where they alone have excluded a smaller share of them."""


class AtomSums:
    """Two sums per part, relaxed anew: what atoms have against one another cancels before any relaxation sees it."""

    def __init__(self, bounder: Bounder, disjuncts: Disjuncts, iterations: int) -> None:
        self.bounder, self.disjuncts, self.iterations = bounder, disjuncts, iterations
        self._tried = self._excluded = 0

    @property
    def pay(self) -> bool:
        """Whether there is anything to add up, and sums have excluded enough parts so far."""
        some = self.disjuncts.atoms > 1
        return some and (self._tried < _TRIED or self._excluded >= _WORTH * self._tried)

    def bounded(
        self, region: Region, disjunct: np.ndarray, offset: np.ndarray, box: Box, found: Bounded, atoms: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Certified lower bounds of two sums over parts, and slopes of planes that attain them over the region.

        One has equal weights, with which atoms that differ in sign only cancel, one those that serve their planes best.
        Shapes: region with leading axes [parts, 1]; disjunct [parts]; offset, atoms (the bounds) [parts, atoms]; box
        [parts, n] around the parts -> [parts, 2], [parts, 2, n]. An atom without a bound has no weight.
        Error: rounded downward.
        """
        slope, shift = (to_numpy(side) for side in region.plane(found.sweep))
        known = np.isfinite(atoms) & np.isfinite(offset)
        equal = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
        weight = np.stack([equal, sum_weights(box, slope, np.where(known, shift, -np.inf))], axis=1)
        own, constant = self.disjuncts.objective[disjunct], np.where(known, offset, 0.0)
        reach = to_numpy(region.reach_at(self.bounder.network.output))
        size = (np.abs(own) * reach).sum(axis=-1) + np.abs(constant)
        roundings = own.shape[1] + own.shape[2] + 16
        lost = 16.0 * SMALLEST * roundings * (1.0 + reach.sum(axis=-1))
        error = 4.0 * gamma(roundings) * (weight @ size[..., None])[..., 0] + lost
        put = self.bounder.home.put
        start = {self.bounder.network.output: put(weight @ own)}
        rows = Functionals(start, put((weight @ constant[..., None])[..., 0]), put(error))
        summed = self.bounder.bound(region, rows, None, self.iterations)
        lower = np.where(known.any(axis=1, keepdims=True), to_numpy(summed.lower), -np.inf)
        return lower, to_numpy(summed.sweep.nodes[0])

    def count(self, excluded: np.ndarray) -> None:
        """Note what sums alone have excluded, [parts]."""
        self._tried += len(excluded)
        self._excluded += int(np.count_nonzero(excluded))
