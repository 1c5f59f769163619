"""The laws that every input set keeps, checked against an exact twin of it in rational arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from admm_verify.arrays import Placement, gamma, to_numpy
from admm_verify.sets.contract import InputSet, WalkableSet

Point = Sequence[Fraction]


class Twin(Protocol):
    """One set in exact numbers."""

    def holds(self, x: Point) -> bool:
        """Whether the set holds x."""
        ...

    def minimum(self, coefficient: Point) -> Fraction:
        """min over the set of c'x."""
        ...


@dataclass(frozen=True)
class Subject:
    """Sets [sets, n] and the twin of each."""

    inputs: InputSet
    twins: tuple[Twin, ...]


def exact(values: np.ndarray) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]


def dot(one: Point, other: Point) -> Fraction:
    return sum((a * b for a, b in zip(one, other, strict=True)), Fraction(0))


def check_minimum(subject: Subject, coefficient: np.ndarray) -> None:
    """The minimum is as near as its magnitude says, and the minimiser a point of the set where it is attained."""
    size = Fraction(gamma(2 * coefficient.shape[-1] + 16))
    value, magnitude = subject.inputs.minimum(coefficient)
    x, best = subject.inputs.minimiser(coefficient), subject.inputs.best(coefficient)[1]
    least, most = subject.inputs.range
    for k, twin in enumerate(subject.twins):
        c = exact(coefficient[k])
        reach = [max(abs(low), abs(high)) for low, high in zip(exact(least[k]), exact(most[k]), strict=True)]
        room = size * Fraction(float(magnitude[k]))
        high = Fraction(float(value[k])) - twin.minimum(c)
        assert -room - Fraction(1, 10**300) <= high <= room
        assert (1 + size) * Fraction(float(magnitude[k])) >= dot([abs(a) for a in c], reach)
        assert twin.holds(exact(x[k]))
        assert abs(Fraction(float(best[k])) - twin.minimum(c)) <= room
        assert abs(dot(c, exact(x[k])) - twin.minimum(c)) <= room


def check_range(subject: Subject) -> None:
    """Range, reach, width and half of it are those of the coordinates."""
    inputs = subject.inputs
    lower, upper = inputs.range
    for k, twin in enumerate(subject.twins):
        for i in range(inputs.size):
            axis = [Fraction(int(i == j)) for j in range(inputs.size)]
            low, high = twin.minimum(axis), -twin.minimum([-a for a in axis])
            assert Fraction(float(lower[k, i])) <= low and high <= Fraction(float(upper[k, i]))
            assert Fraction(float(inputs.reach[k, i])) >= max(abs(low), abs(high))
    np.testing.assert_allclose(inputs.width, upper - lower)
    np.testing.assert_allclose(2 * inputs.half, upper - lower)
    assert inputs.sides == (lower < upper).sum(axis=1).max()


def check_projection(inputs: WalkableSet, twins: tuple[Twin, ...], x: np.ndarray, room: float = 0.0) -> None:
    """p is nearest to x: a point of the set with (x - p)'(y - p) <= 0 for all its points y; centres are inside.

    room: what rounding may do to nearest points that are no numbers, by the length of the set and of x.
    """
    for points in (x, inputs.centre):
        near, lengths = inputs.project(points), inputs.width + inputs.reach + np.abs(points)
        for twin, *numbers in zip(twins, *map(to_numpy, (points, near, lengths)), strict=True):
            start, p, length = map(exact, numbers)
            normal = [a - b for a, b in zip(p, start, strict=True)]
            sizes = [abs(a) + b / 16 for a, b in zip(normal, length, strict=True)]
            off = Fraction(room) * dot(sizes, length) if room else 0
            assert twin.holds(p) and twin.minimum(normal) >= dot(normal, p) - off
    once = inputs.project(x)
    np.testing.assert_array_equal(inputs.project(once), once)
    np.testing.assert_array_equal(inputs.project(inputs.centre), inputs.centre)


def check_steps(inputs: WalkableSet, twins: tuple[Twin, ...], direction: np.ndarray) -> None:
    """One step down a functional from the centre ends where it is least; none is taken along what is no number."""
    end, widths = to_numpy(inputs.stepped(inputs.centre, -1.0, direction)), to_numpy(inputs.width)
    for twin, c, x, width in zip(twins, direction, end, widths, strict=True):
        assert twin.holds(exact(x))
        room = 1e-12 * np.abs(c) @ (np.abs(x) + width)
        assert abs(float(dot(exact(c), exact(x)) - twin.minimum(exact(c)))) <= room
    lost = np.full_like(direction, np.nan)
    np.testing.assert_array_equal(inputs.stepped(inputs.centre, 1.0, lost), inputs.centre)


def check_points(inputs: WalkableSet, twins: tuple[Twin, ...], coefficient: np.ndarray, room: float = 0.0) -> None:
    """Samples are inside, and among all corners is a minimiser, where these are numbers."""
    samples = to_numpy(inputs.sample(5, np.random.default_rng(0)))
    assert samples.shape == (inputs.count, 5, inputs.size)
    assert all(twin.holds(exact(x)) for twin, some in zip(twins, samples, strict=True) for x in some)
    corners = inputs.corners(2**inputs.size)
    if corners is not None:
        for twin, c, some in zip(twins, coefficient, to_numpy(corners), strict=True):
            assert all(twin.holds(exact(x)) for x in some)
            least = twin.minimum(exact(c))
            off = room * np.abs(c) @ np.abs(some).max(axis=0)
            assert 0 <= min(dot(exact(c), exact(x)) for x in some) - least <= off


def check_inward(inputs: WalkableSet, twins: tuple[Twin, ...], whole: bool = True) -> None:
    """What is left in a type with fewer digits lies inside, wherever every side holds a number of that type.

    whole: whether all of it does, or the points that it gives.
    """
    found = inputs.inward(Placement.numpy(np.float32))
    assert all(part.dtype == np.float32 for part in found.numbers)
    back = found.put(Placement.numpy())
    for k, twin in enumerate(twins):
        one = back.at(slice(k, k + 1))
        low, high = (end.astype(np.float32) for end in inputs.at(slice(k, k + 1)).range)
        if (np.nextafter(low, np.float32(np.inf)) < np.nextafter(high, np.float32(-np.inf))).all():
            assert not whole or inputs.at(slice(k, k + 1)).covers(one)
            assert all(twin.holds(exact(x)) for x in one.sample(3, np.random.default_rng(0))[0])


def check_batches(inputs: InputSet, coefficient: np.ndarray) -> None:
    """Sets chosen, cut and spread are the sets one by one."""
    value, _ = inputs.minimum(coefficient)
    rows = np.arange(inputs.count)[::-1]
    for some, own in ((inputs.at(rows), rows), (inputs.part(1, 3), slice(1, 3)), (inputs.at(rows > 0), rows > 0)):
        if inputs.count > 1:
            np.testing.assert_allclose(some.minimum(coefficient[own])[0], value[own], rtol=1e-12, atol=1e-12)
    one = inputs.at(slice(0, 1))
    assert one.take(np.array([0, 0])).count == one.part(0, 5).count == 1
    np.testing.assert_array_equal(inputs.take(rows).range[0], inputs.range[0][rows])
    both = inputs.spread().minimum(np.stack([coefficient, -coefficient], axis=1))[0]
    np.testing.assert_allclose(both[:, 0], value, rtol=1e-9, atol=1e-12)
    assert inputs.shape == (*inputs.lead, inputs.size) and inputs.lead == (inputs.count,)
    assert inputs.put(Placement.numpy(np.float32)).placement == Placement.numpy(np.float32)
