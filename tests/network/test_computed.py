"""Constants computed from constants, beside exact numbers and beside a runtime."""

from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.arrays import DOUBLE_ROUNDOFF, SINGLE_ROUNDOFF, gamma
from admm_verify.bounds.arithmetic import output_error
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.from_onnx import network_from_bytes
from tests.network.onnx_models import model, node, runtime

Exact = list[list[Fraction]]


def _exact(matrix: np.ndarray) -> Exact:
    return [[Fraction(float(entry)) for entry in row] for row in matrix]


def _product(first: Exact, second: Exact) -> Exact:
    columns = list(zip(*second, strict=True))
    return [[sum((a * b for a, b in zip(row, c, strict=True)), Fraction(0)) for c in columns] for row in first]


def _form(builder: Builder, root: np.ndarray, shift: float) -> Tensor:
    """root' root + shift I, computed from constants."""
    gram = builder.matmul(builder.lift(root.T), root)
    return builder.add(gram, shift * np.eye(root.shape[1]))


def _draw(seed: int) -> tuple[np.random.Generator, np.ndarray, float]:
    rng = np.random.default_rng(seed)
    size, scale = int(rng.integers(1, 6)), 10.0 ** rng.integers(-20, 16)
    root = (scale * rng.standard_normal((size, size))).astype(np.float32)
    # Columns that nearly cancel.
    root[:, -1] = root[:, 0] * np.float32(1 + 1e-6)
    return rng, root, float(np.float32(scale**2 * rng.choice([0.0, 1e-2, -1.0])))


@pytest.mark.parametrize("seed", range(40))
def test_computed_constants_are_near_what_they_are_in_any_arithmetic(seed: int) -> None:
    _, root, shift = _draw(seed)
    builder = Builder((2,))
    found = builder.computed(_form(builder, root, shift))
    assert found is not None
    exact = _product(_exact(root.T), _exact(root))
    for i in range(len(exact)):
        exact[i][i] += Fraction(shift)
    flat = [entry for row in exact for entry in row]
    single = (root.T @ root + np.float32(shift) * np.eye(len(root), dtype=np.float32)).reshape(-1)
    for numbers, roundoff in ((found.value, DOUBLE_ROUNDOFF), (single, SINGLE_ROUNDOFF)):
        share = Fraction(gamma(found.roundings, roundoff))
        for value, size, truth in zip(numbers, found.magnitude, flat, strict=True):
            assert abs(Fraction(float(value)) - truth) <= share * Fraction(float(size)) + Fraction(2) ** -120
    assert max(map(abs, flat)) <= Fraction(found.peak) * (1 + Fraction(gamma(found.roundings)))


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_products_with_computed_matrices_are_affine_and_bounded(seed: int, left: bool) -> None:
    rng, root, shift = _draw(seed)
    size = len(root)
    names = ["p", "x"] if left else ["x", "p"]
    nodes = [node("MatMul", ["r", "t"], ["g"]), node("Add", ["g", "e"], ["p"]), node("MatMul", names, ["y"])]
    eye = np.float32(shift) * np.eye(size, dtype=np.float32)
    shape = (size, 1) if left else (1, size)
    data = model(nodes, list(shape), {"r": root.T.copy(), "t": root, "e": eye})
    network = network_from_bytes(data, "form")
    assert not network.functions
    matrix = _product(_exact(root.T), _exact(root))
    for i in range(size):
        matrix[i][i] += Fraction(float(eye[i, i]))
    for x in rng.standard_normal((4, size)).astype(np.float32):
        values = _exact(x[None])
        truth = [row[0] for row in _product(matrix, _exact(x[:, None]))] if left else _product(values, matrix)[0]
        box = av.Box(x[None].astype(np.float64), x[None].astype(np.float64))
        ranges, bounds = av.output_bounds(network, box), av.preactivation_bounds(network, box)
        error = output_error(network, box, bounds, "float32")[0]
        theirs = np.ravel(np.asarray(runtime(data, x.reshape(shape))))
        ends = zip(np.ravel(np.asarray(ranges.lower)), np.ravel(np.asarray(ranges.upper)), strict=True)
        for (low, high), value, run, lost in zip(ends, truth, theirs, np.asarray(error), strict=True):
            assert Fraction(float(low)) <= value <= Fraction(float(high))
            assert np.isinf(lost) or abs(Fraction(float(run)) - value) <= Fraction(float(lost))


def test_rectified_and_multiplied_constants_leave_no_activation() -> None:
    builder = Builder((3,))
    constant = builder.matmul(builder.lift(np.array([[1.5, -2.0]])), np.array([[1.0, 1.0, 0.0], [0.1, 2.0, -1.0]]))
    factor = builder.activation("relu", constant)
    product = builder.product(builder.input, factor)
    network = builder.finish(builder.add(product, builder.product(factor, constant)), "constants")
    assert not network.functions
    value = np.maximum([1.3, -2.5, 2.0], 0.0)
    x = np.array([[1.0, 2.0, -3.0]])
    np.testing.assert_allclose(network(x)[0], x[0] * value + value * [1.3, -2.5, 2.0], rtol=1e-14)


def test_what_depends_on_the_input_is_no_constant() -> None:
    builder = Builder((2,))
    assert builder.computed(builder.input) is None
    assert builder.computed(builder.add(builder.lift(np.ones(2)), builder.input)) is None
    assert builder.computed(builder.activation("exp", builder.lift(np.ones(2)))) is None
