"""The tables and the picture of pairs of networks: gone on with where they were left, and made of small parts here."""

import json
from functools import partial

import numpy as np

import admm_verify as av
from admm_verify.report.demo import load_digits
from experiments import differential
from problems import pairs


def test_rows_are_kept_and_gone_on_with(tmp_path, monkeypatch) -> None:
    made = []

    def work(name: str) -> dict:
        made.append(name)
        if name == "third" and len(made) == 3:
            raise KeyboardInterrupt
        return {"name": name}

    monkeypatch.setitem(
        differential.PARTS, "roots", lambda: [(n, partial(work, n)) for n in ("first", "second", "third")]
    )
    path = tmp_path / "roots.json"
    try:
        differential.measured("roots", path, again=False)
    except KeyboardInterrupt:
        pass
    assert list(json.loads(path.read_text())) == ["first", "second"]
    rows = differential.measured("roots", path, again=False)
    assert list(rows) == ["first", "second", "third"] and made == ["first", "second", "third", "third"]
    differential.measured("roots", path, again=True)
    assert made[-3:] == ["first", "second", "third"]


def test_a_row_of_digits_and_a_point_of_the_curves() -> None:
    data = load_digits()
    second = pairs.quantised(data.network)
    some = data.images[:2], data.labels[:2]
    row = differential.agreement(data.network, second, some[0], 0.005)
    assert sum(row["top1"].values()) == 2 and row["contradictions"] == 0
    own = differential.robust(data.network, *some, 0.005)
    row |= differential.carried(data.network, second, some, 0.005, own)
    assert row["carried"] <= row["second"] <= 2 and row["first"] == int(own.sum())
    twice = differential.summed({"int8, from image 0": row, "int8, from image 10": row})
    assert twice["int8"]["images"] == 20 and twice["int8"]["top1"]["verified"] == 2 * row["top1"]["verified"]
    point = differential.drift(data.network, second, av.Box.around(data.images[0], 0.001))
    assert 0 < point["attacked"] <= point["certified"] <= point["whole_box"] < point["apart"]
    assert "certified" in differential.told({"point": point})


def test_contradictions_are_counted() -> None:
    data = load_digits()
    other = pairs.noisy(data.network, 3.0)
    verified = np.ones(2, dtype=bool)
    assert differential.contradictions(data.network, other, data.images[:2], 0.01, verified) > 0
    assert differential.contradictions(data.network, other, data.images[:2], 0.01, ~verified) == 0


def test_the_picture_shows_every_network(tmp_path) -> None:
    row = {"apart": 2.0, "whole_box": 1.0, "certified": 0.5, "attacked": 0.4}
    names = [f"{name}, {point}" for name in ("a", "b") for point in ("sigma 0.1", "sigma 0.01", "bits 8", "bits 4")]
    differential.picture(dict.fromkeys(names, row), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
