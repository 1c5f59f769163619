"""Images, labels and radii, checked once: their margins, and what the network computes near them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.arrays import Array, Placement, quiet_overflow, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array, plain_array
from admm_verify.network.computing import Computing
from admm_verify.network.graph import Network
from admm_verify.network.layout import flatten_batch, per_entry
from admm_verify.options import shown
from admm_verify.robustness.counterexample import Counterexample
from admm_verify.robustness.neighbourhoods import Neighbourhoods
from admm_verify.robustness.settings import CertifySettings, Within
from admm_verify.sets.box import range_ends
from admm_verify.sets.norm_names import norm_name

_BYTE = 255.0

_SLACK = 1e-6
"""Share of the range that rounding, as of a normalisation, may carry a pixel beyond its end."""


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
        raw = _images(network, to_numpy(plain_array(images, "images")))
        floor, ceiling = _range(network, settings.within)
        _check_range(raw, floor, ceiling)
        dtype = np.float64 if network.element_type == "float64" else np.float32
        place = Placement.numpy(dtype)
        lowest, highest = place.directed(floor, up=True), place.directed(ceiling, up=False)
        if (lowest > highest).any():
            raise InputError(
                f"The range within holds no {np.dtype(dtype).name} number at pixel {int(np.argmax(lowest > highest))}."
            )
        with np.errstate(over="ignore"):
            rounded = np.clip(raw.astype(dtype), lowest, highest)
        if not np.isfinite(rounded).all():
            raise InputError(
                f"The images hold numbers beyond {np.dtype(dtype).name}, which {network.name} computes in."
            )
        found = _labels(to_numpy(plain_array(labels, "labels")), len(raw), network.output_size)
        numbers = rounded, *_radii(radii, network.input_shape), floor, ceiling
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
        identity = np.eye(classes)
        rows = np.stack([np.delete(identity[label] - identity, label, axis=0) for label in range(classes)])
        return rows[self.labels[numbers]]

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


def _images(network: Network, raw: np.ndarray) -> np.ndarray:
    """The images in float64, [images, inputs]."""
    if raw.shape[:1] == (0,):
        raise InputError("There are no images; give at least one.")
    flat = flatten_batch(raw, network.input_shape, f"the input of {network.name}").astype(np.float64)
    bad = np.argwhere(~np.isfinite(flat))
    if len(bad):
        raise InputError(f"Image {bad[0, 0]}, pixel {bad[0, 1]} is {flat[tuple(bad[0])]}; give finite numbers.")
    return flat


def _range(network: Network, within: Within | None) -> tuple[np.ndarray, np.ndarray]:
    size = network.input_size
    if within is None:
        return np.full(size, -np.inf), np.full(size, np.inf)
    low, high = (per_entry(end, network.input_shape, "range within") for end in range_ends(within))
    bad = np.flatnonzero(~(low <= high))
    if len(bad):
        raise InputError(
            f"The range within is [{low[bad[0]]}, {high[bad[0]]}] at pixel {bad[0]}; give lowest <= highest."
        )
    return low, high


def _check_range(raw: np.ndarray, floor: np.ndarray, ceiling: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        slack = np.nan_to_num(_SLACK * (ceiling - floor), posinf=0.0)
    outside = np.argwhere((raw < floor - slack) | (raw > ceiling + slack))
    if len(outside):
        image, pixel = outside[0]
        low, high = f"{floor[pixel]:g}", f"{ceiling[pixel]:g}"
        what = f"Image {image}, pixel {pixel} is {raw[image, pixel]:g}, outside the range within, [{low}, {high}]"
        if (raw >= 0).all() and (raw <= _BYTE).all() and (raw == np.round(raw)).all():
            raise InputError(
                f"{what}: the images are whole numbers from 0 to 255, as files hold them. A network of numbers from 0 "
                "to 1 takes images / 255, with radii and the range in that unit; for one that takes these numbers give "
                "the range within=(0, 255)."
            )
        raise InputError(
            f"{what}. Scale the images as the network takes them, or give their range; None for no range. Images "
            "before their normalisation are taken with its mean and std."
        )


def _labels(raw: np.ndarray, count: int, classes: int) -> np.ndarray:
    if raw.dtype.kind not in "iu" or raw.shape not in ((count,), (count, 1)):
        shares = " These seem to be one number per class: give labels.argmax(axis=1)."
        raise InputError(
            f"The labels have shape {raw.shape} and type {raw.dtype}; give one integer per image, [{count}]."
            f"{shares if raw.shape == (count, classes) else ''}"
        )
    labels = raw.reshape(-1).astype(np.int64)
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        raise InputError(
            f"Label {labels[bad[0]]} of image {bad[0]} is no class of this network; give integers 0 to {classes - 1}."
        )
    return labels


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
