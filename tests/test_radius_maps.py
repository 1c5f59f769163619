"""Maps of certified radii: what they draw, and which inputs they refuse."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.report.radius_maps import balls, radius_map_figure

pytest.importorskip("matplotlib")

# Class 0 left of x = 0.5, class 1 right of it.
NETWORK = network_from_layers([np.array([[-1.0, 0.0], [1.0, 0.0]])], [np.array([0.5, -0.5])])
GRID = np.stack(np.meshgrid(np.linspace(0.05, 0.95, 10), np.linspace(0.0, 1.0, 6)), axis=-1)
POINTS = GRID.reshape(-1, 2)
LABELS = NETWORK(POINTS).argmax(axis=1)
RADII = np.arange(1, 11) / 20 - 1e-3


def certified(norm):
    return av.certify(NETWORK, POINTS, LABELS, RADII, norm=norm, settings=av.CertifySettings(within=None))


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_radii_lead_up_to_the_border_and_no_further(norm):
    found = certified(norm)
    distance = np.abs(POINTS[:, 0] - 0.5)
    below = np.array([max((r for r in RADII if r < d - 1e-6), default=0.0) for d in distance])
    above = np.array([min((r for r in RADII if r > d + 1e-6), default=np.inf) for d in distance])
    assert np.array_equal(found.certified_radius, below) and np.array_equal(found.falsified_radius, above)


def test_a_panel_for_each_norm():
    found = [certified(norm) for norm in ("l1", "l2", "linf")]
    figure = radius_map_figure(GRID, LABELS, found)
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title().split(":")[0] for ax in panels] == ["l1", "l2", "linf"]
    for ax, one in zip(panels, found, strict=True):
        drawn = [np.asarray(c.get_array()).reshape(-1) for c in ax.collections]
        assert any(np.array_equal(colours, one.certified_radius) for colours in drawn)
        assert len(ax.patches) > 2


@pytest.mark.parametrize(("norm", "p"), [("l1", 1), ("l2", 2), ("linf", np.inf)])
def test_balls_that_are_drawn_lie_in_view_and_do_not_meet(norm, p):
    rng = np.random.default_rng(3)
    points, radii = rng.random((200, 2)), 0.2 * rng.random(200)
    chosen = balls(norm, points, radii)
    assert len(chosen) > 4 and [r for _, r in chosen] == sorted((r for _, r in chosen), reverse=True)
    for k, (centre, radius) in enumerate(chosen):
        assert (centre - radius >= points.min(axis=0)).all() and (centre + radius <= points.max(axis=0)).all()
        for other, own in chosen[:k]:
            assert np.linalg.norm(centre - other, p) >= radius + own


def test_files_and_what_cannot_be_drawn(tmp_path):
    found = certified("l2")
    av.radius_map_plot(str(tmp_path / "a.png"), GRID, LABELS, [found])
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    for points, labels, panels, words in (
        (POINTS, LABELS, [found], r"numpy\.stack"),
        (GRID[:, ::-1], LABELS, [found], "rows and columns grow"),
        (np.swapaxes(GRID, 0, 1), LABELS, [found], "rows and columns grow"),
        (GRID * np.nan, LABELS, [found], "finite"),
        (GRID, LABELS[1:], [found], "59 labels for 60 points"),
        (GRID[:, 1:], LABELS[:54], [found], "of 60 inputs, and there are 54 points"),
        (GRID, LABELS, [], "no certifications"),
    ):
        with pytest.raises(av.InputError, match=words):
            av.radius_map_plot(str(tmp_path / "b.png"), points, labels, panels)
    with pytest.raises(av.InputError, match="sequence of Certification"):
        av.radius_map_plot(str(tmp_path / "b.png"), GRID, LABELS, found)  # pyright: ignore[reportArgumentType]
    with pytest.raises(av.InputError, match="suffix"):
        av.radius_map_plot(str(tmp_path / "a.txt"), GRID, LABELS, [found])
