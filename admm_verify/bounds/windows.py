"""What one position of an image sees of the nodes below it: planes, windows on them, and how windows slide."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Affine, Network
from admm_verify.network.maps import DiagonalMap, LinearMap
from admm_verify.network.selection import SelectionMap

Plane = tuple[int, int, int]
"""Channels, height, width."""

Pair = tuple[int, int]
"""A number per axis, rows first."""


@dataclass(frozen=True)
class Slide:
    """How a map reads its source: position p of the result sees `reach` + 1 places from stride p + offset on, of the
    source's plane.
    """

    plane: Plane
    stride: Pair = (1, 1)
    offset: Pair = (0, 0)
    reach: Pair = (0, 0)


@dataclass(frozen=True)
class Crop:
    """What output position (i, j) sees of a node: `size` entries per axis from stride * (i, j) + offset on."""

    plane: Plane
    stride: Pair
    offset: Pair
    size: Pair

    @property
    def entries(self) -> int:
        """Entries of the crop, all channels."""
        return self.plane[0] * self.size[0] * self.size[1]

    def union(self, other: "Crop") -> "Crop | None":
        """The least window around both, or None where they do not move alike."""
        if self.plane != other.plane or self.stride != other.stride:
            return None
        offset = tuple(min(a, b) for a, b in zip(self.offset, other.offset, strict=True))
        ends = [max(self.offset[i] + self.size[i], other.offset[i] + other.size[i]) for i in (0, 1)]
        return Crop(self.plane, self.stride, (offset[0], offset[1]), (ends[0] - offset[0], ends[1] - offset[1]))

    def below(self, slide: Slide) -> "Crop":
        """What this window sees of the source of a slide."""
        stride, offset, size = zip(
            *(
                (
                    self.stride[i] * slide.stride[i],
                    self.offset[i] * slide.stride[i] + slide.offset[i],
                    (self.size[i] - 1) * slide.stride[i] + slide.reach[i] + 1,
                )
                for i in (0, 1)
            ),
            strict=True,
        )
        return Crop(slide.plane, stride, offset, size)

    def indices(self, positions: np.ndarray) -> np.ndarray:
        """Flat indices of the crop of every position (i, j), [positions, entries]; outside the image: the size."""
        channels, height, width = self.plane
        axes = []
        for axis, length in enumerate((height, width)):
            places = positions[:, axis, None] * self.stride[axis] + self.offset[axis] + np.arange(self.size[axis])
            axes.append((places, (places >= 0) & (places < length)))
        (rows, row_ok), (columns, column_ok) = axes
        plane = rows[:, None, :, None] * width + columns[:, None, None, :]
        flat = plane + np.arange(channels)[None, :, None, None] * (height * width)
        inside = row_ok[:, None, :, None] & column_ok[:, None, None, :]
        return np.where(inside, flat, channels * height * width).reshape(len(positions), -1)


def slide_of(map: LinearMap, plane: Plane, source: Plane | None) -> Slide | None:
    """The slide of a map to an image of the given plane, or None where the map is not local.

    source: the plane of what it reads, as far as that is known; a convolution knows its own, and the entries behind an
    identity can be any plane.
    """
    if isinstance(map, ConvolutionMap):
        # A reshape costs nothing, so the same entries can be another plane to the reader.
        if map.output_shape != plane:
            return None
        reach = [(map.weight.shape[2 + i] - 1) * map.dilation[i] for i in (0, 1)]
        return Slide(map.input_shape, map.stride, (-map.padding[0], -map.padding[1]), (reach[0], reach[1]))
    if isinstance(map, DiagonalMap):
        return Slide(plane) if _scales_channels(map, plane) else None
    if not isinstance(map, SelectionMap):
        return None
    if map.is_identity:
        return Slide(plane)
    found = None if source is None else _sliced(map, source)
    return found[1] if found is not None and found[0] == plane else None


def planes_below(network: Network, last: int) -> dict[int, Plane]:
    """The planes of the nodes up to node `last`, where they are images."""
    planes: dict[int, Plane] = {}
    if len(network.input_shape) == 3:
        channels, height, width = network.input_shape
        planes[0] = channels, height, width
    for i, affine, k in network.steps[:last]:
        found = planes.get(network.sources[k]) if affine is None else _plane(affine, planes)
        if found is not None:
            planes[i] = found
    return planes


def _plane(node: Affine, planes: dict[int, Plane]) -> Plane | None:
    """The plane of an affine node: its convolutions' where it has any, else what its other maps make of theirs."""
    own = {term.map.output_shape for term in node.terms if isinstance(term.map, ConvolutionMap)}
    for term in () if own else node.terms:
        source = planes.get(term.source)
        if source is None:
            continue
        if isinstance(term.map, SelectionMap) and not term.map.is_identity:
            sliced = _sliced(term.map, source)
            own |= set() if sliced is None else {sliced[0]}
        elif isinstance(term.map, SelectionMap | DiagonalMap):
            own.add(source)
    return own.pop() if len(own) == 1 else None


def _scales_channels(map: DiagonalMap, plane: Plane) -> bool:
    """Whether every channel of a plane is scaled as a whole."""
    for numbers in (map.scale, map.magnitude):
        if numbers is not None:
            wide = np.reshape(to_numpy(numbers), (plane[0], -1))
            if (wide != wide[:, :1]).any():
                return False
    return True


def _sliced(map: SelectionMap, source: Plane) -> tuple[Plane, Slide] | None:
    """The plane and the slide of a selection that takes every s-th row and every t-th column of all channels of an
    image, or None where it does anything else.
    """
    gather = to_numpy(map.gather)
    channels, height, width = source
    if map.columns != channels * height * width or len(gather) % channels:
        return None
    blocks = gather.reshape(channels, -1)
    first = blocks[0]
    if first.max() >= height * width or (blocks != first + np.arange(channels)[:, None] * (height * width)).any():
        return None
    rows, columns = np.divmod(first, width)
    # The first row ends where another one begins.
    length = int(np.argmax(rows != rows[0])) or len(first)
    if len(first) % length:
        return None
    rows, columns = rows.reshape(-1, length), columns.reshape(-1, length)
    if (rows != rows[:, :1]).any() or (columns != columns[:1]).any():
        return None
    vertical, horizontal = _pace(rows[:, 0]), _pace(columns[0])
    if vertical is None or horizontal is None:
        return None
    offset = int(rows[0, 0]), int(columns[0, 0])
    return (channels, len(rows), length), Slide(source, (vertical, horizontal), offset)


def _pace(places: np.ndarray) -> int | None:
    """The constant positive distance of places, 1 for a single one."""
    if len(places) == 1:
        return 1
    paces = np.diff(places)
    return int(paces[0]) if paces[0] > 0 and (paces == paces[0]).all() else None
