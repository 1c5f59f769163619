"""Random small networks of convolutions, pooling, residual blocks and many activations, for attacks on the bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from admm_verify import Box, Network
from admm_verify.network.builder import Builder, Tensor, Value
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Input, Node, Term
from admm_verify.network.maps import DenseMap, LinearMap, TransposedMap
from admm_verify.network.nonlinear import absolute, elu, maximum, prelu as builder_prelu
from admm_verify.network.selection import SelectionMap
from admm_verify.network.simplify import simplify
from admm_verify.network.spatial import Window, average_pool, batch_norm, convolution, max_pool, transposed_convolution

HIDDEN = 150
"""Neurons after which a network grows no further."""

Randomness = np.random.Generator


@dataclass(frozen=True, eq=False)
class LayerCase:
    """A network as it was built and in normal form, a box, and objective rows."""

    kind: str
    original: Network
    network: Network
    box: Box
    objective: np.ndarray
    offset: np.ndarray


class Recorder(Builder):
    """A builder whose graph can be had as it was built, before anything is merged."""

    def recorded(self, output: Tensor) -> Network:
        last = self.affine(output, SelectionMap.identity(output.size))
        return Network((*self._nodes, self._nodes[last]), (self.input.size,), (output.size,), "recorded", "float64")

    @property
    def neurons(self) -> int:
        return sum(node.size for node in self._nodes if isinstance(node, Activation))


@dataclass(frozen=True, eq=False)
class Style:
    """What the layers of one network have in common."""

    rng: Randomness
    smooth: bool
    gain: float = 1.0
    uneven: bool = False
    dead: bool = False
    zero: bool = False

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def weight(self, *shape: int) -> np.ndarray:
        """Rows of one size, or each on a scale of its own from 1e-6 to 1e3; some or all of them zero."""
        weight = self.gain * self.rng.standard_normal(shape) / np.sqrt(prod(shape[1:]))
        column = (shape[0], *(1 for _ in shape[1:]))
        if self.uneven:
            weight = weight * 10.0 ** self.rng.uniform(-6, 3, column)
        if self.dead:
            weight = weight * (self.rng.random(column) < 0.6)
        return weight * 0.0 if self.zero and self.chance(0.3) else weight

    def bias(self, size: int) -> np.ndarray:
        bias = self.gain * self.rng.uniform(0, 0.6) * self.rng.standard_normal(size)
        return np.where(self.rng.random(size) < 0.4, -100.0, bias) if self.dead else bias


def _window(style: Style, lengths: tuple[int, ...], most: int = 3) -> Window:
    """A window that fits the lengths, with asymmetric padding, stride and dilation now and then."""
    rng, axes = style.rng, len(lengths)
    size = tuple(int(rng.integers(1, min(most, length) + 1)) for length in lengths)
    before, after = (tuple(int(rng.integers(0, k)) if style.chance(0.6) else 0 for k in size) for _ in range(2))
    stride = tuple(int(rng.integers(1, 3)) for _ in range(axes))
    fits = all(2 * (k - 1) + 1 <= n + b + a for k, n, b, a in zip(size, lengths, before, after, strict=True))
    dilation = (2,) * axes if fits and style.chance(0.2) else (1,) * axes
    return Window(size, stride, before, after, dilation)


def _conv(builder: Recorder, x: Tensor, style: Style, outputs: int | None = None, window: Window | None = None):
    channels = x.shape[1]
    groups = channels if channels > 1 and style.chance(0.2) else 1
    wanted = int(style.rng.integers(1, 4)) if outputs is None else outputs
    groups = groups if wanted % groups == 0 else 1
    found = _window(style, x.shape[2:]) if window is None else window
    weight = style.weight(wanted, channels // groups, *found.size)
    return convolution(builder, x, weight, style.bias(wanted) if style.chance(0.8) else None, found, groups)


def _same_conv(builder: Recorder, x: Tensor, style: Style, outputs: int) -> Tensor:
    """A convolution that keeps the spatial shape; the longer half of an even kernel's padding comes first or last."""
    axes = len(x.shape) - 2
    size = int(style.rng.integers(1, 4))
    one = (1,) * axes
    window = Window((size,) * axes, one, (0,) * axes, (0,) * axes, one).same(x.shape[2:], style.chance(0.5))
    return _conv(builder, x, style, outputs, window)


def _transposed(builder: Recorder, x: Tensor, style: Style) -> Tensor:
    axes = len(x.shape) - 2
    outputs, size = int(style.rng.integers(1, 3)), (2,) * axes
    stride = (int(style.rng.integers(1, 3)),) * axes
    window = Window(size, stride, (0,) * axes, (0,) * axes, (1,) * axes)
    extra = (stride[0] - 1,) * axes if style.chance(0.5) else (0,) * axes
    weight = style.weight(x.shape[1], outputs, *size)
    return transposed_convolution(builder, x, weight, style.bias(outputs), window, extra)


def _norm(builder: Recorder, x: Tensor, style: Style) -> Tensor:
    size, rng = x.shape[1], style.rng
    gamma = rng.uniform(-0.5, 2.0, size) * (rng.random(size) < 0.9)
    return batch_norm(builder, x, gamma, style.bias(size), style.bias(size), rng.uniform(0, 2, size), 1e-5)


def _pool(builder: Recorder, x: Tensor, style: Style) -> Tensor:
    window = _window(style, x.shape[2:], 2)
    largest = style.chance(0.4) and x.size <= 40
    one = (1,) * len(window.size)
    window = Window(window.size, window.stride, window.before, window.after, one)
    ceil = style.chance(0.3)
    return max_pool(builder, x, window, ceil) if largest else average_pool(builder, x, window, style.chance(0.5), ceil)


def _slopes(style: Style, channels: int) -> np.ndarray:
    special = style.rng.choice([-1.0, 0.0, 1.0, 0.01, 0.25, -0.0, 1e-6], channels)
    slope = np.where(style.rng.random(channels) < 0.4, special, style.rng.uniform(-1, 1, channels))
    return np.where(style.rng.random(channels) < 0.1, 3.0, slope)


def _activation(builder: Recorder, x: Tensor, style: Style) -> Tensor:
    rng = style.rng
    column = (x.shape[1], *(1 for _ in x.shape[2:]))
    kinds = ["relu", "relu", "relu", "prelu", "abs", "clip", "max"]
    if style.smooth:
        kinds = ["sigmoid", "tanh", "softplus", "elu", "elu", "relu", "clip", "steep elu", "tanh"]
    kind = str(rng.choice(kinds))
    if kind == "prelu":
        return builder_prelu(builder, x, _slopes(style, x.shape[1]).reshape(column))
    if kind == "abs":
        return absolute(builder, x)
    if kind == "clip":
        low = rng.uniform(-1, 0.5, column)
        return builder.activation("clip", x, low, low + rng.uniform(1e-3, 1.5, column))
    if kind == "max":
        constant = len(x.shape) == 2 or style.chance(0.5)
        other: Value = rng.uniform(-1, 1, column) if constant else _same_conv(builder, x, style, x.shape[1])
        return maximum(builder, x, other)
    if kind == "elu":
        return elu(builder, x, float(rng.choice([1.0, rng.uniform(0.05, 1)])))
    return elu(builder, x, 1.7) if kind == "steep elu" else builder.activation(kind, x)


def _block(builder: Recorder, x: Tensor, style: Style) -> Tensor:
    """conv, act, conv beside an identity or a convolution; what is added may be read by others too."""
    path = _activation(builder, _same_conv(builder, x, style, int(style.rng.integers(1, 3))), style)
    identity = style.chance(0.5)
    outputs = x.shape[1] if identity else int(style.rng.integers(1, 3))
    path = _same_conv(builder, path, style, outputs)
    return builder.add(
        path, x if identity else _same_conv(builder, x, style, outputs), -1.0 if style.chance(0.2) else 1.0
    )


def _preactivation_block(builder: Recorder, x: Tensor, style: Style) -> Tensor:
    """norm, act, conv added to its own input, so that an affine node is read by an activation and by a sum."""
    path = _same_conv(builder, _activation(builder, _norm(builder, x, style), style), style, x.shape[1])
    if style.chance(0.4):
        path = builder.add(path, _activation(builder, x, style))
    return builder.add(path, x)


def _branches(builder: Recorder, x: Tensor, style: Style) -> Tensor:
    parts: list[Value] = [_same_conv(builder, x, style, 1), _activation(builder, x, style)]
    return builder.concat(parts, 1)


def _moved(builder: Recorder, x: Tensor, style: Style) -> Tensor:
    """Mirrored, shuffled by channel, sliced, doubled by nearest neighbours, or read in another shape."""
    labels, rng = x.labels, style.rng
    choice = int(rng.integers(5))
    if choice == 0:
        return builder.select(x, labels[..., ::-1])
    if choice == 1:
        return builder.select(x, labels[:, rng.permutation(x.shape[1])])
    if choice == 2 and x.shape[-1] > 2:
        return builder.select(x, labels[..., 1:])
    if choice == 3 and x.size <= 24:
        return builder.select(x, np.repeat(labels, 2, axis=-1))
    return _reshaped(builder, x, style)


def _reshaped(builder: Recorder, x: Tensor, style: Style) -> Tensor:
    """The same channels with their entries in rows of another length, or as one row, as in front of a sequence."""
    channels, *lengths = x.shape[1:]
    size = prod(lengths)
    if len(lengths) == 1:
        return builder.reshape(x, (1, channels, 2, size // 2)) if size % 2 == 0 else x
    if style.chance(0.5):
        return builder.reshape(x, (1, channels, size))
    return builder.reshape(x, (1, channels, lengths[1], lengths[0]))


GROWTH: dict[str, list[Callable[[Recorder, Tensor, Style], Tensor]]] = {
    "plain": [_conv],
    "normalised": [lambda b, x, s: _norm(b, _conv(b, x, s), s)],
    "pooled": [_conv, _pool],
    "residual": [_block, _block, _conv],
    "pre-activation": [_preactivation_block],
    "transposed": [_conv, _transposed],
    "branches": [_branches, _conv],
    "moved": [_moved, _conv, _conv],
    "reshaped": [lambda b, x, s: _conv(b, _reshaped(b, x, s), s)],
    "mixed": [_conv, _norm, _pool, _block, _preactivation_block, _transposed, _branches, _moved],
}

STYLES: dict[str, dict] = {
    "usual": {},
    "wide": {"gain": 4.0},
    "uneven": {"uneven": True},
    "dead": {"dead": True},
    "zero": {"zero": True},
    "tiny": {"gain": 1e-6},
    "huge": {"gain": 1e3},
}


def _grown(builder: Recorder, style: Style, steps: list, last: bool) -> Tensor:
    """The input as an image, 2 to 4 steps with activations between them, then a head."""
    x = builder.input
    if last:
        # The input has its channels last.
        x = builder.select(x, np.moveaxis(x.labels, -1, 1))
    for k in range(int(style.rng.integers(2, 5))):
        if builder.neurons > HIDDEN // 2 or x.size > 80:
            break
        x = steps[k % len(steps) if len(steps) < 4 else style.rng.integers(len(steps))](builder, x, style)
        if builder.neurons + x.size <= HIDDEN:
            x = _activation(builder, x, style)
    x = builder.reshape(x, (1, x.size))
    if style.chance(0.6):
        size = int(style.rng.integers(1, 9))
        x = _activation(builder, _dense(builder, x, style, size), style)
    return _dense(builder, x, style, int(style.rng.integers(1, 4)))


def _dense(builder: Recorder, x: Tensor, style: Style, size: int) -> Tensor:
    node = builder.affine(x, DenseMap(style.weight(size, x.size)), style.bias(size))
    return Tensor(node, (1, size))


def layer_case(seed: int, smooth: bool) -> LayerCase:
    """The case of a seed; with `smooth`, activations with curved graphs among those with kinks."""
    rng = np.random.default_rng([seed, int(smooth), 5])
    growth = list(GROWTH)[seed % len(GROWTH)]
    manner = list(STYLES)[(seed // 3) % len(STYLES)] if seed % 3 == 2 else "usual"
    style = Style(rng, smooth, **STYLES[manner])
    if growth == "plain" and seed % 20 == 0:
        original, kind = _direct(style), f"several convolutions in one node, {manner}"
    else:
        channels = int(rng.integers(1, 4))
        flat = rng.random() < 0.3
        lengths = (int(rng.integers(4, 13)),) if flat else tuple(int(n) for n in rng.integers(2, 5, 2))
        last = rng.random() < 0.25
        builder = Recorder((1, *lengths, channels) if last else (1, channels, *lengths))
        output = _grown(builder, style, GROWTH[growth], last)
        original, kind = builder.recorded(output), f"{growth}, {manner}"
    box = _box(rng, original.input_size)
    rows = int(rng.integers(1, 4))
    objective, offset = rng.standard_normal((rows, original.output_size)), rng.standard_normal(rows)
    return LayerCase(kind, original, simplify(original), box, objective, offset)


def _box(rng: Randomness, size: int) -> Box:
    """Usual, wide and narrow boxes, some with fixed entries, some a point."""
    centre, radius = rng.uniform(-1, 1, size), rng.uniform(0, 1, size) * rng.choice([0.1, 0.3, 1.0, 1.0, 8.0])
    fixed = rng.random()
    radius = radius * (rng.random(size) < 0.6) if fixed < 0.2 else radius * (fixed > 0.25)
    return Box(centre - radius, centre + radius)


def _direct(style: Style) -> Network:
    """Graph nodes by hand: sums of convolutions, adjoints, identities and scalings that no reader would write."""
    rng, shape = style.rng, (2, 4, 3)
    size = prod(shape)
    nodes: list[Node] = [Input(size)]

    def conv(kernel: int, padding: tuple[int, int, int, int]) -> ConvolutionMap:
        return ConvolutionMap.of(style.weight(2, 2, kernel, kernel), shape, padding=padding)

    def add(*terms: tuple[int, LinearMap]) -> int:
        bias = style.bias(terms[0][1].rows)
        nodes.append(Affine(tuple(Term(*term) for term in terms), bias, np.abs(bias)))
        return len(nodes) - 1

    def act(source: int) -> int:
        kind = str(rng.choice(["tanh", "softplus", "relu", "sigmoid"] if style.smooth else ["relu", "prelu"]))
        slopes = (rng.uniform(-1, 1, size),) if kind == "prelu" else ()
        nodes.append(Activation(kind, source, size, slopes))
        return len(nodes) - 1

    three, one, two = (1, 1, 1, 1), (0, 0, 0, 0), (0, 1, 1, 0)
    first = act(add((0, conv(3, three))))
    second = add((first, conv(3, three)), (0, conv(1, one)), (first, SelectionMap.identity(size)))
    third = act(second)
    fourth = act(add((third, TransposedMap(conv(2, two))), (second, SelectionMap.identity(size))))
    fifth = act(add((fourth, conv(2, (1, 0, 0, 1))), (third, conv(2, two)), (0, conv(3, three))))
    add((fifth, DenseMap(style.weight(2, size))), (first, DenseMap(style.weight(2, size))))
    return Network(tuple(nodes), (size,), (2,))
