"""`certified_radii`: between what is certified and what is attacked lies the truth, where it is known exactly."""

import time
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.policies import certified_radius
from admm_verify.policies.settings import RadiusUnits
from tests.policies.test_certify_policy import certify_policy, gaps, observations, policy
from tests.test_certify_norms import NORMS, ball_points, holds


def linear(weights, scale=None):
    """A policy of linear scores, whose radii are known."""
    weights = np.asarray(weights, dtype=np.float64)
    return av.Policy(network_from_layers([weights], [np.zeros(len(weights))]), av.DiscreteActions(len(weights)), scale)


DUAL = {"linf": 1, "l2": 2, "l1": np.inf}


@pytest.mark.parametrize("norm", NORMS)
def test_of_linear_scores_both_ends_are_next_to_the_truth(norm):
    given = linear([[3.0, 1.0], [0.0, 0.0], [-1.0, 2.0]])
    # Networks of layers take float32 numbers.
    near = np.random.default_rng(0).uniform(-1, 1, (30, 2)).astype(np.float32)
    found = av.certified_radii(given, near, 10.0, norm=norm, settings=av.PolicySettings(search=60.0))
    actions = given(near)
    weights = np.array([[3.0, 1.0], [0.0, 0.0], [-1.0, 2.0]])
    other = [np.delete(weights, a, axis=0) for a in actions]
    truth = [
        np.min((weights[a] - b) @ x.astype(np.float64) / np.linalg.norm(weights[a] - b, DUAL[norm], axis=1))
        for a, b, x in zip(actions, other, near, strict=True)
    ]
    assert (found.certified <= truth).all() and (truth <= found.attacked).all()
    assert (found.attacked <= 1.011 * found.certified).all()
    assert found.ended is av.Ended.COMPLETE and found.norm == norm and found.largest == 10.0
    for i, one in enumerate(found.changes):
        assert one.observation == i and holds(norm, near[i], np.full(2, found.attacked[i]), None, one.input)
        assert one.scores[one.other] >= one.scores[one.action] and one.action == actions[i]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(2))
def test_of_random_policies_neither_end_is_belied(seed, norm):
    given, near = policy(seed), observations(seed)
    found = av.certified_radii(given, near, 0.5, norm=norm, settings=av.PolicySettings(tolerance=0.05, search=60.0))
    assert (found.certified <= found.attacked).all() and (found.certified > 0).all()
    assert (found.attacked[found.certified < 0.5] <= 1.06 * found.certified[found.certified < 0.5]).all()
    for i, action in enumerate(found.actions):
        points = ball_points(norm, near[i].astype(np.float64), found.certified[i], None, 1000)
        assert gaps(given, points, action).min() > 0
    again = certify_policy(given, near, [found.certified.min()], norm=norm)
    assert again.certified_ratio[0] == 1.0


def test_features_grow_together_and_in_standard_deviations():
    scale = av.ObservationScale(np.zeros(2), np.array([0.5, 4.0]), 10.0)
    given, near = linear([[1.0, 1.0], [0.0, 0.0]], scale), [[1.0, 1.0]]
    own = av.certified_radii(given, near, [3.0, 1.5])
    # 2 = 3 s + 1.5 s.
    assert own.largest == 3.0 and own.certified[0] <= 4.0 / 3.0 <= own.attacked[0] <= 1.35
    normalised = av.certified_radii(given, near, 2.0, settings=av.PolicySettings(units="normalised"))
    assert normalised.units is RadiusUnits.NORMALISED and np.array_equal(normalised.reach, [1.0, 8.0])
    assert normalised.certified[0] <= 2.0 / 4.5 <= normalised.attacked[0] <= 0.45
    assert "standard deviations" in repr(normalised) and "certified" in repr(own)


def test_what_is_certified_lies_below_the_truth_in_rational_numbers():
    given = linear([[1.0, 0.0], [0.0, 1.0]])
    near = np.array([[0.7, 0.1]], dtype=np.float32)
    found = av.certified_radii(given, near, 1.0, settings=av.PolicySettings(tolerance=1e-6))
    truth = (Fraction(float(near[0, 0])) - Fraction(float(near[0, 1]))) / 2
    assert Fraction(found.certified[0]) < truth <= Fraction(found.attacked[0])


@pytest.mark.parametrize("seed", range(3))
def test_features_reach_no_farther_than_what_was_certified(seed, monkeypatch):
    """Not by the last digit either, whichever way a radius and reaches are rounded."""
    given, near, proved = policy(seed), observations(seed, count=40), {}
    certify = certified_radius.certified

    def noted(instances, *more):
        found = certify(instances, *more)
        for p in np.flatnonzero(found.status[:, 0] == av.Answer.VERIFIED):
            image, reach = (
                tuple(instances.images[p].tolist()),
                instances.near.reaches(np.array([p]), instances.radii)[0],
            )
            proved[image] = np.maximum(proved.get(image, 0.0), reach)
        return found

    monkeypatch.setattr(certified_radius, "certified", noted)
    found = av.certified_radii(given, near, np.random.default_rng(seed).uniform(0.1, 1.0, 3))
    assert (found.certified > 0).all() and len(proved) == len(near)
    for image, radius in zip(near, found.certified, strict=True):
        assert (radius / found.largest * found.reach <= proved[tuple(image.tolist())]).all()


def test_ends_that_no_bisection_finds():
    given = linear([[1.0, 0.0], [0.0, 0.0]])
    found = av.certified_radii(given, [[0.0, 0.0], [5.0, 0.0], [1e-30, 0.0]], 2.0)
    # A tie at the observation itself, an action that stays, and one that stands nothing to speak of.
    assert found.attacked[0] == 0.0 and found.certified[0] == 0.0
    assert found.certified[1] == 2.0 and np.isinf(found.attacked[1]) and found.changes[1] is None
    assert found.certified[2] == 0.0 and 0.0 < found.attacked[2] < 1e-9
    still = av.certified_radii(given, [[1.0, 0.0]], [0.0, 2.0])
    assert still.certified[0] == 2.0


def test_what_is_known_counts_once_the_time_is_up():
    given, near = policy(0), observations(0)
    began = time.monotonic()
    found = av.certified_radii(given, near, 0.5, run=av.Run(timeout=0.0))
    assert found.ended is av.Ended.TIMED_OUT and time.monotonic() - began < 5.0
    assert (found.certified == 0).all() and np.isinf(found.attacked).all()


@pytest.mark.parametrize(
    ("largest", "words"),
    [(0.0, "The largest radius is 0"), (-1.0, "negative"), (np.nan, "NaN"), ([1.0, 2.0], "radius of an observation")],
)
def test_largest_radii_that_are_none_are_refused(largest, words):
    with pytest.raises(av.InputError, match=words):
        av.certified_radii(policy(0), np.zeros(3), largest)


def test_no_file_is_kept(tmp_path):
    with pytest.raises(av.InputError, match="keeps no file"):
        av.certified_radii(policy(0), np.zeros(3), 1.0, settings=av.PolicySettings(output=tmp_path / "found.jsonl"))
