"""Products of sets, and sets cut with boxes."""

# Arrays are NumPy's here, whatever sets may take.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOperatorIssue=false

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import admm_verify as av
from admm_verify.sets.cut import Cut
from tests.sets import laws, near_laws, test_ellipsoid
from tests.sets.laws import Point, Subject, Twin
from tests.sets.test_laws import boxes

SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class ExactProduct:
    """The twin of a product of two sets, the first of which takes so many inputs."""

    first: Twin
    second: Twin
    size: int

    def holds(self, x: Point) -> bool:
        return self.first.holds(x[: self.size]) and self.second.holds(x[self.size :])

    def minimum(self, coefficient: Point) -> Fraction:
        return self.first.minimum(coefficient[: self.size]) + self.second.minimum(coefficient[self.size :])


def subject(rng):
    """An ellipsoid and boxes, or boxes and boxes, as many of both or one that all share."""
    kinds = [test_ellipsoid.subject, boxes]
    first, second = kinds[rng.integers(2)](rng), boxes(rng)
    if first.inputs.count != second.inputs.count:
        one = first if first.inputs.count > 1 else second
        short = Subject(one.inputs.at(slice(0, 1)), one.twins[:1])
        first, second = (short, second) if one is first else (first, short)
    made = av.Product(first.inputs, second.inputs)
    some = [part.twins * (made.count // len(part.twins)) for part in (first, second)]
    return Subject(made, tuple(ExactProduct(a, b, first.inputs.size) for a, b in zip(*some, strict=True)))


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_products_are_their_parts_side_by_side(seed):
    rng = np.random.default_rng(seed)
    some = subject(rng)
    inputs = some.inputs
    assert isinstance(inputs, av.Product)
    coefficient = rng.standard_normal(inputs.shape) / (inputs.width.mean() + 1e-300)
    near_laws.check_bound(some, coefficient, 1e-4)
    laws.check_range(some)
    laws.check_batches(inputs, coefficient)
    near_laws.check_nearest(
        inputs, some.twins, inputs.centre + 3.0 * inputs.width * rng.standard_normal(inputs.shape), 1e-4
    )
    near_laws.check_membership(inputs, some.twins, rng)
    laws.check_points(inputs, some.twins, coefficient)
    laws.check_inward(inputs, some.twins, whole=False)
    joined = av.Product.joined([inputs, inputs])
    assert joined.count == 2 * inputs.count and joined.at(slice(0, inputs.count)).covers(inputs)


def test_one_set_goes_with_any_batch():
    box, ball = av.Box([0.0, 0.0], [1.0, 2.0]), av.Ellipsoid(np.zeros((3, 2)), np.eye(2))
    assert av.Product(box, ball).shape == (3, 4) and av.Product(box, box).shape == (4,)
    corners = av.Product(box, av.Box([5.0], [6.0])).corners(8)
    assert corners is not None and {tuple(x) for x in corners} == {
        (a, b, c) for a in (0.0, 1.0) for b in (0.0, 2.0) for c in (5.0, 6.0)
    }
    assert av.Product(box, ball).corners(10**6) is None and av.Product(box, box).corners(15) is None
    assert av.Product(box, box).fills_range and not av.Product(box, ball).fills_range


@pytest.mark.parametrize(
    "sets, said",
    [
        ((), "no sets"),
        ((av.Box([0.0], [1.0]), 3.0), "Factor 1"),
        ((av.Box(np.zeros((2, 1)), np.ones((2, 1))), av.Box(np.zeros((3, 1)), np.ones((3, 1)))), r"\[2, 3\] sets"),
        ((av.Box(np.zeros((2, 1, 1)), np.ones((2, 1, 1))),), "sets of vectors"),
    ],
)
def test_what_is_no_product_is_refused(sets, said):
    with pytest.raises(av.InputError, match=said):
        av.Product(*sets)


def test_networks_take_products(small_network):
    rng = np.random.default_rng(1)
    inputs = av.Product(av.Ellipsoid(np.zeros(2), np.eye(2)), av.Box([-1.0, 0.0], [1.0, 0.5]))
    found = av.output_bounds(small_network, inputs)
    y = small_network(inputs.sample(2000, rng))
    assert (found.lower <= y).all() and (y <= found.upper).all()
    with pytest.raises(av.InputError, match="does not fit the input"):
        av.output_bounds(small_network, av.Product(inputs, inputs))


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_cuts_with_boxes_are_bounded_and_walked_in(seed):
    rng = np.random.default_rng(seed)
    inputs = test_ellipsoid.subject(rng).inputs
    assert isinstance(inputs, av.Ellipsoid)
    # Around a point of the set, or anywhere: some parts are empty.
    middle = inputs.sample(1, rng)[:, 0] if seed % 2 else inputs.centre + 2.0 * inputs.width * rng.standard_normal()
    half = inputs.width * rng.uniform(0.01, 0.7, inputs.shape)
    part = inputs.within(middle - half, middle + half)
    assert isinstance(part, Cut) and inputs.covers(part) and part.covers(part)
    c = rng.standard_normal(inputs.shape) / inputs.width.mean()
    value, _ = part.minimum(c)
    assert (value >= np.maximum(part.box.minimum(c)[0], inputs.minimum(c)[0])).all()
    points = inputs.sample(200, rng)
    inside = part.spread().contains(points)
    np.testing.assert_array_equal(inside, part.box.spread().contains(points))
    for k in range(inputs.count):
        for x in points[k][inside[k]]:
            assert laws.dot(laws.exact(c[k]), laws.exact(x)) >= Fraction(float(value[k]))
    for x in (part.project(points[:, 0]), part.minimiser(c), part.centre, part.sample(2, rng)[:, 0]):
        lower, upper = part.range
        assert ((lower <= x) & (x <= upper)).all()


@pytest.mark.parametrize("kind", ["ellipsoid", "zonotope"])
def test_bounds_over_cuts_come_near_to_the_best(kind):
    rng = np.random.default_rng(7)
    axes = rng.standard_normal((3, 3)) + np.eye(3)
    base = av.Ellipsoid(np.zeros(3), axes @ axes.T) if kind == "ellipsoid" else av.Zonotope(np.zeros(3), axes)
    c = rng.standard_normal((40, 3))
    part = base.at(None).within(np.full((1, 3), -0.5), np.array([[0.4, 0.7, 5.0]]))
    value, _ = part.minimum(c)
    inside = part.drawn_in(part.minimiser(c))
    best = (c * inside).sum(axis=-1)
    assert part.contains(inside).all() and (value <= best).all()
    apart = np.maximum(part.box.minimum(c)[0], base.minimum(c)[0])
    # Together, set and box leave a hundredth of what the better one alone does.
    assert (best - value).sum() <= 0.01 * (best - apart).sum()
