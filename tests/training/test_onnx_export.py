"""Exported models compute what their modules do, in onnxruntime."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

import admm_verify as av
from admm_verify.errors import InputError, UnsupportedOperatorError
from tests.training.test_training_bounds import MODULES


@pytest.mark.parametrize("name", MODULES)
def test_the_runtime_agrees(tmp_path, name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, images = MODULES[name](), torch.rand(5, 2, 6, 6)
        module.train()(images)
    path = tmp_path / "net.onnx"
    av.write_onnx(module, images[:1], path)
    assert module.training
    (found,) = onnxruntime.InferenceSession(path.read_bytes()).run(None, {"x": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, module.eval()(images), rtol=1e-5, atol=1e-6)


def test_what_onnx_has_no_operator_for(tmp_path):
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten())
    with pytest.raises(UnsupportedOperatorError, match="pads by circular"):
        av.write_onnx(module, torch.zeros(1, 1, 4, 4), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_constants_keep_their_digits(tmp_path):
    """0.1 of float32 is another number than that of float64."""

    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2).double()

        def forward(self, x):
            return self.layer((x - 0.1307) / 0.3081)

    module, image = Shifted(), torch.rand(1, 2, dtype=torch.float64)
    av.write_onnx(module, image, tmp_path / "m.onnx")
    found = ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, {"x": image.numpy()})[0]
    assert np.allclose(found, module(image).detach().numpy(), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("example", [torch.tensor(1.0), torch.ones(1, 2, dtype=torch.bfloat16), torch.ones(1, 2).int()])
def test_examples_that_cannot_be_written(tmp_path, example):
    with pytest.raises(InputError, match=r"single number|numbers of type"):
        av.write_onnx(nn.Linear(2, 2), example, tmp_path / "m.onnx")
