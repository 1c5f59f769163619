"""Reading torch modules through torch.export; imports torch, so only `trace` loads it."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx.node import map_aggregate, map_arg

from admm_verify.arrays import to_numpy
from admm_verify.errors import ModelError, UnsupportedOperatorError
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.graph import Network

Handler = Callable[..., Any]


def trace(module: torch.nn.Module, example_input: torch.Tensor) -> Network:
    """A network from a torch module, read with torch.export in evaluation mode.

    Shapes: example_input [batch, ...] with a leading batch axis, of which one sample is used; its values do not matter.
    Raises: ModelError when torch cannot export the module or a parameter holds NaN or infinite numbers;
    UnsupportedOperatorError naming the operation.
    """
    if not isinstance(example_input, torch.Tensor) or not example_input.is_floating_point():
        raise ModelError("trace needs a floating point torch tensor as its example input, with a leading batch axis.")
    sample = example_input[:1] if example_input.ndim > 1 else example_input
    name = type(module).__name__
    _check_parameters(module, name)
    training = module.training
    try:
        # torch.export warns about its own internals; nothing a caller could act on.
        with torch.no_grad():
            exported = torch.export.export(module.eval(), (sample.detach(),))
    except Exception as error:
        raise ModelError(f"torch.export cannot read {name}: {error}") from error
    finally:
        module.train(training)
    return _Interpreter(exported, name, tuple(sample.shape), str(sample.dtype).removeprefix("torch.")).run()


def _check_parameters(module: torch.nn.Module, name: str) -> None:
    for kind in (module.named_parameters(), module.named_buffers()):
        for label, tensor in kind:
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise ModelError(
                    f"The parameter {label} of {name} holds NaN or infinite numbers, for which no bound exists. "
                    "Check the training run."
                )


class _Interpreter:
    """Runs an exported graph on builder values."""

    def __init__(self, exported: Any, name: str, shape: tuple[int, ...], element_type: str) -> None:
        self.exported, self.name, self.element_type = exported, name, element_type
        self.builder = Builder(shape)
        self.values: dict[str, Any] = {}
        signature = exported.graph_signature
        constants = exported.state_dict | exported.constants
        lifted = (
            signature.inputs_to_parameters | signature.inputs_to_buffers | signature.inputs_to_lifted_tensor_constants
        )
        for node in exported.graph.nodes:
            if node.op == "placeholder":
                target = lifted.get(node.name)
                self.values[node.name] = self.builder.input if target is None else to_numpy(constants[target])

    def run(self) -> Network:
        """The whole graph as a simplified network."""
        for node in self.exported.graph.nodes:
            if node.op == "call_function":
                self.values[node.name] = self._call(node)
            elif node.op == "output":
                outputs = map_arg(node.args[0], lambda n: self.values[n.name])
                return self._finish(outputs)
        raise ModelError(f"{self.name} has no output.")

    def _finish(self, outputs: Any) -> Network:
        if len(outputs) != 1 or not isinstance(outputs[0], Tensor):
            raise ModelError(
                f"{self.name} returns {len(outputs)} values, or one that does not depend on its input; "
                "modules that return exactly one tensor are read."
            )
        return self.builder.finish(outputs[0], self.name, self.element_type)

    def _call(self, node: Any) -> Any:
        name = getattr(node.target, "__name__", str(node.target))
        packet = str(getattr(node.target, "overloadpacket", name)).removeprefix("aten.")
        args = map_arg(node.args, lambda n: self.values[n.name])
        options = map_arg(node.kwargs, lambda n: self.values[n.name])
        if node.target is operator.getitem:
            return args[0][args[1]]
        if not _depends(args) and not _depends(options):
            return _fold(node.target, args, options)
        handler = OPERATIONS.get(packet)
        if handler is None:
            raise UnsupportedOperatorError(
                f"Operation {packet} (node {node.name} of {self.name}) is not supported. "
                f"Supported: {', '.join(sorted(OPERATIONS))}."
            )
        try:
            return handler(self.builder, *args, **options)
        except (UnsupportedUse, ValueError, TypeError, AssertionError) as error:
            raise UnsupportedOperatorError(
                f"Operation {packet} (node {node.name} of {self.name}) is used in a way that is not supported: {error}"
            ) from error


def _depends(arguments: Any) -> bool:
    """Whether a tensor of the builder stands anywhere in an operation's arguments."""
    found = []
    map_aggregate(arguments, lambda a: found.append(isinstance(a, Tensor)))
    return any(found)


def _fold(target: Any, args: Any, options: Any) -> Any:
    """An operation on constants, computed by torch itself."""

    def tensor(value: Any) -> Any:
        return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value

    result = target(*map_aggregate(args, tensor), **map_aggregate(options, tensor))
    if isinstance(result, list | tuple):
        return [to_numpy(part) if isinstance(part, torch.Tensor) else part for part in result]
    return to_numpy(result) if isinstance(result, torch.Tensor) else result


def _number(value: Any) -> Value:
    return value if isinstance(value, Tensor) else np.asarray(value, dtype=np.float64)


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise UnsupportedUse("its data argument is constant")
    return value


def _linear(builder: Builder, x: Any, weight: Any, bias: Any = None) -> Value:
    if isinstance(weight, Tensor):
        raise UnsupportedUse("its weight depends on the input")
    product = builder.matmul(x, np.asarray(weight).T)
    return product if bias is None else builder.add(product, _number(bias))


def _addmm(builder: Builder, bias: Any, first: Any, second: Any) -> Value:
    return builder.add(builder.matmul(first, second), _number(bias))


def _plus(builder: Builder, first: Any, second: Any, alpha: float = 1.0) -> Value:
    return builder.add(_number(first), _number(second), float(alpha))


def _minus(builder: Builder, first: Any, second: Any, alpha: float = 1.0) -> Value:
    return builder.add(_number(first), _number(second), -float(alpha))


def _reverse_minus(builder: Builder, first: Any, second: Any, alpha: float = 1.0) -> Value:
    return builder.add(_number(second), _number(first), -float(alpha))


def _times(builder: Builder, first: Any, second: Any) -> Value:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        raise UnsupportedUse("it multiplies two values that both depend on the input")
    x, factor = (first, second) if isinstance(first, Tensor) else (second, first)
    return builder.scale(_tensor(x), np.asarray(factor, dtype=np.float64))


def _divided(builder: Builder, first: Any, second: Any) -> Value:
    divisor = np.asarray(second, dtype=np.float64) if not isinstance(second, Tensor) else None
    if divisor is None or not np.all(np.abs(divisor) > 0):
        raise UnsupportedUse("its divisor depends on the input or holds a zero")
    return builder.scale(_tensor(first), 1.0 / divisor)


def _view(builder: Builder, x: Tensor, shape: list[int]) -> Value:
    rest = -int(np.prod(shape)) if -1 in shape else 1
    return builder.reshape(x, tuple(x.size // max(rest, 1) if size == -1 else size for size in shape))


def _flatten(builder: Builder, x: Tensor, start: int = 0, end: int = -1) -> Value:
    rank = len(x.shape)
    first, last = start % rank, end % rank
    middle = int(np.prod(x.shape[first : last + 1]))
    return builder.reshape(x, (*x.shape[:first], middle, *x.shape[last + 1 :]))


def _unflatten(builder: Builder, x: Tensor, axis: int, sizes: list[int]) -> Value:
    axis %= len(x.shape)
    return _view(builder, x, [*x.shape[:axis], *sizes, *x.shape[axis + 1 :]])


def _permute(builder: Builder, x: Tensor, order: list[int]) -> Value:
    return builder.select(x, np.transpose(_labels(x), order))


def _swap(builder: Builder, x: Tensor, first: int, second: int) -> Value:
    return builder.select(x, np.swapaxes(_labels(x), first, second))


def _transpose(builder: Builder, x: Any) -> Value:
    return x.T if isinstance(x, np.ndarray) else builder.select(x, _labels(x).T)


def _squeeze(builder: Builder, x: Tensor, axis: Any = None) -> Value:
    axes = range(len(x.shape)) if axis is None else [axis] if isinstance(axis, int) else axis
    chosen = {a % len(x.shape) for a in axes if x.shape[a] == 1}
    return builder.reshape(x, tuple(size for i, size in enumerate(x.shape) if i not in chosen))


def _unsqueeze(builder: Builder, x: Tensor, axis: int) -> Value:
    return builder.reshape(x, np.expand_dims(np.empty(x.shape, dtype=bool), axis).shape)


def _slice(builder: Builder, x: Tensor, axis: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Value:
    picks = [slice(None)] * len(x.shape)
    picks[axis] = slice(start, end, step)
    return builder.select(x, _labels(x)[tuple(picks)])


def _pick(builder: Builder, x: Tensor, axis: int, index: int) -> Value:
    return builder.select(x, np.take(_labels(x), index, axis=axis))


def _cat(builder: Builder, parts: list[Any], axis: int = 0) -> Value:
    return builder.concat([_number(part) for part in parts], axis)


def _split(builder: Builder, x: Tensor, sizes: Any, axis: int = 0) -> list[Value]:
    length = x.shape[axis]
    cuts = list(range(sizes, length, sizes)) if isinstance(sizes, int) else list(np.cumsum(sizes)[:-1])
    return [builder.select(x, part) for part in np.split(_labels(x), cuts, axis=axis)]


def _chunk(builder: Builder, x: Tensor, count: int, axis: int = 0) -> list[Value]:
    return _split(builder, x, -(-x.shape[axis] // count), axis)


def _same(builder: Builder, x: Any, *_: Any) -> Any:
    return x


def _dropout(builder: Builder, x: Any, _share: float = 0.5, training: bool = False) -> Any:
    if training:
        raise UnsupportedUse("it is in training mode; call module.eval()")
    return x


def _relu(builder: Builder, x: Any) -> Value:
    return builder.activation("relu", _tensor(x))


def _negative(builder: Builder, x: Any) -> Value:
    return builder.scale(_tensor(x), np.array(-1.0))


def _labels(x: Tensor) -> np.ndarray:
    return np.arange(x.size).reshape(x.shape)


OPERATIONS: dict[str, Handler] = {
    "add": _plus,
    "add_": _plus,
    "addmm": _addmm,
    "alias": _same,
    "cat": _cat,
    "chunk": _chunk,
    "clone": _same,
    "concat": _cat,
    "contiguous": _same,
    "detach": _same,
    "detach_": _same,
    "div": _divided,
    "dropout": _dropout,
    "flatten": _flatten,
    "lift_fresh_copy": _same,
    "linear": _linear,
    "matmul": lambda builder, first, second: builder.matmul(first, second),
    "mm": lambda builder, first, second: builder.matmul(first, second),
    "mul": _times,
    "neg": _negative,
    "permute": _permute,
    "relu": _relu,
    "relu_": _relu,
    "reshape": _view,
    "rsub": _reverse_minus,
    "select": _pick,
    "slice": _slice,
    "split": _split,
    "split_with_sizes": _split,
    "squeeze": _squeeze,
    "sub": _minus,
    "sub_": _minus,
    "t": _transpose,
    "transpose": _swap,
    "unflatten": _unflatten,
    "unsqueeze": _unsqueeze,
    "view": _view,
}
"""Handlers by ATen operator name. Convolutions, pooling and further activations are added here."""
