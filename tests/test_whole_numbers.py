"""Models that cut inputs off to whole numbers: read, run and decided cell by cell."""

from decimal import Decimal
from fractions import Fraction
from operator import mul

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.points import at_points
from admm_verify.complete.enumeration import MOST_CELLS
from admm_verify.network.from_onnx import network_from_bytes
from admm_verify.network.whole import WholeNetwork
from tests.network.onnx_models import model, node, runtime, weights

TABLE = np.round(np.random.default_rng(3).standard_normal((7, 4)), 2).astype(np.float32)


def chosen() -> bytes:
    """y = w'relu(x_0..x_3 + t[trunc x_4]) + the length of a slice of two ones from trunc x_5 on."""
    nodes = [
        node("Slice", ["x", "zero", "four", "axis"], ["own"]),
        node("Gather", ["x", "at4"], ["fourth"], axis=0),
        node("Cast", ["fourth"], ["row"], to=7),
        node("Gather", ["table", "row"], ["found"], axis=0),
        node("Gather", ["x", "at5"], ["fifth"], axis=0),
        node("Cast", ["fifth"], ["column"], to=7),
        node("Unsqueeze", ["column", "axis"], ["start"]),
        node("Add", ["start", "one"], ["stop"]),
        node("Slice", ["mask", "start", "stop", "axis"], ["part"]),
        node("Shape", ["part"], ["length"]),
        node("Cast", ["length"], ["count"], to=1),
        node("Add", ["own", "found"], ["a"]),
        node("Relu", ["a"], ["h"]),
        node("MatMul", ["h", "w"], ["z"]),
        node("Add", ["z", "count"], ["y"]),
    ]
    integers = {"zero": [0], "four": [4], "axis": [0], "one": [1]}
    constants = {name: np.array(value, np.int64) for name, value in integers.items()}
    constants |= {"at4": np.array(4), "at5": np.array(5), "table": TABLE, "mask": np.ones(2, np.float32)}
    return model(nodes, [6], constants | {"w": weights(4, 1)}, opset=13, input_shape=[6])


def points(count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((count, 6)).astype(np.float32)
    x[:, 4], x[:, 5] = rng.uniform(-0.99, 6.99, count), rng.uniform(-0.99, 3, count)
    x[:8, 4] = [0, 1, 1.9999999, 2, 6, -0.5, np.nextafter(np.float32(3), 0), -0.0]
    return x


def test_they_compute_what_onnxruntime_does():
    data = chosen()
    network = network_from_bytes(data, "chosen")
    assert isinstance(network, WholeNetwork) and network.whole == (4, 5) and network.real == frozenset(range(4))
    for x in points(40):
        np.testing.assert_allclose(network(x), runtime(data, x), rtol=1e-6, atol=1e-6)


def test_nothing_else_bounds_them():
    network = network_from_bytes(chosen(), "chosen")
    box = av.Box(np.zeros(6), np.ones(6))
    for door in (
        lambda: av.preactivation_bounds(network, box),
        lambda: av.solve(av.Problem(network, box, np.ones((1, 1)))),
    ):
        with pytest.raises(av.InputError, match="whole numbers"):
            door()
    for number in (np.nan, np.inf):
        with pytest.raises(av.InputError, match="finite"):
            network(np.full(6, number, np.float32))
    with pytest.raises(av.InputError, match="no value of its operator Gather"):
        network(np.full(6, 9.0, np.float32))
    nodes = [node("Cast", ["x"], ["i"], to=3), node("Cast", ["i"], ["f"], to=1), node("Add", ["x", "f"], ["y"])]
    narrow = network_from_bytes(model(nodes, [1], input_shape=[1]), "narrow")
    assert narrow(np.float32([-2.5])) == -4.5
    with pytest.raises(av.InputError, match="do not all fit int8"):
        narrow(np.float32([200.0]))


def least(network: WholeNetwork, x: np.ndarray, rows: range, columns: range) -> float:
    grid = [[*x[:4], row, column] for row in rows for column in columns]
    return float(network(np.float32(grid)).min())


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
@pytest.mark.parametrize("seed", range(4))
def test_fixed_inputs_are_decided_by_going_through_all_cells(seed, arithmetic):
    """Up to the least value of all cells nothing is there, above it something is, which onnxruntime confirms."""
    rng, data = np.random.default_rng(seed), chosen()
    network = network_from_bytes(data, "chosen")
    x = np.round(rng.standard_normal(6), 2)
    low, high = np.append(x[:4], [0.5, -0.5]), np.append(x[:4], [5.0, 2.5])
    value = least(network, x, range(6), range(3))
    lines = " and ".join(f"x{i} >= {a} and x{i} <= {b}" for i, (a, b) in enumerate(zip(low, high, strict=True)))
    for level, verdict in ((value - 1e-3, av.Verdict.UNSAT), (value + 1e-3, av.Verdict.SAT)):
        query = av.query(av_model(data), None, f"{lines} and y0 <= {level:.6f}")
        found = av.verify(query, settings=av.VerifySettings(arithmetic=arithmetic))
        assert found.verdict is verdict
        if verdict is av.Verdict.SAT:
            assert query.accepts(found.exact_input, [Fraction(float(found.output[0]))])
            assert runtime(data, found.counterexample)[0] <= level
        else:
            assert 0 < found.rows_lower[0] <= 1.001e-3 and found.subproblems == 6 * 3


def test_open_ends_leave_out_whole_numbers():
    data = chosen()
    network = network_from_bytes(data, "chosen")
    draws = np.random.default_rng(5).integers(-8, 9, (50, 4)) / 8
    cases = [
        (*(least(network, x, range(k - 1, end), range(1)) for end in (k, k + 1)), k, x)
        for x in draws
        for k in range(1, 7)
    ]
    inner, outer, k, x = max(cases, key=lambda case: case[0] - case[1])
    assert inner > outer + 1e-3
    fixed = " and ".join(f"x{i} == {value}" for i, value in enumerate(x)) + f" and x5 == 0.5 and x4 >= {k - 1}"
    for end, verdict in ((f"x4 < {k}", av.Verdict.UNSAT), (f"x4 <= {k}", av.Verdict.SAT)):
        query = av.query(av_model(data), None, f"{fixed} and {end} and y0 <= {0.5 * (inner + outer):.6f}")
        assert av.verify(query).verdict is verdict


@pytest.mark.parametrize("level", [0.02, -0.02])
def test_free_inputs_are_bounded_in_every_cell(level):
    data = chosen()
    network = network_from_bytes(data, "chosen")
    rng = np.random.default_rng(0)
    grid = np.concatenate([rng.uniform(-0.2, 0.2, (20000, 4)), rng.uniform([1, 0], [4, 2], (20000, 2))], axis=1)
    value = float(network(np.float32(grid)).min())
    sides = " and ".join(f"x{i} >= -0.2 and x{i} <= 0.2" for i in range(4))
    query = av.query(
        av_model(data), None, f"{sides} and x4 >= 1 and x4 < 4 and x5 >= 0 and x5 < 2 and y0 <= {value + level}"
    )
    found = av.verify(query, timeout=20)
    assert found.verdict is (av.Verdict.SAT if level > 0 else found.verdict)
    if level < 0:
        # Between the samples something lower may lie; a verdict is checked against it.
        assert found.verdict is av.Verdict.UNSAT or query.accepts(found.exact_input, [Fraction(float(found.output[0]))])


def test_what_whole_numbers_choose_of_other_inputs_is_refused():
    nodes = [
        node("Gather", ["x", "at"], ["k"], axis=0),
        node("Cast", ["k"], ["i"], to=7),
        node("Gather", ["x", "i"], ["y"], axis=0),
    ]
    data = model(nodes, [4], {"at": np.array(3)}, input_shape=[4])
    with pytest.raises(av.UnsupportedOperatorError, match="to choose entries of values that other inputs decide"):
        network_from_bytes(data, "chosen")


def test_constants_between_inputs_are_no_inputs():
    """Beside a cast of them, entries that are constants were once taken as those inputs whose positions they spell."""
    cast = [node("Cast", ["c"], ["i"], to=7), node("Cast", ["i"], ["f"], to=1), node("MatMul", ["f", "w"], ["y"])]
    constants = {"k": np.float32([1]), "w": np.float32([[1], [10], [100]]), "pads": np.array([0, 1])}
    for first in (node("Concat", ["x", "k"], ["c"], axis=0), node("Pad", ["x", "pads"], ["c"])):
        with pytest.raises(av.UnsupportedOperatorError, match="Cast"):
            network_from_bytes(model([first, *cast], [2], constants, input_shape=[2]), "mixed")


def test_fixed_inputs_beside_what_others_decide():
    nodes = [
        node("Gather", ["x", "first"], ["a"], axis=0),
        node("Cast", ["a"], ["i"], to=7),
        node("Cast", ["i"], ["f"], to=1),
        node("Concat", ["f", "x"], ["c"], axis=0),
        node("MatMul", ["c", "w"], ["y"]),
    ]
    data = model(nodes, [1], {"first": np.array([0]), "w": np.float32([[1], [10]])}, input_shape=[1])
    query = av.query(av_model(data), None, "x0 == -0.5 and y0 >= -5.1 and y0 <= -4.9")
    assert query.network(np.float32([-0.5])) == runtime(data, np.float32([-0.5])) == -5.0
    assert av.verify(query).verdict is av.Verdict.SAT


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("number,factor", [(0.1, 0.1), (0.3, 0.7), (0.9, 0.3), (1.1, 0.7)])
def test_numbers_that_a_query_fixes_are_not_rounded(number, factor, whole):
    """Between a product and what it is in float32 lies a level; real arithmetic is asked about."""
    nodes = [
        node("Gather", ["x", "first"], ["a"], axis=0),
        node("Gather", ["x", "second"], ["b"], axis=0),
        node("Mul", ["a", "factor"], ["c"]),
        *(
            [node("Cast", ["b"], ["i"], to=7), node("Cast", ["i"], ["f"], to=1), node("Add", ["c", "f"], ["y"])]
            if whole
            else [node("Mul", ["c", "b"], ["d"]), node("Mul", ["a", "d"], ["y"])]
        ),
    ]
    constants = {"first": np.array([0]), "second": np.array([1]), "factor": np.float32([factor])}
    data = model(nodes, [2], constants, input_shape=[2])
    a, k = np.float32(number), np.float32(factor)
    more = Fraction(1) if whole else Fraction(float(a))
    exact, rounded = Fraction(float(a)) * Fraction(float(k)) * more, Fraction(float(a * k)) * more
    fixed = f"x0 == {Decimal(float(a))} and " + ("x1 >= 0.1 and x1 <= 0.5" if whole else "x1 == 1")
    level = (exact + rounded) / 2
    for sign, holds in (("<=", exact <= level), (">=", exact >= level)):
        query = av.query(
            av_model(data), None, f"{fixed} and y0 {sign} {Decimal(level.numerator) / level.denominator:.20f}"
        )
        assert av.verify(query, timeout=5).verdict in (
            (av.Verdict.SAT, av.Verdict.UNKNOWN) if holds else (av.Verdict.UNSAT,)
        )


def test_too_many_cells_and_certificates_are_refused():
    query = av.query(
        av_model(chosen()), av.Box(np.zeros(6), np.append(np.zeros(4), [6.0, 2.0 * MOST_CELLS])), "y0 <= 0"
    )
    with pytest.raises(av.UnsupportedQueryError, match="combinations of whole numbers"):
        av.verify(query)
    with pytest.raises(av.InputError, match="no certificate"):
        av.verify(query, settings=av.VerifySettings(certificate=True))


def av_model(data: bytes):
    from onnx import load_from_string

    return load_from_string(data)


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_values_at_points_are_within_their_errors(arithmetic):
    """Against float32 and rational arithmetic; the error is that of a few roundings."""
    data = chosen()
    rest = network_from_bytes(data, "chosen").parts[0]
    rng = np.random.default_rng(2)
    x = np.round(rng.standard_normal((30, rest.input_size)), 3)
    off = 2.0**-22 * np.abs(x).max(axis=0)
    found = at_points(rest, x, off, arithmetic)
    assert (found.error < 1e-4).all()
    if arithmetic == "float32":
        single = rest(np.float32(x)).astype(np.float64)
        assert (np.abs(single - found.value) <= found.error).all()
    moved = x + rng.uniform(-1, 1, x.shape) * off
    assert (np.abs(rest(moved) - found.value) <= found.error + 1e-14).all()


def test_sweeps_are_finer_and_hold_the_same_values():
    """Deep networks, whose errors grow by absolute sums: against 40 digits."""
    rng, size = np.random.default_rng(4), 40
    nodes, constants, last = [], {}, "x"
    for layer in range(12):
        constants[f"w{layer}"] = np.round(rng.standard_normal((size, size)) / 4, 3).astype(np.float32)
        nodes += [node("MatMul", [last, f"w{layer}"], [f"a{layer}"]), node("Relu", [f"a{layer}"], [f"h{layer}"])]
        last = f"h{layer}"
    nodes.append(node("MatMul", [last, "v"], ["y"]))
    constants["v"] = np.round(rng.standard_normal((size, 2)), 3).astype(np.float32)
    network = network_from_bytes(model(nodes, [size], constants, input_shape=[size]), "deep")
    x, off = np.round(rng.standard_normal((3, size)), 3), np.full(size, 1e-9)
    plain, swept = (at_points(network, x, off, "real", sweeps=sweeps) for sweeps in (False, True))
    assert (swept.error < 0.1 * plain.error).all() and (plain.error < np.inf).all()
    for moved in (x, x + off, x - off, x + rng.choice([-1, 1], x.shape) * off):
        exact = [[Fraction(float(value)) for value in row] for row in moved]
        for layer in range(12):
            weight = [[Fraction(float(value)) for value in row] for row in constants[f"w{layer}"].T]
            exact = [[max(Fraction(0), sum(map(mul, row, column))) for column in weight] for row in exact]
            exact = [[round_to(value) for value in row] for row in exact]
        columns = [[Fraction(float(value)) for value in column] for column in constants["v"].T]
        for row, values in enumerate(exact):
            for i, column in enumerate(columns):
                true = sum(map(mul, values, column))
                for found in (plain, swept):
                    gap = abs(true - Fraction(float(found.value[row, i])))
                    assert gap <= Fraction(float(found.error[row, i])) + Fraction(1, 10**25)


def round_to(value: Fraction) -> Fraction:
    """A number of 40 digits behind the point."""
    return Fraction(round(value * 10**40), 10**40)


def scaled(floor: bool):
    """y = 0.7 trunc x, cut off once more where wanted, for x in [3, 3.5], or x in [10, 10.5]."""
    nodes = [
        node("Cast", ["x"], ["i"], to=7),
        node("Cast", ["i"], ["f"], to=1),
        node("Mul", ["f", "c"], ["m"]),
        *(
            [node("Cast", ["m"], ["k"], to=7), node("Cast", ["k"], ["y"], to=1)]
            if floor
            else [node("Neg", ["m"], ["y"])]
        ),
    ]
    return av_model(model(nodes, [1], {"c": np.full(1, 0.7, np.float32)}, input_shape=[1]))


def test_products_of_whole_numbers_are_exact_in_real_arithmetic():
    """3 times the float32 near 0.7 is another number than its product in float32, on whose side nothing is."""
    exact, rounded = 3 * Fraction(float(np.float32(0.7))), Fraction(float(np.float32(3) * np.float32(0.7)))
    assert exact != rounded
    middle = Decimal((exact + rounded).numerator) / Decimal(2 * (exact + rounded).denominator)
    beyond = f"y0 {'<=' if rounded > exact else '>='} -{middle}"
    query = av.query(scaled(False), None, f"x0 >= 3 and x0 <= 3.5 and {beyond}")
    assert av.verify(query).verdict is av.Verdict.UNSAT
    assert av.verify(query, settings=av.VerifySettings(arithmetic="float32")).verdict is av.Verdict.SAT


def test_what_rounded_numbers_decide_is_not_told_in_real_arithmetic():
    """10 times the float32 near 0.7 is less than 7, and 7 in float32."""
    query = av.query(scaled(True), None, "x0 >= 10 and x0 <= 10.5 and y0 <= 6.5")
    with pytest.raises(av.UnsupportedQueryError, match="--arithmetic float32"):
        av.verify(query)
    assert av.verify(query, settings=av.VerifySettings(arithmetic="float32")).verdict is av.Verdict.UNSAT
    # That the rounded number and the exact one are cut off alike is not looked at.
    with pytest.raises(av.UnsupportedQueryError, match="real arithmetic"):
        av.verify(av.query(scaled(True), None, "x0 >= 3 and x0 <= 3.5 and y0 <= 1.5"))


def test_cells_keep_no_checkpoint(tmp_path):
    query = av.query(scaled(False), None, "x0 >= 3 and x0 <= 3.5 and y0 >= 0")
    with pytest.raises(av.InputError, match="keep no checkpoint"):
        av.verify(query, settings=av.VerifySettings(checkpoint=tmp_path / "state"))
    assert not (tmp_path / "state").exists()
