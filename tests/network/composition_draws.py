"""Random uses of operators that are written as several nodes: products of values, normalisations, recurrent layers."""

import numpy as np

from tests.network.operator_draws import Use, X


def both(kind):
    """Two values, of which both may depend on the input."""

    def draw(d):
        shape = d.shape()
        other = d.one(X, X, np.abs(d.nonzero(*d.partner(shape))) + 0.5)
        return Use(kind, shape, [X, other] if d.maybe(0.6) else [other, X])

    return draw


def power(d):
    shape = d.shape()
    exponent = d.one(2.0, 2.0, 3.0, 4.0, 1.0, 0.0)
    return Use("Pow", shape, [X, np.full(d.one((), (), (1,), d.partner(shape)), exponent, d.dtype)])


def exponential(d):
    shape = d.shape()
    return Use("Pow", shape, [np.asarray(np.abs(d.nonzero(*d.partner(shape))), d.dtype), X])


def gram(d):
    """The product of a matrix with itself, which fits where it is square."""
    n = d.int(1, 3)
    shape = d.one((n, n), (2, n, n), (n,))
    if d.maybe(0.3):
        return Use(
            "Einsum", (2, n), [X, X], {"equation": d.one("ij,kj->ik", "ij,ij->i", "ij,ik->jk", "ij,ij->", "ij,ij")}
        )
    if len(shape) == 2 and d.maybe(0.3):
        return Use("Gemm", shape, [X, X, *d.one([], [X])], d.attributes(0.5, transA=[1], transB=[1], alpha=[0.5]))
    return Use("MatMul", shape, [X, X])


def reduction(kind, since):
    def draw(d):
        shape = d.shape(1, 4 if kind != "ReduceProd" else 2)
        use = Use(kind, shape, [X], d.attributes(0.5, keepdims=[0, 1]))
        return d.listed(use, "axes", d.axes(len(shape)), since) if d.maybe(0.8) else use

    return draw


def layer_norm(d):
    shape = (d.int(1, 2), *d.ints(d.int(1, 3), 1, 4))
    axis = d.int(1, len(shape) - 1) - (len(shape) if d.maybe(0.5) else 0)
    inner = shape[axis:]
    shift = d.one([], [d.floats(*inner)])
    attributes = {"axis": axis} | d.attributes(0.4, epsilon=[1e-3, 1e-2])
    return Use("LayerNormalization", shape, [X, d.floats(*inner), *shift], attributes)


def root_mean_square_norm(d):
    use = layer_norm(d)
    return Use("RMSNormalization", use.shape, use.inputs[:2], use.attributes)


def channels(kind):
    def draw(d):
        groups, per = d.int(1, 2), d.int(1, 2)
        shape = (d.int(1, 2), groups * per, *d.ints(d.int(1, 2), 2, 3))
        if kind == "InstanceNormalization":
            parts = [d.floats(groups * per) for _ in range(2)]
            return Use(kind, shape, [X, *parts], d.attributes(0.4, epsilon=[1e-3]))
        parts = [d.floats(groups if d.opset < 21 else groups * per) for _ in range(2)]
        return Use(kind, shape, [X, *parts], {"num_groups": groups} | d.attributes(0.4, epsilon=[1e-3]))

    return draw


def length_norm(d):
    return Use("LpNormalization", d.shape(1, 3), [X], d.attributes(0.6, axis=[-1, 0], p=[1, 2]))


def attention(d):
    samples, heads, rows, columns, width, depth = d.int(1, 2), d.int(1, 2), *d.ints(4, 1, 3)
    query, key, value = (
        (samples, heads, rows, width),
        (samples, heads, columns, width),
        (samples, heads, columns, depth),
    )
    attributes = d.attributes(0.3, scale=[0.5])
    inputs = [d.floats(*query), d.floats(*key), d.floats(*value)]
    if d.maybe(0.4):
        flat = [part.transpose(0, 2, 1, 3).reshape(samples, part.shape[2], -1) for part in inputs]
        inputs, attributes = flat, attributes | {"q_num_heads": heads, "kv_num_heads": heads}
    if d.maybe(0.3):
        attributes["is_causal"] = 1
    elif d.maybe(0.3):
        inputs.append(d.one(d.floats(rows, columns), np.eye(rows, columns, dtype=bool) | (np.arange(columns) == 0)))
    place = d.int(0, 2)
    shape, inputs[place] = inputs[place].shape, X
    return Use("Attention", shape, inputs, attributes)


def recurrent(kind, gates, states):
    def draw(d):
        steps, samples, entries, hidden = d.int(1, 3), d.int(1, 2), d.int(1, 2), d.int(1, 2)
        ways = d.one(1, 1, 2)
        direction = "bidirectional" if ways == 2 else d.one("forward", "reverse")
        weights = [d.floats(ways, gates * hidden, entries), d.floats(ways, gates * hidden, hidden)]
        bias = d.one(None, d.floats(ways, 2 * gates * hidden), d.floats(ways, 2 * gates * hidden))
        lengths = d.one(None, None, np.full(samples, steps, np.int32))
        starts = [d.one(None, d.floats(ways, samples, hidden)) for _ in range(states)]
        holes = [d.floats(ways, 3 * hidden)] if kind == "LSTM" and d.maybe(0.3) else []
        inputs = [X, *weights, bias, lengths, *starts, *holes]
        attributes = {"hidden_size": hidden, "direction": direction}
        if kind == "RNN" and d.maybe(0.3):
            attributes["activations"] = [d.one("Tanh", "Relu") for _ in range(ways)]
        if kind == "LSTM" and d.maybe(0.3):
            attributes["activations"] = ["Sigmoid", "Tanh", d.one("Tanh", "Relu")] * ways
        if kind == "GRU":
            attributes |= d.attributes(0.5, linear_before_reset=[0, 1])
        if d.maybe(0.3):
            attributes["clip"] = d.one(0.3, 1.0, 3.0)
        if kind == "LSTM" and not holes and d.maybe(0.2):
            attributes["input_forget"] = 1
        outputs = states + 1
        return Use(kind, (steps, samples, entries), inputs, attributes, outputs, d.int(0, outputs - 1))

    return draw


COMPOSITIONS = {
    "Attention": attention,
    "Div": both("Div"),
    "Exponential": exponential,
    "GRU": recurrent("GRU", 3, 1),
    "Gram": gram,
    "GroupNormalization": channels("GroupNormalization"),
    "InstanceNormalization": channels("InstanceNormalization"),
    "LSTM": recurrent("LSTM", 4, 2),
    "LayerNormalization": layer_norm,
    "LpNormalization": length_norm,
    "Mul": both("Mul"),
    "Pow": power,
    "RMSNormalization": root_mean_square_norm,
    "RNN": recurrent("RNN", 1, 1),
    "ReduceL2": reduction("ReduceL2", 18),
    "ReduceLogSumExp": reduction("ReduceLogSumExp", 18),
    "ReduceProd": reduction("ReduceProd", 18),
    "ReduceSumSquare": reduction("ReduceSumSquare", 18),
}
"""Draws by operator name, or by what is done with one."""
