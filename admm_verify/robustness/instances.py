"""Images, labels and radii, checked once: their margins, and what the network computes near them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.arrays import Array, Placement, quiet_overflow, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.network.computing import Computing
from admm_verify.network.graph import Network
from admm_verify.network.layout import per_entry
from admm_verify.options import shown
from admm_verify.robustness.counterexample import Counterexample
from admm_verify.robustness.images import CheckedImages, checked_labels
from admm_verify.robustness.neighbourhoods import Neighbourhoods
from admm_verify.robustness.settings import CertifySettings
from admm_verify.sets.norm_names import norm_name


@dataclass(frozen=True, eq=False)
class Instances:
    """Every image with every radius, and the inputs near them.

    Shapes: labels [images].
    """

    network: Network
    labels: np.ndarray
    near: Neighbourhoods

    @classmethod
    def of(cls, network: Network, images: Array, labels: Array, radii: Any, settings: CertifySettings) -> "Instances":
        """Checked input; images are rounded to the network's element type, which is what it is given.

        Raises: InputError naming what does not fit.
        """
        if network.output_size < 2:
            raise InputError(f"{network.name} has {network.output_size} output; a classifier has one per class.")
        checked = CheckedImages.of(network, images, settings.within)
        found = checked_labels(labels, len(checked.images), network.output_size)
        numbers = checked.images, *_radii(radii, network.input_shape), checked.floor, checked.ceiling
        return cls(network, found, Neighbourhoods.of(norm_name(settings.norm), *numbers))

    def labelled(self, labels: np.ndarray) -> "Instances":
        """The same with other labels, whole numbers below the number of classes, [images]."""
        return replace(self, labels=labels)

    def shared(self, numbers: np.ndarray, share: np.ndarray) -> "Instances":
        """Some of the images, with so much of every radius, [len(numbers)]."""
        return replace(self, labels=self.labels[numbers], near=self.near.shared(numbers, share))

    @property
    def images(self) -> np.ndarray:
        """The images in the network's element type, [images, inputs]."""
        return self.near.images

    @property
    def radii(self) -> np.ndarray:
        """The radii, one number for each, the largest over the pixels."""
        return self.near.radii

    def counterexample(self, number: int, point: np.ndarray) -> Counterexample | None:
        """An input as a counterexample where the network, on it alone, computes no smaller an output of another class
        than of the label; else None.

        Shapes: point [inputs] in the element type, inside a ball around the image.
        """
        with quiet_overflow():
            values = to_numpy(self._compute(point[None])).reshape(-1)
        if not np.isfinite(values).all():
            return None
        label = int(self.labels[number])
        prediction = int(np.argmax(np.where(np.arange(len(values)) == label, -np.inf, values)))
        if values[prediction] < values[label]:
            return None
        original, found = (x.reshape(self.network.input_shape) for x in (self.images[number], point))
        return Counterexample(number, label, prediction, original, found, values, self.near.norm)

    @cached_property
    def _compute(self) -> Computing:
        """The network in its element type, on the host."""
        return Computing(self.network, Placement.numpy(self.images.dtype))

    def element(self, place: Placement) -> Placement:
        """A place, for numbers of the network's element type."""
        return Placement(place.xp, getattr(place.xp, self.images.dtype.name), place.device)

    def margins(self, numbers: np.ndarray) -> np.ndarray:
        """Rows f_t - f_j for all classes j but the label t, in the order of j, [len(numbers), classes - 1, classes]."""
        classes = self.network.output_size
        # Of these images' labels alone: those of all labels are a cube of the number of classes.
        labels = self.labels[numbers][:, None]
        others = np.arange(classes - 1) + (np.arange(classes - 1) >= labels)
        rows = np.zeros((len(labels), classes - 1, classes))
        np.put_along_axis(rows, others[..., None], -1.0, axis=2)
        np.put_along_axis(rows, np.broadcast_to(labels[:, None], (*others.shape, 1)), 1.0, axis=2)
        return rows

    def computed_margin(self, numbers: np.ndarray, points: np.ndarray, place: Placement) -> np.ndarray:
        """min over j != t of f_t - f_j as the network computes it in its element type; NaN where it is not finite.

        Computed with the library of `place`; where another one than NumPy finds no margin, NumPy computes it again.
        Shapes: numbers [m]; points [m, inputs] in the element type -> [m].
        """
        found = self._margin(numbers, self.element(place).put(points))
        again = np.flatnonzero(~(found > 0))
        if len(again) and not place.is_numpy:
            found[again] = self._margin(numbers[again], points[again])
        return found

    def _margin(self, numbers: np.ndarray, points: Array) -> np.ndarray:
        with quiet_overflow():
            values = to_numpy(self.network(points)).reshape(len(numbers), -1)
        own = self.labels[numbers][:, None]
        others = np.where(np.arange(values.shape[1]) == own, -np.inf, values).max(axis=1)
        label = np.take_along_axis(values, own, axis=1)[:, 0]
        finite = np.isfinite(values).all(axis=1)
        # Their difference may overflow, their order does not.
        gap = np.where(finite, label, 0.0).astype(np.float64) - np.where(finite, others, 0.0)
        return np.where(finite, gap, np.nan)


def _radii(given: Any, sample: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The radii, one number each, and how far every pixel may change at them."""
    found = to_numpy(float64_array(given, "list of radii"))
    if not found.ndim or not len(found):
        raise InputError(f"The radii {shown(given)} are no list of numbers; give at least one, such as [0.01, 0.02].")
    if not (np.isfinite(found) & (found >= 0)).all():
        raise InputError(f"The radii {found.tolist()} hold a negative, infinite or NaN number; give finite ones >= 0.")
    reach = found[:, None] if found.ndim == 1 else np.stack([per_entry(one, sample, "radius") for one in found])
    radii = reach.max(axis=1)
    if len(np.unique(radii)) < len(radii):
        why = "name one radius twice" if found.ndim == 1 else "have the same largest number twice, which names them"
        raise InputError(f"The radii {found.tolist()} {why}; give each once, or certify them one by one.")
    ordered = reach[np.argsort(radii)]
    if (ordered[1:] < ordered[:-1]).any():
        raise InputError(
            f"The radii {found.tolist()} are no larger and smaller ones: some let one channel change more and another "
            "less. Certify those one by one."
        )
    return radii, reach
