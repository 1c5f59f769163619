"""Convolutions, pooling, activations and movements of entries read from torch, against the modules themselves."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import admm_verify as av
from problems.resnet18 import build
from tests.random_networks import relaxed

# Even kernels with padding "same" are slow in torch, which says so; here they are to be slow.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Every(nn.Module):
    """Modules or functions on the same input, flat and side by side: one export for all of them."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(part if isinstance(part, nn.Module) else Function(part) for part in parts)

    def forward(self, x):
        return torch.cat([part(x.clone()).flatten(1) for part in self.parts], 1)


def rows(module, x):
    """The module's values, one sample after the other as it is read."""
    with torch.no_grad():
        return torch.cat([module(row[None]) for row in x])


def assert_close(found, expected):
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def assert_agrees(module, shape):
    module = module.double().eval()
    x = 2 * torch.randn(3, *shape, dtype=torch.float64)
    network = av.trace(module, x)
    for graph in (network, relaxed(network)):
        assert_close(graph(x), rows(module, x))


def normalised(layer, channels):
    """Batch normalisation with statistics as after training, behind a layer."""
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.uniform_(0.5, 2.0)
    return nn.Sequential(layer, norm)


def in_place(x):
    """What happens to a view happens to the whole; y changes after it was read into z."""
    y = x + 1
    z = y * 2
    y.view(-1)[:4].clamp_(min=0.5)
    y.relu_()
    return y + z


def written(x):
    """Values written into parts of a constant and of a value."""
    y = torch.zeros(1, 4, 8, 6, dtype=x.dtype)
    y[:, 1:3, ::2] = x[:, 0:2, 1::2]
    z = x.clone()
    z[:, 2] = 3.0
    z[..., 1] += y[..., 2]
    return y - z


KERNEL, COLUMN = torch.randn(4, 2, 3, 3, dtype=torch.float64), torch.linspace(0.5, 2.0, 4, dtype=torch.float64)


def plain_names(x):
    """Operators that modules reach under other names."""
    y = torch.convolution(x, KERNEL, COLUMN, [1, 1], [1, 1], [1, 1], False, [0, 0], 2)
    return torch.native_batch_norm(y, COLUMN, None, COLUMN, COLUMN, False, 0.1, 1e-3)[0]


IMAGE = (4, 8, 6)
LAYERS = {
    "conv": nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (2, 1), groups=2),
    "conv same": nn.Conv2d(4, 3, (4, 2), padding="same", bias=False),
    "conv valid": nn.Conv2d(4, 3, 2, padding="valid"),
    "conv circular": nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"),
    "conv transposed": nn.ConvTranspose2d(4, 6, (3, 2), (3, 2), (1, 0), (2, 1), groups=2, dilation=(2, 1)),
    "norm": normalised(nn.Conv2d(4, 5, 3), 5),
    "norm transposed": normalised(nn.ConvTranspose2d(4, 5, 3), 5),
    "norm no parameters": nn.BatchNorm2d(4, affine=False),
    "average pool": nn.AvgPool2d(3, 2, 1),
    "average pool ceil": nn.AvgPool2d((3, 4), (2, 3), (1, 2), ceil_mode=True),
    "average pool not counted": nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "average pool divisor": nn.AvgPool2d(2, divisor_override=3),
    "adaptive average": nn.AdaptiveAvgPool2d((4, 3)),
    "adaptive average one axis": nn.AdaptiveAvgPool2d((None, 1)),
    "max pool": nn.MaxPool2d(2),
    "max pool overlapping": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "max pool dilated": nn.MaxPool2d((2, 3), 1, 1, (3, 2)),
    "adaptive max": nn.AdaptiveMaxPool2d((2, 3)),
    "padding": nn.ConstantPad2d((1, -1, 2, 0), 0.7),
    "padding reflect": nn.ReflectionPad2d((2, 1, 0, 3)),
    "padding replicate": nn.ReplicationPad2d((2, 1, 0, 3)),
    "upsample": nn.Upsample(scale_factor=(2, 3)),
    "upsample size": nn.Upsample(size=(16, 6)),
    "activations": nn.Sequential(nn.LeakyReLU(0.1), nn.Conv2d(4, 3, 1), nn.Tanh(), nn.Conv2d(3, 4, 1), nn.Sigmoid()),
    "prelu": nn.PReLU(4, 1.5),
    "clips": nn.Sequential(nn.Hardtanh(-1.5, 2.0), nn.ReLU6(), nn.Hardsigmoid()),
    "smooth": nn.Sequential(nn.Softplus(beta=2.0), nn.ELU(0.4), nn.CELU(0.6), nn.SELU(), nn.LogSigmoid()),
    "unflatten": nn.Sequential(nn.Flatten(), nn.Linear(192, 24), nn.ReLU(inplace=True), nn.Unflatten(1, (2, 3, 4))),
    "wide layout": Function(lambda x: F.max_pool2d(x.permute(0, 2, 3, 1), 2).relu().permute(0, 3, 1, 2).flatten(1)),
    "clamp": Function(lambda x: x.clamp(max=0.3).clamp(min=-0.4) + torch.clamp(x, -0.1, 0.1)),
    "extrema": Function(lambda x: torch.maximum(x, x.mean((2, 3), keepdim=True)) - torch.minimum(x, torch.ones(6))),
    "reductions": Function(lambda x: x.sum((1, 3)) - x.amax((1, 3)) + x.amin(dim=(1, 3))),
    "max along": Function(lambda x: x.max(2)[0].abs() - x.min(dim=2, keepdim=True)[0].squeeze(2)),
    "whole": Function(lambda x: x + x.max() - x.sum()),
    "movement": Function(lambda x: torch.stack([x.repeat(1, 2, 1, 1), x.repeat_interleave(2, dim=1)], 2).movedim(1, 3)),
    "indices": Function(lambda x: x[:, [3, 0, 0]].index_select(2, torch.tensor([1, 1, 7]))),
    "expand": Function(lambda x: x[:, :, :1].expand(-1, 4, 5, 6).pow(1) + x[:, :1, :1].expand_as(x[:, :, :5])),
    "unbind": Function(lambda x: x.unbind(3)[2] - x.select(3, 1).to(torch.float64)),
    "in place": Function(in_place),
    "written": Function(written),
    "plain names": Function(plain_names),
}


@pytest.fixture(scope="module")
def values():
    """An input and what the network read from all layers at once gives for it, by layer."""
    torch.manual_seed(1)
    module = Every(LAYERS.values()).double().eval()
    x = 2 * torch.randn(3, *IMAGE, dtype=torch.float64)
    lengths = [rows(layer, x).flatten(1).shape[1] for layer in LAYERS.values()]
    return x, dict(zip(LAYERS, av.trace(module, x)(x).split(lengths, dim=1), strict=True))


@pytest.mark.parametrize("name", LAYERS)
def test_layer_agrees(name, values):
    x, found = values
    assert_close(found[name], rows(LAYERS[name], x).flatten(1))


@pytest.mark.parametrize("name", ["conv", "max pool", "in place"])
def test_layer_keeps_its_shape(name):
    torch.manual_seed(4)
    assert_agrees(LAYERS[name], IMAGE)


LINES = nn.Sequential(
    nn.Conv1d(3, 6, 3, stride=2, padding=1, dilation=2),
    nn.MaxPool1d(3, 2, 1),
    nn.PReLU(6),
    nn.ConvTranspose1d(6, 4, 3, stride=2),
    nn.BatchNorm1d(4),
    nn.AvgPool1d(2),
    nn.Upsample(scale_factor=2),
    nn.AdaptiveMaxPool1d(5),
    nn.AdaptiveAvgPool1d(1),
)


def test_layers_with_one_spatial_axis_agree():
    torch.manual_seed(2)
    assert_agrees(LINES, (3, 20))


def test_narrow_resnet18_agrees():
    torch.manual_seed(3)
    assert_agrees(build(0, width=4), (3, 32, 32))


REFUSED = {
    "conv3d": (nn.Conv3d(1, 1, 2), (1, 3, 3, 3), "conv3d"),
    "uneven": (nn.AdaptiveAvgPool2d(3), IMAGE, "does not divide"),
    "statistics": (nn.BatchNorm2d(4, track_running_stats=False), IMAGE, "statistics"),
    "softplus": (nn.Softplus(threshold=2), IMAGE, "threshold"),
    "cast": (Function(lambda x: x.to(torch.float16)), IMAGE, "float16"),
    "power": (Function(lambda x: (-2.0) ** x), IMAGE, "not positive"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_layer_is_named(name):
    module, shape, words = REFUSED[name]
    with pytest.raises(av.UnsupportedOperatorError, match=words):
        av.trace(module, torch.zeros(1, *shape))
