"""Gradients of linear functionals of networks, against finite differences and torch's autograd."""

import numpy as np
import torch

from admm_verify.arrays import Placement, quiet_overflow, to_numpy
from admm_verify.attacks.gradient import output_and_gradient, value_and_gradient
from tests.attacks.cases import all_cases, kinds


def test_gradients_of_random_networks_are_those_of_autograd():
    cases = all_cases()
    assert kinds([network for network, _ in cases]) >= {"clip", "elu", "prelu", "relu", "sigmoid", "softplus", "tanh"}
    for network, rng in cases:
        x = torch.tensor(rng.uniform(-1, 1, (3, network.input_size)), requires_grad=True)
        coefficient = rng.standard_normal((3, network.output_size))
        placed = network.put(Placement.of(x))
        output = placed.evaluate(x)[-1]
        (torch.tensor(coefficient) * output).sum().backward()
        values, gradient = value_and_gradient(network, to_numpy(x), coefficient)
        expected = np.sum(coefficient * to_numpy(output), axis=1)
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
        slopes = np.zeros_like(gradient) if x.grad is None else x.grad.numpy()
        np.testing.assert_allclose(gradient, slopes, rtol=1e-7, atol=1e-9 * max(1e-300, np.abs(slopes).max()))


def test_gradients_of_random_networks_are_finite_differences():
    for network, rng in all_cases():
        x = rng.uniform(-1, 1, network.input_size)
        coefficient = rng.standard_normal((1, network.output_size))
        direction = rng.standard_normal(network.input_size)
        step = 1e-6 * np.array([[-1.0], [1.0]])
        below, above = (network.evaluate(x + step * direction)[-1] @ coefficient[0]).tolist()
        (value,), (gradient,) = value_and_gradient(network, x[None], coefficient)
        scale = max(abs(value), np.abs(gradient).max(), 1e-12)
        # A step may cross a kink, so that the difference lies between the slopes of its two sides.
        both = [
            value_and_gradient(network, (x + s * direction)[None], coefficient)[1][0] @ direction for s in step[:, 0]
        ]
        found = (above - below) / 2e-6
        assert min(both) - 1e-3 * scale <= found <= max(both) + 1e-3 * scale


def test_libraries_agree():
    for network, rng in all_cases()[:20]:
        x, coefficient = rng.uniform(-1, 1, (2, network.input_size)), rng.standard_normal((2, network.output_size))
        values, gradient = value_and_gradient(network, x, coefficient)
        placed = network.put(Placement.of(torch.tensor(x)))
        others = value_and_gradient(placed, torch.tensor(x), torch.tensor(coefficient))
        for found, other in zip((values, gradient), others, strict=True):
            np.testing.assert_allclose(other.numpy(), found, rtol=1e-9, atol=1e-9 * np.abs(found).max())


def test_single_precision_stays_single():
    for network, rng in all_cases():
        x = rng.uniform(-1, 1, (2, network.input_size)).astype(np.float32)
        weights = rng.standard_normal((2, network.output_size)).astype(np.float32)
        with quiet_overflow():
            output, gradient = output_and_gradient(network.put(Placement.of(x)), x, lambda _, weights=weights: weights)
        assert output.dtype == gradient.dtype == np.float32
