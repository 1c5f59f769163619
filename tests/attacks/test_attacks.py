"""Every attack: points stay in the box, losses are true, planted hits are found, and odd input does no harm."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify import Network
from admm_verify.arrays import Placement
from admm_verify.attacks.apgd import Apgd, check_points
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.lbfgs import Lbfgs
from admm_verify.attacks.pgd import FGSM, Pgd
from admm_verify.attacks.search import attack
from admm_verify.attacks.starts import Starts, starting_points
from admm_verify.attacks.targets import Found, Targets
from admm_verify.memory import Budget
from admm_verify.network.layers import network_from_layers
from tests.attacks.cases import loss_at, mnist_like, of_case, planted_convex, planted_linear
from tests.random_layers import layer_case
from tests.random_networks import random_case

SHORT = Starts(restarts=2, most=3, samples=20)

Attack = Callable[..., Found]

SEARCHES: dict[str, Attack] = {
    "pgd": partial(attack, methods=[Pgd(SHORT)]),
    "apgd": partial(attack, methods=[Apgd(SHORT)]),
    "lbfgs": partial(attack, methods=[Lbfgs(SHORT, targets=9)]),
    "attack": attack,
}
ATTACKS: dict[str, Attack] = {"fgsm": partial(attack, methods=[FGSM]), **SEARCHES}

every_attack = pytest.mark.parametrize("method", ATTACKS.values(), ids=ATTACKS)
every_search = pytest.mark.parametrize("method", SEARCHES.values(), ids=SEARCHES)


def check(network: Network, targets: Targets, found: Found) -> None:
    """The points lie in their boxes and their losses are true."""
    assert found.x.shape == targets.inputs.shape and found.x.dtype == found.loss.dtype == targets.inputs.placement.dtype
    assert (targets.inputs.project(found.x) == found.x).all()
    expected = loss_at(network, targets, found.x)
    tolerance = 1e-9 if targets.offset.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(found.loss, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected).max()))


@every_attack
@pytest.mark.parametrize("atoms", [1, 3])
def test_points_stay_in_the_box_and_losses_are_true(method, atoms):
    for seed in range(14):
        case = random_case(seed, widest=6, deepest=2)
        targets = of_case(case, atoms=atoms)
        found = method(case.network, targets)
        check(case.network, targets, found)
        assert (found.loss <= loss_at(case.network, targets, targets.inputs.centre) + 1e-9).all()


@every_attack
def test_convolutions_and_smooth_networks_in_single_precision(method):
    for seed in (0, 4, 9):
        case = layer_case(seed, seed != 4)
        targets = of_case(case, np.float32)
        check(case.network.put(Placement.numpy(np.float32)), targets, method(case.network, targets))


@every_search
@pytest.mark.parametrize("planted", [planted_linear, planted_convex])
def test_planted_hits_are_found(method, planted):
    network, targets = planted()
    found = method(network, targets)
    check(network, targets, found)
    assert found.loss[0] <= 0


def test_one_step_of_signs_solves_a_linear_network():
    weight = np.array([[1.0, -2.0, 0.5]])
    network = network_from_layers([weight], [np.zeros(1)])
    targets = Targets(av.Box(np.zeros((1, 3)), np.ones((1, 3))), np.ones((1, 1, 1)), np.full((1, 1), 10.0))
    found = attack(network, targets, [FGSM])
    assert found.x.tolist() == [[0.0, 1.0, 0.0]] and found.loss.tolist() == [8.0]


@every_attack
def test_boxes_that_are_points_and_boxes_with_fixed_sides(method):
    network, targets = mnist_like()
    lower, upper = targets.inputs.range
    point = replace(targets, inputs=av.Box(lower, lower))
    found = method(network, point)
    check(network, point, found)
    fixed = np.arange(20) % 3 > 0
    partly = replace(targets, inputs=av.Box(lower, np.where(fixed, lower, upper)))
    check(network, partly, method(network, partly))
    tiny = replace(targets, inputs=av.Box(np.zeros((9, 20)), np.full((9, 20), 5e-324)))
    check(network, tiny, method(network, tiny))


@every_search
def test_the_same_seed_finds_the_same_points(method):
    network, targets = mnist_like()
    first, again = method(network, targets, seed=3), method(network, targets, seed=3)
    assert (first.x == again.x).all() and (first.loss == again.loss).all()


@every_search
@pytest.mark.parametrize("after", [0, 3])
def test_a_stop_ends_the_search_with_the_best_so_far(method, after):
    network, targets = mnist_like()
    asked = count()
    found = method(
        network, replace(targets, offset=targets.offset + 100.0), run=av.Run(stop=lambda: next(asked) >= after)
    )
    # The answer yes is not asked for again.
    assert next(asked) == after + 1
    assert (targets.inputs.project(found.x) == found.x).all()
    assert np.isfinite(found.loss).any() == (after > 0)


@every_search
def test_given_starts_are_used(method):
    network, targets = planted_linear()
    starts = np.array([[[-5.0, 5.0, 0.0], [np.nan, 0.0, 0.0]]])
    found = method(network, targets, starts=starts, any_suffices=True)
    assert found.loss[0] <= 0
    with pytest.raises(av.InputError, match="starts"):
        method(network, targets, starts=starts[0])


@every_attack
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_useless_weights_neither_crash_nor_hit(method, value):
    network, targets = mnist_like()
    broken = [node for node in network.nodes if hasattr(node, "terms")]
    for node in broken:
        node.terms[0].map.weight[0, :] = value
    found = method(network, targets)
    assert (targets.inputs.project(found.x) == found.x).all()
    assert not np.isnan(found.loss).any()
    bad = ~np.isfinite(found.loss)
    assert (found.loss[bad] == np.inf).all()


@every_attack
def test_torch_arrays_stay_torch(method):
    network, targets = mnist_like()
    inputs = av.Box(*map(torch.tensor, targets.inputs.range))
    found = method(network, Targets(inputs, torch.tensor(targets.objective), torch.tensor(targets.offset)))
    assert isinstance(found.x, torch.Tensor) and found.x.dtype == torch.float64
    check(network, targets, Found(found.x.numpy(), found.loss.numpy()))
    np.testing.assert_allclose(found.loss.numpy(), method(network, targets).loss, atol=0.2)


def test_any_hit_ends_the_search_and_all_hits_are_wanted_otherwise():
    network, targets = mnist_like()
    easy = replace(targets, offset=np.where(np.arange(9)[:, None] == 4, -100.0, targets.offset + 100.0))
    asked = count()
    found = attack(network, easy, [Pgd()], any_suffices=True, run=av.Run(stop=lambda: next(asked) < 0))
    assert found.loss[4] <= 0 and next(asked) <= 2
    reached = attack(network, replace(targets, offset=targets.offset - 100.0))
    assert (reached.loss <= 0).all()


def test_targets_that_are_hit_are_left_alone(monkeypatch):
    network, targets = mnist_like()
    easy = replace(targets, offset=np.where(np.arange(9)[:, None] < 8, -100.0, targets.offset + 100.0))
    counts = []
    slopes = Landscape.slopes

    def counted(self, points, aim=0.0):
        counts.append(points.shape[0])
        return slopes(self, points, aim)

    monkeypatch.setattr(Landscape, "slopes", counted)
    attack(network, easy, [Pgd(SHORT, steps=5)])
    assert counts == [9, 1, 1, 1, 1]


def test_blocks_of_targets_change_nothing_without_random_starts():
    network, targets = mnist_like()
    targets = replace(targets, offset=targets.offset + 100.0)
    method = Pgd(Starts(restarts=0, most=0))
    losses = []
    for limit in (None, 8 * 8 * 20 * 2.5):
        landscape = Landscape.of(network, targets)
        if limit is not None:
            landscape = replace(landscape, budget=Budget(limit))
        hunt = Hunt(landscape, av.Run(), False)
        method.search(hunt, None, np.random.default_rng(0))
        losses.append(hunt.found.loss)
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-9)


def test_small_boxes_start_at_their_best_corners_and_samples():
    network, targets = planted_linear()
    landscape = Landscape.of(network, targets)
    settings = Starts(restarts=3, most=3, samples=50)
    points = starting_points(landscape, None, settings, np.random.default_rng(0))
    assert points.shape == (1, 4, 3) and points[0, 0].tolist() == [0, 0, 0]
    assert sorted(points[0, 1:, :2].tolist())[0] == [-1.0, 1.0]
    many = starting_points(landscape, None, replace(settings, restarts=0, most=0), np.random.default_rng(0))
    assert many.shape == (1, 1, 3)


def test_large_boxes_start_at_spread_points():
    network, targets = mnist_like()
    landscape = Landscape.of(network, targets)
    settings = Starts(restarts=3, most=3, samples=50, few=10)
    points = starting_points(landscape, targets.spread.range[0], settings, np.random.default_rng(0))
    lower, upper = targets.spread.range
    assert points.shape == (9, 5, 20) and (points[:, :1] == lower).all()
    # Steps of twice the half-width end in corners, but for sides of no influence.
    ends = (points[:, 2:] == lower) | (points[:, 2:] == upper)
    assert ends.mean() > 0.9


def test_check_points_are_those_of_the_paper():
    assert check_points(100) == (0, 22, 41, 57, 70, 80, 87, 93, 99)
