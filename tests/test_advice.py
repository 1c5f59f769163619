"""What messages tell to do: right for people who never saw the library."""

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.given import read_arrays
from admm_verify.network.layers import network_from_layers


def test_a_file_without_arrays_is_told_so_and_never_to_be_unpickled(tmp_path):
    table, objects = tmp_path / "images.csv", tmp_path / "objects.npz"
    table.write_text("1,2\n3,4\n")
    np.savez(objects, images=np.array([1, None], dtype=object), labels=np.array([1]))
    for path in (table, objects):
        with pytest.raises(av.InputError, match=r"numpy\.savez") as caught:
            read_arrays(path, "images file")
        assert "allow" not in str(caught.value) and "pickle" not in str(caught.value)


def test_what_is_no_problem_task_or_query_is_told_how_to_get_one():
    for door, advice in (
        (av.solve, r"av\.Problem\("),
        (av.verify, r"av\.query\("),
        (av.reach_sets, r"av\.read_task\("),
    ):
        with pytest.raises(av.InputError, match=advice):
            door("file")


def test_torch_devices_are_devices():
    net = network_from_layers([np.eye(2), np.ones((1, 2))], [np.zeros(2), np.zeros(1)])
    problem = av.Problem(net, av.Box(np.zeros(2), np.ones(2)), np.ones((1, 1)))
    assert av.Run(device=torch.device("cpu")).device == "cpu"
    assert av.Run(device=torch.device("cuda", 1)).device == "cuda:1"
    assert av.solve(problem, device=torch.device("cpu")).lower.shape == (1,)
    with pytest.raises(av.InputError, match="mps"):
        av.Run(device=torch.device("mps"))


def test_solve_takes_what_nearly_everybody_sets_by_itself():
    net = network_from_layers([np.eye(2), np.ones((1, 2))], [np.zeros(2), np.zeros(1)])
    problem = av.Problem(net, av.Box(-np.ones(2), np.ones(2)), np.ones((1, 1)))
    for settings in (None, av.SolverSettings(max_passes=50, tolerance=1e-3)):
        assert av.solve(problem, "ascent", max_passes=3, settings=settings).passes < 10
        near = av.solve(problem, "primal_dual", tolerance=1e9, max_passes=40, settings=settings)
        assert near.status[0] is av.Ended.CONVERGED
    for wrong in ({"max_passes": -1}, {"max_passes": 2.5}, {"tolerance": "small"}, {"tolerance": -1.0}):
        with pytest.raises(av.InputError):
            av.solve(problem, **wrong)


def test_names_of_other_libraries_lead_to_ours():
    net = network_from_layers([np.eye(2), np.ones((1, 2))], [np.zeros(2), np.zeros(1)])
    found = av.solve(av.Problem(net, av.Box(-np.ones(2), np.ones(2)), np.ones((1, 1))))
    with pytest.raises(av.MissingNameError, match=r"av\.output_bounds"):
        _ = found.upper
    assert not hasattr(found, "upper")
    with pytest.raises(AttributeError, match=r"near it are av\.output_bounds"):
        _ = av.output_bound
    with pytest.raises(AttributeError, match=r"has no attribute 'quux'$"):
        _ = av.quux
