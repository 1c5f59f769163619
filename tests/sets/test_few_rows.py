"""Linear programs and nearest points over boxes cut with a few rows, beside HiGHS and the conditions of an optimum."""

import numpy as np
import pytest
from scipy.optimize import linprog

from admm_verify.sets.dual_newton import nearest_points
from admm_verify.sets.dual_simplex import solve_programs

Program = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def program(seed: int) -> tuple[Program, np.random.Generator]:
    """Ends, normals and limits; some fixed inputs, empty rows, equations, and with every fifth seed nothing inside."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 10)), int(rng.integers(1, 7))
    scale = 10.0 ** rng.integers(-3, 4)
    lower = scale * (rng.standard_normal(n) - rng.random(n))
    upper = lower + scale * 3.0 * rng.random(n) * (rng.random(n) < 0.9)
    normals = rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.7)
    inside = lower + (upper - lower) * rng.random(n)
    limits = normals @ inside + scale * 0.3 * rng.random(m) * (rng.random(m) < 0.7)
    if seed % 5 == 0:
        limits = limits - scale
    if seed % 3 == 0 and m > 1:
        normals[1], limits[1] = -normals[0], -limits[0]
    return (lower, upper, normals, limits), rng


@pytest.mark.parametrize("seed", range(60))
def test_programs_are_solved_or_shown_to_be_empty(seed: int) -> None:
    (lower, upper, normals, limits), rng = program(seed)
    c = rng.standard_normal((4, len(lower)))
    c[0] = 0.0
    x, mu = solve_programs(c, (lower, upper), normals, limits)
    pull = c + mu @ normals
    bound = np.where(pull > 0, pull * lower, pull * upper).sum(axis=-1) - mu @ limits
    size = 1.0 + np.abs(c) @ np.maximum(np.abs(lower), np.abs(upper))
    assert (mu >= 0).all() and (x >= lower).all() and (x <= upper).all()
    for k in range(len(c)):
        found = linprog(c[k], normals, limits, bounds=np.stack([lower, upper], axis=1), method="highs")
        if found.status == 2:
            assert bound[k] > size[k]
            continue
        assert abs(found.fun - bound[k]) <= 1e-9 * size[k] and abs(c[k] @ x[k] - found.fun) <= 1e-9 * size[k]
        assert (normals @ x[k] <= limits + 1e-9 * size.max()).all()


def test_batches_are_solved_like_single_programs() -> None:
    (lower, upper, normals, limits), rng = program(7)
    c = rng.standard_normal((3, 2, len(lower)))
    shift = np.array([0.0, 0.125, 0.25])
    sets = (np.stack([lower - s for s in shift])[:, None], np.stack([upper + s for s in shift])[:, None])
    own = np.stack([normals] * 3)[:, None], np.stack([limits + s for s in shift])[:, None]
    x, mu = solve_programs(c, sets, *own)
    for k, s in enumerate(shift):
        alone, price = solve_programs(c[k], (lower - s, upper + s), normals, limits + s)
        np.testing.assert_allclose(x[k], alone, atol=1e-12)
        np.testing.assert_allclose(mu[k], price, atol=1e-12)


def started(seed: int) -> tuple[Program, np.ndarray]:
    """A program, and points around its box."""
    given, rng = program(seed)
    lower, upper, *_ = given
    return given, lower + (upper - lower) * rng.uniform(-2.0, 3.0, (6, len(lower)))


def test_most_nearest_points_are_found() -> None:
    found = []
    for seed in (seed for seed in range(60) if seed % 5):
        (lower, upper, normals, limits), x = started(seed)
        found.append(nearest_points(x, (lower, upper), normals, limits)[1])
    assert np.mean(found) > 0.8


@pytest.mark.parametrize("seed", [seed for seed in range(60) if seed % 5])
def test_nearest_points_meet_the_conditions_of_an_optimum(seed: int) -> None:
    (lower, upper, normals, limits), x = started(seed)
    z, done = nearest_points(x, (lower, upper), normals, limits)
    size = np.maximum(np.abs(lower), np.abs(upper)).max() + 1e-300
    for point, start in zip(z[done], x[done], strict=True):
        assert (normals @ point <= limits + 1e-9 * size).all() and (point >= lower).all() and (point <= upper).all()
        # No point of the set is nearer: (z - x)'(y - z) >= 0 for all of its points y.
        away = point - start
        least = linprog(away / size, normals, limits, bounds=np.stack([lower, upper], axis=1), method="highs")
        assert least.fun * size >= away @ point - 1e-7 * size * size
