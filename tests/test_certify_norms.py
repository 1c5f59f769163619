"""`certify` in other norms: sound answers, counterexamples exactly in the ball, records that name the norm."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import admm_verify as av
from admm_verify.cli import main
from admm_verify.network.layers import network_from_layers
from admm_verify.report.counterexample_plots import counterexample_figure, smallest
from admm_verify.report.records.certify import CertifyRecord
from admm_verify.robustness.neighbourhoods import Neighbourhoods
from tests.seeds import seeds
from tests.test_certify import classifier, classifier_task, is_monotone, lines_of
from tests.test_certify_command import command, files  # noqa: F401
from tests.test_records import faults, strict

NORMS = {"l1": 1.0, "l2": 2.0, "linf": np.inf}
RADII = (0.4, 0.03, 0.15, 0.0)


def holds(norm, image, reach, within, point):
    """Whether |(point - image) / reach|_p <= 1 and the point lies in the range, in rational numbers."""
    total = Fraction(0)
    for x, c, r in zip(point.tolist(), image.tolist(), np.broadcast_to(reach, image.shape).tolist(), strict=True):
        change = abs(Fraction(x) - Fraction(c))
        if change == 0:
            continue
        if r == 0:
            return False
        share = change / Fraction(r)
        total = max(total, share) if norm == "linf" else total + share ** int(NORMS[norm])
    low, high = (-np.inf, np.inf) if within is None else within
    return total <= 1 and bool((point >= low).all() and (point <= high).all())


def ball_points(norm, image, reach, within, count=4000):
    """Random points of the ball |(x - image) / reach|_p <= 1, many at its border, and of it those in the range."""
    rng, size = np.random.default_rng(0), len(image)
    directions = rng.standard_normal((count, size)) * rng.choice([0.0, 1.0], (count, size), p=[0.3, 0.7])
    directions = np.concatenate([directions, np.eye(size), -np.eye(size), rng.choice([-1.0, 1.0], (count // 4, size))])
    length = np.linalg.norm(directions, NORMS[norm], axis=1, keepdims=True)
    share = np.minimum(1.0, rng.uniform(0.0, 1.3, (len(directions), 1))) * (1.0 - 1e-9)
    points = image + reach * share * directions / np.maximum(length, 1e-12)
    # Entries that are cut with the range come nearer to the image, which lies inside.
    return points if within is None else np.clip(points, *within)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("seed", seeds(2, 4))
@pytest.mark.parametrize("within", [(0.0, 1.0), None])
def test_answers_and_margins_against_sampling(seed, within, norm, tmp_path):
    network, images, labels = classifier_task(seed)
    chosen = av.CertifySettings(within=within, output=tmp_path / "found.jsonl")
    found = av.certify(network, images, labels, RADII, norm=norm, settings=chosen)
    assert found.norm == norm and is_monotone(found)
    assert not found.correct[-1] and found.correct[:-1].all()
    for (i, k), answer in np.ndenumerate(found.status):
        points = ball_points(norm, images[i].astype(np.float64), RADII[k], within)
        values = network(points)
        worst = np.min(values[:, [labels[i]]] - np.delete(values, labels[i], axis=1))
        assert found.lower[i, k] <= worst
        assert answer is not av.Answer.TIMED_OUT and (answer is av.Answer.VERIFIED) == (found.lower[i, k] > 0)
        one = found.counterexamples.item((i, k))
        assert (one is None) == (answer is not av.Answer.FALSIFIED)
        if one is not None:
            assert holds(norm, images[i], RADII[k], within, one.input)
            values = network(one.input[None])[0]
            assert np.delete(values, labels[i]).max() >= values[labels[i]] and np.array_equal(values, one.output)
            assert one.distance <= RADII[k] * (1 + 1e-12) and one.norm == norm
    assert {av.Answer.VERIFIED, av.Answer.FALSIFIED} <= set(found.status[:, 0]) | set(found.status[:, 2])
    again = av.certify(network, images, labels, RADII, norm=norm, settings=chosen)
    assert (again.status == found.status).all() and len(lines_of(tmp_path / "found.jsonl")) == 49


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_linear_classifiers_are_decided_up_to_their_very_radius(norm, scale):
    """|margin| / |w|_q is the distance to the border of two classes, with 1/p + 1/q = 1."""
    rng = np.random.default_rng(7)
    weight, images = rng.standard_normal((2, 6)), scale * rng.standard_normal((5, 6)).astype(np.float32)
    network = network_from_layers([weight], [np.array([0.1 * scale, 0.0])])
    labels = network(images).argmax(axis=1)
    across = weight[0] - weight[1]
    margin = np.abs(images.astype(np.float64) @ across + 0.1 * scale)
    dual = {"l1": np.inf, "l2": 2, "linf": 1}[norm]
    for i, distance in enumerate(margin / np.linalg.norm(across, dual)):
        radii = [0.999 * distance, 1.001 * distance]
        given = images[[i]], labels[[i]], radii
        found = av.certify(network, *given, norm=norm, settings=av.CertifySettings(within=None))
        assert [answer.value for answer in found.status[0]] == ["verified", "falsified"]
        assert found.counterexamples[0, 1].distance >= 0.999 * distance


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_balls_are_attacked_where_inputs_of_relaxations_do_not_mislead(norm, monkeypatch):
    """As many as the instances that only the attack falsifies stay unknown without it; all others are the same."""
    plain = av.CertifySettings(bounds="interval", max_passes=0)
    counts = np.zeros(2, dtype=int)
    for seed in range(1, 8):
        network, images = classifier(seed, (12, 24, 24, 5)), np.random.default_rng(seed + 100).random((8, 12))
        images = images.astype(np.float32)
        given = network, images, network(images).argmax(axis=1), (0.1, 0.2, 0.4)
        found = av.certify(*given, norm=norm, settings=plain)
        monkeypatch.setattr("admm_verify.robustness.certifier.Certifier._attack", lambda *_: None)
        without = av.certify(*given, norm=norm, settings=plain)
        monkeypatch.undo()
        more = (found.status == av.Answer.FALSIFIED) & (without.status != av.Answer.FALSIFIED)
        assert (without.status[more] == av.Answer.UNKNOWN).all()
        assert (found.status[~more] == without.status[~more]).all()
        counts += int(more.sum()), int((found.status == av.Answer.FALSIFIED).sum())
    assert 0 < counts[0] < counts[1]


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_pixels_of_their_own_radii_and_fixed_ones(norm):
    network, images, labels = classifier_task(2, count=6)
    radii = np.array([[0.1, 0.05, 0.0], [0.4, 0.2, 0.0]])
    found = av.certify(network, images, labels, radii, norm=norm)
    assert found.radii.tolist() == [0.1, 0.4]
    for (i, k), _ in np.ndenumerate(found.status):
        points = ball_points(norm, images[i].astype(np.float64), radii[k], (0.0, 1.0))
        values = network(points)
        assert found.lower[i, k] <= np.min(values[:, [labels[i]]] - np.delete(values, labels[i], axis=1))
        one = found.counterexamples.item((i, k))
        assert one is None or holds(norm, images[i], radii[k], (0.0, 1.0), one.input)
    # One number for all is the same as that number for each.
    wide = av.certify(network, images, labels, [[0.4] * 3], norm=norm)
    assert (wide.status == av.certify(network, images, labels, [0.4], norm=norm).status).all()


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_radii_are_in_the_units_before_normalisation(norm):
    network, images, labels = classifier_task(1, count=6)
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.5])
    raw = (images * std + mean).astype(np.float32)
    chosen = av.CertifySettings(within=None, mean=mean, std=std, bounds="crown")
    found = av.certify(network, raw, labels, [0.01, 0.05], norm=norm, settings=chosen)
    # In the network's own units the balls are stretched: pixels have radii of their own.
    inner = [[radius / one for one in std] for radius in (0.01, 0.05)]
    other = av.certify(
        network, (raw - mean) / std, labels, inner, norm=norm, settings=replace(chosen, mean=None, std=None)
    )
    assert np.allclose(found.lower, other.lower, rtol=1e-3, atol=1e-4)
    assert (found.status == other.status).all() and found.count(av.Answer.VERIFIED)[0] > 0


def test_the_largest_norm_is_what_it_always_was():
    given = (*classifier_task(3), RADII)
    found = av.certify(*given)
    for norm in ("linf", np.inf):
        again = av.certify(*given, norm=norm)
        assert (again.status == found.status).all() and (again.lower == found.lower).all()
    assert found.norm == "linf" and "l1" not in repr(found)


@pytest.mark.parametrize(("norm", "name"), [(1, "l1"), (np.int64(2), "l2"), (2.0, "l2"), ("l2", "l2")])
def test_norms_have_names_and_numbers(norm, name):
    given = (*classifier_task(3, count=3), [0.1])
    found = av.certify(*given, norm=norm)
    assert found.norm == name and repr(found).splitlines()[1].split()[:2] == [name, "radius"]
    again = av.certify(*given, settings=av.CertifySettings(norm=norm))
    assert (again.lower == found.lower).all() and again.norm == name
    # The norm that is given by itself comes first.
    assert av.certify(*given, norm=norm, settings=av.CertifySettings(norm="linf")).norm == name


@pytest.mark.parametrize("norm", ["L2", 3, "2", True])
def test_unknown_norms_are_refused(norm):
    for call in (
        lambda: av.certify(*classifier_task(3), [0.1], norm=norm),
        lambda: av.CertifySettings(norm=norm),
    ):
        with pytest.raises(av.InputError, match=r"norm is .*'l1', 'l2', 'linf'.*1, 2, inf"):
            call()


def test_a_record_is_of_one_norm(tmp_path):
    given = (*classifier_task(3), RADII)
    for name in ("l2", "linf"):
        path = tmp_path / f"{name}.jsonl"
        chosen = av.CertifySettings(output=path)
        first = av.certify(*given, norm=name, settings=chosen)
        before = path.read_bytes()
        other = {"l2": "linf", "linf": "l1"}[name]
        with pytest.raises(av.InputError, match=f"norm is {name} there and {other} here"):
            av.certify(*given, norm=other, settings=chosen)
        assert path.read_bytes() == before
        header, *lines = lines_of(path)
        assert json.loads(header)["norm"] == name
        # Records of before there were other norms name none.
        old = {key: value for key, value in json.loads(header).items() if key != "norm"}
        path.write_text("\n".join([json.dumps(old), *lines, ""]))
        if name == "linf":
            assert (av.certify(*given, settings=chosen).status == first.status).all()
        else:
            with pytest.raises(av.InputError, match="norm is linf there and l2 here"):
                av.certify(*given, norm=name, settings=chosen)


def test_a_counterexample_of_a_record_must_lie_in_the_ball(tmp_path):
    path, task = tmp_path / "found.jsonl", classifier_task(3)
    chosen = av.CertifySettings(output=path, within=None)
    av.certify(*task, RADII, norm="l2", settings=chosen)
    header, *lines = lines_of(path)
    line = next(one for one in map(json.loads, lines) if one["status"] == "falsified" and one["radius"] > 0)
    image, radius = task[1][line["image"]], line["radius"]
    # In the box around the image, and outside the ball.
    corner = (image + np.float32(0.9 * radius)).astype(float).tolist()
    path.write_text(f"{header}\n{json.dumps(line | {'counterexample': corner})}\n")
    with pytest.raises(av.InputError, match=r"Line 2 .* is damaged"):
        av.certify(*task, RADII, norm="l2", settings=chosen)


def test_the_json_names_the_norm():
    found = av.certify(*classifier_task(3), RADII, norm=1)
    content = strict(json.dumps(CertifyRecord.of("net", found).json()))
    assert faults(CertifyRecord, content) == [] and content["norm"] == "l1"


def test_the_command_takes_a_norm(files, capsys):  # noqa: F811
    out = files / "out.json"
    assert main(command(files, "--norm", "l1", "--json", str(out), "--plot", str(files / "a.png"))) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1].startswith("l1 radius") and not shown.err
    assert (files / "a.png").read_bytes()[1:4] == b"PNG"
    content = json.loads(out.read_text())
    assert content["norm"] == content["provenance"]["options"]["norm"] == "l1"
    network = av.read_onnx(files / "net.onnx")
    with np.load(files / "set.npz") as given_set:
        found = av.certify(network, given_set, None, [0.1, 0.02], norm="l1")
    assert [row["verified"] for row in content["radii"]] == found.count(av.Answer.VERIFIED).tolist()
    with pytest.raises(SystemExit):
        main(command(files, "--norm", "l3"))
    assert "'l1', 'l2', 'linf'" in capsys.readouterr().err


def test_pictures_name_the_norm_and_how_far_inputs_are():
    pytest.importorskip("matplotlib")
    found = av.certify(*classifier_task(3, count=4), [0.4, 0.03], norm="l2")
    shown = smallest(found)
    titles = [text for ax in counterexample_figure(found).axes if (text := ax.get_title())]
    assert len(titles) == 3 * len(shown) >= 3
    for n, (one, radius) in enumerate(shown):
        change = one.input.astype(np.float64) - one.original
        assert one.distance == pytest.approx(np.sqrt(np.sum(change**2)), rel=1e-12) and one.distance <= radius
        assert titles[3 * n + 1] == f"class {one.prediction}, l2 radius {radius:g}"
        assert f"{one.distance:.3g}" in titles[3 * n + 2] or one.distance == 0


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_search_decides_what_bounds_leave_unknown(norm, arithmetic):
    network, images, labels = classifier_task(2, count=8)
    radii, plain = (
        (0.05, 0.1, 0.15, 0.2, 0.3),
        av.CertifySettings(bounds="interval", max_passes=0, arithmetic=arithmetic),
    )
    before = av.certify(network, images, labels, radii, norm=norm, settings=plain)
    found = av.certify(network, images, labels, radii, norm=norm, settings=replace(plain, search=20.0))
    unknown = before.status == av.Answer.UNKNOWN
    assert unknown.sum() > 3 and (found.status[~unknown] == before.status[~unknown]).all()
    left = found.count(av.Answer.UNKNOWN).sum()
    assert (left == 0 if arithmetic == "real" else left < unknown.sum()) and not found.count(av.Answer.TIMED_OUT).any()
    for (i, k), answer in np.ndenumerate(found.status):
        values = network(ball_points(norm, images[i].astype(np.float64), radii[k], (0.0, 1.0)))
        if answer is av.Answer.VERIFIED:
            assert (values[:, labels[i]] > np.delete(values, labels[i], axis=1).max(axis=1)).all()
        if answer is av.Answer.FALSIFIED:
            assert holds(norm, images[i], radii[k], (0.0, 1.0), found.counterexamples.item((i, k)).input)


NUMBERS = st.floats(-1.0, 1.0, width=32)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["l1", "l2", "linf"]),
    st.sampled_from([np.float32, np.float64]),
    st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from([0.0, 1.0, 0.3, 1e-3])), min_size=1, max_size=5),
    st.sampled_from([1e-30, 1e-6, 0.1, 1.0, 1e8]),
    st.sampled_from([1e-30, 1e-3, 1.0, 1e8]),
    st.booleans(),
)
def test_points_are_moved_exactly_inside(norm, dtype, rows, radius, scale, cut):
    columns = np.array(rows, dtype=np.float64)
    image = (scale * columns[:, 0]).astype(dtype)
    reach = radius * np.maximum(columns[:, 2], 1.0 if norm == "linf" else columns[:, 2])
    reach[0] = radius
    floor = np.minimum(image.astype(np.float64), -0.5 * scale) if cut else np.full(len(rows), -np.inf)
    ceiling = np.maximum(image.astype(np.float64), 0.25 * scale) if cut else np.full(len(rows), np.inf)
    near = Neighbourhoods.of(norm, image[None], np.array([radius]), reach[None], floor, ceiling)
    at = np.zeros(3, dtype=int), np.full(3, radius)
    points = image + radius * columns[:, 1] * np.array([[0.3], [1.0], [1e3]])
    found = near.inside(*at, points)
    assert found.dtype == dtype
    for point, given_point in zip(found, points, strict=True):
        assert holds(norm, image, reach, (floor, ceiling), point)
        assert near.holds(0, radius, point)
        again = near.inside(at[0][:1], at[1][:1], point[None])[0]
        # What lies inside hardly moves.
        spacing = np.spacing(np.maximum(np.abs(image), np.abs(point)))
        assert (np.abs(again.astype(float) - point) <= 2 * spacing + 1e-12 * np.abs(point - image)).all()
        if holds(norm, image, reach * (1 - 1e-9), (floor, ceiling), given_point):
            assert (np.abs(point - given_point) <= 2 * np.maximum(spacing, np.spacing(np.abs(given_point)))).all()
