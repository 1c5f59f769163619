"""Balls: membership at the border, projections beside a solver of quadratic programs, extreme sizes, and refusals."""

import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize

import admm_verify as av
from admm_verify import Ball, Box, InputError
from admm_verify.arrays import Placement, to_numpy
from admm_verify.network.layers import network_from_layers
from admm_verify.sets.norm_names import NormName
from tests.sets import laws
from tests.sets.balls import ExactBall, balls

every_norm = pytest.mark.parametrize("norm", ["l2", "l1"])


def rows(found: Any) -> Any:
    """The sets as solvers see them."""
    return found.flattened(lambda part: part)


@every_norm
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_membership_is_exact_at_the_border(norm: NormName, seed: int) -> None:
    rng = np.random.default_rng(seed)
    subject = balls(rng, norm)
    inputs = subject.inputs
    assert isinstance(inputs, Ball)
    start = inputs.sample(4, rng)
    direction = rng.standard_normal(start.shape)
    ends = inputs.at((slice(None), None)).minimiser(direction)
    for step in (0, 1, 2, 5, 40):
        x = np.array(ends)
        for _ in range(step):
            x = np.nextafter(x, np.where(direction > 0, -np.inf, np.inf))
        told = to_numpy(inputs.at((slice(None), None)).contains(x))
        for k, twin in enumerate(subject.twins):
            assert told[k].tolist() == [twin.holds(laws.exact(one)) for one in x[k]]


def nearest(norm: NormName, ball: Any, z: np.ndarray) -> np.ndarray:
    """The point of one ball nearest to z [n], x = center + p - n with p, n >= 0, by sequential quadratic programs."""
    center, radius = to_numpy(ball.center)[0], to_numpy(ball.radius)[0]
    low, high = (to_numpy(end)[0] - center for end in ball.range)
    size, power = len(center), 2 if norm == "l2" else 1

    def loss(v: np.ndarray) -> float:
        return float(np.sum((center + v[:size] - v[size:] - z) ** 2))

    rules = [
        {"type": "ineq", "fun": lambda v: 1.0 - np.sum(((v[:size] + v[size:]) / radius) ** power)},
        {"type": "ineq", "fun": lambda v: v[:size] - v[size:] - low},
        {"type": "ineq", "fun": lambda v: high - v[:size] + v[size:]},
    ]
    options = {"ftol": 1e-14, "maxiter": 500}
    found = minimize(
        loss, np.zeros(2 * size), method="SLSQP", bounds=[(0.0, 3.0)] * 2 * size, constraints=rules, options=options
    )
    return center + found.x[:size] - found.x[size:]


@every_norm
def test_projections_are_those_of_a_quadratic_program(norm: NormName) -> None:
    rng = np.random.default_rng(5)
    for cut in (None, (-0.3, 0.4)):
        ball = rows(Ball(rng.uniform(-0.2, 0.3, (1, 5)), rng.uniform(0.3, 1.5, (1, 5)), norm, cut))
        for z in rng.standard_normal((8, 5)) * 2:
            p, q = to_numpy(ball.project(z[None]))[0], nearest(norm, ball, z)
            np.testing.assert_allclose(p, q, atol=2e-5)
            assert np.sum((p - z) ** 2) <= np.sum((q - z) ** 2) + 1e-6


@every_norm
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_extreme_sizes_neither_overflow_nor_vanish(norm: NormName, dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(7)
    for exponent in (-30, -12, 0, 8):
        scale = 10.0**exponent
        for center in (0.0, scale, 1e8):
            for within in (None, (center - scale / 3, center + scale / 2)):
                middle = np.full((1, 6), center)
                whole = rows(Ball(middle, scale * rng.uniform(0.5, 1.0, (1, 6)), norm, within))
                ball = whole.put(Placement.numpy(dtype))
                for size in (1e-30, 1.0, 1e8):
                    c = (rng.standard_normal((1, 6)) * size).astype(dtype)
                    x = ball.minimiser(c)
                    assert x.dtype == dtype and np.isfinite(x).all()
                    assert np.isfinite(ball.project((middle + c).astype(dtype))).all()
                    assert np.isfinite(ball.minimum(c)[0]).all()
                    if center == 0.0:
                        assert np.abs(x).max() > 0.2 * scale
                        least = float((c.astype(float) * x.astype(float)).sum())
                        exact, _ = whole.minimum(c.astype(float))
                        assert abs(least - exact[0]) <= 1e-5 * abs(exact[0])


def test_the_norm_may_be_a_number_and_the_largest_one_gives_a_box() -> None:
    x = np.array([0.1, 0.5])
    for given_, name in ((2, "l2"), (1.0, "l1"), ("l2", "l2")):
        assert type(Ball(x, 1.0, given_)).__name__ == f"L{name[1]}Ball"
    box = Ball(x, 0.3, np.inf, (0, 1))
    assert isinstance(box, Box) and isinstance(Ball(x, 0.3, "linf"), Box)
    np.testing.assert_array_equal(box.range, Box.around(x, 0.3, (0, 1)).range)


@every_norm
def test_balls_survive_pickling_and_cover_what_lies_inside(norm: NormName) -> None:
    ball = rows(Ball(np.array([[0.0, 0.0, 1.0]]), np.array([[1.0, 2.0, 0.0]]), norm))
    again = pickle.loads(pickle.dumps(ball))
    assert type(again) is type(ball) and again.covers(ball) and ball.covers(again)
    assert ball.covers(rows(Ball(np.array([[0.25, 0.0, 1.0]]), np.array([[0.5, 1.0, 0.0]]), norm)))
    assert not ball.covers(rows(Ball(np.array([[0.75, 0.0, 1.0]]), np.array([[0.5, 1.0, 0.0]]), norm)))
    assert not ball.covers(rows(Ball(np.array([[0.25, 0.0, 1.0]]), np.array([[0.5, 1.0, 0.1]]), norm)))
    small = Box(np.array([[-0.4, -0.8, 1.0]]), np.array([[0.4, 0.8, 1.0]]))
    assert ball.covers(small) and not small.covers(ball)
    assert not ball.covers(Box(np.array([[-0.9, -1.8, 1.0]]), np.array([[0.4, 0.8, 1.0]])))
    assert Box(np.array([[-1.5, -2.5, 1.0]]), np.array([[1.5, 2.5, 1.0]])).covers(ball)


@every_norm
def test_crops_hold_the_shadow_even_of_entries_seen_twice(norm: NormName) -> None:
    ball = rows(Ball(np.zeros((1, 3)), 1.0, norm))
    once = ball.seen(lambda part: np.concatenate([part[:, [2, 0]], np.zeros((1, 1))], axis=1))
    assert isinstance(once, Ball) and once.contains(np.array([[0.5, 0.5, 0.0]]))[0]
    twice = ball.seen(lambda part: part[:, [0, 0, 2]])
    # Both are the same entry, which may be 1.
    assert float(twice.minimum(np.array([[1.0, 1.0, 0.0]]))[0][0]) <= -2.0


@every_norm
def test_parts_within_boxes_hold_what_is_left(norm: NormName) -> None:
    rng = np.random.default_rng(11)
    ball = rows(Ball(np.zeros((3, 4)), 1.0, norm))
    low = np.where(rng.random((3, 4)) < 0.4, 0.1, -1.0)
    part = ball.within(low, np.full((3, 4), 0.3))
    points = to_numpy(ball.sample(4000, rng))
    kept = ((low[:, None] <= points) & (points <= 0.3)).all(axis=-1)
    np.testing.assert_array_equal(to_numpy(part.at((slice(None), None)).contains(points)), kept)
    for c in rng.standard_normal((20, 3, 4)):
        values = np.where(kept, (points * c[:, None]).sum(axis=-1), np.inf)
        assert (to_numpy(part.minimum(c)[0]) <= values.min(axis=1)).all()
        twins = [ExactBall(norm, *map(laws.exact, one)) for one in zip(*map(to_numpy, part.numbers), strict=True)]
        for twin, a, x in zip(twins, c, to_numpy(part.minimiser(c)), strict=True):
            assert twin.holds(laws.exact(x))
            assert float(laws.dot(laws.exact(a), laws.exact(x)) - twin.minimum(laws.exact(a))) <= 1e-12
    nothing = ball.within(np.full((3, 4), 0.9), np.ones((3, 4)))
    assert not np.isnan(to_numpy(nothing.minimum(np.ones((3, 4)))[0])).any()
    assert np.isnan(to_numpy(nothing.drawn_in(np.ones((3, 4))))).all()


@every_norm
def test_bounds_hold_over_samples_and_attacks_of_a_network(norm: NormName) -> None:
    rng = np.random.default_rng(2)
    weights = [rng.standard_normal((10, 5)), rng.standard_normal((10, 10)), rng.standard_normal((3, 10))]
    network = network_from_layers(weights, [rng.standard_normal(len(w)) for w in weights], "net")
    ball = Ball(rng.random((4, 5)), np.full((4, 1), 0.5), norm, (0, 1))
    found = av.output_bounds(network, ball)
    values = np.stack([network(some) for some in to_numpy(rows(ball).sample(2000, rng))])
    assert (found.lower <= values.min(axis=1)).all() and (values.max(axis=1) <= found.upper).all()
    box = av.output_bounds(network, Ball(to_numpy(ball.numbers[0]), 0.5, "linf", (0, 1)))
    assert (found.upper - found.lower < box.upper - box.lower).all()


@every_norm
def test_torch_gives_the_same(norm: NormName) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, c, z = rng.random((3, 6)), rng.standard_normal((3, 6)), rng.standard_normal((3, 6))
    for within in (None, (0.2, 0.9)):
        ours, theirs = (rows(Ball(center, 0.8, norm, within)) for center in (x, torch.tensor(x)))
        np.testing.assert_allclose(theirs.minimum(torch.tensor(c))[0], ours.minimum(c)[0], rtol=1e-12)
        np.testing.assert_allclose(theirs.minimiser(torch.tensor(c)), ours.minimiser(c), atol=1e-12)
        np.testing.assert_allclose(theirs.project(torch.tensor(z)), ours.project(z), atol=1e-12)
        assert bool(theirs.contains(theirs.project(torch.tensor(z))).all())
        single = theirs.put(Placement.numpy(np.float32))
        assert single.best(c.astype(np.float32))[0].dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"radius": -1.0}, "negative"),
        ({"radius": np.nan}, "negative or NaN"),
        ({"radius": np.inf}, "infinite"),
        ({"radius": [1.0, 2.0]}, "shape"),
        ({"radius": 1.0, "norm": 3}, "norm"),
        ({"radius": 1.0, "norm": "l0"}, "norm"),
        ({"radius": 1.0, "within": (3.0, 4.0)}, "empty"),
        ({"radius": 1.0, "within": 2.0}, "pair"),
    ],
)
def test_what_makes_no_ball_is_refused(arguments: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Ball(np.zeros(3), **arguments)


def test_empty_cuts_are_refused_exactly_and_touching_ones_taken() -> None:
    network = network_from_layers([np.ones((1, 2))], [np.zeros(1)], "sum")
    # (3/5)^2 + (4/5)^2 = 1 in exact numbers, not in these.
    ball = Ball(np.zeros((2, 2)), 1.0, "l2", (np.array([[0.5, 0.5], [0.6, 0.8]]), 1.0))
    inside = Fraction(0.6) ** 2 + Fraction(0.8) ** 2 <= 1
    assert not inside
    with pytest.raises(InputError, match="row 1"):
        av.Problem(network, ball, np.ones((2, 1)))
    touching = Ball(np.zeros((1, 2)), 1.0, "l1", (np.array([[0.25, 0.75]]), 1.0))
    solution = av.solve(av.Problem(network, touching, np.ones((1, 1))))
    assert 1.0 - 1e-9 <= float(solution.lower[0]) <= 1.0


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_a_minimum_holds_where_scaled_entries_underflow(norm):
    ball = Ball(np.zeros(2), np.array([1e200, 1e-200]), norm)
    value, size = ball.minimum(np.array([1e-300, 1e100]))
    assert value - 1e-9 * size <= -1e-100
