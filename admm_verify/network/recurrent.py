"""Recurrent layers, unrolled over their steps: simple cells, LSTM and GRU in one direction at a time.

Weights are stacked by gates, in the order that the functions here tell; readers sort theirs into it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.products import matmul, times

Curve = Callable[[Builder, Tensor], Tensor]
"""An activation of a gate."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The numbers of one direction of a layer.

    Shapes: input [gates, hidden, entries], recurrent [gates, hidden, hidden], both biases [gates, hidden]; peepholes
    [3, hidden] from the cell to the input, output and forget gate, None where there are none; projection [handed on,
    hidden] of what an LSTM hands on, which `recurrent` then reads, None where that is all of it.
    """

    input: np.ndarray
    recurrent: np.ndarray
    input_bias: np.ndarray
    recurrent_bias: np.ndarray
    peepholes: np.ndarray | None = None
    projection: np.ndarray | None = None

    @property
    def hidden(self) -> int:
        """Entries of the hidden state that is handed on."""
        return self.input.shape[1] if self.projection is None else self.projection.shape[0]


@dataclass(frozen=True)
class State:
    """What a cell hands on, [samples, hidden] each; the cell's own is an LSTM's alone."""

    hidden: Value
    cell: Value


Cell = Callable[[Builder, Tensor, State], State]
"""One step: of its input [samples, entries] and the state before it, the state behind it."""


def simple_cell(weights: Weights, curve: Curve) -> Cell:
    """h' = curve(W x + R h + b)."""

    def step(builder: Builder, x: Tensor, state: State) -> State:
        return State(curve(builder, _gate(builder, weights, 0, x, state.hidden)), state.cell)

    return step


def lstm_cell(weights: Weights, gate: Curve, candidate: Curve, output: Curve, coupled: bool = False) -> Cell:
    """c' = f c + i g and h' = o output(c'), gates in the order input, output, forget, candidate (i, o, f, g).

    coupled: the forget gate is 1 - i, and its weights are read by nothing.
    """

    def step(builder: Builder, x: Tensor, state: State) -> State:
        i, o, f, g = (_gate(builder, weights, k, x, state.hidden) for k in range(4))
        holes = weights.peepholes
        if holes is not None:
            i, f = _peeped(builder, i, state.cell, holes[0]), _peeped(builder, f, state.cell, holes[2])
        if coupled:
            # c + i (g - c), with one product.
            gone = builder.add(candidate(builder, g), state.cell, -1.0)
            cell = builder.add(times(builder, gate(builder, i), gone), state.cell)
        else:
            kept = _times(builder, gate(builder, f), state.cell)
            new = times(builder, gate(builder, i), candidate(builder, g))
            cell = new if kept is None else builder.add(new, kept)
        if holes is not None:
            o = _peeped(builder, o, cell, holes[1])
        hidden = times(builder, gate(builder, o), output(builder, cell))
        return State(hidden if weights.projection is None else matmul(builder, hidden, weights.projection.T), cell)

    return step


def gru_cell(weights: Weights, gate: Curve, candidate: Curve, reset_after: bool) -> Cell:
    """h' = g + z (h - g), gates in the order update, reset, candidate (z, r, g).

    reset_after: g = candidate(W x + r (R h + b)), else candidate(W x + R (r h) + b).
    """

    def step(builder: Builder, x: Tensor, state: State) -> State:
        hidden = state.hidden
        z = gate(builder, _gate(builder, weights, 0, x, hidden))
        r = gate(builder, _gate(builder, weights, 1, x, hidden))
        if reset_after:
            through = _recurrent(builder, weights, 2, hidden)
            own = _affine(builder, x, weights.input[2], weights.input_bias[2])
            found = builder.add(own, times(builder, r, through))
        else:
            before = _times(builder, r, hidden)
            zero = np.zeros((x.shape[0], weights.hidden))
            found = _gate(builder, weights, 2, x, zero if before is None else before)
        g = candidate(builder, found)
        # z h + (1 - z) g with one product.
        gone = builder.add(g, hidden, -1.0)
        return State(builder.add(g, times(builder, z, gone), -1.0), state.cell)

    return step


def unrolled(builder: Builder, x: Tensor, start: State, cell: Cell, backward: bool) -> tuple[Tensor, State]:
    """The hidden states of all steps, in the order of the input's, and the state behind the last step taken.

    Shapes: x [steps, samples, entries] -> [steps, samples, hidden].
    """
    state, found = start, []
    for t in range(x.shape[0])[:: -1 if backward else 1]:
        state = cell(builder, builder.select(x, x.labels[t]), state)
        found.append(state.hidden)
    ordered = found[::-1] if backward else found
    return builder.concat([_lifted(part) for part in ordered], 0), state


def _lifted(part: Value) -> Value:
    """A state with an axis of steps."""
    return Tensor(part.node, (1, *part.shape)) if isinstance(part, Tensor) else part[None]


def _gate(builder: Builder, weights: Weights, k: int, x: Tensor, hidden: Value) -> Tensor:
    """W x + R h and both biases."""
    own = _affine(builder, x, weights.input[k], weights.input_bias[k])
    return builder.add(own, _recurrent(builder, weights, k, hidden))


def _recurrent(builder: Builder, weights: Weights, k: int, hidden: Value) -> Value:
    """R h + b; b alone for a state of zeros."""
    bias = weights.recurrent_bias[k]
    if isinstance(hidden, np.ndarray):
        if not hidden.any():
            return np.broadcast_to(bias, (len(hidden), len(bias)))
        hidden = builder.lift(hidden)
    return _affine(builder, hidden, weights.recurrent[k], bias)


def _affine(builder: Builder, x: Tensor, matrix: np.ndarray, bias: np.ndarray) -> Tensor:
    if x.shape[-1] != matrix.shape[1]:
        raise UnsupportedUse(f"its weights for {matrix.shape[1]} entries do not fit steps of shape {x.shape}")
    return builder.add(matmul(builder, x, matrix.T), bias)


def _times(builder: Builder, gate: Tensor, state: Value) -> Tensor | None:
    """A gate times a state; None for a state of zeros."""
    if isinstance(state, np.ndarray) and not state.any():
        return None
    return times(builder, gate, state)


def _peeped(builder: Builder, gate: Tensor, cell: Value, hole: np.ndarray) -> Tensor:
    """A gate that sees the cell."""
    if isinstance(cell, np.ndarray):
        return gate if not cell.any() else builder.add(gate, builder.scale(builder.lift(cell), hole))
    return builder.add(gate, builder.scale(cell, hole))
