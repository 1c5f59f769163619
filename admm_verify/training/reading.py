"""A torch module as a graph of layers that keeps its parameters, read by torch.fx."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from admm_verify.errors import InputError, ModelError, UnsupportedOperatorError
from admm_verify.training.layers import (
    ConvolutionStep,
    DenseStep,
    LinearStep,
    MeanStep,
    ReshapeStep,
    Scales,
    ScaleStep,
    Shape,
)

READ = (
    "Linear, Conv1d, Conv2d, ReLU, Flatten, Unflatten, AvgPool1d, AvgPool2d, AdaptiveAvgPool2d, BatchNorm1d, "
    "BatchNorm2d, Dropout, Identity, sums of two layers, and sums and products with constants"
)

_SAME = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_MEANS = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
_RESHAPES = (torch.flatten, torch.reshape, "flatten", "view", "reshape", "unflatten")
_MEAN_FUNCTIONS: dict[Any, type[nn.Module]] = {
    functional.avg_pool1d: nn.AvgPool1d,
    functional.avg_pool2d: nn.AvgPool2d,
    functional.adaptive_avg_pool1d: nn.AdaptiveAvgPool1d,
    functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
}
"""Functions, and the modules that take what these take behind their tensor."""
_RECTIFIERS = (torch.relu, functional.relu, "relu")
_SUMS = (operator.add, operator.iadd, torch.add, "add")
_DIFFERENCES = (operator.sub, torch.sub, "sub")
_PRODUCTS = (operator.mul, torch.mul, "mul")
_QUOTIENTS = (operator.truediv, torch.div, "div")


@dataclass(frozen=True, eq=False)
class LayerNode:
    """A node of the graph: a linear step of one source, the sum of two, or where step is None and there is one source
    its rectifier; the input has no source. shape: of its values, without the batch axis.
    """

    sources: tuple[int, ...]
    step: LinearStep | None
    shape: Shape


@dataclass(frozen=True, eq=False)
class LayerGraph:
    """The layers of a module in order, the input first, the output last.

    Numbers are the module's own: bounds keep the gradients, and follow as the module is trained.
    """

    module: nn.Module
    nodes: tuple[LayerNode, ...]

    @property
    def input_shape(self) -> Shape:
        return self.nodes[0].shape

    @property
    def outputs(self) -> int:
        return self.nodes[-1].shape[0]

    @property
    def activations(self) -> tuple[int, ...]:
        """The rectifiers' numbers."""
        return tuple(i for i, node in enumerate(self.nodes) if node.step is None and len(node.sources) == 1)

    @property
    def trains_statistics(self) -> bool:
        """Whether a batch norm normalises by its batch."""
        steps = (node.step for node in self.nodes if isinstance(node.step, ScaleStep))
        return any(step.module is not None and step.module.training for step in steps)

    def scales(self, clean: Tensor) -> Mapping[int, Scales]:
        """The scales of all batch norms and constants, by their nodes; clean: images [batch, *input_shape]."""
        steps = {i: node.step for i, node in enumerate(self.nodes) if isinstance(node.step, ScaleStep)}
        if not self.trains_statistics:
            return {i: step.scales(None) for i, step in steps.items()}
        values: list[Tensor] = [clean]
        found: dict[int, Scales] = {}
        for i, node in enumerate(self.nodes[1:], start=1):
            at = [values[source] for source in node.sources]
            if isinstance(node.step, ScaleStep):
                found[i] = node.step.scales(at[0])
            values.append(_value(node, at, found.get(i)))
        return found


def _value(node: LayerNode, at: list[Tensor], scales: Scales | None) -> Tensor:
    if node.step is not None:
        return node.step.apply(at[0], scales)
    return at[0] + at[1] if len(at) == 2 else torch.relu(at[0])


def read_layers(module: nn.Module, example: Tensor) -> LayerGraph:
    """The graph of a module's layers, which shares its parameters.

    Shapes: example [batch, *input_shape], whose values do not matter.
    Raises: InputError for an example without a batch axis; UnsupportedOperatorError naming a layer without bounds here;
    ModelError for what torch.fx cannot follow.
    """
    if not example.ndim:
        raise InputError("The example is a single number; give a tensor with a leading batch axis.")
    try:
        traced = fx.symbolic_trace(module)
    # It runs the module's own code, which may raise anything.
    except Exception as error:
        raise ModelError(
            f"torch.fx cannot follow {type(module).__name__}: {error}. Write its forward without conditions on values, "
            "or as a torch.nn.Sequential."
        ) from error
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        traced.eval()
        with torch.no_grad():
            # A layer may work in place.
            ShapeProp(traced).propagate(example[:1].clone())
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"{type(module).__name__} does not take images of shape {list(example.shape[1:])}: {error}."
        ) from error
    finally:
        for part, mode in modes:
            part.training = mode
    return _LayerReader(module, traced).graph()


class _LayerReader:
    """Makes nodes of the nodes of torch.fx."""

    def __init__(self, module: nn.Module, traced: fx.GraphModule) -> None:
        self.module, self.traced = module, traced
        self.nodes: list[LayerNode] = []
        self.numbers: dict[fx.Node, int] = {}

    def graph(self) -> LayerGraph:
        """The graph, ending in what the module returns."""
        for node in self.traced.graph.nodes:
            if node.op == "placeholder":
                if self.nodes:
                    raise ModelError(f"{type(self.module).__name__} takes several inputs; one is read.")
                self._add(node, (), None)
            elif node.op == "output":
                return self._ended(node.args[0])
            elif node.op != "get_attr" and _shape(node) is not None and self._follows(node):
                self._read(node)
        raise ModelError(f"{type(self.module).__name__} returns nothing.")

    def _ended(self, returned: Any) -> LayerGraph:
        if not isinstance(returned, fx.Node) or returned not in self.numbers:
            raise ModelError(f"{type(self.module).__name__} does not return one tensor that depends on its input.")
        nodes = tuple(self.nodes[: self.numbers[returned] + 1])
        if len(nodes[-1].shape) != 1:
            raise ModelError(
                f"{type(self.module).__name__} returns {list(nodes[-1].shape)} numbers an image; a classifier returns "
                "one number a class. End it with torch.nn.Flatten()."
            )
        return LayerGraph(self.module, nodes)

    def _follows(self, node: fx.Node) -> bool:
        return any(source in self.numbers for source in node.all_input_nodes)

    def _add(self, node: fx.Node, sources: tuple[int, ...], step: LinearStep | None) -> None:
        shape = _shape(node)
        assert shape is not None, "It is a tensor"
        self.numbers[node] = len(self.nodes)
        self.nodes.append(LayerNode(sources, step, shape))

    def _read(self, node: fx.Node) -> None:
        sources = [self.numbers[one] for one in node.all_input_nodes if one in self.numbers]
        if node.op == "call_module":
            part = self.traced.get_submodule(str(node.target))
            return self._module(node, part, sources[0])
        target, shape = node.target, _shape(node)
        assert shape is not None, "It is a tensor"
        if target in _RECTIFIERS:
            return self._add(node, (sources[0],), None)
        if target in _RESHAPES:
            return self._add(node, (sources[0],), ReshapeStep(shape))
        if target in _MEAN_FUNCTIONS:
            named = {name: value for name, value in node.kwargs.items() if name != "input"}
            others = node.args if "input" in node.kwargs else node.args[1:]
            return self._add(node, (sources[0],), MeanStep(_MEAN_FUNCTIONS[target](*others, **named)))
        if target in _SUMS and len(node.args) == 2 and not node.kwargs:
            first, second = node.args
            if first in self.numbers and second in self.numbers:
                return self._sum(node, self.numbers[first], self.numbers[second])  # pyright: ignore[reportArgumentType]
        scales = self._constants(node)
        if scales is None:
            raise self._refusal(str(getattr(target, "__name__", target)), node)
        if shape != self.nodes[sources[0]].shape:
            raise self._refusal(f"{getattr(target, '__name__', target)} with a constant of a larger shape", node)
        return self._add(node, (sources[0],), ScaleStep(None, scales))

    def _module(self, node: fx.Node, part: nn.Module, source: int) -> None:
        if isinstance(part, _SAME):
            self.numbers[node] = source
        elif isinstance(part, nn.ReLU):
            self._add(node, (source,), None)
        elif isinstance(part, nn.Linear) and len(self.nodes[source].shape) == 1:
            self._add(node, (source,), DenseStep(part))
        elif isinstance(part, nn.Conv1d | nn.Conv2d):
            self._add(node, (source,), ConvolutionStep(part))
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            if part.running_mean is None or part.running_var is None:
                raise self._refusal(f"{type(part).__name__} without running statistics", node)
            self._add(node, (source,), ScaleStep(part))
        elif isinstance(part, nn.Flatten | nn.Unflatten):
            self._add(node, (source,), ReshapeStep(_shape(node) or ()))
        elif isinstance(part, _MEANS):
            self._add(node, (source,), MeanStep(part))
        else:
            raise self._refusal(type(part).__name__, node)

    def _sum(self, node: fx.Node, first: int, second: int) -> None:
        if self.nodes[first].shape != self.nodes[second].shape:
            raise ModelError(f"The sum {node.name} adds {self.nodes[first].shape} and {self.nodes[second].shape}.")
        if first == second:
            two = torch.tensor(2.0)
            return self._add(node, (first,), ScaleStep(None, Scales(two, torch.zeros_like(two))))
        return self._add(node, (first, second), None)

    def _constants(self, node: fx.Node) -> Scales | None:
        """x + c, x - c, c - x, x c and x / c with a constant c."""
        if len(node.args) != 2 or node.kwargs:
            return None
        flipped = node.args[0] not in self.numbers
        constant = self._constant(node.args[0] if flipped else node.args[1])
        if constant is None:
            return None
        one, zero = torch.ones_like(constant), torch.zeros_like(constant)
        if node.target in _SUMS:
            return Scales(one, constant)
        if node.target in _DIFFERENCES:
            return Scales(-one, constant) if flipped else Scales(one, -constant)
        if node.target in _PRODUCTS:
            return Scales(constant, zero)
        return Scales(1 / constant, zero) if node.target in _QUOTIENTS and not flipped else None

    def _constant(self, given: Any) -> Tensor | None:
        if isinstance(given, int | float):
            # Of no axes, it takes the type of what it meets, which may be float64.
            return torch.tensor(float(given), dtype=torch.float64)
        if isinstance(given, fx.Node) and given.op == "get_attr":
            found: Any = self.traced
            for name in str(given.target).split("."):
                found = getattr(found, name)
            # What is trained is no constant.
            if isinstance(found, Tensor) and not isinstance(found, nn.Parameter):
                return found
        return None

    def _refusal(self, name: str, node: fx.Node) -> UnsupportedOperatorError:
        return UnsupportedOperatorError(
            f"The layer {node.name} of {type(self.module).__name__} is a {name}, which has no differentiable bounds "
            f"here. Read are {READ}."
        )


def _shape(node: fx.Node) -> Shape | None:
    shape = getattr(node.meta.get("tensor_meta"), "shape", None)
    return None if shape is None else tuple(shape[1:])
