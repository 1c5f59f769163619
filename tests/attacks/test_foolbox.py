"""Beside foolbox: none of its attacks breaks a ball that we certify, and ours are at least about as strong."""

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.attacks.apgd import Apgd
from admm_verify.attacks.method import Method
from admm_verify.attacks.pgd import Pgd
from admm_verify.attacks.search import attack
from admm_verify.attacks.targets import Targets
from admm_verify.network.graph import Affine
from admm_verify.report.demo import load_digits
from problems.train_digits import SEED, split
from tests.shared import needs_shared

ROOT = Path(__file__).resolve().parents[2]

needs_foolbox = pytest.mark.skipif(
    find_spec("foolbox") is None, reason='foolbox is not installed: pip install ".[test]" brings it'
)

POINT = 0.01
"""A point of accuracy."""

IMAGES = 30
"""Of each public network; its radii and ours and their attacks take four CPU seconds an image."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier, images [count, *shape] in [0, 1] of its own right answers, and radii from few to many hits."""

    module: torch.nn.Module
    images: np.ndarray
    labels: np.ndarray
    radii: tuple[float, ...]

    def misled(self, points: np.ndarray, radius: float) -> np.ndarray:
        """Which points [count, *shape], moved strictly inside their balls, get another class in float32."""
        images = self.images.astype(np.float64)
        lower = np.nextafter((images - radius).astype(np.float32), np.float32(np.inf))
        upper = np.nextafter((images + radius).astype(np.float32), np.float32(-np.inf))
        inside = np.clip(points, np.maximum(lower, 0), np.minimum(upper, 1)).astype(np.float32)
        assert (abs(inside - images) < radius).all() and inside.min() >= 0 and inside.max() <= 1
        return answers(self.module, inside) != self.labels


def answers(module: torch.nn.Module, points: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.as_tensor(points)).argmax(dim=1).numpy()


def filled(layer: torch.nn.Module, weight: np.ndarray, bias: np.ndarray) -> torch.nn.Module:
    """The layer with given numbers."""
    state = {"weight": weight, "bias": bias}
    layer.load_state_dict({name: torch.tensor(value, dtype=torch.float32) for name, value in state.items()})
    return layer.requires_grad_(False)


def dense() -> Subject:
    """The embedded classifier with test images of its data set."""
    layers = []
    for node in load_digits().network.nodes:
        if isinstance(node, Affine):
            weight = node.terms[0].map.weight
            layers += [filled(torch.nn.Linear(*reversed(weight.shape)), weight, node.bias), torch.nn.ReLU()]
    module = torch.nn.Sequential(*layers[:-1]).eval()
    test = split(torch.Generator().manual_seed(SEED))[1]
    images, labels = test.images.numpy(), test.labels.numpy()
    right = np.flatnonzero(answers(module, images) == labels)[:100]
    return Subject(module, images[right], labels[right], (0.04, 0.1))


def convolutional() -> Subject:
    """Random weights, and random images with the classes that the network gives them."""
    rng = np.random.default_rng(2)

    def random(layer: torch.nn.Module) -> torch.nn.Module:
        weight = rng.standard_normal(tuple(layer.weight.shape)) / np.sqrt(layer.weight[0].numel())
        return filled(layer, weight, 0.1 * rng.standard_normal(len(weight)))

    layers = [random(torch.nn.Conv2d(2, 6, 3, stride=2, padding=1)), torch.nn.ReLU()]
    layers += [random(torch.nn.Conv2d(6, 8, 3, padding=1)), torch.nn.ReLU(), torch.nn.Flatten()]
    module = torch.nn.Sequential(*layers, random(torch.nn.Linear(128, 5))).eval()
    images = rng.random((100, 2, 8, 8)).astype(np.float32)
    return Subject(module, images, answers(module, images), (0.01, 0.05))


@pytest.fixture(scope="module")
def foolbox() -> Iterator[ModuleType]:
    """The package, whose import warns of a name of SciPy's and refuses to go on without a git program."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("GIT_PYTHON_REFRESH", "quiet")
        warnings.filterwarnings("ignore", message="Please import `gaussian_filter`", category=DeprecationWarning)
        import foolbox as package
    yield package


def broken_by_foolbox(foolbox: ModuleType, subject: Subject, radius: float) -> np.ndarray:
    """Which balls hold an input that some attack of foolbox leads astray."""
    known = foolbox.attacks
    methods = (
        known.LinfFastGradientAttack(),
        known.LinfBasicIterativeAttack(),
        known.LinfProjectedGradientDescentAttack().repeat(3),
        known.LinfDeepFoolAttack(),
        known.LInfFMNAttack(),
    )
    model = foolbox.PyTorchModel(subject.module, bounds=(0, 1), device="cpu")
    images, labels = torch.as_tensor(subject.images), torch.as_tensor(subject.labels)
    torch.manual_seed(0)
    points = [method(model, images, labels, epsilons=radius)[1].numpy() for method in methods]
    return np.any([subject.misled(found, radius) for found in points], axis=0)


def broken_by_ours(method: Method, network: av.Network, subject: Subject, radius: float) -> np.ndarray:
    """The same for one of our attacks, with a target per image and other class in one call."""
    count, classes = len(subject.images), network.output_size
    identity = np.eye(classes, dtype=np.float32)
    margins = np.concatenate([np.delete(identity[label] - identity, label, axis=0) for label in subject.labels])
    flat = np.repeat(subject.images.reshape(count, -1), classes - 1, axis=0).astype(np.float64)
    lower, upper = (np.clip(flat + end, 0, 1).astype(np.float32) for end in (-radius, radius))
    targets = Targets(av.Box(lower, upper), margins[:, None], np.zeros((len(margins), 1), np.float32))
    found = attack(network, targets, [method])
    points = found.x.reshape(count, classes - 1, *subject.images.shape[1:])
    return np.any([subject.misled(points[:, j], radius) for j in range(classes - 1)], axis=0)


@needs_foolbox
@pytest.mark.parametrize("build", [dense, convolutional])
def test_foolbox_breaks_no_certified_ball_and_ours_break_as_many(build, foolbox):
    subject = build()
    network = av.trace(subject.module, torch.as_tensor(subject.images[:1]))
    found = av.certify(network, subject.images, subject.labels, subject.radii)
    counts = []
    for k, radius in enumerate(subject.radii):
        certified = found.status[:, k] == av.Answer.VERIFIED
        theirs = broken_by_foolbox(foolbox, subject, radius)
        assert not (theirs & certified).any()
        for method in (Pgd(), Apgd()):
            ours = broken_by_ours(method, network, subject, radius)
            assert not (ours & certified).any()
            assert np.sum(theirs) - np.sum(ours) <= POINT * len(ours)
        counts.append((int(certified.sum()), int(theirs.sum())))
    # Neither side of the comparison is empty: many balls are certified at first, and many broken at last.
    share = len(subject.images) // 4
    assert counts[0][0] >= share and counts[-1][1] >= share
    assert all(first[0] > second[0] and first[1] < second[1] for first, second in pairwise(counts))


@pytest.mark.slow
@needs_foolbox
def test_ours_need_no_longer_changes(foolbox):
    subject = dense()
    images, labels = subject.images[:30], subject.labels[:30]
    network = av.trace(subject.module, torch.as_tensor(images[:1]))
    given = foolbox.PyTorchModel(subject.module, bounds=(0, 1), device="cpu"), *map(torch.as_tensor, (images, labels))
    theirs = np.full(len(images), np.inf)
    for method in (foolbox.attacks.L2DeepFoolAttack(), foolbox.attacks.DDNAttack(steps=300)):
        _, points, hit = method(*given, epsilons=None)
        length = np.linalg.norm(points.numpy().astype(np.float64) - images, axis=1)
        theirs = np.minimum(theirs, np.where(hit.numpy(), length, np.inf))
    assert np.isfinite(theirs).all()
    # With steps to the linearised border, and by the paper's attack alone.
    for refined, share in ((6, 1.02), (0, 1.1)):
        settings = av.DistortionSettings(descent=av.PricedDescent(refined=refined))
        assert av.minimal_distortion(network, images, labels, settings=settings).l2.mean() <= share * theirs.mean()


@pytest.mark.slow
@pytest.mark.data
@needs_shared
@needs_foolbox
def test_the_benchmark_finds_no_contradiction_on_public_networks(tmp_path):
    # A process of its own, because the benchmarks choose the threads of theirs.
    target = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.robust_accuracy", "--images", str(IMAGES), "--json", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    networks = json.loads(target.read_text(encoding="utf-8"))
    assert len(networks) == 2
    for network in networks.values():
        assert len(network["radii"]) == 3 and network["radii"][0]["certified"] > 0.5
        for row in network["radii"]:
            assert row["contradictions"] == 0
            # One image more at most.
            assert all(own["points_above_lowest_package"] <= 100 / IMAGES for own in row["ours"].values())
