"""Straight and curved pieces of the boundary of a hull: points along them, tangents to them, nearest points on them."""

from typing import Protocol

from admm_verify.arrays import namespace
from admm_verify.relaxations.contract import Layer, Mask

TANGENT_STEPS = 5
"""Measured: 4 reach rounding for all u between 1e-4 and 1e30."""

NEAREST_STEPS = 12
"""Measured: relative errors are below 1e-14 for bounds up to 1e8 and points up to 1e30; 6 would do on usual ones."""


class Curve(Protocol):
    """An increasing phi that is convex left of its inflection point, with phi(-x) = 2 phi(0) - phi(x) if it has one."""

    def value(self, x: Layer) -> Layer:
        """phi(x)."""
        ...

    def derivative(self, x: Layer) -> Layer:
        """phi'(x), relatively accurate."""
        ...

    def bend(self, x: Layer) -> Layer:
        """phi''(x) / phi'(x)."""
        ...

    def inverse_derivative(self, slope: Layer) -> Layer:
        """The x on the convex branch where phi'(x) comes nearest to the slope, for any finite slope."""
        ...


def stacked(*layers: Layer) -> Layer:
    """Layers along a new first axis, all of them as large as the largest: one call for several small ones."""
    xp, shape = namespace(*layers), layers[0].shape
    alike = all(layer.shape == shape for layer in layers)
    return xp.stack(list(layers) if alike else list(xp.broadcast_arrays(*layers)))


def raised(layer: Layer, *others: Layer) -> Layer:
    """A layer with as many axes as the others have, so that another axis can come before all of them."""
    missing = max(len(other.shape) for other in others) - len(layer.shape)
    return layer if missing <= 0 else namespace(layer).reshape(layer, ((1,) * missing + tuple(layer.shape)))


def between(x: Layer, low: Layer, high: Layer) -> Layer:
    """min(max(x, low), high)."""
    xp = namespace(x, low, high)
    return xp.minimum(xp.maximum(x, low), high)


def tiniest(array: Layer) -> float:
    """The smallest normal number of the array's type: below it products lose relative accuracy."""
    return float(namespace(array).finfo(array.dtype).smallest_normal)


def epsilon(array: Layer) -> float:
    """Two roundings of the array's type."""
    return float(namespace(array).finfo(array.dtype).eps)


def chord_slope(start: Layer, start_post: Layer, end: Layer, end_post: Layer, otherwise: Layer) -> Layer:
    """(q1 - q0) / (p1 - p0) where p1 > p0, else the number given."""
    xp = namespace(start, end)
    run = end - start
    return xp.where(run > 0, (end_post - start_post) / xp.where(run > 0, run, xp.ones_like(run)), otherwise)


def along_segment(start: Layer, start_post: Layer, end: Layer, end_post: Layer, pre: Layer) -> Layer:
    """The height of a segment at pre, at the nearer end outside it, at the start where it has no length."""
    xp = namespace(start, end, pre)
    run = end - start
    share = xp.where(run > 0, (between(pre, start, end) - start) / xp.where(run > 0, run, xp.ones_like(run)), 0.0 * run)
    return start_post + share * (end_post - start_post)


def nearest_on_line(
    start: Layer, start_post: Layer, end: Layer, slope: Layer, pre: Layer, post: Layer
) -> tuple[Layer, Layer, Layer]:
    """The nearest point of a segment from start, and how far the foot on its whole line is to the right of start.

    At a kink of a convex chain that distance names the piece with the nearest point. Distances to the pieces cannot:
    near the kink they agree up to rounding, and the points differ by its square root.
    """
    xp = namespace(start, pre)
    shift = ((pre - start) + (post - start_post) * slope) / (1.0 + slope * slope)
    p = between(start + shift, xp.minimum(start, end), xp.maximum(start, end))
    return p, start_post + slope * (p - start), shift


def tangent_point(curve: Curve, upper: Layer) -> Layer:
    """The t <= 0 where the line through (u, phi(u)) touches a curve with inflection point 0; 0 where u <= 0.

    phi'(t) (u - t) = phi(u) - phi(t), by iterating t <- (phi')^-1 of the slope k(t) of the chord from t to u. As
    k' = (k - phi') / (u - t) vanishes at the solution, convergence is quadratic; as k is largest there, every iterate
    is at or left of it.
    """
    xp = namespace(upper)
    zero = xp.zeros_like(upper)
    end = xp.where(upper > 0, upper, xp.ones_like(upper))
    height, least = curve.value(end), curve.derivative(end)
    t = zero
    for _ in range(TANGENT_STEPS):
        # The tangent is steeper than the curve at u: where the difference of values is all rounding, this decides.
        steepness = xp.maximum((height - curve.value(t)) / (end - t), least)
        t = between(curve.inverse_derivative(steepness), -end, zero)
    return xp.where(upper > 0, t, zero)


def nearest_on_curve(
    curve: Curve, start: Layer, end: Layer, pre: Layer, post: Layer, above: Mask
) -> tuple[Layer, Layer]:
    """The nearest point on the graph over [start, end].

    Where the point is above, phi is concave on [start, end] and odd about 0 up to a constant; otherwise it is convex.
    With s = -1 above and 1 otherwise, the p sought solves X(p) = Y(p) for X = s (phi - post) phi' and Y = s (pre - p),
    of which X - Y changes sign once. Safeguarded Newton on X - Y and on log X - log Y at once: from the far side
    neither overshoots where both are convex, so the longer step is taken; the second one sees exponentials as lines.

    Valid when: the point lies below the hull, or above it where above; an end of [start, end] stands for a solution
    beyond it.
    """
    xp = namespace(start, pre)
    one = xp.ones_like(pre)
    sign, aim = xp.where(above, -one, one), xp.where(above, -pre, pre)
    left, right = xp.where(above, -end, start), xp.where(above, -start, end)
    high = between(aim, left, right)
    low = _leftmost(curve, left, high, aim, sign * (curve.value(sign * high) - post))
    off, run, _ = _residual(curve, sign, aim, post, low)
    # A solution at the left end is settled here; the steps would creep towards an end by halves.
    p = high = xp.where(off >= run, low, high)
    for _ in range(NEAREST_STEPS):
        off, run, step = _residual(curve, sign, aim, post, p)
        low, high = xp.where(off >= run, low, p), xp.where(off >= run, p, high)
        new = p - step
        p = xp.where((new >= low) & (new <= high), new, 0.5 * low + 0.5 * high)
    p = sign * p
    return p, curve.value(p)


def _leftmost(curve: Curve, left: Layer, high: Layer, aim: Layer, rise: Layer) -> Layer:
    """A lower bound of the solution: it is within 1 of the aim, or phi' >= 1 / rise there, with phi's rise at high."""
    xp = namespace(left, high)
    steep = curve.inverse_derivative(1.0 / xp.maximum(rise, 2.0**-20 * xp.ones_like(rise)))
    return between(xp.minimum(aim - 1.0, steep), left, high)


def _residual(curve: Curve, sign: Layer, aim: Layer, post: Layer, p: Layer) -> tuple[Layer, Layer, Layer]:
    """X, Y and the longer of the Newton steps of X - Y and of log X - log Y, which has none where either is not > 0."""
    xp = namespace(p, aim)
    rise, run = sign * (curve.value(sign * p) - post), aim - p
    slope, bend = curve.derivative(sign * p), sign * curve.bend(sign * p)
    off = rise * slope
    newton = (off - run) / (1.0 + xp.maximum(slope * slope + off * bend, xp.zeros_like(off)))
    least, one = 4.0 * tiniest(run), xp.ones_like(run)
    usable = (rise > least) & (off > least) & (run > least)
    growth = xp.where(usable, slope / xp.where(usable, rise, one) + bend + 1.0 / xp.where(usable, run, one), one)
    ratio = xp.log(xp.where(usable, off, one)) - xp.log(xp.where(usable, run, one))
    usable = usable & (growth > 0)
    logarithmic = ratio / xp.where(usable, growth, one)
    return off, run, xp.where(usable, xp.maximum(newton, logarithmic), newton)
