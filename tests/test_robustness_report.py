"""Reports of robustness: sound and in order at every radius, against exact twins, stopped, and for bad input."""

import tracemalloc
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import count

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.robustness.certify import certified
from admm_verify.robustness.instances import Instances
from admm_verify.robustness_report import front
from admm_verify.robustness_report.breaches import Breaches
from admm_verify.verdict import Answer
from tests.test_certify import classifier_task

RADII = (0.2, 0.03, 0.0)
COUNT = 6
QUICK = av.ReportSettings(steepness=None)


@cache
def report_of(norm="linf", seed=3):
    network, images, labels = classifier_task(seed, COUNT)
    return network, images, labels, av.robustness_report(network, images, labels, eps=RADII, norm=norm)


def exact_length(change, norm):
    """The largest |change|, or the sum of their squares, as a fraction."""
    sizes = [abs(x) for x in change]
    return max(sizes) if norm == "linf" else sum(size**2 for size in sizes)


@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
def test_accuracies_are_in_order_and_inputs_are_what_they_claim(norm):
    network, images, labels, found = report_of(norm)
    assert found.radii.tolist() == sorted(RADII) and found.status is av.Ended.COMPLETE
    holding = found.holding
    assert (found.certified <= holding).all() and (holding <= found.correct[:, None]).all()
    assert (found.certified[:, 1:] <= found.certified[:, :-1]).all() and (holding[:, 1:] <= holding[:, :-1]).all()
    assert found.correct.sum() == COUNT - 1 and not found.correct[-1] and not found.unfinished.any()
    assert (found.certified[:, 0] == found.correct).all(), "at radius 0 nothing but the image is asked about"
    assert 0 < found.certified_accuracy[1] < 1 and found.attacked_accuracy[2] < found.clean_accuracy
    power = 2 if norm == "l2" else 1
    tried = 0
    for attack in found.attacks:
        assert attack.tried.all() and (attack.broken <= found.broken).all()
        for (i, k), one in np.ndenumerate(attack.inputs):
            if one is None:
                continue
            tried += 1
            change = [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(one.input, images[i], strict=True)]
            assert exact_length(change, norm) <= Fraction(float(found.radii[k])) ** power
            assert (one.input >= 0).all() and (one.input <= 1).all()
            output = network(one.input[None])[0]
            assert output[one.prediction] >= output[labels[i]] and one.prediction != labels[i]
            assert attack.nearest[i].distance <= one.distance
    assert tried > 8


def test_certificates_are_those_of_certify():
    network, images, labels, found = report_of()
    alone = av.certify(network, images, labels, sorted(RADII))
    assert (found.certified == (alone.status == Answer.VERIFIED)).all()
    assert (found.broken >= (alone.status == Answer.FALSIFIED)).all()


def test_classes_add_up():
    _, _, labels, found = report_of()
    parts = [found.of_class(int(label)) for label in np.unique(labels)]
    assert sum(part[0] for part in parts) == len(labels) and sum(part[1] for part in parts) == found.correct.sum()
    assert (sum(part[2] for part in parts) == found.holding.sum(axis=0)).all()
    assert (sum(part[3] for part in parts) == found.certified.sum(axis=0)).all()


def test_the_smallest_changes_come_in_order_one_for_an_image():
    _, _, _, found = report_of()
    distances = [one.found.distance for one in found.examples]
    assert distances == sorted(distances) and len({one.found.image for one in found.examples}) == len(distances)
    best = min(one.distance for attack in found.attacks for one in attack.nearest if one is not None)
    assert distances[0] == best
    for one in found.examples:
        assert one.certified < one.found.distance * (1 + 1e-6)


def test_steepness_excludes_no_input_that_was_found():
    network, images, _, found = report_of()
    assert [one.norm for one in found.steepness] == ["l2", "linf"]
    values = np.sort(network(images.astype(np.float64)), axis=1)
    gap = (values[:, -1] - values[:, -2])[found.correct]
    # e_t - e_j is sqrt(2) long, and 2 in the dual norm of linf.
    for one, spread in zip(found.steepness, (np.sqrt(2.0), 2.0), strict=True):
        assert one.constant.lower <= one.constant.upper <= one.layers.product
        radii = gap / (spread * one.constant.upper)
        assert np.allclose(one.radii[found.correct], radii, rtol=1e-5) and (one.radii[found.correct] <= radii).all()
        assert (one.radii[~found.correct] == 0).all()
    certified_alone = found.steepness[1].certified(found.radii)
    assert certified_alone.any() and not (certified_alone & found.broken).any()


def test_search_decides_more_and_skips_what_attacks_broke(monkeypatch):
    network, images, labels, before = report_of()
    handed = []

    def noted(*given):
        handed.append(given[4] if len(given) > 4 else ())
        return certified(*given)

    monkeypatch.setattr(front, "certified", noted)
    certifying = av.CertifySettings(bounds="interval", max_passes=0, search=5.0)
    settings = av.ReportSettings(certifying=certifying, steepness=None)
    found = av.robustness_report(network, images, labels, eps=RADII, settings=settings)
    assert not found.unknown.any() and (found.certified >= before.certified).all()
    assert any(len(shown) > 3 for shown in handed)


def test_a_certificate_that_an_attack_breaks_is_raised(monkeypatch):
    network, images, labels, found = report_of()

    def believing(*given):
        honest = certified(*given)
        status = honest.status.copy()
        status[found.correct] = Answer.VERIFIED
        return replace(honest, status=status)

    monkeypatch.setattr(front, "certified", believing)
    with pytest.raises(av.ContradictionError, match=r"Image \d+ is certified at radius .* but PGD found"):
        av.robustness_report(network, images, labels, eps=RADII, settings=QUICK)


def test_a_report_with_a_contradiction_cannot_be_made():
    _, _, _, found = report_of()
    certified_everywhere = np.ones_like(found.certified)
    with pytest.raises(av.ContradictionError, match="both certified and broken"):
        replace(found, certified=certified_everywhere)
    turned = found.certified[:, ::-1] & found.holding
    assert not (turned == found.certified).all()
    with pytest.raises(av.ContradictionError, match="not at a smaller one"):
        replace(found, certified=turned)


def test_another_class_by_rounding_alone_is_told_apart():
    # f_0 - f_1 = 2^-26 in real numbers; float32 loses that where |x| is 1/2 and more.
    network = network_from_layers([np.ones((2, 1))], [np.array([2.0**-26, 0.0])], "thin")
    real, computed = (
        av.ReportSettings(certifying=av.CertifySettings(within=None, arithmetic=arithmetic), steepness=None)
        for arithmetic in ("real", "float32")
    )
    given = network, np.array([[0.1]], dtype=np.float32), [0]
    found = av.robustness_report(*given, eps=[0.01, 0.9], settings=real)
    assert found.certified.tolist() == [[True, False]] and found.rounded.tolist() == [[False, True]]
    assert (found.certification.status == Answer.VERIFIED).all() and found.broken.tolist() == [[False, True]]
    found = av.robustness_report(*given, eps=[0.01, 0.9], settings=computed)
    assert not found.rounded.any() and not found.certified[0, 1] and found.broken[0, 1]


def test_absorbed_inputs_come_nearer_and_break_every_ball_that_holds_them():
    network, images, labels, found = report_of()
    one = next(one for one in found.attacks[0].inputs[:, -1] if one is not None)
    source = instances_of(network, images, labels)
    breaches = Breaches(source)
    breaches.absorb(np.array([one.image]), images[[one.image]])
    assert not breaches.broken.any() and breaches.nearest[one.image] is None
    breaches.absorb(np.array([one.image]), one.input[None], closer=False)
    assert breaches.nearest[one.image].distance == one.distance
    breaches.absorb(np.array([one.image]), one.input[None])
    near = breaches.nearest[one.image]
    assert near.distance <= one.distance
    held = [source.near.holds(one.image, float(radius), near.input) for radius in source.radii]
    assert (breaches.broken[one.image] == held).all() and breaches.broken.sum() == sum(held)


def instances_of(network, images, labels):
    return Instances.of(network, images, labels, sorted(RADII), av.CertifySettings())


@pytest.mark.parametrize("asked", [0, 3, 12, 60])
def test_a_stopped_report_keeps_what_is_known(asked):
    network, images, labels, whole = report_of()
    calls = count()
    run = av.Run(stop=lambda: next(calls) >= asked)
    found = av.robustness_report(network, images, labels, eps=RADII, run=run)
    assert found.status is av.Ended.STOPPED and (found.correct == whole.correct).all()
    assert (found.certified <= whole.certified).all() and (found.broken <= whole.broken).all()
    assert (found.unfinished <= found.unknown).all()
    assert found.unfinished.any() or (found.certified | found.broken).all()
    assert "stopped" in repr(found) and found.steps[-1].status is av.Ended.STOPPED


def test_time_is_shared():
    network, images, labels, _ = report_of()
    found = av.robustness_report(network, images, labels, eps=RADII, run=av.Run(timeout=0.0))
    assert found.status is av.Ended.TIMED_OUT and found.unfinished[found.correct][:, 1:].all()
    told = []
    av.robustness_report(network, images, labels, eps=[0.03], settings=QUICK, run=av.Run(tell=told.append))
    assert any("PGD, radius 0.03" in one.text for one in told) and any("verified" in one.text for one in told)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros((0, 3))}, "no images"),
        ({"inputs": np.full((COUNT, 3), np.nan)}, "is nan; give finite numbers"),
        ({"inputs": np.full((COUNT, 5), 0.5)}, "shape"),
        ({"labels": np.full(COUNT, 4)}, "no class of this network; give integers 0 to 3"),
        ({"labels": np.full(COUNT, -1)}, "no class of this network"),
        ({"labels": None}, "no labels"),
        ({"eps": [0.1, 0.1]}, "name one radius twice"),
        ({"eps": [0.1, -0.1]}, "negative"),
        ({"eps": [0.1, np.nan]}, "NaN"),
        ({"eps": []}, "no list of numbers"),
        ({"eps": 0.1}, "no list of numbers"),
        ({"norm": "l3"}, "give one of 'l1', 'l2', 'linf'"),
        ({"settings": av.CertifySettings()}, "give an instance of ReportSettings"),
        ({"settings": av.ReportSettings(classes=["a", "b"])}, "2 names of classes; the network has 4 outputs"),
    ],
)
def test_bad_input_is_one_clear_message(change, message):
    network, images, labels, _ = report_of()
    given = {"inputs": images, "labels": labels, "eps": RADII} | change
    with pytest.raises(av.InputError, match=message):
        av.robustness_report(network, **given)


def test_names_of_classes_are_texts():
    with pytest.raises(av.InputError, match="give a text for each"):
        av.ReportSettings(classes=[1, 2])
    assert av.ReportSettings(classes=["a", "b"]).classes == ("a", "b")


def test_one_output_is_no_classifier():
    single = network_from_layers([np.ones((1, 3))], [np.zeros(1)], "single")
    with pytest.raises(av.InputError, match="a classifier has one per class"):
        av.robustness_report(single, np.full((2, 3), 0.5), [0, 0], eps=[0.1])


def test_one_class_one_image_and_what_data_sets_hold():
    network, images, labels, _ = report_of()
    own = {"images": images[:1], "labels": labels[:1]}
    found = av.robustness_report(network, own, None, eps=[0.02], settings=QUICK)
    assert found.certified.shape == (1, 1) and found.of_class(int(labels[0]))[0] == 1
    unbounded = av.ReportSettings(certifying=av.CertifySettings(within=None), steepness=None)
    wide = av.robustness_report(network, 10 * images, labels, eps=[0.5], settings=unbounded)
    assert (wide.certified <= wide.holding).all()


def test_margins_take_no_more_than_their_images():
    """Those of all 600 labels would take 1.7 GB."""
    classes, labels = 600, np.array([0, 1, 300, 599])
    network = network_from_layers([np.eye(classes, 2)], [np.zeros(classes)])
    tracemalloc.start()
    found = instances_of(network, np.zeros((4, 2)), labels).margins(np.arange(4))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    identity = np.eye(classes)
    for rows, label in zip(found, labels, strict=True):
        assert np.array_equal(rows, np.delete(identity[label] - identity, label, axis=0))
    assert peak < 4 * found.nbytes
