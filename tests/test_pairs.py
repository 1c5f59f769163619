"""Makers of pairs: what they do to weights, beside torch and by hand, and that bounds are of what is computed."""

import numpy as np
import pytest
import torch
from torch import nn

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.report.demo import load_digits
from problems import pairs

RNG = np.random.default_rng(0)
DIGITS = load_digits()


class Small(nn.Module):
    """Convolutions, one transposed in groups, a residual sum, pooling, a leaky and a smooth function, and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.wide = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2)
        self.last = nn.Linear(6 * 16, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = x + torch.tanh(self.second(x))
        x = nn.functional.leaky_relu(self.wide(x), 0.1)
        x = nn.functional.avg_pool2d(nn.functional.max_pool2d(x, 1), 2)
        return torch.softmax(self.last(x.flatten(1)), dim=1)


EXAMPLE = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))


def with_parameters(change) -> nn.Module:
    """The module, its parameters changed as change(parameter, channel axis or None for biases) says."""
    module = Small()
    with torch.no_grad():
        for name, p in module.named_parameters():
            axis = None if name.endswith("bias") else int(name.startswith("wide"))
            p.copy_(change(p, axis))
    return module


def by_channel(p: torch.Tensor, axis: int) -> torch.Tensor:
    """Outputs first, flat; of the transposed convolution they are the second axis, in two groups of the first."""
    return p.flatten(1) if axis == 0 else p.reshape(2, 2, 3, -1).transpose(1, 2).reshape(6, -1)


def back(rows: torch.Tensor, p: torch.Tensor, axis: int) -> torch.Tensor:
    return rows.reshape(p.shape) if axis == 0 else rows.reshape(2, 3, 2, 4).transpose(1, 2).reshape(p.shape)


def as_int8(p, axis, per_channel=True):
    if axis is None:
        return p
    rows = by_channel(p, axis)
    scale = (rows.abs().amax(1, keepdim=True) if per_channel else rows.abs().amax()) / 127
    return back(torch.clamp(torch.round(rows / scale), -127, 127) * scale, p, axis)


def without_small(p, axis):
    if axis is None:
        return p
    flat = p.flatten().clone()
    flat[flat.abs().argsort(stable=True)[: int(0.3 * len(flat))]] = 0
    return flat.reshape(p.shape)


@pytest.mark.parametrize(
    "make, change",
    [
        (pairs.half, lambda p, axis: p.half().float()),
        (pairs.quantised, as_int8),
        (lambda network: pairs.quantised(network, per_channel=False), lambda p, axis: as_int8(p, axis, False)),
        (lambda network: pairs.pruned(network, 0.3), without_small),
        (lambda network: pairs.noisy(network, 0.0), lambda p, axis: p),
    ],
    ids=["half", "channels", "layers", "pruned", "same"],
)
def test_pairs_are_what_torch_makes(make, change) -> None:
    network = av.trace(Small(), EXAMPLE)
    made, theirs = make(network), with_parameters(change)
    x = torch.tensor(RNG.standard_normal((20, 2, 4, 4)), dtype=torch.float32)
    with torch.no_grad():
        np.testing.assert_allclose(np.asarray(made(x.numpy())), theirs(x).numpy(), atol=2e-6)
    assert make is pairs.noisy or (made.head == network.head and made.output_shape == network.output_shape)


@pytest.mark.parametrize("make", [pairs.half, lambda network: pairs.noisy(network, 0.05)], ids=["half", "noise"])
def test_bounds_are_of_what_a_pair_computes(make) -> None:
    """Scores, not probabilities: the head is left out by `scores`."""
    network = make(av.trace(Small(), EXAMPLE)).scores
    box = av.Box.around(EXAMPLE[0].numpy(), 0.02)
    ranges = av.output_bounds(network, box)
    values = np.asarray(network(EXAMPLE[0].numpy() + RNG.uniform(-0.02, 0.02, (500, 2, 4, 4))))
    assert (ranges.lower <= values.min(axis=0)).all() and (values.max(axis=0) <= ranges.upper).all()
    assert (ranges.upper - ranges.lower < 1).all()


def test_noise_is_relative_and_the_same_for_every_size() -> None:
    weights, _ = pairs.layers_of(DIGITS.network)
    small, large = (pairs.layers_of(pairs.noisy(DIGITS.network, sigma, seed=3))[0] for sigma in (1e-3, 1e-2))
    for w, a, b in zip(weights, small, large, strict=True):
        there = w != 0
        assert abs(np.std(b[there] / w[there] - 1) - 1e-2) < 2e-3
        np.testing.assert_allclose(10 * (a - w), b - w, atol=1e-5)
    other = pairs.layers_of(pairs.noisy(DIGITS.network, 1e-2, seed=4))[0]
    assert not np.array_equal(other[0], large[0])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_quantised_weights_take_few_values(bits) -> None:
    for weight in pairs.layers_of(pairs.quantised(DIGITS.network, bits))[0]:
        assert all(len(np.unique(row)) < 2**bits for row in weight)
    for weight in pairs.layers_of(pairs.quantised(DIGITS.network, bits, per_channel=False))[0]:
        assert len(np.unique(weight)) < 2**bits


def test_dead_neurons_leave_the_function_as_it_is() -> None:
    weights, biases = pairs.layers_of(DIGITS.network)
    weights[0][[3, 7]] = 0.0  # they say max(bias, 0)
    weights[2][:, 11] = 0.0  # nothing reads it
    weights[3][5] = 0.0
    weights[1][:, 20] = 0.0  # nor this one of the first layer
    network = network_from_layers(weights, biases, "dead")
    thin = pairs.without_dead(network)
    assert [len(w) for w in pairs.layers_of(thin)[0]] == [47, 49, 50, 49, 10]
    x = RNG.uniform(0, 1, (100, 64))
    np.testing.assert_allclose(np.asarray(thin(x)), np.asarray(network(x)), atol=1e-5)


def test_nothing_that_speaks_leaves_one_neuron() -> None:
    thin = pairs.without_dead(network_from_layers([np.zeros((3, 2)), np.ones((1, 3))], [np.ones(3), np.zeros(1)]))
    assert np.asarray(thin(np.zeros((1, 2)))) == 3.0 and thin.functions[0].size == 1


def test_thinned_networks_are_narrower_and_near() -> None:
    thin = pairs.thinned(DIGITS.network, 0.2)
    assert [len(w) for w in pairs.layers_of(thin)[0]] == [40, 40, 40, 40, 10]
    own, theirs = (np.asarray(n(DIGITS.images)) for n in (DIGITS.network, thin))
    assert 0 < np.abs(own - theirs).max() < 0.5 * np.abs(own).max()
    assert [len(w) for w in pairs.layers_of(pairs.thinned(DIGITS.network, 1.0))[0]] == [1, 1, 1, 1, 10]


def test_tuning_lowers_the_loss_a_little() -> None:
    def loss(network: av.Network) -> float:
        scores = torch.tensor(np.asarray(network(DIGITS.images)))
        return float(nn.functional.cross_entropy(scores, torch.tensor(DIGITS.labels)))

    tuned = pairs.fine_tuned(DIGITS.network, DIGITS.images, DIGITS.labels)
    assert loss(tuned) < loss(DIGITS.network)
    weights, _ = pairs.layers_of(DIGITS.network)
    module = nn.Sequential(*(part for w in weights for part in (nn.Linear(*w.shape[::-1]), nn.ReLU())))[:-1]
    with torch.no_grad():
        for layer, w, b in zip(module[::2], *pairs.layers_of(DIGITS.network), strict=True):
            layer.weight.copy_(torch.tensor(w))
            layer.bias.copy_(torch.tensor(b))
    optimiser = torch.optim.SGD(module.parameters(), 0.01)
    for _ in range(10):
        optimiser.zero_grad()
        images = torch.tensor(DIGITS.images, dtype=torch.float32)
        nn.functional.cross_entropy(module(images), torch.tensor(DIGITS.labels)).backward()
        optimiser.step()
    for layer, w in zip(module[::2], pairs.layers_of(tuned)[0], strict=True):
        np.testing.assert_allclose(w, layer.weight.detach().numpy(), atol=1e-6)


def test_what_cannot_be_made_is_said() -> None:
    with pytest.raises(ValueError, match="no chain of dense layers"):
        pairs.layers_of(av.trace(Small(), EXAMPLE))
    with pytest.raises(ValueError, match="too large for 16 bits"):
        pairs.half(network_from_layers([np.full((1, 1), 1e5)], [np.zeros(1)]))
    with pytest.raises(ValueError, match="give 2 to 16"):
        pairs.quantised(DIGITS.network, 1)
    for make in (pairs.pruned, pairs.thinned):
        with pytest.raises(ValueError, match="give one from 0 to 1"):
            make(DIGITS.network, 1.5)
