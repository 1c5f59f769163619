"""Modules that are no function of their input: refused by the operation that draws, or by what they give."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import admm_verify as av
from tests.network.test_torch_layers import Function, assert_agrees

C = torch.ones(3)


class Always(nn.Dropout):
    """Dropout that evaluation mode does not switch off."""

    def train(self, mode=True):
        return super().train(True)


DRAWN = {
    "rand": (lambda x: x + torch.rand(3), "rand"),
    "bernoulli": (lambda x: x + torch.bernoulli(C / 2), "bernoulli"),
    "multinomial": (lambda x: x + torch.multinomial(C, 3), "multinomial"),
    "dropout of a value": (lambda x: F.dropout(x, 0.5, training=True), "dropout"),
    "dropout of a constant": (lambda x: x + F.dropout(C, 0.5, training=True), "dropout"),
    "rrelu": (lambda x: F.rrelu(x, training=True), "rrelu"),
    "gumbel_softmax": (lambda x: x + F.gumbel_softmax(C), "gumbel_softmax"),
    "empty": (lambda x: x + torch.empty(3), "empty"),
    "unused": (lambda x: x + 0 * torch.rand(3), "rand"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_operations_that_draw_are_named(name):
    function, word = DRAWN[name]
    with pytest.raises(av.UnsupportedOperatorError, match=f"Operation [a-z_]*{word}"):
        av.trace(Function(function), torch.zeros(1, 3))


@pytest.mark.parametrize("draw", [np.random.default_rng(1).random, random.Random(1).random])
def test_numbers_drawn_outside_torch_are_found(draw):
    with pytest.raises(av.UnsupportedOperatorError, match="other values each time"):
        av.trace(Function(lambda x: x * float(draw())), torch.zeros(1, 3))


def test_dropout_that_stays_on_is_refused():
    with pytest.raises(av.UnsupportedOperatorError, match="Operation dropout"):
        av.trace(nn.Sequential(nn.Linear(3, 3), Always()), torch.zeros(1, 3))


def test_what_evaluation_mode_switches_off_is_read():
    layers = nn.Dropout(), nn.AlphaDropout(), nn.FeatureAlphaDropout(), nn.RReLU(), nn.BatchNorm1d(3)
    assert_agrees(nn.Sequential(nn.Linear(3, 3), *layers).train(), (3,))


def test_tracing_draws_nothing_and_changes_no_buffer():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x):
            self.calls += 1
            return x + self.calls

    module, state = Counting(), torch.get_rng_state()
    with pytest.raises(av.ModelError):
        av.trace(module, torch.zeros(1, 3))
    assert module.calls == 0
    assert torch.equal(state, torch.get_rng_state())
