"""Queries that fix the inputs by which a network multiplies and divides: there they are constants."""

from fractions import Fraction

import numpy as np
import pytest
from onnx import load_from_string

import admm_verify as av
from admm_verify.complete.constants import by_constants
from admm_verify.network.from_onnx import network_from_bytes
from admm_verify.run import Run
from tests.network.onnx_models import model, node, runtime, weights

ROWS, FEATURES = 3, 2


def masked() -> bytes:
    """y = v'relu of the masked mean over rows of relu(W x_row); every row is two features and its mask."""
    nodes = [
        node("Split", ["x", "lengths"], ["features", "mask"], axis=1),
        node("MatMul", ["features", "w"], ["a"]),
        node("Relu", ["a"], ["h"]),
        node("Mul", ["h", "mask"], ["m"]),
        node("ReduceSum", ["m", "axes"], ["s"], keepdims=0),
        node("ReduceSum", ["mask", "axes"], ["n"], keepdims=0),
        node("Div", ["s", "n"], ["mean"]),
        node("Add", ["mean", "b"], ["c"]),
        node("Relu", ["c"], ["d"]),
        node("MatMul", ["d", "v"], ["y"]),
    ]
    constants = {"lengths": np.array([FEATURES, 1]), "axes": np.array([0])}
    constants |= {"w": weights(FEATURES, 5), "v": weights(5, 1), "b": weights(5)}
    return model(nodes, [ROWS, FEATURES + 1], constants, input_shape=[ROWS, FEATURES + 1])


MASKS = ((1, 1, 0), (1, 0, 0), (1, 1, 1), (1, 1, 0))


def case(seed: int, tail: str) -> str:
    """One alternative for each pattern of masks, in which one feature is free."""
    rng, found = np.random.default_rng(seed), []
    for mask in MASKS:
        parts = []
        for row in range(ROWS):
            for column in range(FEATURES):
                low = float(np.round(rng.uniform(-1, 1), 2))
                high = low + 0.5 if (row, column) == (0, 1) else low
                parts.append(f"x[{row},{column}] >= {low} and x[{row},{column}] <= {high}")
            parts.append(f"x[{row},2] == {mask[row]}")
        found.append("(" + " and ".join(parts) + f" and {tail})")
    return " or ".join(found)


def test_networks_with_constants_compute_the_same():
    data = masked()
    query = av.query(load_from_string(data), None, case(0, "y0 <= 0"))
    groups = by_constants(query, Run())
    assert sorted(number for group in groups for number in group.numbers) == [0, 1, 2, 3] and len(groups) == 3
    x = np.random.default_rng(0).standard_normal((ROWS, FEATURES + 1)).astype(np.float32)
    for group in groups:
        assert {part.kind for part in group.query.network.functions} == {"relu"}
        x[:, 2] = MASKS[group.numbers[0]]
        np.testing.assert_allclose(group.query.network(x), runtime(data, x).reshape(-1), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(group.query.network(x), network_from_bytes(data, "masked")(x), rtol=1e-5)


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
@pytest.mark.parametrize("seed", range(3))
def test_verdicts_are_those_of_a_grid(seed, arithmetic):
    data = masked()
    model_ = load_from_string(data)
    whole = av.query(model_, None, case(seed, "y0 <= 0"))
    least = np.inf
    for disjunct in whole.property.disjuncts:
        low, high = (np.array([float(value) for value in end]) for end in disjunct.box.range)
        grid = low + np.linspace(0, 1, 401)[:, None] * (high - low)
        least = min(least, float(whole.network(grid).min()))
    settings = av.VerifySettings(arithmetic=arithmetic)
    for level, verdict in ((least + 1e-4, av.Verdict.SAT), (least - 1e-2, av.Verdict.UNSAT)):
        query = av.query(model_, None, case(seed, f"y0 <= {level:.6f}"))
        found = av.verify(query, timeout=20, settings=settings)
        assert found.verdict is verdict
        if verdict is av.Verdict.SAT:
            assert query.accepts(found.exact_input, [Fraction(float(value)) for value in found.output.reshape(-1)])
        else:
            assert found.undecided == 0 and len(found.rows_lower) == len(MASKS)


def test_nothing_is_grouped_where_inputs_are_free_or_there_is_no_model():
    data = masked()
    free = case(0, "y0 <= 0").replace("x[0,2] == 1", "x[0,2] >= 0.5 and x[0,2] <= 1")
    query = av.query(load_from_string(data), None, free)
    assert all({part.kind for part in group.query.network.functions} > {"relu"} for group in by_constants(query, Run()))
    assert by_constants(av.query(network_from_bytes(data, "masked"), None, case(0, "y0 <= 0")), Run()) == []
