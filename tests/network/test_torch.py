"""The torch reader against the modules themselves."""

import pytest
import torch
from torch import nn

import admm_verify as av


class Residual(nn.Module):
    """Every dense operation in one forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(12, 20), nn.Linear(20, 20), nn.Linear(25, 3)
        self.register_buffer("mean", torch.randn(12))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = (x.flatten(1) - self.mean) / 0.3081
        h = torch.relu(self.first(x))
        h = self.dropout(h + torch.nn.functional.relu(self.second(h)))
        p, q = h.chunk(2, dim=1)
        y = torch.cat([2 - p, q * torch.linspace(0.5, 1.0, 10), x[:, 2:7]], 1)
        return self.last(y).unsqueeze(1)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (Residual(), (3, 4)),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Identity(), nn.Linear(8, 2)), (3, 4)),
        (nn.Sequential(nn.Linear(5, 5, bias=False), nn.ReLU(inplace=True)), (5,)),
    ],
)
def test_forward_agrees(module, shape):
    module.eval()
    torch.manual_seed(0)
    x = torch.randn(6, *shape)
    network = av.trace(module, x)
    with torch.no_grad():
        expected = module(x)
    assert network(x).shape == expected.shape
    assert torch.allclose(network(x), expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(network(x[0]), expected[0], rtol=1e-5, atol=1e-5)


def test_module_keeps_its_mode():
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    av.trace(module, torch.zeros(1, 2))
    assert module.training


def test_unsupported_operation_is_named():
    class LogOfGamma(nn.Module):
        def forward(self, x):
            return x.lgamma()

    with pytest.raises(av.UnsupportedOperatorError, match="lgamma"):
        av.trace(nn.Sequential(nn.Linear(3, 3), LogOfGamma()), torch.zeros(1, 3))


def test_nan_parameter_is_named():
    module = nn.Sequential(nn.Linear(3, 3))
    with torch.no_grad():
        module[0].weight[1, 2] = float("nan")
    with pytest.raises(av.ModelError, match=r"0\.weight"):
        av.trace(module, torch.zeros(1, 3))


def test_two_outputs_are_refused():
    class Two(nn.Module):
        def forward(self, x):
            return x, 2 * x

    with pytest.raises(av.ModelError, match="2 values"):
        av.trace(Two(), torch.zeros(1, 3))


def test_readme_story():
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3))
    x = torch.rand(1, 6)
    network = av.trace(module, x)
    problem = av.Problem(network, av.Box.around(x, radius=0.05, within=(0, 1)), torch.eye(3) - torch.ones(3, 3) / 3)
    solution = av.solve(problem)
    assert isinstance(solution.lower, torch.Tensor) and solution.lower.shape == (3,)
    exact = module.double()
    samples = (x + 0.1 * (torch.rand(500, 6) - 0.5)).clamp(0, 1).double()
    with torch.no_grad():
        values = exact(samples) @ (torch.eye(3) - torch.ones(3, 3) / 3).double()
    assert bool((solution.lower <= values.min(0).values).all())
    assert bool((solution.gap >= 0).all())
