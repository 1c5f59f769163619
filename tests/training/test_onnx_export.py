"""Exported models compute what their modules do, in onnxruntime."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import admm_verify as av
from admm_verify.errors import UnsupportedOperatorError
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
