"""Images and labels as they are handed in, checked: finite, inside their range, in the network's element type."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import plain_array
from admm_verify.network.graph import Network
from admm_verify.network.layout import flatten_batch, per_entry
from admm_verify.robustness.settings import Within
from admm_verify.sets.box import range_ends

_BYTE = 255.0

_SLACK = 1e-6
"""Share of the range that rounding, as of a normalisation, may carry a pixel beyond its end."""


@dataclass(frozen=True, eq=False)
class CheckedImages:
    """Images in a network's element type, and the range that they lie in.

    floor, ceiling: the range in float64, infinite where there is none; lowest, highest: the outermost numbers of the
    element type inside it.
    Shapes: images [images, inputs]; the others [inputs].
    """

    images: np.ndarray
    floor: np.ndarray
    ceiling: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    @classmethod
    def of(cls, network: Network, images: Array, within: Within | None, *, finite: bool = False) -> "CheckedImages":
        """The images, rounded to what the network is given, none of them outside the range.

        finite: whether the range has to have finite ends.
        Raises: InputError naming what does not fit.
        """
        raw = _finite_images(network, to_numpy(plain_array(images, "images")))
        floor, ceiling = _range(network, within)
        if finite and not (np.isfinite(floor).all() and np.isfinite(ceiling).all()):
            raise InputError("The range within is infinite; points are looked for between finite ends, such as (0, 1).")
        _check_range(raw, floor, ceiling, "" if finite else "; None for no range")
        dtype = np.float64 if network.element_type == "float64" else np.float32
        place = Placement.numpy(dtype)
        lowest, highest = (to_numpy(place.directed(end, up)) for end, up in ((floor, True), (ceiling, False)))
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
        return cls(rounded, floor, ceiling, lowest, highest)


def _finite_images(network: Network, raw: np.ndarray) -> np.ndarray:
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


def _check_range(raw: np.ndarray, floor: np.ndarray, ceiling: np.ndarray, otherwise: str) -> None:
    """otherwise: what the advice to give the range goes on with."""
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
            f"{what}. Scale the images as the network takes them, or give their range{otherwise}. Images before "
            "their normalisation are taken with its mean and std."
        )


def checked_labels(labels: Array, count: int, classes: int, what: str = "label") -> np.ndarray:
    """One whole number below the number of classes for each of so many images, [images].

    what: they are, in a word.
    Raises: InputError for anything else.
    """
    raw = to_numpy(plain_array(labels, f"{what}s"))
    if raw.dtype.kind not in "iu" or raw.shape not in ((count,), (count, 1)):
        shares = f" These seem to be one number per class: give {what}s.argmax(axis=1)."
        raise InputError(
            f"The {what}s have shape {raw.shape} and type {raw.dtype}; give one integer per image, [{count}]."
            f"{shares if raw.shape == (count, classes) else ''}"
        )
    found = raw.reshape(-1).astype(np.int64)
    bad = np.flatnonzero((found < 0) | (found >= classes))
    if len(bad):
        raise InputError(
            f"{what.capitalize()} {found[bad[0]]} of image {bad[0]} is no class of this network; give integers 0 to "
            f"{classes - 1}."
        )
    return found
