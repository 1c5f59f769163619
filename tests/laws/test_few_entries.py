"""Matrices with few entries: products entry by entry are those of the whole matrix, and magnitudes are not below."""

import numpy as np
import pytest

from admm_verify.network.compose import compose
from admm_verify.network.maps import MERGE_UNDERFLOW, DenseMap


def scattered(seed: int, rows: int, columns: int, each: int = 4) -> np.ndarray:
    """A matrix of whole numbers with at most `each` entries in every row and about as many in every column."""
    rng = np.random.default_rng(seed)
    weight = np.zeros((rows, columns))
    for shift in rng.choice(columns, each, replace=False):
        weight[np.arange(rows), (np.arange(rows) + shift) % columns] += rng.integers(-8, 9, rows)
    weight[rng.integers(rows)] = 0.0
    return weight


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_entry_by_entry_are_those_of_the_matrix(seed: int, dtype: type) -> None:
    weight = scattered(seed, 256, 192 + 64 * (seed % 3)).astype(dtype)
    # What cancelled keeps its magnitude.
    magnitude = np.abs(weight) + (scattered(seed + 50, *weight.shape, 1) > 0) if seed % 2 else None
    map = DenseMap(weight, None if magnitude is None else magnitude.astype(dtype))
    assert map.is_sparse and map.multiplications < weight.size / 32
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(-9, 10, (3, 2, size)).astype(dtype) for size in (weight.shape[1], weight.shape[0]))
    large = np.abs(weight) if magnitude is None else magnitude
    # Whole numbers leave no room for rounding.
    for found, matrix, at in (
        (map.apply, weight.T, x),
        (map.transpose, weight, y),
        (map.absolute_apply, np.abs(weight).T, x),
        (map.absolute_transpose, np.abs(weight), y),
        (map.magnitude_apply, large.T, np.abs(x)),
        (map.magnitude_transpose, large, np.abs(y)),
    ):
        assert found(at).dtype == dtype
        np.testing.assert_array_equal(found(at), at @ matrix)
        np.testing.assert_array_equal(found(at[0, 0]), at[0, 0] @ matrix)


@pytest.mark.parametrize("seed", range(4))
def test_merged_matrices_are_the_product_with_all_its_magnitude(seed: int) -> None:
    inner = DenseMap(scattered(seed, 640, 512, 2))
    outer = DenseMap(scattered(seed + 10, 256, 640, 2))
    merged = compose(outer, inner)
    assert isinstance(merged, DenseMap) and inner.is_sparse and outer.is_sparse
    np.testing.assert_array_equal(merged.weight, outer.weight @ inner.weight)
    assert (merged.magnitude >= np.abs(outer.weight) @ np.abs(inner.weight)).all()
    # Once more, with a magnitude that hides underflow everywhere.
    last = DenseMap(scattered(seed + 20, 512, 256, 1))
    again = compose(last, merged)
    assert isinstance(again, DenseMap) and last.is_sparse and merged.is_sparse
    np.testing.assert_array_equal(again.weight, last.weight @ merged.weight)
    assert (again.magnitude >= np.abs(last.weight) @ merged.magnitude).all()
    assert again.magnitude.max() == (np.abs(last.weight) @ np.abs(outer.weight) @ np.abs(inner.weight)).max()


def test_what_is_hidden_by_underflow_is_kept_for_all() -> None:
    weight = scattered(3, 256, 256)
    map = DenseMap(weight, np.abs(weight) + 5 * MERGE_UNDERFLOW)
    assert map.is_sparse
    ones = np.ones((1, 256))
    empty = np.flatnonzero(~weight.any(axis=1))
    assert len(empty) and (map.magnitude_apply(ones)[0, empty] >= 256 * 5 * MERGE_UNDERFLOW).all()


@pytest.mark.parametrize("shape", [(64, 128), (256, 256)])
def test_small_and_full_matrices_are_taken_whole(shape: tuple[int, int]) -> None:
    full = np.random.default_rng(0).standard_normal(shape)
    assert not DenseMap(full).is_sparse
    assert not DenseMap(np.eye(*shape) if shape[0] < 100 else np.eye(shape[0]) + (np.arange(shape[0]) == 5)).is_sparse
