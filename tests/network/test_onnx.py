"""The ONNX reader against onnxruntime, operator by operator and on real models."""

import gzip

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from admm_verify.network.onnx_files import read_model
from admm_verify.network.whole import WholeNetwork
from tests.network.onnx_models import RNG, assert_agrees, model, node, runtime, weights
from tests.random_networks import relaxed
from tests.shared import SHARED, needs_shared

INT = np.int64
CASES = {
    "gemm": ([node("Gemm", ["x", "w", "b"], ["y"])], (1, 4), {"w": weights(4, 3), "b": weights(3)}, 13),
    "gemm alpha beta trans": (
        [node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=2.0, transB=1)],
        (1, 4),
        {"w": weights(3, 4), "b": weights(1, 3)},
        9,
    ),
    "gemm transA": ([node("Gemm", ["x", "w"], ["y"], transA=1)], (4, 1), {"w": weights(4, 3)}, 11),
    "gemm constant left": ([node("Gemm", ["w", "x"], ["y"])], (4, 2), {"w": weights(3, 4)}, 13),
    "matmul": ([node("MatMul", ["x", "w"], ["y"])], (1, 5), {"w": weights(5, 2)}, 8),
    "matmul vector": ([node("MatMul", ["x", "w"], ["y"])], (5,), {"w": weights(5, 2)}, 14),
    "matmul rows": ([node("MatMul", ["x", "w"], ["y"])], (1, 3, 4), {"w": weights(4, 2)}, 13),
    "matmul left": ([node("MatMul", ["w", "x"], ["y"])], (3, 4), {"w": weights(2, 3)}, 13),
    "add constant": ([node("Add", ["x", "c"], ["y"])], (1, 3, 4), {"c": weights(4)}, 13),
    "constant minus x": ([node("Sub", ["c", "x"], ["y"])], (1, 4), {"c": weights(1, 4)}, 13),
    "mul": ([node("Mul", ["c", "x"], ["y"])], (1, 3, 4), {"c": weights(3, 1)}, 13),
    "div": ([node("Div", ["x", "c"], ["y"])], (1, 4), {"c": np.float32([0.5, 3.0, -7.0, 0.1])}, 13),
    "broadcast x": ([node("Add", ["x", "c"], ["y"])], (1, 4), {"c": weights(3, 4)}, 13),
    "sum": ([node("Sum", ["x", "c", "x", "c"], ["y"])], (1, 4), {"c": weights(1, 4)}, 13),
    "mean": ([node("Mean", ["x", "c", "x"], ["y"])], (1, 4), {"c": weights(3, 4)}, 13),
    "square": ([node("Pow", ["x", "c"], ["y"])], (1, 4), {"c": np.float32([2.0])}, 13),
    "cube": ([node("Pow", ["x", "c"], ["y"])], (1, 4), {"c": np.int64([3])}, 13),
    "exp": ([node("Exp", ["x"], ["y"])], (1, 4), {}, 13),
    "log of exp": ([node("Exp", ["x"], ["z"]), node("Log", ["z"], ["y"])], (1, 4), {}, 13),
    "root": ([node("Exp", ["x"], ["z"]), node("Sqrt", ["z"], ["y"])], (1, 4), {}, 13),
    "reciprocal": ([node("Exp", ["x"], ["z"]), node("Reciprocal", ["z"], ["y"])], (1, 4), {}, 13),
    "powers": ([node("Exp", ["x"], ["z"]), node("Pow", ["z", "c"], ["y"])], (1, 4), {"c": weights(2, 4)}, 13),
    "power one": ([node("Pow", ["x", "c"], ["y"])], (1, 4), {"c": np.float32([1.0])}, 13),
    "cast": ([node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE), node("Cast", ["d"], ["y"], to=1)], (1, 4), {}, 13),
    "neg relu": ([node("Neg", ["x"], ["n"]), node("Relu", ["n"], ["y"])], (1, 6), {}, 13),
    "residual": (
        [node("Relu", ["x"], ["r"]), node("MatMul", ["r", "w"], ["m"]), node("Sub", ["m", "x"], ["y"])],
        (1, 4),
        {"w": weights(4, 4)},
        13,
    ),
    "flatten axis 0": ([node("Flatten", ["x"], ["y"], axis=0)], (2, 3), {}, 13),
    "flatten negative": ([node("Flatten", ["x"], ["y"], axis=-1)], (1, 2, 3), {}, 13),
    "reshape": ([node("Reshape", ["x", "s"], ["y"])], (1, 2, 6), {"s": INT([0, -1, 3])}, 13),
    "reshape allowzero": ([node("Reshape", ["x", "s"], ["y"], allowzero=1)], (1, 6), {"s": INT([2, 3])}, 14),
    "transpose": ([node("Transpose", ["x"], ["y"], perm=[0, 2, 1])], (1, 2, 3), {}, 13),
    "transpose default": ([node("Transpose", ["x"], ["y"])], (2, 3), {}, 13),
    "identity dropout": ([node("Identity", ["x"], ["i"]), node("Dropout", ["i"], ["y"])], (1, 3), {}, 12),
    "dropout old": ([node("Dropout", ["x"], ["y"], ratio=0.3)], (1, 3), {}, 8),
    "concat": ([node("Concat", ["x", "c", "x"], ["y"], axis=1)], (1, 3), {"c": weights(1, 2)}, 13),
    "concat middle": ([node("Relu", ["x"], ["r"]), node("Concat", ["x", "r"], ["y"], axis=-1)], (1, 2, 3), {}, 13),
    "slice attributes": ([node("Slice", ["x"], ["y"], starts=[1], ends=[3], axes=[1])], (1, 5), {}, 9),
    "slice": (
        [node("Slice", ["x", "a", "b", "c", "d"], ["y"])],
        (1, 7),
        {"a": INT([-1]), "b": INT([-100]), "c": INT([1]), "d": INT([-2])},
        13,
    ),
    "slice plain": ([node("Slice", ["x", "a", "b"], ["y"])], (1, 7), {"a": INT([0, 2]), "b": INT([1, 1000])}, 13),
    "split attribute": (
        [node("Split", ["x"], ["p", "q"], axis=1, split=[2, 3]), node("Concat", ["q", "p"], ["y"], axis=1)],
        (1, 5),
        {},
        11,
    ),
    "split input": (
        [node("Split", ["x", "s"], ["p", "q"], axis=1), node("Concat", ["q", "p"], ["y"], axis=1)],
        (1, 5),
        {"s": INT([1, 4])},
        13,
    ),
    "split even": ([node("Split", ["x"], ["p", "q"], axis=1), node("Sub", ["p", "q"], ["y"])], (1, 6), {}, 11),
    "split num_outputs": (
        [node("Split", ["x"], ["p", "q"], axis=1, num_outputs=2), node("Concat", ["q", "p"], ["y"], axis=1)],
        (1, 5),
        {},
        18,
    ),
    "squeeze": ([node("Squeeze", ["x", "a"], ["y"])], (1, 1, 4), {"a": INT([1])}, 13),
    "squeeze attribute": ([node("Squeeze", ["x"], ["y"], axes=[0])], (1, 4), {}, 11),
    "unsqueeze": ([node("Unsqueeze", ["x", "a"], ["y"])], (1, 4), {"a": INT([1, -1])}, 13),
    "constant folding": (
        [
            node("Shape", ["x"], ["s"]),
            node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32([1.5, 2.5]))),
            node("Mul", ["c", "c"], ["cc"]),
            node("Reshape", ["x", "s"], ["r"]),
            node("Add", ["r", "cc"], ["y"]),
        ],
        (1, 2),
        {},
        13,
    ),
    "opset 21": ([node("Gemm", ["x", "w"], ["g"]), node("Relu", ["g"], ["y"])], (1, 4), {"w": weights(4, 3)}, 21),
}


@pytest.mark.parametrize("name", CASES)
def test_operator_agrees_with_onnxruntime(name):
    nodes, shape, constants, opset = CASES[name]
    assert_agrees(model(nodes, shape, constants, opset), shape)


def test_symbolic_batch_counts_as_one_sample():
    nodes = [node("Gemm", ["x", "w"], ["y"])]
    data = model(nodes, (1, 4), {"w": weights(4, 3)}, input_shape=("batch", 4))
    assert_agrees(data, (1, 4))
    assert network_from_bytes(data, "f").input_shape == (4,)


def test_float64_models_are_read():
    data = model([node("MatMul", ["x", "w"], ["y"])], (1, 3), {"w": np.eye(3)}, element=TensorProto.DOUBLE)
    assert network_from_bytes(data, "f").element_type == "float64"


REFUSED = {
    "power": ([node("Pow", ["c", "x"], ["y"])], {"c": np.float32([-2.0])}, 13, ["Pow", "not positive"]),
    "unknown operator": ([node("Det", ["x"], ["y"], name="soft")], {}, 13, ["Det", "node soft", "opset 13"]),
    "quotient by zero": ([node("Div", ["x", "c"], ["y"])], {"c": np.float32([0.0])}, 13, ["Div", "divisor"]),
    "old opset": ([node("Relu", ["x"], ["y"])], {}, 6, ["opset 6", "7 to 26"]),
    "other domain": ([node("Relu", ["x"], ["y"], domain="my.ops")], {}, 13, ["Relu"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_use_is_named(name):
    nodes, constants, opset, words = REFUSED[name]
    with pytest.raises(av.UnsupportedOperatorError) as caught:
        network_from_bytes(model(nodes, (1, 4), constants, opset), "f.onnx")
    assert all(word in str(caught.value) for word in words)


def test_infinite_weight_is_named():
    data = model([node("Add", ["x", "shift"], ["y"])], (1, 2), {"shift": np.float32([1.0, np.inf])})
    with pytest.raises(av.ModelError, match="shift"):
        network_from_bytes(data, "f.onnx")


def test_two_inputs_are_refused():
    sources = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2)) for name in ("x", "z")]
    graph = helper.make_graph(
        [node("Add", ["x", "z"], ["y"])], "two", sources, [helper.make_empty_tensor_value_info("y")]
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    with pytest.raises(av.ModelError, match="2 inputs"):
        network_from_bytes(data, "f.onnx")


def test_bytes_that_are_no_model():
    for data in (b"hello world, this is text", b"\x00" * 40, onnx.ModelProto().SerializeToString() + b"\x08\x07"):
        with pytest.raises(av.AdmmVerifyError):
            network_from_bytes(data, "f.onnx")


def test_gzip_is_found_by_content(tmp_path):
    data = model([node("Relu", ["x"], ["y"])], (1, 2))
    path = tmp_path / "plain-name.onnx"
    path.write_bytes(gzip.compress(data))
    assert read_model(path).data == data
    assert av.read_onnx(path).input_shape == (2,)


def shared_models():
    return sorted((SHARED / "data").rglob("*.onnx*"))


@pytest.mark.data
@needs_shared
def test_all_shared_models_are_there():
    assert len(shared_models()) == 107


@pytest.mark.data
@needs_shared
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=f"{path.parts[-3]}-{path.name.split('.onnx')[0]}") for path in shared_models()],
)
def test_shared_model_agrees_with_onnxruntime(path):
    data = read_model(path).data
    network = network_from_bytes(data, path.name)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in source.shape]
    inputs = [RNG.random(shape).astype(np.float32) for _ in range(100)]
    expected = np.array([session.run(None, {source.name: x})[0].reshape(-1) for x in inputs])
    together = np.concatenate([x.reshape(1, -1) for x in inputs])
    # What float32 loses by itself, onnxruntime may lose, too.
    wide = network(together.astype(np.float64))
    slack = 1e-5 * np.abs(expected).max() + 4.0 * np.abs(network(together) - wide).max()
    others = [] if isinstance(network, WholeNetwork) else [relaxed(network)(together.astype(np.float64))]
    for found in (wide, *others):
        assert np.abs(found.reshape(100, -1) - expected).max() <= slack


@pytest.mark.parametrize("opset", [22, 23, 24, 25])
def test_newer_opsets_mean_the_same(opset):
    # What they change of these operators is which types they take.
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Elu", ["c"], ["e"]),
        node("Cast", ["e"], ["f"], to=TensorProto.FLOAT),
        node("Pad", ["f", "pads"], ["p"]),
        node("MaxPool", ["p"], ["m"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("AveragePool", ["m"], ["a"], kernel_shape=[2, 2]),
        node("Flatten", ["a"], ["y"]),
    ]
    constants = {"w": weights(3, 2, 3, 3), "pads": np.array([0, 0, 0, 1, 0, 0, 1, 0])}
    old, new = (network_from_bytes(model(nodes, (1, 2, 4, 4), constants, n), "f.onnx") for n in (21, opset))
    x = weights(1, 2, 4, 4)
    assert np.array_equal(old(x), new(x))
    assert np.allclose(old(x), runtime(model(nodes, (1, 2, 4, 4), constants, 21), x), rtol=1e-5, atol=1e-6)
