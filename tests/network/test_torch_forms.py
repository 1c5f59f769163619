"""Affine and piecewise-linear code as people write it, read from torch, against the modules themselves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import admm_verify as av
from tests.network.test_torch_layers import Every, Function, assert_agrees, assert_close, rows
from tests.random_networks import relaxed

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

W = torch.arange(12.0, dtype=torch.float64).reshape(3, 4) / 10 - 0.5
V = torch.arange(40.0, dtype=torch.float64).reshape(2, 4, 5) / 40 - 0.4
C = torch.tensor([0.3, -1.0, 0.7, 2.0], dtype=torch.float64)
MASK = torch.tensor([True, False, True, True])
PLACES = torch.tensor([2, 0, 1])
REPEATED = torch.tensor([[1, 1, 2, 0]])


def written(x):
    y = torch.zeros_like(x)
    y[:, PLACES] = x[:, :3]
    y[:, ~MASK] = 0.5
    return y


def cut(x):
    y = x.clone()
    y[y < 0.5] = 0.5
    return y


VECTORS = {
    "joins": [
        lambda x: torch.hstack([x, 2 * x]),
        lambda x: torch.vstack([x, x]).reshape(1, -1),
        lambda x: torch.dstack([x, x]),
        lambda x: torch.column_stack([x, x.new_full((1, 2), 3.0)]),
        lambda x: torch.cat([x, x.new_zeros(1, 2), torch.ones_like(x)], 1) - 0.5,
        lambda x: x - torch.full_like(x, 0.3),
    ],
    "products": [
        lambda x: torch.einsum("bi,oi->bo", x, W),
        lambda x: torch.einsum("bhd,hde->bhe", torch.stack([x, -x], 1), V),
        lambda x: torch.bmm(W[None], x[..., None])[..., 0],
        lambda x: torch.stack([x, x.flip(1)], 1)[:, :, None] @ V,
        lambda x: torch.baddbmm(V[:, :1], torch.stack([x, 2 * x]), V, beta=0.5, alpha=2).reshape(1, -1),
        lambda x: torch.addmm(C[:3], x, W.T, beta=2, alpha=0.5),
        lambda x: torch.addmm(x[:, :3], C[None], W.T, beta=2, alpha=0.5),
        lambda x: torch.addmv(C[:3], W, x[0])[None],
        lambda x: torch.addbmm(V[0, :1], torch.stack([x, x]), V),
        lambda x: torch.tensordot(x, W, dims=([1], [1])),
        lambda x: torch.lerp(x, C.expand(1, 4), 0.3) + torch.addcmul(C, x, C, value=0.5),
        lambda x: torch.kron(x, C[None]),
        lambda x: torch.linalg.vecdot(x, C)[None] + torch.inner(x, C)[:, None],
    ],
    "movements": [
        torch.fliplr,
        lambda x: torch.roll(x, 3, 1),
        torch.diag_embed,
        lambda x: torch.tile(x, (2,)),
        lambda x: x.repeat_interleave(torch.tensor([1, 2, 0, 3]), dim=1),
        lambda x: x.unfold(1, 2, 1),
        lambda x: x.tensor_split(3, 1)[0],
        lambda x: x[:, [2, 0, 1]],
        lambda x: x[:, MASK],
        lambda x: torch.take(x, torch.tensor([3, 1]))[None],
        lambda x: torch.gather(x, 1, torch.tensor([[3, 0, 0]])),
        lambda x: torch.zeros(1, 6, dtype=x.dtype).scatter(1, torch.tensor([[1, 3, 5, 0]]), x),
        lambda x: x.scatter(1, torch.tensor([[1, 1]]), 2.0),
        lambda x: x.index_copy(1, PLACES, torch.ones(1, 3, dtype=x.dtype)),
        lambda x: x.index_fill(1, PLACES, 2.0),
        lambda x: x.masked_fill(MASK, -2.5),
        lambda x: torch.where(MASK, x, 2 * x - 1) + torch.where(MASK, 1.5, x),
        lambda x: x.masked_scatter(MASK, C),
        written,
    ],
    "sums": [
        lambda x: torch.cumsum(x, 1),
        lambda x: x.flip(1).cumsum(1).flip(1),
        lambda x: torch.zeros(1, 3, dtype=x.dtype).scatter_add(1, REPEATED, x),
        lambda x: torch.ones(1, 3, dtype=x.dtype).index_add(1, REPEATED[0], x),
        lambda x: x.index_put((torch.tensor([0, 0]), torch.tensor([1, 1])), C[:2], accumulate=True),
        lambda x: torch.trapezoid(x, dx=0.5)[None],
        lambda x: torch.norm(x, p=1, dim=1, keepdim=True) + torch.linalg.vector_norm(x, 1)[None, None],
        lambda x: torch.norm(x, p=torch.inf, dim=1, keepdim=True) - torch.dist(x, C, 1)[None, None],
        lambda x: F.l1_loss(x, C[None])[None, None],
    ],
    "orders": [
        lambda x: torch.topk(x, 2, 1).values,
        lambda x: torch.topk(x, 3, largest=False)[0],
        lambda x: torch.sort(torch.cat([x, 0.5 - x[:, :3]], 1), 1, descending=True)[0],
        lambda x: torch.sort(x, dim=1, stable=True).values,
        lambda x: x.kthvalue(2, 1, keepdim=True).values - x.median(1, keepdim=True).values,
        lambda x: torch.fmax(x, C) + torch.fmin(x, C) / 2,
        lambda x: x.aminmax(dim=1, keepdim=True).max,
    ],
    "choices": [
        nn.Threshold(0.5, 0.5),
        lambda x: torch.where(x > 0, x, 0.1 * x),
        lambda x: torch.where(x >= 0.5, 2 * x - 0.5, x),
        lambda x: torch.where(x < C, x, C) + torch.where(x > x.flip(1), x, x.flip(1)),
        lambda x: x.masked_fill(x < 0, 0.0) + x * (x > 0) - x * (~(x <= 0)).double(),
        lambda x: torch.where(3 * x + 1 <= 0.25, -x, 2 * x + 0.75),
        lambda x: torch.where(x + x > 0, x, 0 * x) - torch.where(x + x.flip(1) + x > x, x + x.flip(1) * 0.5, x * 0.5),
        cut,
    ],
}
IMAGES = [
    lambda x: x.roll((1, -1), (2, 3)),
    lambda x: torch.rot90(x, 1, [2, 3]),
    lambda x: torch.tril(x) - torch.triu(x, 1),
    lambda x: x.diagonal(0, 2, 3),
    lambda x: torch.trace(x[0, 0])[None, None],
    lambda x: x.unfold(2, 2, 1).unfold(3, 2, 2),
    nn.PixelShuffle(2),
    nn.PixelUnshuffle(2),
    nn.ChannelShuffle(2),
    nn.Sequential(nn.Unfold(2, padding=1), nn.Fold((4, 4), 2, padding=1)),
    nn.CircularPad2d(1),
    nn.Upsample(size=(6, 3)),
    lambda x: torch.einsum("bchw,oc->bohw", x, W),
    lambda x: x.cumsum(-2),
    lambda x: x.amax((2, 3)),
]


def test_forms_agree_and_bounds_contain_samples():
    torch.manual_seed(1)
    module = Every([part for kind in VECTORS.values() for part in kind]).double().eval()
    x = 2 * torch.rand(20, 4, dtype=torch.float64) - 1
    network, expected = av.trace(module, x), rows(module, x)
    for graph in (network, relaxed(network)):
        assert_close(graph(x), expected)
    functionals = np.concatenate([np.eye(network.output_size), -np.eye(network.output_size)])
    box = av.Box(np.full(4, -1.0), np.full(4, 1.0))
    lower = av.solve(av.Problem(network, box, functionals), settings=av.SolverSettings(max_passes=4)).lower
    assert (expected.numpy() @ functionals.T >= np.asarray(lower)).all()


def test_forms_of_images_agree():
    torch.manual_seed(2)
    assert_agrees(Every(IMAGES), (4, 4, 4))


def test_values_chosen_by_a_sign_are_those_of_torch_to_the_last_bit():
    functions = [
        lambda x: torch.where(x > 0.1, x, 0.1 * x + 0.09),
        lambda x: torch.where(x >= 1, 1e8 - x, 1e8 + x - 2),
        lambda x: x.masked_fill(x < 0, 0.0),
        lambda x: torch.where(x > x.roll(1, 1), x, x.roll(1, 1)),
    ]
    for function in functions[2:]:
        x = torch.randn(1, 64)
        x[0, :4] = torch.tensor([0.0, -0.0, 1e-45, -1e-45])
        network = av.trace(Function(function), x)
        assert np.array_equal(network(x).numpy(), function(x).numpy())
    # At 0.1, a float32 number, neither side is what the other one is.
    jumping = av.trace(Function(functions[0]), torch.zeros(1, 4))
    assert "heaviside" in [part.kind for part in jumping.functions]
    exact = av.trace(Function(functions[1]), torch.zeros(1, 4))
    problem = av.Problem(exact, av.Box(np.zeros(4), np.full(4, 2.0)), np.concatenate([np.eye(4), -np.eye(4)]))
    assert np.allclose(np.abs(av.solve(problem).lower), 1e8, rtol=1e-6)


def test_refusals_show_the_line_and_three_names():
    class Steps(nn.Module):
        def forward(self, x):
            y = x + 1
            return torch.lgamma(y)

    with pytest.raises(av.UnsupportedOperatorError) as caught:
        av.trace(Steps(), torch.zeros(1, 3))
    text = str(caught.value)
    assert (
        'Operation lgamma (node lgamma of Steps), called by "return torch.lgamma(y)" (test_torch_forms.py, line' in text
    )
    assert len(text) < 250 and text.count(", ") < 8
    for function, words in {
        lambda x: x > 0: "returns a comparison",
        lambda x: x[:, x.argmax(1)]: "argument indices depends on the input",
        lambda x: torch.zeros(1, 3).scatter(1, torch.tensor([[0, 0, 1]]), x): "one place twice",
        lambda x: torch.linalg.vector_norm(x, 0.5): "order is 0.5",
        lambda x: x.topk(2, sorted=False)[0]: "order",
    }.items():
        with pytest.raises(av.AdmmVerifyError, match=words):
            av.trace(Function(function), torch.zeros(1, 3))
