"""Sparse changes against all choices of what changes, in exact numbers."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import admm_verify as av
from admm_verify import Box, InputError, Sparse
from admm_verify.arrays import Placement
from admm_verify.network.layers import network_from_layers
from tests.sets import laws
from tests.sets.laws import Point, Subject, exact


@dataclass(frozen=True)
class Choices:
    """The twin of a sparse set: a box for every choice of as many groups as may change."""

    boxes: tuple[tuple[Point, Point], ...]

    def holds(self, x: Point) -> bool:
        return any(all(a <= v <= b for a, v, b in zip(low, x, high, strict=True)) for low, high in self.boxes)

    def minimum(self, coefficient: Point) -> Fraction:
        return min(self._least(coefficient, *box) for box in self.boxes)

    def _least(self, coefficient: Point, low: Point, high: Point) -> Fraction:
        return sum((min(c * a, c * b) for c, a, b in zip(coefficient, low, high, strict=True)), Fraction(0))

    def distance(self, x: Point) -> Fraction:
        """The square of the distance of a point."""
        found = []
        for low, high in self.boxes:
            near = [min(max(a, v), b) for a, v, b in zip(low, x, high, strict=True)]
            found.append(sum(((v - p) ** 2 for v, p in zip(x, near, strict=True)), Fraction(0)))
        return min(found)


def twin(center: np.ndarray, lower: np.ndarray, upper: np.ndarray, count: int, groups: np.ndarray) -> Choices:
    labels = sorted(set(groups))
    out = {g for g in labels if ((center < lower) | (upper < center))[groups == g].any()}
    boxes = []
    for some in combinations(labels, min(count, len(labels))):
        if out <= set(some):
            open_ = np.isin(groups, some)
            boxes.append((exact(np.where(open_, lower, center)), exact(np.where(open_, upper, center))))
    return Choices(tuple(boxes))


def sparse_sets(rng: np.random.Generator, cut: bool = False) -> Subject:
    """Sets of all sizes, with entries of their own or in groups; cut, so that some centers are outside."""
    sets, size, count = (int(number) for number in rng.integers(1, 6, 3))
    center = rng.standard_normal((sets, size)) * 10.0 ** rng.integers(-3, 4, (sets, size))
    radius = rng.random((sets, size)) * 10.0 ** rng.integers(-6, 4, (sets, size)) * (rng.random((sets, size)) < 0.9)
    groups = rng.integers(0, 4, size) if rng.random() < 0.6 else None
    found = Sparse(center, count, radius, groups=groups).flattened(lambda part: part)
    if cut:
        # At most one entry has to change.
        moved = np.arange(size) == rng.integers(size)
        found = found.within(np.where(moved, center + 0.25 * radius, -np.inf), np.full((sets, size), np.inf))
    labels = np.arange(size) if groups is None else groups
    twins = (twin(c, low, high, count, labels) for c, low, high in zip(*found.numbers[:3], strict=True))
    return Subject(found, tuple(twins))


@pytest.mark.parametrize("cut", [False, True])
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_bounds_and_points_are_those_of_the_best_choice(cut: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    subject = sparse_sets(rng, cut)
    found, twins = subject.inputs, subject.twins
    assert isinstance(found, Sparse)
    c = rng.standard_normal(found.shape) * 10.0 ** rng.integers(-3, 4, found.shape) * (rng.random(found.shape) < 0.8)
    laws.check_minimum(subject, c)
    laws.check_batches(found, c)
    laws.check_steps(found, twins, c)
    laws.check_points(found, twins, c)
    low, high = (laws.to_numpy(end) for end in found.range)
    for k, one in enumerate(twins):
        assert isinstance(one, Choices)
        near = exact(laws.to_numpy(found.project(c))[k])
        assert one.holds(near)
        away = sum(((a - b) ** 2 for a, b in zip(exact(c[k]), near, strict=True)), Fraction(0))
        size = sum((a**2 for a in (*exact(c[k]), *exact(low[k]), *exact(high[k]))), Fraction(0))
        assert away - one.distance(exact(c[k])) <= Fraction(1, 10**14) * size
        boxes = found.at(slice(k, k + 1)).supports(100)
        assert boxes is not None
        listed = {tuple(zip(*map(tuple, map(exact, ends)), strict=True)) for ends in zip(*boxes.range, strict=True)}
        wanted = {tuple(zip(*map(tuple, ends), strict=True)) for ends in one.boxes}
        # Groups without a width are left out of the choices.
        assert all(one.holds([a for a, _ in pairs]) and one.holds([b for _, b in pairs]) for pairs in listed)
        assert all(any(_within(pairs, other) for other in listed) for pairs in wanted)


def _within(inner: tuple, outer: tuple) -> bool:
    return all(a <= c and d <= b for (c, d), (a, b) in zip(inner, outer, strict=True))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_membership_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    subject = sparse_sets(rng)
    found = subject.inputs
    assert isinstance(found, Sparse)
    keep = rng.random(found.shape) < 0.5
    x = np.where(keep, found.center, found.center + rng.uniform(-1.2, 1.2, found.shape) * found.width / 2)
    for k, one in enumerate(subject.twins):
        assert bool(found.contains(x)[k]) == one.holds(exact(x[k]))
    assert found.covers(found) and found.covers(found.inward(Placement.numpy()))


def test_pixels_change_with_all_their_channels() -> None:
    pixels = np.broadcast_to(np.arange(4).reshape(1, 2, 2), (3, 2, 2))
    one = Sparse(np.zeros((3, 2, 2)), 1, 1.0, groups=pixels).flattened(
        lambda part: np.reshape(laws.to_numpy(part), (1, -1))
    )
    c = np.array([[1.0, -2.0, 0.0, 4.0] * 3])
    # Radii are rounded outward.
    np.testing.assert_allclose(one.minimum(c)[0], [-12.0], rtol=1e-15)
    assert np.count_nonzero(laws.to_numpy(one.minimiser(c))) == 3


def test_crops_keep_entries_that_are_seen_twice_together() -> None:
    one = Sparse(np.zeros((1, 3)), 1, 1.0).flattened(lambda part: part)
    seen = one.seen(lambda part: np.concatenate([part[:, [0, 0, 2]], np.zeros((1, 1))], axis=1))
    np.testing.assert_allclose(seen.minimum(np.array([[1.0, 1.0, 1.5, 9.0]]))[0], [-2.0], rtol=1e-15)


def test_bounds_hold_for_a_network_and_all_supports() -> None:
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal((8, 6)), rng.standard_normal((8, 8)), rng.standard_normal((2, 8))]
    network = network_from_layers(weights, [rng.standard_normal(len(w)) for w in weights], "net")
    x = rng.random((4, 6))
    sets = Sparse(x, 2, within=(0.0, 1.0))
    found = av.output_bounds(network, sets)
    points = sets.flattened(lambda part: part).sample(500, rng)
    values = np.stack([network(some) for some in points])
    assert (found.lower <= values.min(axis=1)).all() and (values.max(axis=1) <= found.upper).all()
    hull = av.output_bounds(network, Box(np.zeros((4, 6)), np.ones((4, 6))))
    assert (found.lower > hull.lower).all()
    boxes = sets.at(slice(0, 1)).flattened(lambda part: part).supports(15)
    assert boxes is not None and boxes.count == 15 and sets.at(slice(0, 1)).supports(14) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"count": 0, "radius": 1.0}, ">= 1"),
        ({"count": 2}, "give a radius"),
        ({"count": 2, "within": (0.5, 1.0)}, "outside the range"),
        ({"count": 2, "within": (0.0, np.inf)}, "infinite"),
        ({"count": 2, "radius": 1.0, "groups": [0.5, 1.0, 2.0]}, "whole numbers"),
        ({"count": 2, "radius": 1.0, "groups": [1, 2]}, "shape"),
    ],
)
def test_what_makes_no_set_is_refused(arguments: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Sparse(np.zeros(3), **arguments)


def test_torch_gives_the_same() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    center, groups, c = rng.random((3, 6)), np.array([0, 0, 1, 1, 2, 3]), rng.standard_normal((3, 6))
    ours, theirs = (
        Sparse(x, 2, 0.5, (0, 1), groups).flattened(lambda part: part) for x in (center, torch.tensor(center))
    )
    np.testing.assert_allclose(theirs.minimum(torch.tensor(c))[0], ours.minimum(c)[0], rtol=1e-12)
    np.testing.assert_array_equal(theirs.minimiser(torch.tensor(c)), ours.minimiser(c))
    assert laws.to_numpy(theirs.contains(theirs.sample(5, rng)[:, 0])).all()
