"""Receptive fields: the small network that one output position of a convolution sees.

Every position sees the same network on another part of the image, so all positions become one batch of boxes over a
network of crops. Its convolutions have no padding and are small matrices where crops are small; what lies outside the
image is held at zero.
"""

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.bounds.linear import crown, linear_bounds
from admm_verify.bounds.region import Region, build_region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.bounds.windows import Crop, Plane, Slide, planes_below, slide_of
from admm_verify.memory import Budget
from admm_verify.network.compose import compose
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap
from admm_verify.network.selection import SelectionMap
from admm_verify.relaxations.registry import facts_of
from admm_verify.run import paced
from admm_verify.sets.contract import InputSet

_MATRIX_LIMIT = 2**21
"""Entries of the largest matrix of a crop; beyond it whole planes are cheaper."""

_SPARSE = 4.0
"""Times as many entries as a convolution's kernel has, from which on its matrix between two crops is so full of zeros
that sums of products are cheaper."""

_SLIDING = 3.0
"""Cost of a multiplication in a convolution over one in a product with a matrix."""

_ALONE = 4.0
"""Cost of a neuron with a crop of its own over one that shares its position's: each builds its own rounding terms."""

_OFF = -1.0
"""Both bounds of a ReLU outside the image: it is off whatever its input is, and no multiplier reaches that input."""


@dataclass(frozen=True, eq=False)
class Field:
    """The crops below one affine node: a window or, for a rearranged input, a selection behind one, per node."""

    network: Network
    target: int
    windows: dict[int, Crop]
    rearranged: SelectionMap | None

    @property
    def channels(self) -> int:
        """Channels of the target."""
        return self.windows[self.target].plane[0]

    @property
    def positions(self) -> int:
        """Positions of the target."""
        _, height, width = self.windows[self.target].plane
        return height * width

    @property
    def multiplications(self) -> float:
        """Multiplications of one backward pass for one neuron of the target, those of convolutions by their cost."""
        return sum(
            _SLIDING * window.entries * prod(map.weight.shape[1:])
            if _slides(map, source)
            else window.entries * source.entries
            for window, source, map in self._convolutions
        )

    @property
    def largest_matrix(self) -> int:
        """Entries of the largest matrix between two crops."""
        kept = (pair for *pair, map in self._convolutions if not _slides(map, pair[1]))
        return max((window.entries * source.entries for window, source in kept), default=0)

    @property
    def _convolutions(self) -> list[tuple[Crop, Crop, ConvolutionMap]]:
        """The window, the source's window and the map of every convolution."""
        return [
            (window, self.windows[0 if term.source not in self.windows else term.source], term.map)
            for i, window in self.windows.items()
            if i in self.network.affine
            for term in self.network.affine[i].terms
            if isinstance(term.map, ConvolutionMap)
        ]

    def cost(self, wanted: np.ndarray) -> float:
        """Cost of a backward pass for the wanted neurons, alone or with all channels of their positions."""
        together = len(self._positions(wanted)) * self.channels
        return min(together, _ALONE * len(wanted)) * self.multiplications

    def bounds(
        self,
        wanted: np.ndarray,
        inputs: InputSet,
        known: dict[int, tuple[Array, Array]],
        budget: Budget,
    ) -> tuple[Array, Array]:
        """CROWN bounds of the wanted neurons, as `linear_bounds`.

        Shapes: wanted [m]; inputs [boxes, n_0]; known[i] of activation node i -> lower, upper [boxes, m].
        """
        channels, boxes, positions = self.channels, inputs.lead[0], self._positions(wanted)
        widest = max(window.entries for window in self.windows.values())
        # A crop of its own for every neuron wastes nothing where few channels of a position are wanted.
        alone = _ALONE * len(wanted) < len(positions) * channels
        channel, place = np.divmod(wanted, self.positions)
        places = place if alone else positions

        def work(first: int, last: int) -> list[Array]:
            count = last - first
            region = self.region(np.repeat(np.arange(boxes), count), np.tile(places[first:last], boxes), inputs, known)
            if alone:
                ends = crown(Relaxed(region), np.tile(channel[first:last], boxes)[:, None])
            else:
                # These blocks may run side by side already.
                ends = linear_bounds(region, np.arange(channels), replace(budget, workers=1))
            return [namespace(end).reshape(end, (boxes, -1)) for end in ends]

        step = budget.block(boxes * widest * (1 if alone else channels))
        blocks = budget.blocks(len(places), max(1, step), work)
        placement = inputs.placement
        low, high = (placement.xp.concat([block[k] for block in blocks], axis=-1) for k in (0, 1))
        if alone:
            return low, high
        index = placement.put_indices(np.searchsorted(positions, place) * channels + channel)
        return placement.xp.take(low, index, axis=-1), placement.xp.take(high, index, axis=-1)

    def _positions(self, wanted: np.ndarray) -> np.ndarray:
        """The positions of the wanted neurons, sorted."""
        return np.unique(wanted % self.positions)

    def region(
        self, boxes: np.ndarray, places: np.ndarray, inputs: InputSet, bounds: dict[int, tuple[Array, Array]]
    ) -> Region:
        """The region of m crops, leading axes [m, 1]; its last node holds the target's channels.

        Shapes: boxes and places [m], the box and the position (row-major) of every crop; inputs [boxes, n_0];
        bounds[i] of activation node i, [boxes, n_i].
        """
        placement = inputs.placement
        positions = np.stack(np.divmod(places, self.windows[self.target].plane[2]), axis=1)

        def crop(array: Array, index: np.ndarray) -> Array:
            return _crops(array, boxes, index, placement)

        index = self.windows[0].indices(positions)
        if self.rearranged is not None:
            index = np.append(to_numpy(self.rearranged.gather), self.network.input_size)[index]
        seen = inputs.seen(lambda part: crop(part, index))
        nodes: list[Node] = [Input(self.windows[0].entries)]
        place = {0: 0}
        lower, upper = [], []
        for i, affine, k in paced(self.network.steps):
            if i not in self.windows:
                continue
            window = self.windows[i]
            index = window.indices(positions)
            if affine is not None:
                nodes.append(self._crop(affine, window, index, place, nodes, placement))
                inside = index < affine.size
                if not inside.all() and not self._feeds_relus(i):
                    mask = DiagonalMap(placement.put(inside.astype(np.float64)[:, None, :]))
                    zero = placement.xp.zeros_like(mask.scale[0, 0, :])
                    nodes.append(Affine((Term(len(nodes) - 1, mask),), zero, zero))
            else:
                node = self.network.functions[k]
                # What lies outside is held at zero; any parameter of the layer will do there.
                some = np.where(index < node.size, index, 0)
                parameters = tuple(crop(p[None, :], some) for p in node.parameters)
                assert window == self.windows[node.source], "An activation sees what its source does"
                nodes.append(Activation(node.kind, place[node.source], window.entries, parameters))
                outside = _OFF if facts_of(node).rectifies else 0.0
                lower.append(_crops(bounds[i][0], boxes, index, placement, outside))
                upper.append(_crops(bounds[i][1], boxes, index, placement, outside))
            place[i] = len(nodes) - 1
        network = Network(tuple(nodes), (nodes[0].size,), (nodes[-1].size,))
        return build_region(network, seen, tuple(lower), tuple(upper))

    def _feeds_relus(self, index: int) -> bool:
        """Whether all that reads a node here are ReLUs, which are switched off outside the image."""
        readers = self.network.readers[index] & self.windows.keys()
        places = zip(self.network.activations, self.network.functions, strict=True)
        rectifiers = {i for i, node in places if facts_of(node).rectifies}
        return index != self.target and readers <= rectifiers

    def _crop(
        self,
        node: Affine,
        window: Crop,
        index: np.ndarray,
        place: dict[int, int],
        nodes: list[Node],
        placement: Placement,
    ) -> Affine:
        """An affine node between crops; where a convolution sees a part of a crop, that part becomes a node of its own
        before it.
        """
        terms = []
        for term in node.terms:
            # A rearranged input has no window of its own: its entries are taken from the input in their new order.
            origin = term.source if term.source in self.windows else 0
            source, at = self.windows[origin], place[origin]
            if isinstance(term.map, ConvolutionMap) and _slides(term.map, source):
                part = window.below(_known_slide(term.map, window, source))
                if part != source:
                    zero = placement.put(np.zeros(part.entries))
                    nodes.append(Affine((Term(at, _cut_out(part, source).put(placement)),), zero, zero))
                    at = len(nodes) - 1
                map: LinearMap = _moved_convolution(term.map, window, part)
            else:
                map = _cropped_map(term.map, window, source)
            terms.append(Term(at, map.put(placement)))
        bias, magnitude = (_shifts(array, window, index, placement) for array in (node.bias, node.bias_magnitude))
        return replace(node, terms=tuple(terms), bias=bias, bias_magnitude=magnitude)


def receptive_field(network: Network, target: int) -> Field | None:
    """The crops below an affine node, or None where some node in between is not local.

    Local are convolutions, slices with strides (of which pooling is made), scalings of channels and identities; a
    rearranged input (channels last) is followed through its selection.
    """
    planes = planes_below(network, target)
    if target not in planes:
        return None
    windows = {target: Crop(planes[target], (1, 1), (0, 0), (1, 1))}
    selections: list[SelectionMap | None] = []
    for i, affine, k in reversed(network.steps[:target]):
        if i not in windows:
            continue
        seen_through = (
            [(network.sources[k], windows[i])]
            if affine is None
            else _seen(network, affine, windows[i], planes, selections)
        )
        for source, seen in seen_through:
            joined = seen if seen is None or source not in windows else windows[source].union(seen)
            if joined is None:
                return None
            windows[source] = joined
    if len({id(selection) for selection in selections}) > 1 or 0 not in windows:
        return None
    below = [(i, node) for i, node in zip(network.activations, network.functions, strict=True) if i in windows]
    for i, node in below:
        # Another activation of the same source may have widened that window; entry k of one is entry k of the other.
        windows[i] = windows[node.source]
    # What is held at zero before them stays zero behind them, like padding.
    if not all(facts_of(node).zero_at_zero for _, node in below):
        return None
    field = Field(network, target, windows, selections[0] if selections else None)
    return field if field.largest_matrix <= _MATRIX_LIMIT else None


def _seen(
    network: Network,
    node: Affine,
    window: Crop,
    planes: dict[int, Plane],
    selections: list[SelectionMap | None],
) -> list[tuple[int, Crop | None]]:
    """The sources of a node with the windows they are seen through; how the input is read goes to `selections`."""
    found: list[tuple[int, Crop | None]] = []
    for term in node.terms:
        source = network.affine.get(term.source)
        moved = None if source is None else _rearranged_input(source)
        origin = term.source if moved is None else 0
        slide = slide_of(term.map, window.plane, planes.get(origin))
        found.append((origin, None if slide is None else window.below(slide)))
        if origin == 0:
            selections.append(moved)
    return found


def _rearranged_input(node: Affine) -> SelectionMap | None:
    """The selection behind an affine node that only moves the input's entries."""
    first = node.terms[0] if len(node.terms) == 1 else None
    if first is None or first.source != 0 or not isinstance(first.map, SelectionMap):
        return None
    return first.map if not np.any(to_numpy(node.bias)) else None


def _slides(map: ConvolutionMap, source: Crop) -> bool:
    """Whether a convolution stays one between two crops; else it becomes a matrix."""
    return source.entries > _SPARSE * prod(map.weight.shape[1:])


def _known_slide(map: LinearMap, window: Crop, source: Crop) -> Slide:
    slide = slide_of(map, window.plane, source.plane)
    assert slide is not None, "The windows were found through this map"
    return slide


def _cut_out(part: Crop, source: Crop) -> SelectionMap:
    """The entries of a crop that lie in a smaller one."""
    rows, columns = (part.offset[i] - source.offset[i] + np.arange(part.size[i]) for i in (0, 1))
    inner = np.arange(source.entries).reshape(source.plane[0], *source.size)
    return SelectionMap.from_gather(inner[:, rows[:, None], columns].reshape(-1), source.entries)


def _moved_convolution(map: ConvolutionMap, window: Crop, part: Crop) -> ConvolutionMap:
    """The convolution of a crop that is just what one of its results sees."""
    before, after = ((crop.plane[0], *crop.size) for crop in (part, window))
    return replace(map, input_shape=before, output_shape=after, padding=(0, 0, 0, 0))


def _cropped_map(map: LinearMap, window: Crop, source: Crop) -> LinearMap:
    """The map between two crops: entries of `window` from entries of `source`, on the host."""
    slide = _known_slide(map, window, source)
    stride = slide.stride
    first = [window.offset[i] * stride[i] + slide.offset[i] - source.offset[i] for i in (0, 1)]
    rows, columns = (first[i] + stride[i] * np.arange(window.size[i]) for i in (0, 1))
    inner = np.arange(source.entries).reshape(source.plane[0], *source.size)
    if not isinstance(map, ConvolutionMap):
        moved = SelectionMap.from_gather(inner[:, rows[:, None], columns].reshape(-1), source.entries)
        return _scaled_rows(map, moved, window.plane[0]) if isinstance(map, DiagonalMap) else moved
    dilation = map.dilation

    def matrix(kernel: Array) -> np.ndarray:
        weight = to_numpy(kernel)
        outputs, depth, height, width = weight.shape
        blocks = weight.reshape(map.groups, outputs // map.groups, depth, height, width)
        dense = np.zeros((*blocks.shape[:2], *window.size, map.groups, depth, *source.size))
        y, x = np.meshgrid(np.arange(window.size[0]), np.arange(window.size[1]), indexing="ij")
        for group in range(map.groups):
            for u, v in np.ndindex(height, width):
                at_row, at_column = rows[y] + u * dilation[0], columns[x] + v * dilation[1]
                # The indices between the slices put the window's axes first.
                dense[group, :, y, x, group, :, at_row, at_column] = blocks[group, :, :, u, v]
        return dense.reshape(window.entries, source.entries)

    magnitude = None if map.magnitude is None else matrix(map.magnitude)
    return DenseMap(matrix(map.weight), magnitude, map.roundings)


def _scaled_rows(map: DiagonalMap, moved: SelectionMap, channels: int) -> LinearMap:
    """A scaling of whole channels after a selection of their entries."""

    def spread(numbers: Array) -> np.ndarray:
        return np.repeat(np.reshape(to_numpy(numbers), (channels, -1))[:, 0], moved.rows // channels)

    magnitude = None if map.magnitude is None else spread(map.magnitude)
    scaling = DiagonalMap(spread(map.scale), magnitude, map.roundings)
    if moved.is_identity:
        return scaling
    merged = compose(scaling.dense(), moved)
    assert merged is not None, "Matrices absorb selections"
    return merged


def _crops(array: Array, rows: np.ndarray, index: np.ndarray, placement: Placement, outside: float = 0.0) -> Array:
    """One crop of each given row of an array [boxes or 1, n]: [m, 1, entries] for index [m, entries]."""
    xp, size = placement.xp, array.shape[1] + 1
    padded = xp.concat([array, xp.full_like(array[:, :1], outside)], axis=-1)
    flat = index if array.shape[0] == 1 else rows[:, None] * size + index
    taken = xp.take(xp.reshape(padded, (-1,)), placement.put_indices(flat.reshape(-1)), axis=0)
    return xp.reshape(taken, (-1, 1, index.shape[-1]))


def _shifts(array: Array, window: Crop, index: np.ndarray, placement: Placement) -> Array:
    """Crops of an affine node's bias [n]: one [entries] for all positions where every channel has a single value.

    Outside the image, where the value is wrong, a mask follows.
    """
    channels = to_numpy(array).reshape(window.plane[0], -1)
    if (channels == channels[:, :1]).all():
        return placement.put(np.repeat(channels[:, 0], window.entries // window.plane[0]))
    return _crops(array[None, :], np.zeros(len(index), dtype=np.int64), index, placement)
