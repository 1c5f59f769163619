"""Functions that networks compute as themselves and that have to do with axes: softmax, normalisations, products."""

from collections.abc import Callable, Sequence

from admm_verify.arrays import Array, namespace

Function = Callable[[Sequence[Array], Sequence[Array]], Array]
"""f(sources, parameters): sources [samples, *shape] each, parameters [n] each."""


def softmax(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """exp(x) / sum exp(x) along axis 2 of x [samples, outer, n, inner]."""
    (x,) = sources
    xp = namespace(x)
    powers = xp.exp(x - xp.max(x, axis=2, keepdims=True))
    return powers / xp.sum(powers, axis=2, keepdims=True)


def masked_softmax(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """The softmax of the entries that are allowed, 0 for the others; parameters (one for allowed, else zero,)."""
    (x,), (allowed,) = sources, parameters
    xp = namespace(x)
    inside = xp.reshape(allowed, x.shape[1:]) > 0
    return softmax((xp.where(inside, x, xp.full_like(x, -float("inf"))),), ())


def log_softmax(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """x - log sum exp(x) along axis 2 of x [samples, outer, n, inner]."""
    (x,) = sources
    xp = namespace(x)
    shifted = x - xp.max(x, axis=2, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=2, keepdims=True))


def log_sum_exp(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """log sum exp(x) along axis 2 of x [samples, outer, n, inner]."""
    (x,) = sources
    xp = namespace(x)
    top = xp.max(x, axis=2, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(x - top), axis=2, keepdims=True))


def standardised(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """(x - mean) / sqrt(variance + epsilon) over the last axis of x [samples, outer, n]; parameters (epsilon,)."""
    (x,), (epsilon,) = sources, parameters
    xp = namespace(x)
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + epsilon)


def scaled_to_root_mean_square(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """x / sqrt(mean x^2 + epsilon) over the last axis of x [samples, outer, n]; parameters (epsilon,)."""
    (x,), (epsilon,) = sources, parameters
    xp = namespace(x)
    return x / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + epsilon)


def matmul(sources: Sequence[Array], parameters: Sequence[Array]) -> Array:
    """x y of matrices x [samples, .., n, k] and y [samples, .., k, m]."""
    first, second = sources
    return first @ second


SHAPED: dict[str, Function] = {
    "log_softmax": log_softmax,
    "log_sum_exp": log_sum_exp,
    "masked_softmax": masked_softmax,
    "matmul": matmul,
    "rms_norm": scaled_to_root_mean_square,
    "softmax": softmax,
    "standardised": standardised,
}
"""Every such function that an affine node can stand for."""
