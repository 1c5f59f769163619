"""Images with labels as training takes them: checked, as tensors, in batches of a random order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from admm_verify.arrays import to_numpy
from admm_verify.errors import InputError
from admm_verify.given import live_array, plain_array


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images [count, *input_shape] in the type of the module's parameters, and their labels [count]."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, given: Any, what: str, dtype: torch.dtype) -> "LabelledImages":
        """What was handed in as a pair of arrays.

        Raises: InputError for anything else, numbers that are not finite, and labels that are no whole numbers >= 0.
        """
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise InputError(f"The {what} is no pair; give (images, labels).")
        images = torch.as_tensor(to_numpy(plain_array(live_array(given[0], f"{what}'s images"), "images"))).to(dtype)
        labels = torch.as_tensor(to_numpy(plain_array(live_array(given[1], f"{what}'s labels"), "labels")))
        if images.ndim < 2 or labels.ndim != 1 or len(images) != len(labels) or not len(labels):
            raise InputError(
                f"The {what} has images of shape {list(images.shape)} and labels of shape {list(labels.shape)}; give "
                "[count, *input_shape] and [count], at least one of each."
            )
        if not bool(torch.isfinite(images).all()):
            raise InputError(f"The {what}'s images hold NaN or infinite numbers; leave them out.")
        if labels.is_floating_point() and not bool((labels == labels.round()).all()):
            raise InputError(f"The {what}'s labels hold numbers that are not whole; give the numbers of classes.")
        return cls(images, labels.long())

    def __len__(self) -> int:
        return len(self.labels)

    def check(self, module: nn.Module, what: str) -> None:
        """Refuse labels that the module has no output for, and images that it does not take.

        Raises: InputError.
        """
        modes = [(part, part.training) for part in module.modules()]
        try:
            with torch.no_grad():
                # A layer may work in place, and these are the caller's numbers.
                outputs = module.eval()(self.images[:1].clone())
        # It runs the module's own code, which may raise anything.
        except Exception as error:
            raise InputError(
                f"The module does not take the {what}'s images, which have shape {list(self.images.shape[1:])}: {error}"
            ) from error
        finally:
            for part, mode in modes:
                part.training = mode
        if not isinstance(outputs, Tensor) or outputs.ndim != 2:
            raise InputError("The module returns no scores [batch, classes]; end it with one number a class.")
        least, most, classes = int(self.labels.min()), int(self.labels.max()), outputs.shape[1]
        if least < 0 or most >= classes:
            raise InputError(
                f"The {what}'s labels reach from {least} to {most}, and the module has {classes} outputs; give labels "
                f"from 0 to {classes - 1}."
            )

    def batches(self, size: int, shift: int, generator: torch.Generator) -> Iterator["LabelledImages"]:
        """All images in a random order, moved by up to `shift` pixels."""
        for index in torch.randperm(len(self), generator=generator).split(size):
            images = self.images[index]
            yield LabelledImages(_moved(images, shift, generator) if shift else images, self.labels[index])

    def parts(self, size: int) -> Iterator["LabelledImages"]:
        """All images in their order."""
        for images, labels in zip(self.images.split(size), self.labels.split(size), strict=True):
            yield LabelledImages(images, labels)


def _moved(images: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Every image [channels, height, width] moved by as much as it happens, with zeros behind it."""
    if images.ndim != 4:
        raise InputError(f"Images of shape {list(images.shape[1:])} have no pixels to move; set shift to 0.")
    count, channels, height, width = images.shape
    padded = functional.pad(images, (shift, shift, shift, shift))
    by = torch.randint(0, 2 * shift + 1, (2, count), generator=generator)
    rows = (by[0, :, None] + torch.arange(height))[:, None, :, None]
    columns = (by[1, :, None] + torch.arange(width))[:, None, None, :]
    which = torch.arange(count)[:, None, None, None], torch.arange(channels)[None, :, None, None]
    return padded[(*which, rows, columns)]
