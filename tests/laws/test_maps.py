"""Laws of linear maps: one suite that every `LinearMap` inherits."""

from dataclasses import dataclass

import numpy as np
import pytest
from array_api_compat import torch
from hypothesis import given
from hypothesis import strategies as st

from admm_verify.arrays import Placement, gamma, to_numpy
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, SelectionMap, add, compose
from tests.laws.laws import law
from tests.random_networks import random_selection
from tests.reference.exact import exact, exact_matrix

SIZES = st.integers(1, 8)
SEEDS = st.integers(0, 2**32 - 1)
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Known:
    """A map together with the exact matrix it stands for and the product of absolute values behind it."""

    map: LinearMap
    matrix: np.ndarray
    magnitude: np.ndarray

    @classmethod
    def plain(cls, part: LinearMap) -> "Known":
        matrix = exact_matrix(part)
        return cls(part, matrix, np.abs(matrix))

    def after(self, inner: "Known") -> "Known":
        return Known(compose(self.map, inner.map), self.matrix @ inner.matrix, self.magnitude @ inner.magnitude)

    def plus(self, other: "Known") -> "Known":
        return Known(add(self.map, other.map), self.matrix + other.matrix, self.magnitude + other.magnitude)


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers of both signs over twelve orders of magnitude, some of them zero."""
    return rng.standard_normal(shape) * 10.0 ** rng.uniform(-6, 6, shape) * (rng.random(shape) < 0.8)


@st.composite
def dense(draw, rows=SIZES, columns=SIZES) -> Known:
    return Known.plain(DenseMap(numbers(np.random.default_rng(draw(SEEDS)), draw(rows), draw(columns))))


@st.composite
def diagonal(draw, size=SIZES) -> Known:
    return Known.plain(DiagonalMap(numbers(np.random.default_rng(draw(SEEDS)), draw(size))))


@st.composite
def selection(draw, rows=SIZES, columns=SIZES) -> Known:
    return Known.plain(random_selection(np.random.default_rng(draw(SEEDS)), draw(rows), draw(columns)))


def fitting(rows: int | None = None, columns: int | None = None) -> st.SearchStrategy[Known]:
    """Any plain map, with a given number of rows or columns where one is given."""
    row, column = (SIZES if size is None else st.just(size) for size in (rows, columns))
    choices = [dense(row, column), selection(row, column)]
    if rows is None or columns is None or rows == columns:
        choices.append(diagonal(row if columns is None else column))
    return st.one_of(choices)


@st.composite
def composed(draw) -> Known:
    """A chain of two to four maps, folded from either end."""
    parts = [draw(fitting())]
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            parts.append(draw(fitting(columns=parts[-1].map.rows)))
        else:
            parts.insert(0, draw(fitting(rows=parts[0].map.columns)))
    if draw(st.booleans()):
        chain = parts[0]
        for part in parts[1:]:
            chain = part.after(chain)
        return chain
    chain = parts[-1]
    for part in reversed(parts[:-1]):
        chain = chain.after(part)
    return chain


@st.composite
def summed(draw) -> Known:
    """Two to four parallel paths, plain or through a hidden layer."""
    rows, columns, hidden = draw(SIZES), draw(SIZES), draw(SIZES)
    paths = []
    for _ in range(draw(st.integers(2, 4))):
        path = draw(fitting(rows, columns))
        if draw(st.booleans()):
            path = draw(fitting(rows, hidden)).after(draw(fitting(hidden, columns)))
        paths.append(path)
    total = paths[0]
    for path in paths[1:]:
        total = total.plus(path)
    return total


class MapLaws:
    """What every linear map obeys. A class per type names the strategy that builds its examples."""

    examples: st.SearchStrategy[Known]

    @law(40)
    @given(data=st.data(), seed=SEEDS, batch=st.sampled_from([(), (3,), (2, 3)]))
    def test_products_agree_with_the_matrix(self, data, seed: int, batch: tuple[int, ...]) -> None:
        known = data.draw(self.examples)
        x, y = vectors(known.map, seed, batch)
        weight, magnitude = known.map.dense().weight, floats(known.magnitude)
        assert (known.map.rows, known.map.columns) == weight.shape
        assert close(known.map.apply(x), x @ weight.T, np.abs(x) @ magnitude.T)
        assert close(known.map.transpose(y), y @ weight, np.abs(y) @ magnitude)

    @law(40)
    @given(data=st.data(), seed=SEEDS)
    def test_the_adjoint_identity_holds(self, data, seed: int) -> None:
        known = data.draw(self.examples)
        x, y = vectors(known.map, seed, ())
        scale = np.abs(y) @ floats(known.magnitude) @ np.abs(x)
        assert close(known.map.apply(x) @ y, x @ known.map.transpose(y), scale)

    @law(40)
    @given(data=st.data(), seed=SEEDS, factor=st.floats(-1e3, 1e3))
    def test_it_is_linear(self, data, seed: int, factor: float) -> None:
        known = data.draw(self.examples)
        x, z = vectors(known.map, seed, ())[0], vectors(known.map, seed + 1, ())[0]
        scale = (np.abs(x) + abs(factor) * np.abs(z)) @ floats(known.magnitude).T
        assert close(known.map.apply(x + factor * z), known.map.apply(x) + factor * known.map.apply(z), scale)

    @law(40)
    @given(data=st.data())
    def test_row_blocks_are_rows_of_the_matrix(self, data) -> None:
        part = data.draw(self.examples).map
        start = data.draw(st.integers(0, part.rows))
        stop = data.draw(st.integers(start, part.rows))
        assert np.array_equal(part.row_block(start, stop), part.dense().weight[start:stop])

    @law(40)
    @given(data=st.data(), seed=SEEDS)
    def test_the_absolute_product_is_the_one_of_the_absolute_matrix(self, data, seed: int) -> None:
        known = data.draw(self.examples)
        x = vectors(known.map, seed, (3,))[0]
        expected = x @ np.abs(known.map.dense().weight).T
        assert close(known.map.absolute_apply(x), expected, np.abs(x) @ floats(known.magnitude).T)

    @law(40)
    @given(data=st.data(), seed=SEEDS)
    def test_the_magnitude_covers_the_absolute_product(self, data, seed: int) -> None:
        part = data.draw(self.examples).map
        x = np.abs(vectors(part, seed, (3,))[0])
        assert (part.magnitude_apply(x) >= part.absolute_apply(x)).all()

    @law(40)
    @given(data=st.data())
    def test_the_magnitude_covers_the_chain_of_absolute_values(self, data) -> None:
        """|W2||W1| and not only |W2 W1|, up to the rounding of the magnitude itself."""
        known = data.draw(self.examples)
        computed = exact(known.map.magnitude_apply(np.eye(known.map.columns)).T)
        own_rounding = 1 + exact(gamma(2 * known.map.roundings + 2))
        assert (computed * own_rounding >= known.magnitude).all()

    @law(60)
    @given(data=st.data(), seed=SEEDS)
    def test_the_rounding_error_is_covered(self, data, seed: int) -> None:
        known = data.draw(self.examples)
        x = vectors(known.map, seed, ())[0]
        error = np.abs(exact(known.map.apply(x)) - known.matrix @ exact(x))
        bound = gamma(2 * known.map.roundings + 2) * known.map.magnitude_apply(np.abs(x))
        assert (error <= exact(bound)).all()

    @law(40)
    @given(data=st.data(), seed=SEEDS)
    def test_torch_agrees_with_numpy(self, data, seed: int) -> None:
        known = data.draw(self.examples)
        x, y = vectors(known.map, seed, (3,))
        placement = Placement(torch, torch.float64, "cpu")
        moved, there, back = known.map.put(placement), placement.put(x), placement.put(y)
        magnitude = floats(known.magnitude)
        scale, back_scale = np.abs(x) @ magnitude.T, np.abs(y) @ magnitude
        assert (moved.rows, moved.columns, moved.roundings) == (known.map.rows, known.map.columns, known.map.roundings)
        assert close(moved.apply(there), known.map.apply(x), scale, 1e-12)
        assert close(moved.transpose(back), known.map.transpose(y), back_scale, 1e-12)
        assert close(moved.absolute_apply(there), known.map.absolute_apply(x), scale, 1e-12)
        # Magnitudes of merged maps hold a term of 2^-1020 per factor against underflow, also where the product is zero.
        assert close(moved.magnitude_apply(there), known.map.magnitude_apply(x), scale + 1e-280, 1e-12)
        assert np.array_equal(to_numpy(moved.row_block(0, moved.rows)), known.map.dense().weight)


def vectors(part: LinearMap, seed: int, batch: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs x and outputs y of a map."""
    rng = np.random.default_rng(seed)
    return numbers(rng, *batch, part.columns), numbers(rng, *batch, part.rows)


def floats(fractions: np.ndarray) -> np.ndarray:
    return fractions.astype(np.float64)


def close(actual, expected, scale, tolerance: float = ROUNDING) -> bool:
    """Whether two results differ by no more than the tolerance times the sum of absolute products behind them."""
    difference = np.abs(to_numpy(actual) - to_numpy(expected))
    return to_numpy(actual).shape == to_numpy(expected).shape and bool((difference <= tolerance * scale).all())


class TestDenseMap(MapLaws):
    examples = dense()


class TestDiagonalMap(MapLaws):
    examples = diagonal()


class TestSelectionMap(MapLaws):
    examples = selection()


class TestComposedMap(MapLaws):
    examples = composed()


class TestSummedMap(MapLaws):
    examples = summed()


def test_selections_stay_selections_when_composed() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        outer, inner = random_selection(rng, 4, 5), random_selection(rng, 5, 3)
        both = compose(outer, inner)
        assert isinstance(both, SelectionMap)
        assert np.array_equal(both.dense().weight, outer.dense().weight @ inner.dense().weight)


def test_cancelling_chains_keep_their_magnitude() -> None:
    """|W2||W1| = 2 where W2 W1 = 0: the merged map must not claim to be exact."""
    inner = DenseMap(np.array([[1.0], [1.0]]))
    outer = DenseMap(np.array([[1.0, -1.0]]))
    merged = compose(outer, inner)
    assert merged.apply(np.ones(1)) == 0.0
    assert merged.magnitude_apply(np.ones(1)) == 2.0
    parallel = add(inner, DenseMap(-inner.weight))
    assert np.array_equal(parallel.magnitude_apply(np.ones(1)), [2.0, 2.0])


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_the_roundings_cover_the_products_of_a_sum_of_narrow_paths(parts: int) -> None:
    """Each path reads its own slice, so the summed matrix is `parts` times as wide as each path's product."""
    width = 4
    columns = parts * width
    total: LinearMap | None = None
    for k in range(parts):
        window = SelectionMap.from_gather(np.arange(k * width, (k + 1) * width), columns)
        path = compose(DenseMap(np.ones((1, width))), window)
        total = path if total is None else add(total, path)
    assert total is not None
    assert total.roundings >= columns, "a dot product of n numbers takes n roundings"
