"""The inputs near images that are looked at: sets around them, and inputs that lie inside for certain."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

import numpy as np

from admm_verify.arrays import Placement, to_numpy
from admm_verify.sets.ball import Ball
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_cut import ExactCut
from admm_verify.sets.norm_names import NormName


@dataclass(frozen=True, eq=False)
class Neighbourhoods(ABC):
    """The inputs x near every image c at every radius: |(x - c) / r|_p <= 1 within [floor, ceiling].

    p is that of the norm. Pixels with r = 0 do not change. radii: one number for each, the largest over the pixels;
    reach: that of every pixel, or one for all of them. share: what r is multiplied by for each image, None for 1; the
    product in float64 counts.
    Shapes: images [images, inputs] in the network's element type, inside the range; radii [radii]; reach [radii, 1 or
    inputs]; floor, ceiling [inputs] in float64, infinite where there is none; share [images].
    """

    norm: NormName
    images: np.ndarray
    radii: np.ndarray
    reach: np.ndarray
    floor: np.ndarray
    ceiling: np.ndarray
    share: np.ndarray | None = None

    @property
    def is_round(self) -> bool:
        """Whether these are no boxes, whose corners relaxations find; inputs of others are looked for by an attack."""
        return self.norm != "linf"

    @classmethod
    def of(cls, norm: NormName, *numbers: np.ndarray) -> "Neighbourhoods":
        """Those of a norm."""
        return (BoxNeighbourhoods if norm == "linf" else BallNeighbourhoods)(norm, *numbers)

    @abstractmethod
    def around(self, numbers: np.ndarray, radii: np.ndarray) -> WalkableSet:
        """Sets that hold those of the given images, one radius each, [len(numbers), inputs]."""

    @abstractmethod
    def inside(self, numbers: np.ndarray, radii: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Points moved to near numbers of the network's element type that are inside for certain.

        Shapes: numbers, radii [m]; points [m, inputs] -> [m, inputs].
        """

    @abstractmethod
    def exact(self, number: int, radius: float) -> ExactBox:
        """A box that holds what is near an image, in real numbers: no more where that is a box."""

    @abstractmethod
    def cut(self, number: int, radius: float) -> ExactCut | None:
        """What is near an image, of that box; None for all of it."""

    @abstractmethod
    def holds(self, number: int, radius: float, point: np.ndarray) -> bool:
        """Whether an input [inputs] of the element type is near an image, in real numbers."""

    def reaches(self, numbers: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """How far each pixel of some images may change at one radius each, [m, 1 or inputs]."""
        reach = self.reach[np.argmax(radii[:, None] == self.radii, axis=1)]
        return reach if self.share is None else reach * self.share[numbers, None]

    def shared(self, numbers: np.ndarray, share: np.ndarray) -> Self:
        """Those of some images, with so much of every radius."""
        return replace(self, images=self.images[numbers], share=share)

    def centres(self, numbers: np.ndarray) -> np.ndarray:
        """Some images in float64, which holds them exactly."""
        return self.images[numbers].astype(np.float64)

    def set_at(self, number: int, radius: float) -> WalkableSet:
        """The set `around` one image at one radius."""
        return self.around(np.array([number]), np.array([radius]))


class BoxNeighbourhoods(Neighbourhoods):
    """Neighbourhoods in the largest norm: boxes, rounded outward where sets have to hold them."""

    def around(self, numbers: np.ndarray, radii: np.ndarray) -> Box:
        return Box.around(self.centres(numbers), self.reaches(numbers, radii), (self.floor, self.ceiling))

    def inside(self, numbers: np.ndarray, radii: np.ndarray, points: np.ndarray) -> np.ndarray:
        placement = Placement.numpy(self.images.dtype)
        box = Box.inside(self.centres(numbers), self.reaches(numbers, radii), (self.floor, self.ceiling)).inward(
            placement
        )
        with np.errstate(over="ignore"):
            return to_numpy(box.project(points.astype(placement.dtype)))

    def exact(self, number: int, radius: float) -> ExactBox:
        widths = np.broadcast_to(self.reaches(np.array([number]), np.array([radius])), (1, self.images.shape[1]))[0]
        given = zip(self.images[number].tolist(), widths.tolist(), strict=True)
        pairs = [(Fraction(value), Fraction(width)) for value, width in given]
        lower = [value - width for value, width in pairs]
        upper = [value + width for value, width in pairs]
        for i in np.flatnonzero(np.isfinite(self.floor)):
            lower[i] = max(lower[i], Fraction(float(self.floor[i])))
        for i in np.flatnonzero(np.isfinite(self.ceiling)):
            upper[i] = min(upper[i], Fraction(float(self.ceiling[i])))
        return ExactBox(tuple(lower), tuple(upper))

    def cut(self, number: int, radius: float) -> None:
        return None

    def holds(self, number: int, radius: float, point: np.ndarray) -> bool:
        if not np.isfinite(point).all():
            return False
        near = self.inside(np.array([number]), np.array([radius]), point[None])[0]
        # Those are inside for certain; what they leave out is a matter of the last digit.
        return np.array_equal(near, point) or self.exact(number, radius).holds([Fraction(float(x)) for x in point])


class BallNeighbourhoods(Neighbourhoods):
    """Neighbourhoods in another norm: balls, of which float64 numbers say exactly which they are."""

    def around(self, numbers: np.ndarray, radii: np.ndarray) -> WalkableSet:
        return Ball(self.centres(numbers), self.reaches(numbers, radii), self.norm, (self.floor, self.ceiling))

    def inside(self, numbers: np.ndarray, radii: np.ndarray, points: np.ndarray) -> np.ndarray:
        placement = Placement.numpy(self.images.dtype)
        balls = self.around(numbers, radii).inward(placement)
        with np.errstate(over="ignore"):
            return to_numpy(balls.project(points.astype(placement.dtype)))

    def exact(self, number: int, radius: float) -> ExactBox:
        return ExactBox.of(Box.of(*self.set_at(number, radius).range).at(0))

    def cut(self, number: int, radius: float) -> ExactCut:
        return ExactCut(within=self.set_at(number, radius))

    def holds(self, number: int, radius: float, point: np.ndarray) -> bool:
        finite = bool(np.isfinite(point).all())
        return finite and bool(self.set_at(number, radius).contains(point.astype(np.float64)[None])[0])
