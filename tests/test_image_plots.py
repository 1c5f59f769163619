"""Sets and their images: bounds hold, little is lost over cells, and pictures show both."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.report.image_plots import image_figure, image_plot, polygons
from tests.reach.initial_sets import SETS, inside
from tests.reach.systems import dense

ANGLE = 2.0 * np.pi * np.arange(24) / 24
AROUND = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=-1)
CROWN = av.ReachSettings(method="crown", samples=300)


def within(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether points lie in a convex polygon whose corners go round it counter-clockwise, up to 1e-6 of its size."""
    edge = np.roll(corners, -1, axis=0) - corners
    away = points[:, None] - corners
    side = edge[:, 0] * away[..., 1] - edge[:, 1] * away[..., 0]
    return (side >= -1e-6 * np.ptp(corners, axis=0).max() ** 2).all(axis=1)


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("grid", [1, 4])
def test_bounds_hold_and_polygons_hold_every_sample(kind: str, grid: int) -> None:
    rng = np.random.default_rng(21)
    network, inputs = dense(rng, 2, 8, 8, 2), SETS[kind](rng, 2)
    image = av.set_image(network, inputs, AROUND, settings=av.ReachSettings(grid=grid, samples=300))
    values = np.asarray(network(inside(rng, inputs, 500))).reshape(-1, 2)
    assert ((values @ AROUND.T).max(axis=0) <= image.support).all() and (image.inner <= image.support).all()
    shapes = polygons(image.directions, image.upper, (0, 1))
    assert np.any([within(corners, values) for corners in shapes], axis=0).all()
    assert within(polygons(image.directions, image.support[None], (0, 1))[0], values).all()


def test_cells_tighten_an_image() -> None:
    rng = np.random.default_rng(22)
    network, inputs = dense(rng, 2, 16, 16, 2), av.Ball(np.zeros(2), 1.0)
    gaps = []
    for grid in (1, 4, 12):
        image = av.set_image(network, inputs, AROUND, settings=av.ReachSettings(grid=grid, samples=2000))
        gaps.append(float((image.support - image.inner).max() / np.ptp(image.values, axis=0).max()))
    assert gaps[2] < gaps[1] < gaps[0] and gaps[2] < 0.05


def test_the_image_of_a_ball_under_a_matrix_is_an_ellipse() -> None:
    from admm_verify.network.layers import network_from_layers

    matrix = np.array([[2.0, 1.0], [0.0, 0.5]])
    network = network_from_layers([matrix], [np.array([1.0, -1.0])])
    image = av.set_image(network, av.Ball(np.zeros(2), 3.0), AROUND, settings=CROWN)
    support = AROUND @ [1.0, -1.0] + 3.0 * np.linalg.norm(AROUND @ matrix, axis=1)
    assert (image.upper[0] >= support - 1e-13).all() and np.allclose(image.upper[0], support, rtol=1e-12)


def test_a_picture_of_a_set_and_its_image(tmp_path) -> None:
    rng = np.random.default_rng(23)
    network, inputs = dense(rng, 3, 8, 4), SETS["ellipsoid"](rng, 3)
    path = tmp_path / "image.png"
    image = image_plot(str(path), network, inputs, outputs=(1, 3), settings=CROWN)
    assert path.stat().st_size > 10_000 and image.directions.shape[1] == 4
    left, right = image_figure(image, (1, 3)).axes
    assert (left.get_xlabel(), right.get_xlabel(), right.get_ylabel()) == ("x1", "y2", "y4")
    # What is drawn around the image is wider than the samples.
    for (low, high), values in zip((right.get_xlim(), right.get_ylim()), image.values.T[[1, 3]], strict=True):
        assert low < values.min() and values.max() < high


def test_what_no_picture_is_made_of(tmp_path) -> None:
    rng = np.random.default_rng(24)
    network, disc = dense(rng, 2, 4, 2), av.Ball(np.zeros(2), 1.0)
    with pytest.raises(av.InputError, match="another suffix"):
        image_plot(str(tmp_path / "a.txt"), network, disc)
    with pytest.raises(av.InputError, match="at least two of both"):
        image_plot(str(tmp_path / "a.png"), dense(rng, 2, 4, 1), disc)
    with pytest.raises(av.InputError, match="An axis of two different outputs is 2"):
        image_plot(str(tmp_path / "a.png"), network, disc, outputs=(0, 2))
    with pytest.raises(av.InputError, match="give one set of vectors of 2 numbers"):
        av.set_image(network, av.Ball(np.zeros(3), 1.0), AROUND)
    with pytest.raises(av.InputError, match="no window"):
        av.set_image(network, disc, AROUND, settings=av.ReachSettings(window=1))
    with pytest.raises(av.InputError, match="give from 1"):
        av.set_image(network, disc, np.zeros((0, 2)))
