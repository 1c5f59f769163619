"""The smallest perturbations of a report: pictures of images, tables of other inputs."""

from collections.abc import Sequence

import numpy as np

from admm_verify.report.counterexample_plots import picture
from admm_verify.report.page.html import Html, element, paragraph, table
from admm_verify.report.page.png import data_url, differences, shades
from admm_verify.robustness_report.result import RobustnessReport, SmallestChange

_SMALLEST = 5
"""Rows and columns that a picture has at least."""

_LARGEST = 512
"""Rows or columns of a picture at most: larger ones are thinned out."""

_ENTRIES = 8
"""Of an input in a table: those that changed most."""


def examples(report: RobustnessReport) -> list[Html]:
    """All of them, or a sentence where there is none."""
    shown = report.examples
    if not shown:
        return [paragraph("No input of another class was found near any image that is classified like its label.")]
    draw = _figure if _is_picture(shown[0]) else _table
    return [element("div", [draw(one, report.source.classes) for one in shown], {"class": "examples"})]


def _is_picture(one: SmallestChange) -> bool:
    return min(picture(one.found.original).shape[:2]) >= _SMALLEST


def _words(one: SmallestChange, classes: Sequence[str]) -> str:
    found = one.found
    certified = f"; certified at {one.certified:g}" if one.certified else ""
    return (
        f"Image {found.image}: {classes[found.label]} becomes {classes[found.prediction]}, changed by "
        f"{found.distance:.4g} ({one.attack}{certified})"
    )


def _figure(one: SmallestChange, classes: Sequence[str]) -> Html:
    found = one.found
    before, after = (_thinned(picture(values.astype(np.float64))) for values in (found.original, found.input))
    # Both on one scale: that of pixels in [0, 1], or their own.
    low, high = min(0.0, before.min(), after.min()), max(before.max(), after.max())
    high = max(high, 1.0) if low == 0.0 else high
    panels = (
        (shades(before, low, high), f"image {found.image}, class {classes[found.label]}"),
        (shades(after, low, high), f"perturbed image {found.image}, class {classes[found.prediction]}"),
        (differences(after - before), f"difference, largest {np.abs(after - before).max():.3g} in a pixel"),
    )
    size = {"width": "112", "height": str(max(1, round(112 * before.shape[0] / before.shape[1])))}
    shown = [element("img", [], {"src": data_url(pixels), "alt": words, **size}) for pixels, words in panels]
    return element(
        "figure", [element("div", shown, {"class": "panels"}), element("figcaption", [_words(one, classes)])]
    )


def _thinned(pixels: np.ndarray) -> np.ndarray:
    step = max(1, -(-max(pixels.shape[:2]) // _LARGEST))
    return pixels[::step, ::step]


def _table(one: SmallestChange, classes: Sequence[str]) -> Html:
    before, after = (x.reshape(-1).astype(np.float64) for x in (one.found.original, one.found.input))
    order = np.argsort(-np.abs(after - before), kind="stable")[:_ENTRIES]
    rows = [[str(i), f"{before[i]:.6g}", f"{after[i]:.6g}", f"{after[i] - before[i]:+.3g}"] for i in order.tolist()]
    return table(_words(one, classes), ["input", "as it is", "perturbed", "change"], rows)
