"""What multipliers of slope systems are judged by: constants, their gradients, and closed forms, for many at once.

For z = (x, a), arguments N_x x + N_a a and outputs Y_x x + Y_a a, multipliers t leave the constant L with

    L^2 = max eigenvalue of  S = Y_x Y_x' + B Q^-1 B',     B = Y_a + Y_x N_x' t,
    Q = 2 t - t N_a - N_a' t - t N_x N_x' t                positive definite,

where the inputs are eliminated. S is convex in t. Several systems with the same multipliers, such as the frequencies of
a convolution, have the largest of their constants. Nothing is proved here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Scaling = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""How the multipliers of a layer relate to one another: from the sizes of M's rows, as sums and as lengths in one
array [2, m], and how much of every neuron is read behind."""


@dataclass(frozen=True, eq=False)
class SlopeForms:
    """The matrices of k systems with the same neurons, real or complex.

    Shapes: inner = N_a [k, m, m]; gram = N_x N_x' [k, m, m]; outer = Y_a [k, p, m]; cross = Y_x N_x' [k, p, m];
    square = Y_x Y_x' [k, p, p]; stops: where the layers of neurons end.
    """

    inner: np.ndarray
    gram: np.ndarray
    outer: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    stops: tuple[int, ...]

    @classmethod
    def of(cls, inputs: int, inner: np.ndarray, outer: np.ndarray, stops: tuple[int, ...]) -> "SlopeForms":
        """From N [k, m, n + m] and Y [k, p, n + m]."""
        first, last = inner[..., :inputs], outer[..., :inputs]
        turned = np.conj(np.swapaxes(first, -1, -2))
        gram, cross = first @ turned, last @ turned
        square = last @ np.conj(np.swapaxes(last, -1, -2))
        return cls(inner[..., inputs:], gram, outer[..., inputs:], cross, square, stops)

    def __len__(self) -> int:
        return len(self.inner)

    @property
    def neurons(self) -> int:
        return self.inner.shape[-1]

    @property
    def layers(self) -> Iterator[slice]:
        """The neurons of each layer."""
        return (slice(start, end) for start, end in zip((0, *self.stops), self.stops, strict=False))


@dataclass(frozen=True, eq=False)
class Judged:
    """What multipliers are worth: the logarithm of a mean of all eigenvalues of S, its gradient in t, and the largest
    eigenvalue of every system.

    vectors, images, shares, spectrum: of the last system the eigenvectors V of S, Q^-1 B' V, the gradient in the
    eigenvalues, and these.
    """

    value: float
    gradient: np.ndarray
    largest: np.ndarray
    vectors: np.ndarray
    images: np.ndarray
    shares: np.ndarray
    spectrum: np.ndarray


def judged(forms: SlopeForms, weights: np.ndarray, power: float) -> Judged | None:
    """The mean (sum over all systems and eigenvalues of S^power)^(1 / power), which is above the largest eigenvalue and
    smooth; None where some Q is not positive definite.
    """
    values, parts = [], []
    for k in range(len(forms)):
        solved = _solved(forms, k, weights)
        if solved is None:
            return None
        right, images = solved
        found, vectors = np.linalg.eigh(forms.square[k] + right @ images)
        values.append(found)
        parts.append((vectors, images))
    spectra = np.array(values)
    top = float(np.max(spectra, initial=0.0))
    if not 0.0 < top < np.inf:
        return None
    shares = np.maximum(spectra / top, 0.0)
    total = float(np.sum(shares**power))
    own = shares ** (power - 1.0) / (total * top)
    gradient = np.zeros(len(weights))
    for k, (vectors, images) in enumerate(parts):
        some = own[k] > 1e-12 * np.max(own)
        image = images @ vectors[:, some]
        back = forms.inner[k] @ image + forms.gram[k] @ (weights[:, None] * image) - image
        back += np.conj(forms.cross[k].T) @ vectors[:, some]
        gradient += 2.0 * np.sum(np.real(np.conj(image) * back) * own[k][some], axis=1)
    vectors, images = parts[-1]
    value = float(np.log(top) + np.log(total) / power)
    return Judged(value, gradient, spectra[:, -1], vectors, images @ vectors, own[-1], spectra[-1])


def constants_of(forms: SlopeForms, weights: np.ndarray) -> np.ndarray:
    """L of every system; infinite where Q is not positive definite."""
    found = np.full(len(forms), np.inf)
    for k in range(len(forms)):
        solved = _solved(forms, k, weights)
        if solved is not None:
            right, images = solved
            found[k] = np.sqrt(max(float(np.linalg.eigvalsh(forms.square[k] + right @ images)[-1]), 0.0))
    return found


def layered(forms: SlopeForms, scaling: Scaling, share: float = 1.0) -> np.ndarray | None:
    """Multipliers t by one pass from the input: of each layer those along a scaling s, for what is eliminated before.

    With M = the layer's arguments' form N_k P^-1 N_k' for the matrix P of the input and the layers before,
    t = share s / max eigenvalue of s^1/2 M s^1/2 leaves 2 t - t M t positive definite, and at least t for share 1.
    None where numbers fail. Shapes: [m].
    Reference: Xu and Sivaranjani, ECLipsE, NeurIPS 2024 (ECLipsE-Fast: s = 1), for chains; Syed and Hu, Improved
    scalable Lipschitz bounds for deep neural networks, arXiv 2503.14297: multipliers apart within layers.
    """
    weights = np.zeros(forms.neurons)
    for layer in forms.layers:
        squares = []
        for k in range(len(forms)):
            square = _argument_form(forms, k, layer, weights)
            if square is None:
                return None
            squares.append(square)
        sizes = np.abs(np.array(squares))
        rows = np.array([np.max(np.sum(sizes, axis=2), axis=0), np.max(np.sqrt(np.sum(sizes**2, axis=2)), axis=0)])
        behind = np.sum(np.abs(forms.inner[:, layer.stop :, layer]) ** 2, axis=1)
        behind = np.sqrt(np.mean(behind + np.sum(np.abs(forms.outer[:, :, layer]) ** 2, axis=1), axis=0))
        ratio = scaling(_lifted(rows), _lifted(behind))
        root = np.sqrt(ratio)
        largest = max(float(np.linalg.eigvalsh(root[:, None] * square * root)[-1]) for square in squares)
        tiny = 1e-12 * max(1.0, float(np.max(weights, initial=0.0)))
        weights[layer] = share * ratio / largest if largest > tiny else 1.0
    return weights if np.isfinite(weights).all() else None


def evenly(rows: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """One multiplier for all neurons of a layer."""
    return np.ones_like(behind)


def by_sums(rows: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Less for neurons that differ much: along 1 / sum of |M|."""
    return 1.0 / rows[0]


def by_reading(rows: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """More for neurons that much is made of, less for those that differ much."""
    return behind / np.sqrt(rows[1])


SCALINGS: tuple[Scaling, ...] = (evenly, by_sums, by_reading)
"""Each is the best of some networks."""


def _lifted(sizes: np.ndarray) -> np.ndarray:
    """Sizes without zeros."""
    most = float(np.max(sizes, initial=0.0))
    return np.maximum(sizes, 1e-6 * most) if most > 0.0 else np.ones_like(sizes)


def _argument_form(forms: SlopeForms, k: int, layer: slice, weights: np.ndarray) -> np.ndarray | None:
    own = forms.gram[k, layer, layer]
    start = layer.start
    if start == 0:
        return own
    before = weights[:start]
    right = forms.inner[k, layer, :start] + forms.gram[k, layer, :start] * before
    solved = _solution(_weighed(forms.inner[k, :start, :start], forms.gram[k, :start, :start], before), right)
    return None if solved is None else own + right @ solved


def _solved(forms: SlopeForms, k: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """B and Q^-1 B' of one system."""
    right = forms.outer[k] + forms.cross[k] * weights
    solved = _solution(_weighed(forms.inner[k], forms.gram[k], weights), right)
    return None if solved is None else (right, solved)


def _weighed(inner: np.ndarray, gram: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Q."""
    part = weights[:, None] * inner
    found = -(part + np.conj(part.T)) - weights[:, None] * gram * weights
    found[np.diag_indices(len(weights))] += 2.0 * weights
    return found


def _solution(matrix: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """The X with matrix X = right'; None where the matrix is not positive definite."""
    from scipy import linalg

    try:
        factor = linalg.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    except linalg.LinAlgError:
        return None
    return linalg.cho_solve(factor, np.conj(right.T), check_finite=False)
