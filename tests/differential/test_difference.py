"""Ends of differences: outside of what is true, attained inside, and as near as was asked."""

import time
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.complete.minimum_search import MinimumSearch
from admm_verify.network.layers import network_from_layers
from problems.pairs import layers_of
from tests.differential.truth import difference_row, least, side_by_side
from tests.random_pairs import IMAGES, LINEAR, random_pair
from tests.seeds import seeds

NEAR = 5e-3
CLOSE = av.DifferenceSettings(relative=0.0, absolute=NEAR)


def layered(sizes, seed, scale=0.0, name="network"):
    """A network of dense layers and rectifiers; another scale moves every number by so much of it."""
    rng, moved = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    biases = [0.3 * rng.standard_normal(m) for m in sizes[1:]]
    numbers = [part * (1.0 + scale * moved.standard_normal(part.shape)) for part in (*weights, *biases)]
    return network_from_layers(numbers[: len(weights)], numbers[len(weights) :], name)


F, G = layered((3, 8, 8, 4), 0, name="f"), layered((3, 8, 8, 4), 0, 0.05, name="g")
BOX = av.Box(-np.ones(3), np.ones(3))


def enclosed(found, truth):
    """Whether ends hold the exact least and greatest differences, with zero slack, and attained values lie between."""
    low, high = truth
    assert Fraction(float(found.lower[0, 0])) <= low and high <= Fraction(float(found.upper[0, 0]))
    assert found.lower[0, 0] <= found.least[0, 0] <= found.greatest[0, 0] <= found.upper[0, 0]


@pytest.mark.parametrize("sides", [8, 0], ids=["halving", "splitting"])
@pytest.mark.parametrize("seed", seeds(6, 18))
def test_ends_enclose_the_exact_ones(seed, sides):
    case = random_pair(seed, LINEAR)
    if case.first.input_size > 4:
        # Images of many pixels: a box of few.
        width = np.where(np.arange(16) < 3, case.box.width / 2, 0.0)
        case = type(case)(case.kind, case.change, case.first, case.second, av.Box(-width, width))
    plain = side_by_side(case.first, case.second)
    low = least(plain, case.box, difference_row(1, 1.0))
    high = -least(plain, case.box, difference_row(1, -1.0))
    search = av.SearchSettings(input_sides=sides)
    chosen = av.DifferenceSettings(outputs=[1], relative=0.01, absolute=1e-6, max_subproblems=200, search=search)
    found = av.difference(case.first, case.second, case.box, settings=chosen, run=av.Run(timeout=8 if sides else 1))
    enclosed(found, (low, high))
    if sides and case.kind not in IMAGES and found.subproblems < 200:
        assert found.status[0, 0] is av.Ended.CONVERGED
    for value, at in ((found.least, found.least_at), (found.greatest, found.greatest_at)):
        point = at[0, 0].reshape(-1)
        assert (case.box.lower <= point).all() and (point <= case.box.upper).all()
        there = case.second(point) - case.first(point)
        assert there.reshape(-1)[1] == pytest.approx(value[0, 0], abs=1e-12)


@pytest.mark.parametrize("largest", [False, True])
def test_sets_of_a_batch_are_those_alone(largest):
    centre = np.random.default_rng(1).uniform(-1, 1, (3, 3))
    boxes = av.Box(centre - 0.3, centre + 0.3)
    chosen = av.DifferenceSettings(relative=0.0, absolute=NEAR, largest=largest, outputs=[2, 0])
    together = av.difference(F, G, boxes, settings=chosen)
    assert together.lower.shape == (3, 2) and together.least_at.shape == (3, 2, 3)
    for i in range(3):
        alone = av.difference(F, G, av.Box(centre[i] - 0.3, centre[i] + 0.3), settings=chosen)
        assert together.largest[i] == pytest.approx(alone.largest[0], abs=2 * NEAR)
        assert together.largest_attained[i] == pytest.approx(alone.largest_attained[0], abs=2 * NEAR)
        assert together.largest_attained[i] <= together.largest[i] <= together.largest_attained[i] + NEAR
    # The largest one alone is the same as that of all ends.
    both = av.difference(F, G, boxes, settings=av.DifferenceSettings(relative=0.0, absolute=NEAR, outputs=[0, 2]))
    assert both.largest == pytest.approx(together.largest, abs=2 * NEAR)


def test_the_other_way_round_is_the_mirror_image():
    one, other = av.difference(F, G, BOX, settings=CLOSE), av.difference(G, F, BOX, settings=CLOSE)
    assert one.lower == pytest.approx(-other.upper, abs=2 * NEAR) and one.upper == pytest.approx(
        -other.lower, abs=2 * NEAR
    )


def test_a_network_given_twice_differs_by_nothing():
    found = av.difference(F, layered((3, 8, 8, 4), 0, name="again"), BOX)
    assert any("one function" in note for note in found.notes)
    assert not found.lower.any() and not found.upper.any() and not found.least.any()
    assert found.subproblems == 0 and (found.status == av.Ended.CONVERGED).all()


def test_points_have_differences_too():
    x = np.array([0.3, -0.2, 0.9])
    found = av.difference(F, G, av.Box(x, x))
    there = G(x) - F(x)
    assert (found.lower[0] <= there).all() and (there <= found.upper[0]).all()
    assert found.upper[0] - found.lower[0] == pytest.approx(np.zeros(4), abs=1e-6)


def test_tensors_and_other_sets_are_taken():
    numbers = av.difference(F, G, BOX, settings=CLOSE)
    tensors = av.difference(F, G, av.Box(torch.tensor(BOX.lower), torch.tensor(BOX.upper)), settings=CLOSE)
    assert np.array_equal(numbers.lower, tensors.lower)
    ball = av.Ball(np.zeros(3), 1.0, "l2")
    found = av.difference(F, G, ball, settings=av.DifferenceSettings(relative=0.05, absolute=1e-4))
    x = ball.sample(4000, np.random.default_rng(0))
    apart = G(x) - F(x)
    assert (found.lower[0] <= apart.min(axis=0)).all() and (apart.max(axis=0) <= found.upper[0]).all()
    assert np.asarray(ball.contains(found.greatest_at[0])).all()


@pytest.mark.parametrize("timeout", [0.0, 0.3])
def test_what_is_known_when_the_time_is_up_holds(timeout):
    wide = layered((6, 30, 30, 3), 2, name="f"), layered((6, 30, 30, 3), 2, 0.3, name="g")
    box = av.Box(-2 * np.ones(6), 2 * np.ones(6))
    chosen = av.DifferenceSettings(relative=0.0, absolute=1e-9)
    found = av.difference(*wide, box, settings=chosen, run=av.Run(timeout=timeout))
    x = box.sample(4000, np.random.default_rng(0))
    apart = wide[1](x) - wide[0](x)
    assert (found.lower[0] <= apart.min(axis=0)).all() and (apart.max(axis=0) <= found.upper[0]).all()
    assert (found.status == av.Ended.TIMED_OUT).all()


def test_a_stop_leaves_what_is_known():
    asked = iter(range(10**9))
    run = av.Run(stop=lambda: next(asked) > 40)
    found = av.difference(F, G, BOX, settings=CLOSE, run=run)
    x = BOX.sample(2000, np.random.default_rng(0))
    apart = G(x) - F(x)
    assert (found.lower[0] <= apart.min(axis=0)).all() and (apart.max(axis=0) <= found.upper[0]).all()
    assert av.Ended.STOPPED in found.status


def test_progress_is_told():
    told = []
    av.difference(F, G, BOX, run=av.Run(tell=told.append))
    assert told and all(one.text for one in told)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (layered((3, 8, 5), 0), "networks are compared output by output"),
        (layered((2, 8, 4), 0), "two networks of the same input"),
        ("net.onnx", "read the file first"),
        (torch.nn.Linear(3, 4), "trace it first"),
    ],
)
def test_networks_that_cannot_be_compared(other, words):
    for pair in ((F, other), (other, F)):
        with pytest.raises(av.InputError, match=words):
            av.difference(*pair, BOX)


def test_weights_that_are_no_numbers_name_their_network():
    whole = layered((3, 4), 0, name="the broken one")
    node = replace(whole.nodes[-1], bias=np.full(4, np.nan))
    broken = replace(whole, nodes=(whole.nodes[0], node), as_read=None)
    for pair in product((F, broken), repeat=2):
        if broken in pair:
            with pytest.raises(av.ModelError, match="the broken one"):
                av.difference(*pair, BOX)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"outputs": [0, 4]}, "no output 4"),
        ({"outputs": []}, "at least one"),
        ({"outputs": [1, 1]}, "name one twice"),
        ({"outputs": "0"}, "at least one"),
        ({"outputs": [-1]}, "-1"),
        ({"relative": -1.0}, "relative"),
        ({"largest": 1}, "largest"),
    ],
)
def test_settings_that_say_nothing(change, words):
    with pytest.raises(av.InputError, match=words):
        av.difference(F, G, BOX, settings=av.DifferenceSettings(**change))


def test_sets_that_do_not_fit():
    with pytest.raises(av.InputError, match="shape"):
        av.difference(F, G, av.Box(np.zeros(2), np.ones(2)))
    with pytest.raises(av.InputError, match="set of inputs is wanted"):
        av.difference(F, G, (np.zeros(3), np.ones(3)))


def test_the_text_shows_ends_and_notes():
    chosen = av.DifferenceSettings(outputs=[3], max_subproblems=0)
    found = replace(av.difference(F, G, BOX, settings=chosen), notes=("said of the networks",))
    text = repr(found)
    assert "0, 3" in text and "said of the networks" in text and f"{found.lower[0, 0]:.6g}" in text


def test_what_is_found_is_told_long_after_the_time_was_up(monkeypatch):
    found = MinimumSearch.find

    def late(search):
        found(search)
        time.sleep(max(0.0, search.run.left) + 0.6)

    monkeypatch.setattr(MinimumSearch, "find", late)
    chosen = av.DifferenceSettings(max_subproblems=0, outputs=[0])
    assert np.isfinite(av.difference(F, G, BOX, settings=chosen, run=av.Run(timeout=1.0)).lower).all()


@pytest.mark.parametrize("seed", seeds(6, 40))
def test_attained_values_keep_the_digits_that_outputs_share(seed):
    # Weights one step apart, as large outputs: y' - y is rounded by more than it is.
    first, rng = layered((3, 8, 8, 2), seed), np.random.default_rng(seed)
    weights, biases = layers_of(first)
    others = [np.where(rng.random(w.shape) < 0.5, np.nextafter(w, np.inf), w) for w in weights]
    second = network_from_layers(others, biases)
    found = av.difference(first, second, av.Box(np.full(3, 1e4), np.full(3, 1e4 + 1.0)), run=av.Run(timeout=5))
    assert (found.lower <= found.least).all() and (found.greatest <= found.upper).all()
