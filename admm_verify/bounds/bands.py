"""Bands of all nodes around affine functions of the inputs, carried forward layer by layer.

Where inputs are few and layers wide, a node's value as a function of the inputs takes a few numbers for each neuron,
and all neurons of a layer are bounded by as many products with the layer's map as there are inputs, where backward
bounds take a sweep for each neuron.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True, eq=False)
class Band:
    """|z - (A x + c)| <= error for all inputs x of a set.

    Shapes: planes [sets, d + 1, n], the columns of A for d inputs, then c; error [sets, n].
    """

    planes: Float[Array, "sets columns n"]
    error: Float[Array, "sets n"]

    def magnitude(self, reach: Array) -> Float[Array, "sets n"]:
        """|A| max|x| + |c| + error, which is at least |z|."""
        xp = namespace(self.planes)
        size = xp.abs(self.planes)
        return xp.sum(size[:, :-1] * reach[:, :, None], axis=1) + size[:, -1] + self.error


class Bands:
    """Bands of the nodes so far, each from those before it.

    Through an affine node, z = sum_t W_t z_t + b: A = sum_t W_t A_t, c = sum_t W_t c_t + b, and the error is that of
    the sources times |W_t|. Through an activation, z = phi(p): lines of slope s below and above phi over the bounds of
    p, at the distances that its relaxation certifies, give A = s A_p, with half of the distance as error. Inputs whose
    range is a point are constants. What is read no more is dropped.

    Error: of the coefficients as computed, at most gamma_N M (|A_t| max|x| + |c_t| + error_t) with M >= |W| is part of
    the error of every band.
    Reference: Singh et al., Fast and Effective Robustness Certification, NeurIPS 2018, theorem 3.2 (parallel lines);
    Wang et al., Efficient Formal Safety Analysis of Neural Networks, NeurIPS 2018, section 3 (functions of the inputs).
    """

    def __init__(self, network: Network, inputs: InputSet) -> None:
        lower, upper = inputs.range
        placement = inputs.placement
        xp = placement.xp
        free = np.flatnonzero(to_numpy(lower < upper).any(axis=0))
        pick = placement.put_indices(free)
        self.network, self.set = network, inputs.seen(lambda part: xp.take(part, pick, axis=-1)).spread()
        self.reach = self.set.reach[:, 0, :]
        units = np.zeros((1, len(free), network.input_size))
        units[0, np.arange(len(free)), free] = 1.0
        held = xp.where(xp.any(lower < upper, axis=0), xp.zeros_like(lower), lower)
        columns = xp.broadcast_to(placement.put(units), (len(lower), *units.shape[1:]))
        self._bands: list[Band | None] = [Band(xp.concat([columns, held[:, None]], axis=1), xp.zeros_like(lower))]
        self._tiny = 8.0 * network.roundings * SMALLEST * (2.0 + xp.sum(self.reach, axis=-1, keepdims=True))
        self._last = max((node.source for node in network.functions), default=0)

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
        largest = max(node.size for node in network.nodes)
        return cls(network, inputs) if 8.0 * _LIVE * inputs.count * (sides + 2) * largest <= free_bytes else None

    def add_affine(self, index: int, node: Affine) -> None:
        """Append the band of an affine node."""
        if index > self._last:
            self._append(None)
            return
        rounding = 4.0 * gamma(self.network.roundings)
        planes, error, lost = 0.0, 0.0, rounding * node.bias_magnitude
        for term in node.terms:
            band = self._band(term.source)
            planes = term.map.apply(band.planes) + planes
            error = term.map.absolute_apply(band.error) + error
            lost = term.map.magnitude_apply(rounding * band.magnitude(self.reach)) + lost
        xp = namespace(planes)
        shifted = xp.concat([planes[:, :-1], planes[:, -1:] + node.bias], axis=1)
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
        moved = xp.concat([planes[:, :-1], planes[:, -1:] + (0.5 * most + 0.5 * least)[:, None, :]], axis=1)
        self._append(Band(moved, (own + carried + rounded) * (1.0 + 16.0 * DOUBLE_ROUNDOFF) + self._tiny))

    def bounds(self, index: int) -> tuple[Float[Array, "sets n"], Float[Array, "sets n"]]:
        """Certified bounds of a node: min and max of A x + c, less and plus the error; infinite instead of NaN."""
        band = self._band(index)
        xp = namespace(band.planes)
        slope, shift = xp.permute_dims(band.planes[:, :-1], (0, 2, 1)), band.planes[:, -1]
        (least, size), (most, _) = self.set.minimum(slope), self.set.minimum(-slope)
        rounding = 4.0 * gamma(self.network.roundings)
        error = band.error + rounding * (size + xp.abs(shift) + band.error) + self._tiny
        low, high = least + shift - error, shift - most + error
        infinity = xp.full_like(low, float("inf"))
        return xp.where(xp.isnan(low), -infinity, low), xp.where(xp.isnan(high), infinity, high)

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
