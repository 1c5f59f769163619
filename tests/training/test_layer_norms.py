"""Differentiable norms of layers beside dense singular values, the library's certified norms and finite differences."""

from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av

torch = pytest.importorskip("torch")
nn = torch.nn

from admm_verify.network.convolution import ConvolutionMap  # noqa: E402
from admm_verify.network.symbols import convolution_gain  # noqa: E402
from admm_verify.training.affine_layers import affine_layers  # noqa: E402
from admm_verify.training.gram import gram_bound  # noqa: E402
from admm_verify.training.layer_shapes import GramSettings  # noqa: E402

EXACT, FREQUENCIES = GramSettings(steps=10, largest_side=4096), GramSettings(steps=10, largest_side=1)


@pytest.fixture(autouse=True)
def one_thread():
    torch.manual_seed(0)


def convolution(seed):
    """A convolution of one, two or three axes and an image, with any stride, padding, dilation and groups."""
    rng = np.random.default_rng(seed)
    axes = (2, 2, 2, 1, 3)[seed % 5]
    groups = int(rng.integers(1, 3))
    channels, outputs = (groups * int(n) for n in rng.integers(1, 4, 2))
    kernel, stride, dilation = (tuple(map(int, rng.integers(1, most, axes))) for most in (4, 3, 2 if axes == 3 else 3))
    padding = tuple(map(int, rng.integers(0 if axes < 3 else 1, 4, axes)))
    least = 2 if axes == 3 else 5
    image = (channels, *map(int, rng.integers(least, least + 2, axes)))
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    mode = "circular" if seed == 6 else "zeros"
    layer = kind(channels, outputs, kernel, stride, padding, dilation, groups, padding_mode=mode)
    return layer, torch.zeros(1, *image)


def matrix_of(layer, example):
    """What a layer does without its bias, [outputs, inputs], by float64 and one entry at a time."""
    size = example.numel()
    with torch.no_grad():
        wide = layer.double()
        columns = wide(torch.eye(size, dtype=torch.float64).reshape(size, *example.shape[1:]))
        found = (columns - wide(torch.zeros_like(example).double())).flatten(1).T.numpy()
        layer.float()
    return found


@pytest.mark.parametrize("seed", range(12))
def test_convolutions_are_never_below_their_largest_singular_value(seed):
    layer, example = convolution(seed)
    true = np.linalg.norm(matrix_of(layer, example), 2)
    (found,) = affine_layers(layer, example)
    exact, around = (found.norm(settings).item() for settings in (EXACT, FREQUENCIES))
    # The singular value is itself rounded, and so is the bias that was taken off.
    assert true * (1 - 1e-12) <= exact <= 1.004 * true
    assert true * (1 - 1e-12) <= around


def test_frequencies_are_those_of_the_library():
    """A convolution whose image is large: both bounds are made by frequencies, with the same shifted grids."""
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    example = torch.zeros(1, 3, 26, 30)
    (found,) = affine_layers(layer, example)
    part = ConvolutionMap.of(layer.weight.detach().numpy(), (3, 26, 30), (2, 2), (1, 1, 1, 1))
    assert found.norm(FREQUENCIES).item() == pytest.approx(convolution_gain(part), rel=2e-3)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (3, 7), (20, 20)])
@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_matrices_are_never_below_their_norm(shape, scale):
    rng = np.random.default_rng(0)
    for matrix in (rng.standard_normal(shape), np.outer(*map(rng.standard_normal, shape)), np.eye(*shape)):
        true = np.linalg.norm(matrix, 2)
        for steps in (1, 4, 10):
            found = gram_bound(torch.tensor(matrix * scale), steps).item() / scale
            assert true * (1 - 1e-14) <= found <= true * min(shape) ** (2.0 ** -(steps + 1)) * (1 + 1e-9)


def positive_definite(matrix):
    """Whether all pivots of a symmetric matrix of fractions are above zero, exactly."""
    size = len(matrix)
    for k in range(size):
        if matrix[k][k] <= 0:
            return False
        for i in range(k + 1, size):
            share = matrix[i][k] / matrix[k][k]
            matrix[i] = [one - share * other for one, other in zip(matrix[i], matrix[k], strict=True)]
    return True


@pytest.mark.parametrize("seed", range(6))
def test_matrices_are_never_below_their_norm_in_exact_numbers(seed):
    rng = np.random.default_rng(seed)
    rows, columns = map(int, rng.integers(1, 5, 2))
    for matrix in (
        rng.standard_normal((rows, columns)),
        np.outer(rng.standard_normal(rows), rng.standard_normal(columns)),
        rng.integers(-1, 2, (rows, columns)) + 1e-9 * rng.standard_normal((rows, columns)),
        np.full((rows, columns), 0.1),
    ):
        exact = [[Fraction(value) for value in row] for row in matrix.tolist()]
        for steps in (1, 3, 10):
            square = Fraction(gram_bound(torch.tensor(matrix), steps).item()) ** 2
            gram = [
                [square * (i == j) - sum(a * b for a, b in zip(exact[i], exact[j], strict=True)) for j in range(rows)]
                for i in range(rows)
            ]
            assert positive_definite(gram)


def test_few_steps_are_above_where_power_iteration_is_below():
    """Two singular values next to one another."""
    matrix = torch.diag(torch.tensor([1.0, 0.999, 0.5], dtype=torch.float64))
    x = torch.tensor([0.1, 1.0, 1.0], dtype=torch.float64)
    for _ in range(4):
        x = matrix.T @ (matrix @ x)
    assert torch.linalg.norm(matrix @ x) / torch.linalg.norm(x) < 1.0 < gram_bound(matrix, 2)


def test_zeros_have_norm_zero_and_a_gradient():
    weight = torch.zeros(3, 4, requires_grad=True)
    found = gram_bound(weight)
    found.backward()
    assert found.item() == 0.0 and torch.equal(weight.grad, torch.zeros(3, 4))


def small_net():
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4)
    )
    with torch.no_grad():
        net[1].running_var.copy_(torch.tensor([0.5, 1.0, 3.0]))
        net[1].weight.copy_(torch.tensor([1.0, -2.0, 0.5]))
    return net


def test_layers_of_a_network_are_those_that_the_library_certifies():
    net, example = small_net(), torch.zeros(2, 1, 6, 6)
    layers = affine_layers(net, example)
    assert [layer.name for layer in layers] == ["0", "4"] and net.training
    certified = [one for one in av.layer_norms(av.trace(net, example)).layers if one.kind != "relu"]
    for layer, one in zip(layers, certified, strict=True):
        # The certified norm spares 1e-6 of its square for the factorisation.
        assert one.lower <= layer.norm(EXACT).item()
        assert layer.norm(EXACT).item() == pytest.approx(one.upper, rel=3e-3)


@pytest.mark.parametrize("settings", [EXACT, FREQUENCIES], ids=["exact", "frequencies"])
def test_gradients_are_those_of_finite_differences(settings):
    net = small_net().double()
    layers = affine_layers(net, torch.zeros(1, 1, 6, 6, dtype=torch.float64))
    step = 1e-6
    for layer, weights in ((layers[0], (net[0].weight, net[1].weight)), (layers[1], (net[4].weight,))):
        grads = torch.autograd.grad(layer.norm(settings), weights)
        for weight, grad in zip(weights, grads, strict=True):
            turn, values = torch.randn_like(weight), []
            for move in (step, -2 * step, step):
                with torch.no_grad():
                    weight.add_(move * turn)
                values.append(layer.norm(settings).item())
            slope = (values[0] - values[1]) / (2 * step)
            assert slope == pytest.approx((grad * turn).sum().item(), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolutions_are_measured_with_their_scales(groups):
    example = torch.zeros(1, 2, 4, 5)
    net = nn.Sequential(
        nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=groups), nn.BatchNorm2d(4)
    )
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([1.0, -3.0, 0.5, 2.0]))
    (found,) = affine_layers(net, example)
    true = np.linalg.norm(matrix_of(net.eval(), example), 2)
    assert true * (1 - 1e-12) <= found.norm(EXACT).item() <= 1.004 * true
    assert true * (1 - 1e-12) <= found.norm(FREQUENCIES).item() <= 1.5 * true


def test_normalisations_and_slopes():
    example = torch.zeros(1, 2, 4, 4)
    alone = nn.BatchNorm2d(2)
    with torch.no_grad():
        alone.weight.copy_(torch.tensor([-3.0, 1.0]))
    (found,) = affine_layers(alone, example)
    assert found.norm().item() == pytest.approx(3.0 / np.sqrt(1 + alone.eps))
    (found,) = affine_layers(nn.PReLU(2, init=-1.5), example)
    assert found.norm().item() == 1.5


def test_parameters_without_a_known_norm_are_refused():
    with pytest.raises(av.InputError, match=r"weight of 1 \(LayerNorm\).*Linear"):
        affine_layers(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), torch.zeros(1, 2))
    with pytest.raises(av.InputError, match="running statistics"):
        affine_layers(nn.BatchNorm1d(2, track_running_stats=False), torch.zeros(3, 2))
    large = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")
    (layer,) = affine_layers(large, torch.zeros(1, 8, 40, 40))
    with pytest.raises(av.InputError, match="too large"):
        layer.norm()


def test_layers_may_be_called_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return self.layer(input=x)

    assert [one.name for one in affine_layers(Named(), torch.zeros(1, 3))] == ["layer"]
