"""One use of an operator, read and compared with onnxruntime and onnx's reference evaluator."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from admm_verify.network.whole import WholeNetwork
from tests.network.operator_draws import Use, X

ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
INACCURATE = 2e-6
"""Of the largest number around: what float32 arithmetic may lose."""

MISTAKEN = (
    "AveragePool",
    "BatchNormalization",
    "ConvTranspose",
    "GRU",
    "GlobalMaxPool",
    "LSTM",
    "LpNormalization",
    "MaxPool",
    "RNN",
    "ReduceMax",
    "ReduceMin",
    "Slice",
    "Unsqueeze",
)
"""Operators that onnx's reference evaluator computes in other ways than its own standard says, in some opset: over
windows that fit only in part, with statistics of the batch, without groups, over other axes than all spatial ones,
with its own activations alone, by sums with signs, without padding, with ends of INT_MIN taken literally, with negative
axes one after the other."""

_LACKING = ("under development", "does not support double yet")
"""What an onnxruntime older than the opset says, and its recurrent operators."""


def built(use: Use, opset: int, dtype: str) -> bytes:
    """A model from x to y with one operator; on constants alone, y = x + that, with x a single number."""
    names, constants, attributes = [], {}, {}
    for i, value in enumerate(use.inputs):
        names.append("" if value is None else X if isinstance(value, str) else f"c{i}")
        if isinstance(value, np.ndarray):
            constants[f"c{i}"] = value
    for name, value in use.attributes.items():
        attributes[name] = numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
    outputs = [f"o{i}" for i in range(use.outputs)]
    folded = X not in names
    outputs[use.read] = "c" if folded else "y"
    nodes = [helper.make_node(use.kind, names, outputs, **attributes)]
    if folded:
        nodes += [
            helper.make_node("Cast", ["c"], ["r"], to=ELEMENTS[dtype]),
            helper.make_node("Add", ["x", "r"], ["y"]),
        ]
    graph = helper.make_graph(
        nodes,
        "operator",
        [helper.make_tensor_value_info("x", ELEMENTS[dtype], use.shape)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset < 19 else 10).SerializeToString()


def judged(use: Use, opset: int, dtype: str, rng: np.random.Generator, inaccurate: float = INACCURATE) -> str:
    """agrees, refused, unknown where neither oracle computes it, or what is wrong."""
    data = built(use, opset, dtype)
    try:
        network = network_from_bytes(data, "operator")
    except av.AdmmVerifyError as error:
        return "refused" if "\n" not in str(error) else f"wrong: more than one paragraph: {error}"
    points = [np.asarray(rng.standard_normal(use.shape) * scale, dtype) for scale in (0.5, 1.0, 10.0)]
    if X not in [value for value in use.inputs if isinstance(value, str)]:
        points = [np.zeros(use.shape, dtype)]
    expected = _answers(data, points, use.kind)
    if isinstance(expected, str):
        return expected
    # What is added up may be larger than what comes out.
    constants = [part for part in use.inputs if isinstance(part, np.ndarray) and part.dtype.kind == "f"]
    for x, y in zip(points, expected, strict=True):
        shape = y.shape[1:] if y.ndim > 1 and y.shape[0] == 1 else y.shape
        if network.output_shape != shape:
            return f"wrong: shape {network.output_shape} instead of {y.shape}"
        reach = max(float(np.abs(part).max(initial=1e-3)) for part in (x, y, *constants))
        wide = x.astype(np.float64)
        values = [network(wide.reshape(network.input_shape)), network(x.reshape(network.input_shape))]
        if not isinstance(network, WholeNetwork):
            # The nodes of one that looks things up are no numbers.
            values.append(network.evaluate(wide.reshape(1, -1))[-1])
        for value in values:
            if not np.allclose(np.reshape(value, -1), y.reshape(-1), rtol=0, atol=inaccurate * reach):
                return f"wrong: {np.reshape(value, -1)[:4]} instead of {y.reshape(-1)[:4]} at {x.reshape(-1)[:4]}"
    return "agrees"


def _answers(data: bytes, points: list[np.ndarray], kind: str) -> list[np.ndarray] | str:
    """What both oracles say about each point; a verdict where they disagree or there is none."""
    runtime, reference = _runtime(data, points), _reference(data, points)
    if runtime == "invalid":
        return "wrong: onnxruntime refuses the model"
    if isinstance(runtime, str):
        return "unknown" if reference is None or kind in MISTAKEN else reference
    if reference is not None and kind not in MISTAKEN:
        pairs = zip(runtime, reference, strict=True)
        if any(a.shape != b.shape or not np.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs):
            return "wrong: onnxruntime and the reference evaluator disagree"
    return runtime


def _runtime(data: bytes, points: list[np.ndarray]) -> list[np.ndarray] | str:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return [np.asarray(session.run(None, {"x": x})[0]) for x in points]
    except Exception as error:  # onnxruntime's error types are not public
        words = "NOT_IMPLEMENTED", "Could not find an implementation", *_LACKING
        return "lacking" if any(word in str(error) for word in words) else "invalid"


def _reference(data: bytes, points: list[np.ndarray]) -> list[np.ndarray] | None:
    try:
        with np.errstate(all="ignore"):
            evaluator = ReferenceEvaluator(data)
            return [np.asarray(evaluator.run(None, {"x": x})[0]) for x in points]
    except Exception:  # the evaluator has no error type of its own
        return None
