"""Pictures of counterexamples: what they show of inputs of any layout, and on the command line."""

from dataclasses import replace

import numpy as np
import pytest

import admm_verify as av
from admm_verify.report.counterexample_plots import counterexample_figure, picture
from tests.test_certify import classifier_task

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((1, 28, 28), (28, 28)),
        ((28, 28), (28, 28)),
        ((1, 28, 20), (28, 20)),
        ((3, 8, 9), (8, 9, 3)),
        ((8, 9, 3), (8, 9, 3)),
        ((784, 1), (28, 28)),
        ((784,), (28, 28)),
        ((3072,), (32, 32, 3)),
        ((7,), (1, 7)),
        ((4, 5, 6), (4, 30)),
        ((1,), (1, 1)),
    ],
)
def test_inputs_of_all_layouts_are_drawn(shape, drawn):
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    found = picture(values)
    assert found.shape == drawn and sorted(found.reshape(-1)) == sorted(values.reshape(-1))
    if shape == (3, 8, 9):
        assert found[2, 3, 1] == values[1, 2, 3]


def test_each_falsified_image_has_three_panels(tmp_path):
    found = av.certify(*classifier_task(3, count=4), [0.3, 0.02])
    falsified = np.flatnonzero((found.status == av.Answer.FALSIFIED).any(axis=1))
    titles = [text for ax in counterexample_figure(found).axes if (text := ax.get_title())]
    assert len(titles) == 3 * len(falsified) >= 6
    for n, i in enumerate(falsified):
        k = 1 if found.counterexamples[i, 1] is not None else 0
        one = found.counterexamples[i, k]
        before, after, change = titles[3 * n : 3 * n + 3]
        assert before == f"image {i}, label {one.label}"
        assert after == f"class {one.prediction}, radius {found.radii[k]:g}"
        assert f"{one.distance:.3g}" in change or one.distance == 0
    av.counterexample_plot(str(tmp_path / "a.svg"), found)
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()


def test_what_cannot_be_drawn_is_refused(tmp_path):
    found = av.certify(*classifier_task(3), [0.3])
    with pytest.raises(av.InputError, match="suffix"):
        av.counterexample_plot(str(tmp_path / "a.txt"), found)
    none = replace(found, counterexamples=np.full(found.status.shape, None))
    with pytest.raises(av.InputError, match="No image is falsified"):
        av.counterexample_plot(str(tmp_path / "a.png"), none)
