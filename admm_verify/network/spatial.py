"""Windows over one or two spatial axes: convolution, pooling; and normalisation of channels.

Images are [N, C, *spatial] or [C, *spatial]; one spatial axis is an image of height 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.maps import FLUSHED, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.nonlinear import window_maximum

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """A window that slides over spatial axes, one number per axis each; `before` and `after` are the padding.

    Raises: UnsupportedUse for other numbers of axes than one and two, and for sizes that are not positive.
    """

    size: Sizes
    stride: Sizes
    before: Sizes
    after: Sizes
    dilation: Sizes

    def __post_init__(self) -> None:
        if len(self.size) not in (1, 2):
            raise UnsupportedUse(f"its window has {len(self.size)} spatial axes; one and two are supported")
        if any(len(part) != len(self.size) for part in (self.stride, self.before, self.after, self.dilation)):
            raise UnsupportedUse(f"its stride, padding or dilation does not have {len(self.size)} numbers per side")
        if min(*self.size, *self.stride, *self.dilation) < 1 or min(*self.before, *self.after) < 0:
            raise UnsupportedUse("its window, stride or dilation is not positive, or its padding is negative")

    @property
    def span(self) -> Sizes:
        """How far the window reaches along each axis: dilation (size - 1) + 1."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.size, strict=True))

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the image, height 1 for one axis."""
        return (*_plane(self.before, 0), *_plane(self.after, 0))

    def positions(self, lengths: Sizes) -> list[np.ndarray]:
        """For each axis the positions [windows, size] that each window sees, negative or too large in the padding."""
        found = []
        for i, length in enumerate(lengths):
            count = (length + self.before[i] + self.after[i] - self.span[i]) // self.stride[i] + 1
            if count < 1:
                raise UnsupportedUse(f"its window does not fit the spatial shape {lengths}")
            starts = np.arange(count) * self.stride[i] - self.before[i]
            found.append(starts[:, None] + np.arange(self.size[i]) * self.dilation[i])
        return found

    def ceiled(self, lengths: Sizes) -> "Window":
        """The window with padding added at the end for a last window that only partly fits.

        A window that would start in the padding at the end is none.
        """
        after = []
        for length, a, b, s, span in zip(lengths, self.after, self.before, self.stride, self.span, strict=True):
            start = -(-(length + a + b - span) // s) * s
            after.append(max(a, start + span - length - b) if start < length + b else a)
        return replace(self, after=tuple(after))

    def same(self, lengths: Sizes, upper: bool) -> "Window":
        """The window padded so that ceil(length / stride) windows fit; the odd entry goes to the end if `upper`."""
        counts = [-(-length // s) for length, s in zip(lengths, self.stride, strict=True)]
        total = [
            max(0, (count - 1) * s + span - length)
            for count, s, span, length in zip(counts, self.stride, self.span, lengths, strict=True)
        ]
        less, more = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        return replace(self, before=less if upper else more, after=more if upper else less)


def convolution(
    builder: Builder, x: Tensor, weight: np.ndarray, bias: np.ndarray | None, window: Window, groups: int = 1
) -> Tensor:
    """The cross-correlation of an image with a constant kernel.

    Shapes: x [N, C, *spatial], weight [O, C / groups, *window.size], bias [O]; returns [N, O, *spatial'].
    """
    count, channels, lengths = _image(x, window)
    if weight.shape[1] * groups != channels or weight.shape[0] % groups or weight.shape[2:] != window.size:
        raise UnsupportedUse(
            f"its weight of shape {weight.shape} in {groups} groups does not fit the input of shape {x.shape}"
        )
    window.positions(lengths)
    map = ConvolutionMap.of(
        _kernel(weight, count),
        (count * channels, *_plane(lengths, 1)),
        _plane(window.stride, 1),
        window.padding,
        _plane(window.dilation, 1),
        count * groups,
    )
    return _with_bias(builder, x, map, tuple(map.output_shape[-len(lengths) :]), bias, weight.shape[0])


def transposed_convolution(
    builder: Builder,
    x: Tensor,
    weight: np.ndarray,
    bias: np.ndarray | None,
    window: Window,
    extra: Sizes,
    groups: int = 1,
) -> Tensor:
    """The adjoint of a convolution, whose padding is cut from the result; `extra` entries are added at its end.

    Shapes: x [N, C, *spatial], weight [C, O / groups, *window.size], bias [O]; returns [N, O, *spatial'].
    """
    count, channels, lengths = _image(x, window)
    if weight.shape[0] != channels or channels % groups or weight.shape[2:] != window.size:
        raise UnsupportedUse(
            f"its weight of shape {weight.shape} in {groups} groups does not fit the input of shape {x.shape}"
        )
    outputs = tuple(
        (length - 1) * window.stride[i] + window.span[i] - window.before[i] - window.after[i] + extra[i]
        for i, length in enumerate(lengths)
    )
    if min(outputs) < 1 or any(more >= s for more, s in zip(extra, window.stride, strict=True)):
        raise UnsupportedUse(f"its output padding {extra} is not below the stride, or its result is empty")
    map = ConvolutionMap.of(
        _kernel(weight, count),
        (count * weight.shape[1] * groups, *_plane(outputs, 1)),
        _plane(window.stride, 1),
        window.padding,
        _plane(window.dilation, 1),
        count * groups,
    )
    assert map.rows == x.size, "the adjoint's input is the convolution's output"
    return _with_bias(builder, x, TransposedMap(map), outputs, bias, weight.shape[1] * groups)


def average_pool(
    builder: Builder, x: Tensor, window: Window, count_padding: bool, ceil: bool = False, divisor: int | None = None
) -> Tensor:
    """Averages over windows: sums by a constant kernel, divided by `divisor` or the number of positions they count.

    Positions in the padding count if `count_padding`; those that only `ceil` adds never do.
    """
    _, channels, lengths = _image(x, window)
    wide = window.ceiled(lengths) if ceil else window
    ones = np.ones((channels, 1, *window.size))
    sums = convolution(builder, x, ones, None, wide, channels)
    counts = np.ones(())
    for i, seen in enumerate(wide.positions(lengths)):
        begin, end = (-window.before[i], lengths[i] + window.after[i]) if count_padding else (0, lengths[i])
        counts = counts[..., None] * np.count_nonzero((seen >= begin) & (seen < end), axis=1)
    if divisor is not None:
        counts = np.full(counts.shape, divisor)
    if not np.all(counts):
        raise UnsupportedUse("one of its windows sees nothing but padding")
    return builder.divide(sums, counts)


def max_pool(builder: Builder, x: Tensor, window: Window, ceil: bool = False) -> Tensor:
    """Maxima over windows, one axis after the other, in which padding takes no part.

    Axis by axis needs fewer pairwise maxima where windows overlap, and never more.
    """
    _, _, lengths = _image(x, window)
    wide = window.ceiled(lengths) if ceil else window
    for i, seen in enumerate(wide.positions(lengths)):
        inside = (seen >= 0) & (seen < lengths[i])
        if not inside.any(axis=1).all():
            raise UnsupportedUse("one of its windows sees nothing but padding")
        # An outside position repeats the first inside one of its window, which leaves the maximum as it is.
        first = np.take_along_axis(seen, inside.argmax(axis=1)[:, None], axis=1)
        index = np.where(inside, seen, first)
        if not np.array_equal(index, np.arange(lengths[i])[:, None]):
            x = window_maximum(builder, x, len(x.shape) - len(lengths) + i, index)
    return x


def adaptive_window(x: Tensor, outputs: Sequence[int | None]) -> Window:
    """The window that cuts the last axes of x into `outputs` equal parts; None leaves an axis as it is."""
    lengths = x.shape[len(x.shape) - len(outputs) :]
    targets = [length if out is None else out for length, out in zip(lengths, outputs, strict=True)]
    if any(out < 1 or length % out for length, out in zip(lengths, targets, strict=True)):
        raise UnsupportedUse(f"its output size {tuple(targets)} does not divide the spatial shape {lengths}")
    size = tuple(length // out for length, out in zip(lengths, targets, strict=True))
    none = (0,) * len(size)
    return Window(size, size, none, none, (1,) * len(size))


def batch_norm(
    builder: Builder,
    x: Tensor,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
) -> Tensor:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta for each channel, axis 1 of x; the parameters are [C]."""
    gamma, beta, mean, variance = (np.asarray(part, dtype=np.float64) for part in (gamma, beta, mean, variance))
    if len(x.shape) < 2 or any(part.shape != (x.shape[1],) for part in (gamma, beta, mean, variance)):
        raise UnsupportedUse(f"its parameters do not hold one number per channel of the input of shape {x.shape}")
    if np.any(variance < 0) or np.any(variance + epsilon <= 0):
        # A negative variance cancels against epsilon, which no count of roundings covers.
        raise UnsupportedUse("its variance is negative, or its variance plus epsilon is not positive")
    scale = gamma / np.sqrt(variance + epsilon)
    parts = (scale, beta - mean * scale, np.nextafter(np.abs(beta) + np.abs(mean * scale), np.inf))
    column = (-1, *(1 for _ in x.shape[2:]))
    wide = [np.array(np.broadcast_to(part.reshape(column), x.shape)).reshape(-1) for part in parts]
    # What float32 flushes to zero in the scale counts in proportion to x.
    magnitude = np.abs(wide[0]) + FLUSHED
    # Runtimes round the sum, the root, its reciprocal and the product behind the scale; then that with x and the sum.
    # Those that subtract the mean first round seven times, and the shift takes two beyond the scale's: with the node's
    # own two that makes eight, which covers either.
    scaled = Tensor(builder.affine(x, DiagonalMap(wide[0], magnitude, roundings=6), wide[1], wide[2]), x.shape)
    given = [np.broadcast_to(part.reshape(column), x.shape) for part in (gamma, beta, mean, variance)]
    return builder.stands_for(scaled, "batch_norm", [x], *given, np.array(epsilon))


def _image(x: Tensor, window: Window) -> tuple[int, int, Sizes]:
    """The samples, channels and spatial lengths of x."""
    axes = len(window.size)
    if len(x.shape) not in (axes + 1, axes + 2):
        raise UnsupportedUse(f"its window of {axes} spatial axes does not fit the input of shape {x.shape}")
    return prod(x.shape[: -axes - 1]), x.shape[-axes - 1], x.shape[-axes:]


def _plane(numbers: Sizes, fill: int) -> tuple[int, int]:
    """The numbers of two spatial axes, of which a missing first one gets `fill`."""
    return (fill, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _kernel(weight: np.ndarray, count: int) -> np.ndarray:
    """The kernel over planes, once for each of `count` samples, which are groups of one image."""
    flat = weight.astype(np.float64).reshape(*weight.shape[:2], *_plane(weight.shape[2:], 1))
    return flat if count == 1 else np.tile(flat, (count, 1, 1, 1))


def _with_bias(
    builder: Builder,
    x: Tensor,
    map: LinearMap,
    lengths: Sizes,
    bias: np.ndarray | None,
    channels: int,
) -> Tensor:
    shape = (*x.shape[: -len(lengths) - 1], channels, *lengths)
    if bias is None:
        return Tensor(builder.affine(x, map), shape)
    if bias.size != channels:
        raise UnsupportedUse(f"its bias of shape {bias.shape} does not hold one number per output channel")
    column = bias.reshape(-1, *(1 for _ in lengths))
    return Tensor(builder.affine(x, map, np.broadcast_to(column, shape)), shape)
