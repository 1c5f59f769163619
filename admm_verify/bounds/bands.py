"""Bands of all nodes around affine functions of the inputs, carried forward layer by layer.

Where inputs are few and layers wide, a node's value as a function of the inputs takes a few numbers for each neuron,
and all neurons of a layer are bounded by as many products with the layer's map as there are inputs, where backward
bounds take a sweep for each neuron. Errors of the neurons that matter most may be carried along as if they were inputs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Array, Float, gamma, namespace, to_numpy
from admm_verify.bounds.region import largest
from admm_verify.network.graph import Affine, Network
from admm_verify.relaxations.registry import lines_of, relaxation_of
from admm_verify.sets.contract import InputSet

_MOST_INPUTS = 20
"""Inputs of positive width from which on sweeps of neurons that intervals leave open are cheaper, or nearly so."""

_LIVE = 6
"""Arrays of all bands of a layer that live at once."""

_LARGE = 2**20
"""Multiplications of one pass from which on errors are carried along: sweeps cost more than these."""

_HALVED = 3
"""Inputs of positive width up to which halves of a box are cheaper than errors that are carried along."""

_NUMBERS = 2**24
"""Numbers of the bands of one layer over one set, of which errors that are carried along may take up most."""

_SMALL = 2.0**-12
"""Share of the largest new error of a layer up to which errors are not carried along."""


@dataclass(frozen=True, eq=False)
class Band:
    """|z - (c + A x + E t)| <= error for all inputs x of a set, with some t in [-1, 1] that all bands share.

    Shapes: planes [sets, 1 + d + m, n]: c, the columns of A for d inputs, then those of E; error [sets, n].
    """

    planes: Float[Array, "sets columns n"]
    error: Float[Array, "sets n"]

    def magnitude(self, reach: Array) -> Float[Array, "sets n"]:
        """|c| + |A| max|x| + |E| 1 + error, which is at least |z|; reach [sets, d]."""
        xp = namespace(self.planes)
        size, first = xp.abs(self.planes), 1 + reach.shape[-1]
        own = xp.sum(size[:, 1:first] * reach[:, :, None], axis=1)
        return own + size[:, 0] + xp.sum(size[:, first:], axis=1) + self.error

    def widened(self, columns: int) -> Float[Array, "sets columns n"]:
        """The planes with zeros for what is carried along since."""
        xp, (sets, own, size) = namespace(self.planes), self.planes.shape
        if own == columns:
            return self.planes
        like = self.planes[:, :1]
        zeros = xp.zeros((sets, columns - own, size), dtype=like.dtype, device=like.device)
        return xp.concat([self.planes, zeros], axis=1)


class Bands:
    """Bands of the nodes so far, each from those before it.

    Through an affine node, z = sum_t W_t z_t + b: A = sum_t W_t A_t, E and c likewise, and the error is that of the
    sources times |W_t|. Through an activation, z = phi(p): lines of slope s below and above phi over the bounds of p,
    at the distances that its relaxation certifies, give A = s A_p, with half of the distance as error. In large
    networks the largest of these errors get columns of E, which lets them cancel in later layers. Inputs whose range is
    a point are constants. What is read no more is dropped.

    Error: of the coefficients as computed, at most gamma_N M (|A_t| max|x| + |E_t| 1 + |c_t| + error_t) with M >= |W|
    is part of the error of every band.
    Reference: Singh et al., Fast and Effective Robustness Certification, NeurIPS 2018, theorem 3.2 (parallel lines, and
    errors carried along); Wang et al., Efficient Formal Safety Analysis of Neural Networks, NeurIPS 2018, section 3
    (functions of the inputs).
    """

    def __init__(self, network: Network, inputs: InputSet, numbers: float = 0.0) -> None:
        """numbers: of the bands of one layer over one set, up to which errors are carried along."""
        lower, upper = inputs.range
        placement = inputs.placement
        xp = placement.xp
        free = np.flatnonzero(to_numpy(lower < upper).any(axis=0))
        pick = placement.put_indices(free)
        self.network, self.set = network, inputs.seen(lambda part: xp.take(part, pick, axis=-1)).spread()
        self.reach, self.columns = self.set.reach[:, 0, :], 1 + len(free)
        units = np.zeros((1, len(free), network.input_size))
        units[0, np.arange(len(free)), free] = 1.0
        held = xp.where(xp.any(lower < upper, axis=0), xp.zeros_like(lower), lower)
        columns = xp.broadcast_to(placement.put(units), (len(lower), *units.shape[1:]))
        self._bands: list[Band | None] = [Band(xp.concat([held[:, None], columns], axis=1), xp.zeros_like(lower))]
        self._last = max((node.source for node in network.functions), default=0)
        self._numbers = numbers

    @classmethod
    def where_useful(cls, network: Network, inputs: InputSet, free_bytes: float) -> "Bands | None":
        """The bands of the inputs, where these are so few and layers so wide that they cost less than they spare."""
        sides = inputs.sides
        if not 0 < sides <= _MOST_INPUTS:
            return None
        deep = [node for node in network.functions if not reads_input(network.affine[node.source])]
        widest = max((network.nodes[node.source].size for node in deep), default=0)
        if widest < 4 * (sides + 2):
            return None
        largest_node = max(node.size for node in network.nodes)
        numbers = free_bytes / (8.0 * _LIVE * inputs.count)
        if (sides + 2) * largest_node > numbers:
            return None
        carries = network.weight_count >= _LARGE and sides > _HALVED
        return cls(network, inputs, min(numbers, _NUMBERS) if carries else 0.0)

    def add_affine(self, index: int, node: Affine) -> None:
        """Append the band of an affine node."""
        if index > self._last:
            self._append(None)
            return
        rounding = 4.0 * gamma(self.network.roundings)
        planes: Any = 0.0
        error, lost = 0.0, rounding * node.bias_magnitude
        for term in node.terms:
            band = self._band(term.source)
            planes = term.map.apply(band.widened(self.columns)) + planes
            error = term.map.absolute_apply(band.error) + error
            lost = term.map.magnitude_apply(rounding * band.magnitude(self.reach)) + lost
        xp = namespace(planes)
        shifted = xp.concat([planes[:, :1] + node.bias, planes[:, 1:]], axis=1)
        self._append(Band(shifted, (error + lost) * (1.0 + 2.0 * rounding) + self._tiny))

    def add_activation(self, k: int, lower: Array, upper: Array) -> None:
        """Append the band of activation k, whose input has these bounds."""
        node = self.network.functions[k]
        if self.network.activations[k] > self._last:
            self._append(None)
            return
        relaxation, band = relaxation_of(node), self._band(node.source)
        slope, xp = lines_of(node, lower, upper).middle, namespace(lower)
        image = relaxation.image(lower, upper)
        one = xp.ones_like(image[0])
        least, most = relaxation.support(lower, upper, one, slope), -relaxation.support(lower, upper, -one, -slope)
        steep = xp.abs(slope)
        # What the distances may be off by, of numbers that the slopes make of the inputs and of the function's values.
        scale = _folded(steep * largest(lower, upper), node.size) + largest(*image)
        own = 0.5 * most - 0.5 * least + 40.0 * DOUBLE_ROUNDOFF * scale
        carried = _folded(steep * band.error, node.size)
        rounded = 8.0 * DOUBLE_ROUNDOFF * _folded(steep * band.magnitude(self.reach), node.size)
        planes = _folded(band.planes * slope[:, None, :], node.size)
        moved = xp.concat([planes[:, :1] + (0.5 * most + 0.5 * least)[:, None, :], planes[:, 1:]], axis=1)
        error = (own + carried + rounded) * (1.0 + 16.0 * DOUBLE_ROUNDOFF) + self._tiny
        self._append(self._carried(Band(moved, error), own))

    def bounds(self, index: int) -> tuple[Float[Array, "sets n"], Float[Array, "sets n"]]:
        """Certified bounds of a node: min and max of c + A x + E t, less and plus the error; infinite for NaN."""
        band = self._band(index)
        xp, first = namespace(band.planes), 1 + self.reach.shape[-1]
        slope, shift = xp.permute_dims(band.planes[:, 1:first], (0, 2, 1)), band.planes[:, 0]
        (least, size), (most, _) = self.set.minimum(slope), self.set.minimum(-slope)
        around = xp.sum(xp.abs(band.planes[:, first:]), axis=1) + band.error
        error = around + 4.0 * gamma(self._roundings) * (size + xp.abs(shift) + around) + self._tiny
        low, high = least + shift - error, shift - most + error
        infinity = xp.full_like(low, float("inf"))
        return xp.where(xp.isnan(low), -infinity, low), xp.where(xp.isnan(high), infinity, high)

    def narrow(self, index: int, lower: Array, upper: Array) -> None:
        """Replace the last node's bands by intervals around constants, where bounds are narrower than the error."""
        band = self._bands[index]
        if band is None:
            return
        xp = namespace(lower)
        middle = 0.5 * lower + 0.5 * upper
        half = xp.maximum(upper - middle, middle - lower) * (1.0 + 4.0 * DOUBLE_ROUNDOFF)
        better = half < band.error
        if not bool(xp.any(better)):
            return
        planes = xp.where(better[:, None, :], xp.zeros_like(band.planes), band.planes)
        shift = xp.where(better, middle, planes[:, 0])
        error = xp.where(better, half, band.error)
        self._bands[index] = Band(xp.concat([shift[:, None, :], planes[:, 1:]], axis=1), error)

    @property
    def _tiny(self) -> Array:
        """What products of one step lose to underflow, at most, times what they multiply, [sets, 1]."""
        total = namespace(self.reach).sum(self.reach, axis=-1, keepdims=True)
        return 8.0 * self._roundings * SMALLEST * (2.0 + total + self.columns)

    @property
    def _roundings(self) -> int:
        """Successive roundings behind a coefficient, and behind a sum over all columns."""
        return self.network.roundings + self.columns

    def _carried(self, band: Band, own: Array) -> Band:
        """The band with columns for the largest errors of every set, as far as there is room for new ones."""
        xp, size = namespace(own), own.shape[-1]
        ahead = max((node.size for node in self.network.nodes[len(self._bands) : self._last + 1]), default=size)
        room = int(self._numbers // ahead) - self.columns
        if room <= 0:
            return Band(band.widened(self.columns), band.error)
        large = own > _SMALL * xp.max(own, axis=-1, keepdims=True)
        count = min(room, size, int(np.max(to_numpy(xp.sum(xp.astype(large, own.dtype), axis=-1)))))
        place = xp.argsort(xp.where(large, band.error, -band.error), axis=-1, descending=True)[:, :count]
        hit = place[:, :, None] == xp.arange(size, dtype=place.dtype)[None, None, :]
        columns = xp.where(hit, band.error[:, None, :], xp.zeros_like(band.error)[:, None, :])
        error = xp.where(xp.any(hit, axis=1), xp.zeros_like(band.error), band.error)
        planes = xp.concat([band.widened(self.columns), columns], axis=1)
        self.columns += count
        return Band(planes, error)

    def _append(self, band: Band | None) -> None:
        self._bands.append(band)
        done = len(self._bands) - 1
        for i in range(done):
            if self._bands[i] is not None and max(self.network.readers[i], default=0) <= done:
                self._bands[i] = None

    def _band(self, index: int) -> Band:
        band = self._bands[index]
        assert band is not None, "A band is kept until all that reads it is there"
        return band


def _folded(operands: Array, size: int) -> Array:
    """The sum over operands of what each contributes, [..., m n] -> [..., n]."""
    count = operands.shape[-1] // size
    total = operands[..., :size]
    for first in range(size, count * size, size):
        total = total + operands[..., first : first + size]
    return total


def reads_input(node: Affine) -> bool:
    """Whether a node reads the input alone."""
    return all(term.source == 0 for term in node.terms)
