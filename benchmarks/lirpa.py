"""auto_LiRPA on an instance of ours: the same network as a torch module, and its CROWN and alpha-CROWN bounds."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import admm_verify as av
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.network.maps import LinearMap
from admm_verify.network.selection import SelectionMap
from benchmarks import THREADS
from problems.crown_family import CrownInstance

Shape = tuple[int, ...]


def load(folder: Path) -> dict[str, str]:
    """Make the package in a folder importable, on one thread; versions."""
    sys.path.insert(0, str(folder))
    import auto_LiRPA

    torch.set_num_threads(THREADS)
    return {"auto_LiRPA": auto_LiRPA.__version__, "torch": str(torch.__version__)}


class Lirpa:
    """auto_LiRPA on one instance, with its default step sizes; `patience` ends alpha-CROWN early, 10 by default."""

    def __init__(self, instance: CrownInstance, iterations: int, patience: int) -> None:
        from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

        module = GraphModule(instance.network)
        lower, upper = (
            torch.as_tensor(np.asarray(end).reshape(1, *module.input_shape), dtype=torch.float32)
            for end in (instance.box.lower, instance.box.upper)
        )
        middle = (lower + upper) / 2
        ours = instance.network(middle.double().numpy().reshape(1, *instance.network.input_shape))
        with torch.no_grad():
            np.testing.assert_allclose(module(middle).numpy(), ours, rtol=1e-3, atol=1e-3)
        self.module = BoundedModule(module, middle, device="cpu", verbose=0)
        arguments = {"iteration": iterations, "lr_alpha": 0.5, "early_stop_patience": patience}
        self.module.set_bound_opts({"optimize_bound_args": arguments | {"fix_interm_bounds": True}})
        perturbation = PerturbationLpNorm(norm=np.inf, x_L=lower, x_U=upper)
        self.inputs = (BoundedTensor(middle, perturbation),)
        self.objective = torch.as_tensor(instance.objective, dtype=torch.float32)[None]

    def crown(self) -> np.ndarray:
        """The CROWN bound per row, intermediate bounds included."""
        with torch.no_grad():
            return self._bound("CROWN", None)

    def alpha(self) -> Callable[[], np.ndarray]:
        """Alpha-CROWN over the intermediate bounds of a CROWN run, ready to be timed."""
        self.crown()
        before = [node.inputs[0] for node in self.module.get_enabled_opt_act()]
        known = {node.name: (node.lower.detach().clone(), node.upper.detach().clone()) for node in before}
        return lambda: self._bound("CROWN-Optimized", known)

    def alpha_everywhere(self) -> np.ndarray:
        """The library's default call: alpha-CROWN that computes the intermediate bounds anew from optimised slopes."""
        return self._bound("CROWN-Optimized", None)

    def _bound(self, method: str, known: Any) -> np.ndarray:
        lower, _ = self.module.compute_bounds(
            x=self.inputs, C=self.objective, method=method, bound_upper=False, interm_bounds=known
        )
        return lower.detach().numpy().ravel().astype(np.float64)


class BatchLirpa:
    """auto_LiRPA on many boxes of one network at once, on a device, with its default step sizes and no early end.

    Shapes: boxes [boxes, *input_shape]; objective [boxes, rows, outputs].
    """

    def __init__(self, network: Network, boxes: av.Box, objective: np.ndarray, iterations: int, device: str) -> None:
        from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

        module = GraphModule(network).to(device)
        lower, upper = (end.reshape(-1, *module.input_shape).to(device, torch.float32) for end in boxes.range)
        middle = (lower + upper) / 2
        self.module = BoundedModule(module, middle, device=device, verbose=0)
        arguments = {"iteration": iterations, "lr_alpha": 0.5, "early_stop_patience": iterations}
        self.module.set_bound_opts({"optimize_bound_args": arguments | {"fix_interm_bounds": True}})
        self.inputs = (BoundedTensor(middle, PerturbationLpNorm(norm=np.inf, x_L=lower, x_U=upper)),)
        self.objective = torch.as_tensor(objective, dtype=torch.float32, device=device)

    def crown(self) -> np.ndarray:
        """CROWN's bounds, intermediate ones included, [boxes, rows]."""
        with torch.no_grad():
            return self._bound("CROWN", None)

    def alpha(self) -> np.ndarray:
        """Those of alpha-CROWN over CROWN's intermediate bounds, which are computed first."""
        self.crown()
        before = [node.inputs[0] for node in self.module.get_enabled_opt_act()]
        known = {node.name: (node.lower.detach().clone(), node.upper.detach().clone()) for node in before}
        return self._bound("CROWN-Optimized", known)

    def _bound(self, method: str, known: Any) -> np.ndarray:
        lower, _ = self.module.compute_bounds(
            x=self.inputs, C=self.objective, method=method, bound_upper=False, interm_bounds=known
        )
        return lower.detach().cpu().numpy().astype(np.float64)


class GraphModule(torch.nn.Module):
    """A network of convolutions, matrices, residual sums and ReLUs, node by node.

    Shapes: [batch, *input_shape] -> [batch, outputs].
    Raises: ValueError naming a node that is none of these.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        first = [term.map for node in network.affine.values() for term in node.terms if not term.source]
        images = [part.input_shape for part in first if isinstance(part, ConvolutionMap)]
        self.input_shape: Shape = images[0] if images else (network.input_size,)
        shapes: list[Shape] = [self.input_shape]
        self.sources: list[tuple[int, ...]] = []
        self.layers = torch.nn.ModuleList()
        for i, node in enumerate(network.nodes[1:], start=1):
            if isinstance(node, Activation) and node.kind == "relu":
                shapes.append(shapes[node.source])
                self.sources.append((node.source,))
                self.layers.append(torch.nn.ModuleList([torch.nn.ReLU()]))
            elif isinstance(node, Affine):
                try:
                    layers, shape = _layers(node, shapes)
                except ValueError as error:
                    raise ValueError(f"Node {i} of {network.name} {error}") from None
                shapes.append(shape)
                self.sources.append(tuple(term.source for term in node.terms))
                self.layers.append(torch.nn.ModuleList(layers))
            else:
                raise ValueError(f"Node {i} of {network.name} is neither affine nor a ReLU.")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """f(x)."""
        values = [x]
        for sources, layers in zip(self.sources, self.layers, strict=True):
            first, *others = (layer(values[source]) for source, layer in zip(sources, layers, strict=True))
            for other in others:
                first = first + other
            values.append(first)
        return values[-1]


def _input_shape(network: Network) -> Shape:
    """The image that the first convolution reads, or a flat vector."""
    terms = [term for node in network.affine.values() for term in node.terms if term.source == 0]
    images = [term.map.input_shape for term in terms if isinstance(term.map, ConvolutionMap)]
    return images[0] if images else (network.input_size,)


def _layers(node: Affine, shapes: list[Shape]) -> tuple[list[torch.nn.Module], Shape]:
    """One layer per term of an affine node, whose bias the first layer with weights takes, and the node's shape."""
    bias: np.ndarray | None = np.asarray(node.bias)
    layers, found = [], set()
    for term in node.terms:
        layer, shape = _layer(term.map, bias, shapes[term.source])
        layers.append(layer)
        found.add(shape)
        if not isinstance(layer, torch.nn.Identity):
            bias = None
    if len(found) != 1 or (bias is not None and bias.any()):
        raise ValueError("is no sum of layers of torch.")
    return layers, found.pop()


def _layer(part: LinearMap, bias: np.ndarray | None, shape: Shape) -> tuple[torch.nn.Module, Shape]:
    if isinstance(part, SelectionMap) and part.is_identity:
        return torch.nn.Identity(), shape
    if not isinstance(part, ConvolutionMap):
        weight = part.dense().weight
        linear = torch.nn.Linear(*weight.shape[::-1], bias=bias is not None)
        _fill(linear, weight, bias)
        return (linear if len(shape) == 1 else torch.nn.Sequential(torch.nn.Flatten(), linear)), (len(weight),)
    top, left, bottom, right = part.padding
    planes = None if bias is None else bias.reshape(part.output_shape[0], -1)
    uneven = planes is not None and np.ptp(planes, axis=1).any()
    if (top, left) != (bottom, right) or uneven or shape != part.input_shape:
        raise ValueError("is no convolution of torch.")
    sizes = (part.input_shape[0], part.weight.shape[0], part.weight.shape[2:])
    layer = torch.nn.Conv2d(*sizes, part.stride, (top, left), part.dilation, part.groups, bias=planes is not None)
    _fill(layer, part.weight, None if planes is None else planes[:, 0])
    return layer, part.output_shape


def _fill(layer: torch.nn.Module, weight: np.ndarray, bias: np.ndarray | None) -> None:
    layer.weight = torch.nn.Parameter(torch.as_tensor(np.ascontiguousarray(weight), dtype=torch.float32))
    if bias is not None:
        layer.bias = torch.nn.Parameter(torch.as_tensor(np.ascontiguousarray(bias), dtype=torch.float32))
