"""Modules that compute something else than the operations torch.export reads from them, or have no numbers yet."""

import random
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn

import admm_verify as av
from tests.network.test_torch_layers import Function, assert_agrees


class Caching(nn.Module):
    """Adds what it was given at its first call."""

    def __init__(self):
        super().__init__()
        self.kept = None

    def forward(self, x):
        if self.kept is None:
            self.kept = x * 1.0
        return x + self.kept


def guarded(x):
    try:
        factor = float(x.sum())
    except RuntimeError:
        factor = 5.0
    return x * factor


OTHERWISE = {
    "a value kept from the first call": Caching,
    "a number of the input behind except": lambda: Function(guarded),
    "asking whether it is exported": lambda: Function(lambda x: x * (2 if torch.compiler.is_exporting() else 3)),
    "asking whether it is compiled": lambda: Function(lambda x: x * (2 if torch.compiler.is_compiling() else 3)),
    "asking for the type": lambda: Function(lambda x: x * (2 if type(x) is torch.Tensor else 3)),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_modules_that_compute_otherwise_are_refused(name):
    with pytest.raises(av.UnsupportedOperatorError, match="other values than the operations"):
        av.trace(OTHERWISE[name](), torch.zeros(1, 3))


STEPS = count()


@pytest.mark.parametrize("draw", [lambda: 1e-5 * next(STEPS), lambda: float(random.random() > 1e-9)])
def test_small_noise_and_rare_events_are_found(draw):
    with pytest.raises(av.UnsupportedOperatorError, match="other values each time"):
        av.trace(Function(lambda x: x + draw()), torch.zeros(1, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steep_modules_are_read(dtype):
    def steep(x):
        return torch.tanh(1e6 * (x + 1e3 - 1e3)) + torch.clamp(1e4 * x.sum() - 1e4 * x.sum(), -1, 1)

    net = av.trace(Function(steep), torch.zeros(1, 3, dtype=dtype))
    assert net.output_shape == (3,)


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm1d(3), nn.PReLU(3, init=2.0), nn.Linear(3, 3)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_networks_stay_as_they_are_while_the_module_trains_on(layer, dtype):
    module = nn.Sequential(nn.Linear(3, 3), layer).to(dtype).eval()
    held = [torch.ones(3, dtype=dtype)]
    module = nn.Sequential(module, Function(lambda x: torch.maximum(x, held[0])))
    net, x = av.trace(module, torch.zeros(1, 3, dtype=dtype)), np.array([[1.5, -2.0, 0.25]])
    before = net(x)
    with torch.no_grad():
        for numbers in [*module.parameters(), *module.buffers(), *held]:
            numbers.add_(1)
    assert np.array_equal(net(x), before)


def test_modules_without_numbers_are_refused():
    for module in (nn.Sequential(nn.LazyLinear(3)), nn.LazyBatchNorm1d(), nn.Linear(3, 3, device="meta")):
        with pytest.raises(av.ModelError, match="no numbers yet"):
            av.trace(module, torch.zeros(1, 3))


def test_infinite_constants_are_refused_as_they_are_read():
    for function in (lambda x: x * float("inf"), lambda x: x + float("nan")):
        with pytest.raises(av.ModelError, match="NaN or infinite"):
            av.trace(Function(function), torch.zeros(1, 3))


def test_index_select_by_a_single_number_keeps_the_axis():
    assert_agrees(Function(lambda x: x.index_select(1, torch.tensor(2)).sum(1)), (3, 4))


def test_modules_of_single_numbers_are_read():
    for shape in ((), (1,), (3,), (1, 3)):
        x = torch.full(shape, 0.5, dtype=torch.float64)
        net = av.trace(Function(lambda x: 2 * x.sum()), x)
        assert float(net(x)) == float(2 * x.sum())
