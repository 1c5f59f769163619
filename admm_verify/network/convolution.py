"""Convolutions as linear maps of flat images."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import array_api_compat
import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.errors import ModelError
from admm_verify.network.maps import MERGE_UNDERFLOW, DenseMap, unit_rows
from admm_verify.network.native_convolution import native_convolution
from admm_verify.run import paced

_HOST_NUMBERS = 2**20
"""Numbers in one block of patches on the host: 8 MiB."""

_DEVICE_NUMBERS = 2**25
"""Numbers in one block of patches on an accelerator, where small products leave it idle."""


@dataclass(frozen=True, eq=False)
class ConvolutionMap:
    """A two-dimensional cross-correlation, the Conv of ONNX and torch, of flat images in the order C, H, W.

    y[o, i, j] = sum over c, u, v of weight[o, c, u, v] x[g C/groups + c, sh i + dh u - top, sw j + dw v - left] with
    g the group of o and 0 for x outside the image. One-dimensional convolutions have height 1.

    Shapes: weight [O, C/groups, kh, kw]; input_shape (C, H, W); output_shape (O, H', W'); stride (sh, sw); padding
    (top, left, bottom, right); dilation (dh, dw); magnitude as weight, where the weight is a merged product.
    """

    weight: Array
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    magnitude: Array | None = None
    roundings: int = 0

    def __post_init__(self) -> None:
        # The longest dot product: of a window forward; backward, of O/groups channels summed over kh kw places.
        outputs, depth, height, width = self.weight.shape
        terms = max(depth, outputs // self.groups) * height * width
        object.__setattr__(self, "roundings", max(self.roundings, terms))

    @classmethod
    def of(
        cls,
        weight: np.ndarray,
        input_shape: tuple[int, int, int],
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> "ConvolutionMap":
        """The convolution of images of input_shape; H' = floor((top + H + bottom - dh (kh - 1) - 1) / sh) + 1.

        Raises: ModelError where weight, channels, groups and image do not fit together.
        """
        if len(weight.shape) != 4 or min(weight.shape) < 1:
            raise ModelError(
                f"A convolution's weight has shape {weight.shape}, not [outputs, channels, height, width]."
            )
        outputs, depth, *kernel = weight.shape
        if groups < 1 or outputs % groups or depth * groups != input_shape[0]:
            raise ModelError(
                f"A convolution's weight of shape {weight.shape} in {groups} groups does not fit {input_shape[0]} "
                f"channels; the groups must divide both, with {input_shape[0]} / {groups} channels in the weight."
            )
        if min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
            raise ModelError(
                f"A convolution has stride {stride}, dilation {dilation} and padding {padding}; strides and "
                "dilations must be positive and paddings not negative."
            )
        padded = (input_shape[1] + padding[0] + padding[2], input_shape[2] + padding[1] + padding[3])
        spans = [d * (size - 1) + 1 for size, d in zip(kernel, dilation, strict=True)]
        if spans[0] > padded[0] or spans[1] > padded[1]:
            raise ModelError(f"A convolution's kernel spans {tuple(spans)}, more than the padded image of {padded}.")
        height, width = ((padded[i] - spans[i]) // stride[i] + 1 for i in (0, 1))
        return cls(weight, input_shape, (outputs, height, width), stride, padding, dilation, groups)

    @property
    def rows(self) -> int:
        return prod(self.output_shape)

    @property
    def columns(self) -> int:
        return prod(self.input_shape)

    @property
    def multiplications(self) -> int:
        return self.rows * prod(self.weight.shape[1:])

    @property
    def numbers(self) -> tuple[Array, ...]:
        return (self.weight,)

    def apply(self, x: Array) -> Array:
        return self._correlate(x, self.weight)

    def transpose(self, y: Array) -> Array:
        return self._spread(y, self.weight)

    def absolute_apply(self, x: Array) -> Array:
        return self._correlate(x, namespace(x).abs(self.weight))

    def magnitude_apply(self, x: Array) -> Array:
        return self.absolute_apply(x) if self.magnitude is None else self._correlate(x, self.magnitude)

    def absolute_transpose(self, y: Array) -> Array:
        return self._spread(y, namespace(y).abs(self.weight))

    def magnitude_transpose(self, y: Array) -> Array:
        return self.absolute_transpose(y) if self.magnitude is None else self._spread(y, self.magnitude)

    def rows_at(self, wanted: np.ndarray, placement: Placement) -> Array:
        return self.transpose(unit_rows(wanted, self.rows, placement))

    def with_roundings(self, count: int) -> "ConvolutionMap":
        return replace(self, roundings=count)

    def put(self, placement: Placement) -> "ConvolutionMap":
        magnitude = None if self.magnitude is None else placement.put(self.magnitude)
        return replace(self, weight=placement.put(self.weight), magnitude=magnitude)

    def dense(self) -> DenseMap:
        units = unit_rows(np.arange(self.rows), self.rows, Placement.numpy(to_numpy(self.weight).dtype))
        magnitude = None if self.magnitude is None else self._spread(units, to_numpy(self.magnitude))
        return DenseMap(self._spread(units, to_numpy(self.weight)), magnitude, self.roundings)

    def scaled(self, outputs: np.ndarray | None, inputs: np.ndarray | None) -> "ConvolutionMap":
        """diag(outputs) W diag(inputs) with one factor per channel, whose magnitude covers its own rounding.

        Shapes: outputs [O], inputs [C]; None stands for ones.
        """
        weight = self.weight
        magnitude = np.abs(weight) if self.magnitude is None else self.magnitude
        factors = [] if outputs is None else [outputs[:, None, None, None]]
        if inputs is not None:
            repeats = weight.shape[0] // self.groups
            factors.append(np.repeat(inputs.reshape(self.groups, -1), repeats, axis=0)[:, :, None, None])
        for factor in factors:
            weight, magnitude = weight * factor, magnitude * np.abs(factor) + 2 * MERGE_UNDERFLOW
        return replace(self, weight=weight, magnitude=magnitude, roundings=self.roundings + len(factors))

    def _correlate(self, x: Any, kernel: Any) -> Array:
        """W x with another kernel of the same shape: patches [C kh kw, n H' W'], then one product per group."""
        if _is_torch_single(x):
            from admm_verify.network import torch_convolution

            return torch_convolution.correlate(self, x, kernel)
        native = native_convolution(x.dtype) if isinstance(x, np.ndarray) else None
        if native is not None:
            return native(self, x, kernel, True)
        xp, images = namespace(x), self._columns(x)
        result = xp.empty((self.rows, images.shape[1]), dtype=x.dtype, device=x.device)
        matrix = self._matrix(kernel)
        for block in paced(self._blocks(images)):
            padded = self._padded(images[:, block])
            patches = xp.empty(self._patches_shape(padded.shape[-1]), dtype=x.dtype, device=x.device)
            for u, v, window in self._windows():
                patches[:, u, v, ...] = padded[window]
            product = matrix @ xp.reshape(patches, (self.groups, matrix.shape[-1], -1))
            result[:, block] = xp.reshape(product, (self.rows, -1))
        return xp.reshape(xp.permute_dims(result, (1, 0)), (*x.shape[:-1], self.rows))

    def _spread(self, y: Any, kernel: Any) -> Array:
        """W' y with another kernel of the same shape: one product per group, then patches are summed in place."""
        if _is_torch_single(y):
            from admm_verify.network import torch_convolution

            return torch_convolution.spread(self, y, kernel)
        native = native_convolution(y.dtype) if isinstance(y, np.ndarray) else None
        if native is not None:
            return native(self, y, kernel, False)
        xp, images = namespace(y), self._columns(y)
        result = xp.empty((self.columns, images.shape[1]), dtype=y.dtype, device=y.device)
        matrix = xp.permute_dims(self._matrix(kernel), (0, 2, 1))
        (top, left, bottom, right), (channels, height, width) = self.padding, self.input_shape
        for block in paced(self._blocks(images)):
            # Flattening copies, so that the product finds contiguous rows.
            part = xp.reshape(images[:, block], (-1,))
            product = matrix @ xp.reshape(part, (self.groups, matrix.shape[-1], -1))
            count = part.shape[0] // self.rows
            patches = xp.reshape(product, self._patches_shape(count))
            shape = (channels, top + height + bottom, left + width + right, count)
            padded = xp.zeros(shape, dtype=y.dtype, device=y.device)
            for u, v, window in self._windows():
                padded[window] += patches[:, u, v, ...]
            inside = padded[:, top : top + height, left : left + width, :]
            result[:, block] = xp.reshape(inside, (self.columns, count))
        return xp.reshape(xp.permute_dims(result, (1, 0)), (*y.shape[:-1], self.columns))

    def _columns(self, x: Array) -> Array:
        """All leading axes of x as columns [n, batch]: entries of one place lie side by side, for long loops."""
        xp = namespace(x)
        return xp.permute_dims(xp.reshape(x, (-1, x.shape[-1])), (1, 0))

    def _matrix(self, kernel: Array) -> Array:
        """The kernel as [groups, O/groups, C/groups kh kw]."""
        return namespace(kernel).reshape(kernel, (self.groups, kernel.shape[0] // self.groups, -1))

    def _patches_shape(self, count: int) -> tuple[int, ...]:
        return (self.input_shape[0], *self.weight.shape[2:], *self.output_shape[1:], count)

    def _blocks(self, images: Array) -> list[slice]:
        """Slices of the batch whose patches fit a block."""
        numbers = _HOST_NUMBERS if str(array_api_compat.device(images)) == "cpu" else _DEVICE_NUMBERS
        step = max(1, numbers // prod(self._patches_shape(1)))
        return [slice(start, min(start + step, images.shape[1])) for start in range(0, images.shape[1], step)]

    def _windows(self) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
        """Per kernel entry (u, v) the entries of padded images that it meets."""
        height, width = (s * (size - 1) + 1 for s, size in zip(self.stride, self.output_shape[1:], strict=True))
        for u in range(self.weight.shape[2]):
            row = u * self.dilation[0]
            for v in range(self.weight.shape[3]):
                column = v * self.dilation[1]
                places = slice(row, row + height, self.stride[0]), slice(column, column + width, self.stride[1])
                yield u, v, (slice(None), *places)

    def _padded(self, images: Array) -> Array:
        """Columns [C H W, n] as images [C, H, W, n] with zeros around them."""
        xp, (top, left, bottom, right), (channels, height, width) = namespace(images), self.padding, self.input_shape
        shape = (channels, top + height + bottom, left + width + right, images.shape[1])
        padded = xp.zeros(shape, dtype=images.dtype, device=images.device)
        padded[:, top : top + height, left : left + width, :] = xp.reshape(images, (*self.input_shape, -1))
        return padded


def _is_torch_single(x: Array) -> bool:
    # Only iterations are in float32. Certified numbers are in float64 and need plain dot products, whose rounding
    # gamma bounds: the transforms (Winograd, FFT) behind fast convolutions have larger errors.
    return array_api_compat.is_torch_array(x) and x.dtype == namespace(x).float32
