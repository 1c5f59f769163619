"""Pictures of what falsifies images: the image, the counterexample, and the difference."""

from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

from admm_verify.errors import InputError
from admm_verify.options import instance
from admm_verify.report.picture_inputs import checked_path, require_matplotlib
from admm_verify.report.pictures import FORMATS, save
from admm_verify.robustness.certification import Certification, radius_name
from admm_verify.robustness.counterexample import Counterexample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_IMAGES = 24
"""Shown of those that are falsified; more would be too small to see."""

_PANELS, _SIDE = 3, 1.7
"""Panels of an image, and inches of each."""

_COLOURS = (1, 3)
"""Channels that are shown as grey or in colour."""


def counterexample_plot(path: str, found: Certification) -> None:
    """Write a picture of falsified images, the first two dozen: each image, its counterexample at the smallest radius,
    and the difference, with the label, the class it is given, and the size of the difference.

    Inputs of one or three channels, which come first or last, are drawn as images, and flat ones whose length is that
    of a square image; others as a strip.
    Raises: InputError when nothing is falsified or the suffix is no picture format, OutputError when the file cannot be
    written, MissingPackageError without matplotlib.
    """
    path = checked_path(path, FORMATS, "plot")
    save(counterexample_figure(found), path, dpi=100)


def counterexample_figure(found: Certification) -> "Figure":
    """The picture of `counterexample_plot`.

    Raises: InputError when nothing is falsified, MissingPackageError without matplotlib.
    """
    require_matplotlib()
    shown = smallest(instance(found, Certification, "The certification"))
    if not shown:
        raise InputError("No image is falsified, so that there is no counterexample to draw.")
    from matplotlib.figure import Figure

    count = min(len(shown), _MOST_IMAGES)
    across = min(2, count)
    down = -(-count // across)
    figure = Figure(figsize=(_SIDE * _PANELS * across, (_SIDE + 0.35) * down + 0.4))
    panels = figure.subplots(down, _PANELS * across, squeeze=False)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.75 / figure.get_figheight(), wspace=0.08)
    more = f", the first {count}" if len(shown) > count else ""
    top = 1 - 0.12 / figure.get_figheight()
    figure.suptitle(f"{len(shown)} of {len(found.correct)} images falsified{more}", y=top, va="top", fontsize=10)
    for ax in panels.flat:
        ax.set_axis_off()
    for place, (one, radius) in enumerate(shown[:count]):
        first = _PANELS * (place % across)
        _draw(panels[place // across, first : first + _PANELS], one, radius)
    return figure


def smallest(found: Certification) -> list[tuple[Counterexample, float]]:
    """The counterexample of every falsified image at the smallest radius, and that radius."""
    chosen = []
    for row in found.counterexamples:
        own = [(radius, one) for radius, one in zip(found.radii.tolist(), row, strict=True) if one is not None]
        if own:
            radius, one = min(own, key=lambda pair: pair[0])
            chosen.append((one, radius))
    return chosen


def picture(values: np.ndarray) -> np.ndarray:
    """An input as rows and columns of grey [rows, columns] or colours [rows, columns, 3].

    Shapes: values [*input_shape].
    """
    shape = [size for size in values.shape if size > 1] or [1]
    found = values.reshape(shape)
    if len(shape) == 3 and shape[0] in _COLOURS:
        return np.moveaxis(found, 0, -1)
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in _COLOURS):
        return found
    if len(shape) == 1:
        for channels in _COLOURS:
            side = isqrt(values.size // channels)
            if side > 1 and channels * side * side == values.size:
                return picture(values.reshape(channels, side, side))
    return found.reshape(shape[0] if len(shape) > 1 else 1, -1)


def _draw(panels: "np.ndarray", one: Counterexample, radius: float) -> None:
    before, after = (picture(values.astype(np.float64)) for values in (one.original, one.input))
    # Both on one scale: that of pixels in [0, 1], or their own.
    low, high = min(0.0, before.min(), after.min()), max(before.max(), after.max())
    high = max(high, 1.0 if low == 0.0 else low + 1e-300)
    for ax, values, title in (
        (panels[0], before, f"image {one.image}, label {one.label}"),
        (panels[1], after, f"class {one.prediction}, {radius_name(one.norm)} {radius:g}"),
    ):
        _show(ax, (values - low) / (high - low), 0.0, title, "gray")
    change = after - before
    # Single pixels show in any norm.
    size = float(np.max(np.abs(change))) or 1.0
    title = f"changed by {one.distance:.3g}" if one.distance else "misclassified as it is"
    if change.ndim == 3:
        _show(panels[2], 0.5 + 0.5 * change / size, 0.0, title, "gray")
    else:
        _show(panels[2], change / size, -1.0, title, "RdBu_r")


def _show(ax: "Axes", values: np.ndarray, least: float, title: str, colours: str) -> None:
    shape = "auto" if values.shape[0] * 8 < values.shape[1] else "equal"
    ax.imshow(np.clip(values, least, 1.0), cmap=colours, vmin=least, vmax=1.0, aspect=shape, interpolation="nearest")
    ax.set_title(title, fontsize=8, pad=2)
