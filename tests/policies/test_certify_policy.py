"""`certify_policy` with discrete actions: sound answers in all units, and one clear message for every bad input."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.attacks.pgd import Pgd
from admm_verify.attacks.search import attack
from admm_verify.attacks.targets import Targets
from admm_verify.network.layers import network_from_layers
from admm_verify.policies.certify_actions import certify_actions
from admm_verify.policies.settings import RadiusUnits
from tests.test_certify_norms import NORMS, ball_points, holds

RADII = (0.3, 0.02, 0.1, 0.0)


def certify_policy(*given, **more):
    """`av.certify_policy` of policies with discrete actions, which has a result of its own."""
    found = av.certify_policy(*given, **more)
    assert isinstance(found, av.PolicyCertification)
    return found


def policy(seed, sizes=(3, 14, 14, 4), scale=None):
    """A random policy whose scores are all 0 at the origin, so that actions vary near it."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    biases = [0.3 * rng.standard_normal(m) for m in sizes[1:-1]]
    centre = network_from_layers(weights, [*biases, np.zeros(sizes[-1])])(np.zeros(sizes[0]))
    network = network_from_layers(weights, [*biases, -centre], "random policy")
    return av.Policy(network, av.DiscreteActions(sizes[-1]), scale)


def observations(seed, size=3, count=12):
    return np.random.default_rng(seed + 50).uniform(-0.6, 0.6, (count, size)).astype(np.float32)


def gaps(given, points, action):
    """min over b != a of Q_a - Q_b at points, in float64."""
    values = given.network(points)
    return np.min(values[:, [action]] - np.delete(values, action, axis=1), axis=1)


def pgd_points(given, near, action):
    """Inputs of sets at which gradient descent on the difference to every other action ends."""
    count = given.actions.count
    rows = (np.eye(count)[action] - np.delete(np.eye(count), action, axis=0))[:, None, :]
    box = near.at(np.zeros(count - 1, dtype=np.int64))
    return attack(given.network, Targets(box, rows, np.zeros((count - 1, 1))), [Pgd(steps=40)]).x


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("within", [(-0.7, 0.7), None])
def test_no_input_near_an_observation_belies_what_is_certified(seed, within, norm):
    given, near = policy(seed), observations(seed)
    found = certify_policy(given, near, RADII, norm=norm, settings=av.PolicySettings(within=within, search=60.0))
    assert (found.actions == given(near)).all()
    assert (found.lower[:, 3] > 0).all() and found.certified_ratio[3] == 1.0
    for (i, k), answer in np.ndenumerate(found.status):
        points = ball_points(norm, near[i].astype(np.float64), RADII[k], within, 2000)
        assert found.lower[i, k] <= gaps(given, points, found.actions[i]).min()
        # The search decides all of such small networks.
        assert answer in (av.Answer.VERIFIED, av.Answer.FALSIFIED)
        one = found.changes.item((i, k))
        assert (one is None) == (answer is av.Answer.VERIFIED)
        if one is not None:
            assert holds(norm, near[i], RADII[k], within, one.input)
            assert one.scores[one.other] >= one.scores[one.action] and one.action == found.actions[i]
    assert 0 < found.certified_ratio[0] < found.certified_ratio[1] or 0 < found.certified_ratio[2] < 1


@pytest.mark.parametrize("seed", range(4))
def test_gradient_descent_does_not_belie_it_either(seed):
    given, near = policy(seed), observations(seed)
    found = certify_policy(given, near, [0.1])
    verified = np.flatnonzero(found.status[:, 0] == av.Answer.VERIFIED)
    assert len(verified)
    for i in verified:
        box = av.Box.around(near[[i]].astype(np.float64), 0.1)
        assert gaps(given, pgd_points(given, box, found.actions[i]), found.actions[i]).min() >= found.lower[i, 0]


def test_features_may_change_by_different_amounts():
    given, near = policy(1), observations(1)
    own = np.array([[0.0, 0.02, 0.3], [0.0, 0.04, 0.6]])
    found = certify_policy(given, near, own)
    assert np.array_equal(found.reach, own) and np.array_equal(found.radii, [0.3, 0.6])
    for (i, k), answer in np.ndenumerate(found.status):
        points = ball_points("linf", near[i].astype(np.float64), own[k], None, 2000)
        assert found.lower[i, k] <= gaps(given, points, found.actions[i]).min()
        if answer is av.Answer.FALSIFIED:
            one = found.changes.item((i, k))
            assert one.input[0] == near[i, 0] and holds("linf", near[i], own[k], None, one.input)
    even = certify_policy(given, near, [0.3])
    assert (found.lower[:, 0] >= even.lower[:, 0] - 1e-9).all()
    assert np.sum(found.status[:, 0] == av.Answer.VERIFIED) > np.sum(even.status == av.Answer.VERIFIED)


@pytest.mark.parametrize("norm", NORMS)
def test_normalised_units_are_standard_deviations(norm):
    std = np.array([0.5, 2.0, 0.125])
    given, near = policy(2, scale=av.ObservationScale(np.zeros(3), std, 10.0)), observations(2)
    found = certify_policy(given, near, [0.1, 0.05], norm=norm, settings=av.PolicySettings(units="normalised"))
    raw = certify_policy(given, near, np.array([[0.1], [0.05]]) * std, norm=norm)
    assert found.units is RadiusUnits.NORMALISED and np.array_equal(found.radii, [0.1, 0.05])
    assert np.array_equal(found.reach, raw.reach) and np.array_equal(found.status, raw.status)
    assert np.array_equal(found.certified_radius, np.max(np.where(raw.status == av.Answer.VERIFIED, [0.1, 0.05], 0), 1))
    assert "standard deviations" in repr(found) and "standard deviations" not in repr(raw)


def test_clipped_normalisations_are_part_of_the_policy():
    """Near and beyond the clip noise has no effect, which counts, and is not taken for more than it is."""
    scale = av.ObservationScale(np.array([0.1, -0.2, 0.0]), np.array([0.25, 0.5, 0.125]), 1.0)
    given = av.read_policy(policy(4).network, normalisation=scale, actions="discrete")
    near = 2.0 * observations(4, count=30)
    found = certify_policy(given, near, [0.05, 0.2], settings=av.PolicySettings(units="normalised", search=60.0))
    for (i, k), answer in np.ndenumerate(found.status):
        points = ball_points("linf", near[i].astype(np.float64), found.reach[k], None, 1000)
        assert found.lower[i, k] <= gaps(given, points, found.actions[i]).min()
        assert answer in (av.Answer.VERIFIED, av.Answer.FALSIFIED)
    clipped = (np.abs(near - scale.mean) > 1.3 * scale.std).all(axis=1)
    assert clipped.any() and (found.status[clipped] == av.Answer.VERIFIED).all()


def test_a_tie_at_the_observation_is_a_change():
    weights, near = [np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])], [[1.0, 1.0], [2.0, 1.0]]
    given = av.Policy(network_from_layers(weights, [np.zeros(3)]), av.DiscreteActions(3))
    found = certify_policy(given, near, [0.25, 0.0])
    assert found.actions.tolist() == [0, 0]
    assert found.status.tolist() == [2 * [av.Answer.FALSIFIED], 2 * [av.Answer.VERIFIED]]
    assert found.changes[0, 1].other == 1 and repr(found.changes[0, 1]) == "observation 0: action 0 gives way to 1"
    assert np.isclose(found.lower[1, 0], 0.5) and found.lower[1, 0] <= 0.5


def test_the_noise_is_around_what_the_policy_is_given():
    """In float32 the observation is another one, and with it the ball."""
    network = replace(network_from_layers([np.array([[1.0], [0.0]])], [np.zeros(2)]), element_type="float32")
    found = certify_policy(network, [[0.1]], [0.1, float(np.float32(0.1)) * 0.999])
    # float32(0.1) > 0.1: a ball around 0.1 itself would reach 0.
    assert found.status.tolist() == [[av.Answer.VERIFIED, av.Answer.VERIFIED]]
    assert found.lower[0, 0] <= float(np.float32(0.1)) - 0.1


def test_networks_of_scores_are_policies_too():
    given, near = policy(0), observations(0)
    of_policy, of_network = (certify_policy(one, near, [0.1]) for one in (given, given.network))
    assert np.array_equal(of_policy.status, of_network.status) and of_network.policy == "random policy"


def test_continuous_actions_get_how_far_they_move():
    continuous = replace(policy(0, (3, 8, 2)), actions=av.ContinuousActions(np.full(2, -9.0), np.full(2, 9.0)))
    near = observations(0, count=3)
    for settings in (None, av.PolicySettings(within=(-0.7, 0.7)), av.DeviationSettings(within=(-0.7, 0.7))):
        found = av.certify_policy(continuous, near, [0.1], norm="l2", settings=settings)
        assert isinstance(found, av.DeviationBounds) and found.norm == "l2"
        direct = av.DeviationSettings(within=None if settings is None else (-0.7, 0.7), norm="l2")
        assert np.array_equal(found.certified, av.certify_deviation(continuous, near, [0.1], settings=direct).certified)
    with pytest.raises(av.InputError, match=r"av\.certify_deviation says by how much"):
        certify_actions(continuous, near, [0.1])
    with pytest.raises(av.InputError, match=r"av\.certify_deviation says by how much"):
        av.certified_radii(continuous, near, 0.1)
    with pytest.raises(av.InputError, match="DeviationSettings are for policies with continuous actions"):
        av.certify_policy(policy(0), near, [0.1], settings=av.DeviationSettings())


def test_bounds_in_order():
    given, near = policy(3), observations(3, count=60)
    counts = []
    for bounds in ("interval", "crown", "tightened"):
        plain = av.PolicySettings(bounds=bounds, max_passes=0, search=None)
        counts.append(int(certify_policy(given, near, [0.12], settings=plain).count("verified")[0]))
    counts.append(int(certify_policy(given, near, [0.12]).count("verified")[0]))
    assert counts == sorted(counts) and counts[0] < counts[1] < counts[3]


SINGLE = network_from_layers([np.ones((1, 3))], [np.zeros(1)])

REFUSED = {
    "no observations": (policy(0), np.zeros((0, 3)), [0.1], {}, "There are no observations"),
    "an empty list": (policy(0), [], [0.1], {}, "There are no observations"),
    "a wrong size": (policy(0), np.zeros((2, 4)), [0.1], {}, r"\(2, 4\) does not fit the observation of random policy"),
    "NaN": (policy(0), [[0.0, np.nan, 0.0]], [0.1], {}, "Observation 0, feature 1 is nan"),
    "infinity": (policy(0), [[0.0, 0.0, np.inf]], [0.1], {}, "Observation 0, feature 2 is inf"),
    "outside": (policy(0), np.ones((1, 3)), [0.1], {"within": (-1, 0.5)}, r"feature 0 is 1, outside the range"),
    "no radii": (policy(0), np.zeros(3), [], {}, r"The radii \[\] \(list\) are no list of numbers"),
    "a single radius": (policy(0), np.zeros(3), 0.1, {}, "no list of numbers"),
    "a negative radius": (policy(0), np.zeros(3), [-0.1], {}, "negative, infinite or NaN"),
    "a NaN radius": (policy(0), np.zeros(3), [np.nan], {}, "negative, infinite or NaN"),
    "a radius twice": (policy(0), np.zeros(3), [0.1, 0.1], {}, "same largest number twice"),
    "radii of too few features": (policy(0), np.zeros(3), [[0.1, 0.2]], {}, "radius of an observation's features"),
    "no normalisation": (policy(0), np.zeros(3), [0.1], {"units": "normalised"}, "holds no normalisation"),
    "one action": (SINGLE, np.zeros(3), [0.1], {}, "has one action, which never changes"),
    "too many actions": (
        replace(policy(0), actions=av.DiscreteActions(5)),
        np.zeros(3),
        [0.1],
        {},
        "4 outputs and 5 actions",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_the_words_of_policies(name):
    given, near, radii, chosen, words = REFUSED[name]
    with pytest.raises(av.InputError, match=words):
        certify_policy(given, near, radii, settings=av.PolicySettings(**chosen))


@pytest.mark.parametrize("given", [None, "no such file.onnx", np.zeros(3), object])
def test_what_is_no_policy_is_refused(given):
    with pytest.raises(av.AdmmVerifyError):
        certify_policy(given, np.zeros(3), [0.1])


@pytest.mark.parametrize(
    "wrong", [{"units": "degrees"}, {"norm": "l3"}, {"bounds": "milp"}, {"tolerance": 0.0}, {"search": -1.0}]
)
def test_settings_that_do_not_exist_are_refused(wrong):
    with pytest.raises(av.InputError):
        av.PolicySettings(**wrong)


def test_a_range_the_wrong_way_round_is_told():
    settings = av.PolicySettings(within=(1.0, -1.0))
    with pytest.raises(av.InputError, match="lowest <= highest"):
        av.certify_policy(policy(0), observations(0), [0.1], settings=settings)
