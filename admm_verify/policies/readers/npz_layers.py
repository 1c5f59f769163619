"""Agents as a list of layers and arrays by name: convolutions, curves, one recurrent cell, matrices."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from admm_verify.errors import ModelError
from admm_verify.network.activations import TORCH
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse
from admm_verify.network.graph import Network
from admm_verify.network.products import matmul
from admm_verify.network.recurrent import State, Weights, gru_cell
from admm_verify.network.spatial import Window, convolution

_UPDATE_FIRST = (1, 0, 2)
"""The gates of a GRU are stored in the order reset, update, candidate."""


def layered_network(
    layers: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray], sample: tuple[int, ...], name: str
) -> tuple[Network, int]:
    """The network of layers that name their arrays, and how many of its last inputs are a recurrent cell's state.

    Layers are mappings with a type: "conv2d" and "linear" with the names of weight and bias, a convolution with stride
    and padding, one number or one per axis; "flatten"; "grucell" with hidden, whose arrays are those that end in
    weight_ih, weight_hh, bias_ih and bias_hh; "elu" with alpha, 1 by default; any other activation by torch's name.
    With a recurrent cell the network takes the sample's numbers and, behind them, those of the state, as one vector.

    Shapes: sample is an image's [channels, height, width], or [inputs].
    Raises: ModelError naming the layer and what does not fit.
    """
    states = [_entry(layer, "hidden", k) for k, layer in enumerate(layers) if _entry(layer, "type", k) == "grucell"]
    rows = {len(part) for part in arrays.values() if part.ndim}
    if any(not isinstance(state, int) or 3 * state not in rows for state in states):
        raise ModelError(f"The recurrent cell of {name} says hidden={states[0]!r:.50}, of which no array has 3 times.")
    if len(states) > 1:
        raise ModelError(f"{name} has {len(states)} recurrent cells; one is supported.")
    memory, size = sum(states), prod(sample)
    builder = Builder((1, size + memory) if memory else (1, *sample))
    x = builder.input
    if memory:
        x = builder.select(builder.input, np.arange(size).reshape(1, *sample))
    for k, layer in enumerate(layers):
        kind = str(_entry(layer, "type", k))
        make = _LAYERS.get(kind, _activation)
        try:
            x = make(builder, x, _Layer(k, kind, layer, arrays))
        except UnsupportedUse as error:
            raise ModelError(f"Layer {k} of {name}, {kind}, cannot be read: {error}.") from None
    network = builder.finish(x, name)
    network.check_finite()
    return network, memory


class _Layer:
    """What a layer says of itself, and its arrays."""

    def __init__(self, number: int, kind: str, given: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.number, self.kind, self._given, self._arrays = number, kind, given, arrays

    def array(self, entry: str, axes: int) -> np.ndarray:
        """The array that an entry names, in float64."""
        return self._numbers(str(_entry(self._given, entry, self.number)), axes)

    def ending(self, end: str, rows: int, axes: int) -> np.ndarray:
        """The one array whose name has an ending and that has so many rows."""
        found = [key for key, part in self._arrays.items() if key.endswith(end) and part.shape[:1] == (rows,)]
        if len(found) != 1:
            raise UnsupportedUse(f"{len(found)} arrays of {rows} rows have names that end in {end}, instead of one")
        return self._numbers(found[0], axes)

    def whole(self, entry: str, default: int | None = None) -> int:
        """A whole number from 0 on."""
        value = _entry(self._given, entry, self.number) if default is None else self._given.get(entry, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UnsupportedUse(f"its {entry} is {value!r}, no whole number from 0 on")
        return value

    def pair(self, entry: str, default: int) -> tuple[int, ...]:
        """A whole number for each of two axes."""
        value = self._given.get(entry, default)
        both = tuple(value) if isinstance(value, list | tuple) else (value, value)
        if len(both) != 2 or any(not isinstance(part, int) or isinstance(part, bool) for part in both):
            raise UnsupportedUse(f"its {entry} is {value!r}, neither a whole number nor two")
        return both

    def real(self, entry: str, default: float) -> float:
        """A number."""
        value = self._given.get(entry, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise UnsupportedUse(f"its {entry} is {value!r}, no number")
        return float(value)

    def _numbers(self, key: str, axes: int) -> np.ndarray:
        if key not in self._arrays:
            raise UnsupportedUse(f"there is no array {key!r}; there are {', '.join(sorted(self._arrays))}")
        found = self._arrays[key]
        if found.ndim != axes or found.dtype.kind != "f":
            raise UnsupportedUse(f"{key!r} has shape {found.shape} and type {found.dtype}, not {axes} axes of floats")
        return found.astype(np.float64)


def _convolution(builder: Builder, x: Tensor, layer: _Layer) -> Tensor:
    weight, bias = layer.array("weight", 4), layer.array("bias", 1)
    padding = layer.pair("padding", 0)
    window = Window(weight.shape[2:], layer.pair("stride", 1), padding, padding, layer.pair("dilation", 1))
    return convolution(builder, x, weight, bias, window)


def _linear(builder: Builder, x: Tensor, layer: _Layer) -> Tensor:
    weight, bias = layer.array("weight", 2), layer.array("bias", 1)
    if x.shape[-1] != weight.shape[1] or weight.shape[0] != len(bias):
        raise UnsupportedUse(f"its arrays of shapes {weight.shape} and {bias.shape} do not fit {x.shape[-1]} numbers")
    return builder.add(matmul(builder, x, weight.T), bias)


def _flatten(builder: Builder, x: Tensor, _layer: _Layer) -> Tensor:
    return builder.reshape(x, (1, x.size))


def _gru(builder: Builder, x: Tensor, layer: _Layer) -> Tensor:
    hidden = layer.whole("hidden")
    parts = [
        layer.ending(end, 3 * hidden, axes)
        for end, axes in (("weight_ih", 2), ("weight_hh", 2), ("bias_ih", 1), ("bias_hh", 1))
    ]
    inner, recurrent, *biases = (part.reshape(3, hidden, *part.shape[1:])[list(_UPDATE_FIRST)] for part in parts)
    if recurrent.shape[2] != hidden:
        raise UnsupportedUse(f"its recurrent matrix has {recurrent.shape[2]} columns for a state of {hidden}")
    size = builder.input.size
    state = builder.select(builder.input, np.arange(size - hidden, size)[None])
    cell = gru_cell(Weights(inner, recurrent, *biases), _curve("sigmoid"), _curve("tanh"), reset_after=True)
    made = cell(builder, x, State(state, state)).hidden
    assert isinstance(made, Tensor), "the state depends on the input"
    return made


def _curve(kind: str) -> Callable[[Builder, Tensor], Tensor]:
    return lambda builder, x: builder.activation(kind, x)


def _elu(builder: Builder, x: Tensor, layer: _Layer) -> Tensor:
    alpha = layer.real("alpha", 1.0)
    if not 0.0 < alpha <= 1.0:
        raise UnsupportedUse(f"its alpha is {alpha}; from 0 (excluded) to 1 is supported")
    return builder.activation("elu", x, alpha)


def _activation(builder: Builder, x: Tensor, layer: _Layer) -> Tensor:
    if layer.kind not in TORCH:
        raise UnsupportedUse(f"layers are {', '.join(sorted({*_LAYERS, *TORCH}))}")
    return builder.activation(TORCH[layer.kind], x)


def _entry(layer: Mapping[str, Any], entry: str, number: int) -> Any:
    if not isinstance(layer, Mapping) or entry not in layer:
        raise ModelError(f"Layer {number} of an agent is {layer!r}, which has no entry {entry!r}.")
    return layer[entry]


_LAYERS: dict[str, Callable[[Builder, Tensor, _Layer], Tensor]] = {
    "conv2d": _convolution,
    "elu": _elu,
    "flatten": _flatten,
    "grucell": _gru,
    "linear": _linear,
}
