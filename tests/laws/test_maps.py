"""Laws of linear maps: one suite that every `LinearMap` inherits."""

from dataclasses import dataclass

import numpy as np
import pytest
from array_api_compat import torch
from hypothesis import assume, given, strategies as st

from admm_verify import ModelError
from admm_verify.arrays import SINGLE_ROUNDOFF, Placement, gamma, to_numpy
from admm_verify.network.compose import add, compose
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap
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
        """The composition; examples whose maps do not merge are left out."""
        merged = compose(self.map, inner.map)
        assume(merged is not None)
        assert merged is not None
        return Known(merged, self.matrix @ inner.matrix, self.magnitude @ inner.magnitude)

    def plus(self, other: "Known") -> "Known":
        """The sum; examples whose maps do not merge are left out."""
        total = add(self.map, other.map)
        assume(total is not None)
        assert total is not None
        return Known(total, self.matrix + other.matrix, self.magnitude + other.magnitude)

    def transposed(self) -> "Known":
        return Known(TransposedMap(self.map), self.matrix.T, self.magnitude.T)


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
    """Distinct entries with zeros between them, any entries at all, or all of them as they are."""
    rng, count, size = np.random.default_rng(draw(SEEDS)), draw(rows), draw(columns)
    kind = draw(st.sampled_from(["distinct", "any", "any", "identity"]))
    if kind == "any":
        return Known.plain(SelectionMap.from_gather(rng.integers(0, size + 1, count), size))
    if kind == "identity" and count == size:
        return Known.plain(SelectionMap.identity(size))
    return Known.plain(random_selection(rng, count, size))


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
    total = draw(dense(st.just(rows), st.just(columns)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(fitting(rows, columns))
        if draw(st.booleans()):
            path = draw(fitting(rows, hidden)).after(draw(fitting(hidden, columns)))
        total = total.plus(path) if draw(st.booleans()) else path.plus(total)
    return total


@st.composite
def summed_scalings(draw) -> Known:
    """Two parallel scalings or identities."""
    size = draw(SIZES)
    parts = [draw(diagonal(st.just(size))), Known.plain(SelectionMap.identity(size))]
    return draw(st.sampled_from(parts)).plus(draw(st.sampled_from(parts)))


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
        absolute = np.abs(weight)
        assert close(known.map.absolute_apply(x), x @ absolute.T, np.abs(x) @ magnitude.T)
        assert close(known.map.absolute_transpose(y), y @ absolute, np.abs(y) @ magnitude)

    @law(40)
    @given(data=st.data(), seed=SEEDS)
    def test_the_adjoint_identity_holds(self, data, seed: int) -> None:
        known = data.draw(self.examples)
        x, y = vectors(known.map, seed, ())
        scale = np.abs(y) @ floats(known.magnitude) @ np.abs(x)
        assert close(known.map.apply(x) @ y, x @ known.map.transpose(y), scale)

    @law(40)
    @given(data=st.data(), seed=SEEDS, factor=st.integers(-1000, 1000))
    def test_it_is_linear(self, data, seed: int, factor: int) -> None:
        known = data.draw(self.examples)
        x, z = vectors(known.map, seed, ())[0], vectors(known.map, seed + 1, ())[0]
        scale = (np.abs(x) + abs(factor) * np.abs(z)) @ floats(known.magnitude).T
        assert close(known.map.apply(x + factor * z), known.map.apply(x) + factor * known.map.apply(z), scale)

    @law(40)
    @given(data=st.data())
    def test_wanted_rows_are_rows_of_the_matrix(self, data) -> None:
        part = data.draw(self.examples).map
        wanted = np.array(data.draw(st.lists(st.integers(0, part.rows - 1), max_size=5)), dtype=np.int64)
        assert np.array_equal(part.rows_at(wanted, Placement.numpy()), part.dense().weight[wanted])

    @law(40)
    @given(data=st.data(), seed=SEEDS)
    def test_the_magnitude_covers_the_absolute_product(self, data, seed: int) -> None:
        part = data.draw(self.examples).map
        x, y = (np.abs(numbers) for numbers in vectors(part, seed, (3,)))
        # Both are rounded, and in a convolution in different orders.
        slack = 1 + 2 * gamma(part.roundings + part.rows)
        assert (part.magnitude_apply(x) * slack >= part.absolute_apply(x)).all()
        assert (part.magnitude_transpose(y) * slack >= part.absolute_transpose(y)).all()

    @law(40)
    @given(data=st.data())
    def test_the_magnitude_covers_the_chain_of_absolute_values(self, data) -> None:
        """|W2||W1| and not only |W2 W1|, up to the rounding of the magnitude itself."""
        known = data.draw(self.examples)
        own_rounding = 1 + exact(gamma(2 * known.map.roundings + 2))
        forward = known.map.magnitude_apply(np.eye(known.map.columns)).T
        backward = known.map.magnitude_transpose(np.eye(known.map.rows))
        for computed in (forward, backward):
            assert (exact(computed) * own_rounding >= known.magnitude).all()

    @law(60)
    @given(data=st.data(), seed=SEEDS)
    def test_the_rounding_error_is_covered(self, data, seed: int) -> None:
        known = data.draw(self.examples)
        x = vectors(known.map, seed, ())[0]
        error = np.abs(exact(known.map.apply(x)) - known.matrix @ exact(x))
        bound = gamma(2 * known.map.roundings + 2) * known.map.magnitude_apply(np.abs(x))
        assert (error <= exact(bound)).all()

    @law(60)
    @given(data=st.data(), seed=SEEDS)
    def test_the_rounding_error_of_float32_is_covered(self, data, seed: int) -> None:
        """Tighter: one rounding more than the map claims, for the weights."""
        known = data.draw(self.examples)
        single = known.map.put(Placement.numpy(np.float32))
        x = vectors(known.map, seed, ())[0].astype(np.float32)
        error = np.abs(exact(single.apply(x).astype(np.float64)) - known.matrix @ exact(x.astype(np.float64)))
        reach = known.map.magnitude_apply(np.abs(x.astype(np.float64)))
        assert (error <= exact(gamma(known.map.roundings + 1, SINGLE_ROUNDOFF) * reach * (1 + 1e-9))).all()

    @law(40)
    @given(data=st.data(), seed=SEEDS)
    def test_torch_agrees_with_numpy(self, data, seed: int) -> None:
        known = data.draw(self.examples)
        x, y = vectors(known.map, seed, (3,))
        magnitude = floats(known.magnitude)
        # Magnitudes of merged maps hold a term of 2^-1020 per factor against underflow, also where the product is zero.
        scale, back_scale = np.abs(x) @ magnitude.T + 1e-280, np.abs(y) @ magnitude + 1e-280
        for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
            placement = Placement(torch, dtype, "cpu")
            moved, there, back = known.map.put(placement), placement.put(x), placement.put(y)
            assert (moved.rows, moved.columns, moved.roundings, moved.multiplications) == (
                (known.map.rows, known.map.columns, known.map.roundings, known.map.multiplications)
            )
            assert close(moved.apply(there), known.map.apply(x), scale, tolerance)
            assert close(moved.transpose(back), known.map.transpose(y), back_scale, tolerance)
            assert close(moved.absolute_apply(there), known.map.absolute_apply(x), scale, tolerance)
            assert close(moved.absolute_transpose(back), known.map.absolute_transpose(y), back_scale, tolerance)
            assert close(moved.magnitude_apply(there), known.map.magnitude_apply(x), scale, tolerance)
            assert close(moved.magnitude_transpose(back), known.map.magnitude_transpose(y), back_scale, tolerance)
        rows = moved.rows_at(np.arange(moved.rows), placement)
        assert close(rows, known.map.dense().weight, np.abs(known.map.dense().weight), 1e-7)

    @law(20)
    @given(data=st.data())
    def test_a_map_in_place_is_not_copied(self, data) -> None:
        part = data.draw(self.examples).map
        assert all(
            np.shares_memory(*pair) for pair in zip(part.numbers, part.put(Placement.numpy()).numbers, strict=True)
        )
        moved = part.put(Placement(torch, torch.float64, "cpu"))
        again = moved.put(Placement(torch, torch.float64, "cpu"))
        assert all(a.data_ptr() == b.data_ptr() for a, b in zip(moved.numbers, again.numbers, strict=True))


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


class TestTransposedSelection(MapLaws):
    examples = selection().map(Known.transposed)


class TestTransposedDiagonal(MapLaws):
    examples = diagonal().map(Known.transposed)


class TestSummedMap(MapLaws):
    examples = summed()


class TestSummedScalings(MapLaws):
    examples = summed_scalings()


def test_maps_count_their_multiplications() -> None:
    assert DenseMap(np.ones((3, 5))).multiplications == 15
    assert DiagonalMap(np.ones(4)).multiplications == 4
    assert SelectionMap.identity(4).multiplications == 0
    assert TransposedMap(DiagonalMap(np.ones(4))).multiplications == 4


@pytest.mark.parametrize("gather", [[-1, 0], [0, 3]])
def test_selections_refuse_indices_out_of_range(gather: list[int]) -> None:
    with pytest.raises(ModelError, match=r"none of 0\.\.2"):
        SelectionMap.from_gather(np.array(gather), 2)


def test_one_entry_used_very_often_costs_little_memory() -> None:
    size = 100_000
    part = SelectionMap.from_gather(np.concatenate([np.zeros(size, dtype=np.int64), np.arange(size)]), size)
    assert sum(index.size for index in part.sums) <= 2 * part.rows
    expected = np.ones(size)
    expected[0] = size + 1
    assert np.array_equal(part.transpose(np.ones(part.rows)), expected)
    assert part.roundings >= size


def test_only_the_identity_is_one() -> None:
    assert SelectionMap.identity(3).is_identity
    assert SelectionMap.identity(3).put(Placement(torch, torch.float64, "cpu")).is_identity
    for gather, columns in (([1, 0], 2), ([0, 1], 3), ([0, 1, 2], 2), ([0, 0], 2)):
        assert not SelectionMap.from_gather(np.array(gather), columns).is_identity


def test_identities_vanish_but_for_their_roundings() -> None:
    identity, part = SelectionMap.identity(2).with_roundings(3), DiagonalMap(np.array([2.0, 3.0]))
    for merged in (compose(identity, part), compose(part, identity)):
        assert isinstance(merged, DiagonalMap) and merged.scale is part.scale and merged.roundings == 4


def test_nothing_is_expanded_to_a_matrix_that_was_none() -> None:
    swap, scaling = SelectionMap.from_gather(np.array([1, 0]), 2), DiagonalMap(np.array([2.0, 3.0]))
    assert compose(swap, scaling) is None and compose(scaling, swap) is None
    assert add(swap, scaling) is None and add(swap, swap) is None
    total = TransposedMap(SelectionMap.from_gather(np.zeros(2, dtype=np.int64), 1))
    assert compose(total, scaling) is None and compose(DenseMap(np.ones((2, 1))), total) is None
    assert add(DenseMap(np.ones((1, 2))), total) is None


def test_selections_stay_selections_when_composed() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        outer, inner = random_selection(rng, 4, 5), SelectionMap.from_gather(rng.integers(0, 4, 5), 3)
        both = compose(outer, inner)
        assert isinstance(both, SelectionMap)
        assert np.array_equal(both.dense().weight, outer.dense().weight @ inner.dense().weight)


def test_cancelling_chains_keep_their_magnitude() -> None:
    """|W2||W1| = 2 where W2 W1 = 0: the merged map must not claim to be exact."""
    inner = DenseMap(np.array([[1.0], [1.0]]))
    outer = DenseMap(np.array([[1.0, -1.0]]))
    merged = compose(outer, inner)
    assert merged is not None
    assert merged.apply(np.ones(1)) == 0.0
    assert merged.magnitude_apply(np.ones(1)) == 2.0
    parallel = add(inner, DenseMap(-inner.weight))
    assert parallel is not None
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
        assert path is not None
        total = path if total is None else add(total, path)
    assert total is not None
    assert total.roundings >= columns, "a dot product of n numbers takes n roundings"
