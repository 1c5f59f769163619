"""Pictures of certified radii over a plane of inputs, a panel for each norm."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from admm_verify.arrays import Array, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import plain_array
from admm_verify.options import several
from admm_verify.report.picture_inputs import checked_path, require_matplotlib
from admm_verify.report.pictures import FORMATS, save
from admm_verify.robustness.certification import Certification
from admm_verify.sets.norm_names import NORMS, NormName

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon

_SIDE = 3.6
"""Inches of a panel."""

_MOST_BALLS = 14
"""Drawn in a panel, the largest ones that do not meet."""

_CORNERS = {"l1": 4, "l2": 90, "linf": 4}


def radius_map_plot(path: str, points: Array, labels: Array, found: Sequence[Certification]) -> None:
    """Write a picture of the largest verified radius at every point of a grid in the plane, a panel for each norm.

    Black lines are where the labels change, and shapes are balls within which they do not, for certain. What is found
    comes from `certify` of these points, points.reshape(-1, 2), with these labels, at many radii.

    Shapes: points [rows, columns, 2], as x, y = numpy.meshgrid(..) and numpy.stack([x, y], axis=-1) make them; labels
    [rows, columns] or [rows columns], integers.
    Raises: InputError for points that are no such grid, results of another number of points, or a suffix that is no
    picture format, OutputError when the file cannot be written, MissingPackageError without matplotlib.
    """
    path = checked_path(path, FORMATS, "plot")
    save(radius_map_figure(points, labels, found), path, dpi=150)


def radius_map_figure(points: Array, labels: Array, found: Sequence[Certification]) -> "Figure":
    """The picture of `radius_map_plot`.

    Raises: InputError as there, MissingPackageError without matplotlib.
    """
    require_matplotlib()
    grid, classes, panels = _checked(points, labels, found)
    from matplotlib.figure import Figure

    most = max(float(one.certified_radius.max()) for one in panels) or 1.0
    figure = Figure(figsize=(_SIDE * len(panels) + 0.9, _SIDE + 0.5), layout="compressed")
    axes = list(figure.subplots(1, len(panels), squeeze=False).flat)
    images = [_draw(ax, grid, classes, one, most) for ax, one in zip(axes, panels, strict=True)]
    figure.colorbar(images[0], ax=axes, label="certified radius", shrink=0.9)
    return figure


def _checked(
    points: Array, labels: Array, found: Sequence[Certification]
) -> tuple[np.ndarray, np.ndarray, Sequence[Certification]]:
    grid = to_numpy(plain_array(points, "points")).astype(np.float64)
    advice = "numpy.stack(numpy.meshgrid(x, y), axis=-1) makes a grid"
    if grid.ndim != 3 or grid.shape[2] != 2 or min(grid.shape[:2]) < 2 or not np.isfinite(grid).all():
        raise InputError(f"The points have shape {grid.shape}; give finite ones [rows, columns, 2]: {advice}.")
    x, y = grid[0, :, 0], grid[:, 0, 1]
    if (np.diff(x) <= 0).any() or (np.diff(y) <= 0).any() or (grid != np.stack(np.meshgrid(x, y), axis=-1)).any():
        raise InputError(f"The points are no grid whose rows and columns grow: {advice}.")
    classes = to_numpy(plain_array(labels, "labels"))
    count = grid.shape[0] * grid.shape[1]
    if classes.size != count:
        raise InputError(f"There are {classes.size} labels for {count} points; give one for each.")
    panels = several(found, Certification, "certifications")
    if not panels:
        raise InputError("There are no certifications; give one for each panel.")
    for one in panels:
        if len(one.correct) != count:
            raise InputError(f"A certification is of {len(one.correct)} inputs, and there are {count} points.")
    return grid, classes.reshape(grid.shape[:2]), panels


def _draw(ax: "Axes", grid: np.ndarray, classes: np.ndarray, found: Certification, most: float) -> "QuadMesh":
    radii = found.certified_radius.reshape(classes.shape)
    x, y = grid[0, :, 0], grid[:, 0, 1]
    image = ax.pcolormesh(x, y, radii, cmap="viridis", vmin=0.0, vmax=most, shading="nearest", rasterized=True)
    for label in np.unique(classes)[1:]:
        ax.contour(x, y, classes >= label, levels=[0.5], colors="black", linewidths=1.2)
    for centre, radius in balls(found.norm, grid.reshape(-1, 2), radii.reshape(-1)):
        ax.add_patch(_outline(found.norm, centre, radius))
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
    ax.set_title(f"{found.norm}: mean {radii.mean():.3g}", fontsize=10)
    return image


def balls(norm: NormName, points: np.ndarray, radii: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """The largest balls around points that lie between the outermost points and do not meet, largest first.

    Shapes: points [n, 2]; radii [n].
    """
    low, high = points.min(axis=0), points.max(axis=0)
    fits = (radii > 0) & ((points - radii[:, None] >= low) & (points + radii[:, None] <= high)).all(axis=1)
    chosen: list[tuple[np.ndarray, float]] = []
    order = np.flatnonzero(fits)
    for i in order[np.argsort(-radii[order], kind="stable")]:
        centre, radius = points[i], float(radii[i])
        if all(np.linalg.norm(centre - other, NORMS[norm]) >= radius + own for other, own in chosen):
            chosen.append((centre, radius))
            if len(chosen) == _MOST_BALLS:
                break
    return chosen


def _outline(norm: NormName, centre: np.ndarray, radius: float) -> "Polygon":
    from matplotlib.patches import Polygon

    turn = 0.5 if norm == "linf" else 0.0
    angles = 2.0 * np.pi * (np.arange(_CORNERS[norm]) + turn) / _CORNERS[norm]
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    corners = corners / np.linalg.norm(corners, NORMS[norm], axis=1, keepdims=True)
    return Polygon(centre + radius * corners, closed=True, fill=False, edgecolor="white", linewidth=0.9)
