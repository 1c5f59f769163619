"""Laws of graph projections: optimal against a dense solve, on the graph, idempotent; one suite for every structure."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from array_api_compat import torch
from hypothesis import given, strategies as st

from admm_verify import InputError
from admm_verify.arrays import Placement, namespace, to_numpy
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.maps import DenseMap, DiagonalMap, LinearMap, TransposedMap
from admm_verify.network.selection import SelectionMap
from admm_verify.splitting.frequency import FrequencyGraph
from admm_verify.splitting.graphs import Graph, graph_of
from tests.laws.laws import law

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 7)
ROWS = 3
TOLERANCE = 1e-9


Structure = Callable[[Any, np.random.Generator], list[LinearMap]]


@dataclass(frozen=True, eq=False)
class Case:
    """Maps from several sources to one output with penalties, their graph, and a point as it lays them out."""

    maps: list[LinearMap]
    weights: list[float]
    weight: float
    rng: np.random.Generator
    graph: Graph
    x: list[np.ndarray]
    y: np.ndarray

    @classmethod
    def of(cls, data, structure: Structure) -> "Case":
        rng = np.random.default_rng(data.draw(SEEDS))
        maps = structure(data.draw, rng)
        weight, *weights = [float(10.0 ** rng.uniform(-2, 2)) for _ in range(len(maps) + 1)]
        graph = graph_of(maps, weights, weight, Placement.numpy())
        sizes = [map.columns if graph.embed is None else graph.embed.rows for map in maps]
        outputs = maps[0].rows if graph.valid is None else graph.valid.columns
        x = [rng.standard_normal((ROWS, size)) for size in sizes]
        return cls(maps, weights, weight, rng, graph, x, rng.standard_normal((ROWS, outputs)))

    def projected(self, x: list[np.ndarray], y: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The projection of sources one by one."""
        return projected(self.graph, x, y)

    def matrix(self, e: int) -> np.ndarray:
        """W of source e as the graph lays it out."""
        if isinstance(self.graph, FrequencyGraph):
            # Entries of the grid that the kernel skips and padding take part: the circular convolution's own matrix.
            return self.graph.apply(np.eye(self.graph.embed.rows)).T
        return self.maps[e].dense().weight


def projected(graph: Graph, x: list[Any], y: Any) -> tuple[list[Any], Any]:
    """The projection of sources side by side, taken apart."""
    joined, image = graph.project(namespace(y).concat(x, axis=-1), y)
    ends = np.cumsum([0, *(part.shape[-1] for part in x)])
    return [joined[:, first:last] for first, last in pairwise(ends)], image


def dense(draw, rng: np.random.Generator) -> list[LinearMap]:
    rows = draw(SIZES)
    return [DenseMap(rng.standard_normal((rows, draw(SIZES)))) for _ in range(draw(st.integers(1, 3)))]


def random_selection(draw, rng: np.random.Generator) -> SelectionMap:
    columns = draw(SIZES)
    return SelectionMap.from_gather(rng.integers(0, columns + 1, draw(SIZES)), columns)


def random_convolution(draw, rng: np.random.Generator) -> ConvolutionMap:
    groups = draw(st.integers(1, 2))
    kernel, stride, dilation = (tuple(int(n) for n in rng.integers(1, 4, 2)) for _ in range(3))
    image = tuple(int(dilation[i] * (kernel[i] - 1) + rng.integers(1, 6)) for i in (0, 1))
    padding = tuple(int(n) for n in rng.integers(0, 3, 4))
    weight = rng.standard_normal((groups * int(rng.integers(1, 3)), int(rng.integers(1, 3)), *kernel))
    return ConvolutionMap.of(weight, (weight.shape[1] * groups, *image), stride, padding, dilation, groups)


STRUCTURES: dict[str, Structure] = {
    "dense": dense,
    "diagonal": lambda draw, rng: [DiagonalMap(rng.standard_normal(draw(SIZES)))],
    "selection": lambda draw, rng: [random_selection(draw, rng)],
    "sums": lambda draw, rng: [TransposedMap(random_selection(draw, rng))],
    "convolution": lambda draw, rng: [random_convolution(draw, rng)],
    "transposed convolution": lambda draw, rng: [TransposedMap(random_convolution(draw, rng))],
}

every_structure = pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)


@every_structure
@law(40)
@given(data=st.data())
def test_the_projection_solves_the_normal_equations(structure: Structure, data) -> None:
    case = Case.of(data, structure)
    found, image = case.projected(case.x, case.y)
    matrix = np.concatenate([case.matrix(e) for e in range(len(case.x))], axis=1)
    weights = np.concatenate([np.full(part.shape[1], w) for part, w in zip(case.x, case.weights, strict=True)])
    start = np.concatenate(case.x, axis=1)
    system = np.diag(weights) + case.weight * matrix.T @ matrix
    wanted = np.linalg.solve(system, (weights * start + case.weight * case.y @ matrix).T).T
    scale = 1.0 + np.abs(wanted).max()
    assert np.abs(np.concatenate(found, axis=1) - wanted).max() <= TOLERANCE * scale
    assert np.abs(image - wanted @ matrix.T).max() <= TOLERANCE * (1.0 + np.abs(image).max())


@every_structure
@law(20)
@given(data=st.data())
def test_projecting_twice_changes_nothing(structure: Structure, data) -> None:
    case = Case.of(data, structure)
    found, image = case.projected(case.x, case.y)
    again, image_again = case.projected(found, image)
    for first, second in zip([*found, image], [*again, image_again], strict=True):
        assert np.abs(first - second).max() <= TOLERANCE * (1.0 + np.abs(first).max())


@every_structure
@law(20)
@given(data=st.data())
def test_the_graph_holds_the_map(structure: Structure, data) -> None:
    """Points of the map's own graph stay where they are."""
    case = Case.of(data, structure)
    graph = case.graph
    sources = [case.rng.standard_normal((ROWS, map.columns)) for map in case.maps]
    value = sum(map.apply(source) for map, source in zip(case.maps, sources, strict=True))
    laid = sources if graph.embed is None else [graph.embed.apply(sources[0])]
    y = sum(part @ case.matrix(e).T for e, part in enumerate(laid))
    outputs = y if graph.valid is None else graph.valid.apply(y)
    assert np.abs(outputs - value).max() <= TOLERANCE * (1.0 + np.abs(value).max())
    found, image = case.projected(laid, y)
    for first, second in zip([*found, image], [*laid, y], strict=True):
        assert np.abs(first - second).max() <= TOLERANCE * (1.0 + np.abs(second).max())


@every_structure
@law(10)
@given(data=st.data())
def test_torch_agrees_with_numpy(structure: Structure, data) -> None:
    case = Case.of(data, structure)
    placement = Placement.of(torch.zeros(1, dtype=torch.float64))
    other = graph_of([map.put(placement) for map in case.maps], case.weights, case.weight, placement)
    found, image = case.projected(case.x, case.y)
    moved, moved_image = projected(other, [placement.put(part) for part in case.x], placement.put(case.y))
    for first, second in zip([*found, image], [*moved, moved_image], strict=True):
        assert np.abs(first - to_numpy(second)).max() <= 1e-8 * (1.0 + np.abs(first).max())


def test_a_map_without_a_closed_form_is_refused_in_words() -> None:
    weight = np.ones((8, 8, 1, 1))
    wide = TransposedMap(ConvolutionMap.of(weight, (8, 32, 32)))
    with pytest.raises(InputError, match="no closed-form projection for a TransposedMap"):
        graph_of([wide], [1.0], 1.0, Placement.numpy())
