"""How far actions move under noise: certified from above, attained from below, through squashing and limits."""

from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.run import Ended


def policy(kind="tanh", sizes=(3, 16, 16, 2), end="clip", scale=None, seed=0):
    """A random policy whose actions are clipped or squashed."""
    rng = np.random.default_rng(seed)
    builder = Builder((sizes[0],), "float32")
    x = builder.input
    if scale is not None:
        x = Tensor(builder.affine(x, DenseMap(np.diag(1.0 / scale.std)), -scale.mean / scale.std), x.shape)
    for k, (columns, rows) in enumerate(pairwise(sizes)):
        weight = np.float32(rng.standard_normal((rows, columns)) * 1.5 / np.sqrt(columns)).astype(np.float64)
        x = Tensor(builder.affine(x, DenseMap(weight), rng.standard_normal(rows) / 4), (rows,))
        if k < len(sizes) - 2:
            x = builder.activation(kind, x)
    size = sizes[-1]
    low, high = np.full(size, -0.5), np.full(size, 0.5)
    x = builder.activation("clip", x, low, high) if end == "clip" else builder.activation("tanh", x)
    return av.Policy(builder.finish(x, end), av.ContinuousActions(low, high), scale)


def moved(given, x, points):
    """|pi(z) - pi(x)| of every entry, in float64."""
    return np.abs(np.asarray(given.network(points)) - np.asarray(given.network(x[None])))


@pytest.mark.parametrize("kind", ["tanh", "relu"])
@pytest.mark.parametrize("end", ["clip", "tanh"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_noise_moves_an_action_farther(kind, end, norm):
    given = policy(kind, end=end)
    rng = np.random.default_rng(1)
    x, radii = rng.standard_normal((4, 3)), [0.05, 0.2]
    found = av.certify_deviation(given, x, radii, norm=norm)
    assert found.certified.shape == (4, 2) and found.worst.shape == (4, 2, 3) and found.low.shape == (4, 2, 2)
    for i in range(4):
        for k, radius in enumerate(radii):
            ball = av.Ball(x[i], radius, norm) if norm == "l2" else av.Box(x[i] - radius, x[i] + radius)
            points = np.reshape(ball.at(None).sample(2000, rng), (2000, 3))
            moves, actions = moved(given, x[i], points), np.asarray(given.network(points))
            assert moves.max() <= found.certified[i, k]
            assert np.linalg.norm(moves, axis=1).max() <= found.certified_l2[i, k]
            assert (found.low[i, k] <= actions.min(axis=0)).all() and (actions.max(axis=0) <= found.high[i, k]).all()
            assert moves.max() <= found.attacked[i, k] * 1.01 + 1e-6
            assert np.asarray(ball.contains(found.worst[i, k])).all()
            assert moved(given, x[i], found.worst[i, k][None]).max() == pytest.approx(found.attacked[i, k], abs=1e-12)
            length = np.linalg.norm(moved(given, x[i], found.worst_l2[i, k][None]))
            assert length == pytest.approx(found.attacked_l2[i, k], abs=1e-12)
    assert (found.ratio <= 1.05 + 1e-9).all() and (found.ratio_l2 <= 1.05 + 1e-9).all()
    assert all(one is Ended.CONVERGED for one in found.status.reshape(-1))
    assert (found.certified >= found.attacked).all()
    assert (found.certified[:, 0] <= found.certified[:, 1] * 1.05).all()
    assert (found.attacked_l2 >= found.attacked * (1 - 1e-12)).all() and (found.certified_l2 >= found.attacked_l2).all()


def test_averages_and_largest_deviations_are_those_of_the_observations():
    found = av.certify_deviation(policy(), np.random.default_rng(2).standard_normal((5, 3)), [0.1])
    assert found.adiv.tolist() == [[found.attacked.mean()], [found.certified.mean()]]
    assert found.mad.tolist() == [[found.attacked.max()], [found.certified.max()]]
    assert "ADIV" in repr(found) and "0.1" in found.table()


def test_what_limits_hold_does_not_move():
    given = policy(sizes=(3, 2))
    x = np.linalg.pinv(np.array(given.network.nodes[1].terms[0].map.weight)) @ np.array([40.0, -40.0])
    found = av.certify_deviation(given, x[None], [0.01])
    assert found.actions.tolist() == [[0.5, -0.5]]
    assert found.attacked.item() == 0.0 and found.certified.item() <= 1e-12
    assert found.ratio.item() == 1.0 and found.ratio_l2.item() == 1.0 and found.status.item() is Ended.CONVERGED


def test_normalised_radii_are_those_of_the_policys_own_scale():
    scale = av.ObservationScale(np.array([1.0, -2.0, 0.5]), np.array([0.5, 4.0, 1.0]), np.inf)
    given = policy(scale=scale, sizes=(3, 8, 1))
    x = scale.mean + scale.std * np.random.default_rng(3).standard_normal((4, 3))
    found = av.certify_deviation(given, x, [0.1], settings=av.DeviationSettings(units="normalised"))
    raw = av.certify_deviation(given, x, [0.1 * scale.std])
    assert found.reach.tolist() == [(0.1 * scale.std).tolist()]
    assert found.certified == pytest.approx(raw.certified, rel=1e-12)
    assert (np.abs(found.worst[:, 0] - x) <= 0.1 * scale.std * (1 + 1e-12)).all()


def test_what_is_known_counts_when_time_is_up():
    x = np.random.default_rng(4).standard_normal((3, 3))
    full, none = (av.certify_deviation(policy(), x, [0.2], run=av.Run(timeout=time)) for time in (None, 0))
    assert (none.certified >= full.attacked).all() and (none.attacked <= full.certified).all()
    assert all(one is Ended.TIMED_OUT for one in none.status.reshape(-1))


def test_policies_with_discrete_actions_are_refused():
    given = av.Policy(policy().network, av.DiscreteActions(2))
    with pytest.raises(av.InputError, match="certify_policy"):
        av.certify_deviation(given, np.zeros((1, 3)), [0.1])
    with pytest.raises(av.InputError, match="ratio"):
        av.DeviationSettings(ratio=1.0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_noise_stays_within_the_limits_of_each_feature(norm):
    x, low, high = np.zeros((1, 3)), np.array([-0.1, -1.0, 0.0]), np.array([0.0, 1.0, 0.2])
    settings = av.DeviationSettings(within=(low, high), norm=norm)
    found, free = (av.certify_deviation(policy(), x, [0.4], norm=norm, settings=one) for one in (settings, None))
    for worst in (found.worst[0, 0], found.worst_l2[0, 0]):
        assert (low <= worst).all() and (worst <= high).all()
    assert found.certified.item() < free.attacked.item()
