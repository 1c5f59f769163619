"""Layers from the tensors of a torch Sequential: what each is follows from its tensors' names and shapes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from admm_verify.errors import ModelError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.network.nonlinear import prelu
from admm_verify.network.normalisation import layer_norm
from admm_verify.network.spatial import Window, batch_norm, convolution
from admm_verify.policies.readers.curves import Curve

Layer = Mapping[str, np.ndarray]
"""The tensors of one module by their short names."""


@dataclass
class StateDict:
    """The tensors of a file, of which each is asked for once; the rest is looked at in the end."""

    tensors: Mapping[str, np.ndarray]
    source: str
    used: set[str] = field(default_factory=set)

    def holds(self, prefix: str) -> bool:
        """Whether there is a tensor whose name starts so."""
        return any(name.startswith(prefix) for name in self.tensors)

    def layer(self, prefix: str) -> Layer:
        """The tensors of the module `prefix`, by what follows its name; none where there is no such module."""
        start = f"{prefix}."
        found = {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}
        self.used |= {start + name for name in found}
        return found

    def numbered(self, prefix: str) -> dict[int, Layer]:
        """The modules of a Sequential that have tensors, by their numbers."""
        places = {
            int(match.group(1))
            for name in self.tensors
            if (match := re.match(re.escape(prefix) + r"\.(\d+)\.", name)) is not None
        }
        return {place: self.layer(f"{prefix}.{place}") for place in sorted(places)}

    def check_rest(self, allowed: Iterable[str]) -> None:
        """Refuse tensors that nothing asked for and whose names start otherwise than is allowed."""
        starts = tuple(allowed)
        rest = sorted(name for name in self.tensors if name not in self.used and not name.startswith(starts))
        if rest:
            raise ModelError(
                f"{self.source} holds the tensor {rest[0]}, which belongs to no policy that is known here, so that "
                "what it does is unknown. Give the torch module itself, model.policy, or its ONNX export."
            )


def sequential(
    builder: Builder,
    x: Tensor,
    layers: Mapping[int, Layer],
    curve: Curve,
    ends_in_curve: bool,
    renorm_epsilon: float = 1e-3,
) -> Tensor:
    """The modules of a Sequential in their order, where a number without tensors is the activation function.

    ends_in_curve: whether one more follows where a Linear or LayerNorm is the last that has tensors. renorm_epsilon:
    that of BatchRenorm.
    Raises: ModelError for modules that cannot be told apart.
    """
    last = -1
    for place, layer in layers.items():
        if place - last > 2 or (place - last == 2 and last < 0):
            raise ModelError(
                f"Between the layers {last} and {place} of the policy stand {place - last - 1} modules without "
                "weights, of which one would be the activation function. Give the torch module itself."
            )
        x = curve(builder, x) if place - last == 2 else x
        x = _module(builder, x, layer, f"layer {place} of the policy", renorm_epsilon)
        last = place
    return curve(builder, x) if ends_in_curve and layers and _is_straight(layers[last]) else x


def dense(builder: Builder, x: Tensor, layer: Layer) -> Tensor:
    """W x + b, for a vector x."""
    if "weight" not in layer:
        raise ModelError(
            f"A dense layer of the policy lacks its weight; it has {', '.join(sorted(layer)) or 'nothing'}."
        )
    weight = layer["weight"].astype(np.float64)
    bias = layer["bias"].astype(np.float64) if "bias" in layer else None
    if weight.ndim != 2 or weight.shape[1] != x.size or (bias is not None and bias.shape != weight.shape[:1]):
        raise ModelError(
            f"A weight of shape {weight.shape}, with a bias of shape {None if bias is None else bias.shape}, does not "
            f"fit the {x.size} numbers before it."
        )
    return Tensor(builder.affine(x, DenseMap(weight), bias), (1, weight.shape[0]))


def nature_cnn(builder: Builder, x: Tensor, layers: Mapping[int, Layer], last: Layer) -> Tensor:
    """Three convolutions and a dense layer, ReLU after each, as of Mnih et al. (Nature 2015): strides 4, 2, 1.

    Shapes: x [1, channels, height, width].
    """
    none = (0, 0)
    for layer, stride in zip(layers.values(), (4, 2, 1), strict=True):
        weight = layer["weight"].astype(np.float64)
        size = (weight.shape[2], weight.shape[3])
        window = Window(size, (stride, stride), none, none, (1, 1))
        x = builder.activation("relu", convolution(builder, x, weight, layer["bias"].astype(np.float64), window))
    return builder.activation("relu", dense(builder, builder.reshape(x, (1, x.size)), last))


def is_nature_cnn(layers: Mapping[int, Layer]) -> bool:
    """Whether the shapes are those of stable-baselines3's NatureCNN."""
    shapes = [layer["weight"].shape for layer in layers.values() if "weight" in layer]
    kernels = [(shape[0], *shape[2:]) for shape in shapes if len(shape) == 4]
    return [*layers] == [0, 2, 4] and kernels == [(32, 8, 8), (64, 4, 4), (64, 3, 3)]


def _is_straight(layer: Layer) -> bool:
    """Whether a module with tensors is a Linear or a LayerNorm, after which an activation function comes."""
    names = set(layer)
    return names == {"weight", "bias"} or (names == {"weight"} and layer["weight"].ndim == 2)


def _module(builder: Builder, x: Tensor, layer: Layer, what: str, renorm_epsilon: float) -> Tensor:
    """A module with tensors: Linear, LayerNorm, BatchNorm1d, BatchRenorm or PReLU."""
    names = frozenset(layer)
    weight = layer.get("weight")
    if weight is not None and weight.ndim == 2 and names <= {"weight", "bias"}:
        return dense(builder, x, layer)
    if names == {"weight", "bias"} and weight is not None and weight.shape == (x.size,):
        parts = (layer[name].astype(np.float64).reshape(1, -1) for name in ("weight", "bias"))
        return layer_norm(builder, x, 1, *parts, epsilon=1e-5)
    if names == {"weight"} and weight is not None and weight.size == 1:
        return prelu(builder, x, float(weight.reshape(-1)[0]))
    if {"weight", "bias", "running_mean", "running_var"} <= names:
        order = ("weight", "bias", "running_mean", "running_var")
        return _batch_norm(builder, x, layer, order, 1e-5)
    if {"scale", "bias", "ra_mean", "ra_var"} <= names:
        return _batch_norm(builder, x, layer, ("scale", "bias", "ra_mean", "ra_var"), renorm_epsilon)
    raise ModelError(
        f"The {what} holds the tensors {', '.join(sorted(names))}; Linear, LayerNorm, BatchNorm1d, BatchRenorm and "
        "PReLU are read from their tensors. Give the torch module itself."
    )


def _batch_norm(builder: Builder, x: Tensor, layer: Layer, names: tuple[str, str, str, str], epsilon: float) -> Tensor:
    gamma, beta, mean, variance = (layer[name] for name in names)
    return batch_norm(builder, x, gamma, beta, mean, variance, epsilon)
