"""What an observation may be mistaken for: balls around it, cut with the range that observations have."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from admm_verify.arrays import Placement
from admm_verify.errors import InputError
from admm_verify.options import brief
from admm_verify.robustness.neighbourhoods import Neighbourhoods
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.norm_names import NormName


@dataclass(frozen=True, eq=False)
class Perturbations:
    """Noise of some radii: |(x' - x) / r|_p <= 1, and x' between the ends of the range.

    reach: how far every feature may change at each radius. floor, ceiling: infinite where there is no end.
    Shapes: reach [radii, inputs]; floor, ceiling [inputs]; all in float64.
    """

    norm: NormName
    reach: np.ndarray
    floor: np.ndarray
    ceiling: np.ndarray

    def near(self, observations: np.ndarray, rows: np.ndarray) -> "Near":
        """What observations [batch, inputs] may be mistaken for at the radii of the given numbers [batch].

        Raises: InputError for an observation outside the range.
        """
        if not ((observations >= self.floor) & (observations <= self.ceiling)).all():
            outside = (observations < self.floor) | (observations > self.ceiling)
            row, feature = (int(place) for place in np.argwhere(outside)[0])
            raise InputError(
                f"Feature {feature} of an observation is {brief(float(observations[row, feature]))}, outside the range "
                f"from {self.floor[feature]:g} to {self.ceiling[feature]:g} that was given. Give a range that all "
                "observations lie in, or none."
            )
        # Radii are told apart by their numbers, as features have their own.
        numbers = np.arange(len(self.reach), dtype=np.float64)
        balls = Neighbourhoods.of(self.norm, observations, numbers, self.reach, self.floor, self.ceiling)
        return Near(balls, numbers[rows])


@dataclass(frozen=True, eq=False)
class Near:
    """The balls around some observations, one radius each."""

    balls: Neighbourhoods
    rows: np.ndarray

    @property
    def observations(self) -> np.ndarray:
        """The observations themselves, [batch, inputs]."""
        return self.balls.images

    @cached_property
    def sets(self) -> WalkableSet:
        """The balls as numbers of the observations' type."""
        sets = self.balls.around(self._all, self.rows)
        return sets.inward(Placement.numpy(self.observations.dtype))

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Points [batch, inputs] moved to near ones that lie in the balls for certain."""
        return self.balls.inside(self._all, self.rows, points)

    def take(self, rows: np.ndarray) -> "Near":
        """Some of the balls, also several times."""
        numbers = self.balls.norm, self.balls.images[rows], self.balls.radii, self.balls.reach
        return Near(Neighbourhoods.of(*numbers, self.balls.floor, self.balls.ceiling), self.rows[rows])

    @property
    def _all(self) -> np.ndarray:
        return np.arange(len(self.balls.images))
