"""Differences of rectifiers in the checker: planes under any weights, over polygons whose corners are found exactly."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from admm_verify.certificates.differences import CheckedReluDifference
from admm_verify.certificates.numbers import Numbers
from admm_verify.relaxations.registry import RELAXATIONS

KIND = CheckedReluDifference()
ZERO = Fraction(0)


def exactly(numbers, array, *place):
    entry = array[place]
    return Fraction(int(entry.integers)) * Fraction(2) ** entry.exponent if numbers.exact else Fraction(float(entry))


def ranges(rng, rows):
    """Ends [rows, 3] around points with n' = n + D, some of no width, some through 0, some that only just meet."""
    n, d = rng.standard_normal(rows), rng.standard_normal(rows) * 10.0 ** rng.integers(-5, 2, rows)
    centre = np.stack([n, d, n + d], axis=1) * 10.0 ** rng.integers(-8, 8, (rows, 1))
    down, up = (np.abs(rng.standard_normal((rows, 3))) * np.abs(centre[:, :1]) for _ in range(2))
    down, up = (side * 10.0 ** rng.integers(-3, 1, (rows, 3)) for side in (down, up))
    down, up = (np.where(rng.random((rows, 3)) < 0.15, 0.0, side) for side in (down, up))
    low, high = centre - down, centre + up
    # Without width at all, a third number is only near the sum of the others.
    flat = (low == high).sum(axis=1) > 1
    low[flat, 2], high[flat, 2] = low[flat, 2] - 1.0, high[flat, 2] + 1.0
    low[:, 0] = np.where((centre[:, 0] > 0) & (rng.random(rows) < 0.3), 0.0, low[:, 0])
    return low, high


def corners(low, high):
    """All corners of the polygon cut along n = 0 and n' = 0, from every pair of lines, with phi there."""
    lines = [(i, Fraction(float(end[i]))) for i in range(3) for end in (low, high)] + [(0, ZERO), (2, ZERO)]
    ends = [(Fraction(float(a)), Fraction(float(b))) for a, b in zip(low, high, strict=True)]
    found = []
    for (i, a), (j, b) in combinations(lines, 2):
        if i == j:
            continue
        known = {i: a, j: b}
        n = known[0] if 0 in known else known[2] - known[1]
        d = known[1] if 1 in known else known[2] - n
        point = (n, d, n + d)
        if all(least <= x <= most for x, (least, most) in zip(point, ends, strict=True)):
            found.append((point, max(n + d, ZERO) - max(n, ZERO)))
    return found


@pytest.mark.parametrize("exact", [False, True])
def test_planes_of_any_weights_hold_at_all_corners(exact):
    rng, numbers, rows, seen = np.random.default_rng(3), Numbers(exact), 120, 0
    low, high = ranges(rng, rows)
    weights = np.where(rng.random((rows, KIND.sides)) < 0.3, 0.0, rng.uniform(-0.2, 1.2, (rows, KIND.sides)))
    part = np.array([1, 4, 5])
    for chosen in (None, (np.arange(KIND.sides), numbers.of(weights)), (part, numbers.of(weights[:, part]))):
        lines = KIND.lines(numbers, numbers.of(low), numbers.of(high), chosen)
        image = KIND.image(numbers, numbers.of(low), numbers.of(high))
        for row in range(rows):
            points = corners(low[row], high[row])
            seen += bool(points)
            for side, at, least in ((lines.below, lines.below_at, True), (lines.above, lines.above_at, False)):
                slopes = [exactly(numbers, side, row, i) for i in range(3)]
                gaps = [phi - sum(s * x for s, x in zip(slopes, p, strict=True)) for p, phi in points]
                height = exactly(numbers, at, row, 0)
                assert all(height <= gap if least else height >= gap for gap in gaps)
                if exact and points:
                    assert height == (min if least else max)(gaps)
            values = [phi for _, phi in points]
            ends = [exactly(numbers, end, row, 0) for end in image]
            assert all(ends[0] <= phi <= ends[1] for phi in values)
            if exact and points:
                assert ends == [min(values), max(values)]
    assert seen > 2 * rows


def test_no_corner_is_lost_where_three_lines_only_just_meet():
    """The range of n' begins at the largest n + D, or a rounding below it: one point is left, or next to nothing."""
    rng, numbers = np.random.default_rng(4), Numbers(False)
    for _ in range(200):
        n, d = rng.standard_normal(2) * 10.0 ** rng.integers(-3, 3, 2)
        sum_of_both = Fraction(n) + Fraction(d)
        below = float(sum_of_both)
        below = below if Fraction(below) <= sum_of_both else np.nextafter(below, -np.inf)
        low, high = np.array([n - 1.0, d - 1.0, below]), np.array([n, d, below + 1.0])
        points = corners(low, high)
        assert points
        weights = np.arange(KIND.sides), rng.random((1, KIND.sides))
        lines = KIND.lines(numbers, low[None], high[None], weights)
        for point, phi in points:
            for side, at, sign in ((lines.below, lines.below_at, 1), (lines.above, lines.above_at, -1)):
                plane = sum(Fraction(s) * x for s, x in zip(side[0].tolist(), point, strict=True)) + Fraction(
                    float(at[0, 0])
                )
                assert sign * (phi - plane) >= 0


def test_what_is_left_of_nothing_is_finite():
    low, high = np.array([[1.0, 1.0, -3.0]]), np.array([[2.0, 2.0, -2.0]])
    for exact in (False, True):
        numbers = Numbers(exact)
        lines = KIND.lines(numbers, numbers.of(low), numbers.of(high))
        for array in (lines.below, lines.below_at, lines.above, lines.above_at):
            assert np.isfinite(numbers.nearest(array)).all()


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_known_signs_leave_nothing_open(signs):
    low = np.array([[1.0 if signs[0] > 0 else -2.0, -5.0, 1.0 if signs[1] > 0 else -2.0]])
    high = np.array([[2.0 if signs[0] > 0 else 0.0, 5.0, 2.0 if signs[1] > 0 else 0.0]])
    numbers = Numbers(True)
    lines = KIND.lines(numbers, numbers.of(low), numbers.of(high))
    assert (lines.below.at(-88) == lines.above.at(-88)).all()
    assert exactly(numbers, lines.below_at, 0, 0) == exactly(numbers, lines.above_at, 0, 0) == 0


def test_the_rule_is_that_of_the_search():
    """Else bounds that a search has used are not derived again."""
    rng = np.random.default_rng(5)
    low, high = ranges(rng, 400)
    # Of polygons without area all planes are as good.
    wide = (low < high).all(axis=1)
    low, high = low[wide], high[wide]
    known = RELAXATIONS["relu_difference"]().planes(low, high)
    weights = rng.random((len(low), KIND.sides))
    for chosen, slopes in ((None, known.start), ((np.arange(KIND.sides), weights), weights)):
        lines = KIND.lines(Numbers(False), low, high, chosen)
        for sign, own in ((1.0, lines.below), (-1.0, lines.above)):
            other = known.contact(np.full((len(low), 1), sign), slopes).slope
            apart = (np.abs(own - other) > 1e-9 * (1.0 + np.abs(other))).any(axis=1)
            # Of planes that are as near to the middle up to rounding, either is the nearest.
            assert apart.sum() <= (0.01 * len(low) if chosen is None else 0)


def test_errors_of_operands_are_carried():
    """phi of three operands that are off by something each is off by no more than the gains say."""
    rng = np.random.default_rng(6)
    n, d = rng.standard_normal((2, 4000))
    error = np.abs(rng.standard_normal((3, 4000))) * 10.0 ** rng.integers(-3, 1, (3, 4000))
    true = np.stack([n, d, n + d])
    seen = true + error * rng.uniform(-1, 1, (3, 4000))
    computed = np.where(seen[0] >= 0, np.maximum(seen[1], -seen[0]), np.maximum(seen[2], 0.0))
    off = np.abs(computed - (np.maximum(true[2], 0) - np.maximum(true[0], 0)))
    low, high, errors = (np.concatenate(part)[None] for part in (true - error, true + error, error))
    assert (off <= KIND.carried(low, high, errors)[0] + 1e-12).all()
