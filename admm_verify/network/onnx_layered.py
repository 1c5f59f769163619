"""ONNX models of chains of dense layers, as bytes."""

from collections.abc import Sequence

import numpy as np

from admm_verify.errors import ModelError

_OPSET, _FORM = 13, 8
"""Versions of the standard's operators and of its file format, that runtimes have read for years."""


def layered_model(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> bytes:
    """The model W_L relu(... relu(W_1 x + b_1) ...) + b_L in float32, of inputs x [batch, n].

    Shapes: weights[k] [n_{k+1}, n_k]; biases[k] [n_{k+1}].
    Raises: ModelError without the package onnx.
    """
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise ModelError('ONNX models need the package onnx: pip install "admm-verify[onnx]".') from error
    nodes, tensors, name = [], [], "x"
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"W{k}"))
        tensors.append(numpy_helper.from_array(bias.astype(np.float32), f"b{k}"))
        out = "y" if k == len(weights) - 1 else f"n{k}"
        nodes.append(helper.make_node("Gemm", [name, f"W{k}", f"b{k}"], [out], f"layer{k}", transB=1))
        if k < len(weights) - 1:
            name = f"a{k}"
            nodes.append(helper.make_node("Relu", [out], [name], f"relu{k}"))
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, ["batch", size])
        for end, size in (("x", weights[0].shape[1]), ("y", len(biases[-1])))
    ]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], tensors)
    versions = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=versions, ir_version=_FORM).SerializeToString()
