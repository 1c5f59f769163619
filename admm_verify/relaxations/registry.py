"""Every kind of activation with its relaxation: the one table the solvers look into."""

from collections.abc import Callable, Sequence

from admm_verify.arrays import Array
from admm_verify.network.graph import Activation, Network
from admm_verify.relaxations.contract import Relaxation
from admm_verify.relaxations.lines import CurveLines, KinkLines, Lines
from admm_verify.relaxations.piecewise_linear import Clip, PReLU
from admm_verify.relaxations.s_shaped import Elu, Sigmoid, Softplus, Tanh
from admm_verify.relaxations.triangle import Triangle

RELAXATIONS: dict[str, Callable[..., Relaxation]] = {
    "clip": Clip,
    "elu": Elu,
    "prelu": PReLU,
    "relu": Triangle,
    "sigmoid": Sigmoid,
    "softplus": Softplus,
    "tanh": Tanh,
}
"""Constructors by kind; they take the node's parameters in order."""

_KINKED = ("relu", "prelu")
"""Kinds that are convex with one kink at 0: their lower lines all pass through the origin."""


def relaxation_of(node: Activation) -> Relaxation:
    """The relaxation of an activation node, with the node's parameters where they are."""
    return RELAXATIONS[node.kind](*node.parameters)


def relaxations_of(network: Network) -> tuple[Relaxation, ...]:
    """The relaxations of all activations in graph order."""
    return tuple(map(relaxation_of, network.functions))


def lines_of(node: Activation, lower: Array, upper: Array) -> Lines:
    """The linear bounds of an activation over given pre-activation bounds."""
    relaxation = relaxation_of(node)
    slopes = relaxation.slopes(lower, upper)
    if node.kind in _KINKED:
        return KinkLines.of(slopes, lower, upper)
    return CurveLines(relaxation, lower, upper, slopes)


def sides(node: Activation) -> int:
    """Slopes of each neuron: one where only the lower line can be chosen, else two."""
    return 1 if node.kind in _KINKED else 2


def network_lines(network: Network, lower: Sequence[Array], upper: Sequence[Array]) -> tuple[Lines, ...]:
    """The linear bounds of all activations in graph order."""
    return tuple(lines_of(*arguments) for arguments in zip(network.functions, lower, upper, strict=True))
