"""Convolutions by their frequencies, with torch's gradients: matrices whose largest norm is no less than theirs.

The formula is that of `network/symbols.py`: with zeros around its image a convolution is a part of a periodic one, of
every period that keeps what wraps around off the image, turned by any phase; a stride makes one image of s x s smaller
ones.
"""

from dataclasses import dataclass
from math import ceil, prod, sqrt

import numpy as np
import torch

from admm_verify.arrays import gamma
from admm_verify.training.gram import STEPS, gram_bound

_SHIFTS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Halves of the mesh by which grids of frequencies are shifted; the least of their bounds counts."""


@dataclass(frozen=True, eq=False)
class ConvolutionShape:
    """What a convolution of zeros around two-dimensional images is but its weight.

    padding: rows before, columns before. Shapes: image, result [rows, columns].
    """

    image: tuple[int, int]
    result: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def places(self, axis: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Where the taps of an axis lie on the smaller images, which of these they read, and a period."""
        reach = self.dilation[axis] * np.arange(self.kernel[axis]) - self.padding[axis]
        shift, phase = np.divmod(reach, self.stride[axis])
        first, last = int(shift.min()), int(shift.max())
        images, results = ceil(self.image[axis] / self.stride[axis]), self.result[axis]
        return shift, phase, max(min(images, results + last) + max(0, -first), results + max(0, last))

    def bound(self, weight: torch.Tensor, steps: int = STEPS) -> torch.Tensor:
        """An upper bound of the convolution's norm, with its gradient.

        Shapes: weight [outputs, channels per group, *kernel].
        Error: rounded outward.
        """
        taps, rows, columns, period = self._taps(weight.double())
        bounds = [
            gram_bound(_matrices(taps, _turned(rows, period[0], one), _turned(columns, period[1], other)), steps).max()
            for one, other in _SHIFTS
        ]
        # Sines, cosines and sums over taps are rounded.
        sizes = taps.detach().abs().sum(dim=(0, 1))
        largest = float(sizes.max()) or 1.0
        length = largest * sqrt(float((sizes / largest).square().sum(dim=(-2, -1)).max()))
        off = gamma(len(rows) * len(columns) + 96) * length
        return torch.stack(bounds).min() + 2.0 * off

    def _taps(self, weight: torch.Tensor) -> tuple[torch.Tensor, np.ndarray, np.ndarray, tuple[int, int]]:
        """Matrices [rows, columns, groups, outputs, channels] of the convolution of stride 1, and where they lie."""
        (down, down_phase, height), (right, right_phase, width) = self.places(0), self.places(1)
        rows, columns = np.unique(down), np.unique(right)
        outputs, depth = weight.shape[:2]
        # [taps down, taps right, outputs, channels, phases down, phases right]
        shape = (len(rows), len(columns), outputs, depth, *self.stride)
        u, v, o, c = np.ix_(*(np.arange(n) for n in (*self.kernel, outputs, depth)))
        index = (
            np.searchsorted(rows, down)[u],
            np.searchsorted(columns, right)[v],
            o,
            c,
            down_phase[u],
            right_phase[v],
        )
        whole = (np.broadcast_to(part, (*self.kernel, outputs, depth)).copy() for part in index)
        at = tuple(torch.as_tensor(part, device=weight.device) for part in whole)
        spread = weight.new_zeros(shape).index_put(at, weight.permute(2, 3, 0, 1))
        taps = spread.reshape(*shape[:2], self.groups, outputs // self.groups, depth * prod(self.stride))
        return taps, rows, columns, (height, width)


def _turned(places: np.ndarray, period: int, half: int) -> torch.Tensor:
    """exp(i w q) of all frequencies w of a shifted grid and places q, [frequencies, places]."""
    waves = 2 * np.arange(period) + half
    # Whole numbers first: sine and cosine of small angles alone have small errors.
    return torch.as_tensor(np.exp(1j * np.pi * ((waves[:, None] * places[None]) % (2 * period)) / period))


def _matrices(taps: torch.Tensor, down: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The symbol at all pairs of frequencies; those of -w are conjugate, so that half of the rows suffice."""
    wide = taps.to(torch.complex128)
    one, other = (waves.to(taps.device) for waves in (down[: len(down) // 2 + 1], right))
    return torch.einsum("fu,gv,uvkoc->fgkoc", one, other, wide)
