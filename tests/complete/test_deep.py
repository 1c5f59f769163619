"""Deep networks: work per layer does not grow with the layers, and the clock is asked before every one of them."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Network, Query
from admm_verify.attacks.confirm import confirm
from admm_verify.bounds import interval
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.network.graph import Affine
from admm_verify.properties.property import Disjunct
from admm_verify.run import Stopped
from tests.complete.queries import at_most, box_of, query_of
from tests.network.onnx_models import model, node
from tests.random_networks import chain


def deep(layers: int) -> Network:
    rng = np.random.default_rng(layers)
    weights = [rng.standard_normal((3, 3)) / 3 for _ in range(layers)]
    return chain(weights, [np.zeros(3) for _ in weights])


def question(network: Network) -> Query:
    box = box_of([-1.0] * 3, [1.0] * 3)
    return query_of(network, [Disjunct(box, (at_most([1.0, 0.0, 0.0], 0.0, 0.0),))])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often intervals, magnitudes and roundings of single nodes are looked at."""
    counts = {"largest": 0, "roundings": 0, "affine_interval": 0}

    def counting(name: str, function: Callable) -> Callable:
        def called(*arguments: object) -> object:
            counts[name] += 1
            return function(*arguments)

        return called

    monkeypatch.setattr(interval, "largest", counting("largest", interval.largest))
    monkeypatch.setattr(interval, "affine_interval", counting("affine_interval", interval.affine_interval))
    known = Affine.roundings.fget
    assert known is not None
    monkeypatch.setattr(Affine, "roundings", property(counting("roundings", known)))
    return counts


@pytest.mark.parametrize("layers", [10, 100])
def test_interval_bounds_look_at_every_node_a_few_times(counted: dict[str, int], layers: int) -> None:
    network = deep(layers)
    av.preactivation_bounds(network, av.Box(-np.ones(3), np.ones(3)), "interval")
    assert counted["affine_interval"] == layers
    assert counted["largest"] <= layers
    assert counted["roundings"] <= 2 * layers


@pytest.mark.parametrize("questions", [0, 1, 7])
def test_a_stop_ends_interval_bounds_at_the_next_layer(counted: dict[str, int], questions: int) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > questions

    with pytest.raises(Stopped):
        derived_bounds(deep(100), av.Box(-np.ones((1, 3)), np.ones((1, 3))), "interval", av.Run(stop=stop))
    assert counted["affine_interval"] <= questions


def test_a_query_without_time_is_timed_out_before_the_layers_are_bounded(counted: dict[str, int]) -> None:
    outcome = av.verify(question(deep(200)), timeout=0.0)
    assert outcome.verdict is av.Verdict.TIMED_OUT and outcome.undecided == 1
    assert counted["affine_interval"] == 0


def test_a_query_that_is_stopped_within_its_layers_is_unknown(counted: dict[str, int]) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    outcome = av.verify(question(deep(200)), run=av.Run(stop=stop))
    assert outcome.verdict is av.Verdict.UNKNOWN and outcome.undecided == 1
    assert counted["affine_interval"] <= 20
    assert np.all(outcome.rows_lower == -np.inf)


def test_a_point_is_not_confirmed_in_real_numbers_beyond_the_stop(counted: dict[str, int]) -> None:
    """The box fixes inputs at a number that float64 does not hold, so that bounds have the last word."""
    tenth = Fraction(1, 10)
    disjunct = Disjunct(box_of([tenth] * 3, [tenth] * 3), (at_most([1.0, 0.0, 0.0], 0.0, 100.0),))
    query = query_of(deep(50), [disjunct])
    assert confirm(query, disjunct, np.full(3, 0.1)) is not None
    counted["affine_interval"] = 0
    with pytest.raises(Stopped):
        confirm(query, disjunct, np.full(3, 0.1), av.Run(stop=lambda: True))
    assert counted["affine_interval"] == 0


def test_reading_a_deep_network_ends_at_the_stop(tmp_path: Path) -> None:
    nodes, constants = [], {"w": np.eye(3, dtype=np.float32)}
    for k in range(100):
        nodes += [node("MatMul", [f"r{k}" if k else "x", "w"], [f"g{k}"]), node("Relu", [f"g{k}"], [f"r{k + 1}"])]
    nodes.append(node("Identity", ["r100"], ["y"]))
    (tmp_path / "deep.onnx").write_bytes(model(nodes, [1, 3], constants))
    variables = [f"X_{i}" for i in range(3)] + [f"Y_{i}" for i in range(3)]
    lines = [f"(declare-const {name} Real)" for name in variables]
    lines += [f"(assert (>= X_{i} 0))(assert (<= X_{i} 1))" for i in range(3)] + ["(assert (<= Y_0 -1))"]
    (tmp_path / "deep.vnnlib").write_text("\n".join(lines))
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > limit

    for limit in (150, 300):
        asked = 0
        with pytest.raises(av.StoppedError, match="onnx was not read to its end"):
            av.read_query(tmp_path / "deep.vnnlib", tmp_path / "deep.onnx", run=av.Run(stop=stop))
        assert asked == limit + 1
