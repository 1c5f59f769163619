"""Distances between images of sets and other sets: below what samples attain, and attained inside both."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.nearest.points import point_of
from tests.nearest.draws import drawn
from tests.random_networks import chain

SETS = {
    "box": lambda c, r: av.Box(c - r, c + r),
    "l2 ball": av.Ball,
    "l1 ball": lambda c, r: av.Ball(c, r, norm="l1"),
    "ball cut with a box": lambda c, r: av.Ball(c, r, within=(c - 0.7 * r, c + 0.7 * r)),
    "ellipsoid": lambda c, r: av.Ellipsoid(c, r * r * np.array([[1.0, 0.3], [0.3, 0.5]])),
    "polytope": lambda c, r: av.Polytope(NORMALS, NORMALS @ c + r),
    "product": lambda c, r: av.Product(av.Box(c[:1] - r, c[:1] + r), av.Ball(c[1:], r)),
}
NORMALS = np.array([[1.0, 0.0], [-1.0, 0.25], [0.0, 1.0], [0.5, -1.0]])


def network_and_place():
    _, network = drawn(np.random.default_rng(3), 2, 2, [8, 8])
    centre = np.array([0.2, -0.1])
    return network, centre, network(centre)


@pytest.mark.parametrize("name", SETS)
def test_inputs_and_targets_of_any_kind(name):
    network, centre, output = network_and_place()
    size = float(np.abs(output).max())
    inputs, box = SETS[name](centre, 0.3), SETS["box"](centre, 0.3)
    far = output + size * np.array([2.0, 1.0])
    target, point = SETS[name](far, 0.1 * size), SETS["box"](far, 0.0)
    for x, s in ((inputs, point), (box, target)):
        found = av.distance(network, x, s, settings=av.DistanceSettings(tolerance=1e-3), timeout=60)
        assert found.status is av.Ended.CONVERGED
        assert found.input is not None
        assert found.target is not None
        assert bool(np.all(x.contains(found.input)))
        assert bool(np.all(s.contains(found.target)))
        assert np.linalg.norm(network(found.input) - found.target) <= found.upper
        rng = np.random.default_rng(0)
        there, aims = (np.reshape(part.sample(2000, rng), (-1, 2)) for part in (x, s))
        assert found.lower <= np.linalg.norm(network(there) - aims, axis=1).min() * (1 + 1e-12)


def test_polytopes_that_reach_to_infinity():
    network, centre, output = network_and_place()
    box, limit = SETS["box"](centre, 0.3), float(output[0]) + 2.0 * float(np.abs(output).max())
    found = av.distance(network, box, av.Polytope(np.array([[-1.0, 0.0]]), [-limit]))
    first = -av.solve(av.Problem(network, box, np.array([[-1.0, 0.0]]))).lower
    assert found.lower >= limit - first[0]
    # The same half-plane, as far as outputs may be near to it.
    wide = 10 * np.abs(limit) * np.ones(2)
    again = av.distance(network, box, av.Box(np.array([limit, -wide[1]]), wide))
    assert found.lower <= again.upper
    assert again.lower <= found.upper
    assert found.gap <= 1e-4 * found.upper


def test_polytopes_without_a_point_or_of_another_size_are_refused():
    network, centre, _ = network_and_place()
    box = SETS["box"](centre, 0.3)
    with pytest.raises(av.InputError, match="empty"):
        av.distance(network, box, av.Polytope(np.array([[-1.0, 0.0], [1.0, 0.0]]), [-1.0, 0.5]))
    with pytest.raises(av.InputError, match="3 numbers"):
        av.distance(network, box, av.Polytope(np.array([[-1.0, 0.0, 0.0]]), [-1.0]))


# Every network here is zero at zero alone, where a distance of zero has no digits that could agree.
AT_ZERO = chain(
    [
        np.array([[1.0, 0.3], [-1.0, 0.2], [0.1, 1.0], [0.7, -1.0]]),
        np.array([[1.0, 1.1, 0.0, 0.4], [0.2, 0.0, 1.0, 1.0]]),
    ],
    [np.zeros(4), np.zeros(2)],
)


@pytest.mark.parametrize("exponent", [0, -30, 8])
@pytest.mark.parametrize("touched", ["box", "ball", "point"])
def test_a_distance_of_zero_that_one_point_has_is_found_in_few_parts(touched, exponent):
    scale = 10.0**exponent
    target = {
        "box": av.Box(np.full(2, -scale), np.zeros(2)),
        "ball": av.Ball(np.array([-scale, 0.0]), scale),
        "point": av.Box(np.zeros(2), np.zeros(2)),
    }[touched]
    inputs = av.Box(np.full(2, -scale), scale * np.array([0.9, 0.7]))
    found = av.distance(AT_ZERO, inputs, target, settings=av.DistanceSettings(max_cells=5000))
    assert found.status is av.Ended.CONVERGED and found.lower == 0.0 and found.upper <= 1e-13 * scale


@pytest.mark.parametrize("exponent", [0, -30, 8])
def test_a_point_on_the_border_of_a_decision_at_zero_is_met_in_few_parts(exponent):
    rng, scale = np.random.default_rng(0), 10.0**exponent
    network = chain([rng.standard_normal((3, 2)), rng.standard_normal((2, 3))], [np.zeros(3), np.zeros(2)])
    query = av.query(network, av.Box(np.full(2, -scale), np.full(2, scale)), "y0 >= y1")
    found = av.closest_counterexample(query, np.zeros(2), settings=av.DistanceSettings(max_cells=5000))
    assert found.status is av.Ended.CONVERGED and found.lower == 0.0 and found.upper <= 1e-13 * scale


def test_a_flat_set_has_its_centre_at_least():
    rng = np.random.default_rng(5)
    for _ in range(4):
        inputs = av.Zonotope(rng.standard_normal(3), rng.standard_normal((3, 2))).at(None)
        x = point_of(inputs, rng.standard_normal(3))
        assert x is not None and bool(inputs.contains(x[None])[0])
