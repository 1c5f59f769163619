"""Activation functions by the names that torch's modules have, from the texts in which files name them."""

import re
from collections.abc import Callable, Mapping

from admm_verify.errors import ModelError
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.nonlinear import celu, clip, elu, prelu, selu, softplus

Curve = Callable[[Builder, Tensor], Tensor]
"""A function of one number, entry by entry, appended to a graph."""

_PLAIN = {"ReLU": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "SiLU": "silu", "GELU": "gelu", "Mish": "mish"}
_PLAIN |= {"Softsign": "softsign", "Hardswish": "hardswish"}

_WITH_NUMBERS: Mapping[str, tuple[Mapping[str, float], Callable[..., Tensor]]] = {
    "CELU": ({"alpha": 1.0}, celu),
    "ELU": ({"alpha": 1.0}, elu),
    "Hardtanh": (
        {"min_val": -1.0, "max_val": 1.0},
        clip,
    ),
    "Identity": ({}, lambda builder, x: x),
    "LeakyReLU": ({"negative_slope": 0.01}, prelu),
    "ReLU6": ({}, lambda builder, x: clip(builder, x, 0.0, 6.0)),
    "SELU": (
        {},
        lambda builder, x: selu(builder, x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946),
    ),
    "Softplus": (
        {"beta": 1.0, "threshold": 20.0},
        softplus,
    ),
}
"""Modules with numbers of their own, with torch's defaults."""

_LONGEST = 500
"""Characters of a text that names a function."""

NAMES = tuple(sorted({*_PLAIN, *_WITH_NUMBERS}))


def curve(name: str, numbers: Mapping[str, float] | None = None) -> Curve:
    """The function of a torch module's name, such as ReLU or LeakyReLU.

    numbers: arguments of the module, by name, where it was not made with its defaults.
    Raises: ModelError for one that is not read.
    """
    if name == "PReLU":
        return _of_own_weights
    given = dict(numbers or {})
    if name in _PLAIN and not given:
        kind = _PLAIN[name]
        return lambda builder, x: builder.activation(kind, x)
    defaults, function = _WITH_NUMBERS.get(name, ({}, None))
    if function is None or not set(given) <= set(defaults):
        raise ModelError(
            f"The activation function {name}{given or ''} is not read from a file; {', '.join(NAMES)} are. "
            "Give the torch module itself."
        )
    arguments = {**defaults, **given}
    return lambda builder, x: function(builder, x, *arguments.values())


def _of_own_weights(builder: Builder, x: Tensor) -> Tensor:
    raise ModelError("A PReLU of the policy has lost its weights. Give the torch module itself.")


def curve_of_text(text: str) -> Curve:
    """The function that the text of a class names, such as <class 'torch.nn.modules.activation.ReLU'>.

    Raises: ModelError for a text that names none, such as that of a lambda.
    """
    text = text[:_LONGEST]
    found = re.search(r"torch\.nn\.modules\.(?:activation|linear)\.(\w+)", text)
    if found is None:
        raise ModelError(
            f"The file says of the activation function no more than {text!r}; it is not known what that computes. "
            "Give the torch module itself: av.read_policy(model.policy, ...)."
        )
    return curve(
        found.group(1), {name: float(number) for name, number in re.findall(r"(\w+)=(-?\d+\.?\d*(?:e[-+]?\d+)?)", text)}
    )
