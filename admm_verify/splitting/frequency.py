"""Exact projections on the graph of a convolution, by discrete Fourier transforms on a padded periodic grid."""

from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any

import array_api_compat
import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow, to_numpy
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.selection import SelectionMap

RIDGE = 1e-12
"""Least regularisation of a block relative to its trace: well above rounding, well below any accuracy asked for."""


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution on a periodic grid of stride * period cells; grid cell stride * m + p is entry m of
    phase p.

    Image entry j lies in cell (j + before) mod (stride * period), so that valid output i reads the cells
    stride * i + dilation * k of taps k. The taps touch only the phases `read`, and cell `cells[k]` of phase
    `phases[k]` for output 0.
    """

    size: int
    before: int
    stride: int
    period: int
    cells: tuple[int, ...]
    phases: tuple[int, ...]

    @classmethod
    def of(cls, size: int, outputs: int, taps: int, stride: int, before: int, dilation: int) -> "Axis":
        """The axis with the shortest period that fast transforms like.

        No tap of a valid output may come round to the image, which it may miss on both sides: paddings share cells,
        since both are zero. Nor may two valid outputs be one.
        """
        offsets = [dilation * k for k in range(taps)]
        span = max(size + before, stride * (outputs - 1) + offsets[-1] + 1 - before)
        period = next(n for n in count(max(outputs, -(-span // stride))) if _is_smooth(n))
        cells = tuple(offset // stride for offset in offsets)
        return cls(size, before, stride, period, cells, tuple(offset % stride for offset in offsets))

    @property
    def read(self) -> tuple[int, ...]:
        """The phases that some tap reads."""
        return tuple(sorted(set(self.phases)))

    def entries(self) -> np.ndarray:
        """The image entry in each cell, `size` in a cell of padding: [stride, period]."""
        cells = (np.arange(self.stride * self.period) - self.before) % (self.stride * self.period)
        return np.minimum(cells, self.size).reshape(self.period, self.stride).T

    def waves(self, frequencies: int) -> np.ndarray:
        """exp(2 pi i f cells[k] / period) where tap k reads the phase, else 0: [read phases, frequencies, taps]."""
        turns = np.arange(frequencies)[:, None] * np.asarray(self.cells) % self.period / self.period
        mine = np.asarray(self.read)[:, None] == np.asarray(self.phases)
        return np.exp(2j * np.pi * turns) * mine[:, None, :]


@dataclass(frozen=True, eq=False)
class FrequencyGraph:
    """The graph {(x, y) : y = K x} of a convolution on a periodic grid, split into small blocks by its transform.

    y_o[i] = sum_k w_ock x_c[stride i + dilation k] is a sum of circular correlations of the phases of x, the stride^2
    images x[stride m + p]; with one channel per input channel and phase, y^(f) = x^(f) N_f at every frequency f.

    Shapes: x [rows, grid entries], first the phases that the kernel reads, as groups of channels [n, *periods], then
    the image entries that it skips; y [rows, output entries], as groups of channels [m, *periods]; forward
    [frequencies * groups, n, m]; backward [frequencies * groups, m, n], complex.
    """

    embed: SelectionMap
    valid: SelectionMap
    periods: tuple[int, int]
    read: int
    forward: Array
    backward: Array

    @classmethod
    def of(cls, convolution: ConvolutionMap, ratio: float, placement: Placement) -> "FrequencyGraph":
        """The blocks of a convolution for projections with ratio = w_y / w_x, computed on the host in float64.

        `embed` lays a flat image on the grid, zero in the padding; `valid` picks the convolution's outputs, which
        are exact for an embedded image.
        """
        axes = _axes(convolution)
        embed, read = _embedding(convolution.input_shape, axes)
        channels, height, width = convolution.output_shape
        periods = (axes[0].period, axes[1].period)
        outputs = np.arange(channels * prod(periods)).reshape(channels, *periods)[:, :height, :width]
        weight = to_numpy(convolution.weight).astype(np.float64)
        with quiet_overflow():
            forward = _blocks(weight, convolution.groups, axes)
            backward = _corrections(forward, ratio)
            return cls(
                embed.put(placement),
                SelectionMap.from_gather(outputs.reshape(-1), channels * prod(periods)).put(placement),
                periods,
                read,
                _placed(forward, placement),
                _placed(backward, placement),
            )

    def apply(self, x: Array) -> Array:
        """K x: [rows, grid entries] -> [rows, output entries]."""
        return self._signal(self._spectrum(x[:, : self.read]) @ self.forward)

    def project(self, x: Array, y: Array) -> tuple[Array, Array]:
        """argmin |x+ - x|^2 + ratio |y+ - y|^2 over y+ = K x+.

        x+^ = x^ + (y^ - x^ N) B with B = ratio (I + ratio N* N)^-1 N* at every frequency, and y+^ = x+^ N, so that
        the point is on the graph to rounding for any B.
        """
        spectrum = self._spectrum(x[:, : self.read])
        spectrum = spectrum + (self._spectrum(y) - spectrum @ self.forward) @ self.backward
        image = self._signal(spectrum)
        if self.read < x.shape[1]:
            image = namespace(x).concat([image, x[:, self.read :]], axis=-1)
        return image, self._signal(spectrum @ self.forward)

    def _spectrum(self, signal: Array) -> Array:
        """[rows, groups * n * cells] -> [frequencies * groups, rows, n], by symmetry of half of the frequencies."""
        xp, rows = namespace(signal), signal.shape[0]
        groups, channels = self._groups(), signal.shape[1] // prod(self.periods)
        images = xp.reshape(signal, (rows, channels, *self.periods))
        shape = (rows, groups, channels // groups, self.forward.shape[0] // groups)
        waves = xp.reshape(_transforms(xp).rfftn(images, axes=(-2, -1)), shape)
        # Flattening copies, so that the product finds contiguous blocks, without which NumPy leaves BLAS.
        flat = xp.reshape(xp.permute_dims(waves, (3, 1, 0, 2)), (-1,))
        return xp.reshape(flat, (self.forward.shape[0], rows, channels // groups))

    def _signal(self, spectrum: Array) -> Array:
        """The inverse of _spectrum."""
        xp, groups = namespace(spectrum), self._groups()
        batch, rows, channels = spectrum.shape
        blocks = xp.reshape(spectrum, (batch // groups, groups, rows, channels))
        half = (rows, groups * channels, self.periods[0], self.periods[1] // 2 + 1)
        waves = xp.reshape(xp.permute_dims(blocks, (2, 1, 3, 0)), half)
        signal = _transforms(xp).irfftn(waves, s=self.periods, axes=(-2, -1))
        return xp.reshape(signal, (rows, groups * channels * prod(self.periods)))

    def _groups(self) -> int:
        return self.forward.shape[0] // (self.periods[0] * (self.periods[1] // 2 + 1))


def _transforms(xp: Any) -> Any:
    """The module of Fourier transforms for arrays of a library: for NumPy SciPy's, which take half the time."""
    if not array_api_compat.is_numpy_namespace(xp):
        return xp.fft
    # Imported here: no other query needs SciPy.
    import scipy.fft

    return scipy.fft


def _is_smooth(number: int) -> bool:
    """Whether no prime above 11 divides the number; the transforms have fast code for those below."""
    for prime in (2, 3, 5, 7, 11):
        while number % prime == 0:
            number //= prime
    return number == 1


def _axes(convolution: ConvolutionMap) -> tuple[Axis, Axis]:
    vertical, horizontal = (
        Axis.of(
            convolution.input_shape[axis + 1],
            convolution.output_shape[axis + 1],
            convolution.weight.shape[axis + 2],
            convolution.stride[axis],
            convolution.padding[axis],
            convolution.dilation[axis],
        )
        for axis in (0, 1)
    )
    return vertical, horizontal


def _embedding(input_shape: tuple[int, int, int], axes: tuple[Axis, Axis]) -> tuple[SelectionMap, int]:
    """The selection that lays a flat image on the grid, and the number of grid entries that the kernel reads."""
    channels, height, width = input_shape
    size = channels * height * width
    rows, columns = (axis.entries() for axis in axes)
    channel = np.arange(channels)[:, None, None, None, None] * height * width
    row, column = rows[None, :, None, :, None], columns[None, None, :, None, :]
    grid = np.where((row < height) & (column < width), channel + row * width + column, size)
    read = np.zeros((axes[0].stride, axes[1].stride), dtype=bool)
    read[np.ix_(axes[0].read, axes[1].read)] = True
    seen, skipped = grid[:, read].reshape(-1), grid[:, ~read].reshape(-1)
    return SelectionMap.from_gather(np.concatenate([seen, skipped[skipped < size]]), size), len(seen)


def _blocks(weight: np.ndarray, groups: int, axes: tuple[Axis, Axis]) -> np.ndarray:
    """N_f for half of the frequencies: [frequencies * groups, channels * read phases, outputs of a group]."""
    outputs, channels = weight.shape[0] // groups, weight.shape[1]
    taps = weight.reshape(groups, outputs, channels, *weight.shape[2:])
    waves = axes[0].waves(axes[0].period), axes[1].waves(axes[1].period // 2 + 1)
    blocks = np.einsum("afk,bel,gockl->fegcabo", *waves, taps, optimize=True)
    return np.ascontiguousarray(blocks).reshape(-1, channels * len(axes[0].read) * len(axes[1].read), outputs)


def _corrections(forward: np.ndarray, ratio: float) -> np.ndarray:
    """ratio (I + ratio N* N)^-1 N* = ratio N* (I + ratio N N*)^-1 per block, on the smaller side."""
    adjoint = forward.conj().swapaxes(-1, -2)
    inner, outer = forward.shape[-1], forward.shape[-2]
    square = ratio * (adjoint @ forward if inner <= outer else forward @ adjoint)
    # Where the identity drowns in rounding, the matrix would be singular and noise would be amplified along directions
    # that y does not see; the larger ridge changes y+ by RIDGE of itself.
    ridge = np.maximum(1.0, RIDGE * np.einsum("fii->f", square).real)
    square += ridge[:, None, None] * np.eye(min(inner, outer))
    if inner <= outer:
        return np.linalg.solve(square, ratio * adjoint)
    return np.linalg.solve(square, ratio * forward).conj().swapaxes(-1, -2)


def _placed(blocks: np.ndarray, placement: Placement) -> Array:
    """The blocks in the complex dtype of the placement; one that overflows costs accuracy, never the bound."""
    xp, single = placement.xp, placement.dtype == placement.xp.float32
    blocks = np.nan_to_num(blocks.astype(np.complex64 if single else np.complex128), nan=0.0, posinf=0.0, neginf=0.0)
    return Placement(xp, xp.complex64 if single else xp.complex128, placement.device).put(blocks)
