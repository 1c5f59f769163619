"""Programs of random graphs as torch modules and as ONNX models."""

from collections.abc import Callable

import numpy as np
import torch
from onnx import NodeProto

from tests.graph_values import computed
from tests.network.onnx_models import model, node
from tests.random_graphs import Program, Step


class ProgramModule(torch.nn.Module):
    """A program as a module in float64."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return computed(self.program, x)[-1]


OPERATORS = {
    "acosh": "Acosh",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "cos": "Cos",
    "cosh": "Cosh",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "gelu": "Gelu",
    "hardswish": "HardSwish",
    "log": "Log",
    "mish": "Mish",
    "reciprocal": "Reciprocal",
    "relu": "Relu",
    "round": "Round",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "sqrt": "Sqrt",
    "tan": "Tan",
    "tanh": "Tanh",
}
"""Kinds that are one operator of one input."""

OPSET = 20


class Writer:
    """Nodes and constants of a model so far; value k of the program has the name v{k}, the input x."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array if array.dtype == np.int64 else array.astype(np.float32)
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> None:
        self.nodes.append(node(kind, inputs, [output], **attributes))

    def write(self, step: Step, given: list[str], y: str) -> None:
        if step.operation in WRITERS:
            WRITERS[step.operation](self, step, given, y)
        else:
            self.node(OPERATORS[step.operation], given, y)


def _dense(writer: Writer, step: Step, given: list[str], y: str) -> None:
    writer.node("MatMul", [given[0], writer.constant(step.arrays[0].T)], f"{y}_w")
    writer.node("Add", [f"{y}_w", writer.constant(step.arrays[1])], y)


def _select(writer: Writer, step: Step, given: list[str], y: str) -> None:
    writer.node("Gather", [given[0], writer.constant(step.arrays[0].astype(np.int64))], y, axis=1)


def _matmul(writer: Writer, step: Step, given: list[str], y: str) -> None:
    for side, name, shape in zip("lr", given, step.shapes, strict=True):
        writer.node("Reshape", [name, writer.constant(np.array(shape, np.int64))], f"{y}_{side}")
    writer.node("MatMul", [f"{y}_l", f"{y}_r"], f"{y}_m")
    writer.node("Reshape", [f"{y}_m", writer.constant(np.array([1, step.size], np.int64))], y)


def _clip(writer: Writer, step: Step, given: list[str], y: str) -> None:
    writer.node("Max", [given[0], writer.constant(step.arrays[0])], f"{y}_m")
    writer.node("Min", [f"{y}_m", writer.constant(step.arrays[1])], y)


def _heaviside(writer: Writer, step: Step, given: list[str], y: str) -> None:
    """But for its value at zero, which a comparison does not have."""
    zero, one = writer.constant(np.zeros(1)), writer.constant(np.ones(1))
    writer.node("Greater", [given[0], zero], f"{y}_b")
    writer.node("Where", [f"{y}_b", one, zero], y)


def _silu(writer: Writer, step: Step, given: list[str], y: str) -> None:
    writer.node("Sigmoid", given, f"{y}_s")
    writer.node("Mul", [given[0], f"{y}_s"], y)


WRITERS: dict[str, Callable[[Writer, Step, list[str], str], None]] = {
    "add": lambda w, step, given, y: w.node("Add", given, y),
    "clip": _clip,
    "concat": lambda w, step, given, y: w.node("Concat", given, y, axis=1),
    "dense": _dense,
    "elu": lambda w, step, given, y: w.node("Elu", given, y, alpha=float(step.arrays[0][0])),
    "gelu_tanh": lambda w, step, given, y: w.node("Gelu", given, y, approximate="tanh"),
    "heaviside": _heaviside,
    "matmul": _matmul,
    "power": lambda w, step, given, y: w.node("Pow", [given[0], w.constant(step.arrays[0][:1])], y),
    "prelu": lambda w, step, given, y: w.node("PRelu", [given[0], w.constant(step.arrays[0])], y),
    "product": lambda w, step, given, y: w.node("Mul", given, y),
    "select": _select,
    "silu": _silu,
    "square": lambda w, step, given, y: w.node("Mul", [given[0], given[0]], y),
}


def written(program: Program) -> bytes:
    """The program as a model in float32 of x [1, n]."""
    writer, last = Writer(), len(program.steps) - 1
    names = ["x", *(f"v{k}" for k in range(1, last)), "y"]
    for k, step in enumerate(program.steps[1:], start=1):
        writer.write(step, [names[i] for i in step.sources], names[k])
    return model(writer.nodes, (1, program.steps[0].size), writer.constants, OPSET)
