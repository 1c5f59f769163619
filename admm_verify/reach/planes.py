"""Linear bounds of a network whose input is a zonotope, cell by cell in one batch.

CROWN's backward sweep gives f(x) >= slope'x + shift wherever the bounds of the neurons below hold. Over the zonotope
the least value of a plane is exact; over the box around it all correlation would be lost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from admm_verify.arrays import Array
from admm_verify.bounds.climb import Climb
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.interval import Forward
from admm_verify.bounds.relaxed import Relaxed, Twin
from admm_verify.network.graph import Affine, Network
from admm_verify.relaxations.registry import open_to
from admm_verify.sets.contract import InputSet, Numbers, Vectors
from admm_verify.settings import AscentSettings


@dataclass(frozen=True, eq=False)
class InPairs(InputSet):
    """Sets where the rows j and j + rows / 2 have one minimiser, that of the sum of their functionals.

    A climb over them is one on the least value of the sum of two planes below f and below -f, which is minus the
    largest distance between them.
    """

    inputs: InputSet

    @property
    def numbers(self) -> tuple[Array, ...]:
        return self.inputs.numbers

    @classmethod
    def of(cls, *numbers: Array) -> Self:
        """Not to be had: numbers do not tell the kind of the sets."""
        raise TypeError("Rows in pairs are made of sets.")

    def mapped(self, change: Callable[[Array], Array]) -> "InPairs":
        return InPairs(self.inputs.mapped(change))

    @property
    def range(self) -> tuple[Any, Any]:
        return self.inputs.range

    @property
    def reach(self) -> Vectors:
        return self.inputs.reach

    def seen(self, crop: Callable[[Array], Array]) -> InputSet:
        return self.inputs.seen(crop)

    def covers(self, other: InputSet) -> bool:
        return self.inputs.covers(other)

    def minimum(self, coefficient: Vectors) -> tuple[Numbers, Numbers]:
        return self.inputs.minimum(coefficient)

    def minimiser(self, coefficient: Vectors) -> Vectors:
        half = coefficient.shape[-2] // 2
        x = self.inputs.minimiser(coefficient[..., :half, :] + coefficient[..., half:, :])
        return np.concatenate([x, x], axis=-2)


def both_sides(relaxed: Relaxed, outputs: np.ndarray) -> Functionals:
    """Some outputs of a relaxed network and then their negatives, in every cell."""
    unit = np.eye(relaxed.network.output_size)[outputs]
    rows = np.broadcast_to(np.concatenate([unit, -unit]), (relaxed.inputs.count, 2 * len(unit), unit.shape[1]))
    return Functionals({relaxed.network.output: rows}, np.zeros(rows.shape[:2]))


def climbed(
    over: Relaxed | Twin,
    functionals: Functionals,
    slopes: Sequence[Array],
    settings: AscentSettings,
    iterations: int,
) -> Sequence[Array]:
    """The slopes after some steps of ascent in float64."""
    if not iterations or not slopes:
        return slopes
    # The steps move slopes of their own.
    own = [np.array(np.broadcast_to(slope, (*functionals.lead, slope.shape[-1]))) for slope in slopes]
    climb = Climb(over, functionals, own, settings, iterations)
    climb.run()
    return climb.slopes


def relaxed_over(network: Network, state: InputSet, iterations: int, settings: AscentSettings) -> Relaxed:
    """The network over zonotopes, with pre-activation bounds from planes after some steps of ascent.

    Shapes: state [cells, n]; the network in float64.
    """

    def refine(forward: Forward, i: int, node: Affine, low: Array, high: Array) -> tuple[Array, Array]:
        relaxed = Relaxed(forward.reduced.region(node))
        for steps in (0, iterations) if iterations and relaxed.lines else (0,):
            wanted = np.flatnonzero(np.any(open_to(forward.readers[i], low, high), axis=0))
            low, high = _cut(relaxed, (low, high), wanted, settings, steps)
        return low, high

    forward = Forward(network, state, refine).run(last=network.output - 1)
    return Relaxed(forward.reduced.region(network.affine[network.output]))


def _cut(
    relaxed: Relaxed, ends: tuple[Array, Array], wanted: np.ndarray, settings: AscentSettings, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals [cells, n] of the relaxed network's outputs, cut with the planes of those wanted."""
    low, high = map(np.array, ends)
    if len(wanted):
        functionals = both_sides(relaxed, wanted)
        slopes = climbed(relaxed, functionals, [line.start for line in relaxed.lines], settings, iterations)
        least, _ = relaxed.certify(functionals, slopes)
        low[:, wanted] = np.fmax(low[:, wanted], least[:, : len(wanted)])
        high[:, wanted] = np.fmin(high[:, wanted], -least[:, len(wanted) :])
    return low, high
