"""Small dense, convolutional and residual networks whose weights are what was drawn: nothing in them is merged."""

from fractions import Fraction

import numpy as np

from admm_verify import Box, Network
from admm_verify.bounds.preactivation import PreactivationBounds
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.network.spatial import Window, convolution
from tests.reference.pieces import ExactPieces

FAMILIES = ("dense", "conv", "residual")
PIECES = ("relu", "relu", "relu", "prelu")
MIXED = ("relu", "prelu", "sigmoid", "tanh", "relu")
Randomness = np.random.Generator


def network_of(family: str, rng: Randomness, kinds: tuple[str, ...] = PIECES, depth: int = 3, wide: int = 6) -> Network:
    """A random network in float64 with up to `depth` layers of activations of the given kinds."""
    image = family == "conv"
    builder = Builder((1, 1, 3, int(rng.integers(2, 4))) if image else (1, int(rng.integers(2, 5))), "float64")
    x = builder.input
    for _ in range(int(rng.integers(1, depth + 1))):
        if image and rng.random() < 0.8:
            x = _activated(builder, rng, kinds, _conv(builder, rng, x))
        elif family == "residual":
            inner = _activated(builder, rng, kinds, _dense(builder, rng, x, int(rng.integers(2, wide + 1))))
            x = _activated(builder, rng, kinds, builder.add(_dense(builder, rng, inner, x.size), x))
        else:
            image = False
            size = int(rng.integers(2, wide + 1))
            x = _activated(builder, rng, kinds, _dense(builder, rng, builder.reshape(x, (1, x.size)), size))
    return builder.finish(_dense(builder, rng, builder.reshape(x, (1, x.size)), 2), family)


def box_for(network: Network, rng: Randomness, free: int = 4) -> Box:
    """A box of which at most `free` sides have a width."""
    size = network.input_size
    centre = rng.uniform(-1, 1, size)
    radius = np.where(rng.permutation(size) < free, rng.uniform(0.2, 1, size), 0.0)
    return Box((centre - radius).reshape(network.input_shape), (centre + radius).reshape(network.input_shape))


def flat_box(box: Box) -> Box:
    return Box(np.reshape(box.lower, -1), np.reshape(box.upper, -1))


def pairs_of(bounds: PreactivationBounds, row: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(low[row], high[row]) for low, high in zip(bounds.lower, bounds.upper, strict=True)]


def exact_output(network: Network, x: np.ndarray) -> list[Fraction]:
    """The network's output in rational arithmetic."""
    return ExactPieces(network).values(np.reshape(x, -1))[-1]


def _dense(builder: Builder, rng: Randomness, x: Tensor, size: int) -> Tensor:
    weight = 1.4 * rng.standard_normal((size, x.size)) / np.sqrt(x.size)
    return Tensor(builder.affine(x, DenseMap(weight), 0.4 * rng.standard_normal(size)), (1, size))


def _conv(builder: Builder, rng: Randomness, x: Tensor) -> Tensor:
    window = Window((2, 2), (1, 1), (0, 0), (1, 1), (1, 1))
    channels = int(rng.integers(1, 3))
    weight = 0.8 * rng.standard_normal((channels, x.shape[1], 2, 2))
    return convolution(builder, x, weight, 0.3 * rng.standard_normal(channels), window)


def _activated(builder: Builder, rng: Randomness, kinds: tuple[str, ...], x: Tensor) -> Tensor:
    kind = str(rng.choice(kinds))
    return builder.activation(kind, x, *([rng.uniform(-1, 1, x.shape)] if kind == "prelu" else []))
