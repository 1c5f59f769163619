"""Small ONNX models for tests, and onnxruntime's answer to them."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from admm_verify.network.from_onnx import network_from_bytes
from tests.random_networks import relaxed

RNG = np.random.default_rng(7)


def model(nodes, shape, constants=None, opset=13, input_shape=None, element=TensorProto.FLOAT):
    """A model from x of the given shape to y, as bytes."""
    declared = shape if input_shape is None else input_shape
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", element, declared)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    # Opset 8 needs IR version 3, 21 needs 10; onnxruntime reads all of them.
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 19 else 10)
    return built.SerializeToString()


def runtime(data, x):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def assert_agrees(data, shape, relative=1e-5):
    network = network_from_bytes(data, "test.onnx")
    for _ in range(3):
        x = RNG.standard_normal(shape).astype(np.float32)
        expected = runtime(data, x).reshape(-1)
        scale = max(1e-6, float(np.abs(expected).max()))
        for value in (x.astype(np.float64), x):
            for graph in (network, relaxed(network)):
                assert np.abs(graph(value).reshape(-1) - expected).max() <= relative * scale


def weights(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs, outputs, **attributes)
