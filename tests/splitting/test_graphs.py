"""Laws of graph projections: optimal against a dense solve, on the graph, idempotent; one suite for every structure."""

from dataclasses import dataclass

import numpy as np
import pytest
from array_api_compat import torch
from hypothesis import given
from hypothesis import strategies as st

from admm_verify.arrays import Placement, to_numpy
from admm_verify.errors import InputError
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.splitting.graphs import graph_of
from tests.laws.laws import law

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 7)
ROWS = 3
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Case:
    """Maps from several sources to one output, with penalties."""

    maps: list[LinearMap]
    weights: list[float]
    weight: float
    rng: np.random.Generator

    @classmethod
    def of(cls, rng: np.random.Generator, maps: list[LinearMap]) -> "Case":
        weights = [float(10.0 ** rng.uniform(-2, 2)) for _ in range(len(maps) + 1)]
        return cls(maps, weights[1:], weights[0], rng)


@st.composite
def dense(draw) -> Case:
    rng, rows = np.random.default_rng(draw(SEEDS)), draw(SIZES)
    return Case.of(rng, [DenseMap(rng.standard_normal((rows, draw(SIZES)))) for _ in range(draw(st.integers(1, 3)))])


@st.composite
def diagonal(draw) -> Case:
    rng = np.random.default_rng(draw(SEEDS))
    return Case.of(rng, [DiagonalMap(rng.standard_normal(draw(SIZES)))])


def random_selection(draw) -> tuple[np.random.Generator, SelectionMap]:
    rng, columns = np.random.default_rng(draw(SEEDS)), draw(SIZES)
    return rng, SelectionMap.from_gather(rng.integers(0, columns + 1, draw(SIZES)), columns)


@st.composite
def selection(draw) -> Case:
    rng, map = random_selection(draw)
    return Case.of(rng, [map])


@st.composite
def sums(draw) -> Case:
    rng, map = random_selection(draw)
    return Case.of(rng, [TransposedMap(map)])


def random_convolution(draw) -> tuple[np.random.Generator, ConvolutionMap]:
    rng, groups = np.random.default_rng(draw(SEEDS)), draw(st.integers(1, 2))
    kernel, stride, dilation = (tuple(int(n) for n in rng.integers(1, 4, 2)) for _ in range(3))
    image = tuple(int(dilation[i] * (kernel[i] - 1) + rng.integers(1, 6)) for i in (0, 1))
    padding = tuple(int(n) for n in rng.integers(0, 3, 4))
    weight = rng.standard_normal((groups * int(rng.integers(1, 3)), int(rng.integers(1, 3)), *kernel))
    return rng, ConvolutionMap.of(weight, (weight.shape[1] * groups, *image), stride, padding, dilation, groups)


@st.composite
def convolution(draw) -> Case:
    rng, map = random_convolution(draw)
    return Case.of(rng, [map])


@st.composite
def transposed_convolution(draw) -> Case:
    rng, map = random_convolution(draw)
    return Case.of(rng, [TransposedMap(map)])


class GraphLaws:
    """What every projection obeys, on the variables as its graph lays them out."""

    examples: st.SearchStrategy[Case]

    def drawn(self, data):
        case = data.draw(self.examples)
        graph = graph_of(case.maps, case.weights, case.weight, Placement.numpy())
        sizes = [map.columns if graph.embed is None else graph.embed.rows for map in case.maps]
        outputs = case.maps[0].rows if graph.valid is None else graph.valid.columns
        points = [case.rng.standard_normal((ROWS, size)) for size in sizes]
        return case, graph, points, case.rng.standard_normal((ROWS, outputs))

    @law(40)
    @given(data=st.data())
    def test_the_projection_solves_the_normal_equations(self, data) -> None:
        case, graph, x, y = self.drawn(data)
        found, image = graph.project(x, y)
        # The graph's own matrix, column by column: images of the projections of huge weights on unit vectors.
        matrices = [self.matrix(graph, case, e, x) for e in range(len(x))]
        matrix = np.concatenate(matrices, axis=1)
        weights = np.concatenate([np.full(part.shape[1], w) for part, w in zip(x, case.weights, strict=True)])
        start = np.concatenate(x, axis=1)
        system = np.diag(weights) + case.weight * matrix.T @ matrix
        wanted = np.linalg.solve(system, (weights * start + case.weight * y @ matrix).T).T
        scale = 1.0 + np.abs(wanted).max()
        assert np.abs(np.concatenate(found, axis=1) - wanted).max() <= TOLERANCE * scale
        assert np.abs(image - wanted @ matrix.T).max() <= TOLERANCE * (1.0 + np.abs(image).max())

    def matrix(self, graph, case: Case, e: int, x: list[np.ndarray]) -> np.ndarray:
        """W of source e as the graph lays it out; by default the map's own matrix."""
        return case.maps[e].dense().weight

    @law(20)
    @given(data=st.data())
    def test_projecting_twice_changes_nothing(self, data) -> None:
        _, graph, x, y = self.drawn(data)
        found, image = graph.project(x, y)
        again, image_again = graph.project(found, image)
        for first, second in zip([*found, image], [*again, image_again], strict=True):
            assert np.abs(first - second).max() <= TOLERANCE * (1.0 + np.abs(first).max())

    @law(20)
    @given(data=st.data())
    def test_the_graph_holds_the_map(self, data) -> None:
        """Points of the map's own graph stay where they are."""
        case, graph, _, _ = self.drawn(data)
        sources = [case.rng.standard_normal((ROWS, map.columns)) for map in case.maps]
        value = sum(map.apply(source) for map, source in zip(case.maps, sources, strict=True))
        laid = sources if graph.embed is None else [graph.embed.apply(sources[0])]
        matrices = [self.matrix(graph, case, e, laid) for e in range(len(laid))]
        y = sum(part @ matrix.T for part, matrix in zip(laid, matrices, strict=True))
        outputs = y if graph.valid is None else graph.valid.apply(y)
        assert np.abs(outputs - value).max() <= TOLERANCE * (1.0 + np.abs(value).max())
        found, image = graph.project(laid, y)
        for first, second in zip([*found, image], [*laid, y], strict=True):
            assert np.abs(first - second).max() <= TOLERANCE * (1.0 + np.abs(second).max())

    @law(10)
    @given(data=st.data())
    def test_torch_agrees_with_numpy(self, data) -> None:
        case, graph, x, y = self.drawn(data)
        placement = Placement.of(torch.zeros(1, dtype=torch.float64))
        placed = [map.put(placement) for map in case.maps]
        other = graph_of(placed, case.weights, case.weight, placement)
        found, image = graph.project(x, y)
        moved, moved_image = other.project([placement.put(part) for part in x], placement.put(y))
        for first, second in zip([*found, image], [*moved, moved_image], strict=True):
            assert np.abs(first - to_numpy(second)).max() <= 1e-8 * (1.0 + np.abs(first).max())


class TestDense(GraphLaws):
    examples = dense()


class TestDiagonal(GraphLaws):
    examples = diagonal()


class TestSelection(GraphLaws):
    examples = selection()


class TestSums(GraphLaws):
    examples = sums()


class TestTransposedConvolution(GraphLaws):
    examples = transposed_convolution()


class TestConvolution(GraphLaws):
    examples = convolution()

    def matrix(self, graph, case: Case, e: int, x: list[np.ndarray]) -> np.ndarray:
        # Entries of the grid that the kernel skips and padding take part: the circular convolution's own matrix.
        return graph.apply(np.eye(graph.embed.rows)).T


def test_a_map_without_a_closed_form_is_refused_in_words() -> None:
    weight = np.ones((8, 8, 1, 1))
    wide = TransposedMap(ConvolutionMap.of(weight, (8, 32, 32)))
    with pytest.raises(InputError, match="no closed-form projection for a TransposedMap"):
        graph_of([wide], [1.0], 1.0, Placement.numpy())
