"""Robustness carried over: below what is true of the second network, and nearly what bounds of it say."""

import numpy as np
import pytest
import torch

import admm_verify as av
from admm_verify.report.demo import load_digits
from problems.pairs import half, pruned, quantised
from tests.clocks import ticking
from tests.differential.test_difference import F, G

CENTRE = np.random.default_rng(8).uniform(-1, 1, (30, 3))
BOXES = av.Box(CENTRE - 0.1, CENTRE + 0.1)
LABELS = F(CENTRE).argmax(axis=1)


def test_no_margin_is_below_the_transferred_one():
    found = av.transfer_robustness(F, G, BOXES, LABELS)
    x = BOXES.sample(2000, np.random.default_rng(0))
    y, other = F(x.reshape(-1, 3)).reshape(30, 2000, 4), G(x.reshape(-1, 3)).reshape(30, 2000, 4)

    def margins(values):
        own = np.take_along_axis(values, LABELS[:, None, None], axis=2)
        return np.where(np.arange(4) == LABELS[:, None], np.inf, (own - values).min(axis=1))

    assert (found.margin <= margins(y)).all() and (found.difference <= margins(other - y)).all()
    assert (found.lower <= margins(other)).all()
    assert ((found.lower > 0).all(axis=1) == (found.answer == av.Answer.VERIFIED)).all()
    assert 10 < np.sum(found.answer == av.Answer.VERIFIED) < 30


def test_margins_that_are_known_are_taken():
    computed = av.transfer_robustness(F, G, BOXES, LABELS)
    known = av.certify(F, CENTRE, LABELS, [0.1], settings=av.CertifySettings(within=None)).lower[:, 0]
    for margins in (known, torch.tensor(known), computed.margin):
        found = av.transfer_robustness(F, G, BOXES, LABELS, margins=margins)
        assert found.answer.tolist() == computed.answer.tolist()
    # They are believed.
    every = av.transfer_robustness(F, G, BOXES, LABELS, margins=np.full(30, 100.0))
    assert (every.answer == av.Answer.VERIFIED).all()


@pytest.mark.parametrize("change", [half, quantised, lambda network: pruned(network, 0.1)], ids=["half", "int8", "10%"])
def test_digits_keep_their_robustness(change):
    digits = load_digits()
    other = change(digits.network)
    box = av.Box.around(digits.images, 0.03, within=(0, 1))
    found = av.transfer_robustness(digits.network, other, box, digits.labels)
    direct = av.certify(other, digits.images, digits.labels, [0.03]).status[:, 0] == av.Answer.VERIFIED
    transferred = found.answer == av.Answer.VERIFIED
    assert direct.sum() >= 7 and transferred[direct].mean() >= 0.95


def test_there_is_no_time():
    found = av.transfer_robustness(F, G, BOXES, LABELS, run=av.Run(timeout=0.0))
    assert (found.answer == av.Answer.TIMED_OUT).all() and "30 timed-out" in repr(found)


@pytest.mark.parametrize(
    ("labels", "margins", "words"),
    [
        (LABELS[:-1], None, "one integer for each of the 30 sets"),
        (LABELS.astype(float), None, "one integer"),
        (LABELS + 4, None, "is no class"),
        (LABELS, np.zeros(29), "a number for each set"),
        (LABELS, np.full(30, np.nan), "NaN"),
    ],
)
def test_labels_and_margins_that_do_not_fit(labels, margins, words):
    with pytest.raises(av.InputError, match=words):
        av.transfer_robustness(F, G, BOXES, labels, margins=margins)


def test_what_more_time_would_verify_has_timed_out():
    full = av.transfer_robustness(F, G, BOXES, LABELS).answer
    cut = 0
    for timeout in range(5, 400, 20):
        with ticking():
            found = av.transfer_robustness(F, G, BOXES, LABELS, run=av.Run(timeout=timeout)).answer
        assert ((found == full) | (found == av.Answer.TIMED_OUT)).all()
        cut += int((found != full).any())
    assert cut
