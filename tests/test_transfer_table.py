"""Adversarial examples of one network on others: rates that can be counted by hand, and distortions that are met."""

from dataclasses import replace

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers

QUICK = av.DistortionSettings(descent=av.PricedDescent(rounds=2, steps=6, refined=3))
LABELS = np.array([0, 1, 0, 1, 0])


def plane(*normal, shift=0.0, kind="float32"):
    """Class 1 where normal x > shift."""
    weight, bias = np.array([np.zeros(len(normal)), normal]), np.array([shift, 0.0])
    return replace(network_from_layers([weight], [bias], "plane"), element_type=kind)


@pytest.fixture(scope="module")
def images():
    """In the square; class 1 is where the first number is large, the last image lies elsewhere."""
    return np.array([[0.3, 0.5], [0.7, 0.5], [0.4, 0.1], [0.6, 0.9], [0.8, 0.5]])


@pytest.fixture(scope="module")
def found(images):
    networks = {
        "first": plane(1.0, 0.0, shift=0.5),
        "beside": plane(1.0, 0.0, shift=0.55, kind="float64"),
        "across": plane(0.0, 1.0, shift=0.2),
    }
    return av.transfer_table(networks, images, LABELS, settings=av.TransferSettings(QUICK, common=0.2, seed=1))


def test_rates_are_those_counted_by_hand(found):
    assert found.names == ("first", "beside", "across") and found.status is av.Ended.COMPLETE
    # 0.8 is beyond both borders, and only the image at height 0.1 is of class 0 for the last network.
    assert found.clean == pytest.approx([0.2, 0.2, 0.4])
    assert found.examples.tolist() == [4, 4, 3]
    # Four points next to x = 0.5: beside another border at 0.55 all have class 0, as two of them should.
    assert found.errors[0] == pytest.approx([1.0, 0.5, 0.25])
    assert found.errors[1, :2] == pytest.approx([0.5, 1.0])
    assert np.diag(found.errors).tolist() == [1.0, 1.0, 1.0]
    # The distances to the border over the root of two numbers.
    assert found.distortion[0] == pytest.approx(np.mean([0.2, 0.2, 0.1, 0.1]) / np.sqrt(2), rel=1e-4)
    # 0.2 sqrt(2) from all four images leads beyond both borders.
    assert found.reached == pytest.approx([0.2] * 3, rel=1e-6)
    assert found.magnified[0].tolist() == [1.0, 1.0, 0.25] and found.noisy[1] == 0.2
    assert ((found.noise >= 0) & (found.noise <= 1)).all()


def test_the_table_is_in_the_form_of_the_paper(found):
    lines = repr(found).splitlines()
    assert lines[0].startswith("5 images, 11 examples, 0 failed")
    assert [line.split("  ")[0] for line in lines[3:]] == [
        "none",
        *(f"for {name}" for name in found.names),
        "noise",
        *(f"for {name}, magnified" for name in found.names),
        "noise",
    ]
    assert lines[4].split() == ["for", "first", "100.0%", "50.0%", "25.0%", "0.106"]


def test_the_range_ends_what_is_magnified(images):
    settings = av.TransferSettings(QUICK, common=0.9)
    one = av.transfer_table([plane(1.0, 0.0, shift=0.5)] * 2, images, LABELS, settings=settings)
    assert one.names == ("plane", "plane #2") and (one.errors == 1.0).all()
    # To the far side of the square, and no farther; the second number does not change.
    assert one.reached[0] == pytest.approx(np.mean([0.7, 0.7, 0.6, 0.6]) / np.sqrt(2), rel=1e-3)
    again = av.transfer_table([plane(1.0, 0.0, shift=0.5)], images, LABELS, settings=settings)
    assert again.noise[:, 0].tolist() == one.noise[:, 0].tolist()


def test_without_examples_there_are_no_rates(images):
    always = network_from_layers([np.zeros((2, 2))], [np.array([1.0, 0.0])], "always")
    found = av.transfer_table({"always": always, "plane": plane(1.0, 0.0, shift=0.5)}, images, LABELS)
    assert found.examples.tolist() == [0, 4] and np.isnan(found.errors[0]).all() and np.isnan(found.magnified[0]).all()
    assert np.isnan(found.distortion[0]) and found.noisy[0] == found.distortion[1]
    assert "-" in repr(found).splitlines()[4].split()
    stopped = av.transfer_table([always], images, LABELS, run=av.Run(stop=lambda: True))
    assert stopped.status is av.Ended.STOPPED and stopped.noisy[0] == 0.0


def test_no_network_takes_the_name_of_another(images):
    networks = [replace(plane(1.0, 0.0, shift=0.5), name=name) for name in ("plane #2", "plane", "plane")]
    found = av.transfer_table(networks, images, LABELS, run=av.Run(stop=lambda: True))
    assert found.names == ("plane #2", "plane", "plane #3")


BAD = {
    "none": ([], "no networks"),
    "no sequence": (plane(1.0, 0.0), "sequence of them"),
    "a path": ("net.onnx", "sequence of them"),
    "other inputs": ([plane(1.0, 0.0), plane(1.0, 0.0, 0.0)], "same images"),
    "names alike": ({1: plane(1.0, 0.0), "1": plane(0.0, 1.0)}, "read alike"),
    "one output": ([network_from_layers([np.ones((1, 2))], [np.zeros(1)])], "1 output"),
}


@pytest.mark.parametrize("name", BAD)
def test_networks_that_do_not_fit(images, name):
    given, words = BAD[name]
    with pytest.raises(av.InputError, match=words):
        av.transfer_table(given, images, LABELS)


@pytest.mark.parametrize("wrong", [{"common": 0.0}, {"common": np.nan}, {"seed": -1}, {"attack": None}])
def test_settings_are_checked(wrong):
    with pytest.raises(av.InputError, match=next(iter(wrong))):
        av.TransferSettings(**wrong)
