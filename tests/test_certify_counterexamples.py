"""What `certify` keeps of what it falsifies, and what branch and bound does with what bounds leave unknown."""

import json
from dataclasses import replace

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import admm_verify as av
from admm_verify.complete.input_split import InputSplitter
from admm_verify.network.layers import network_from_layers
from admm_verify.report.records.certify import CertifyRecord
from admm_verify.robustness import search
from admm_verify.robustness.halving import Halving
from admm_verify.robustness.journal import JournalHeader, JournalLine
from admm_verify.run import Stopped
from admm_verify.schemas import object_schema
from tests.test_certify import RADII, classifier_task, lines_of
from tests.test_records import faults, strict


def misclassifies(network, image, label, radius, within, point):
    """Whether an input lies in the box in real numbers, and the network alone gives it another class."""
    change = point.astype(np.longdouble) - image.astype(np.longdouble)
    inside = (np.abs(change) <= radius).all() and (within is None or (point >= within[0]).all() <= within[1])
    values = network(point[None])[0]
    return bool(inside) and np.delete(values, label).max() >= values[label]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("within", [(0.0, 1.0), None])
def test_every_falsified_instance_has_a_counterexample(seed, within, tmp_path):
    network, images, labels = classifier_task(seed)
    settings = av.CertifySettings(within=within, output=tmp_path / "found.jsonl")
    found = av.certify(network, images, labels, RADII, settings=settings)
    again = av.certify(network, images, labels, RADII, settings=settings)
    content = strict(json.dumps(CertifyRecord.of("net", found).json()))
    assert faults(CertifyRecord, content) == []
    written = [json.loads(line) for line in lines_of(tmp_path / "found.jsonl")[1:]]
    assert any(one["counterexample"] for one in written)
    for (i, k), answer in np.ndenumerate(found.status):
        shown = found.counterexamples[i, k]
        assert (shown is None) == (answer is not av.Answer.FALSIFIED)
        stored = [one for one in written if (one["image"], one["radius"]) == (i, RADII[k])]
        entries = [one for one in content["images"][i]["counterexamples"] if RADII[k] in one["radii"]]
        if shown is None:
            assert not entries and stored[0]["counterexample"] is None
            continue
        points = [shown.input, again.counterexamples[i, k].input]
        points += [np.array(one["counterexample"], dtype=np.float32) for one in stored]
        points += [np.array(one["input"], dtype=np.float32) for one in entries]
        assert len(points) == 4
        for point in points:
            assert np.array_equal(point, shown.input)
            assert misclassifies(network, images[i], labels[i], RADII[k], within, point)
        assert shown.label == labels[i] and np.array_equal(shown.output, network(shown.input[None])[0])
        assert shown.prediction == stored[0]["prediction"] == entries[0]["prediction"] != labels[i]


def test_lines_keep_to_their_schema(tmp_path):
    settings = av.CertifySettings(output=tmp_path / "found.jsonl", search=1.0)
    av.certify(*classifier_task(2), RADII, settings=settings)
    header, *lines = [strict(line) for line in lines_of(tmp_path / "found.jsonl")]
    assert not list(Draft202012Validator(object_schema(JournalHeader)).iter_errors(header))
    for line in lines:
        assert not list(Draft202012Validator(object_schema(JournalLine)).iter_errors(line))


def test_a_counterexample_of_a_record_is_looked_at_again(tmp_path):
    path = tmp_path / "found.jsonl"
    task = classifier_task(3)
    settings = av.CertifySettings(output=path)
    whole = av.certify(*task, RADII, settings=settings)
    header, *lines = lines_of(path)
    number = next(n for n, line in enumerate(lines) if json.loads(line)["status"] == "falsified")
    line = json.loads(lines[number])
    outside = line | {"counterexample": [x + 1.0 for x in line["counterexample"]]}
    short, none = line | {"counterexample": line["counterexample"][1:]}, line | {"counterexample": None}
    inexact = line | {"counterexample": [0.1, *line["counterexample"][1:]]}
    for damaged in (outside, short, none, inexact):
        path.write_text(f"{header}\n{json.dumps(damaged)}\n")
        with pytest.raises(av.InputError, match=r"Line 2 .* is damaged"):
            av.certify(*task, RADII, settings=settings)
    # One that is none here, such as the image itself, counts for nothing.
    own = line | {"image": 0, "label": int(task[2][0]), "counterexample": task[1][0].astype(float).tolist()}
    path.write_text(f"{header}\n{json.dumps(own)}\n")
    again = av.certify(*task, RADII, settings=settings)
    assert (again.status == whole.status).all()


def hard_task():
    """Images of which plain bounds decide few."""
    network, images, labels = classifier_task(1, count=8)
    return (network, images, labels, (0.05, 0.1, 0.15, 0.2)), av.CertifySettings(bounds="interval", max_passes=0)


@pytest.mark.parametrize("together", [True, False])
def test_search_decides_what_bounds_leave_unknown(together, monkeypatch):
    if not together:
        monkeypatch.setattr(Halving, "suits", lambda *_: False)
    task, plain = hard_task()
    before = av.certify(*task, settings=plain)
    assert before.count(av.Answer.UNKNOWN).sum() > 5
    found = av.certify(*task, settings=replace(plain, search=20.0))
    assert not found.count(av.Answer.UNKNOWN).any() and not found.count(av.Answer.TIMED_OUT).any()
    network, images, labels, radii = task
    for (i, k), answer in np.ndenumerate(found.status):
        if before.status[i, k] is not av.Answer.UNKNOWN:
            assert answer is before.status[i, k]
        if answer is av.Answer.FALSIFIED:
            assert misclassifies(network, images[i], labels[i], radii[k], (0, 1), found.counterexamples[i, k].input)
        else:
            assert found.lower[i, k] >= 0
            box = av.Box.around(images[i].astype(np.float64), radii[k], (0.0, 1.0))
            points = np.random.default_rng(0).uniform(*box.range, (2000, images.shape[1]))
            values = network(points)
            assert (values[:, labels[i]] > np.delete(values, labels[i], axis=1).max(axis=1)).all()


def test_a_record_of_bounds_is_gone_on_with_by_search(tmp_path, monkeypatch):
    task, plain = hard_task()
    path = tmp_path / "found.jsonl"
    before = av.certify(*task, settings=replace(plain, output=path))
    count = len(lines_of(path))
    # Bounds are not computed again, and what is cut short is left for later.
    monkeypatch.setattr("admm_verify.splitting.row_bounds.solve", None)
    cut = av.certify(*task, settings=replace(plain, output=path, search=20.0), run=av.Run(timeout=0.0))
    unknown = before.status == av.Answer.UNKNOWN
    assert (cut.status[unknown] == av.Answer.TIMED_OUT).all() and len(lines_of(path)) == count
    monkeypatch.undo()
    searched = []
    monkeypatch.setattr(Halving, "suits", lambda *_: False)
    monkeypatch.setattr(search, "verify", lambda *given, **more: searched.append(1) or av.verify(*given, **more))
    found = av.certify(*task, settings=replace(plain, output=path, search=20.0))
    assert not found.count(av.Answer.UNKNOWN).any() and 0 < len(searched) <= unknown.sum()
    searched.clear()
    again = av.certify(*task, settings=replace(plain, output=path, search=20.0))
    assert (again.status == found.status).all() and not searched
    # Without search the record still says what it found.
    assert (av.certify(*task, settings=replace(plain, output=path)).status == found.status).all()


def test_what_was_searched_in_vain_is_searched_again_for_longer_only(tmp_path, monkeypatch):
    task, plain = hard_task()
    path, asked = tmp_path / "found.jsonl", []

    def in_vain(query, *, settings, run):
        asked.append(query.name)
        return av.verify(query, settings=settings, run=av.Run(timeout=0.0))

    monkeypatch.setattr(Halving, "suits", lambda *_: False)
    monkeypatch.setattr(search, "verify", in_vain)
    for seconds, some in ((1.0, True), (1.0, False), (0.5, False), (2.0, True), (1.5, False)):
        found = av.certify(*task, settings=replace(plain, output=path, search=seconds))
        assert found.count(av.Answer.UNKNOWN).any() and not found.count(av.Answer.TIMED_OUT).any()
        assert bool(asked) is some
        asked.clear()


def test_what_halving_cuts_short_is_left_for_later(tmp_path, monkeypatch):
    """Its answers are kept, and what it leaves goes to the search of each image."""
    task, plain = hard_task()
    path, left = tmp_path / "found.jsonl", []
    steps, step = [], Halving._step

    def few(self, *given):
        steps.append(1)
        if len(steps) > 2:
            raise Stopped
        return step(self, *given)

    monkeypatch.setattr(Halving, "_step", few)
    monkeypatch.setattr(search.ImageSearch, "search", lambda self, image, run: left.append(image))
    before = av.certify(*task, settings=plain)
    found = av.certify(*task, settings=replace(plain, output=path, search=20.0))
    decided = before.count(av.Answer.UNKNOWN).sum() - found.count(av.Answer.TIMED_OUT).sum()
    assert 0 < decided and left and left == sorted(set(left))
    monkeypatch.undo()
    again = av.certify(*task, settings=replace(plain, output=path, search=20.0))
    assert (again.status == av.certify(*task, settings=replace(plain, search=20.0)).status).all()


def test_halving_goes_on_with_less_where_memory_runs_out(monkeypatch):
    task, plain = hard_task()
    whole = av.certify(*task, settings=replace(plain, search=20.0))
    monkeypatch.setattr(Halving, "most", lambda *_: 3)
    step, failed = Halving._step, []

    def short(self, nodes, *given):
        if nodes is not None and self._batches.size > 4:
            failed.append(1)
            raise MemoryError
        return step(self, nodes, *given)

    monkeypatch.setattr(Halving, "_step", short)
    monkeypatch.setattr(search.ImageSearch, "search", None)
    found = av.certify(*task, settings=replace(plain, search=20.0))
    assert failed and (found.status == whole.status).all()


def test_halving_takes_as_many_boxes_as_memory_holds(monkeypatch):
    """From the first on: by the limit that is given, and where one is larger than what is there."""
    task, plain = hard_task()
    whole = av.certify(*task, settings=replace(plain, search=20.0))
    bounded, counts = InputSplitter._bounded, []

    def counted(self, nodes):
        counts.append(len(nodes.disjunct))
        if len(nodes.disjunct) > room:
            raise MemoryError
        return bounded(self, nodes)

    monkeypatch.setattr(InputSplitter, "_bounded", counted)
    monkeypatch.setattr(search.ImageSearch, "search", None)
    numbers = sum(node.size for node in task[0].nodes)
    for room, memory in ((2 * (task[0].output_size - 1), None), (10, 10.0 * 24 * 8 * numbers)):
        found = av.certify(*task, settings=replace(plain, search=20.0), run=av.Run(memory=memory))
        assert (found.status == whole.status).all()
        assert (max(counts) > room) == (memory is None)
        counts.clear()


def test_search_is_in_the_arithmetic_that_is_asked_for():
    # f_0 - f_1 = 1e-7 everywhere: more than nothing, less than rounding in float32 may take.
    weights = [np.zeros((2, 2)), np.eye(2)]
    network = network_from_layers(weights, [np.array([1.0, 1.0 - 1e-7]), np.zeros(2)])
    settings = av.CertifySettings(bounds="interval", max_passes=0, arithmetic="float32", search=1.0)
    found = av.certify(network, np.full((1, 2), 0.5), [0], [0.1], settings=settings)
    assert found.status[0, 0] is av.Answer.UNKNOWN
