"""Nearest points of another class: each one is of another class, inside the range, and hardly farther than needed."""

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.attacks.closest_hits import ClosestSearch
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.targets import Targets
from admm_verify.network.layers import network_from_layers
from admm_verify.report.demo import load_digits
from admm_verify.run import Run

SINGLE, DOUBLE = "float32", "float64"


def classifier(seed, sizes=(4, 16, 12, 3), kind=SINGLE):
    rng = np.random.default_rng(seed)
    weights = [1.5 * rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    biases = [0.3 * rng.standard_normal(m) for m in sizes[1:]]
    biases[-1] = biases[-1] - network_from_layers(weights, biases)(np.full(sizes[0], 0.5))
    return replace(network_from_layers(weights, biases, f"net{seed}"), element_type=kind)


@cache
def task(seed, kind=SINGLE, count=16):
    """A network, images, and its own classes as labels but for the last image."""
    network = classifier(seed, kind=kind)
    images = np.random.default_rng(seed + 50).random((count, 4)).astype(kind)
    labels = network(images).argmax(axis=1)
    labels[-1] = (labels[-1] + 1) % 3
    return network, images, labels


def check(found, network, within=(0, 1)):
    """Every point is inside the range and of another class, the target's if any; l2 is not below its length."""
    assert found.points.dtype == found.images.dtype == network.element_type
    for i, (image, point) in enumerate(zip(found.images, found.points, strict=True)):
        if not np.isfinite(found.l2[i]):
            assert np.isnan(point).all() and found.predictions[i] == -1
            continue
        assert all(within[0] <= Fraction(float(x)) <= within[1] for x in point.flat)
        output = network(point[None]).reshape(-1)
        now, label = found.predictions[i], found.labels[i]
        assert now != label and output[now] > output[label]
        if found.targets is not None:
            assert now == found.targets[i] and (np.delete(output, now) < output[now]).all()
        square = sum(
            (Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(image.flat, point.flat, strict=True)
        )
        assert Fraction(float(found.l2[i])) ** 2 >= square
        assert (found.l2[i] == 0) == (square == 0)


@pytest.mark.parametrize("kind", [SINGLE, DOUBLE])
@pytest.mark.parametrize("seed", range(2))
def test_points_are_what_they_are_said_to_be(seed, kind):
    network, images, labels = task(seed, kind)
    found = av.minimal_distortion(network, images, labels)
    check(found, network)
    assert found.failed == 0 and found.status is av.Ended.COMPLETE
    assert found.fulfilled[-1] and (found.points[-1] == images[-1]).all() and found.fulfilled.sum() == 1
    assert found.average == pytest.approx(np.mean(found.l2[:-1]) / 2.0)
    # A ball without another class, as floats compute it, is never larger than the distance of one.
    radii = np.geomspace(1e-3, 1.0, 12)
    settings = av.CertifySettings(arithmetic=kind, search=0.0)
    certified = av.certify(network, images[:-1], labels[:-1], radii, norm="l2", settings=settings)
    assert (certified.certified_radius < found.l2[:-1]).all() and certified.certified_radius.any()


def test_points_of_targets_have_their_classes():
    network, images, labels = task(2)
    for step in (1, 2):
        found = av.minimal_distortion(network, images, labels, targets=(labels + step) % 3)
        check(found, network)
        assert found.failed <= 4 and "targets" in repr(found)
    anything = av.minimal_distortion(network, images, labels)
    nearest = np.minimum(*(av.minimal_distortion(network, images, labels, targets=(labels + k) % 3).l2 for k in (1, 2)))
    assert anything.l2.mean() <= 1.02 * nearest.mean()


def test_planes_are_met_at_the_closed_form():
    rng = np.random.default_rng(3)
    weight, images = rng.standard_normal((2, 6)), rng.uniform(-1, 1, (20, 6))
    network = replace(network_from_layers([weight], [np.array([0.2, -0.1])]), element_type=DOUBLE)
    labels = network(images).argmax(axis=1)
    found = av.minimal_distortion(network, images, labels, settings=av.DistortionSettings(within=(-9.0, 9.0)))
    check(found, network, (-9, 9))
    normal = weight[0] - weight[1]
    exact = np.abs(images @ normal + 0.3) / np.linalg.norm(normal)
    assert found.l2 == pytest.approx(exact, rel=1e-5)


def test_points_are_as_near_as_the_nearest_counterexamples():
    network, images, labels = task(5, DOUBLE)
    ratios = []
    found = av.minimal_distortion(network, images, labels)
    for i in range(4):
        t = labels[i]
        condition = " or ".join(f"y{j} > y{t}" for j in range(3) if j != t)
        query = av.query(network, av.Box(np.zeros(4), np.ones(4)), condition)
        nearest = av.closest_counterexample(query, images[i], settings=av.DistanceSettings(tolerance=0.02))
        assert nearest.lower <= found.l2[i]
        ratios.append(found.l2[i] / nearest.upper)
    assert np.mean(ratios) <= 1.1


def test_digits_lie_where_their_pixels_may():
    digits = load_digits()
    images, labels = digits.images[:6].reshape(-1, 64), digits.labels[:6]
    few = av.DistortionSettings(classes=2, descent=av.PricedDescent(rounds=3, steps=10))
    found = av.minimal_distortion(digits.network, images, labels, settings=few)
    check(found, digits.network)
    # Tensors, ranges per pixel and files of arrays are taken as by certify.
    given = {"images": torch.as_tensor(images), "labels": torch.as_tensor(labels)}
    low, high = np.zeros(64), np.ones(64)
    again = av.minimal_distortion(digits.network, given, None, settings=replace(few, within=(low, high)))
    assert (again.l2 == found.l2).all()
    low[:32] = high[:32] = 0.0
    with pytest.raises(av.InputError, match="outside the range"):
        av.minimal_distortion(digits.network, images, labels, settings=replace(few, within=(low, high)))


def test_other_libraries_find_the_same_points():
    network, images, labels = task(0, DOUBLE)
    eye = np.eye(3)
    objective = np.stack([np.delete(eye[t] - eye, t, axis=0)[:1] for t in labels[:5]])
    found = []
    for take in (np.asarray, torch.as_tensor):
        start = take(images[:5].astype(float))
        box = av.Box(take(np.zeros((5, 4))), take(np.ones((5, 4))))
        landscape = Landscape.of(network, Targets(box, take(objective), take(np.zeros((5, 1)))))
        found.append(ClosestSearch(landscape, start, av.PricedDescent(), 2.0**-24, Run()).search())
    assert isinstance(found[1].x, torch.Tensor)
    assert np.asarray(found[1].length) == pytest.approx(found[0].length, rel=1e-6)


def test_what_leads_nowhere_is_counted():
    images, labels = np.full((3, 2), 0.5), [0, 1, 0]
    constant = network_from_layers([np.zeros((2, 2))], [np.array([0.5, 0.0])])
    found = av.minimal_distortion(constant, images, labels)
    check(found, constant)
    assert found.failed == 2 and found.fulfilled.tolist() == [False, True, False]
    assert np.isnan(found.average) and "2 failed" in repr(found)
    tied = network_from_layers([np.zeros((3, 2))], [np.zeros(3)])
    assert av.minimal_distortion(tied, images, labels).failed == 3
    network, images, labels = task(0)
    stopped = av.minimal_distortion(network, images, labels, run=av.Run(stop=lambda: True))
    assert stopped.failed == len(images) - 1 and stopped.status is av.Ended.STOPPED
    asked = iter([False] * 30 + [True] * 10**6)
    early = av.minimal_distortion(network, images, labels, run=av.Run(stop=lambda: next(asked)))
    check(early, network)
    assert early.status is av.Ended.STOPPED and early.moved.any()


def test_heads_are_left_out():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), torch.nn.Softmax(1))
    images = torch.rand(4, 3)
    network = av.trace(module, images[:1])
    found = av.minimal_distortion(network, images, network(images).argmax(axis=1))
    check(found, network.scores)
    assert "softmax" in found.note.lower() and found.note in repr(found)


BAD = {
    "label of no class": ({"labels": [0, 3]}, "label 3"),
    "no labels": ({"labels": None}, "no labels"),
    "target of no class": ({"targets": [1, -1]}, "target -1"),
    "too few targets": ({"targets": [1]}, "targets have shape"),
    "target that is the label": ({"targets": [1, 0]}, "target of image 1 is its label"),
    "no images": ({"inputs": np.zeros((0, 4)), "labels": np.zeros(0, dtype=int)}, "no images"),
    "NaN": ({"inputs": np.full((2, 4), np.nan)}, "finite"),
    "outside": ({"inputs": np.full((2, 4), 1.5)}, r"outside the range.*give their range\. Images before their"),
    "another size": ({"inputs": np.full((2, 3), 0.5)}, "shape"),
    "no range": ({"settings": {"within": (0.0, np.inf)}}, "finite ends"),
    "no pair": ({"settings": {"within": None}}, "range within"),
    "no classes": ({"settings": {"classes": 0}}, "classes"),
    "no settings": ({"settings": av.CertifySettings()}, "settings"),
    "no network": ({"network": torch.nn.Linear(4, 3)}, r"av\.trace"),
    "one output": ({"network": classifier(0, (4, 1))}, "1 output"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_message_for_every_bad_input(name):
    changed, words = BAD[name]
    given = {"network": classifier(0), "inputs": np.full((2, 4), 0.5), "labels": [0, 0]} | changed
    if isinstance(given.get("settings"), dict):
        with pytest.raises(av.InputError, match=words):
            given["settings"] = av.DistortionSettings(**given["settings"])
            av.minimal_distortion(**given)
        return
    with pytest.raises(av.InputError, match=f"(?i){words}"):
        av.minimal_distortion(**given)


def test_broken_weights_are_named():
    network = classifier(0)
    node = network.nodes[1]
    broken = replace(network, nodes=(network.nodes[0], replace(node, bias=np.full(16, np.nan)), *network.nodes[2:]))
    with pytest.raises(av.ModelError, match="NaN"):
        av.minimal_distortion(broken, np.full((1, 4), 0.5), [0])
