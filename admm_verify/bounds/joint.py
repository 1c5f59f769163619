"""Joint relaxations of layers: all neurons' inputs of a layer lie in one Euclidean ball."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import SMALLEST, Array, Float, Placement, gamma, namespace, take_rows, to_numpy
from admm_verify.bounds.interval import Forward
from admm_verify.bounds.region import Region
from admm_verify.network.gain import gain
from admm_verify.network.maps import LinearMap
from admm_verify.sets.box import Box

_ROUNDS = 12
"""Of the weight's fixed-point iteration, at given multipliers."""


@dataclass(frozen=True, eq=False)
class JointLayer:
    """A layer of ReLUs whose inputs p lie within lower <= p <= upper and |p - center|_2 <= radius.

    For any weight w >= 0, a'relu(p) - g'p is at least sum_i min over [l_i, u_i] of a_i relu(p_i) - g_i p_i
    + w/2 (p_i - center_i)^2, less w/2 radius^2: with w = 0 the support of the single neurons' relaxations.

    Shapes: center, lower, upper [..., n]; radius [..., 1].
    Reference: Chiu et al., SDP-CROWN, ICML 2025, theorem 1, which has no ends [l, u].
    """

    center: Array
    radius: Array
    lower: Array
    upper: Array

    def touching(self, a: Array, g: Array, weight: Array) -> tuple[Array, Array]:
        """Where each neuron's term is least, and its value there; weight [..., 1]."""
        xp, zero = namespace(a), namespace(a).zeros_like(self.lower)
        some = weight > 0
        over = xp.where(some, weight, xp.ones_like(weight))
        high, low = xp.maximum(self.upper, zero), xp.minimum(self.lower, zero)
        above = self._least(a - g, weight, some, over, (xp.maximum(self.lower, zero), high))
        below = self._least(-g, weight, some, over, (low, xp.minimum(self.upper, zero)))
        # One of both sides there always is.
        take = (self.upper >= 0) & ((self.lower >= 0) | (above[1] <= below[1]))
        return xp.where(take, above[0], below[0]), xp.where(take, above[1], below[1])

    def _least(
        self, slope: Array, weight: Array, some: Array, over: Array, ends: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        """min of slope p + weight/2 (p - center)^2 between ends, and where."""
        xp, (low, high) = namespace(slope), ends
        free = xp.where(some, self.center - slope / over, xp.where(slope > 0, low, high))
        p = xp.minimum(xp.maximum(free, low), high)
        away = p - self.center
        return p, slope * p + 0.5 * weight * away * away

    def weighed(self, a: Array, g: Array, weight: Array, rounds: int = _ROUNDS) -> Array:
        """A better weight, [..., 1]: the distance of the touching point falls as the weight grows, until it fits."""
        xp = namespace(a)
        least = xp.finfo(a.dtype).smallest_normal
        for _ in range(rounds):
            away = self.touching(a, g, weight)[0] - self.center
            length = xp.sqrt(xp.sum(away * away, axis=-1, keepdims=True))
            weight = weight * xp.clip(length / self.radius, 0.25, 4.0) + least
        return weight

    def first_weight(self, a: Array, g: Array) -> Array:
        """The weight that were best without ends, were all of a neuron's slopes a and g felt, [..., 1]."""
        xp = namespace(a)
        return 0.5 * xp.sqrt(xp.sum((xp.abs(a) + xp.abs(g)) ** 2, axis=-1, keepdims=True)) / self.radius

    def support(self, a: Array, g: Array, weight: Array) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """The lower bound of a'relu(p) - g'p, and the magnitude behind its rounding.

        Where a computed touching point is beside the exact one, its value is above the least one by roundings squared.
        """
        xp = namespace(a)
        p, value = self.touching(a, g, weight)
        away = p - self.center
        # Half of the weight times the square of all distances, and of what they were computed from.
        squares = weight[..., 0] * (xp.sum(away * away + 1e-12 * self.center**2, axis=-1) + self.radius[..., 0] ** 2)
        reach = xp.maximum(xp.abs(self.lower), xp.abs(self.upper))
        size = xp.sum((xp.abs(a) + xp.abs(g)) * reach, axis=-1)
        found = xp.sum(value, axis=-1) - 0.5 * weight[..., 0] * self.radius[..., 0] ** 2
        count = self.center.shape[-1]
        return found - 4.0 * gamma(count + 16) * (size + squares) - 16.0 * count * SMALLEST, size + squares

    def put(self, placement: Placement) -> "JointLayer":
        """The same in another placement."""
        return JointLayer(*map(placement.put, (self.center, self.radius, self.lower, self.upper)))

    def take(self, rows: Array) -> "JointLayer":
        """Of some of the rows."""
        return JointLayer(*(take_rows(part, rows) for part in (self.center, self.radius, self.lower, self.upper)))


def joint_layers(region: Region, gains: Sequence[Sequence[float]] | None) -> tuple[JointLayer, ...] | None:
    """The balls of all layers of a region [rows or 1, n]; None where not all activations are ReLUs.

    |W x - W x'|_2 <= |W|_2 |x - x'|_2, sums add up, and ReLUs stretch nothing; centers are values at the set's center,
    enclosed by intervals. gains: those of the network's maps; without, those of maps behind ReLUs are computed for each
    set, where a ReLU whose input is at most u, and c < 0 at the center, stretches by at most u / (u - c).
    Error: rounded outward; infinite radii where a map has no bound.
    """
    network = region.network
    if any(activation.kind != "relu" for activation in network.functions):
        return None
    center, radius = region.inputs.surrounding
    forward, found = Forward(network, Box.point(center)).run(), []
    lengths: list[Array] = [radius]
    slopes: list[Array | None] = [None]
    for i, affine, k in network.steps:
        if affine is None:
            source = network.sources[k]
            ends = forward.lower[source], forward.upper[source]
            lengths.append(lengths[source])
            found.append(_layer(ends, lengths[source], region.lower[k], region.upper[k]))
            slopes.append(None if gains is not None else _stretched(ends[1], region.upper[k]))
            continue
        stretched = [
            lengths[term.source] * (most if gains is not None else _gains(term.map, slopes[term.source], center))
            for term, most in zip(affine.terms, gains[i] if gains is not None else affine.terms, strict=True)
        ]
        total = stretched[0]
        for part in stretched[1:]:
            total = total + part
        lengths.append(total * (1.0 + 4.0 * gamma(len(stretched) + 4)))
        slopes.append(None)
    return tuple(found)


def _layer(ends: tuple[Array, Array], length: Array, lower: Array, upper: Array) -> JointLayer:
    """The ball around the middle of an interval that holds the exact center."""
    xp, middle = namespace(length), 0.5 * ends[0] + 0.5 * ends[1]
    off = xp.maximum(ends[1] - middle, middle - ends[0])
    spread = xp.sqrt(xp.sum(off * off, axis=-1, keepdims=True))
    radius = (length + spread) * (1.0 + 8.0 * gamma(middle.shape[-1] + 8)) + SMALLEST
    return JointLayer(middle, radius, lower, upper)


def _stretched(center: Array, upper: Array) -> Array:
    """How much ReLUs stretch differences from values of at most `center`, for inputs of at most `upper`."""
    xp = namespace(center)
    most = xp.maximum(upper, xp.zeros_like(upper)) + xp.zeros_like(center)
    # The center may lie outside the set, where its inputs may be above u.
    below = center <= 0
    distance = most - xp.minimum(center, xp.zeros_like(center))
    share = most / xp.where(distance > 0, distance, xp.ones_like(distance)) * (1.0 + 8.0 * gamma(1))
    return xp.where(below, xp.minimum(share, xp.ones_like(share)), xp.ones_like(share))


def _gains(part: LinearMap, slopes: Array | None, like: Array) -> Array | float:
    """The gain of a map, or one for each set behind ReLUs that stretch by at most some slopes, [sets, 1]."""
    if slopes is None:
        return gain(part)
    return Placement.of(like).put(np.array([[gain(part, row)] for row in to_numpy(slopes)]))
