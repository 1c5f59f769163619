"""What is known of a network's slopes over a set of inputs: ranges of neurons, slopes of activations, Jacobians."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.bounds.interval import Forward
from admm_verify.bounds.preactivation import preactivation_bounds
from admm_verify.lipschitz.jacobians import (
    MOST_OUTPUTS,
    Slopes,
    enclosed_jacobian,
    jacobian_bound,
    slopes_within,
)
from admm_verify.lipschitz.norms import length_of
from admm_verify.lipschitz.slope_system import SlopeSystem, slope_system
from admm_verify.network.gain import gain
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap
from admm_verify.run import Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.norm_names import NormName

Ends = tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]
"""The least and the greatest of what every activation takes, [n] each."""


@dataclass(frozen=True, eq=False)
class SteepRegion:
    """A network over one set of inputs [1, n], or over a part of it: between which numbers neurons and slopes lie.

    free: the inputs that differ between points of the set; others change nothing. Shapes: free [n].
    """

    graph: Network
    inputs: WalkableSet
    ranges: Ends
    slopes: tuple[Slopes, ...]
    free: np.ndarray

    @classmethod
    def of(cls, graph: Network, inputs: WalkableSet, method: str, run: Run) -> "SteepRegion":
        """The region of a set, with pre-activation bounds by one of their methods."""
        known = preactivation_bounds(graph, inputs, method, run=run)
        ends = tuple(tuple(to_numpy(end)[0] for end in side) for side in (known.lower, known.upper))
        free = to_numpy(inputs.width)[0] > 0
        return cls(graph, inputs, (ends[0], ends[1]), slopes_within(graph, *ends), free)

    @property
    def open(self) -> tuple[np.ndarray, ...]:
        """Which neurons have more than one slope."""
        return tuple(least < most for least, most in self.slopes)

    @property
    def open_count(self) -> int:
        return sum(int(np.sum(open)) for open in self.open)

    @cached_property
    def jacobian(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Centre and radius of all Jacobians, [outputs, n]; None for too many outputs.

        Error: rounded outward.
        """
        if self.graph.output_size > MOST_OUTPUTS:
            return None
        centre, radius = enclosed_jacobian(self.graph, self.slopes, np.eye(self.graph.output_size))
        return centre * self.free, np.where(self.free, radius, 0.0)

    @cached_property
    def system(self) -> SlopeSystem | None:
        """The whole network as one system of slopes; None where it is too large, or slopes have no bound."""
        found = slope_system(self.graph, 0, self.graph.output, self.slopes)
        return None if found is None else freed(found, self.free)


def freed(system: SlopeSystem, free: np.ndarray) -> SlopeSystem:
    """A system that inputs other than the free ones do not change."""
    if free.all():
        return system
    inner, outer = system.inner.copy(), system.outer.copy()
    for part in (inner, outer):
        part[:, : system.inputs] *= free
    return replace(system, inner=inner, outer=outer)


def enclosed_norm(centre: np.ndarray, radius: np.ndarray, norm: NormName) -> float:
    """The largest |J|_norm of all matrices of a centre and a radius, at most.

    Error: rounded outward.
    """
    if not (np.isfinite(centre).all() and np.isfinite(radius).all()):
        return np.inf
    bound = jacobian_bound((np.abs(centre) + radius) * (1.0 + gamma(4)), norm)
    if norm != "l2":
        return bound
    return min(bound, (gain(DenseMap(centre)) + jacobian_bound(radius, norm)) * (1.0 + gamma(4)))


def enclosed_lengths(centre: np.ndarray, radius: np.ndarray, norm: NormName) -> np.ndarray:
    """The largest lengths of the rows of such matrices. Error: rounded outward."""
    sizes = (np.abs(centre) + radius) * (1.0 + gamma(4))
    found = length_of(sizes, norm) * (1.0 + 4.0 * gamma(sizes.shape[-1] + 8))
    return np.where(np.isfinite(found), found, np.inf)


def slopes_at(graph: Network, points: np.ndarray) -> list[tuple[Slopes, ...]]:
    """The slopes of all activations at points [points, n], enclosed, for each of them."""
    forward = Forward(graph, Box.point(points)).run()
    shape = [(len(points), graph.nodes[i].size) for i in graph.sources]
    lower, upper = (
        [np.broadcast_to(to_numpy(side[i]), own) for i, own in zip(graph.sources, shape, strict=True)]
        for side in (forward.lower, forward.upper)
    )
    found = slopes_within(graph, lower, upper)
    return [tuple((least[k], most[k]) for least, most in found) for k in range(len(points))]
