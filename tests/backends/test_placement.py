"""Where iterations run when nobody names the device."""

import torch

from admm_verify.arrays import Placement
from admm_verify.backends import placement
from admm_verify.backends.placement import GPU_PASS, GPU_READY, iteration_placement


def test_auto_takes_a_gpu_for_large_work_and_with_time_alone(monkeypatch):
    chosen = []
    monkeypatch.setattr("admm_verify.backends.torch_device.torch_placement", lambda name: chosen.append(name) or host)
    host = Placement.numpy()
    for found in (False, True):
        monkeypatch.setattr(placement, "_has_gpu", lambda found=found: found)
        for work in (0.0, GPU_PASS / 2, GPU_PASS):
            for left in (0.0, GPU_READY / 2, GPU_READY):
                assert iteration_placement(host, "auto", None, work, left) == host
    assert chosen == ["cuda"]


def test_tensors_on_the_host_are_computed_by_numpy_unless_it_is_named():
    home = Placement.of(torch.zeros(0, dtype=torch.float64))
    assert iteration_placement(home, None, None).is_numpy and iteration_placement(home, "auto", None).is_numpy
    assert not iteration_placement(home, "cpu", None).is_numpy
