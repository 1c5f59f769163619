"""How much convolutions of large images stretch lengths, at most: by frequencies, with the border of the image exact.

With zeros around its image a convolution is a part of a periodic one, of any period N that keeps what wraps around off
the image. Beyond it, a periodic convolution may turn what wraps around by a phase theta: the part stays the same, and
the frequencies are those of a grid shifted by theta / N. So for every theta

    |W|_2 <= max over k of |A((2 pi k + theta) / N)|_2,   A(w) = sum over taps q of K_q exp(i w q),

and the theta that puts the peak of A between two points of the grid makes good for most of what the border takes: for
the kernel (1, 1, 1) and N = n + 1, theta = pi gives 1 + 2 cos(pi / (n + 1)), the norm itself.

Strides are taken out before: an image is s x s smaller ones of every s-th pixel, so that strides are 1 and channels
many.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.run import paced

_SHIFTS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Halves of the mesh by which grids are shifted."""

_NUMBERS = 2**22
"""Complex numbers of the matrices of one block of frequencies."""

_STEPS = 24
"""Of the power method that looks for the phases, which proves nothing."""

_SPARE = 1e-6
"""How much more than the computed eigenvalue, for which a factorisation then proves it."""


@dataclass(frozen=True, eq=False)
class _Taps:
    """Matrices K_q of a convolution of stride 1 at places q, and a period N that keeps both ends apart.

    Shapes: kernel [groups, O, C, taps]; places [taps, 2]; size: |K_q|, and of merged kernels their magnitude, summed
    over q, [groups, O, C].
    """

    kernel: np.ndarray
    places: np.ndarray
    size: np.ndarray
    period: tuple[int, int]

    def matrices(self, waves: np.ndarray) -> np.ndarray:
        """A at frequencies pi waves / period, [waves groups, O, C]. Shapes: waves [n, 2] whole numbers."""
        turned = np.ones((len(waves), len(self.places)), dtype=np.complex128)
        for axis, period in enumerate(self.period):
            # Whole numbers first: sine and cosine of small angles alone have small errors.
            step = (waves[:, axis, None] * self.places[None, :, axis]) % (2 * period)
            turned *= np.exp(1j * np.pi * step / period)
        _, outputs, channels, taps = self.kernel.shape
        found = turned @ self.kernel.reshape(-1, taps).T
        return found.reshape(-1, outputs, channels)

    def waves(self, theta: tuple[int, int]) -> np.ndarray:
        """Those of the grid that is shifted by theta of 0 or 1 halves of its mesh; of w and -w, which have conjugate
        matrices, one.
        """
        rows, columns = (2 * np.arange(n) + half for n, half in zip(self.period, theta, strict=True))
        waves = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        other = (-waves) % (2 * np.array(self.period))
        return waves[(waves[:, 0] * 2 * self.period[1] + waves[:, 1]) <= other[:, 0] * 2 * self.period[1] + other[:, 1]]

    def blocks(self, waves: np.ndarray) -> Iterator[np.ndarray]:
        """The matrices of frequencies, some at a time, the shorter side first."""
        step = max(1, _NUMBERS // prod(self.kernel.shape[:3]))
        for start in paced(range(0, len(waves), step)):
            found = self.matrices(waves[start : start + step])
            yield found if found.shape[1] <= found.shape[2] else found.swapaxes(1, 2)


def convolution_gain(part: ConvolutionMap) -> float:
    """An upper bound of |W|_2 of a convolution in exact numbers.

    Of four grids of frequencies the one whose largest matrix seems least is certified: at each of its frequencies
    t I - A A* is positive definite up to side gamma t where its Cholesky factorisation runs to its end.

    Error: rounded outward.
    Reference: Rump, Verification of positive definiteness, BIT 46, 2006.
    """
    taps = _taps(part)
    scale = float(np.abs(taps.kernel).max(initial=0.0))
    frobenius = float(np.sqrt(np.max(np.sum(taps.size**2, axis=(1, 2)), initial=0.0))) * (1 + gamma(taps.size.size + 4))
    if scale == 0.0 or not np.isfinite(frobenius) or not 1e-100 < scale < 1e100:
        return 0.0 if frobenius == 0.0 else np.inf
    least = min(_SHIFTS, key=lambda theta: _roughly(taps, taps.waves(theta)))
    level = _certified(taps, taps.waves(least), frobenius)
    # Stored products are off by some of their roundings; sines, cosines and sums over taps are, too.
    off = gamma(max(part.roundings, 1) + len(taps.places) + 96) * frobenius
    return float((np.sqrt(level) + 2.0 * off) * (1.0 + 1e-12))


def _taps(part: ConvolutionMap) -> _Taps:
    """A convolution as one of stride 1: of channels (c, i, j) with the pixels i, j beyond multiples of the strides."""
    weight = to_numpy(part.weight).astype(np.float64)
    size = np.abs(weight) if part.magnitude is None else np.maximum(np.abs(weight), to_numpy(part.magnitude))
    outputs, depth, *kernel = weight.shape
    shifts, phases, period = [], [], []
    for axis in (0, 1):
        stride = part.stride[axis]
        shift, phase = np.divmod(part.dilation[axis] * np.arange(kernel[axis]) - part.padding[axis], stride)
        first, last = int(shift.min()), int(shift.max())
        images, results = ceil(part.input_shape[1 + axis] / stride), part.output_shape[1 + axis]
        period.append(max(min(images, results + last) + max(0, -first), results + max(0, last)))
        shifts.append(shift)
        phases.append(phase)
    rows, columns = (np.unique(shift) for shift in shifts)
    steps = part.stride
    spread, sizes = (np.zeros((len(rows), len(columns), outputs, depth, *steps)) for _ in range(2))
    for u, v in np.ndindex(kernel[0], kernel[1]):
        place = np.searchsorted(rows, shifts[0][u]), np.searchsorted(columns, shifts[1][v])
        for target, source in ((spread, weight), (sizes, size)):
            target[(*place, slice(None), slice(None), phases[0][u], phases[1][v])] = source[:, :, u, v]
    shape = (-1, part.groups, outputs // part.groups, depth * prod(steps))
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    taps = np.moveaxis(spread.reshape(shape), 0, -1)
    return _Taps(taps, places, sizes.reshape(shape).sum(axis=0), (period[0], period[1]))


def _roughly(taps: _Taps, waves: np.ndarray) -> float:
    """The largest |A|_2 of some frequencies, more or less."""
    largest = 0.0
    for matrices in taps.blocks(waves):
        x = np.random.default_rng(0).standard_normal((matrices.shape[2], 1)) + 0j
        x = np.broadcast_to(x, (len(matrices), *x.shape))
        length = np.zeros(1)
        for _ in range(_STEPS):
            y = matrices @ x
            length = np.linalg.norm(y, axis=(1, 2)) / np.linalg.norm(x, axis=(1, 2))
            x = (y.conj().swapaxes(1, 2) @ matrices).conj().swapaxes(1, 2)
            x = x / np.maximum(np.linalg.norm(x, axis=(1, 2), keepdims=True), 1e-300)
        largest = max(largest, float(length.max()))
    return largest


def _certified(taps: _Taps, waves: np.ndarray, frobenius: float) -> float:
    """An upper bound of the largest |A|_2^2 of the matrices at some frequencies, as these are computed."""
    level = _roughly(taps, waves) ** 2 * (1.0 + _SPARE) + 1e-200
    side = min(taps.kernel.shape[1:3])
    inner = max(taps.kernel.shape[1:3])
    for matrices in taps.blocks(waves):
        gram = matrices @ matrices.conj().swapaxes(1, 2)
        for spare in (0.0, _SPARE, 1e-3, 1e-1, 1.0):
            if spare > 0.0:
                level = max(level, float(np.linalg.eigvalsh(gram)[:, -1].max()) * (1.0 + spare))
            if _positive(level, gram):
                break
        else:
            return np.inf
    # Complex numbers take up to four times the roundings of real ones.
    return level + 8.0 * side * gamma(2 * side + 4) * level + 8.0 * gamma(2 * inner + 8) * frobenius**2


def _positive(level: float, gram: np.ndarray) -> bool:
    try:
        np.linalg.cholesky(level * np.eye(gram.shape[-1]) - gram)
    except np.linalg.LinAlgError:
        return False
    return True
