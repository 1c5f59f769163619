"""Pictures of input sets and their images under networks."""

from typing import TYPE_CHECKING

import numpy as np

from admm_verify.errors import InputError
from admm_verify.network.graph import Network, check_network
from admm_verify.options import instance
from admm_verify.reach.images import SetImage, set_image
from admm_verify.reach.inputs import input_set
from admm_verify.reach.settings import ReachSettings
from admm_verify.report.picture_inputs import checked_axes, checked_path, require_matplotlib
from admm_verify.report.pictures import FORMATS, save
from admm_verify.report.reach_animation import cut, outline, padded, rectangle
from admm_verify.run import Run
from admm_verify.sets.contract import WalkableSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIRECTIONS = 64
"""Around the plane of two outputs."""

_SET, _CERTIFIED, _SAMPLED = "#0072B2", "#56B4E9", "0.25"
_MOST_SHAPES, _MOST_POINTS = 2000, 3000


def image_plot(
    path: str,
    network: Network,
    inputs: WalkableSet,
    *,
    outputs: tuple[int, int] = (0, 1),
    settings: ReachSettings | None = None,
    run: Run | None = None,
) -> SetImage:
    """Write a picture of an input set and of what is certified around its image, and give the image's bounds.

    On the left the set in the plane of its first two inputs, on the right two outputs: the polygon of certified bounds
    in 64 directions over each cell that the set is cut into (`ReachSettings(grid=)`), and samples of both.
    Shapes: inputs [n], the flat inputs of the network.
    Raises: InputError when the file cannot be written or its suffix is no picture format, for outputs that are not two
    of the network's, and as `set_image`.
    """
    path = checked_path(path, FORMATS, "plot")
    require_matplotlib()
    check_network(instance(network, Network, "The network"))
    if network.output_size < 2 or network.input_size < 2:
        raise InputError(
            f"{network.name} takes {network.input_size} numbers and gives {network.output_size}; a picture of a set "
            "and its image needs at least two of both."
        )
    own = input_set(inputs, network.input_size, "input set")
    shown = checked_axes(outputs, network.output_size, "outputs")
    angle = 2.0 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    directions = np.zeros((DIRECTIONS, network.output_size))
    directions[:, shown[0]], directions[:, shown[1]] = np.cos(angle), np.sin(angle)
    image = set_image(network, own, directions, settings=settings, run=run)
    save(image_figure(image, shown), path, dpi=150)
    return image


def image_figure(image: SetImage, outputs: tuple[int, int] = (0, 1)) -> "Figure":
    """The picture of `image_plot`.

    Raises: InputError for bounds that are not finite.
    """
    require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if not np.isfinite(image.upper).all():
        raise InputError(
            "The bounds of the image are not finite, so that there is nothing to draw. Take a smaller set."
        )
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_set(left, image)
    _draw_image(right, image, outputs)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(visible=True, color="0.93", linewidth=0.6)
        ax.set_axisbelow(True)
    handles = [
        Patch(facecolor=(_SET, 0.15), edgecolor=_SET, linewidth=1.5, label="input set"),
        Line2D([], [], color=_SAMPLED, marker=".", markersize=4, linestyle="none", label="samples"),
        Patch(fill=False, edgecolor=_CERTIFIED, linewidth=1.5, label="certified around the image"),
    ]
    if len(image.upper) > 1:
        handles.append(Patch(color=(_CERTIFIED, 0.4), label=f"certified in {len(image.upper)} cells"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return figure


def polygons(directions: np.ndarray, upper: np.ndarray, outputs: tuple[int, int]) -> np.ndarray:
    """What bounds [cells, d] leave in the plane of two outputs, [cells, corners, 2]; corners may repeat."""
    reach = np.full(2, 4.0 * np.abs(upper).max() + 1e-9)
    return cut(rectangle(-reach, reach), directions[:, list(outputs)], upper)


def _draw_set(ax: "Axes", image: SetImage) -> None:
    from matplotlib.patches import Polygon

    corners = outline(image.inputs, (0, 1))
    ax.add_patch(Polygon(corners, facecolor=_SET, alpha=0.15))
    ax.add_patch(Polygon(corners, fill=False, edgecolor=_SET, linewidth=1.5))
    ax.plot(*image.points[:_MOST_POINTS, :2].T, ".", color=_SAMPLED, markersize=1.6, markeredgewidth=0)
    low, high = padded(corners.min(axis=0), corners.max(axis=0))
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="x1", ylabel="x2", title="inputs")


def _draw_image(ax: "Axes", image: SetImage, outputs: tuple[int, int]) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Polygon

    parts = polygons(image.directions, image.upper, outputs)
    if len(parts) > 1:
        ax.add_collection(
            PolyCollection(list(parts[:_MOST_SHAPES]), facecolors=_CERTIFIED, alpha=0.25, edgecolors="none")
        )
    whole = polygons(image.directions, image.support[None], outputs)[0]
    ax.add_patch(Polygon(whole, fill=False, edgecolor=_CERTIFIED, linewidth=1.5))
    ax.plot(*image.values[:_MOST_POINTS, list(outputs)].T, ".", color=_SAMPLED, markersize=1.6, markeredgewidth=0)
    low, high = padded(whole.min(axis=0), whole.max(axis=0))
    names = [f"y{axis + 1}" for axis in outputs]
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=names[0], ylabel=names[1], title="outputs")
