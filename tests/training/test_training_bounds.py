"""Differentiable bounds beside the certified ones, and gradients beside differences."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import admm_verify as av
from admm_verify.training.bounds import (
    LayerBounds,
    TensorBox,
    backward_bounds,
    class_rows,
    crown_bounds,
    interval_bounds,
    steeper_half,
)
from admm_verify.training.reading import read_layers

BATCH, EPS = 3, 0.07


class Residual(nn.Module):
    """A block with two ways, one of them a convolution, on normalised images."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.3, 0.5]).reshape(2, 1, 1))
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.way, self.last = nn.Conv2d(2, 4, 1), nn.Linear(4 * 9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / 0.4
        x = torch.relu(self.second(functional.relu(self.first(x))) + self.way(x))
        return self.last(functional.avg_pool2d(x, 2).flatten(1))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 2, stride=2, groups=2, padding="valid"),
        nn.ReLU(),
        nn.AvgPool2d(2, stride=1, padding=1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.LazyLinear(8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 4),
    )


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 4))


MODULES = {"dense": dense, "convolutions": convolutions, "residual": Residual}


@pytest.fixture(scope="module", params=MODULES)
def case(request):
    """A module in evaluation mode, its network, images and labels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, images = MODULES[request.param]().double().train(), torch.rand(BATCH, 2, 6, 6, dtype=torch.float64)
        # Batch norms get statistics that are not the ones they begin with.
        module(torch.rand(8, 2, 6, 6, dtype=torch.float64))
    module.eval()
    return module, av.trace(module, images), images, torch.tensor([0, 3, 1])


def bounds_of(case, crown=None) -> LayerBounds:
    module, _, images, _ = case
    graph, box = read_layers(module, images), TensorBox.around(images, EPS, (0.0, 1.0))
    scales = graph.scales(images)
    return interval_bounds(graph, box, scales) if crown is None else crown_bounds(graph, box, scales, crown)


def box_of(case) -> av.Box:
    return av.Box.around(case[2].numpy(), EPS, within=(0.0, 1.0))


@pytest.mark.parametrize("method", ["interval", "crown"])
def test_they_equal_the_certified_ones(case, method):
    certified = av.preactivation_bounds(case[1], box_of(case), method)
    with torch.no_grad():
        intervals, found = bounds_of(case), bounds_of(case, None if method == "interval" else steeper_half)
    assert len(found.preactivations) == len(certified.lower) >= 2
    for first, own, *ends in zip(
        intervals.preactivations, found.preactivations, certified.lower, certified.upper, strict=True
    ):
        # A rectifier that intervals alone show stable is exact, and its certified bounds are these.
        open_ = ((first.low < 0) & (first.high > 0)).flatten(1).numpy() if method == "crown" else np.array(True)
        assert open_.any()
        for mine, end in zip((own.low, own.high), ends, strict=True):
            np.testing.assert_allclose(np.where(open_, mine.flatten(1), end), end, rtol=0, atol=1e-6)


def test_margins_equal_the_certified_ones(case):
    """CROWN's, of rows e_t - e_j at the end."""
    labels, rows = case[3], class_rows(case[3], 4, torch.float64)
    with torch.no_grad():
        found = backward_bounds(bounds_of(case, steeper_half), rows)
        elided = bounds_of(case).margins(labels)
        apart = bounds_of(case).nodes[-1]
    for i in range(BATCH):
        box = av.Box.around(case[2][i].numpy(), EPS, within=(0.0, 1.0))
        problem = av.Problem(case[1], box, rows[i].numpy())
        certified = av.solve(problem, settings=av.SolverSettings(max_passes=0)).lower
        np.testing.assert_allclose(found[i], certified, rtol=0, atol=1e-6)
    others = torch.arange(4) != labels[:, None]
    plain = apart.low.gather(1, labels[:, None]) - apart.high
    assert bool((elided >= plain - 1e-12)[others].all()) and bool((elided > plain + 1e-6)[others].any())
    assert bool((elided.gather(1, labels[:, None]) == 0).all())
