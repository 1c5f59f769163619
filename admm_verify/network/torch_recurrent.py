"""ATen's recurrent layers as builder calls: several layers, one or two directions each."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.recurrent import Cell, State, Weights, gru_cell, lstm_cell, simple_cell, unrolled
from admm_verify.network.torch_layers import Handler, data, fixed


def _kind(kind: str) -> Callable[[Builder, Tensor], Tensor]:
    return lambda builder, x: builder.activation(kind, x)


_SIGMOID, _TANH, _RELU = _kind("sigmoid"), _kind("tanh"), _kind("relu")


def _lstm_of(weights: Weights) -> Cell:
    return lstm_cell(weights, _SIGMOID, _TANH, _TANH)


def _gru_of(weights: Weights) -> Cell:
    return gru_cell(weights, _SIGMOID, _TANH, True)


def _recurrent(order: Sequence[int], cell: Callable[[Weights], Cell], states: int) -> Handler:
    """order: torch's gates in the order of `recurrent.py`; states: how many a cell hands on."""

    def handler(
        builder: Builder,
        x: Any,
        start: Any,
        parameters: Sequence[Any],
        has_biases: bool,
        layers: int,
        _dropout: float,
        training: bool,
        both_ways: bool,
        batch_first: bool = False,
    ) -> list[Value]:
        if training:
            raise UnsupportedUse("it is in training mode; call module.eval()")
        given = list(start) if isinstance(start, list | tuple) else [start]
        value = data(x)
        value = builder.select(value, value.labels.swapaxes(0, 1)) if batch_first else value
        ways = 1 + both_ways
        per = len(parameters) // (layers * ways)
        last: list[State] = []
        for layer in range(layers):
            found: list[Value] = []
            steps: Value = value
            for way in range(ways):
                place = layer * ways + way
                weights = _weights(parameters[per * place : per * (place + 1)], order)
                begun = [_start(part, place) for part in given]
                state = State(begun[0], begun[-1])
                steps, state = unrolled(builder, value, state, cell(weights), backward=way == 1)
                found.append(steps)
                last.append(state)
            value = builder.concat(found, 2) if ways > 1 else steps
        ends = [_stacked(builder, [state.hidden for state in last])]
        if states == 2:
            ends.append(_stacked(builder, [state.cell for state in last]))
        return [builder.select(value, value.labels.swapaxes(0, 1)) if batch_first else value, *ends]

    return handler


def _weights(parameters: Sequence[Any], order: Sequence[int]) -> Weights:
    """Torch's two matrices, maybe biases and maybe a projection of one direction, by gates in another order."""
    parts = [fixed(part, "weight") for part in parameters]
    projection = parts.pop() if len(parts) in (3, 5) else None
    split = [part.reshape(len(order), -1, *part.shape[1:])[list(order)] for part in parts]
    if len(split) == 2:
        split += [np.zeros(split[0].shape[:2])] * 2
    return Weights(*split, projection=projection)


def _start(part: Any, place: int) -> np.ndarray:
    """The state of one layer and direction before the first step."""
    return fixed(part, "first state")[place]


def _stacked(builder: Builder, parts: list[Value]) -> Value:
    """States of all layers and directions, [layers directions, samples, hidden]."""
    lifted = [Tensor(part.node, (1, *part.shape)) if isinstance(part, Tensor) else part[None] for part in parts]
    return builder.concat(lifted, 0)


RECURRENT: dict[str, Handler] = {
    "gru": _recurrent((1, 0, 2), _gru_of, 1),
    "lstm": _recurrent((0, 3, 1, 2), _lstm_of, 2),
    "rnn_relu": _recurrent((0,), lambda weights: simple_cell(weights, _RELU), 1),
    "rnn_tanh": _recurrent((0,), lambda weights: simple_cell(weights, _TANH), 1),
}
"""Handlers by ATen operator name."""
