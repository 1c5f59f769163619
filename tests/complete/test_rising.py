"""Monotonicity: two inputs of one network by the signs of derivatives, beside exact values on grids."""

from fractions import Fraction
from itertools import product
from unittest.mock import patch

import numpy as np
import pytest

import admm_verify as av
from admm_verify.complete.rising import Slopes, rising_disjuncts
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.several import QueriedNetwork
from admm_verify.properties.vnnlib import parse_vnnlib
from admm_verify.run import Run
from tests.complete.networks import exact_output
from tests.pair_texts import bounded, declared
from tests.shared import SHARED

EQUAL = "(equal-to f) "
ACAS = SHARED / "data" / "vnncomp" / "acasxu" / "onnx"


def text(lower, upper, moving: dict[int, str], condition: str, outputs: int = 1) -> str:
    """X_g beside X_f in one box, above (">=") or below ("<=") it at some inputs and equal at the others."""
    size = len(lower)
    rows = [f"(assert ({moving.get(i, '==')} X_g[{i}] X_f[{i}]))\n" for i in range(size)]
    head = declared((size, size), (outputs, outputs), EQUAL)
    ends = bounded("X_f", lower, upper) + bounded("X_g", lower, upper)
    return head + ends + "".join(rows) + f"(assert {condition})"


def asked(network: av.Network, *arguments) -> av.Query:
    return av.Query.about_several("made", parse_vnnlib(text(*arguments)), [QueriedNetwork(network)] * 2)


def found(query: av.Query) -> list[int]:
    return rising_disjuncts(query.about_outputs(), Run.of(None, 20.0, None))


def drawn(seed: int, rising: bool = True) -> av.Network:
    """A network that rises with its first two inputs, by neurons that are never inactive at least; or any."""
    rng = np.random.default_rng([seed, 47])
    sizes = [3, *rng.integers(3, 8, 2), 1]
    weights = [rng.standard_normal((sizes[k + 1], sizes[k])) for k in range(3)]
    shifts = [0.5 * rng.standard_normal(size) for size in sizes[1:]]
    if rising:
        free = weights[0][:, 2].copy()
        weights = [np.abs(weight) for weight in weights]
        weights[0][:, 2] = free
        weights[0][0], shifts[0][0] = (1.0, 1.0, 0.0), 5.0
        weights[1][0], shifts[1][0] = np.eye(1, sizes[1])[0], 0.0
    return network_from_layers(weights, shifts)


UNIT = (-1, -1, -1), (1, 1, 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("moving", [{0: ">="}, {0: ">=", 1: ">="}, {1: "<="}], ids=str)
def test_rising_networks_rise(seed, moving):
    network = drawn(seed)
    falls, rises = ("(< Y_g[0] Y_f[0])", "(> Y_g[0] Y_f[0])")[:: -1 if "<=" in moving.values() else 1]
    query = asked(network, *UNIT, moving, falls)
    assert found(query) == [0]
    outcome = av.verify(query, timeout=60)
    assert outcome.verdict is av.Verdict.UNSAT and outcome.rows_lower.tolist() == [0.0]
    # Equality holds where both inputs meet.
    for other in (rises, falls.replace("<", "<=").replace(">", ">=")):
        query = asked(network, *UNIT, moving, other)
        assert found(query) == [] and av.verify(query, timeout=60).verdict is av.Verdict.SAT


@pytest.mark.parametrize("seed", range(12))
def test_what_is_said_to_rise_does(seed):
    rng = np.random.default_rng([seed, 53])
    network = drawn(seed, rising=False)
    centre, radius = rng.uniform(-1, 1, 3), rng.choice([0.02, 0.2, 1.0])
    lower, upper = (np.round(centre + sign * radius, 3) for sign in (-1, 1))
    for condition, sign in (("(< Y_g[0] Y_f[0])", 1), ("(> Y_g[0] Y_f[0])", -1)):
        with patch("admm_verify.complete.rising._PARTS", 500):
            rises = found(asked(network, lower.tolist(), upper.tolist(), {0: ">="}, condition))
        if rises:
            for _ in range(60):
                x = rng.uniform(lower, upper)
                other = x.copy()
                other[0] = rng.uniform(x[0], upper[0])
                change = exact_output(network, other)[0] - exact_output(network, x)[0]
                assert sign * change >= 0


def bent(slope: float) -> av.Network:
    """x - slope relu(x - 1/2), and twice a second input."""
    first, last = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, -slope, 2.0]])
    return network_from_layers([first, last], [np.array([1.0, -0.5, 1.0]), np.array([-3.0])])


@pytest.mark.parametrize(("slope", "rises"), [(1 - 2.0**-20, True), (1 + 2.0**-20, False), (3.0, False)])
def test_slopes_that_only_just_rise(slope, rises):
    query = asked(bent(slope), (0, 0), (1, 1), {0: ">="}, "(< Y_g[0] Y_f[0])")
    assert found(query) == ([0] if rises else [])
    verdict = av.verify(query, timeout=20).verdict
    assert verdict is av.Verdict.UNSAT if rises else verdict is not av.Verdict.UNSAT


@pytest.mark.parametrize(
    ("moving", "condition", "rises"),
    [
        ({0: ">=", 1: "<="}, "(< Y_g[0] Y_f[0])", False),
        ({1: "<="}, "(> Y_g[0] Y_f[0])", True),
        ({0: ">="}, "(< Y_g[0] (- Y_f[0] 0.01))", True),
        ({0: ">="}, "(<= Y_g[0] (- Y_f[0] 0.01))", True),
        ({0: ">="}, "(< Y_g[0] (+ Y_f[0] 0.01))", False),
        ({0: ">="}, "(< (* 2 Y_g[0]) (* 2 Y_f[0]))", True),
        ({0: ">="}, "(< (* 2 Y_g[0]) Y_f[0])", False),
        ({0: ">="}, "(or (< Y_g[0] Y_f[0]) (> Y_g[0] (+ 9 Y_f[0])))", True),
        ({0: ">="}, "(and (< Y_g[0] Y_f[0]) (> Y_g[0] 0.1))", True),
    ],
)
def test_which_constraints_are_told_by_signs(moving, condition, rises):
    assert found(asked(bent(0.5), (0, 0), (1, 1), moving, condition)) == ([0] if rises else [])


def test_other_questions_are_left_alone():
    network, other = bent(0.5), bent(0.25)
    strict = text((0, 0), (1, 1), {0: ">="}, "(< Y_g[0] Y_f[0])")
    pairs = {
        "two networks": (strict.replace(EQUAL, ""), [network, other]),
        "another input": (strict.replace("== X_g[1]", "== (* 0.5 X_g[1])"), [network, network]),
        "both signs": (strict.replace("(>= X_g[0] X_f[0])", "(>= X_g[0] (- X_f[0] 0.1))"), [network, network]),
    }
    for words, networks in pairs.values():
        query = av.Query.about_several("made", parse_vnnlib(words), [QueriedNetwork(one) for one in networks])
        assert found(query) == []


def test_many_moving_inputs_are_bounded_in_small_blocks():
    rng = np.random.default_rng(3)
    weights = [rng.uniform(0, 1, (40, 300)) / 300, rng.standard_normal((1, 40))]
    network = network_from_layers(weights, [np.full(40, -0.5), np.zeros(1)])
    moving = dict.fromkeys(range(300), ">=")
    query = asked(network, [0] * 300, [1] * 300, moving, "(< Y_g[0] Y_f[0])")
    held, width = list[int](), sum(node.size for node in network.nodes)

    def unknown(slopes: Slopes, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        held.append(len(lower) * len(slopes.directions) * width)
        return np.zeros(len(lower), dtype=bool)

    with (
        patch.object(Slopes, "_at", lambda _, points: np.zeros((len(points), 1))),
        patch.object(Slopes, "_certain", unknown),
    ):
        assert found(query) == []
    assert max(held) <= 2**22 and sum(held) <= 2**30


@pytest.mark.parametrize("numbers", [1, 300])
def test_signs_in_small_blocks(numbers):
    network = drawn(1)
    for moving, condition, rises in (
        ({0: ">=", 1: ">="}, "(< Y_g[0] Y_f[0])", [0]),
        ({0: ">=", 1: ">="}, "(> Y_g[0] Y_f[0])", []),
        ({0: ">=", 2: ">="}, "(< Y_g[0] Y_f[0])", []),
    ):
        query = asked(network, *UNIT, moving, condition)
        with patch("admm_verify.complete.rising._NUMBERS", numbers):
            assert found(query) == rises


QUERIES = [
    # network, moving input, output, sign of its change, centre, whether it holds nowhere
    ("1_1", 1, 2, "<", (-0.1, -0.25, 0.25), (0.227272727, 0.25), "unsat"),
    ("1_1", 1, 2, ">", (-0.1, -0.25, 0.25), (0.227272727, 0.25), "sat"),
    ("1_1", 1, 4, "<", (-0.1, -0.25, 0.25), (0.227272727, 0.25), "unsat"),
    ("1_1", 0, 0, "<", (0.62, 0.1, -0.2), (0.45, -0.45), "unsat"),
    ("1_1", 1, 0, ">", (0.62, 0.1, -0.2), (0.45, -0.45), "unsat"),
    ("1_1", 1, 4, ">", (0.62, 0.1, -0.2), (0.45, -0.45), "unsat"),
    ("4_2", 1, 1, "<", (-0.1, -0.25, 0.25), (0.227272727, 0.25), "unsat"),
    ("4_2", 1, 3, "<", (-0.1, -0.25, 0.25), (0.227272727, 0.25), "unsat"),
    ("4_2", 0, 0, "<", (-0.1, -0.25, 0.25), (0.227272727, 0.25), "sat"),
    ("3_3", 0, 3, "<", (-0.1, -0.25, 0.25), (0.227272727, 0.25), "sat"),
]


@pytest.mark.data
@pytest.mark.parametrize("which", range(len(QUERIES)))
def test_monotonicity_of_acas_networks(which, tmp_path):
    name, moving, output, sign, centre, fixed, answer = QUERIES[which]
    ends = [[round(value + way * 0.02, 9) for value in centre] + list(fixed) for way in (-1, 1)]
    words = text(*ends, {moving: "<="}, f"({sign} Y_f[{output}] Y_g[{output}])", outputs=5)
    (tmp_path / "q.vnnlib").write_text(words)
    model = ACAS / f"ACASXU_run2a_{name}_batch_2000.onnx.gz"
    query = av.read_query(tmp_path / "q.vnnlib", {"f": model})
    outcome = av.verify(query, timeout=100)
    assert outcome.verdict.value == answer
    network = query.networks[0].network
    steps = [np.linspace(low, high, 9) for low, high in zip(ends[0][:3], ends[1][:3], strict=True)]
    grid = np.array([[*point, *fixed] for point in product(*steps)])
    value = network(grid.reshape(-1, *network.input_shape))[:, output].reshape(9, 9, 9)
    # Along the moving input: y_f against y_g wherever x_f lies above x_g.
    along = np.moveaxis(value, moving, 0)
    apart = np.stack([along[i] - along[j] for i in range(9) for j in range(i)]) * (1 if sign == "<" else -1)
    if answer == "unsat":
        assert apart.min() >= 0
    elif outcome.exact_input is not None and outcome.output is not None:
        x, y = outcome.exact_input, [Fraction(float(part)) for part in outcome.output]
        assert query.accepts(x, y) and x[moving] >= x[5 + moving]
