"""Least values of rows: below what is true, attained from above, and as near as was asked."""

from fractions import Fraction
from itertools import count, pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.complete import minimum_search
from admm_verify.complete.scores import PlainScores, TailScores, scores_of
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.run import Ended
from admm_verify.settings import SearchSettings
from tests.complete.networks import FAMILIES, MIXED, box_for, exact_output, network_of
from tests.complete.truth import minimum as exact_minimum
from tests.seeds import seeds

HALVING, SPLITTING = SearchSettings(), SearchSettings(input_sides=0)
TIGHT = 1e-5


def dense(sizes, kind, rng, last=None):
    """A random network of layers of one kind, and perhaps something at its end."""
    builder = Builder((sizes[0],), "float64")
    x = builder.input
    for k, (columns, rows) in enumerate(pairwise(sizes)):
        weight = rng.standard_normal((rows, columns)) * 1.5 / np.sqrt(columns)
        x = Tensor(builder.affine(x, DenseMap(weight), rng.standard_normal(rows) / 2), (rows,))
        if k < len(sizes) - 2:
            x = builder.activation(kind, x)
    return builder.finish(x if last is None else last(builder, x), "dense")


def clipped(builder, x):
    return builder.activation("clip", x, np.full(x.shape, -0.4), np.full(x.shape, 0.3))


def squashed(builder, x):
    return builder.scale(builder.activation("tanh", x), np.linspace(-2.0, 3.0, x.size))


def value_at(network, objective, x):
    """c'f(x) in rational arithmetic."""
    output = exact_output(network, x)
    return sum((Fraction(float(c)) * y for c, y in zip(objective, output, strict=True)), Fraction(0))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", seeds(2, 8))
def test_minima_enclose_the_exact_ones(family, seed):
    rng = np.random.default_rng([seed, len(family)])
    network = network_of(family, rng)
    box, objective = box_for(network, rng), rng.standard_normal((2, network.output_size))
    for search in (HALVING, SPLITTING):
        settings = av.MinimumSettings(relative=0.0, absolute=TIGHT, search=search)
        found = av.minimum(network, box, objective, settings=settings)
        for row in range(2):
            true = exact_minimum(network, box, objective[row])
            assert Fraction(float(found.lower[row])) <= true.value
            assert Fraction(float(found.lower[row])) <= value_at(network, objective[row], found.point[row])
            assert found.upper[row] >= float(true.value) - 1e-7 * float(true.unit)
            # Once in a while all that is left is stuck a little above, and said not to have converged.
            assert (found.gap[row] <= TIGHT) == (found.status[row] is Ended.CONVERGED) and found.gap[row] <= 10 * TIGHT
        assert (box.lower <= found.point).all() and (found.point <= box.upper).all()


@pytest.mark.parametrize("search", [HALVING, SPLITTING], ids=["halving", "splitting"])
@pytest.mark.parametrize("seed", seeds(3, 8))
def test_no_sample_of_a_smooth_network_is_below_its_minimum(seed, search):
    rng = np.random.default_rng(seed)
    network = network_of("dense", rng, MIXED)
    box, objective = box_for(network, rng, free=2), rng.standard_normal((2, network.output_size))
    settings = av.MinimumSettings(relative=0.01, absolute=1e-3, max_subproblems=300, search=search)
    found = av.minimum(network, box, objective, settings=settings)
    points = rng.uniform(box.lower, box.upper, (4000, *network.input_shape))
    values = np.reshape(network(points), (4000, -1)) @ objective.T
    assert (found.lower <= values.min(axis=0)).all()
    # As near as was asked, and mostly nearer.
    assert (found.upper <= values.min(axis=0) + np.maximum(1e-3, 0.01 * np.abs(found.upper))).all()
    at = np.reshape(network(found.point), (2, -1))
    assert np.sum(at * objective, axis=1) == pytest.approx(found.upper, abs=1e-12)
    if search is HALVING:
        assert all(one is Ended.CONVERGED for one in found.status)


def test_the_least_of_several_functionals_is_that_of_each():
    rng = np.random.default_rng(3)
    network = dense((3, 8, 8, 2), "relu", rng)
    centre = rng.uniform(-1, 1, (3, 3))
    box = av.Box(centre - 0.5, centre + 0.5)
    objective, offset = rng.standard_normal((3, 4, 2)), rng.standard_normal((3, 4))
    settings = av.MinimumSettings(relative=0.0, absolute=TIGHT)
    found = av.minimum(network, box, objective, offset, settings=settings)
    rows = [
        av.minimum(network, av.Box(box.lower[i], box.upper[i]), objective[i], offset[i], settings=settings)
        for i in range(3)
    ]
    assert found.lower == pytest.approx([row.lower.min() for row in rows], abs=2 * TIGHT)
    assert found.upper == pytest.approx([row.upper.min() for row in rows], abs=2 * TIGHT)
    assert (found.each <= np.array([row.upper for row in rows])).all()
    assert (found.each.min(axis=1) == found.lower).all()


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_balls_have_minima_at_their_own_points(kind):
    rng = np.random.default_rng(5)
    network = dense((3, 8, 2), "tanh", rng)
    ball = av.Ball(rng.standard_normal((2, 3)), 0.6, kind)
    objective = rng.standard_normal((2, 2))
    found = av.minimum(network, ball, objective, settings=av.MinimumSettings(relative=0.0, absolute=1e-3))
    assert np.asarray(ball.contains(found.point)).all()
    assert all(one is Ended.CONVERGED for one in found.status)
    for row in range(2):
        values = network(ball.at(row).sample(3000, rng)) @ objective[row]
        assert found.lower[row] <= values.min() and found.upper[row] <= values.min() + 1e-3


@pytest.mark.parametrize("last", [clipped, squashed])
def test_what_ends_in_a_monotone_function_is_bounded_before_it(last):
    rng = np.random.default_rng(7)
    network = dense((3, 6, 3), "relu", rng, last)
    objective, offset = np.array([[1.0, 0, 0], [0, -2.0, 0], [0, 0, 0.5], [0, 0, -1.0]]), rng.standard_normal(4)
    scores = scores_of(network, objective, offset)
    assert isinstance(scores, TailScores)
    x = rng.uniform(-2, 2, (500, 3))
    true = network(x) @ objective.T + offset
    score = np.asarray(scores.network(x)) @ scores.objective.T
    for row in range(4):
        every = np.full(500, row)
        assert (scores.values(score[:, row], every) <= true[:, row]).all()
        assert scores.values(score[:, row], every) == pytest.approx(true[:, row], abs=1e-9)
    assert (scores.values(np.full(4, -np.inf), np.arange(4)) <= true.min(axis=0)).all()
    assert np.isfinite(scores.values(np.full(4, -np.inf), np.arange(4))).all()
    floor = np.quantile(true, 0.3, axis=0) - 1e-9
    level = scores.level(floor, score.min(axis=0) - 1.0)
    assert (scores.values(level, np.arange(4)) >= floor).all()
    assert (level <= np.quantile(score, 0.9, axis=0)).all()
    found = av.minimum(network, av.Box(-np.ones(3), np.ones(3)), objective, offset)
    assert all(one is Ended.CONVERGED for one in found.status)


def test_rows_of_several_outputs_are_bounded_as_they_are():
    rng = np.random.default_rng(8)
    network = dense((3, 6, 3), "relu", rng, clipped)
    assert isinstance(scores_of(network, np.ones((1, 3)), np.zeros(1)), PlainScores)
    assert isinstance(scores_of(dense((3, 6, 3), "relu", rng), np.eye(3), np.zeros(3)), PlainScores)


def test_a_clip_that_nothing_leaves_takes_no_search():
    builder = Builder((2,), "float64")
    x = Tensor(builder.affine(builder.input, DenseMap(np.eye(2)), np.full(2, 9.0)), (2,))
    network = builder.finish(clipped(builder, x), "saturated")
    found = av.minimum(network, av.Box(-np.ones(2), np.ones(2)), np.concatenate([np.eye(2), -np.eye(2)]))
    assert found.upper.tolist() == [0.3, 0.3, -0.3, -0.3]
    assert found.gap.max() <= 1e-12 and found.subproblems == 0


class Patience:
    """A question that is answered with yes after so many times."""

    def __init__(self, times):
        self.times = times

    def __call__(self):
        self.times -= 1
        return self.times < 0


@pytest.mark.parametrize("search", [HALVING, SPLITTING], ids=["halving", "splitting"])
def test_what_is_known_survives_a_stop_at_any_time(search):
    rng = np.random.default_rng(11)
    network = dense((4, 8, 6, 1), "relu", rng)
    box, objective = av.Box(-np.ones(4), np.ones(4)), np.array([[1.0], [-1.0]])
    settings = av.MinimumSettings(relative=0.0, absolute=1e-6, search=search)
    true = av.minimum(network, box, objective, settings=settings)
    assert all(one is Ended.CONVERGED for one in true.status)
    ended = []
    for times in (0, 1, 10, 100):
        found = av.minimum(network, box, objective, settings=settings, run=av.Run(stop=Patience(times)))
        assert (found.lower <= true.upper).all() and (found.upper >= true.lower).all()
        assert (found.upper == np.sum(np.reshape(network(found.point), (2, 1)) * objective, axis=1)).all()
        ended += found.status
    assert Ended.STOPPED in ended


def test_a_stop_that_is_said_once_ends_the_search():
    # As a question that looks at a clock only now and then: whoever asks next would be told to go on.
    network = dense((4, 8, 6, 1), "relu", np.random.default_rng(11))
    box, settings = av.Box(-np.ones(4), np.ones(4)), av.MinimumSettings(relative=0.0, absolute=1e-6, search=HALVING)
    for times in (40, 60, 80):
        asked = count()
        run = av.Run(stop=lambda asked=asked, times=times: next(asked) == times)
        found = av.minimum(network, box, [[1.0]], settings=settings, run=run)
        assert found.status == (Ended.STOPPED,) and next(asked) == times + 1


def test_no_time_at_all_gives_an_answer():
    network = dense((4, 12, 12, 1), "relu", np.random.default_rng(11))
    found = av.minimum(network, av.Box(-np.ones(4), np.ones(4)), [[1.0]], run=av.Run(timeout=0))
    assert found.status == (Ended.TIMED_OUT,) and found.lower[0] <= found.upper[0]


def test_more_parts_never_loosen_a_bound():
    network = dense((4, 16, 16, 2), "tanh", np.random.default_rng(2))
    box, objective = av.Box(-np.ones(4), np.ones(4)), np.array([[1.0, -1.0], [0.5, 1.0]])
    lower = []
    for most in (0, 8, 64, 512):
        settings = av.MinimumSettings(relative=1e-4, max_subproblems=most)
        found = av.minimum(network, box, objective, settings=settings)
        assert (found.lower <= found.upper).all()
        lower.append(found.lower)
    assert (np.diff(lower, axis=0) >= 0).all() and (lower[-1] > lower[0]).all()
    assert found.subproblems >= 512 or all(one is Ended.CONVERGED for one in found.status)


def test_arithmetic_costs_what_it_rounds():
    network = dense((3, 8, 8, 1), "relu", np.random.default_rng(4))
    box, objective = av.Box(-np.ones(3), np.ones(3)), [[1.0]]
    real = av.minimum(network, box, objective)
    single = av.minimum(network, box, objective, settings=av.MinimumSettings(arithmetic="float32"))
    assert real.lower[0] - 1e-3 < single.lower[0] < real.lower[0]
    settings = av.MinimumSettings(arithmetic="float32", relative=0.0, absolute=1e-9)
    charged = av.minimum(network, box, objective, settings=settings)
    assert charged.gap[0] > 1e-9 and charged.status == (Ended.TOO_LOOSE,)


def test_what_does_not_fit_is_refused():
    network, box = dense((3, 4, 2), "relu", np.random.default_rng(0)), av.Box(np.zeros(3), np.ones(3))
    with pytest.raises(av.InputError, match="2 outputs"):
        av.minimum(network, box, np.ones((2, 3)))
    with pytest.raises(av.InputError, match="offset has shape"):
        av.minimum(network, box, np.ones((2, 2)), np.zeros(3))
    with pytest.raises(av.InputError, match="NaN or infinite"):
        av.minimum(network, box, [[np.nan, 1.0]])
    with pytest.raises(av.InputError, match="one set, or one each"):
        av.minimum(network, av.Box(np.zeros((2, 3)), np.ones((2, 3))), np.ones((3, 2)))
    with pytest.raises(av.InputError, match="arithmetic"):
        av.MinimumSettings(arithmetic="float16")


def test_rows_over_one_set_share_its_bounds(monkeypatch):
    rng = np.random.default_rng(11)
    network = dense((3, 8, 8, 4), "relu", rng)
    bounded, derived = [], minimum_search.derived_bounds

    def noted(network, sets, *given, **named):
        bounded.append(sets.count)
        return derived(network, sets, *given, **named)

    monkeypatch.setattr(minimum_search, "derived_bounds", noted)
    settings = av.MinimumSettings(relative=0.0, absolute=TIGHT, search=SPLITTING)
    box, objective = av.Box(-np.ones(3), np.ones(3)), np.vstack([np.eye(4), -np.eye(4)])
    found = av.minimum(network, box, objective, settings=settings)
    assert bounded == [1]
    for row in range(8):
        alone = av.minimum(network, box, objective[[row]], settings=settings)
        assert found.lower[row] == pytest.approx(alone.lower[0], abs=TIGHT)


def test_points_of_wide_sets_are_attacked_before_anything_bounds_them():
    rng = np.random.default_rng(2)
    network = dense((12, 20, 20, 3), "relu", rng)
    box, rows = av.Box(-np.ones(12), np.ones(12)), np.eye(3)
    centre = network(np.zeros(12))
    # A run that is over after the attack: nothing but it has been done.
    before = []

    def stop():
        return bool(before)

    def noted(search, methods, starts):
        attacked(search, methods, starts)
        before.append(search.attained.value)

    attacked = minimum_search.MinimumSearch._attack
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minimum_search.MinimumSearch, "_attack", noted)
        av.minimum(network, box, rows, run=av.Run(stop=stop))
    assert (before[0] < centre - 0.5).all()


@pytest.mark.parametrize("seed", seeds(3, 12))
def test_sets_without_room_have_bounds_that_hold_on_them(seed):
    # The line x_0 = x_1 has no inner point, and rounding keeps all points from being known to lie on it.
    rng = np.random.default_rng(seed)
    network = dense((2, 6, 2), "relu", rng)
    line = av.Polytope([[1.0, -1.0], [-1.0, 1.0], [1.0, 0.0], [-1.0, 0.0]], [0.0, 0.0, 1.0, 1.0])
    found = av.minimum(network, line, np.eye(2), run=av.Run(timeout=5))
    values = [exact_output(network, np.array([t, t])) for t in np.linspace(-1.0, 1.0, 65)]
    for j in range(2):
        least = min(value[j] for value in values)
        assert Fraction(float(found.lower[j])) <= least <= Fraction(float(found.lower[j])) + Fraction(1, 20)
