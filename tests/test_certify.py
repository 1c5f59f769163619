"""Robustness of classifiers: sound answers, what a killed run leaves, and one clear message for every bad input."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.certificates.digests import arrays_digest
from admm_verify.network.layers import network_from_layers
from problems.crown_family import crown_instances
from problems.mnist_images import mnist_test
from tests.shared import needs_shared

RADII = (0.3, 0.02, 0.1, 0.0)


def classifier(seed, sizes=(3, 12, 12, 4)):
    """A random network whose outputs are all 0 at the centre of [0, 1]: classes vary, margins are small."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    biases = [0.3 * rng.standard_normal(m) for m in sizes[1:-1]]
    raw = network_from_layers(weights, [*biases, np.zeros(sizes[-1])])
    centre = raw(np.full(sizes[0], 0.5))
    return network_from_layers(weights, [*biases, -centre], "classifier")


def classifier_task(seed, count=12):
    """A network, images in [0, 1], and the network's own classes as labels but for the last image."""
    network = classifier(seed)
    images = np.random.default_rng(seed + 100).random((count, network.input_size)).astype(np.float32)
    labels = np.argmax(network(images), axis=1)
    labels[-1] = (labels[-1] + 1) % network.output_size
    return network, images, labels


def worst_margin(network, image, label, radius, within):
    """The least margin over corners and random points of the box, in float64."""
    box = av.Box.around(image.astype(np.float64), radius, within)
    corners = np.stack(np.meshgrid(*np.stack([box.lower, box.upper], axis=1)), axis=-1).reshape(-1, len(image))
    points = np.random.default_rng(0).uniform(box.lower, box.upper, (4000, len(image)))
    values = network(np.concatenate([corners, points, image[None].astype(np.float64)]))
    return np.min(values[:, [label]] - np.delete(values, label, axis=1))


def is_monotone(found):
    order = np.argsort(found.radii)
    verified, falsified = (found.status[:, order] == answer for answer in (av.Answer.VERIFIED, av.Answer.FALSIFIED))
    return (verified[:, 1:] <= verified[:, :-1]).all() and (falsified[:, 1:] >= falsified[:, :-1]).all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("within", [(0.0, 1.0), None])
def test_answers_and_margins_against_sampling(seed, within):
    network, images, labels = classifier_task(seed)
    found = av.certify(network, images, labels, RADII, settings=av.CertifySettings(within=within))
    assert found.lower.shape == found.status.shape == (12, 4)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        for k, radius in enumerate(RADII):
            worst = worst_margin(network, image, label, radius, within)
            assert found.lower[i, k] <= worst
            assert (found.status[i, k] is av.Answer.VERIFIED) == (found.lower[i, k] > 0)
            if worst <= -1e-5:
                assert found.status[i, k] is not av.Answer.VERIFIED
            assert found.status[i, k] is not av.Answer.TIMED_OUT
    assert is_monotone(found)
    assert not found.correct[-1] and found.correct[:-1].all()
    assert (found.status[-1] == av.Answer.FALSIFIED).all()
    assert found.clean_accuracy == 11 / 12
    assert {av.Answer.VERIFIED, av.Answer.FALSIFIED} <= set(found.status[:, 1])


def test_a_radius_alone_agrees_with_solve():
    network, images, labels = classifier_task(1)
    found = av.certify(network, images, labels, [0.05], settings=av.CertifySettings(max_passes=0))
    for i, (image, label) in enumerate(zip(images[:-1], labels[:-1], strict=True)):
        rows = np.delete(np.eye(4)[label] - np.eye(4), label, axis=0)
        box = av.Box.around(image.astype(np.float64), 0.05, (0.0, 1.0))
        crown = av.solve(av.Problem(network, box, rows), settings=av.SolverSettings(max_passes=0)).lower.min()
        assert found.lower[i, 0] == pytest.approx(crown, rel=1e-9, abs=1e-12)
        best = av.solve(av.Problem(network, box, rows), "ascent").lower.min()
        more = av.certify(network, images[[i]], labels[[i]], [0.05])
        assert (more.status[0, 0] is av.Answer.VERIFIED) == (best > 0)


@pytest.mark.parametrize("seed", [0, 1, 3, 7])
def test_better_bounds_verify_no_less(seed):
    network, images, labels = classifier_task(seed)
    before = av.certify(network, images, labels, RADII, settings=av.CertifySettings(bounds="interval", max_passes=0))
    assert before.count(av.Answer.VERIFIED).sum() > 0
    for bounds, passes in (("crown", 0), ("crown", None), ("tightened", None)):
        settings = av.CertifySettings(bounds=bounds, max_passes=passes)
        found = av.certify(network, images, labels, RADII, settings=settings)
        assert ((found.status == av.Answer.VERIFIED) >= (before.status == av.Answer.VERIFIED)).all()
        before = found


def test_rounding_of_the_network_counts_where_asked():
    # f_0 - f_1 = 1e-9 everywhere, in float32 as in float64; rounding could take it.
    network = network_from_layers([np.zeros((2, 2)), np.eye(2)], [np.array([1.0, 1.0 - 1e-9]), np.zeros(2)])
    images, labels = np.full((1, 2), 0.5), [0]
    real = av.certify(network, images, labels, [0.1])
    assert real.count(av.Answer.VERIFIED) == 0  # float32 rounds both to 1: a tie, so another class is as large
    weights = [np.zeros((2, 2)), np.eye(2)]
    wider = network_from_layers(weights, [np.array([1.0, 1.0 - 1e-7]), np.zeros(2)])
    assert av.certify(wider, images, labels, [0.1]).status[0, 0] is av.Answer.VERIFIED
    settings = av.CertifySettings(arithmetic="float32")
    assert av.certify(wider, images, labels, [0.1], settings=settings).status[0, 0] is av.Answer.UNKNOWN


def test_overflow_of_the_networks_own_arithmetic_is_never_verified():
    weights = [np.array([[1e30], [0.0]]), np.array([[1e-30, 0.0], [0.0, 1e-30]])]
    network = network_from_layers(weights, [np.zeros(2), np.array([1.0, 0.0])])
    images, labels = np.array([[1e9]]), [0]
    settings = av.CertifySettings(arithmetic="float32", within=None)
    found = av.certify(network, images, labels, [1.0], settings=settings)
    assert found.status[0, 0] is av.Answer.UNKNOWN and not found.correct[0]


def lines_of(path):
    return path.read_text().splitlines()


def test_a_run_goes_on_where_it_was(tmp_path, monkeypatch):
    path = tmp_path / "found.jsonl"
    given = classifier_task(3)
    whole = av.certify(*given, RADII, settings=av.CertifySettings(output=path))
    header, *lines = lines_of(path)
    assert set(json.loads(header)) >= {"network", "radii", "within", "arithmetic", "bounds", "method"}
    assert len(lines) == len({(json.loads(line)["image"], json.loads(line)["radius"]) for line in lines}) == 48
    monkeypatch.setattr("admm_verify.splitting.row_bounds.solve", None)
    again = av.certify(*given, RADII, settings=av.CertifySettings(output=path))
    monkeypatch.undo()
    for kept, torn in ((0, ""), (1, '{"ima'), (20, lines[20][:-1]), (47, '{"image": 3'), (48, "garbage")):
        # Repeated lines change nothing.
        path.write_text("\n".join([header, *lines[:kept], *lines[:kept], torn]))
        resumed = av.certify(*given, RADII, settings=av.CertifySettings(output=path))
        for other in (again, resumed):
            assert (other.status == whole.status).all()
            assert (other.correct == whole.correct).all()
        assert set(lines[:kept]) <= set(lines_of(path)) and len(lines_of(path)) == 49 + kept
    path.write_text(header[:20])
    assert (av.certify(*given, RADII, settings=av.CertifySettings(output=path)).status == whole.status).all()


def test_a_file_of_another_task_is_refused(tmp_path):
    path = tmp_path / "found.jsonl"
    network, images, labels = classifier_task(4)
    av.certify(network, images, labels, RADII, settings=av.CertifySettings(output=path))
    before = path.read_bytes()
    # What is relaxed is the same, and what it was read from is another network.
    read_otherwise = replace(network, as_read=classifier(5).as_read or classifier(5))
    others = [
        ("network", (classifier(5), images, labels, RADII), {}),
        ("network", (read_otherwise, images, labels, RADII), {}),
        ("images", (network, images[1:], labels[1:], RADII), {}),
        ("radii is", (network, images, labels, RADII[:2]), {}),
        ("within is", (network, images, labels, RADII), {"within": (-1.0, 2.0)}),
        ("within is", (network, images, labels, RADII), {"within": None}),
        ("bounds is", (network, images, labels, RADII), {"bounds": "interval"}),
        ("arithmetic is", (network, images, labels, RADII), {"arithmetic": "float32"}),
        ("max_passes is", (network, images, labels, RADII), {"max_passes": 2}),
    ]
    for word, given, options in others:
        with pytest.raises(av.InputError, match=f"{word}.*[Dd]elete"):
            av.certify(*given, settings=av.CertifySettings(output=path, **options))
    assert path.read_bytes() == before


def test_arrays_of_the_same_numbers_in_other_shapes_have_other_digests():
    arrays = [np.ones(4), np.ones((1, 4)), np.ones((4, 1)), np.ones((2, 2)), np.array([1.0, 1.0, 1.0, 0.0])]
    assert len({arrays_digest(part) for part in ([], *([array] for array in arrays), [arrays[0], arrays[1]])}) == 7
    assert arrays_digest([np.ones(4), np.ones(2)]) != arrays_digest([np.ones(2), np.ones(4)])


@pytest.mark.parametrize("content", [b"not a record", b"\x00\x01", b'{"format": "other"}\n', b"a\nb\n"])
def test_a_file_that_is_no_record_is_never_touched(tmp_path, content):
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(av.InputError, match="no record"):
        av.certify(*classifier_task(4), RADII, settings=av.CertifySettings(output=path))
    assert path.read_bytes() == content


def test_a_file_of_an_earlier_version_is_named(tmp_path):
    (tmp_path / "old.jsonl").write_text('{"format": "admm_verify certify 3"}\n')
    with pytest.raises(av.InputError, match="another version, admm_verify certify 3"):
        av.certify(*classifier_task(4), RADII, settings=av.CertifySettings(output=tmp_path / "old.jsonl"))


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        '{"image": 99, "radius": 0.1, "label": 0, "status": "verified", "searched": 0.0, "lower": 1.0}',
        '{"image": 0, "radius": 0.7, "label": 0, "status": "verified", "searched": 0.0, "lower": 1.0}',
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "verified", "searched": 0.0, "lower": -1.0}',
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "verified", "searched": 0.0, "lower": "-inf"}',
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "timed-out", "searched": 0.0, "lower": "-inf"}',
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "unknown", "searched": 0.0, "lower": NaN',
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "unknown", "searched": 0.0, "lower": NaN}',
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "verified", "searched": 0.0, "lower": Infinity}',
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "verified", "searched": 0.0, "lower": true}',
        '{"image": true, "radius": 0.1, "label": LABEL, "status": "unknown", "searched": 0.0, "lower": "-inf"}',
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "unknown", "searched": 0.0, "lower": -1'
        + 400 * "0"
        + "}",
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "unknown", "searched": -1.0, "lower": "-inf"}',
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "unknown", "searched": 0.0, "lower": null}',
        '{"image": 0, "radius": 0.1, "label": LABEL, "status": "falsified", "searched": 0.0, "lower": "-inf"}',
        100_000 * "[",
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "found.jsonl"
    given = classifier_task(4)
    av.certify(*given, RADII, settings=av.CertifySettings(output=path), run=av.Run(stop=lambda: True))
    path.write_text(lines_of(path)[0] + "\n" + line.replace("LABEL", str(given[2][0])) + "\n")
    with pytest.raises(av.InputError, match="Line 2"):
        av.certify(*given, RADII, settings=av.CertifySettings(output=path))


def test_nothing_is_verified_without_time(tmp_path):
    network, images, labels = classifier_task(5)
    for name, run in (("timeout", av.Run(timeout=0.0)), ("stop", av.Run(stop=lambda: True))):
        path = tmp_path / f"{name}.jsonl"
        found = av.certify(network, images, labels, RADII, settings=av.CertifySettings(output=path), run=run)
        assert (found.status[:-1] == av.Answer.TIMED_OUT).all()
        assert (found.status[-1] == av.Answer.FALSIFIED).all() and found.clean_accuracy == 11 / 12
        assert len(lines_of(path)) == 1 + 4
        rest = av.certify(network, images, labels, RADII, settings=av.CertifySettings(output=path))
        assert not rest.count(av.Answer.TIMED_OUT).any()


def test_a_stop_on_the_way_keeps_what_is_known(tmp_path):
    network, images, labels = classifier_task(6, count=30)
    whole = av.certify(network, images, labels, RADII)
    for asked in range(1, 60, 7):
        calls = iter(range(10_000))
        found = av.certify(network, images, labels, RADII, run=av.Run(stop=lambda: next(calls) >= asked))  # noqa: B023
        finished = found.status != av.Answer.TIMED_OUT
        assert (found.status[finished] == whole.status[finished]).all()
        assert ((found.lower > 0) == (found.status == av.Answer.VERIFIED)).all()
        # A caller that asks to stop once and forgets it gets fewer answers, never wrong ones.
        calls = iter(range(10_000))
        found = av.certify(network, images, labels, RADII, run=av.Run(stop=lambda: next(calls) == asked))  # noqa: B023
        assert (whole.status[found.status == av.Answer.VERIFIED] == av.Answer.VERIFIED).all()


def test_progress_ends_with_everything_finished():
    seen: list[av.Progress] = []
    found = av.certify(*classifier_task(1), RADII, run=av.Run(tell=seen.append))
    assert seen[-1].done == seen[-1].total == 48 and str(found.count(av.Answer.VERIFIED).sum()) in seen[-1].text
    assert [one.done for one in seen] == sorted(one.done for one in seen)


def test_blocks_of_one_image_find_the_same():
    given = classifier_task(2)
    small = av.certify(*given, RADII, run=av.Run(memory=1.0))
    assert (small.status == av.certify(*given, RADII).status).all()


def test_the_table_names_every_radius():
    text = repr(av.certify(*classifier_task(1), RADII)).splitlines()
    assert "clean accuracy 91.67%" in text[0]
    assert [line.split()[0] for line in text[3:]] == ["0.3", "0.02", "0.1", "0"]
    assert text[1].split() == ["radius", "verified", "falsified", "unknown", "timed-out", "certified", "accuracy"]


def test_shapes_and_types_of_images():
    network, images, labels = classifier_task(1)
    wanted = av.certify(network, images, labels, [0.05]).status
    assert (av.certify(network, images.astype(np.float64), labels.astype(np.uint8), [0.05]).status == wanted).all()
    grey = av.Network(network.nodes, (1, 1, 3), (4,))
    for shaped in (images, images[:, None, :], images[:, None, None, :]):
        assert (av.certify(grey, shaped, labels, [0.05]).status == wanted).all()
    per_pixel = (np.zeros(3), np.array([1.0, 1.0, 2.0]))
    assert (
        av.certify(
            network, images + np.array([0, 0, 0.5]), labels, [0.05], settings=av.CertifySettings(within=per_pixel)
        ).status.shape
        == wanted.shape
    )
    # Rounding of a normalisation may leave the range by a little.
    assert av.certify(network, images[:1] * 0 + 1.0000001, labels[:1], [0.05]).status.shape == (1, 1)


IMAGES, LABELS = np.full((2, 3), 0.5), np.array([0, 1])

WRONG = {
    "no images": (IMAGES[:0], LABELS[:0], [0.1], {}, "no images"),
    "shape": (np.ones((2, 4)), LABELS, [0.1], {}, r"\(2, 4\).*\[batch, 3\]"),
    "one image without its axis": (np.ones(3), LABELS, [0.1], {}, "shape"),
    "text": (np.array([["a"] * 3] * 2), LABELS, [0.1], {}, "numbers"),
    "nan": (IMAGES * [1, np.nan, 1], LABELS, [0.1], {}, "Image 0, pixel 1 is nan"),
    "infinite": (IMAGES * np.inf, LABELS, [0.1], {}, "finite"),
    "beyond float32": (IMAGES * 1e60, LABELS, [0.1], {"within": None}, "beyond float32"),
    "bytes": (np.full((2, 3), 255), LABELS, [0.1], {}, "outside the range.*images / 255"),
    "labels too few": (IMAGES, LABELS[:1], [0.1], {}, "one integer per image"),
    "labels as numbers": (IMAGES, LABELS * 1.0, [0.1], {}, "integer"),
    "no such class": (IMAGES, LABELS + 3, [0.1], {}, "Label 4 of image 1.*0 to 3"),
    "negative class": (IMAGES, LABELS - 1, [0.1], {}, "Label -1"),
    "negative radius": (IMAGES, LABELS, [0.1, -0.1], {}, "radii"),
    "nan radius": (IMAGES, LABELS, [float("nan")], {}, "radii"),
    "infinite radius": (IMAGES, LABELS, [float("inf")], {}, "radii"),
    "no radius": (IMAGES, LABELS, [], {}, "at least one"),
    "one number as radii": (IMAGES, LABELS, 0.1, {}, "at least one"),
    "radius twice": (IMAGES, LABELS, [0.1, 0.2, 0.1], {}, "twice"),
    "range reversed": (IMAGES, LABELS, [0.1], {"within": (1.0, 0.0)}, "lowest <= highest"),
    "range of another shape": (IMAGES, LABELS, [0.1], {"within": (np.zeros(2), 1.0)}, "shape"),
    "range of three": (IMAGES, LABELS, [0.1], {"within": (0.0, 0.5, 1.0)}, "give a pair"),
    "range without a float": (IMAGES, LABELS, [0.1], {"within": (0.1, 0.1)}, "outside|no float32"),
    "bounds": (IMAGES, LABELS, [0.1], {"bounds": "magic"}, "bounds 'magic'.*crown"),
    "folder": (IMAGES, LABELS, [0.1], {"output": "."}, "cannot be read and written"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_named(name):
    images, labels, radii, options, words = WRONG[name]
    with pytest.raises(av.InputError, match=words):
        av.certify(classifier(1), images, labels, radii, settings=av.CertifySettings(**options))


@pytest.mark.parametrize(("name", "value"), [("settings", {"method": "ascent"}), ("run", {"timeout": 1.0})])
def test_settings_and_runs_are_records(name, value):
    with pytest.raises(av.InputError, match=f"{name}.*give an instance"):
        av.certify(classifier(1), IMAGES, LABELS, [0.1], **{name: value})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("arithmetic", "float16", "float16"),
        ("method", "magic", "method 'magic'"),
        ("max_passes", -1, "max_passes"),
        ("max_passes", 2.0, "max_passes"),
    ],
)
def test_wrong_settings_are_refused_as_they_are_made(field, value, words):
    with pytest.raises(av.InputError, match=words):
        av.CertifySettings(**{field: value})


def test_one_output_is_no_classifier():
    with pytest.raises(av.InputError, match="one per class"):
        av.certify(classifier(1, (3, 4, 1)), IMAGES, LABELS, [0.1])


@pytest.mark.data
@needs_shared
def test_mnist_agrees_with_the_stored_bounds_of_auto_lirpa():
    images, labels = mnist_test(5)
    assert images.shape == (5, 1, 28, 28) and images.max() == 1.0 and labels.tolist() == [7, 2, 1, 0, 4]
    radii, crown = (0.01, 0.02, 0.05), av.CertifySettings(bounds="crown", max_passes=0)
    instances = crown_instances("mnist_deepsplit_fc")
    found = av.certify(instances[0].network, images, labels, radii, settings=crown)
    for instance in instances:
        image, radius = (part.lstrip("imgeps") for part in instance.name.split("/")[1:])
        theirs = instance.peers["CROWN"].bound.min()
        i, k = int(image), radii.index(float(radius))
        assert (found.status[i, k] is av.Answer.VERIFIED) == (theirs > 0)
        # A radius settled by a larger one keeps the larger one's margin.
        assert found.lower[i, k] <= theirs + 1e-4 * abs(theirs)
