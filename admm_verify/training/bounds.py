"""Bounds of layer graphs that torch differentiates: intervals forward, linear bounds backward.

They are what training minimises and claim nothing: rounding errors are left out, which certified bounds include. What
is reported of a trained network is made by `admm_verify.bounds`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from admm_verify.training.layers import DenseStep, ReshapeStep, Scales
from admm_verify.training.reading import LayerGraph, LayerNode


@dataclass(frozen=True, eq=False)
class TensorBox:
    """Images between two ends, [batch, *input_shape]."""

    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, images: Tensor, radius: float, within: tuple[float, float] | None = None) -> "TensorBox":
        """Everything within the radius of the images, and within a range of numbers where one is given."""
        low, high = images - radius, images + radius
        return cls(low, high) if within is None else cls(low.clamp(*within), high.clamp(*within))

    @property
    def middle(self) -> Tensor:
        """The centres."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> Tensor:
        """Half the widths."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, eq=False)
class LayerBounds:
    """Intervals of the nodes of a graph over boxes of images.

    nodes[i]: the ends of node i, [batch, *shape]; with `scales` of the batch norms, and the graph they are of.
    """

    graph: LayerGraph
    nodes: tuple[TensorBox, ...]
    scales: Mapping[int, Scales]

    @property
    def preactivations(self) -> tuple[TensorBox, ...]:
        """The ends of what the rectifiers read, in their order."""
        return tuple(self.nodes[self.graph.nodes[i].sources[0]] for i in self.graph.activations)

    def margins(self, labels: Tensor) -> Tensor:
        """Lower bounds of f_t - f_j for the label t and every class j; 0 for t itself.

        The last layer, where it is dense, is taken together with the differences: (w_t - w_j)'x over the interval of
        its input is bounded as one function.

        Shapes: labels [batch] -> [batch, classes].
        Reference: Gowal et al., arXiv 1810.12715, section 3 (elision of the last layer).
        """
        last = self.graph.nodes[-1]
        if not isinstance(last.step, DenseStep):
            box, rows = self.nodes[-1], labels[:, None]
            return (box.low.gather(1, rows) - box.high).scatter(1, rows, 0.0)
        weight, bias, box = last.step.module.weight, last.step.module.bias, self.nodes[last.sources[0]]
        rows = weight[labels][:, None] - weight
        found = (rows @ box.middle[..., None])[..., 0] - (rows.abs() @ box.radius[..., None])[..., 0]
        return found if bias is None else found + bias[labels][:, None] - bias


def interval_bounds(graph: LayerGraph, box: TensorBox, scales: Mapping[int, Scales]) -> LayerBounds:
    """Intervals of all nodes: W c + b -/+ |W| r with centre c and radius r of the source.

    Shapes: box [batch, *input_shape].
    Reference: Gowal et al., arXiv 1810.12715, section 3.
    """
    found = [box]
    for i, node in enumerate(graph.nodes[1:], start=1):
        found.append(_interval(node, [found[source] for source in node.sources], scales.get(i)))
    return LayerBounds(graph, tuple(found), scales)


def _interval(node: LayerNode, at: list[TensorBox], scales: Scales | None) -> TensorBox:
    if node.step is not None:
        middle, radius = node.step.apply(at[0].middle, scales), node.step.spread(at[0].radius, scales)
        return TensorBox(middle - radius, middle + radius)
    if len(at) == 2:
        return TensorBox(at[0].low + at[1].low, at[0].high + at[1].high)
    return TensorBox(torch.relu(at[0].low), torch.relu(at[0].high))


class Slope(Protocol):
    """Which line bounds a rectifier from below, where its interval holds zero."""

    def __call__(self, low: Tensor, high: Tensor) -> Tensor:
        """Its slope, between 0 and 1, for low < 0 < high."""
        ...


def steeper_half(low: Tensor, high: Tensor) -> Tensor:
    """1 where most of the interval is positive, else 0: the line that encloses the least area.

    Reference: Zhang et al., NeurIPS 2018 (CROWN), adaptive choice.
    """
    return (high > -low).to(low.dtype)


def parallel(low: Tensor, high: Tensor) -> Tensor:
    """u / (u - l), that of the line above.

    Reference: Wong and Kolter, arXiv 1711.00851, section 3.
    """
    return high / (high - low)


def backward_bounds(
    bounds: LayerBounds, functionals: Tensor, slope: Slope = steeper_half, node: int | None = None
) -> Tensor:
    """Lower bounds of c'x_node over the box: CROWN over the intervals of `bounds`.

    A rectifier of interval [l, u] lies between a line through 0 and u (x - l) / (u - l); a coefficient of its output
    takes the lower one where it is positive, the upper one elsewhere, and goes on to its input.

    node: the last one where left out.
    Shapes: functionals [batch, rows, *shape] or [1, rows, *shape] -> [batch, rows].
    Reference: Zhang et al., NeurIPS 2018, theorem 3.2; as a dual network Wong and Kolter, arXiv 1711.00851, theorem 1.
    """
    graph, end = bounds.graph, len(bounds.graph.nodes) - 1 if node is None else node
    batch, rows = len(bounds.nodes[0].low), functionals.shape[1]
    coefficients: dict[int, Tensor] = {end: functionals.expand(batch, *functionals.shape[1:])}
    total: Tensor = functionals.new_zeros(batch, rows)
    for i in range(end, 0, -1):
        coefficient, here = coefficients.pop(i, None), graph.nodes[i]
        if coefficient is None:
            continue
        if here.step is None and len(here.sources) == 1:
            coefficient, constant = _rectified(coefficient, bounds.nodes[here.sources[0]], slope)
            total = total + constant
        elif here.step is not None:
            flat, scales = coefficient.flatten(0, 1), bounds.scales.get(i)
            constant = here.step.shift(flat, scales)
            total = total + (constant.reshape(batch, rows) if isinstance(constant, Tensor) else constant)
            inputs = graph.nodes[here.sources[0]].shape
            coefficient = here.step.transpose(flat, inputs, scales).unflatten(0, (batch, rows))
        for source in here.sources:
            coefficients[source] = coefficients[source] + coefficient if source in coefficients else coefficient
    first = coefficients[0].flatten(2)
    box = bounds.nodes[0]
    middle, radius = (part.flatten(1)[..., None] for part in (box.middle, box.radius))
    return total + (first @ middle - first.abs() @ radius)[..., 0]


def _rectified(coefficient: Tensor, box: TensorBox, slope: Slope) -> tuple[Tensor, Tensor]:
    """The coefficient of a rectifier's input, and what its lines add, [batch, rows]."""
    low, high = box.low[:, None], box.high[:, None]
    open_ = (low < 0) & (high > 0)
    # Elsewhere any numbers do, so long as no gradient through them is NaN.
    l, u = torch.where(open_, low, -1.0), torch.where(open_, high, 1.0)
    active = (low >= 0).to(low.dtype)
    above, below = torch.where(open_, u / (u - l), active), torch.where(open_, slope(l, u), active)
    positive, negative = coefficient.clamp(min=0), coefficient.clamp(max=0)
    shift = torch.where(open_, -l * above, 0.0)
    return positive * below + negative * above, (negative * shift).flatten(2).sum(-1)


def crown_bounds(graph: LayerGraph, box: TensorBox, scales: Mapping[int, Scales], slope: Slope) -> LayerBounds:
    """Intervals of all nodes, those that rectifiers read cut with backward bounds over the layers before.

    Shapes: box [batch, *input_shape]. One backward pass for every neuron of these layers, in both directions.
    """
    found = [box]
    read = {graph.nodes[i].sources[0] for i in graph.activations}
    for i, node in enumerate(graph.nodes[1:], start=1):
        own = _interval(node, [found[source] for source in node.sources], scales.get(i))
        if i in read and not _is_exact(graph, i):
            so_far = LayerBounds(graph, (*found, own), scales)
            unit = torch.eye(own.low[0].numel(), dtype=own.low.dtype).reshape(1, -1, *node.shape)
            low, high = backward_bounds(so_far, unit, slope, i), -backward_bounds(so_far, -unit, slope, i)
            shape = own.low.shape
            own = TensorBox(torch.maximum(own.low, low.reshape(shape)), torch.minimum(own.high, high.reshape(shape)))
        found.append(own)
    return LayerBounds(graph, tuple(found), scales)


def _is_exact(graph: LayerGraph, node: int) -> bool:
    """Whether the interval of a node is as tight as any: there is but one layer, of one source, above the input."""
    layers = 0
    while node:
        here = graph.nodes[node]
        if len(here.sources) != 1 or here.step is None:
            return False
        layers += not isinstance(here.step, ReshapeStep)
        node = here.sources[0]
    return layers <= 1


def class_rows(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """e_t - e_j for the label t and every class j.

    Shapes: labels [batch] -> [batch, classes, classes].
    """
    unit = torch.eye(classes, dtype=dtype)
    return unit[labels][:, None] - unit
