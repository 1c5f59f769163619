"""The sums over neurons in a certified bound, fused where there are kernels for them.

However a sum of n terms is ordered, and whether its products are rounded before they are added or with them, it is off
by at most gamma_n times the sum of its terms' sizes, which the region charges: kernels may sum in any order.
"""

from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from admm_verify.arrays import Array, inner, namespace, take_rows
from admm_verify.backends.choice import kernels_for
from admm_verify.backends.compiled import CompiledVerbs
from admm_verify.bounds.backward import Backward
from admm_verify.relaxations.bilinear import MiddlePlanes
from admm_verify.relaxations.contract import Hull
from admm_verify.relaxations.lines import FixedLines, KinkLines
from admm_verify.relaxations.triangle import Triangle
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet

Sparing = KinkLines | FixedLines | MiddlePlanes
"""Lines whose multipliers have an intercept that spares the relaxation's vertices."""


class Summed(Protocol):
    """What is summed over: input sets and bounds, with leading axes [sets, 1], [sets] or [1]."""

    @property
    def inputs(self) -> InputSet: ...

    @property
    def relaxations(self) -> tuple[Hull, ...]: ...

    @property
    def lower(self) -> tuple[Array, ...]: ...

    @property
    def upper(self) -> tuple[Array, ...]: ...

    @property
    def owner(self) -> Array | None: ...


@dataclass(frozen=True, eq=False)
class CertifiedSums:
    """Sums over the neurons of a layer, [...], for coefficients [..., n] of a sweep over a region.

    kernels: None where there are none; they take coefficients of all rows, [rows, n], and the set of each, [rows].
    """

    region: Summed
    lead: tuple[int, ...]
    kernels: CompiledVerbs | None
    owner: Array | None

    @classmethod
    def of(cls, region: Summed, sweep: Backward) -> "CertifiedSums":
        """For a sweep whose coefficients of the input have all leading axes."""
        lead, placement = tuple(sweep.input.shape[:-1]), region.inputs.placement
        kernels, owner = kernels_for(placement), region.owner
        if kernels is not None and owner is None:
            sets = np.broadcast_shapes(region.inputs.lead, *(tuple(low.shape[:-1]) for low in region.lower))
            # Functionals of one set are neighbours, and there are as many of each.
            if len(sets) != len(lead) or sets[:1] not in ((1,), lead[:1]) or any(size > 1 for size in sets[1:]):
                return cls(region, lead, None, None)
            owner = placement.put_indices(np.repeat(np.arange(sets[0]), prod(lead) // sets[0]))
        return cls(region, lead, kernels, owner)

    def least(self, coefficient: Array) -> tuple[Array, Array]:
        """`InputSet.minimum` of a functional."""
        inputs = self.region.inputs
        if self.kernels is not None and isinstance(inputs, Box):
            centre, radius, reach = self._bounds(*inputs.middle, inputs.reach)
            value, size = self._pair(self.kernels.least(flat(coefficient), centre, radius, reach, self._box))
            return value, 2.0 * size
        return (inputs if self.region.owner is None else inputs.take(self.region.owner)).minimum(coefficient)

    def layer(self, k: int, post: Array, pre: Array, weight: Array, kink: Sparing | None) -> tuple[Array, Array]:
        """A lower bound of post'q - pre'p over layer k's relaxation as computed, and the sum of |pre| weight."""
        region = self.region
        fused = self.kernels is not None and tuple(post.shape[:-1]) == tuple(pre.shape[:-1]) == self.lead
        if fused and self.kernels is not None and isinstance(kink, KinkLines):
            intercept, charged = self._bounds(kink.upper_intercept, weight)
            return self._pair(self.kernels.charge(flat(post), flat(pre), intercept, charged, self._box))
        if fused and self.kernels is not None and kink is None and type(region.relaxations[k]) is Triangle:
            lower, upper, charged = self._bounds(region.lower[k], region.upper[k], weight)
            return self._pair(self.kernels.support(flat(post), flat(pre), lower, upper, charged, self._box))
        if kink is not None:
            own = kink.take(region.owner) if isinstance(kink, KinkLines) and region.owner is not None else kink
            value = own.support(post)
        else:
            part = region.relaxations[k].support(
                self.of_rows(region.lower[k]), self.of_rows(region.upper[k]), post, pre
            )
            value = namespace(part).sum(part, axis=-1)
        return value, self.size(pre, weight)

    def size(self, coefficient: Array, weight: Array) -> Array:
        """sum of |coefficient| weight."""
        return inner(namespace(coefficient).abs(coefficient), self.of_rows(weight))

    def of_rows(self, array: Array) -> Array:
        """What is known of sets, for every row."""
        return array if self.region.owner is None else take_rows(array, self.region.owner)

    @property
    def _box(self) -> Array:
        assert self.owner is not None, "kernels are told whose bounds they take"
        return self.owner

    def _bounds(self, *arrays: Array) -> list[Array]:
        """As many sets of each."""
        found = [flat(array) for array in arrays]
        most = max(array.shape[0] for array in found)
        return [namespace(array).broadcast_to(array, (most, array.shape[-1])) for array in found]

    def _pair(self, found: tuple[Array, Array]) -> tuple[Array, Array]:
        return self._shaped(found[0]), self._shaped(found[1])

    def _shaped(self, sums: Array) -> Array:
        return namespace(sums).reshape(sums, self.lead)


def flat(array: Array) -> Array:
    """[..., n] as [rows, n], without a copy where the array has none of its own order."""
    return namespace(array).reshape(array, (-1, array.shape[-1]))
