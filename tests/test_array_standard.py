"""The numerical rooms on arrays that allow nothing but the array API standard.

But for two things, which NumPy, torch and CuPy all do: fewer indices than axes mean the first axes, and one array of
indices may say where to write.
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import Placement
from admm_verify.network.layers import network_from_layers
from admm_verify.sets.contract import WalkableSet

REASON = "the standard cannot be checked: pip install array-api-strict"
strict = pytest.importorskip("array_api_strict", reason=REASON)
torch = pytest.importorskip("torch")

ROWS = 3


@pytest.fixture(autouse=True)
def fewer_indices(monkeypatch) -> None:
    """An index that is short of axes gets the ellipsis that the standard wants, and writing at indices is done."""
    array = type(strict.asarray(0.0))
    monkeypatch.setattr(array, "__getitem__", _with_ellipsis(array.__getitem__))
    monkeypatch.setattr(array, "__setitem__", _at_indices(_with_ellipsis(array.__setitem__)))


def _at_indices(method: Callable[..., Any]) -> Callable[..., Any]:
    def written(self: Any, key: Any, value: Any) -> None:
        keys = key if isinstance(key, tuple) else (key,)
        indices = [k for k, part in enumerate(keys) if getattr(part, "dtype", None) == strict.int64]
        if not indices:
            return method(self, key, value)
        (axis,) = indices
        assert all(part == slice(None) for part in keys[:axis]) and axis == len(keys) - 1
        for place, index in enumerate(np.asarray(keys[axis]).tolist()):
            there = (slice(None),) * axis
            method(self, (*there, index), value[(*there, place)])
        return None

    return written


def _with_ellipsis(method: Callable[..., Any]) -> Callable[..., Any]:
    def indexed(self: Any, key: Any, *value: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        masks = any(getattr(part, "dtype", None) == strict.bool for part in keys)
        short = sum(part is not None for part in keys) < self.ndim and not any(part is ... for part in keys)
        return method(self, (*keys, ...) if short and not masks else key, *value)

    return indexed


@cache
def network(kind: str) -> av.Network:
    torch.manual_seed(0)
    if kind == "dense":
        rng, sizes = np.random.default_rng(0), (6, 9, 8, 4)
        weights = [rng.standard_normal((m, n)) for n, m in pairwise(sizes)]
        return network_from_layers(weights, [rng.standard_normal(m) for m in sizes[1:]], kind)
    if kind == "smooth":
        layers = [
            torch.nn.Linear(6, 7),
            torch.nn.Sigmoid(),
            torch.nn.Linear(7, 7),
            torch.nn.Tanh(),
            torch.nn.Linear(7, 4),
        ]
        return av.trace(torch.nn.Sequential(*layers), torch.rand(1, 6))
    first, second = torch.nn.Conv2d(2, 3, 3, 2, 1), torch.nn.Conv2d(3, 4, 3, 1, (1, 0))
    layers = [first, torch.nn.ReLU(), second, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(24, 4)]
    return av.trace(torch.nn.Sequential(*layers), torch.rand(1, 2, 6, 8)[..., :6, :8])


SETS: dict[str, Callable[[np.ndarray], WalkableSet]] = {
    "box": lambda points: av.Box(points - 0.05, points + 0.05),
    "ball": lambda points: av.Ball(points, 0.05, "l2"),
    "small ball": lambda points: av.Ball(points, 0.05, "l1"),
}
KINDS = ["dense", "smooth", "convolutional"]


def sets(of: av.Network, made: str) -> tuple[WalkableSet, WalkableSet]:
    """The same sets in NumPy's arrays and in those of the standard, into which no door would let them."""
    here = SETS[made](points(of))
    return here, here.put(Placement.of(strict.zeros(1, dtype=strict.float64)))


def points(of: av.Network) -> np.ndarray:
    return np.random.default_rng(1).random((ROWS, *of.input_shape))


def assert_same(found: Any, expected: np.ndarray, tolerance: float = 1e-9) -> None:
    assert type(found) is type(strict.asarray(0.0))
    assert np.allclose(np.asarray(found), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", SETS)
@pytest.mark.parametrize("method", ["interval", "crown", "tightened"])
def test_bounds(kind: str, made: str, method: str) -> None:
    of = network(kind)
    here, there = sets(of, made)
    expected = av.preactivation_bounds(of, here, method)
    found = av.preactivation_bounds(of, there, method)
    for low, high, below, above in zip(found.lower, found.upper, expected.lower, expected.upper, strict=True):
        # Iterations of tightening are those of the library's verbs, in float32.
        tolerance = 1e-4 if method == "tightened" else 1e-9
        assert_same(low, below, tolerance)
        assert_same(high, above, tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["ascent", "primal_dual", "admm"])
def test_solving(kind: str, method: str) -> None:
    of = network(kind)
    rows = np.random.default_rng(2).standard_normal((ROWS, 4))
    here, there = sets(of, "box")
    known = av.preactivation_bounds(of, here)
    expected = av.solve(av.Problem(of, here, rows, preactivation=known), method, max_passes=8)
    found = av.solve(av.Problem(of, there, rows, preactivation=known), method, max_passes=8)
    assert_same(found.lower, expected.lower)
    assert_same(found.primal, expected.primal, 1e-6)
