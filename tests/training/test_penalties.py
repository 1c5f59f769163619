"""Penalties on the norms of layers, orthogonal starts, and layers that stretch nothing."""

from types import SimpleNamespace

import numpy as np
import pytest

import admm_verify as av

torch = pytest.importorskip("torch")
nn = torch.nn

from admm_verify.network.convolution import ConvolutionMap  # noqa: E402
from admm_verify.network.gain import gain  # noqa: E402
from admm_verify.network.maps import DenseMap  # noqa: E402
from admm_verify.training.affine_layers import affine_layers  # noqa: E402
from admm_verify.training.one_lipschitz import one_lipschitz  # noqa: E402
from admm_verify.training.orthogonal_start import OrthogonalStart  # noqa: E402
from admm_verify.training.spectral_penalty import SpectralPenalty  # noqa: E402

X = torch.linspace(0, 1, 64).reshape(4, 16)


def dense():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4))


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)),
        nn.Conv2d(1, 3, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(3, 4, 4, stride=2, padding=1, groups=1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )


def step_of(module):
    """What a penalty reads of a step."""
    return SimpleNamespace(module=module, images=X)


def product(module):
    """The library's certified norms of the weights that a module has or computes, multiplied."""
    found, image = 1.0, (1, 4, 4)
    for layer in module:
        if isinstance(layer, nn.Linear):
            found *= gain(DenseMap(layer.weight.detach().numpy().astype(np.float64)))
        if isinstance(layer, nn.Conv2d):
            padding = tuple(side for axis in layer.padding for side in (axis, axis))
            part = ConvolutionMap.of(layer.weight.detach().double().numpy(), image, layer.stride, padding)
            found, image = found * gain(part), part.output_shape
    return found


@pytest.mark.parametrize("module", [dense(), convolutional()], ids=["dense", "convolutional"])
def test_penalties_are_what_they_say(module):
    norms = np.array([one.norm().item() for one in affine_layers(module, X)])
    for of, wanted in (
        ("logs", np.log(norms / 0.5).sum()),
        ("product", np.prod(norms / 0.5)),
        ("excess", np.sum(np.maximum(0, norms - 0.5) ** 2)),
    ):
        found = SpectralPenalty(3.0, of, target=0.5)(step_of(module))
        assert found.item() == pytest.approx(3.0 * wanted, rel=1e-12)
        grads = torch.autograd.grad(found, [one for one in module.parameters() if one.ndim > 1])
        assert all(bool(grad.abs().sum() > 0) for grad in grads)
    above = SpectralPenalty(1.0, "excess", target=float(norms.max()) + 0.1)(step_of(module))
    assert above.item() == 0.0


def test_a_descent_on_the_product_lowers_the_certified_product():
    module = dense()
    before = product(module)
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(10):
        optimiser.zero_grad()
        SpectralPenalty(1.0, "product")(step_of(module)).backward()
        optimiser.step()
    assert product(module) <= SpectralPenalty(1.0, "product")(step_of(module)).item() * (1 + 1e-6) < 0.7 * before


def test_penalties_refuse_what_they_cannot_measure():
    with pytest.raises(av.InputError, match="logs, product, excess"):
        SpectralPenalty(1.0, "power")
    with pytest.raises(av.InputError, match="no affine layers"):
        SpectralPenalty()(step_of(nn.ReLU()))


@pytest.mark.parametrize("shape", [(6, 6), (3, 6), (6, 3)])
def test_orthogonal_starts_keep_lengths_or_shorten_them(shape):
    rows, columns = shape
    for layer, image in (
        (nn.Linear(columns, rows), (columns,)),
        (nn.Conv2d(columns, rows, (3, 2), padding=1), (columns, 4, 4)),
        (nn.Conv2d(columns, rows, 3, stride=2, padding=1, groups=3), (columns, 5, 5)),
        (nn.ConvTranspose2d(columns, rows, 3, padding=1, groups=3), (columns, 4, 4)),
    ):
        OrthogonalStart(1.5)(layer, torch.Generator().manual_seed(0))
        (found,) = affine_layers(layer, torch.zeros(1, *image))
        with torch.no_grad():
            size = int(np.prod(image))
            matrix = layer(torch.eye(size).reshape(size, *image)).flatten(1).T.numpy()
        sizes = np.linalg.svd(matrix, compute_uv=False)
        assert sizes[0] == pytest.approx(1.5, rel=1e-5) and found.norm().item() >= sizes[0] * (1 - 1e-6)
        strided = isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)
        if columns <= rows and not strided:
            assert sizes[-1] == pytest.approx(1.5, rel=1e-5)


def test_starts_are_the_same_for_the_same_seed():
    one, other = convolutional(), convolutional()
    OrthogonalStart()(one, torch.Generator().manual_seed(3))
    OrthogonalStart()(other, torch.Generator().manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    OrthogonalStart()(other, torch.Generator().manual_seed(4))
    assert not torch.equal(one[5].weight, other[5].weight)
    with pytest.raises(av.InputError, match="no dense"):
        OrthogonalStart()(nn.ReLU(), torch.Generator())
    with pytest.raises(av.InputError, match="parametrisation"):
        OrthogonalStart()(one_lipschitz(dense(), X), torch.Generator())


def trained(module):
    """A few large steps, which would make any layer steep."""
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(5):
        optimiser.zero_grad()
        (-module(X).square().sum()).backward()
        optimiser.step()
    return module


def test_rescaled_layers_stay_one_lipschitz_whatever_is_trained():
    free = product(trained(convolutional()))
    module = trained(one_lipschitz(convolutional(), X))
    held = product(module)
    assert held <= 1.0 + 1e-5 < free
    for layer in (module[1], module[3], module[5]):
        nn.utils.parametrize.remove_parametrizations(layer, "weight")
    assert product(module) == held


def nearly_equal():
    """A weight whose two largest singular values power iteration hardly tells apart."""
    torch.manual_seed(0)
    layer = nn.Linear(16, 16, bias=False)
    with torch.no_grad():
        left, right = (torch.linalg.qr(torch.randn(16, 16))[0] for _ in range(2))
        layer.weight.copy_(left @ torch.diag(torch.tensor([1.0, *[0.9] * 15])) @ right)
    return nn.Sequential(layer)


def test_torchs_orthogonal_layers_are_and_its_spectral_norm_is_nearly():
    assert product(trained(one_lipschitz(dense(), X, "orthogonal"))) == pytest.approx(1.0, abs=1e-4)
    assert product(one_lipschitz(nearly_equal(), X, "spectral")) > 1.0 + 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "by"), [(dense, "orthogonal"), (dense, "spectral"), (dense, "gram"), (convolutional, "gram")]
)
def test_parametrised_modules_are_traced_and_certified(make, by):
    module = trained(one_lipschitz(make(), X, by)).eval()
    network, outputs = av.trace(module, X), module(X).detach().numpy()
    assert np.allclose(network(X.numpy()), outputs, atol=1e-5)
    assert av.layer_norms(network, attained=False).product == pytest.approx(product(module), rel=1e-5)
    found = av.certify(network, X[:1].numpy(), [int(outputs[0].argmax())], [1e-5])
    assert found.status[0, 0] is av.Answer.VERIFIED


def test_kernels_that_torch_bounds_as_matrices_stretch_as_convolutions():
    module = convolutional()
    for layer in (module[1], module[3]):
        nn.utils.parametrizations.spectral_norm(layer)
    assert product(module[:4]) > 1.5
    for by in ("orthogonal", "spectral"):
        with pytest.raises(av.InputError, match='does not bound a Conv2d, which is at 1: choose "gram"'):
            one_lipschitz(convolutional(), X, by)


def test_torchlips_layers_are_certified():
    pytest.importorskip("deel.torchlip")
    assert product(one_lipschitz(convolutional(), X, "torchlip")) <= 1.0 + 1e-3


def test_layers_that_cannot_be_bounded_are_refused(monkeypatch):
    with pytest.raises(av.InputError, match="A BatchNorm1d at 0"):
        one_lipschitz(nn.Sequential(nn.Linear(16, 4), nn.BatchNorm1d(4)), X)
    shared = nn.Linear(16, 16)
    with pytest.raises(av.InputError, match="used twice"):
        one_lipschitz(nn.Sequential(shared, nn.ReLU(), shared), X)
    with pytest.raises(av.InputError, match="parametrised already"):
        one_lipschitz(one_lipschitz(dense(), X), X)
    with pytest.raises(av.InputError, match="gram, orthogonal, spectral, torchlip"):
        one_lipschitz(dense(), X, "cayley")
    with pytest.raises(av.InputError, match="no dense"):
        one_lipschitz(nn.ReLU(), X)
    monkeypatch.setitem(__import__("sys").modules, "deel.torchlip.utils", None)
    with pytest.raises(av.MissingPackageError, match="deel-torchlip"):
        one_lipschitz(dense(), X, "torchlip")


def test_training_with_a_start_a_penalty_and_rescaled_layers():
    labels = torch.arange(4)
    settings = av.TrainingSettings(
        av.StandardLoss(), epochs=30, batch=4, rate=0.02, penalties=(av.SpectralPenalty(0.5, "product"),)
    )
    free, held = dense(), dense()
    av.train(free, (X, labels), av.TrainingSettings(av.StandardLoss(), epochs=30, batch=4, rate=0.02))
    av.train(held, (X, labels), settings)
    assert product(held) < 0.5 * product(free)
    started = dense()
    start = av.TrainingSettings(av.StandardLoss(), epochs=1, rate=1e-9, initialisers=(av.OrthogonalStart(2.0),))
    av.train(started, (X, labels), start)
    assert product(started) == pytest.approx(4.0, rel=1e-4)
    bounded = av.one_lipschitz(dense(), X)
    av.train(bounded, (X, labels), av.TrainingSettings(av.IntervalLoss(eps=0.01), epochs=5, batch=4, rate=0.1))
    assert product(bounded) <= 1.0 + 1e-5
