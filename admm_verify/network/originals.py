"""Functions that networks compute as themselves while relaxations see them rewritten: kind -> function of all sources.

max(x, c) and c + relu(x - c) are one function of real numbers, but in floating point the second one loses x where |c|
is large. What a network computes is therefore never a rewriting.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from admm_verify.arrays import Array, Placement, namespace
from admm_verify.network import activations
from admm_verify.network.original_axes import SHAPED

Function = Callable[[Sequence[Array], Sequence[Array]], Array]
"""f(sources, parameters): sources [..., n] each, parameters [n] each or broadcasting to a source."""


@dataclass(frozen=True, eq=False)
class Original:
    """What an affine node stands for in a graph as read: y = f(x_sources; parameters), with f named by `kind`.

    shapes: in which f takes the sources, behind the axis of samples, where it has to do with their axes; else none.
    """

    kind: str
    sources: tuple[int, ...]
    parameters: tuple[Array, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()

    def apply(self, values: Sequence[Any]) -> Array:
        """The value from those of the nodes before it, computed operation by operation as runtimes do."""
        given = [values[source] for source in self.sources]
        if not self.shapes:
            return ORIGINALS[self.kind](given, self.parameters)
        xp, samples = namespace(given[0]), given[0].shape[0]
        shaped = [xp.reshape(x, (samples, *shape)) for x, shape in zip(given, self.shapes, strict=True)]
        return xp.reshape(SHAPED[self.kind](shaped, self.parameters), (samples, -1))

    def reading(self, places: Mapping[int, int]) -> "Original":
        """The same function where what it reads has other numbers."""
        return replace(self, sources=tuple(places[source] for source in self.sources))

    def put(self, placement: Placement) -> "Original":
        """The same function with its parameters moved."""
        return replace(self, parameters=tuple(placement.put(array) for array in self.parameters))


def maximum(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """The largest of all sources and parameters."""
    return reduce(namespace(sources[0]).maximum, [*sources, *parameters])


def minimum(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """The smallest of all sources and parameters."""
    return reduce(namespace(sources[0]).minimum, [*sources, *parameters])


def clip(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """min(max(x, low), high); parameters (low, high), in any order and maybe infinite."""
    return activations.clip(sources[0], parameters)


def quotient(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """x / d; parameters (d,)."""
    return sources[0] / parameters[0]


def ratio(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """x / y of two sources, or c / y of one; parameters () or (c,)."""
    return sources[0] / sources[1] if len(sources) == 2 else parameters[0] / sources[0]


def batch_norm(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """scale x + (beta - scale mean) with scale = gamma / sqrt(variance + epsilon).

    Parameters (gamma, beta, mean, variance, epsilon).
    """
    gamma, beta, mean, variance, epsilon = parameters
    # As runtimes do it, by the reciprocal.
    scale = gamma * (1.0 / namespace(gamma).sqrt(variance + epsilon))
    return sources[0] * scale + (beta - mean * scale)


def prelu(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """x where x >= 0, else slope x; parameters (slope,), any numbers."""
    return activations.prelu(sources[0], parameters)


def elu(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """x where x >= 0, else alpha (exp(x) - 1); parameters (alpha,)."""
    return activations.elu(sources[0], parameters)


def celu(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """x where x >= 0, else alpha (exp(x / alpha) - 1); parameters (alpha,)."""
    (x,), (alpha,) = sources, parameters
    xp = namespace(x)
    return xp.where(x >= 0, x, alpha * xp.expm1(xp.minimum(x, xp.zeros_like(x)) / alpha))


def selu(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """gamma x where x >= 0, else gamma alpha (exp(x) - 1); parameters (alpha, gamma)."""
    alpha, gamma = parameters
    return gamma * elu(sources, (alpha,))


def softplus(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """log(1 + exp(beta x)) / beta, x itself where beta x > threshold; parameters (beta, threshold)."""
    (x,), (beta, threshold) = sources, parameters
    wide = beta * x
    return namespace(x).where(wide > threshold, x, activations.softplus(wide, ()) / beta)


def expm1(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """exp(x) - 1, relatively accurate near 0."""
    return namespace(sources[0]).expm1(sources[0])


def log1p(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """log(1 + x), relatively accurate near 0."""
    return namespace(sources[0]).log1p(sources[0])


def switch(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """x where d > 0, else y, of the sources (d, x, y)."""
    excess, x, y = sources
    return namespace(x).where(excess > 0, x, y)


UNCHARGED = {"standardised"}
"""Functions that runtimes compute in ways of which the roundings of the rewriting say nothing, such as a variance by
the difference of two large means: what a network with one of them computes in floating point is not bounded."""

ORIGINALS: dict[str, Function] = {
    "batch_norm": batch_norm,
    "celu": celu,
    "clip": clip,
    "elu": elu,
    "expm1": expm1,
    "log1p": log1p,
    "maximum": maximum,
    "minimum": minimum,
    "prelu": prelu,
    "quotient": quotient,
    "ratio": ratio,
    "selu": selu,
    "softplus": softplus,
    "switch": switch,
}
"""Every kind of function that an affine node can stand for."""


def are_charged(nodes: Iterable[Any]) -> bool:
    """Whether bounds on the roundings of rewritings cover what runtimes do at all nodes of a graph as read."""
    originals = [getattr(node, "original", None) for node in nodes]
    return not any(original is not None and original.kind in UNCHARGED for original in originals)
