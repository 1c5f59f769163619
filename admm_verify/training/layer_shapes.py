"""What a dense layer or a convolution does with its weight, and how much it stretches differences at most."""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from admm_verify.arrays import gamma
from admm_verify.errors import InputError
from admm_verify.options import AtLeastOne, Settings
from admm_verify.training.gram import STEPS, gram_bound
from admm_verify.training.symbols import ConvolutionShape

_MOST_ENTRIES = 2**26
"""Of the matrix of a convolution."""

_CONVOLVE = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)
_CONVOLVE_BACK = (nn.functional.conv_transpose1d, nn.functional.conv_transpose2d, nn.functional.conv_transpose3d)


@dataclass(frozen=True, repr=False)
class GramSettings(Settings):
    """How close norms are bounded.

    steps: squarings of the Gram iteration; what it finds is at most n^(1 / 2^(steps + 1)) times the norm of a matrix
    whose shorter side is n. largest_side: the shorter side of the matrix of a convolution, up to which it is bounded
    with its border as it is; a larger one is bounded by its frequencies, in less time and a little higher.
    """

    steps: AtLeastOne = STEPS
    largest_side: AtLeastOne = 256


@dataclass(frozen=True)
class Sliding:
    """How the kernel of a convolution moves; sides: pixels around the image as torch pads them, the last axis first."""

    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    sides: tuple[int, ...]
    mode: str
    beyond: tuple[int, ...] | None = None
    """Of a transposed convolution, by how much its result is larger."""

    def results(self, weight: torch.Tensor, image: tuple[int, ...]) -> torch.Tensor:
        """What a convolution makes of each entry of its image, [entries, *result]."""
        size, axes = prod(image), len(image) - 2
        entries = torch.eye(size, dtype=weight.dtype, device=weight.device).reshape(size, *image)
        if self.beyond is not None:
            assert not isinstance(self.padding, str), "Torch takes numbers alone here"
            kept = (self.stride, self.padding, self.beyond, self.groups, self.dilation)
            return _CONVOLVE_BACK[axes](entries, weight, None, *kept)
        if self.mode == "zeros":
            return _CONVOLVE[axes](entries, weight, None, self.stride, self.padding, self.dilation, self.groups)
        around = nn.functional.pad(entries, self.sides, mode=self.mode)
        return _CONVOLVE[axes](around, weight, None, self.stride, 0, self.dilation, self.groups)


@dataclass(frozen=True)
class LayerShape:
    """A dense layer, sliding None, or a convolution, without its numbers. Shapes: image, result without the batch."""

    image: tuple[int, ...]
    result: tuple[int, ...]
    sliding: Sliding | None = None

    @classmethod
    def of(cls, layer: nn.Module, image: tuple[int, ...], result: tuple[int, ...]) -> "LayerShape":
        """That of a layer where it is used."""
        if not isinstance(layer, _ConvNd):
            # Further axes hold several vectors, each of which is stretched alike.
            return cls(image[-1:], result[-1:])
        beyond = layer.output_padding if isinstance(layer, _ConvTransposeNd) else None
        kept = (layer.stride, layer.padding, layer.dilation, layer.groups)
        sides = tuple(layer._reversed_padding_repeated_twice)
        return cls(image, result, Sliding(*kept, sides, layer.padding_mode, beyond))

    @property
    def side(self) -> int:
        """The shorter side of the layer's matrix."""
        return min(prod(self.image), prod(self.result))

    def norm(self, weight: torch.Tensor, scale: torch.Tensor | None, settings: GramSettings) -> torch.Tensor:
        """An upper bound of the layer's l2 norm, with a gradient, in float64.

        scale: what the channels of the result are multiplied by, None for nothing.
        Shapes: weight as that of the layer; scale [channels].
        Error: rounded outward.
        """
        wide = weight.double()
        bound = self._dense(wide, scale, settings) if self.sliding is None else self._sliding(wide, scale, settings)
        # The products with scales are rounded, entry by entry: by no more than that times |W|_F.
        return bound if scale is None else bound * (1.0 + gamma(8 * max(1, self.side)))

    def _dense(self, weight: torch.Tensor, scale: torch.Tensor | None, settings: GramSettings) -> torch.Tensor:
        return gram_bound(weight if scale is None else weight * scale[:, None], settings.steps)

    def _sliding(self, weight: torch.Tensor, scale: torch.Tensor | None, settings: GramSettings) -> torch.Tensor:
        assert self.sliding is not None, "asked of convolutions alone"
        shape = self._two_axes(self.sliding, weight) if self.side > settings.largest_side else None
        if shape is not None:
            scaled = weight if scale is None else self._scaled(weight, scale, self.sliding)
            return shape.bound(scaled.reshape(*weight.shape[:2], *shape.kernel), settings.steps)
        if prod(self.image) * prod(self.result) > _MOST_ENTRIES:
            raise InputError(
                f"A convolution of images {self.image} with padding {self.sliding.mode!r} is too large to be measured: "
                "that is done by frequencies, of images of one or two axes with zeros around. Pad with zeros, or "
                "penalise the part without it."
            )
        results = self.sliding.results(weight, self.image)
        if scale is not None:
            results = results * scale.reshape(-1, *[1] * (results.ndim - 2))
        return gram_bound(results.flatten(1), settings.steps)

    def _scaled(self, weight: torch.Tensor, scale: torch.Tensor, sliding: Sliding) -> torch.Tensor:
        """The weight of the convolution with its result's channels scaled."""
        ones = [1] * (weight.ndim - 2)
        if sliding.beyond is None:
            return weight * scale.reshape(-1, 1, *ones)
        blocks = weight.reshape(sliding.groups, -1, *weight.shape[1:])
        return (blocks * scale.reshape(sliding.groups, 1, -1, *ones)).reshape(weight.shape)

    def _two_axes(self, sliding: Sliding, weight: torch.Tensor) -> ConvolutionShape | None:
        """The convolution, or what it is the transposed one of, of two-dimensional images; None where its frequencies
        are not known.
        """
        if sliding.mode != "zeros" or len(self.image) > 3:
            return None
        image, result = (self.image, self.result) if sliding.beyond is None else (self.result, self.image)
        # Of every axis before and after, the last one first.
        sides = sliding.sides[::-1][1::2]
        if sliding.beyond is not None:
            assert not isinstance(sliding.padding, str), "Torch takes numbers alone here"
            sides = sliding.padding

        def two(given: Any, fill: int) -> tuple[int, int]:
            first, *rest = (int(one) for one in given)
            return (first, rest[0]) if rest else (fill, first)

        return ConvolutionShape(
            two(image[1:], 1),
            two(result[1:], 1),
            two(weight.shape[2:], 1),
            two(sliding.stride, 1),
            two(sides, 0),
            two(sliding.dilation, 1),
            sliding.groups,
        )
