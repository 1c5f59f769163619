"""Images and labels as data sets hold them: mappings of arrays, and torch's data sets and loaders of pairs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.errors import InputError
from admm_verify.given import plain_array, read_arrays

NAMES = (("images", "labels"), ("image", "label"), ("x", "y"))
"""What mappings call images and labels."""

_LOADER, _SET = "torch.utils.data.dataloader.DataLoader", "torch.utils.data.dataset.Dataset"


def images_and_labels(images: Any, labels: Any) -> tuple[Any, Any]:
    """The images and the labels that were handed in, apart or together; what is neither comes back as it is.

    Together are a mapping with the arrays images and labels (also .npz files of NumPy), and a torch DataLoader or
    Dataset of pairs, which are read to their end in their order.
    Raises: InputError for a mapping without these names, what has no pairs, and labels that are given twice or not.
    """
    together = isinstance(images, Mapping) or _is(images, _LOADER) or _is(images, _SET)
    if together and labels is not None:
        raise InputError(f"The {type(images).__name__} holds images and labels; give None as the labels.")
    if isinstance(images, Mapping):
        return _entries(images)
    if together:
        return _stacked(images)
    if labels is None:
        raise InputError(
            "There are no labels; give one integer per image, or images and labels together: a mapping with the arrays "
            "images and labels, a torch DataLoader, or a Dataset of pairs."
        )
    return images, labels


def read_images(images: str, labels: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of a .npz file with images and labels, or of .npy files with either.

    Raises: InputError for files that cannot be read or lack one of them.
    """
    found = read_arrays(images, "images file", NAMES[0])
    if isinstance(found, np.ndarray):
        if labels is None:
            raise InputError(f"{images} holds images only. Give --labels FILE.npy, or a .npz with images and labels.")
        arrays = {"images": found}
    else:
        arrays = found
    if labels is not None:
        given = read_arrays(labels, "labels file", ())
        if not isinstance(given, np.ndarray):
            raise InputError(f"The labels file {labels} holds several arrays; give a .npy with one integer per image.")
        arrays["labels"] = given
    missing = [name for name in NAMES[0] if name not in arrays]
    if missing:
        raise InputError(
            f"{images} holds no array {' and no array '.join(missing)}; save both by numpy.savez(file, images=..., "
            "labels=...), or give --labels FILE.npy."
        )
    return arrays["images"], arrays["labels"]


def _is(given: object, name: str) -> bool:
    return any(f"{base.__module__}.{base.__name__}" == name for base in type(given).__mro__)


def _entries(given: Mapping[Any, Any]) -> tuple[Any, Any]:
    for names in NAMES:
        if all(name in given for name in names):
            return given[names[0]], given[names[1]]
    held = ", ".join(map(str, given)) or "nothing"
    raise InputError(f"The mapping of a data set holds {held}; give the arrays images and labels.")


def _stacked(given: Any) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of a loader's batches, or of a set's pairs."""
    batches = _is(given, _LOADER)
    images, labels = [], []
    for number, (x, y) in enumerate(_pairs(given)):
        what = f"{'batch' if batches else 'image'} {number} of the data set"
        image, label = to_numpy(plain_array(x, what)), to_numpy(plain_array(y, f"label in {what}"))
        # Loaders of batch_size=None hand on what their set holds, which may be single pairs.
        images.append(image if batches and label.ndim else image[None])
        labels.append(np.atleast_1d(label))
        if images[-1].shape[1:] != images[0].shape[1:]:
            raise InputError(f"The {what} has shape {image.shape}, unlike those before it. Give images of one size.")
    if not images:
        raise InputError("There are no images in the data set; give at least one.")
    return np.concatenate(images), np.concatenate(labels)


def _pairs(given: Any) -> Iterator[tuple[Any, Any]]:
    """Images and labels one after the other, by number where there is no other way."""
    found: Iterable[Any] = given
    if not hasattr(given, "__iter__"):
        if not hasattr(given, "__len__"):
            raise InputError(f"The data set {type(given).__name__} has no length; give arrays of what it holds.")
        found = (given[i] for i in range(len(given)))
    for item in found:
        if isinstance(item, Mapping):
            yield _entries(item)
        elif isinstance(item, list | tuple) and len(item) == 2:
            yield item[0], item[1]
        else:
            raise InputError(
                f"The data set holds {type(item).__name__} where pairs of images and labels are wanted. Give those, or "
                "arrays of images and of labels."
            )
