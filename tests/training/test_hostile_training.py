"""Training of modules, data and checkpoints that are not as one would like them."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import admm_verify as av
from admm_verify.errors import InputError, ModelError, UnsupportedOperatorError
from admm_verify.training.affine_layers import affine_layers
from admm_verify.training.gram import gram_bound

DRAWS = torch.Generator().manual_seed(0)
IMAGES, LABELS = torch.rand(11, 4, generator=DRAWS), torch.arange(11) % 3


def net(activation=None) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.ReLU() if activation is None else activation, nn.Linear(5, 3))


def trained(module, loss=None, images=IMAGES, **others):
    chosen = av.IntervalLoss(0.1) if loss is None else loss
    return av.train(module, (images, LABELS), av.TrainingSettings(loss=chosen, epochs=2, batch=5, **others))


class Own(nn.Module):
    """A module with one layer, and a forward of one's own."""

    def __init__(self, forward, outputs=3):
        super().__init__()
        self.layer, self.own = nn.Linear(4, outputs), forward
        self.register_buffer("three", torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, x):
        return self.own(self, x)


class Stored(Own):
    """A module that keeps more than tensors."""

    def get_extra_state(self):
        return {"text": 1}

    def set_extra_state(self, state):
        """Nothing."""


class Plain:
    """A loss that is whatever it is given."""

    eps = 0.0

    def __init__(self, value):
        self.value = value

    def __call__(self, step):
        return self.value(step)


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e-165, 1e-30, 1e160, 1e300])
def test_norms_of_any_size_are_not_below(size):
    for seed in range(4):
        weight = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        largest = float(torch.linalg.matrix_norm(weight, 2)) * (1 - 1e-13)
        # Divided by a power of two, which is exact, so that the test itself does not underflow.
        power = 2.0 ** np.floor(np.log2(size))
        assert largest <= float(gram_bound(weight * power)) / power <= 1.01 * largest


def test_numbers_that_numpy_lacks_and_that_lie_apart_are_kept(tmp_path):
    channels = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(3, 3))
    # So are the weights of images with their channels last.
    for weight in channels.parameters():
        weight.data = weight.data.T.contiguous().T if weight.ndim == 2 else weight.data
    for k, (module, images) in enumerate(((channels, torch.rand(11, 2, 2, 2)), (net().bfloat16(), IMAGES))):
        path = tmp_path / str(k)
        assert trained(module, images=images, checkpoint=path).status is av.Ended.COMPLETE
        kept = {name: value.clone() for name, value in module.state_dict().items()}
        assert trained(module, images=images, checkpoint=path).resumed == 2
        assert all(torch.equal(kept[name], value) for name, value in module.state_dict().items())


def test_checkpoints_are_of_one_module_and_as_they_were_written(tmp_path):
    path = tmp_path / "run"
    trained(net(), av.StandardLoss(), checkpoint=path)
    for other in (net(nn.LeakyReLU()), net(nn.Identity())):
        with pytest.raises(InputError, match="of another training"):
            trained(other, av.StandardLoss(), checkpoint=path)
    with safe_open(path, "pt") as file:
        # Copies: older versions map the file, which is written over below.
        notes, tensors = file.metadata(), {name: file.get_tensor(name).clone() for name in file.keys()}
    shorter = json.dumps(json.loads(notes["history"])[:1])
    changed = [
        ({name: value for name, value in tensors.items() if name != "generator.own"}, notes),
        (tensors | {"module.0.weight": torch.zeros(5, 4)}, notes),
        (tensors | {"optimiser.x.step": torch.zeros(1)}, notes),
        (tensors, notes | {"history": shorter}),
        (tensors, notes | {"history": "["}),
        (tensors, {name: value for name, value in notes.items() if name != "task"}),
    ]
    for content, more in changed:
        save_file(content, path, more)
        with pytest.raises(InputError, match="not as it was written"):
            trained(net(), av.StandardLoss(), checkpoint=path)


def test_modules_and_losses_that_fail_are_named():
    normed = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    kept = {name: value.clone() for name, value in normed.state_dict().items()}
    with pytest.raises(ModelError, match=r"on a batch of 1 of the 11 images.*no image is left over"):
        trained(normed)
    assert all(torch.equal(kept[name], value) for name, value in normed.state_dict().items())
    still = net()
    for weight in still.parameters():
        weight.requires_grad_(False)
    for module, loss in ((still, None), (net(), Plain(lambda _: 1.0)), (net(), Plain(lambda step: step.outputs))):
        with pytest.raises(ModelError, match="no single number with a gradient"):
            trained(module, loss)
    for module in (Own(lambda self, x: {}["none"]), Own(lambda self, x, more: x), Stored(lambda self, x: x)):
        with pytest.raises(InputError, match=r"does not take|tensors alone"):
            trained(module)
    with pytest.raises(InputError, match="does not take the example input"):
        affine_layers(net(), torch.rand(1, 7))
    with pytest.raises(InputError, match="single number"):
        affine_layers(net(), torch.tensor(1.0))


def test_layers_without_bounds_are_refused():
    wider = Own(lambda self, x: self.layer(x) * self.three, outputs=1)
    with pytest.raises(UnsupportedOperatorError, match="constant of a larger shape"):
        trained(wider, av.DualLoss(0.1))
    normed = nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten(),
        nn.Linear(8, 3),
    )  # fmt: skip
    with pytest.raises(UnsupportedOperatorError, match="without running statistics"):
        trained(normed)


def test_layers_in_place_change_no_images():
    images = IMAGES - 0.5
    given = images.clone()
    module = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3))
    chosen = av.TrainingSettings(loss=av.IntervalLoss(0.1), epochs=1)
    av.train(module, (given, LABELS), chosen, validation=(given, LABELS))
    affine_layers(module, given)
    assert torch.equal(given, images)
