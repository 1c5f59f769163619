"""The experiment on two spirals: what its figures are of."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from experiments.stability import Recipe, landscape, learn, recipes, spirals


def test_arms_turn_around_each_other():
    points, labels = spirals(400, 3)
    assert points.min() >= 0 and points.max() <= 1 and labels.sum() == 200
    # Half a turn carries one arm onto the other: their distances from the middle are alike, their angles are not.
    away = np.linalg.norm(points - 0.5, axis=1)
    assert abs(away[labels == 0].mean() - away[labels == 1].mean()) < 0.02 and (away < 0.52).all()
    assert np.linalg.norm(points[labels == 0].mean(axis=0) - points[labels == 1].mean(axis=0)) > 0.02


def test_the_landscape_is_the_loss_around_what_was_learnt():
    settings = replace(recipes()["plain"].settings, epochs=3)
    one = learn("plain", Recipe(settings, points=40, width=6, wrong=0.5))
    assert (one.labels != spirals(40, 0)[1]).sum() > 10 and len(one.way) >= 4
    plane = landscape(one, 3)
    with torch.no_grad():
        scores = one.module(torch.as_tensor(one.points))
        loss = torch.nn.functional.cross_entropy(scores, torch.as_tensor(one.labels))
    assert plane.loss[1, 1] == pytest.approx(float(loss), rel=1e-6)
    assert (plane.way[-1] == 0).all() and 0.5 < plane.explained <= 1.0
    # Directions of length one: where the training began lies in the plane, nearly.
    assert np.linalg.norm(plane.way[0]) == pytest.approx(np.linalg.norm(one.way[0] - one.way[-1]), rel=0.05)
