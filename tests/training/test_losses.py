"""Losses beside their formulas, and gradients beside differences."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import admm_verify as av
from admm_verify.errors import InputError
from admm_verify.training.bounds import TensorBox, backward_bounds, class_rows, crown_bounds, interval_bounds, parallel
from admm_verify.training.losses import projected_gradient, worst_case_loss
from admm_verify.training.reading import read_layers
from admm_verify.training.step import TrainingStep

EPS, WITHIN = 0.1, (0.0, 1.0)
LABELS = torch.tensor([2, 0, 1, 1, 0, 2])

LOSSES = {
    "standard": av.StandardLoss(),
    "adversarial": av.AdversarialLoss(EPS, clean=0.3),
    "interval": av.IntervalLoss(EPS, kappa=0.2),
    "crown": av.CrownIntervalLoss(EPS, kappa=0.2, beta=0.6),
    "small": av.SmallBoxLoss(EPS),
    "mixed": av.MixedLoss(EPS),
    "dual": av.DualLoss(EPS),
}


@pytest.fixture
def module():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)
        ).double()


def step_of(module, ramp=1.0, seed=0) -> TrainingStep:
    images = torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return TrainingStep(module, images, LABELS, ramp, WITHIN, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_value(module, name):
    """With batch statistics, where the module trains; attacks are the same again, as their seed is."""
    loss = LOSSES[name]
    if name in ("adversarial", "mixed", "small"):
        # Attacked images move with the weights; the gradient takes them as they are, and so do frozen statistics.
        module.eval()
    value = loss(step_of(module, 0.7))
    value.backward()
    parameter = module[0].weight
    assert parameter.grad is not None
    direction, size = torch.sign(parameter.grad), 1e-6
    with torch.no_grad():
        around = []
        for side in (size, -size):
            parameter += side * direction
            with torch.enable_grad():
                around.append(float(loss(step_of(module, 0.7)).detach()))
            parameter -= side * direction
    wanted = float(parameter.grad.abs().sum())
    assert wanted > 1e-3
    # Corners of the box that an attack ends in do not move with the weights; a random start inside may.
    assert (around[0] - around[1]) / (2 * size) == pytest.approx(wanted, rel=1e-4)


def test_without_a_radius_all_are_the_cross_entropy(module):
    module.eval()
    plain = float(LOSSES["standard"](step_of(module)).detach())
    for name, loss in LOSSES.items():
        assert float(loss(step_of(module, 0.0)).detach()) == pytest.approx(plain, rel=1e-9), name


def test_worse_in_this_order(module):
    """An attack is no worse than the best small box around it, that than the whole box; CROWN may be either side."""
    module.eval()
    steps = {name: float(LOSSES[name](step_of(module)).detach()) for name in ("standard", "small", "mixed")}
    whole = float(av.IntervalLoss(EPS)(step_of(module)).detach())
    attacked = float(av.AdversarialLoss(EPS)(step_of(module)).detach())
    assert steps["standard"] < attacked < steps["mixed"] < whole
    assert attacked < steps["small"] + 1e-3 and steps["small"] < whole
    mixed = av.MixedLoss(EPS, alpha=0.25, steps=5, size=0.5)
    assert float(mixed(step_of(module)).detach()) == pytest.approx(0.25 * whole + 0.75 * attacked, rel=1e-12)


def test_batch_norms_that_train_have_the_statistics_of_clean_images(module):
    """Radius zero gives the module's own outputs; its running statistics move by that pass alone."""
    step = step_of(module.train())
    outputs, before = step.outputs, module[1].running_mean.clone()
    bounds = interval_bounds(step.graph, TensorBox(step.images, step.images), step.scales)
    assert torch.equal(module[1].running_mean, before)
    torch.testing.assert_close(bounds.nodes[-1].low, outputs)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "standard"])
def test_running_statistics_follow(module, name):
    """Also by losses that only bound: once a step, or once more by attacked images."""
    module.train()
    LOSSES[name](step_of(module))
    assert int(module[1].num_batches_tracked) in ((1,) if name in ("interval", "crown", "dual", "small") else (1, 2))


def test_the_penalty_is_there_while_the_radius_grows(module):
    """Zero at both ends of the ramp; between them it pulls a wide layer in."""
    penalty = av.TightnessPenalty(EPS)
    module.eval()
    with torch.no_grad():
        module[3].weight *= 20.0
    assert [float(penalty(step_of(module, ramp))) for ramp in (0.0, 1.0)] == [0.0, 0.0]
    value = penalty(step_of(module, 0.5))
    value.backward()
    before = float(value.detach())
    with torch.no_grad():
        module[3].weight -= 0.1 * module[3].weight.grad / module[3].weight.grad.norm()
    assert 0.0 < float(penalty(step_of(module, 0.5)).detach()) < before
    assert float(penalty(step_of(module, 0.9)).detach()) < 0.3 * before


def test_the_start_keeps_intervals_as_wide():
    """Through twenty layers; torch's own start multiplies or divides them by thousands."""
    layers = [part for _ in range(20) for part in (nn.Linear(100, 100), nn.ReLU())]
    wide = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        av.IntervalStart()(wide, generator)
    images = torch.rand(2, 100, generator=generator)
    wide.requires_grad_(False)
    radii = [
        box.radius.mean()
        for box in interval_bounds(read_layers(wide, images), TensorBox.around(images, 1e-3), {}).preactivations
    ]
    assert 0.3 < float(radii[-1] / radii[0]) < 3.0


def test_attacks_stay_in_the_box(module):
    step = step_of(module)
    box = step.box(EPS)
    moved = projected_gradient(step, box, 3, 0.7)
    assert bool((moved >= box.low).all() and (moved <= box.high).all())
    assert bool((moved - step.images).abs().max() > 0.9 * EPS)
    assert not moved.requires_grad and module.training


def test_the_dual_network_is_that_of_wong_and_kolter():
    """Algorithm 1 of arXiv 1711.00851 for one hidden layer, written out: nu_1 = W_2'c, nu_hat = D nu_1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        first, second = nn.Linear(4, 7).double(), nn.Linear(7, 3).double()
        images = torch.rand(3, 4, dtype=torch.float64)
    graph = read_layers(nn.Sequential(first, nn.ReLU(), second), images)
    rows = class_rows(LABELS[:3], 3, torch.float64)
    with torch.no_grad():
        found = backward_bounds(crown_bounds(graph, TensorBox.around(images, EPS), {}, parallel), rows, parallel)
        for x, c, mine in zip(images, rows, found, strict=True):
            middle = first(x)
            radius = EPS * first.weight.abs().sum(1)
            l, u = middle - radius, middle + radius
            slope = torch.where(l > 0, 1.0, torch.where(u < 0, 0.0, u / (u - l)))
            nu = c @ second.weight
            back = (slope * nu) @ first.weight
            value = c @ second.bias + (slope * nu) @ first.bias + back @ x - EPS * back.abs().sum(1)
            open_ = (l < 0) & (u > 0)
            value = value + torch.where(open_, -l * slope * nu.clamp(max=0), 0.0).sum(1)
            torch.testing.assert_close(mine, value)


def test_worst_logits():
    margins = torch.tensor([[0.0, 1.0, -2.0]])
    wanted = functional.cross_entropy(torch.tensor([[0.0, -1.0, 2.0]]), torch.tensor([0]))
    assert torch.equal(worst_case_loss(margins, torch.tensor([0])), wanted)


def test_parameters_are_checked():
    with pytest.raises(InputError, match=r"IntervalLoss.eps is -0.1 .*>= 0"):
        av.IntervalLoss(-0.1)
    with pytest.raises(InputError, match=r"MixedLoss.alpha is 1.5 .*<= 1"):
        av.MixedLoss(0.1, alpha=1.5)
