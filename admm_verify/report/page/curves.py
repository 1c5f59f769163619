"""Accuracy over radii as a drawing in the text of a page, with words for those who do not see it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.report.page.html import Html, element

_WIDE, _HIGH = 480.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 16.0, 12.0, 48.0

_GEOMETRIC = 30.0
"""Ratio of the largest to the smallest radius from which the axis is logarithmic."""

_LABELS, _APART = 9, 44.0
"""Labels along the axis at most, and how far apart they are at least."""


@dataclass(frozen=True)
class AccuracyCurve:
    """Shares over the radii: a name, a colour of Okabe and Ito, a marker ("o", "s" or "") and dashes."""

    name: str
    values: Sequence[float]
    colour: str
    marker: str = ""
    dashes: str = ""


def drawing(radii: Sequence[float], label: str, curves: Sequence[AccuracyCurve], words: str) -> Html:
    """Curves over radii, the space between the last two shaded.

    words: what the drawing says, as a text.
    """
    across = _places(radii)
    parts = [element("title", ["Accuracy over radii"], {"id": "curves-title"})]
    parts += [element("desc", [words], {"id": "curves-words"}), *_axes(radii, across, label)]
    upper, lower = (_points(across, curve.values) for curve in curves[-2:])
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(lower)])
    parts.append(element("polygon", [], {"points": outline, "fill": "#56B4E9", "fill-opacity": "0.18"}))
    for curve in curves:
        parts += _curve(across, curve)
    box = {"viewBox": f"0 0 {_WIDE:g} {_HIGH:g}", "role": "img", "class": "curves"}
    return element("svg", parts, {**box, "aria-labelledby": "curves-title curves-words"})


def legend(curves: Sequence[AccuracyCurve]) -> Html:
    """The curves' names beside a piece of each."""
    items = []
    for curve in curves:
        places = np.array([4.0, 32.0])
        line = _line([(4.0, 8.0), (32.0, 8.0)], curve)
        mark = [] if not curve.marker else [_mark(float(places.mean()), 8.0, curve)]
        sample = element("svg", [line, *mark], {"viewBox": "0 0 36 16", "class": "key", "aria-hidden": "true"})
        items.append(element("li", [sample, curve.name]))
    return element("ul", items, {"class": "legend"})


def _places(radii: Sequence[float]) -> list[float]:
    """Where radii are across."""
    values = np.asarray(radii, dtype=np.float64)
    if len(values) > 1 and values[0] > 0 and values[-1] / values[0] >= _GEOMETRIC:
        values = np.log(values)
    low, span = float(values[0]), float(values[-1] - values[0])
    shares = (values - low) / span if span > 0 else np.full(len(values), 0.5)
    # Markers keep off the frame.
    return (_LEFT + 14.0 + shares * (_WIDE - _LEFT - _RIGHT - 28.0)).tolist()


def _height(share: float) -> float:
    return _HIGH - _BOTTOM - share * (_HIGH - _TOP - _BOTTOM)


def _points(across: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    return [(x, _height(value)) for x, value in zip(across, values, strict=True)]


def _axes(radii: Sequence[float], across: Sequence[float], label: str) -> list[Html]:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = f"{_height(share):.1f}"
        ends = {"x1": f"{_LEFT:g}", "x2": f"{_WIDE - _RIGHT:g}", "y1": y, "y2": y, "class": "grid"}
        parts.append(element("line", [], ends))
        place = {"x": f"{_LEFT - 6:g}", "y": y, "dy": "0.35em", "text-anchor": "end"}
        parts.append(element("text", [f"{share:.0%}"], place))
    last = -np.inf
    step = max(1, -(-len(radii) // _LABELS))
    for number, (radius, x) in enumerate(zip(radii, across, strict=True)):
        end = {"x1": f"{x:.1f}", "x2": f"{x:.1f}", "y1": f"{_height(0):g}", "y2": f"{_height(0) + 5:g}"}
        parts.append(element("line", [], {**end, "class": "tick"}))
        if number % step == 0 and x - last >= _APART:
            place = {"x": f"{x:.1f}", "y": f"{_height(0) + 20:g}", "text-anchor": "middle"}
            parts.append(element("text", [f"{radius:.4g}"], place))
            last = x
    place = {"x": f"{(_LEFT + _WIDE - _RIGHT) / 2:g}", "y": f"{_HIGH - 6:g}", "text-anchor": "middle"}
    return [*parts, element("text", [label], place)]


def _curve(across: Sequence[float], curve: AccuracyCurve) -> list[Html]:
    points = _points(across, curve.values)
    if len(points) == 1 and not curve.marker:
        points = [(_LEFT, points[0][1]), (_WIDE - _RIGHT, points[0][1])]
    marks = [_mark(x, y, curve) for x, y in points] if curve.marker else []
    return [_line(points, curve), *marks]


def _line(points: Sequence[tuple[float, float]], curve: AccuracyCurve) -> Html:
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = {"points": text, "fill": "none", "stroke": curve.colour, "stroke-width": "2"}
    return element("polyline", [], {**style, "stroke-dasharray": curve.dashes} if curve.dashes else style)


def _mark(x: float, y: float, curve: AccuracyCurve) -> Html:
    if curve.marker == "s":
        corner = {"x": f"{x - 4:.1f}", "y": f"{y - 4:.1f}", "width": "8", "height": "8"}
        return element("rect", [], {**corner, "fill": curve.colour})
    return element("circle", [], {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "4.5", "fill": curve.colour})
