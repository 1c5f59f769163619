"""Lines below and above activations over intervals, for any slopes that somebody chose."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF
from admm_verify.certificates.numbers import Numbers
from admm_verify.errors import CertificateError
from admm_verify.network.graph import Activation

KINKED = ("relu", "prelu")
"""Kinds with a kink at 0 and nothing else."""

_SLACK = 64 * DOUBLE_ROUNDOFF
"""Computed values and derivatives of curves are within 8 roundings, relatively; the rest is for sums of a few."""


@dataclass(frozen=True, eq=False)
class Lines:
    """below p + below_at <= phi(p) <= above p + above_at for l <= p <= u.

    Valid when: the caller charges kinks the rounding of |coefficient| max|phi| and |multiplier| max|p|.
    Shapes: [rows or 1, n]; below_at None for 0.
    """

    below: np.ndarray
    below_at: np.ndarray | None
    above: np.ndarray
    above_at: np.ndarray


Chosen = tuple[np.ndarray, np.ndarray]
"""Columns [c] and the slopes chosen there [rows, c]."""


def sides(node: Activation) -> int:
    """Slopes of one neuron that can be chosen.

    Raises: CertificateError for a kind that the checker does not know.
    """
    if node.kind in KINKED:
        if any((slope > 1).any() for slope in node.parameters):
            raise CertificateError("A prelu with a slope above 1 is not convex; no certificate of it can be checked.")
        return 1
    if node.kind not in CURVES:
        known = ", ".join((*KINKED, *CURVES))
        raise CertificateError(f"Activations of the kind {node.kind!r} cannot be checked; only {known} can.")
    return 2


def lines_of(
    numbers: Numbers, node: Activation, low: np.ndarray, high: np.ndarray, chosen: Chosen | None = None
) -> Lines:
    """The rule's lines over [low, high], or those with the chosen slopes moved to where they are useful.

    Shapes: low, high [rows or 1, n]. Raises: CertificateError for curves in exact numbers.
    """
    if node.kind in KINKED:
        return _kinked(numbers, inactive(numbers, node), low, high, chosen)
    if numbers.exact:
        raise CertificateError(f"Exact numbers have no {node.kind}; check the certificate in float64.")
    curve = CURVES[node.kind]
    slopes = [curve.slope(low, high), curve.slope(-high, -low)]
    if chosen is not None:
        columns, values = chosen
        shape = (max(len(low), len(values)), 2 * node.size)
        both = np.broadcast_to(np.concatenate(slopes, axis=-1), shape).copy()
        both[:, columns] = values
        slopes = [both[:, : node.size], both[:, node.size :]]
    below, above = (np.clip(slope, 0.0, curve.steepest) for slope in slopes)
    # The graph is symmetric about (0, phi(0)), so the line above is one below, turned over.
    top = 2.0 * curve.value(np.zeros(1)) - curve.floor(-high, -low, above)
    return Lines(below, curve.floor(low, high, below), above, top + _SLACK * (1.0 + np.abs(top)))


def inactive(numbers: Numbers, node: Activation) -> np.ndarray:
    """The slope on the left of the kink, [n]."""
    return node.parameters[0] if node.parameters else numbers.of(np.zeros(node.size))


def _kinked(numbers: Numbers, left: np.ndarray, low: np.ndarray, high: np.ndarray, chosen: Chosen | None) -> Lines:
    """Below, any slope between left and 1, by CROWN's rule the one of less area; above, the chord."""
    zero, one = numbers.number(0), numbers.number(1)
    open = (low < 0) & (high > 0)
    stable = np.where(low >= 0, one, left)
    width = high - low
    chord = np.where(open, numbers.near(high - left * low, np.where(open, width, one)), stable)
    # However the slope was rounded, the line is above both ends. What underflow takes is given back, and a width that
    # overflows leaves no line.
    ends = np.maximum((left - chord) * low, (one - chord) * high)
    at = np.where(open, ends + numbers.tiny * (one + width), zero)
    most = np.where(open, one, stable)
    below = np.where(open & (high <= -low), left, most)
    if chosen is not None:
        columns, values = chosen
        below = np.broadcast_to(below, (max(len(below), len(values)), below.shape[1])).copy()
        least = np.where(open, left, stable)
        below[:, columns] = np.minimum(np.maximum(values, least[:, columns]), most[:, columns])
    return Lines(below, None, chord, at)


def image(numbers: Numbers, node: Activation, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An interval that holds phi([low, high]), rounded outward."""
    if node.kind not in KINKED:
        curve = CURVES[node.kind]
        least, greatest = curve.values
        down, up = (curve.value(end) for end in (low, high))
        down, up = (end + sign * (_SLACK * np.abs(end) + numbers.tiny) for end, sign in ((down, -1.0), (up, 1.0)))
        return np.maximum(down, least), np.minimum(up, greatest)
    zero, left = numbers.number(0), inactive(numbers, node)
    if not node.parameters:
        return np.maximum(low, zero), np.maximum(high, zero)
    error = numbers.error(4 * DOUBLE_ROUNDOFF)
    ends = [np.where(end >= 0, end, left * end) for end in (low, high)]
    slack = [
        np.where(end >= 0, zero, error * abs(value) + numbers.tiny)
        for end, value in zip((low, high), ends, strict=True)
    ]
    down = np.minimum(ends[0] - slack[0], ends[1] - slack[1])
    up = np.maximum(ends[0] + slack[0], ends[1] + slack[1])
    return np.where((low < 0) & (high > 0), np.minimum(down, zero), down), up


def gain(node: Activation, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A Lipschitz constant of phi on [low, high], rounded upward; float64."""
    if node.kind not in KINKED:
        curve = CURVES[node.kind]
        return np.minimum(curve.derivative(np.clip(0.0, low, high)) * (1.0 + _SLACK) + 2.0**-1022, curve.steepest)
    steep = np.abs(node.parameters[0]) if node.parameters else np.zeros(node.size)
    return np.maximum(np.where((low < 0) | (high <= 0), steep, 0.0), np.where((high > 0) | (low >= 0), 1.0, 0.0))


def evaluation_roundings(node: Activation) -> float:
    """Roundings of max(1, max|phi|) by which float code may miss phi(p), whoever wrote it."""
    return {"relu": 0.0, "prelu": 2.0}.get(node.kind, 32.0)


@dataclass(frozen=True)
class Curve:
    """An increasing phi that is convex left of 0, with phi(-x) = 2 phi(0) - phi(x): the sigmoid, stretched.

    value: phi, whose computed values are within 8 roundings, relatively. phi(x) = scale sigmoid(rate x) + shift.
    """

    value: Callable[[np.ndarray], np.ndarray]
    values: tuple[float, float]
    rate: float
    steepest: float

    def derivative(self, x: np.ndarray) -> np.ndarray:
        """phi', relatively accurate."""
        small = np.exp(-np.abs(self.rate * x))
        return 4.0 * self.steepest * small / ((1.0 + small) * (1.0 + small))

    def inverse(self, slope: np.ndarray) -> np.ndarray:
        """The x <= 0 where phi' is near the slope: log(r) - 2 log(1 + sqrt(1 - r)) over the rate."""
        ratio = np.clip(slope / self.steepest, 2.0**-1022, 1.0)
        return (np.log(ratio) - 2.0 * np.log1p(np.sqrt(1.0 - ratio))) / self.rate

    def slope(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The slope of a good line below: of the tangent at the middle, or of the hull's chord where that is there.

        The chord's left end is the t <= 0 with phi'(t) (high - t) = phi(high) - phi(t), by fixed point iteration.
        """
        top, t = np.maximum(high, 0.0), np.zeros_like(high)
        for _ in range(6):
            rise = np.where(top > t, (self.value(top) - self.value(t)) / np.where(top > t, top - t, 1.0), self.steepest)
            t = np.clip(self.inverse(np.maximum(rise, self.derivative(top))), -top, 0.0)
        start, middle = (
            np.clip(np.where(high > 0, t, high), low, np.maximum(low, np.minimum(high, 0.0))),
            low / 2 + high / 2,
        )
        run = high - start
        chord = (self.value(high) - self.value(start)) / np.where(run > 0, run, 1.0)
        return np.where((middle < start) | ~(run > 0), self.derivative(middle), chord)

    def floor(self, low: np.ndarray, high: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """A number below min of h(p) = phi(p) - slope p over [low, high].

        On [low, e], e = 0 moved into the interval, h is convex: h(p) >= h(t) + h'(t) (p - t) for any t there. Beyond e
        it is concave, so that its least value is at an end.
        """
        end = np.clip(0.0, low, high)
        t = np.clip(self.inverse(slope), low, end)
        value, last, steep = self.value(t), self.value(high), self.derivative(t)
        charge = _SLACK * steep + 2.0**-1022
        drop = np.minimum((steep - slope + charge) * (low - t), (steep - slope - charge) * (end - t))
        least = np.minimum(value - slope * t + np.minimum(drop, 0.0), last - slope * high)
        reach = np.maximum(np.abs(low), np.abs(high))
        return least - _SLACK * (np.abs(value) + np.abs(last) + (slope + steep) * reach) - 2.0**-1000


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


CURVES = {
    "sigmoid": Curve(_sigmoid, (0.0, 1.0), 1.0, 0.25),
    "tanh": Curve(np.tanh, (-1.0, 1.0), 2.0, 1.0),
}
"""The curves that can be checked."""
