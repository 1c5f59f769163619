"""The laws of sets whose minima and nearest points are found by iterations: near to the best, but never beyond it."""

from fractions import Fraction

import numpy as np

from admm_verify.arrays import gamma
from tests.sets.laws import dot, exact


def check_bound(subject, coefficient, accuracy):
    """Minima are bounds, with no slack but what callers account for, and as near as iterations are wanted to come."""
    size = Fraction(gamma(coefficient.shape[-1] + 4))
    value, magnitude = subject.inputs.minimum(coefficient)
    x = subject.inputs.minimiser(coefficient)
    for k, twin in enumerate(subject.twins):
        c, scale = exact(coefficient[k]), Fraction(float(magnitude[k]))
        least, room = twin.minimum(c), Fraction(accuracy) * scale
        assert least - room - Fraction(1, 10**300) <= Fraction(float(value[k])) <= least + size * scale
        assert twin.holds(exact(x[k]))
        assert dot(c, exact(x[k])) <= least + room + Fraction(1, 10**300)


def check_nearest(inputs, twins, x, accuracy, drawn=0.0):
    """Projections are points of the set, exactly, nearest up to an accuracy, and stay where they are.

    drawn: by how much of the set's size they are drawn in, so that floats are sure of them.
    """
    found = inputs.project(x)
    again = inputs.project(found)
    size = np.abs(inputs.width).sum(axis=-1) + np.abs(found).sum(axis=-1)
    for twin, start, end, other, scale in zip(twins, x, found, again, size, strict=True):
        p = exact(end)
        normal = [a - b for a, b in zip(p, exact(start), strict=True)]
        # Of points that are inside, rounding alone may be left.
        away = Fraction(float(np.abs(start - end).sum() + (accuracy + drawn / accuracy) * scale))
        assert twin.holds(p)
        assert twin.minimum(normal) >= dot(normal, p) - Fraction(accuracy) * away * Fraction(float(scale))
        assert np.abs(other - end).max() <= accuracy * scale
    assert np.array_equal(inputs.project(inputs.centre), inputs.centre)


def check_membership(inputs, twins, rng):
    """What the set says of points inside, outside and within a unit in the last place of the border is exact."""
    spread = inputs.width * rng.uniform(-1.0, 1.0, inputs.shape)
    for x in (inputs.centre, inputs.minimiser(spread), inputs.centre + spread, inputs.project(inputs.centre + spread)):
        for point in (
            x,
            np.nextafter(x, np.inf),
            np.nextafter(x, -np.inf),
            inputs.centre + 1.000001 * (x - inputs.centre),
        ):
            found = inputs.contains(point)
            assert [bool(one) for one in found] == [twin.holds(exact(y)) for twin, y in zip(twins, point, strict=True)]
    for x in inputs.sample(3, rng).swapaxes(0, 1):
        assert inputs.contains(x).all()
        assert all(twin.holds(exact(y)) for twin, y in zip(twins, x, strict=True))
        lower, upper = inputs.range
        assert ((lower <= x) & (x <= upper)).all()
