"""Random uses of torch operations: refused in a paragraph, or the function that torch computes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import admm_verify as av
from tests.network.operator_draws import Draw
from tests.network.test_torch_layers import Function

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def tensor(d, *shape):
    return torch.from_numpy(d.floats(*shape))


def arithmetic(d):
    """Broadcasts in both directions, alpha, whole exponents, operations in place."""
    shape = (1, *d.shape(1, 3))
    other, number, alpha = tensor(d, *d.partner(shape)), d.one(0.5, 2, -1), d.one(1, 2, -0.5)
    divisor = torch.where(other.abs() < 0.2, 0.5, other)
    ones = torch.full(other.shape, d.one(1, 1, 1, 2), dtype=d.one(torch.int64, torch.float64))
    mode = d.one(None, None, "floor")
    return shape, d.one(
        lambda x: torch.add(x, other, alpha=alpha),
        lambda x: torch.add(other, x, alpha=alpha),
        lambda x: torch.sub(other, x, alpha=alpha),
        lambda x: torch.rsub(x, other, alpha=alpha),
        lambda x: torch.rsub(x, number, alpha=alpha),
        lambda x: number - other * x,
        lambda x: torch.div(x, divisor, rounding_mode=mode),
        lambda x: x.pow(ones),
        lambda x: x**1,
        lambda x: x.clone().mul_(number).sub_(number, alpha=alpha).div_(number),
        lambda x: torch.maximum(other, x),
        lambda x: torch.min(x, other),
        lambda x: torch.clamp(x, other, other + 0.5),
        lambda x: torch.clip(x, 0.5, -0.5),
    )


def reductions(d):
    shape = (1, *d.shape(1, 3))
    axes, keep = d.axes(len(shape)), d.maybe(0.5)
    return shape, d.one(
        lambda x: x.sum(axes, keepdim=keep),
        lambda x: x.mean(axes, keepdim=keep),
        lambda x: x.amax(axes, keepdim=keep),
        lambda x: x.min(axes[0], keepdim=keep)[0],
        lambda x: x.max(-1, keep).values,
        lambda x: x.sum([]),
        lambda x: x.mean(),
        lambda x: x.sum(dtype=torch.float64),
    )


def movements(d):
    shape = (1, *d.shape(1, 3))
    rank, axis = len(shape), d.int(-len(shape), len(shape) - 1)
    first, last, step = d.int(-4, 4), d.int(-4, 5), d.int(1, 3)
    widths, order = d.ints(2 * d.int(1, rank), -1, 2), [int(a) for a in d.rng.permutation(rank)]

    def written(x):
        y = x.clone()
        y[..., ::step] = 2 * y[..., ::step]
        y.select(axis, -1).mul_(3)
        return y

    return shape, d.one(
        written,
        lambda x: x[..., first:last:step],
        lambda x: x.permute(order),
        lambda x: x.flatten(axis),
        lambda x: x.flatten(0, axis),
        lambda x: x.squeeze(axis).unsqueeze(-1),
        lambda x: x.split(step, axis)[-1],
        lambda x: x.chunk(step, axis)[0],
        lambda x: torch.stack([x, -x], axis),
        lambda x: torch.cat([x, torch.ones(shape, dtype=x.dtype)], axis),
        lambda x: x.repeat([2, *shape]),
        lambda x: x.repeat_interleave(2, axis),
        lambda x: x.expand(3, *[-1] * rank),
        lambda x: F.pad(x, widths, value=0.5),
        lambda x: F.pad(x, widths[:2], mode="reflect"),
        lambda x: F.pad(x, widths[:2], mode="circular"),
    )


def windows(d):
    """Convolutions and pools with padding modes, dilation, groups, ceil_mode and divisors."""
    axes, groups = d.int(1, 2), d.int(1, 2)
    shape = (1, 2 * groups, *d.ints(axes, 1, 6))
    kernel, stride, dilation = d.ints(axes, 1, 3), d.ints(axes, 1, 3), d.ints(axes, 1, 2)
    pads, ceil = d.ints(axes, 0, 2), d.maybe(0.4)
    mode = d.one("zeros", "reflect", "replicate", "circular")
    convolutions, transposed = (nn.Conv1d, nn.Conv2d), (nn.ConvTranspose1d, nn.ConvTranspose2d)
    averages, maxima = (nn.AvgPool1d, nn.AvgPool2d), (nn.MaxPool1d, nn.MaxPool2d)
    return shape, d.one(
        convolutions[axes - 1](2 * groups, 2 * groups, kernel, stride, pads, dilation, groups, padding_mode=mode),
        convolutions[axes - 1](2 * groups, 2, kernel, 1, "same", dilation, padding_mode=mode),
        transposed[axes - 1](2 * groups, 2 * groups, kernel, stride, pads, d.int(0, 1), groups, dilation=dilation),
        averages[axes - 1](kernel, stride, pads, ceil, d.maybe(0.5)),
        maxima[axes - 1](kernel, stride, pads, dilation, ceil_mode=ceil),
    )


KINDS = (arithmetic, reductions, movements, windows)


def check(seeds: range) -> None:
    agreed = 0
    for seed in seeds:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        shape, function = KINDS[seed % len(KINDS)](Draw(rng, 0, "float64"))
        module = (function if isinstance(function, nn.Module) else Function(function)).double().eval()
        x = torch.from_numpy(rng.standard_normal((3, *shape[1:])))
        try:
            network = av.trace(module, x)
        except av.AdmmVerifyError:
            continue
        for row in x:
            with torch.no_grad():
                y = module(row[None].clone()).numpy()
            assert network.output_shape == (y.shape[1:] if y.ndim > 1 and y.shape[0] == 1 else y.shape), seed
            for value in (network(row.numpy()), network.evaluate(row.numpy().reshape(1, -1))[-1]):
                assert np.allclose(np.reshape(value, -1), y.reshape(-1), rtol=0, atol=1e-9 * (1 + np.abs(y).max())), (
                    seed
                )
        agreed += 1
    assert agreed > len(seeds) / 3


def test_networks_without_entries_are_refused():
    for module, x in ((lambda x: x + torch.zeros(1, 0), torch.zeros(1, 1)), (torch.neg, torch.zeros(1, 0))):
        with pytest.raises(av.ModelError, match=r"nothing is left|no entries"):
            av.trace(Function(module), x)


def test_operations_compute_what_torch_computes():
    check(range(12))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_many_operations_compute_what_torch_computes(part):
    check(range(100 + 125 * part, 225 + 125 * part))
