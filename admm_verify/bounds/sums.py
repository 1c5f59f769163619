"""The sums over neurons in a certified bound, fused where there are kernels for them.

However a sum of n terms is ordered, and whether its products are rounded before they are added or with them, it is off
by at most gamma_n times the sum of its terms' sizes, which the region charges: kernels may sum in any order.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Protocol

import numpy as np

from admm_verify.arrays import Array, Placement, inner, namespace, take_rows
from admm_verify.backends.choice import kernels_for
from admm_verify.backends.compiled import CompiledVerbs
from admm_verify.relaxations.bilinear import MiddlePlanes
from admm_verify.relaxations.contract import Hull
from admm_verify.relaxations.difference_planes import ChosenPlanes, FixedPlanes
from admm_verify.relaxations.lines import FixedLines, KinkLines
from admm_verify.relaxations.triangle import Triangle
from admm_verify.sets.box import Box
from admm_verify.sets.contract import InputSet

Sparing = KinkLines | FixedLines | MiddlePlanes | FixedPlanes | ChosenPlanes
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
    """Sums over the neurons of a layer, for coefficients [*lead, n] of a sweep over a region -> lead.

    Kernels take coefficients of all rows, [rows, n], and the set of each, [rows].
    """

    region: Summed
    lead: tuple[int, ...]

    def least(self, coefficient: Array) -> tuple[Array, Array]:
        """`InputSet.minimum` of a functional."""
        inputs, kernels = self.region.inputs, self._kernels(coefficient)
        if kernels is not None and isinstance(inputs, Box):
            centre, radius, reach = _alike(*inputs.middle, inputs.reach)
            value, size = self._pair(kernels.least(flat(coefficient), centre, radius, reach, self._owner))
            return value, 2.0 * size
        return (inputs if self.region.owner is None else inputs.take(self.region.owner)).minimum(coefficient)

    def layer(self, k: int, post: Array, pre: Array, weight: Array, kink: Sparing | None) -> tuple[Array, Array]:
        """A lower bound of post'q - pre'p over layer k's relaxation as computed, and the sum of |pre| weight."""
        region, kernels = self.region, self._kernels(post, pre)
        if kernels is not None and isinstance(kink, KinkLines) and not self._multiplied(kink.upper_intercept):
            intercept, charged = _alike(kink.upper_intercept, weight)
            return self._pair(kernels.charge(flat(post), flat(pre), intercept, charged, self._owner))
        if kernels is not None and kink is None and type(region.relaxations[k]) is Triangle:
            lower, upper, charged = _alike(region.lower[k], region.upper[k], weight)
            return self._pair(kernels.support(flat(post), flat(pre), lower, upper, charged, self._owner))
        if kink is not None:
            own = kink.take(region.owner) if isinstance(kink, KinkLines) and region.owner is not None else kink
            value = own.support(post)
        else:
            lower, upper = self.of_rows(region.lower[k]), self.of_rows(region.upper[k])
            part = region.relaxations[k].support(lower, upper, post, pre)
            value = namespace(part).sum(part, axis=-1)
        return value, self.size(pre, weight)

    def size(self, coefficient: Array, weight: Array) -> Array:
        """sum of |coefficient| weight."""
        return inner(namespace(coefficient).abs(coefficient), self.of_rows(weight))

    def of_rows(self, array: Array) -> Array:
        """What is known of sets, for every row."""
        return array if self.region.owner is None else take_rows(array, self.region.owner)

    def _kernels(self, *arrays: Array) -> CompiledVerbs | None:
        """Kernels for coefficients of all rows, None where there are none, or other coefficients."""
        first = arrays[0]
        found = kernels_for(Placement.of(first), prod(first.shape))
        if found is None or any(tuple(array.shape[:-1]) != self.lead for array in arrays):
            return None
        return found if self.region.owner is not None or self._sets else None

    def _multiplied(self, shared: Array) -> bool:
        """Whether sums are products with one vector on the host, which take BLAS less time than a kernel."""
        return isinstance(shared, np.ndarray) and self.region.owner is None and self._sets == 1

    @cached_property
    def _sets(self) -> int:
        """How many sets neighbouring functionals share, as many each; 0 where leading axes mean something else."""
        sets = np.broadcast_shapes(self.region.inputs.lead, *(tuple(low.shape[:-1]) for low in self.region.lower))
        fine = len(sets) == len(self.lead) and sets[:1] in ((1,), self.lead[:1]) and all(n == 1 for n in sets[1:])
        return sets[0] if fine else 0

    @cached_property
    def _owner(self) -> Array | None:
        """Whose bounds each row takes; None where there is one set."""
        if self.region.owner is not None or self._sets == 1:
            return self.region.owner
        owner = np.repeat(np.arange(self._sets), prod(self.lead) // self._sets)
        return self.region.inputs.placement.put_indices(owner)

    def _pair(self, found: tuple[Array, Array]) -> tuple[Array, Array]:
        xp = namespace(found[0])
        return xp.reshape(found[0], self.lead), xp.reshape(found[1], self.lead)


def _alike(*arrays: Array) -> list[Array]:
    """What is known of sets, [sets, n] for as many sets each."""
    found = [flat(array) for array in arrays]
    most = max(array.shape[0] for array in found)
    return [a if a.shape[0] == most else namespace(a).broadcast_to(a, (most, a.shape[-1])) for a in found]


def flat(array: Array) -> Array:
    """[..., n] as [rows, n], without a copy where the array has none of its own order."""
    return array if len(array.shape) == 2 else namespace(array).reshape(array, (-1, array.shape[-1]))
