"""Quantised models: weights that fold and values that are steps, beside onnxruntime on models of its own quantiser."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from admm_verify.network.onnx_folding import is_rounded
from admm_verify.network.onnx_runtime import runtime_output
from tests.network.onnx_models import model, node

quantization = pytest.importorskip(
    "onnxruntime.quantization", reason="its tools need ml_dtypes, which older onnx does not bring"
)

DENSE, IMAGE = (1, 6), (1, 2, 5, 5)


class Samples(quantization.CalibrationDataReader):
    """What ranges of values are measured on."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        self.left = iter([{"x": rng.uniform(-1, 1, shape).astype(np.float32)} for _ in range(20)])

    def get_next(self):
        return next(self.left, None)


def plain(shape: tuple[int, ...]) -> onnx.ModelProto:
    """Two layers, dense ones or a convolution first, in float32."""
    rng = np.random.default_rng(1)
    numbers = {"b": rng.standard_normal(8), "v": rng.standard_normal((3, 8 if shape == DENSE else 32)), "c": np.ones(3)}
    if shape == DENSE:
        first = [node("Gemm", ["x", "w", "b"], ["n"], transB=1), node("Relu", ["n"], ["a"])]
        numbers["w"] = rng.standard_normal((8, 6)) / 2
    else:
        first = [node("Conv", ["x", "w", "b"], ["n"], strides=[2, 2]), node("Relu", ["n"], ["r"])]
        first.append(node("Flatten", ["r"], ["a"]))
        numbers["w"] = rng.standard_normal((8, 2, 3, 3)) / 3
    graph = helper.make_graph(
        [*first, node("Gemm", ["a", "v", "c"], ["y"], transB=1)],
        "plain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.float32(value), name) for name, value in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def quantised(
    tmp_path, shape, per_channel=False, activations=quantization.QuantType.QUInt8, weights=quantization.QuantType.QInt8
) -> bytes:
    """The same in the QDQ format, by onnxruntime's quantiser."""
    source, target = tmp_path / "plain.onnx", tmp_path / "quantised.onnx"
    onnx.save(plain(shape), source)
    logging.disable(logging.WARNING)
    quantization.quantize_static(
        source,
        target,
        Samples(shape),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=activations,
        weight_type=weights,
    )
    logging.disable(logging.NOTSET)
    return target.read_bytes()


def session(data: bytes, *settings: str) -> onnxruntime.InferenceSession:
    """A session that takes one operator after the other, unless settings say otherwise."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name in settings:
        options.add_session_config_entry(name, "1")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


PLAINLY = ("session.disable_quant_qdq",)
CASES = {
    "dense": (DENSE, {}),
    "dense, channels": (DENSE, {"per_channel": True}),
    "dense, signed": (DENSE, {"activations": quantization.QuantType.QInt8}),
    "dense, unsigned": (DENSE, {"weights": quantization.QuantType.QUInt8}),
    "image": (IMAGE, {}),
    "image, channels": (IMAGE, {"per_channel": True, "activations": quantization.QuantType.QInt8}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_quantised_models_are_read_as_they_run(case, tmp_path) -> None:
    """Operator by operator they agree but where rounding takes a sum over a step, and merged ones are close."""
    shape, options = CASES[case]
    data = quantised(tmp_path, shape, **options)
    network = network_from_bytes(data, case)
    assert any(node.kind == "round" for node in network.functions)
    x = np.random.default_rng(2).uniform(-1, 1, (120, *shape[1:])).astype(np.float32)
    one_by_one, merged = session(data, *PLAINLY), session(data)
    theirs, fused = (
        np.concatenate([runs.run(None, {"x": point[None]})[0] for point in x]) for runs in (one_by_one, merged)
    )
    ours = np.asarray(network(x))
    off = np.abs(ours - theirs).max(axis=1)
    assert np.mean(off < 1e-5) > 0.97 and off.max() < 0.1
    assert np.ptp(theirs, axis=0).min() > 0.2
    centre, radius = x[0], 0.02
    ranges = av.output_bounds(network, av.Box.around(centre, radius))
    near = np.clip(
        centre + np.random.default_rng(3).uniform(-radius, radius, x.shape), centre - radius, centre + radius
    )
    values = np.asarray(network(near.astype(np.float64)))
    assert (ranges.lower <= values.min(axis=0)).all() and (values.max(axis=0) <= ranges.upper).all()
    assert np.abs(fused - theirs).max() < 0.1


@pytest.mark.filterwarnings("ignore")
def test_verdicts_are_those_of_all_steps(tmp_path) -> None:
    """On one axis every value of the network is known: the steps' middles."""
    data = quantised(tmp_path, DENSE)
    network = network_from_bytes(data, "steps")
    point = np.random.default_rng(4).uniform(-0.5, 0.5, 6)
    lower, upper = point.copy(), point.copy()
    lower[0], upper[0] = -0.2, 0.2
    line = np.repeat(point[None], 20001, axis=0)
    line[:, 0] = np.linspace(-0.2, 0.2, 20001)
    values, runs = np.asarray(network(line))[:, 1], session(data)
    for limit, verdict in ((values.max() - 1e-6, av.Verdict.SAT), (values.max() + 1e-6, av.Verdict.UNSAT)):
        found = av.verify(av.query(network, av.Box(lower, upper), f"y1 >= {limit:.12f}"), timeout=60)
        assert found.verdict is verdict
    single = av.verify(
        av.query(network, av.Box(lower, upper), f"y1 >= {values.max() + 0.1:.12f}"),
        settings=av.VerifySettings(arithmetic="float32"),
        timeout=60,
    )
    theirs = [runs.run(None, {"x": np.float32(x[None])})[0][0, 1] for x in line[::20]]
    assert single.verdict is av.Verdict.UNSAT and max(theirs) < values.max() + 0.1


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_weights_of_8_bits_fold(kind, axis) -> None:
    """onnxruntime merges them with the product, unless told otherwise, and rounds the other factor to 8 bits then; what
    is replayed is told.
    """
    rng = np.random.default_rng(5)
    whole = rng.integers(-100 if kind is np.int8 else 0, 100, (40, 30)).astype(kind)
    sizes = () if axis is None else (whole.shape[axis],)
    scale = np.float32(0.01 * (1 + rng.random(sizes)))
    zero = rng.integers(0, 50, sizes).astype(kind)
    attributes = {} if axis is None else {"axis": axis}
    nodes = [node("DequantizeLinear", ["q", "s", "z"], ["w"], **attributes), node("MatMul", ["x", "w"], ["y"])]
    data = model(nodes, [1, 40], {"q": whole, "s": scale, "z": zero})
    network = network_from_bytes(data, "weights")
    x = rng.standard_normal((1, 40)).astype(np.float32)
    spread = (slice(None), None) if axis == 0 else ...
    weight = (whole.astype(np.float32) - zero[spread].astype(np.float32)) * scale[spread]
    (term,) = network.nodes[-1].terms
    np.testing.assert_array_equal(term.map.dense().weight, weight.T)
    replayed = runtime_output(data, x.reshape(-1))
    np.testing.assert_allclose(replayed, np.asarray(network(x.astype(np.float64)))[0], atol=2e-5)
    assert not network.functions


def test_weights_in_blocks_fold() -> None:
    whole = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
    scale = np.float32([[0.5, 1, 2], [4, 8, 0.25]])
    nodes = [node("DequantizeLinear", ["q", "s"], ["w"], axis=0, block_size=3), node("MatMul", ["x", "w"], ["y"])]
    network = network_from_bytes(model(nodes, [1, 4], {"q": whole, "s": scale}, opset=21), "blocks")
    expected = whole * np.repeat(scale, [3, 1], axis=0)
    np.testing.assert_array_equal(np.asarray(network(np.eye(4))), expected)


@pytest.mark.parametrize("bits, zero", [(np.uint8, 0), (np.uint8, 128), (np.int8, -3), (np.int16, 5), (np.uint16, 9)])
def test_a_quantised_value_is_a_step_of_its_own(bits, zero) -> None:
    """Ties go to the even number before the zero point is added, and what is too large saturates."""
    limits = np.iinfo(bits)
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    constants = {"s": np.float32(0.5), "z": bits(zero)}
    opset = 13 if bits().itemsize == 1 else 21
    data = model(nodes, [1, 1], constants, opset=opset)
    network = network_from_bytes(data, "step")
    x = np.float32([0, 0.25, 0.75, 1.25, -0.25, -0.75, 0.3, 1e5, -1e5, 3.14])
    expected = (np.clip(np.rint(x / np.float32(0.5)) + zero, limits.min, limits.max) - zero) * 0.5
    np.testing.assert_array_equal(np.asarray(network(x[:, None]))[:, 0], expected)
    runs = session(data, *PLAINLY)
    theirs = [runs.run(None, {"x": point.reshape(1, 1)})[0].item() for point in x]
    np.testing.assert_array_equal(theirs, expected)
    ranges = av.output_bounds(network, av.Box([0.2], [0.8]))
    assert (ranges.lower <= max(0.0, expected.min())).all() and (ranges.upper >= min(1.0, expected.max())).all()


def test_scales_may_differ_and_one_value_may_be_read_twice() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1),
        node("DequantizeLinear", ["q", "t", "u"], ["a"]),
        node("DequantizeLinear", ["q", "s", "z"], ["b"], axis=1),
        node("Sub", ["a", "b"], ["y"]),
    ]
    constants = {
        "s": np.float32([0.5, 0.25]),
        "z": np.uint8([3, 100]),
        "t": np.float32(2.0),
        "u": np.uint8(7),
    }
    data = model(nodes, [1, 2], constants)
    x = np.float32([[1.1, -7.3], [40.0, 50.0], [-3.0, 0.1]])
    codes = np.clip(np.rint(x / constants["s"]) + constants["z"], 0, 255)
    expected = (codes - 7.0) * 2.0 - (codes - constants["z"]) * constants["s"]
    np.testing.assert_array_equal(np.asarray(network_from_bytes(data, "two")(x)), expected)


@pytest.mark.parametrize(
    "nodes, words",
    [
        ([node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("Relu", ["q"], ["y"])], "type uint8; runtimes refuse"),
        ([node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("Flatten", ["q"], ["y"])], "DequantizeLinear alone"),
        ([node("QuantizeLinear", ["x", "s", "z"], ["y"])], "is no array of numbers"),
        ([node("QuantizeLinear", ["x", "x", "z"], ["y"])], "scale depends on the input"),
        ([node("QuantizeLinear", ["x", "minus", "z"], ["y"])], "positive float32 numbers"),
        ([node("QuantizeLinear", ["x", "s", "long"], ["y"])], "another shape than its scale"),
        ([node("QuantizeLinear", ["x", "s", "whole"], ["y"])], "has an input y_zero_point of type int64"),
        ([node("QuantizeLinear", ["x", "three", "threes"], ["y"])], "does not fit axis 1"),
        ([node("DynamicQuantizeLinear", ["x"], ["y", "t", "u"])], "in the QDQ format"),
    ],
    ids=range(9),
)
def test_what_is_not_read_is_said(nodes, words) -> None:
    constants = {
        "s": np.float32(0.5),
        "z": np.uint8(3),
        "whole": np.int64(3),
        "minus": np.float32(-0.5),
        "long": np.uint8([1, 2]),
        "three": np.float32([1, 2, 3]),
        "threes": np.uint8([1, 2, 3]),
    }
    with pytest.raises(av.ModelError, match=words) as caught:
        network_from_bytes(model(nodes, [1, 2], constants), "refused")
    assert "\n" not in str(caught.value)


def test_what_fixed_numbers_are_quantised_to_counts_as_rounded() -> None:
    """Their quotient by the scale is, unless both are whole numbers."""
    assert is_rounded("QuantizeLinear", [np.array(0.15, np.float32), np.array(0.1, np.float32)], np.array(2, np.uint8))
    assert not is_rounded("QuantizeLinear", [np.array(3, np.float32), np.array(2, np.float32)], np.array(2, np.uint8))


@pytest.mark.parametrize("shape", [DENSE, IMAGE], ids=["dense", "image"])
def test_quantised_weights_leave_a_partner_of_the_first_network(shape) -> None:
    """Weights alone in 8 bits: the same layers, so that differences are bounded layer by layer."""
    proto = plain(shape)
    first = av.read_onnx(proto)
    nodes, tensors = [], []
    for tensor in proto.graph.initializer:
        weight = numpy_helper.to_array(tensor)
        if weight.ndim > 1:
            scale = np.float32(np.abs(weight).max() / 127)
            tensors += [
                numpy_helper.from_array(np.rint(weight / scale).astype(np.int8), f"{tensor.name}_q"),
                numpy_helper.from_array(scale, f"{tensor.name}_s"),
            ]
            nodes.append(node("DequantizeLinear", [f"{tensor.name}_q", f"{tensor.name}_s"], [tensor.name]))
        else:
            tensors.append(tensor)
    nodes += list(proto.graph.node)
    graph = helper.make_graph(nodes, "weights", list(proto.graph.input), list(proto.graph.output), tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    second = av.read_onnx(model)
    radius = 0.3 if shape == DENSE else 0.05
    box = av.Box.around(np.zeros(first.input_shape), radius)
    found = av.difference(first, second, box, settings=av.DifferenceSettings(max_subproblems=0))
    x = np.random.default_rng(6).uniform(-radius, radius, (3000, *first.input_shape))
    apart = np.asarray(second(x)) - np.asarray(first(x))
    assert not found.notes and np.abs(apart).max() > 1e-3
    assert (found.lower[0] <= apart.min(axis=0)).all() and (apart.max(axis=0) <= found.upper[0]).all()
    assert found.largest[0] < 3 * np.abs(apart).max()
    runs = session(model.SerializeToString(), *PLAINLY)
    theirs = np.concatenate([runs.run(None, {"x": np.float32(point.reshape(shape))})[0] for point in x[:100]])
    np.testing.assert_allclose(np.asarray(second(x[:100])), theirs, atol=1e-5)
