"""Operators written as several nodes: what runtimes and torch compute, and bounds that hold over boxes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import admm_verify as av
from tests.network.test_torch_layers import Every, rows
from tests.random_networks import relaxed

torch.manual_seed(3)

C, M = torch.randn(3, 4), torch.randn(4, 4) > 0
TALL = torch.rand(4, 5) + 0.5


CELL = nn.LSTMCell(4, 2).double()


def heads(x):
    """[2, 3, 4] as [2, heads 2, 3, 2]."""
    return x.reshape(-1, 3, 2, 2).transpose(1, 2)


class Recurrent(nn.Module):
    """All that a recurrent layer returns, side by side."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        found, state = self.layer(x)
        states = state if isinstance(state, tuple) else (state,)
        return torch.cat([found.flatten(1), *(part.transpose(0, 1).flatten(1) for part in states)], 1)


class Attention(nn.Module):
    """Self-attention with weights, of which the second output is left."""

    def __init__(self, **options):
        super().__init__()
        self.layer = nn.MultiheadAttention(4, 2, batch_first=True, **options)

    def forward(self, x):
        return self.layer(x, x, x, need_weights=False)[0] + self.layer(x, 2 * x, -x)[0]


# Of an input [samples, 3, 4].
FORMS = {
    "products": lambda x: x * x.flip(1) + x * 2.0 + x[:, :1] * x[..., :1],
    "squares": lambda x: x * x + x**2 + torch.square(x) + x.pow(3) + (x * x + 1).pow(-0.5) + (2 + x.tanh()).rsqrt(),
    "quotients": lambda x: x / (1 + x**2) + 1 / (2 + torch.tanh(x)) - C.double() / (x**2 + 3).sqrt(),
    "powers of constants": lambda x: 2.0**x + torch.pow(torch.tensor(0.3), x),
    "own power": lambda x: (x**2 + 1) ** x,
    "matmul": lambda x: x @ x.transpose(1, 2) + (x[:, :, :1] @ x[:, :1, :3]),
    "bmm": lambda x: torch.baddbmm(x, x[:, :, :3], x, alpha=0.5),
    "einsum": lambda x: torch.einsum("bij,bkj->bik", x, x) + torch.einsum("bij,bij->bi", x, 2 * x)[:, :, None],
    "einsum of three": lambda x: torch.einsum("bi,bj,jk->bik", x[:, 0], x[:, 1], TALL.double()),
    "vectors": lambda x: torch.linalg.vecdot(x[:, 0], x[:, 1])[:, None],
    "addcmul": lambda x: torch.addcmul(x, x, x.flip(2), value=0.5) + torch.addcdiv(x, x, x**2 + 1),
    "lerp": lambda x: torch.lerp(x, x.flip(1), torch.sigmoid(x)),
    "prod": lambda x: x.prod(1) + x.prod(2).sum(1, keepdim=True),
    "log-sum-exp": lambda x: torch.logsumexp(x, 2) + torch.logsumexp(x, (1, 2))[:, None],
    "norms": lambda x: x.norm(dim=2) + torch.linalg.vector_norm(x, dim=(1, 2))[:, None] + F.normalize(x, dim=1).sum(2),
    "norms of other orders": lambda x: x.norm(3, dim=2) + torch.linalg.vector_norm(x, 1.5, dim=(1, 2))[:, None],
    "hyperbolic": lambda x: torch.sinh(x) + torch.cosh(x / 2) + torch.asinh(x) + torch.acosh(x * x + 1),
    "inverse": lambda x: torch.asin(x.tanh()) + torch.acos(0.5 * x.sin()) + torch.atanh(0.9 * x.sin()),
    "exponentials": lambda x: torch.expm1(x / 1e6) * 1e6 + torch.exp2(x) + torch.erfc(x),
    "logarithms": lambda x: torch.log1p(x * x / 1e6) * 1e6 + torch.log2(x * x + 1) + torch.log10(x.exp()),
    "log of sums": lambda x: torch.logaddexp(x, 50 * x.flip(1)),
    "parts": lambda x: torch.trunc(3 * x) + torch.frac(3 * x),
    "distances": lambda x: torch.cdist(x, x + 1).flatten(1) + torch.cdist(x, TALL[:3, :4].double(), p=1.0).flatten(1),
    "hypotenuse": lambda x: torch.hypot(x, x.flip(2)) + torch.hypot(x, torch.ones(4, dtype=x.dtype)),
    "cumulative products": lambda x: torch.cumprod(x, 1) + torch.cumprod(x, -1),
    "variance": lambda x: x.var(2) + x.std(2, unbiased=False) + torch.var_mean(x, 2, correction=2)[0],
    "cosine": lambda x: F.cosine_similarity(x, x.flip(1) + 1, dim=2),
    "mean square": lambda x: F.mse_loss(x, x.flip(1)).reshape(1, 1) + F.mse_loss(x[:, 0], x[:, 1], reduction="none"),
    "softmax": lambda x: 2 * torch.softmax(x, 2) + torch.softmax(x[:, :, :2], 2).sum() + torch.softmax(x, 1).flip(1),
    "log-softmax": lambda x: 3 * torch.log_softmax(x, 2) + torch.softmax(x, 2).log(),
    "softmax of one": lambda x: x[:, :, :1].softmax(2) * x,
    "layer norm": nn.LayerNorm(4),
    "layer norm of all": lambda x: F.layer_norm(x, (3, 4), eps=1e-2),
    "group norm": nn.Sequential(nn.Conv1d(3, 4, 1), nn.GroupNorm(2, 4)),
    "instance norm": nn.InstanceNorm1d(3, affine=True),
    "rms norm": nn.RMSNorm(4),
    "attention": lambda x: F.scaled_dot_product_attention(heads(x), heads(2 * x), heads(-x)),
    "masked attention": lambda x: F.scaled_dot_product_attention(heads(x), heads(x), heads(x), is_causal=True),
    "attention with a mask": lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=torch.eye(3, dtype=bool)),
    "attention with numbers": lambda x: F.scaled_dot_product_attention(x, x, x, C[:, :3].double(), scale=0.5),
    "multi-head attention": Attention(),
    "encoder layer": nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, dropout=0.0),
    "rnn": Recurrent(nn.RNN(4, 3, batch_first=True)),
    "rnn of relu": Recurrent(nn.RNN(4, 3, nonlinearity="relu", batch_first=True, bidirectional=True)),
    "lstm": Recurrent(nn.LSTM(4, 2, num_layers=2, batch_first=True, bidirectional=True)),
    "lstm without biases": Recurrent(nn.LSTM(4, 3, bias=False, batch_first=True)),
    "lstm with projections": Recurrent(nn.LSTM(4, 5, 2, proj_size=2, batch_first=True, bidirectional=True)),
    "lstm with a projection alone": Recurrent(nn.LSTM(4, 5, proj_size=3, bias=False, batch_first=True)),
    "gru": Recurrent(nn.GRU(4, 3, batch_first=True, num_layers=2)),
    "lstm cell": lambda x: CELL(x[:, 0], tuple(torch.tanh(x[:, 1:, :2]).unbind(1)))[0],
    "bilinear": lambda x: (
        F.interpolate(x[:, None], scale_factor=2.0, mode="bilinear").sum(1)
        + F.interpolate(x[:, None], (6, 8), mode="bilinear", align_corners=True).sum(1)
    ),
    "linear": lambda x: F.interpolate(x, 7, mode="linear") + F.interpolate(x, scale_factor=1.75, mode="linear"),
    "embedding": lambda x: x + nn.functional.embedding(torch.tensor([2, 0, 1]), TALL[:, :4].double()),
}


@pytest.mark.parametrize("part", range(3))
def test_torch_forms_are_what_torch_computes(part: int) -> None:
    names = list(FORMS)[part::3]
    module = Every([FORMS[name] for name in names]).double().eval()
    x = 2 * torch.randn(3, 3, 4, dtype=torch.float64)
    network = av.trace(module, x)
    expected = [rows(one, x).flatten(1) for one in module.parts]
    ends = np.cumsum([part.shape[1] for part in expected])[:-1]
    for graph in (network, relaxed(network)):
        for name, found, wanted in zip(names, np.split(graph(x).numpy(), ends, axis=1), expected, strict=True):
            np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-9, atol=1e-9, err_msg=name)
