"""Queries of many disjuncts that fix most inputs, as those about estimates of cardinalities."""

from fractions import Fraction

import numpy as np
import pytest
from onnx import load_from_string

import admm_verify as av
from admm_verify.bounds.constant_errors import carried_errors
from admm_verify.certificates.check import check
from admm_verify.complete.constants import by_constants
from admm_verify.complete.free_inputs import by_free_inputs
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.from_onnx import network_from_bytes
from admm_verify.network.maps import DenseMap
from admm_verify.run import Run
from admm_verify.sets.box import Box
from tests.network.onnx_models import model, node

ROWS, FEATURES, WIDTH = 4, 5, 8


def estimate(name: str) -> list:
    """sigmoid of v'relu(C [masked mean over rows of relu(B relu(A x_row))] + c), of one half of the input."""
    return [
        node("Split", [f"x{name}", "lengths"], [f"f{name}", f"m{name}"], axis=1),
        node("MatMul", [f"f{name}", "a"], [f"p{name}"]),
        node("Relu", [f"p{name}"], [f"q{name}"]),
        node("MatMul", [f"q{name}", "b"], [f"r{name}"]),
        node("Relu", [f"r{name}"], [f"s{name}"]),
        node("Mul", [f"s{name}", f"m{name}"], [f"t{name}"]),
        node("ReduceSum", [f"t{name}", "axes"], [f"u{name}"], keepdims=0),
        node("ReduceSum", [f"m{name}", "axes"], [f"n{name}"], keepdims=0),
        node("Div", [f"u{name}", f"n{name}"], [f"v{name}"]),
        node("MatMul", [f"v{name}", "c"], [f"w{name}"]),
        node("Relu", [f"w{name}"], [f"y{name}"]),
        node("MatMul", [f"y{name}", "d"], [f"z{name}"]),
        node("Sigmoid", [f"z{name}"], [f"o{name}"]),
    ]


def compared() -> bytes:
    """The difference of the estimates of two halves; a row is its features and its mask."""
    rng = np.random.default_rng(3)
    nodes = [node("Split", ["x", "halves"], ["x1", "x2"], axis=0), *estimate("1"), *estimate("2")]
    nodes.append(node("Sub", ["o1", "o2"], ["y"]))
    shapes = {"a": (FEATURES, WIDTH), "b": (WIDTH, WIDTH), "c": (WIDTH, WIDTH), "d": (WIDTH, 1)}
    constants = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    constants |= {"lengths": np.array([FEATURES, 1]), "halves": np.array([ROWS, ROWS]), "axes": np.array([0])}
    return model(nodes, [2 * ROWS, FEATURES + 1], constants, input_shape=[2 * ROWS, FEATURES + 1])


DATA = compared()
NETWORK = network_from_bytes(DATA, "compared")


def boxes(seed: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two equal halves of one-hot rows and a decimal, but that one or two decimals of the second half are free."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        rows = np.zeros((ROWS, FEATURES + 1))
        rows[np.arange(ROWS), rng.integers(0, FEATURES - 1, ROWS)] = 1.0
        rows[:, FEATURES - 1] = np.round(rng.random(ROWS), 4)
        rows[:, FEATURES] = np.arange(ROWS) < rng.integers(1, ROWS + 1)
        low = np.concatenate([rows, rows])
        high = low.copy()
        for row in rng.permutation(ROWS)[: rng.integers(1, 3)]:
            low[ROWS + row, FEATURES - 1], high[ROWS + row, FEATURES - 1] = 0.0, 0.75
        found.append((low.reshape(-1), high.reshape(-1)))
    return found


def question(sides: list[tuple[np.ndarray, np.ndarray]], levels: list[float]) -> av.Query:
    ways = []
    for (low, high), level in zip(sides, levels, strict=True):
        names = [f"x[{row},{column}]" for row in range(2 * ROWS) for column in range(FEATURES + 1)]
        ends = (
            f"{name} >= {a!r} and {name} <= {b!r}"
            for name, a, b in zip(names, low.tolist(), high.tolist(), strict=True)
        )
        ways.append("(" + " and ".join([*ends, f"y0 <= {level:.6f}"]) + ")")
    return av.query(load_from_string(DATA), None, " or ".join(ways))


def least(low: np.ndarray, high: np.ndarray) -> float:
    """The least value on a grid of the free sides."""
    free = np.flatnonzero(high > low)
    shares = np.stack(np.meshgrid(*[np.linspace(0, 1, 61)] * len(free)), axis=-1).reshape(-1, len(free))
    x = np.tile(low, (len(shares), 1))
    x[:, free] += shares * (high - low)[free]
    return float(NETWORK(x).min())


@pytest.mark.parametrize("seed", range(3))
def test_verdicts_are_those_of_grids(seed):
    sides = boxes(seed, 30)
    values = [least(*ends) for ends in sides]
    query = question(sides, [value - 5e-3 for value in values])
    found = av.verify(query, timeout=60)
    assert found.verdict is av.Verdict.UNSAT and found.undecided == 0
    assert len(found.rows_lower) == 30 and (found.rows_lower >= 0).all() and found.subproblems >= 30
    levels = [value - 5e-3 for value in values]
    levels[17] = values[17] + 1e-3
    query = question(sides, levels)
    found = av.verify(query, timeout=60)
    assert found.verdict is av.Verdict.SAT and found.exact_input is not None and found.output is not None
    assert query.accepts(found.exact_input, [Fraction(float(value)) for value in np.ravel(found.output)])
    assert query.property.disjuncts[17].box.holds(found.exact_input)


def test_all_are_decided_by_the_free_part_alone():
    sides = [ends for ends in boxes(0, 30) if ends[0].reshape(-1, FEATURES + 1)[:ROWS, FEATURES].all()]
    query = question(sides, [least(*ends) - 5e-3 for ends in sides])
    fixed = network_with_masks(query)
    found = by_free_inputs(fixed, av.VerifySettings(), Run())
    assert found is not None and sorted(found.excluded) == list(range(len(sides))) and found.witness is None
    for settings in (
        av.VerifySettings(certificate=True),
        av.VerifySettings(arithmetic="float32"),
        av.VerifySettings(max_subproblems=5),
        av.VerifySettings(method="ascent"),
    ):
        assert by_free_inputs(fixed, settings, Run()) is None


def network_with_masks(query: av.Query) -> av.Query:
    """The query about the network that was read for the masks of its disjuncts."""
    (group,) = by_constants(query, Run())
    return group.query


def test_constants_in_front_of_jumps_are_left_to_exact_bounds():
    """x0 is free; x1 + x2 + x3 is just 0.6, where the step is 1, and not in floats."""
    nodes = [
        node("MatMul", ["x", "w"], ["s"]),
        node("Sub", ["s", "t"], ["d"]),
        node("Sign", ["d"], ["j"]),
        node("Gather", ["x", "at"], ["f"], axis=1),
        node("Add", ["j", "f"], ["y"]),
    ]
    constants = {"w": np.array([[0], [1], [1], [1]], np.float32), "t": np.full(1, 0.6, np.float32), "at": np.array([0])}
    data = load_from_string(model(nodes, [1, 4], constants, input_shape=[1, 4]))
    fixed = "x1 == 0.1 and x2 == 0.2 and x3 == 0.3 and x0 >= 0 and x0 <= 1"
    query = av.query(data, None, f"{fixed} and y0 <= -0.5")
    assert by_free_inputs(query, av.VerifySettings(), Run()) is None
    # The float32 near 0.6 is above it, so that the sign is -1 in real arithmetic.
    assert Fraction(float(np.float32(0.6))) > Fraction(6, 10)
    few = av.VerifySettings(max_subproblems=64)
    assert av.verify(query, settings=few).verdict is not av.Verdict.UNSAT


def test_without_a_time_limit_what_splits_neurons_has_its_turn(monkeypatch):
    """Eight wide free inputs of 400 take halves of boxes more parts than anybody waits for."""
    rng, builder = np.random.default_rng(0), Builder((400,), "float32")
    x = builder.input
    for width in (40, 40, 40, 40, 40, 1):
        weight = rng.standard_normal((width, x.size)) * 1.4 / np.sqrt(40)
        x = Tensor(builder.affine(x, DenseMap(weight), np.zeros(width)), (width,))
        x = builder.activation("relu", x) if width > 1 else x
    network = builder.finish(x, "wide")
    low = rng.integers(0, 2, 400).astype(float)
    free = rng.choice(400, 8, replace=False)
    high = low.copy()
    high[free] += 2.0
    draws = np.tile(low, (4000, 1))
    draws[:, free] += rng.choice([0.0, 1.0, 2.0], (4000, 8))
    values = network(draws).reshape(-1)
    level = values.min() - 0.5 * np.ptp(values)
    query = av.query(network, av.Box(low[None], high[None]), f"y0 <= {level:.6f}")
    monkeypatch.setattr("admm_verify.complete.free_inputs._LEAST_PARTS", 256)
    found = by_free_inputs(query, av.VerifySettings(), Run())
    assert found is not None and not found.excluded and found.witness is None and found.bounded < 5000
    assert av.verify(query).verdict is av.Verdict.UNSAT


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_proofs_are_checked(arithmetic):
    sides = boxes(1, 4)
    query = question(sides, [least(*ends) - 2e-2 for ends in sides])
    found = av.verify(query, timeout=60, settings=av.VerifySettings(arithmetic=arithmetic, certificate=True))
    assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
    report = check(found.certificate, query.property, query.network, arithmetic=arithmetic)
    assert report.proved, report.reason


@pytest.mark.parametrize("seed", range(6))
def test_errors_of_constants_are_carried_as_far_as_they_go(seed):
    """In rational numbers, where every affine node is off by just what is said."""
    rng = np.random.default_rng(seed)
    builder = Builder((3,))
    x, weights = builder.input, [rng.standard_normal((5, 3)), rng.standard_normal((5, 5)), rng.standard_normal((2, 5))]
    for weight in weights[:-1]:
        x = builder.activation("relu", Tensor(builder.affine(x, DenseMap(weight), rng.standard_normal(5)), (5,)))
    network = builder.finish(Tensor(builder.affine(x, DenseMap(weights[-1])), (2,)), "errors")
    off = {i: 1e-3 * rng.random(node.size) for i, node in network.affine.items()}
    box = Box(np.full((1, 3), -1.0), np.full((1, 3), 1.0))
    allowed = carried_errors(network, box, off)[0]
    largest = np.zeros(2)
    for _ in range(40):
        start = [Fraction(float(value)) for value in rng.uniform(-1, 1, 3)]
        signs = {i: rng.choice([-1.0, 1.0], node.size) for i, node in network.affine.items()}
        plain, wrong = (exactly(network, start, {i: s * share * off[i] for i, s in signs.items()}) for share in (0, 1))
        for one, other, most in zip(plain, wrong, allowed, strict=True):
            assert abs(one - other) <= Fraction(float(most))
        largest = np.maximum(largest, [abs(float(a - b)) for a, b in zip(plain, wrong, strict=True)])
    assert (largest > 0.05 * allowed).all()


def exactly(network: av.Network, x: list[Fraction], added: dict[int, np.ndarray]) -> list[Fraction]:
    values = [x]
    for i, affine, k in network.steps:
        if affine is None:
            values.append([max(value, Fraction(0)) for value in values[network.sources[k]]])
            continue
        total = [
            Fraction(float(b)) + Fraction(float(e)) for b, e in zip(np.asarray(affine.bias), added[i], strict=True)
        ]
        for term in affine.terms:
            for row, weights in enumerate(np.asarray(term.map.dense().weight)):
                products = (Fraction(float(w)) * v for w, v in zip(weights, values[term.source], strict=True))
                total[row] += sum(products, Fraction(0))
        values.append(total)
    return values[-1]
