"""Norms of matrices from above by Gram iteration, differentiable."""

import torch

from admm_verify.arrays import gamma

_SMALLEST = 2.0**-1074
"""The distance of the smallest numbers of float64."""

STEPS = 8
"""Squarings: what the bound is above the norm is at most a factor of n^(1 / 2^(STEPS + 1)), 1.008 for n = 64."""


def gram_bound(matrices: torch.Tensor, steps: int = STEPS) -> torch.Tensor:
    """Upper bounds of |W|_2 of matrices, with the gradient of what they are.

    |W|_2^(2^k) = |G_k|_2 <= |G_k|_F of G_0 = W, G_{k+1} = G_k G_k', so that the bound is the Schatten norm of order
    2^(k+1), each G_k scaled to |G_k|_F = 1. A power iteration would give a value below |W|_2 instead.

    Shapes: matrices [..., rows, columns], real or complex; the bounds [...].
    Error: rounded outward, in float64 but for the last ten roundings, for which the result is widened.
    Reference: Delattre, Barthelemy, Araujo and Allauzen, Efficient bound of Lipschitz constant for convolutional layers
    by Gram iteration, ICML 2023.
    """
    wide = matrices.to(torch.complex128 if matrices.is_complex() else torch.float64)
    # By the largest entry first: squares of others would underflow or overflow.
    largest = wide.detach().abs().amax(dim=(-2, -1), keepdim=True)
    wide = wide / _apart(largest)
    if wide.shape[-2] > wide.shape[-1]:
        wide = wide.mH
    # |G_k|_F is 1 up to its own roundings; complex numbers take up to four times those of real ones.
    error = 8.0 * gamma(2 * max(wide.shape[-2:]) + 16)
    scales = [_scale(wide)]
    wide = wide / _apart(scales[0])
    for _ in range(steps):
        wide = wide @ wide.mH
        scales.append(_scale(wide))
        wide = wide / _apart(scales[-1])
    bound = torch.linalg.matrix_norm(wide)
    for scale in reversed(scales[1:]):
        bound = torch.sqrt(bound * scale[..., 0, 0] + error)
    bound = bound * scales[0][..., 0, 0] * (1.0 + gamma(2 * wide.shape[-2] ** 2 + 24)) * largest[..., 0, 0]
    # The last product has the smallest numbers there are as its error where it is one of them.
    return bound + 4.0 * _SMALLEST * (largest[..., 0, 0] > 0)


def _scale(matrices: torch.Tensor) -> torch.Tensor:
    """|G|_F, a constant: the bound does not depend on what is divided by and multiplied again."""
    return torch.linalg.matrix_norm(matrices.detach(), keepdim=True)


def _apart(scale: torch.Tensor) -> torch.Tensor:
    """A divisor that is not zero."""
    return torch.where(scale > 0, scale, torch.ones_like(scale))
