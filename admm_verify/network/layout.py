"""Samples as flat vectors: which shapes of arrays hold a network's inputs in its own order."""

from math import prod

import array_api_compat
import numpy as np

from admm_verify.arrays import Array, SameArray, namespace, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array


def flatten_batch(x: SameArray, sample: tuple[int, ...], what: str) -> SameArray:
    """x as [batch, numbers of a sample].

    Shapes: x [*sample] or [batch, *sample], where axes of length one may be missing or added, which moves no number;
    or flat vectors [n] or [batch, n], whose numbers are taken in the sample's order.
    Raises: InputError for any other shape, such as a sample with its axes in another order, and for no sample at all.
    """
    shape, size = tuple(x.shape), prod(sample)
    if not is_sample(shape, sample) and not (len(shape) > 0 and shape[0] > 0 and is_sample(shape[1:], sample)):
        flat = "" if len(sample) == 1 else f", or flat vectors [{size}] or [batch, {size}]"
        frozen = frozen_batch(shape, sample) or frozen_batch(shape[1:], sample)
        raise InputError(
            f"The shape {shape} does not fit {what}, which takes {sample}. {_order_advice(x, shape, sample)}{frozen}"
            f"Give one sample {sample} or a batch [batch, {_listed(sample)}]{flat}."
        )
    return namespace(x).reshape(x, (-1, size))


def per_entry(value: object, sample: tuple[int, ...], what: str) -> np.ndarray:
    """Numbers for every entry of a sample, flat, in float64.

    Shapes: value a number, an array that broadcasts to the sample, all its numbers in a row [n], or [channels], which
    are the first or the last axis.
    Raises: InputError for what is no array of real numbers, and for any other shape.
    """
    array = to_numpy(float64_array(value, what))
    if array.shape == (prod(sample),):
        return array
    axes = [axis for axis in (0, len(sample) - 1) if array.ndim == 1 and len(sample) > 1 and len(array) == sample[axis]]
    if len(axes) > 1 and len(array) > 1:
        raise InputError(
            f"The {what} has {len(array)} numbers, which may be for the first or for the last axis of {sample}. Give "
            f"an array of the shape {sample}."
        )
    if axes == [0]:
        array = array.reshape(-1, *[1] * (len(sample) - 1))
    try:
        return np.broadcast_to(array, sample).reshape(-1)
    except ValueError:
        raise InputError(
            f"The {what} has shape {array.shape}; give a number, one per channel, or an array of shape {sample}."
        ) from None


def is_single(shape: tuple[int, ...], sample: tuple[int, ...]) -> bool:
    """Whether an array of this shape, which `flatten_batch` takes, is one sample without a batch axis."""
    if not is_sample(shape, sample):
        return False
    return len(shape) <= len(sample) or not (shape[0] == 1 and is_sample(shape[1:], sample))


def is_sample(shape: tuple[int, ...], sample: tuple[int, ...]) -> bool:
    """Whether an array of this shape holds the numbers of one sample in their order, as its layout says.

    It may be flat, or leave out or add axes of length one, none of which it moves: [3, 1] is no sample [1, 3].
    """
    if (sample and not shape) or prod(shape) != prod(sample):
        return False
    return len(shape) == 1 or _shortens(shape, sample) or _shortens(sample, shape)


def frozen_batch(shape: tuple[int, ...], sample: tuple[int, ...]) -> str:
    """What to do where a shape is that of one of the samples of which a network takes several at once; else nothing."""
    if len(sample) < 2 or not shape or not is_sample(shape, sample[1:]):
        return ""
    return (
        f"The network seems to have been exported with a frozen batch: it takes {sample[0]} samples of shape "
        f"{sample[1:]} at once. Export it again with a batch of one sample, or with a dynamic batch axis "
        '(torch.onnx.export with dynamic_axes={"input": {0: "batch"}} or dynamic_shapes). '
    )


def _shortens(short: tuple[int, ...], long: tuple[int, ...]) -> bool:
    """Whether leaving out axes of length one turns the long shape into the short one; none may be moved."""
    rest = list(long)
    for size in short:
        while rest and rest[0] != size and rest[0] == 1:
            rest.pop(0)
        if not rest or rest.pop(0) != size:
            return False
    return all(size == 1 for size in rest)


def _order_advice(x: Array, shape: tuple[int, ...], sample: tuple[int, ...]) -> str:
    """What to do about a sample whose axes stand in another order, as far as their lengths tell."""
    axes = len(sample)
    batch = len(shape) - axes
    own = shape[max(batch, 0) :]
    if batch not in (0, 1) or axes < 2 or sorted(own) != sorted(sample):
        return ""
    last_to_front, front_to_last = (axes - 1, *range(axes - 1)), (*range(1, axes), 0)
    for order, theirs, ours in ((last_to_front, "first", "last"), (front_to_last, "last", "first")):
        if tuple(own[axis] for axis in order) == sample:
            moved = (0,) * batch + tuple(axis + batch for axis in order)
            verb = "permute" if array_api_compat.is_torch_array(x) else "transpose"
            return (
                f"The network takes channels {theirs}, and these seem to come {ours}: turn them with "
                f"x.{verb}({_listed(moved)}), or flatten them if their numbers stand in the network's order. "
            )
    return "The axes stand in another order: transpose them, or flatten them if the numbers stand in the right one. "


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
