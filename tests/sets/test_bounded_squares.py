"""Least squares in cubes: the conditions of their minima, and a solver's distances."""

# Arrays are NumPy's here, whatever sets may take.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOperatorIssue=false, reportCallIssue=false

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from admm_verify.sets.bounded_squares import least_squares

SHAPES = ((1, 1), (2, 6), (4, 4), (5, 3), (12, 30), (20, 40))


def drawn(shape: tuple[int, int], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Slopes with columns that are there twice, or none, or dependent, and rooms near and far."""
    rng = np.random.default_rng([*shape, len(kind)])
    slopes = rng.uniform(-1.0, 1.0, shape)
    if kind == "twice":
        slopes[:, -1] = slopes[:, 0]
    if kind == "zero":
        slopes[:, 0] = 0.0
    if kind == "flat":
        slopes[-1] = slopes[0]
    if kind == "whole":
        slopes = np.round(2.0 * slopes) / 2.0
    far = 10.0 ** rng.integers(-2, 3, (60, 1))
    return slopes, far * (
        np.round(rng.standard_normal((60, shape[0])))
        if kind == "whole"
        else 1.0 + 0.0 * rng.standard_normal((60, shape[0]))
    )


@pytest.mark.parametrize("kind", ["plain", "twice", "zero", "flat", "whole"])
@pytest.mark.parametrize("shape", SHAPES)
def test_slopes_at_a_minimum_lead_out_of_the_cube(shape: tuple[int, int], kind: str) -> None:
    slopes, far = drawn(shape, kind)
    rooms = np.broadcast_to(far, (60, shape[0]))
    rooms = rooms * np.random.default_rng(7).uniform(0.2, 1.0, rooms.shape)
    start = np.clip(rooms @ np.linalg.pinv(slopes).T, -1.0, 1.0)
    z, found = least_squares(slopes, rooms, start)
    assert found.mean() >= 0.95 and (np.abs(z) <= 1.0).all()
    left = rooms - z @ slopes.T
    pull = left @ slopes
    size = 1e-12 * sum(shape) * shape[0] * (1.0 + np.abs(rooms).max(axis=-1, keepdims=True))
    fine = (np.abs(pull) <= size) | ((z >= 1.0) & (pull > 0)) | ((z <= -1.0) & (pull < 0))
    assert fine[found].all()
    for k in range(3):
        best = lsq_linear(slopes, rooms[k], (-1, 1), "bvls", tol=1e-14)
        assert (left[k] ** 2).sum() <= 2.0 * best.cost * (1.0 + 1e-9) + 1e-20 * (1.0 + (rooms[k] ** 2).sum())


def test_batches_have_slopes_of_their_own() -> None:
    rng = np.random.default_rng(0)
    slopes, rooms = rng.uniform(-1.0, 1.0, (3, 1, 4, 7)), rng.standard_normal((3, 50, 4))
    z, found = least_squares(slopes, rooms, np.zeros((3, 50, 7)))
    assert z.shape == (3, 50, 7) and found.shape == (3, 50) and found.all()
    for one, room, many in zip(slopes, rooms, z, strict=True):
        alone, _ = least_squares(one[0], room, np.zeros((50, 7)))
        np.testing.assert_allclose(alone @ one[0].T, many @ one[0].T, atol=1e-10)
    empty, none = least_squares(slopes[0, 0], rooms[0, :0], np.zeros((0, 7)))
    assert empty.shape == (0, 7) and none.shape == (0,)


def test_torch_gives_what_numpy_does() -> None:
    rng = np.random.default_rng(1)
    slopes, rooms = rng.uniform(-1.0, 1.0, (4, 7)), 3.0 * rng.standard_normal((50, 4))
    z, found = least_squares(slopes, rooms, np.zeros((50, 7)))
    other, sure = least_squares(torch.asarray(slopes), torch.asarray(rooms), torch.zeros((50, 7), dtype=torch.float64))
    assert found.all() and bool(sure.all())
    np.testing.assert_allclose(np.asarray(other) @ slopes.T, z @ slopes.T, atol=1e-10)
