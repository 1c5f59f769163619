"""Random pairs of small networks: a network, and what rounding, quantising, pruning or tuning makes of its numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from admm_verify import Box, Network
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.network.nonlinear import absolute, prelu
from admm_verify.network.spatial import Window, average_pool, batch_norm, convolution, max_pool

Randomness = np.random.Generator
Change = Callable[[Randomness, list[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True, eq=False)
class PairCase:
    """Two networks of one input and a box of it; label: which kind and which change."""

    kind: str
    change: str
    first: Network
    second: Network
    box: Box

    @property
    def label(self) -> str:
        return f"{self.kind}, {self.change}"


@dataclass(eq=False)
class Numbers:
    """The arrays of a network, drawn one by one, or given in the same order."""

    rng: Randomness
    given: list[np.ndarray] | None = None
    drawn: list[np.ndarray] = field(default_factory=list)

    def __call__(self, *shape: int) -> np.ndarray:
        """Weights and biases for rows of a shape, numbers that float32 holds in the first network."""
        scale = 1.3 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.4
        return self.take(scale * self.rng.standard_normal(shape))

    def take(self, found: np.ndarray) -> np.ndarray:
        """An array, or what stands in its place."""
        self.drawn.append(found.astype(np.float32).astype(np.float64))
        return self.drawn[-1] if self.given is None else self.given[len(self.drawn) - 1]


def _act(builder: Builder, x: Tensor, kind: str, numbers: Numbers) -> Tensor:
    channels = (x.shape[1], *(1 for _ in x.shape[2:]))
    if kind == "leaky":
        return prelu(builder, x, np.array(0.1))
    if kind == "prelu":
        return prelu(builder, x, np.clip(numbers.take(numbers.rng.uniform(-0.5, 0.5, channels)), -1.0, 1.0))
    if kind == "abs":
        return absolute(builder, x)
    if kind == "clip":
        return builder.activation("clip", x, 0.0, 0.7)
    return builder.activation(kind if kind in ("tanh", "sigmoid", "softplus") else "relu", x)


def _dense(builder: Builder, x: Tensor, size: int, numbers: Numbers) -> Tensor:
    weight = numbers(size, x.size)
    return Tensor(builder.affine(x, DenseMap(weight), numbers(size)), (1, len(weight)))


def _layers(builder: Builder, kind: str, sizes: list[int], numbers: Numbers) -> Tensor:
    x = builder.input
    for size in sizes:
        x = _act(builder, _dense(builder, x, size, numbers), kind, numbers)
    return _dense(builder, x, 2, numbers)


def _residual(builder: Builder, kind: str, sizes: list[int], numbers: Numbers) -> Tensor:
    x = _dense(builder, builder.input, sizes[0], numbers)
    for size in sizes[1:]:
        inner = _act(builder, _dense(builder, _act(builder, x, kind, numbers), size, numbers), kind, numbers)
        x = builder.add(_dense(builder, inner, sizes[0], numbers), x)
    return _dense(builder, _act(builder, x, kind, numbers), 2, numbers)


def _conv(builder: Builder, x: Tensor, channels: int, size: int, numbers: Numbers, stride: int = 1) -> Tensor:
    window = Window((size, size), (stride, stride), (size // 2,) * 2, (size // 2,) * 2, (1, 1))
    return convolution(builder, x, numbers(channels, x.shape[1], size, size), numbers(channels), window)


def _images(builder: Builder, kind: str, sizes: list[int], numbers: Numbers) -> Tensor:
    """Convolutions, some normalised, summed with what they are made of, or pooled, and a dense layer."""
    x = _act(builder, _conv(builder, builder.input, 2, 3, numbers), "relu", numbers)
    if kind == "normalised":
        x = _conv(builder, x, 2, 3, numbers)
        x = batch_norm(builder, x, 1.0 + numbers(2), numbers(2), numbers(2), np.exp(numbers(2)), 1e-5)
        x = _act(builder, x, "relu", numbers)
    elif kind == "blocks":
        inner = _act(builder, _conv(builder, x, 3, 3, numbers), "relu", numbers)
        x = _act(builder, builder.add(_conv(builder, inner, 2, 1, numbers), x), "leaky", numbers)
    elif kind in ("pooled", "averaged"):
        window = Window((2, 2), (2, 2), (0, 0), (0, 0), (1, 1))
        pooled = max_pool(builder, x, window, False) if kind == "pooled" else None
        x = average_pool(builder, x, window, True, False) if pooled is None else pooled
    else:
        x = _act(builder, _conv(builder, x, 3, 3, numbers, 2), "relu", numbers)
    x = builder.reshape(x, (1, x.size))
    return _dense(builder, _act(builder, _dense(builder, x, 4, numbers), "relu", numbers), 2, numbers)


IMAGES = ("conv", "normalised", "blocks", "pooled", "averaged")
KINDS = ("dense", "residual", "leaky", "tanh", "sigmoid", "prelu", "abs", "clip", "softplus", *IMAGES)
LINEAR = ("dense", "residual", "leaky", "prelu", "abs", "clip", *IMAGES)
"""Kinds whose networks are piecewise linear."""


def _tuned(scale: float) -> Change:
    def change(rng: Randomness, arrays: list[np.ndarray]) -> list[np.ndarray]:
        return [array + scale * np.abs(array).max() * rng.standard_normal(array.shape) for array in arrays]

    return change


def _rounded(rng: Randomness, arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [array.astype(np.float16).astype(np.float64) for array in arrays]


def _quantised(rng: Randomness, arrays: list[np.ndarray]) -> list[np.ndarray]:
    steps = [max(np.abs(array).max(), 1e-3) / 127 for array in arrays]
    return [np.rint(array / step) * step for array, step in zip(arrays, steps, strict=True)]


def _pruned(rng: Randomness, arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [np.where(np.abs(array) < np.quantile(np.abs(array), 0.2), 0.0, array) for array in arrays]


def _last(rng: Randomness, arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [*arrays[:-2], *_tuned(0.05)(rng, arrays[-2:])]


def _kept(rng: Randomness, arrays: list[np.ndarray]) -> list[np.ndarray]:
    return arrays


def _drawn_anew(rng: Randomness, arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [rng.permutation(array.reshape(-1)).reshape(array.shape) for array in arrays]


def _shuffled(rng: Randomness, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The layers of a chain with their neurons in another order, and tuned a little."""
    return _chosen(_tuned(0.01)(rng, arrays), [rng.permutation(len(weight)) for weight in arrays[:-2:2]])


def _narrower(rng: Randomness, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The layers of a chain without some of their neurons."""
    return _chosen(arrays, [np.flatnonzero(rng.permutation(len(weight)) > 0) for weight in arrays[:-2:2]])


def _chosen(arrays: list[np.ndarray], neurons: list[np.ndarray]) -> list[np.ndarray]:
    made, before = [], slice(None)
    for k in range(0, len(arrays), 2):
        own = neurons[k // 2] if k // 2 < len(neurons) else slice(None)
        made += [arrays[k][own][:, before], arrays[k + 1][own]]
        before = own
    return made


CHAINS = ("dense", "leaky", "tanh", "sigmoid", "abs", "clip", "softplus")
"""Kinds that are dense layers with one activation, whose neurons may be moved."""

CHANGES: dict[str, Change] = {
    "rounded": _rounded,
    "tuned": _tuned(0.01),
    "quantised": _quantised,
    "pruned": _pruned,
    "tuned much": _tuned(0.2),
    "last layer": _last,
    "nearly the same": _tuned(1e-9),
    "another network": _drawn_anew,
    "kept": _kept,
}
MOVES: dict[str, Change] = {"shuffled": _shuffled, "narrower": _narrower}
"""What is done to chains only."""


def random_pair(seed: int, kinds: tuple[str, ...] = KINDS, side: int = 4) -> PairCase:
    """The pair of a seed, of images of `side` rows: its kind is that of number seed mod their number, and all
    changes of that kind take turns.
    """
    turn, place = divmod(seed, len(kinds))
    kind = kinds[place]
    changes = CHANGES | MOVES if kind in CHAINS else CHANGES
    change = list(changes)[(turn + place) % len(changes)]
    rng = np.random.default_rng([seed, 29])
    sizes = [int(size) for size in rng.integers(3, 7, int(rng.integers(2, 4)))]
    shape = (1, 1, side, side) if kind in IMAGES else (1, int(rng.integers(2, 5)))
    numbers = Numbers(np.random.default_rng([seed, 31]))
    first = _built(kind, shape, sizes, numbers, "first")
    changed = changes[change](rng, numbers.drawn)
    second = _built(kind, shape, sizes, Numbers(np.random.default_rng([seed, 31]), changed), "second")
    centre = rng.uniform(-1, 1, first.input_size)
    radius = rng.choice([0.02, 0.2, 0.5, 1.0]) * rng.uniform(0.5, 1.0, first.input_size)
    return PairCase(kind, change, first, second, Box(centre - radius, centre + radius))


def _built(kind: str, shape: tuple[int, ...], sizes: list[int], numbers: Numbers, name: str) -> Network:
    builder = Builder(shape, "float64")
    grow = _images if kind in IMAGES else _residual if kind == "residual" else _layers
    return builder.finish(grow(builder, kind, sizes, numbers), name)
