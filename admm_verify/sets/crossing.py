"""Where increasing functions of one number cross zero, many at once."""

from collections.abc import Callable

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow

_ROUNDS = 60
"""Newton's method takes 5 to 10; halving what is left settles odd ones."""

_HALVED = 4
"""Every so many rounds the bracket is halved instead."""


def crossing(function: Callable[[Array], tuple[Array, Array]], low: Array, high: Array, start: Array) -> Array:
    """Zeros of increasing functions in brackets 0 <= low <= high, up to rounding, by Newton's method within these.

    function(t) -> values and slopes of all functions at t, of which values tell the side of the zero; NaN and zero
    slopes end in halving.
    Shapes: low, high, start [..., 1].
    """
    xp, place = namespace(start), Placement.of(start)
    tight = 8.0 * xp.finfo(place.dtype).eps
    t, done = start, xp.zeros_like(start, dtype=xp.bool)
    looked = place.is_numpy
    for k in range(_ROUNDS):
        with quiet_overflow():
            value, slope = function(t)
            newton = t - value / slope
        low, high = xp.where(value <= 0, t, low), xp.where(value >= 0, t, high)
        middle = xp.where(low > 0, xp.sqrt(low) * xp.sqrt(high), 0.5 * (low + high))
        inside = (newton > low) & (newton < high)
        chosen = xp.where(inside, newton, middle) if k % _HALVED < _HALVED - 1 else middle
        done = done | (xp.abs(value) <= tight) | (xp.abs(newton - t) <= tight * t) | (high - low <= tight * high)
        # Elsewhere a look at the result takes longer than the rounds it spares.
        if looked and bool(xp.all(done)):
            break
        t = xp.where(done, t, chosen)
    return t
