"""Activation functions by the names that torch's modules have, from the texts in which files name them."""

import re
from collections.abc import Callable, Mapping, Sequence

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
"""Characters of a text that are shown."""

_NAME = r"<class 'torch\.nn\.modules\.(?:activation|linear)\.(\w+)'>"
_CLASS = re.compile(_NAME)
_PARTIAL = re.compile(rf"functools\.partial\({_NAME}(?:, ([^()]*(?:\([^()]*\)[^()]*)*))?\)")
_NUMBER = re.compile(r"(?:np\.float(?:32|64)\()?(-?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf))\)?")
_WITHOUT_EFFECT = (("inplace", "True"), ("inplace", "False"), ("approximate", "'none'"))

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
    found = _CLASS.fullmatch(text) or _PARTIAL.fullmatch(text)
    if found is None:
        raise ModelError(
            f"The file says of the activation function no more than {text[:_LONGEST]!r}; it is not known what that "
            "computes. Give the layers as a torch module, such as "
            "torch.nn.Sequential(*policy.mlp_extractor.policy_net, policy.action_net)."
        )
    name, *arguments = (part for part in found.groups() if part)
    return curve(name, _arguments(name, arguments[0].split(", ")) if arguments else {})


def _arguments(name: str, texts: Sequence[str]) -> dict[str, float]:
    """The numbers of a module that a text shows it to be made with, by name.

    Raises: ModelError for anything else, which may change what it computes.
    """
    order, numbers = tuple(_WITH_NUMBERS.get(name, ({}, None))[0]), {}
    for place, text in enumerate(texts):
        key, _, value = text.rpartition("=")
        number = _NUMBER.fullmatch(value)
        if (key, value) in _WITHOUT_EFFECT or (name == "PReLU" and key in ("init", "num_parameters")):
            continue
        if number is None or (not key and place >= len(order)):
            raise ModelError(
                f"The activation function {name} was made with {text[:_LONGEST]!r}, and it is not known what that "
                "changes. Give the layers as a torch module."
            )
        numbers[key or order[place]] = float(number.group(1))
    return numbers
