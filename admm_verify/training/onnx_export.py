"""Trained modules as ONNX models."""

from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from admm_verify.errors import InputError, MissingPackageError, UnsupportedOperatorError, is_installed
from admm_verify.files import replaced
from admm_verify.options import file_path, instance
from admm_verify.training.layers import ConvolutionStep, DenseStep, MeanStep, ReshapeStep, ScaleStep
from admm_verify.training.reading import LayerGraph, LayerNode, read_layers

_OPSET, _FORM = 13, 8
"""Versions of the standard's operators and of its file format, that runtimes have read for years."""


def write_onnx(module: nn.Module, example: Tensor, path: str | PathLike[str]) -> None:
    """Write a module in evaluation mode as an ONNX model of inputs `x` and outputs `y`, with a free batch axis.

    Its numbers are the module's own in their own type; batch norms become factors and shifts. Needs the package onnx,
    and none that torch.onnx needs.

    Shapes: example [batch, *input_shape], whose values do not matter.
    Raises: InputError for an example without a batch axis, and for numbers that are neither of float32 nor of float64;
    UnsupportedOperatorError for a layer that `train` has no bounds for either, and for paddings that are no
    zeros; ModelError for what torch.fx cannot follow; MissingPackageError; OutputError where it cannot be written.
    """
    instance(module, nn.Module, "The module", ", such as a torch.nn.Sequential")
    instance(example, Tensor, "The example", " with a leading batch axis")
    target = file_path(path, "The ONNX file")
    if example.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"The example has numbers of type {example.dtype}; write module.float() or module.double(), with an "
            "example of its type."
        )
    if not is_installed("onnx"):
        raise MissingPackageError('Writing ONNX models needs the package onnx: pip install "admm-verify[onnx]".')
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        with torch.no_grad():
            content = _OnnxWriter(read_layers(module, example), example.dtype).content()
    finally:
        for part, mode in modes:
            part.training = mode
    with replaced(target, "ONNX model") as file:
        file.write(content)


@dataclass
class _OnnxWriter:
    """Collects the operators and numbers of a model."""

    graph: LayerGraph
    dtype: torch.dtype
    operators: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)

    def content(self) -> bytes:
        """The model's bytes."""
        from onnx import helper

        element, nodes = (
            helper.np_dtype_to_tensor_dtype(_numbers(torch.zeros(0, dtype=self.dtype)).dtype),
            self.graph.nodes,
        )
        for i, node in enumerate(nodes[1:], start=1):
            self._node(i, node)
        names = "x", self._name(len(nodes) - 1)
        ends = [
            helper.make_tensor_value_info(name, element, ["batch", *node.shape])
            for name, node in zip(names, (nodes[0], nodes[-1]), strict=True)
        ]
        made = helper.make_graph(self.operators, type(self.graph.module).__name__, ends[:1], ends[1:], self.tensors)
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_FORM)
        return model.SerializeToString()

    def _name(self, i: int) -> str:
        """What the values of node i are called."""
        return "x" if i == 0 else "y" if i == len(self.graph.nodes) - 1 else f"v{i}"

    def _node(self, i: int, node: LayerNode) -> None:
        names, step, out = [self._name(source) for source in node.sources], node.step, self._name(i)
        if step is None:
            self._operator("Add" if len(names) == 2 else "Relu", names, out)
        elif isinstance(step, DenseStep):
            given = [("weight", step.module.weight), ("bias", step.module.bias)]
            self._operator("Gemm", names + self._stored(out, given), out, transB=1)
        elif isinstance(step, ConvolutionStep):
            self._convolution(names, step.module, out)
        elif isinstance(step, ReshapeStep):
            shape = torch.tensor([-1, *step.outputs])
            self._operator("Reshape", names + self._stored(out, [("shape", shape)]), out)
        elif isinstance(step, ScaleStep):
            scales, wide = step.scales(None), (1, -1, *(1 for _ in node.shape[1:]))
            numbers = (
                (scales.factor, scales.shift)
                if step.module is None
                else (
                    scales.factor.reshape(wide),
                    scales.shift.reshape(wide),
                )
            )
            factor, shift = (one.to(self.dtype) for one in numbers)
            middle = f"{out}_scaled"
            self._operator("Mul", names + self._stored(out, [("factor", factor)]), middle)
            self._operator("Add", [middle, *self._stored(out, [("shift", shift)])], out)
        else:
            assert isinstance(step, MeanStep), "There are no other steps"
            self._mean(names, node, step.module, out)

    def _convolution(self, names: list[str], module: nn.Conv1d | nn.Conv2d, out: str) -> None:
        if module.padding_mode != "zeros":
            raise UnsupportedOperatorError(
                f"A convolution pads by {module.padding_mode}, which ONNX has no convolution for. Pad by zeros."
            )
        # The last axis first, its beginning before its end.
        pads = module._reversed_padding_repeated_twice
        given = [("weight", module.weight), ("bias", module.bias)]
        self._operator(
            "Conv",
            names + self._stored(out, given),
            out,
            kernel_shape=list(module.kernel_size),
            strides=list(module.stride),
            dilations=list(module.dilation),
            group=module.groups,
            pads=[*pads[-2::-2], *pads[::-2]],
        )

    def _mean(self, names: list[str], node: LayerNode, module: nn.Module, out: str) -> None:
        inputs = self.graph.nodes[node.sources[0]].shape[1:]
        axes = len(inputs)
        if isinstance(module, nn.AvgPool1d | nn.AvgPool2d) and getattr(module, "divisor_override", None) is None:
            size, stride, pad = (_each(one, axes) for one in (module.kernel_size, module.stride, module.padding))
            more = {"ceil_mode": int(module.ceil_mode), "count_include_pad": int(module.count_include_pad)}
        elif all(whole % part == 0 for whole, part in zip(inputs, node.shape[1:], strict=True)):
            size = stride = [whole // part for whole, part in zip(inputs, node.shape[1:], strict=True)]
            pad, more = [0] * axes, {}
        else:
            raise UnsupportedOperatorError(f"The pooling {module} has no operator of its own in ONNX; use AvgPool2d.")
        self._operator("AveragePool", names, out, kernel_shape=size, strides=stride, pads=[*pad, *pad], **more)

    def _operator(self, kind: str, inputs: list[str], out: str, **attributes: Any) -> None:
        from onnx import helper

        self.operators.append(helper.make_node(kind, inputs, [out], out, **attributes))

    def _stored(self, out: str, given: list[tuple[str, Tensor | None]]) -> list[str]:
        """The names of numbers, which are stored under them."""
        from onnx import numpy_helper

        kept = [(f"{out}_{name}", value) for name, value in given if value is not None]
        self.tensors += [numpy_helper.from_array(_numbers(value), name) for name, value in kept]
        return [name for name, _ in kept]


def _numbers(value: Tensor) -> np.ndarray:
    return value.detach().contiguous().numpy()


def _each(given: Any, axes: int) -> list[int]:
    return [int(one) for one in given] if isinstance(given, tuple | list) else [int(given)] * axes
