import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import admm_verify as av
from admm_verify.report.demo import RADIUS, load_digits, margins
from problems import differential, train_avoidance, train_plants
from problems.crown_family import crown_instances
from problems.lp_instances import mnist_fc_instances, shared_folder
from problems.resnet18 import ResNet, build
from tests.shared import needs_shared


def digits_provenance():
    with safe_open(Path(av.__file__).parent / "report" / "data" / "digits.safetensors", "numpy") as file:
        return json.loads(file.metadata()["provenance"])


@pytest.mark.data
@needs_shared
def test_mnist_fc_instances_are_complete():
    instances = mnist_fc_instances()
    assert len({instance.name for instance in instances}) == len(instances) == 30
    assert {(instance.kind, instance.eps) for instance in instances} == {
        (kind, eps) for kind in ("kw", "ibp") for eps in (0.01, 0.02, 0.05)
    }
    assert all(instance.objective.shape == (9, 10) and instance.lp_optimum.shape == (9,) for instance in instances)


@pytest.mark.data
@needs_shared
@pytest.mark.parametrize("method", ["ascent", "primal_dual", "admm"])
def test_stored_optimum_lies_between_the_bounds(method):
    instance = next(i for i in mnist_fc_instances() if (i.kind, i.eps) == ("kw", 0.02))
    problem = instance.problem()
    crown = av.solve(problem, settings=av.SolverSettings(max_passes=0)).lower
    solution = av.solve(problem, method, settings=av.SolverSettings(max_passes=100))
    slack = 1e-9 * np.maximum(1.0, np.abs(instance.lp_optimum))
    assert (crown <= solution.lower).all()
    assert (solution.lower <= instance.lp_optimum + slack).all()
    assert (solution.relaxation_upper >= instance.lp_optimum - slack).all()
    assert np.mean((solution.lower - crown) / (instance.lp_optimum - crown)) > 0.9


def test_missing_shared_folder_names_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("ADMM_VERIFY_SHARED", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="ADMM_VERIFY_SHARED"):
        shared_folder()


def test_stored_digits_are_classified_as_stated():
    digits = load_digits()
    provenance = digits_provenance()
    assert "CC BY 4.0" in provenance["license"]
    assert float(provenance["radius"]) == RADIUS
    assert digits.images.shape == (12, 64)
    assert digits.images.min() >= 0 and digits.images.max() <= 1
    correct = np.argmax(digits.network(digits.images), axis=1) == digits.labels
    assert np.mean(correct) == float(provenance["stored_accuracy"])


def test_stored_digits_show_every_outcome():
    digits = load_digits()
    outcomes = digits_provenance()["outcomes"].split(", ")
    assert set(outcomes) == {"crown", "ascent", "unknown", "falsified"}
    for image, label, outcome in zip(digits.images, digits.labels, outcomes, strict=True):
        box = av.Box.around(image, RADIUS, within=(0.0, 1.0))
        problem = av.Problem(digits.network, box, margins(int(label)))
        crown, ascent = av.solve(problem, settings=av.SolverSettings(max_passes=0)), av.solve(problem, "ascent")
        assert (crown.lower.min() > 0) == (outcome == "crown")
        assert (ascent.lower.min() > 0) == (outcome in ("crown", "ascent"))
        if outcome == "falsified":
            assert (np.argmax(digits.network(ascent.primal), axis=1) != label).any()


def test_resnet18_is_the_same_for_a_seed_and_has_its_structure():
    first, second, other = (build(seed, width=4) for seed in (3, 3, 4))
    x = torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        scores = first(x)
        assert torch.equal(scores, second(x)) and not torch.equal(scores, other(x))
    assert scores.shape == (5, 10)
    assert 0.05 < float(scores.std(dim=0).mean()) < 5.0
    convolutions = [module for module in first.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) == 20
    norms = [module for module in first.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(float(norm.running_var.std()) > 0 for norm in norms if norm.running_var is not None)
    with torch.device("meta"):
        assert sum(p.numel() for p in ResNet(64, (2, 2, 2, 2)).parameters()) == 11_173_962


@pytest.mark.data
@needs_shared
def test_crown_family_instances_are_complete():
    instances = crown_instances()
    assert len({instance.name for instance in instances}) == len(instances) == 31
    for instance in instances:
        assert instance.box.lower.shape == instance.network.input_shape
        assert instance.objective.shape == (9, 10) and (instance.objective.sum(axis=1) == 0).all()
        assert {"CROWN", "alpha100-fixedinterm"} <= set(instance.peers)
        assert all(peer.bound.shape == (9,) for peer in instance.peers.values())


@pytest.mark.data
@needs_shared
@pytest.mark.parametrize("name", ["mnist_deepsplit_fc/img0/eps0.02", "mnist_fc/mnist-net_256x4/prop_0", "img8194"])
def test_crown_bound_is_that_of_the_peer(name):
    (instance,) = crown_instances(name)
    ours = av.solve(
        av.Problem(instance.network, instance.box, instance.objective), settings=av.SolverSettings(max_passes=0)
    ).lower
    theirs = instance.peers["CROWN"].bound
    assert (ours >= theirs - 1e-4 * np.abs(theirs)).all()


@pytest.mark.parametrize("problem", train_plants.PROBLEMS, ids=lambda problem: problem.__name__)
def test_stored_plants_are_those_that_are_trained(problem):
    own = problem()
    assert json.loads((train_plants.TARGET / f"{own.name}.json").read_text()) == json.loads(
        json.dumps(train_plants.system(own))
    )
    task = av.read_task(train_plants.TARGET / f"{own.name}.json")
    states = np.random.default_rng(0).uniform(-1, 1, (200, len(own.names))) * own.reach
    missed = np.abs(task.system.controller.law(states) - own.teacher(states)).mean()
    assert missed < 0.1 * np.abs(own.teacher(states)).mean()


@pytest.mark.parametrize("vehicle", [train_avoidance.robot(), train_avoidance.flyer()], ids=["robot", "flyer"])
def test_stored_vehicles_are_those_of_the_script(vehicle):
    stored = json.loads((train_avoidance.TARGET / f"{vehicle.name}.json").read_text())
    assert stored == json.loads(json.dumps(train_avoidance.system(vehicle)))


@pytest.mark.data
@needs_shared
def test_pairs_of_networks_are_complete():
    baselines, published, lookalikes = (
        read() for read in (differential.neurodiff_pairs, differential.published_pairs, differential.lookalikes)
    )
    assert (len(baselines), len(published), len(lookalikes)) == (10, 35, 20)
    assert sum(pair.splits for pair in baselines) > 2000 and all(pair.whole_box for pair in baselines)
    assert [pair.rival(differential.JOINT_LP) for pair in baselines[-5:]] == [95.5, 15.9, None, None, None]
    assert {pair.truth for pair in published} == {"sat", "unsat"} and lookalikes[0].outputs == (0, 1, 2, 3, 4)
    rng = np.random.default_rng(0)
    for pair in (*baselines, *published, *lookalikes):
        assert pair.first.input_size == pair.second.input_size == pair.box.size and (pair.lower <= pair.upper).all()
        x = pair.box.sample(300, rng)
        apart = np.abs(np.asarray(pair.second(x)) - np.asarray(pair.first(x)))[:, list(pair.outputs)].max()
        assert 0 < apart < (pair.epsilon if pair.truth == "unsat" else 1.0)
        assert pair.sampled is None or apart < 1.5 * pair.sampled
