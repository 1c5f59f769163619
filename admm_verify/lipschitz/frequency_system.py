"""A convolutional part of a network as systems of slopes, one per frequency, with one multiplier per channel.

The form that multipliers prove a constant with adds products of entries of images and of their convolutions:

    L |x|^2 + L |y|^2 - 2 y'Y z + 2 sum_i t_i a_i (a_i - N_i z),        z = (x, a).

Images that are zero outside their frames lie in periodic ones of any period that keeps what wraps around apart, and
a_i = 0 outside the frame leaves out what a convolution has there: zeros around images cost nothing. Periodic
convolutions, also those that turn what wraps around by a phase, are matrices A(w) at frequencies w, and with one
multiplier per channel so is the form: where it is positive semidefinite at every frequency, L is a Lipschitz constant.

Strides: an image of stride q above the coarsest one is q x q images of every q-th pixel, with multipliers of their own.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, gamma, to_numpy
from admm_verify.lipschitz.jacobians import global_slopes
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.network.maps import DiagonalMap, LinearMap
from admm_verify.network.selection import SelectionMap

MOST_CHANNELS = 2100
"""Of a system, with all images of strides: beyond, one frequency takes seconds."""

_WAVE_ERROR = 64.0 * DOUBLE_ROUNDOFF
"""Of exp(i w), from angles below 2 pi that are rounded twice, and of products of two of them."""

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _ImageGrid:
    """Where a node's images lie: (C, H, W), and the strides above the coarsest image; first: of z, None for sums."""

    shape: Shape
    strides: tuple[int, int]
    first: int | None = None

    @property
    def phases(self) -> list[tuple[int, int]]:
        return [(i, j) for i in range(self.strides[0]) for j in range(self.strides[1])]

    @property
    def channels(self) -> int:
        return self.shape[0] * prod(self.strides)

    def extent(self, axis: int) -> int:
        """Pixels of one image of every q-th pixel."""
        return -(-self.shape[1 + axis] // self.strides[axis])


@dataclass(frozen=True, eq=False)
class _PlacedKernels:
    """A convolution's matrices at places: y_j = sum over places e of K_e x_(j + e). off: how far it may be in |.|_2.

    Shapes: kernels [taps, channels of y, channels of x]; places [taps, 2].
    """

    source: int
    kernels: np.ndarray
    places: np.ndarray
    off: float


@dataclass(frozen=True, eq=False)
class FrequencySystem:
    """The systems of a part: matrices of any of its frequencies, and what these may be off by.

    neurons, inputs, outputs: of one system; stops: as those of `SlopeSystem`; steepest: what the constants of the
    systems are multiplied by, for a function at the end. period: of the images, in both directions.
    """

    inputs: int
    stops: tuple[int, ...]
    outputs: int
    inner_error: float
    outer_error: float
    period: tuple[int, int]
    layers: tuple[tuple[_PlacedKernels, ...], ...]
    last: tuple[_PlacedKernels, ...]
    firsts: dict[int, int]
    factors: dict[int, np.ndarray]

    @property
    def neurons(self) -> int:
        return self.stops[-1]

    @property
    def side(self) -> int:
        """Rows of the form at one frequency."""
        return self.inputs + self.neurons + self.outputs

    def waves(self, theta: tuple[int, int]) -> np.ndarray:
        """The frequencies pi waves / period shifted by theta of 0 or 1 halves of their mesh; of w and -w one."""
        rows, columns = (2 * np.arange(n) + half for n, half in zip(self.period, theta, strict=True))
        waves = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        double = 2 * np.array(self.period)
        other = (-waves) % double
        return waves[waves[:, 0] * double[1] + waves[:, 1] <= other[:, 0] * double[1] + other[:, 1]]

    def at(self, waves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """N and Y at frequencies. Shapes: waves [k, 2]; N [k, m, n + m]; Y [k, p, n + m]."""
        inner = [self._matrix(taps, waves) for taps in self.layers]
        return np.concatenate(inner, axis=1), self._matrix(self.last, waves)

    def _matrix(self, parts: tuple[_PlacedKernels, ...], waves: np.ndarray) -> np.ndarray:
        rows = parts[0].kernels.shape[1]
        found = np.zeros((len(waves), rows, self.inputs + self.neurons), dtype=np.complex128)
        for part in parts:
            turned = np.ones((len(waves), len(part.places)), dtype=np.complex128)
            for axis, period in enumerate(self.period):
                # Whole numbers first: sine and cosine of small angles alone have small errors.
                step = (waves[:, axis, None] * part.places[None, :, axis]) % (2 * period)
                turned *= np.exp(1j * np.pi * step / period)
            taps, _, columns = part.kernels.shape
            own = (turned @ part.kernels.reshape(taps, -1)).reshape(len(waves), rows, columns)
            first = self.firsts[part.source]
            found[:, :, first : first + columns] += own * self.factors[part.source]
        return found


def frequency_system(graph: Network, start: int, end: int) -> FrequencySystem | None:
    """The systems of what lies between two nodes that all paths pass, the second without its own function.

    None where a node is no image or no sum of convolutions of the input and of functions, where slopes are not in
    [0, s] with one s per channel, or where there are too many channels.
    """
    final = graph.nodes[end]
    last = final.source if isinstance(final, Activation) else end
    nodes = _needed(graph, start, last)
    frames = _frames(graph, nodes, start, last)
    if frames is None or not any(isinstance(graph.nodes[i], Activation) for i in nodes):
        return None
    factors: dict[int, np.ndarray] = {start: np.ones(frames[start].channels)}
    firsts, width = {start: 0}, frames[start].channels
    inputs, stops, layers, errors = width, [], [], []
    for i in nodes:
        node = graph.nodes[i]
        if not isinstance(node, Activation):
            continue
        factor = _channel_slopes(node, frames[i])
        taps = _taps_of(graph, frames, node.source, start)
        if factor is None or taps is None:
            return None
        factors[i], firsts[i] = factor, width
        width += frames[i].channels
        stops.append(width - inputs)
        layers.append(taps)
        errors.append(_error(taps, factors))
    outer = _taps_of(graph, frames, last, start)
    if outer is None or width + frames[last].channels > MOST_CHANNELS:
        return None
    period = _period(frames, [*layers, outer], graph, nodes, last)
    inner_error = float(np.sqrt(np.sum(np.square(errors)))) * (1.0 + 1e-12)
    return FrequencySystem(
        inputs,
        tuple(stops),
        frames[last].channels,
        inner_error,
        _error(outer, factors),
        period,
        tuple(layers),
        outer,
        firsts,
        factors,
    )


def _needed(graph: Network, start: int, last: int) -> list[int]:
    """The nodes behind `start` that the last one comes of, itself included."""
    needed = {last}
    for i in range(last, start, -1):
        if i in needed:
            needed.update(source for source, _ in _read(graph, i) if source > start)
    return sorted(needed)


def _frames(graph: Network, nodes: list[int], start: int, last: int) -> dict[int, _ImageGrid] | None:
    """Shapes and strides of all nodes, from the last one back; None where they do not fit."""
    shapes = _shapes(graph, nodes)
    strides: dict[int, tuple[int, int]] = {last: (1, 1)}
    for i in reversed(nodes):
        if i not in strides or i not in shapes:
            return None
        for source, part in _read(graph, i):
            own = part.stride if isinstance(part, ConvolutionMap) else (1, 1)
            wanted = (strides[i][0] * own[0], strides[i][1] * own[1])
            if source >= start and strides.setdefault(source, wanted) != wanted:
                return None
    if start not in strides or start not in shapes:
        return None
    return {i: _ImageGrid(shapes[i], strides[i]) for i in (start, *nodes)}


def _shapes(graph: Network, nodes: list[int]) -> dict[int, Shape]:
    """Those that convolutions tell; what is added to their images, or made of them, has the same."""
    shapes: dict[int, Shape] = {}
    for i in nodes:
        for source, part in _read(graph, i):
            if isinstance(part, ConvolutionMap):
                shapes[source], shapes[i] = part.input_shape, part.output_shape
    for i in (*nodes, *reversed(nodes)):
        for source, part in _read(graph, i):
            if not isinstance(part, ConvolutionMap):
                for one, other in ((i, source), (source, i)):
                    if one in shapes:
                        shapes.setdefault(other, shapes[one])
    return shapes


def _read(graph: Network, i: int) -> list[tuple[int, LinearMap | None]]:
    """The sources of a node, with the maps of sums."""
    node = graph.nodes[i]
    if isinstance(node, Activation):
        return [(node.source, None)]
    return [(term.source, term.map) for term in node.terms] if isinstance(node, Affine) else []


def _channel_slopes(node: Activation, frame: _ImageGrid) -> np.ndarray | None:
    """The greatest slope of every channel, for every image of strides; None where slopes fall below zero."""
    slopes = global_slopes(node)
    if slopes is None or slopes[0].any():
        return None
    most = slopes[1].reshape(frame.shape[0], -1)
    if (most != most[:, :1]).any():
        return None
    return np.tile(most[:, 0], prod(frame.strides))


def _taps_of(graph: Network, frames: dict[int, _ImageGrid], i: int, start: int) -> tuple[_PlacedKernels, ...] | None:
    """Node i as convolutions of the input and of functions; None where it is none."""
    node = graph.nodes[i]
    if i == start or isinstance(node, Activation):
        size = frames[i].channels
        return (_PlacedKernels(i, np.eye(size)[None], np.zeros((1, 2), dtype=np.int64), 0.0),)
    found: list[_PlacedKernels] = []
    for source, part in _read(graph, i):
        if source < start:
            continue
        if isinstance(part, SelectionMap) and part.is_identity:
            parts = _taps_of(graph, frames, source, start)
        elif part is None or not (source == start or isinstance(graph.nodes[source], Activation)):
            # Between two convolutions without a function, the image would have to be cut out.
            parts = None
        else:
            parts = _taps(part, source, frames[source], frames[i])
        if parts is None:
            return None
        found.extend(parts)
    return tuple(found) or None


def _taps(part: LinearMap, source: int, before: _ImageGrid, after: _ImageGrid) -> tuple[_PlacedKernels, ...] | None:
    if isinstance(part, DiagonalMap):
        scale = to_numpy(part.scale).reshape(before.shape[0], -1)
        if (scale != scale[:, :1]).any() or before.shape != after.shape:
            return None
        size = scale if part.magnitude is None else to_numpy(part.magnitude).reshape(scale.shape)
        weight, most = np.diag(scale[:, 0])[:, :, None, None], np.diag(np.max(size, axis=1))[:, :, None, None]
        whole = ConvolutionMap(weight, before.shape, after.shape, magnitude=np.abs(most), roundings=part.roundings)
        return _taps(whole, source, before, after)
    if not isinstance(part, ConvolutionMap):
        return None
    weight = _ungrouped(to_numpy(part.weight), part)
    size = np.abs(weight) if part.magnitude is None else _ungrouped(to_numpy(part.magnitude), part)
    outputs, depth, *kernel = weight.shape
    found: dict[tuple[int, int], np.ndarray] = {}
    sizes = np.zeros((after.channels, before.channels))
    for row, phase in enumerate(after.phases):
        for u, v in np.ndindex(*kernel):
            at = []
            for axis, k in enumerate((u, v)):
                offset = part.stride[axis] * phase[axis] + part.dilation[axis] * k - part.padding[axis]
                at.append(divmod(offset, before.strides[axis]))
            place, (i, j) = (at[0][0], at[1][0]), (at[0][1], at[1][1])
            column = i * before.strides[1] + j
            whole = found.setdefault(place, np.zeros((after.channels, before.channels)))
            rows = slice(row * outputs, (row + 1) * outputs)
            columns = slice(column * depth, (column + 1) * depth)
            whole[rows, columns] += weight[:, :, u, v]
            sizes[rows, columns] += size[:, :, u, v]
    charge = gamma(max(part.roundings, 1) + len(found) + 16) + 4.0 * _WAVE_ERROR
    off = charge * float(np.linalg.norm(sizes)) * (1.0 + gamma(sizes.size + 8))
    return (_PlacedKernels(source, np.array(list(found.values())), np.array(list(found), dtype=np.int64), off),)


def _ungrouped(weight: np.ndarray, part: ConvolutionMap) -> np.ndarray:
    """[O, C, kh, kw]."""
    outputs, depth, *kernel = weight.shape
    found = np.zeros((outputs, depth * part.groups, *kernel))
    own = outputs // part.groups
    for g in range(part.groups):
        found[g * own : (g + 1) * own, g * depth : (g + 1) * depth] = weight[g * own : (g + 1) * own]
    return found


def _error(parts: tuple[_PlacedKernels, ...], factors: dict[int, np.ndarray]) -> float:
    """How far a matrix of parts and factors may be off, with the roundings of products and sums of both."""
    total = 0.0
    for part in parts:
        most = float(np.max(factors[part.source], initial=0.0))
        length = float(np.linalg.norm(np.sum(np.abs(part.kernels), axis=0)))
        total += most * (part.off + gamma(len(parts) + 8) * length)
    return total * (1.0 + 1e-12)


def _period(
    frames: dict[int, _ImageGrid], parts: list[tuple[_PlacedKernels, ...]], graph: Network, nodes: list[int], last: int
) -> tuple[int, int]:
    """The least in both directions that keeps what wraps around apart."""
    targets = [frames[i] for i in nodes if isinstance(graph.nodes[i], Activation)] + [frames[last]]
    found = [1, 1]
    for target, taps in zip(targets, parts, strict=True):
        for part in taps:
            for axis in (0, 1):
                least, most = int(part.places[:, axis].min()), int(part.places[:, axis].max())
                own = max(frames[part.source].extent(axis) - least, target.extent(axis) + most)
                found[axis] = max(found[axis], own)
    return found[0], found[1]
