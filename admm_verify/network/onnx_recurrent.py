"""ONNX's recurrent operators as builder calls."""

from collections.abc import Callable, Sequence

import numpy as np

from admm_verify.network import nonlinear
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.onnx_inputs import (
    Attributes,
    Handler,
    Inputs,
    constant,
    given,
    integers,
    numbers,
    real,
    tensor,
    text,
)
from admm_verify.network.recurrent import Cell, Curve, State, Weights, gru_cell, lstm_cell, simple_cell, unrolled

_DEFAULTS = {"RNN": ("Tanh",), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh")}
_GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def _curve(name: str, alpha: float | None, beta: float | None) -> Curve:
    """An activation function of a gate, by its name and its numbers."""

    def number(found: float | None, default: float) -> float:
        return float(np.float32(default if found is None else found))

    if name in ("sigmoid", "tanh", "relu", "softsign"):
        return lambda builder, x: builder.activation(name, x)
    if name == "softplus":
        return _softplus
    if name == "leakyrelu":
        return lambda builder, x: nonlinear.prelu(builder, x, number(alpha, 0.01))
    if name == "elu":
        return lambda builder, x: nonlinear.elu(builder, x, number(alpha, 1.0))
    if name == "hardsigmoid":
        return lambda builder, x: nonlinear.hard_sigmoid(builder, x, number(alpha, 0.2), number(beta, 0.5))
    raise UnsupportedUse(f"its activation {name} is not read")


def _softplus(builder: Builder, x: Tensor) -> Tensor:
    """log(1 + exp(x)) as onnxruntime computes it in these layers: infinite from 89 on in float32, and 0 below -17."""
    return builder.activation("log", builder.add(builder.activation("exp", x), np.array(1.0)))


def _clipped(curve: Curve, attributes: Attributes) -> Curve:
    """An activation of what is clipped before."""
    if "clip" not in attributes:
        return curve
    end = real(attributes, "clip", 0.0)
    return lambda builder, x: curve(builder, nonlinear.clip(builder, x, -end, end))


def _recurrent(kind: str, cell: Callable[[Weights, Sequence[Curve], Attributes], Cell]) -> Handler:
    def handler(builder: Builder, inputs: Inputs, attributes: Attributes, opset: int) -> list[Value]:
        directions = _DIRECTIONS.get(text(attributes, "direction", "forward"))
        if directions is None:
            raise UnsupportedUse("its direction is none of forward, reverse and bidirectional")
        batched = bool(attributes.get("layout", 0))
        x = tensor(inputs[0])
        x = builder.select(x, x.labels.swapaxes(0, 1)) if batched else x
        steps, samples, _ = x.shape
        lengths = given(inputs, 4)
        if lengths is not None and set(integers(lengths, "sequence lengths")) != {steps}:
            raise UnsupportedUse("its samples are of other lengths than the input")
        weights = _weights(kind, inputs, len(directions), int(attributes["hidden_size"]))
        curves = _curves(kind, attributes, len(directions))
        every, last = [], []
        for d, backward in enumerate(directions):
            start = State(*(_start(inputs, i, d, samples, weights[d].hidden, batched) for i in (5, 6)))
            found, state = unrolled(builder, x, start, cell(weights[d], curves[d], attributes), backward)
            every.append(builder.reshape(found, (steps, 1, samples, weights[d].hidden)))
            last.append(state)
        return _results(builder, every, last, batched)[: 3 if kind == "LSTM" else 2]

    return handler


def _weights(kind: str, inputs: Inputs, directions: int, hidden: int) -> list[Weights]:
    gates = _GATES[kind]
    shape = (directions, gates, hidden)
    matrices = [numbers(inputs[i], "weight").reshape(*shape, -1) for i in (1, 2)]
    biases = given(inputs, 3)
    both = np.zeros((directions, 2, gates, hidden))
    if biases is not None:
        both = numbers(biases, "bias").reshape(both.shape)
    holes = given(inputs, 7)
    peepholes = None if holes is None else numbers(holes, "peepholes").reshape(directions, 3, hidden)
    return [
        Weights(matrices[0][d], matrices[1][d], both[d, 0], both[d, 1], None if peepholes is None else peepholes[d])
        for d in range(directions)
    ]


def _curves(kind: str, attributes: Attributes, directions: int) -> list[list[Curve]]:
    """The activations of each direction."""
    defaults = _DEFAULTS[kind]
    names = [name.decode() if isinstance(name, bytes) else name for name in attributes.get("activations", ())]
    chosen = names or [*defaults] * directions
    if len(chosen) != len(defaults) * directions:
        raise UnsupportedUse(f"its {len(chosen)} activations are not {len(defaults)} for each direction")
    numbers = [list(attributes.get(key, ())) for key in ("activation_alpha", "activation_beta")]
    if any(numbers) and len(set(chosen)) > 1:
        raise UnsupportedUse("it gives numbers for some of several activations; they are read where all are the same")
    alphas, betas = ([*given, *[None] * (len(chosen) - len(given))] for given in numbers)
    curves = [_curve(name.lower(), alphas[i], betas[i]) for i, name in enumerate(chosen)]
    # What onnxruntime does not clip is the cell of an LSTM before its output, the third one.
    curves = [curve if i % len(defaults) == 2 else _clipped(curve, attributes) for i, curve in enumerate(curves)]
    return [curves[d * len(defaults) : (d + 1) * len(defaults)] for d in range(directions)]


def _start(inputs: Inputs, index: int, direction: int, samples: int, hidden: int, batched: bool) -> Value:
    """The state before the first step, zeros where it is not given."""
    value = given(inputs, index)
    if value is None:
        return np.zeros((samples, hidden))
    if isinstance(value, Tensor):
        raise UnsupportedUse("its first state depends on the input")
    return constant(value, "first state").astype(np.float64)[(slice(None), direction) if batched else direction]


def _results(builder: Builder, every: list[Tensor], last: list[State], batched: bool) -> list[Value]:
    """The states of all steps [steps, directions, samples, hidden], the last hidden ones and those of the cell."""
    steps: Value = builder.concat([*every], 1)
    ends: list[Value] = []
    for parts in ([state.hidden for state in last], [state.cell for state in last]):
        lifted: list[Value] = [
            Tensor(part.node, (1, *part.shape)) if isinstance(part, Tensor) else part[None] for part in parts
        ]
        tensors = any(isinstance(part, Tensor) for part in lifted)
        ends.append(builder.concat(lifted, 0) if tensors else np.concatenate([np.asarray(part) for part in lifted]))
    if not batched:
        return [steps, *ends]
    turned = builder.move(steps, lambda entries: entries.transpose(2, 0, 1, 3))
    return [turned, *(builder.move(end, lambda entries: entries.swapaxes(0, 1)) for end in ends)]


def _simple(weights: Weights, curves: Sequence[Curve], attributes: Attributes) -> Cell:
    return simple_cell(weights, curves[0])


def _lstm(weights: Weights, curves: Sequence[Curve], attributes: Attributes) -> Cell:
    gate, cell, output = curves
    return lstm_cell(weights, gate, cell, output, bool(attributes.get("input_forget", 0)))


def _gru(weights: Weights, curves: Sequence[Curve], attributes: Attributes) -> Cell:
    gate, state = curves
    return gru_cell(weights, gate, state, bool(attributes.get("linear_before_reset", 0)))


RECURRENT: dict[str, Handler] = {
    "GRU": _recurrent("GRU", _gru),
    "LSTM": _recurrent("LSTM", _lstm),
    "RNN": _recurrent("RNN", _simple),
}
