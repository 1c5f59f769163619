"""Convolutions of float32 torch arrays by torch's own kernels, for iterations; float64 goes through matrix products.

Certified numbers never come from here: cuDNN may choose Winograd or FFT algorithms, whose rounding errors are not
those of a dot product. Whoever iterates says that it is not to round to TF32 (`backends/device.py`).
"""

import torch
from torch.nn import functional

from admm_verify.network.convolution import ConvolutionMap


def correlate(map: ConvolutionMap, x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The convolution of x with a kernel of the map's shape; x [..., columns] -> [..., rows]."""
    top, left, bottom, right = map.padding
    images = x.reshape(-1, *map.input_shape)
    common = (min(top, bottom), min(left, right))
    if (top, left) != (bottom, right):
        beyond = (left - common[1], right - common[1], top - common[0], bottom - common[0])
        images = functional.pad(images, beyond)
    result = functional.conv2d(images, kernel, None, map.stride, common, map.dilation, map.groups)
    return result.reshape(*x.shape[:-1], map.rows)


def spread(map: ConvolutionMap, y: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The adjoint of the convolution with a kernel of the map's shape; y [..., rows] -> [..., columns]."""
    top, left, bottom, right = map.padding
    _, height, width = map.input_shape
    common = (min(top, bottom), min(left, right))
    lengths = (height + top + bottom, width + left + right)
    # Rows and columns at the end of the padded image that no window reaches.
    spare = tuple(
        lengths[i]
        - (map.stride[i] * (map.output_shape[i + 1] - 1) + map.dilation[i] * (map.weight.shape[i + 2] - 1) + 1)
        for i in (0, 1)
    )
    images = functional.conv_transpose2d(
        y.reshape(-1, *map.output_shape), kernel, None, map.stride, common, spare, map.groups, map.dilation
    )
    row, column = top - common[0], left - common[1]
    return images[:, :, row : row + height, column : column + width].reshape(*y.shape[:-1], map.columns)
