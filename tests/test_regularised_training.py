"""The table of regularised and adversarial training: what is committed shows the claims, and a small run does, too."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from experiments import regularised_training as experiment  # noqa: E402


def shows(found):
    """At least 30 points of attacked accuracy, and a fifth of the product for at most a point of clean accuracy."""
    return (
        found["attacked_points_gained"] >= 30 and found["product_divided_by"] >= 5 and found["clean_points_lost"] <= 1.0
    )


def test_the_committed_table_shows_the_claims():
    record = json.loads((experiment.RESULTS / "regularised_training.json").read_text(encoding="utf-8"))
    rows = record["rows"]
    assert list(rows) == list(experiment.WAYS) and experiment.claims(rows) == record["claims"]
    assert shows(record["claims"])
    for row in (one for means in rows.values() for one in means["seeds"]):
        assert row["global_attained"] <= row["global"] <= row["product"]
        assert row["local_attained"] <= row["local"] <= row["global"]
        for certified, attacked in zip(row["certified"], row["attacked"], strict=True):
            assert certified <= attacked <= row["clean"]
    text = experiment.shown(rows)
    assert all(name in text for name in rows)


@pytest.mark.slow
def test_a_small_run_shows_the_claims(monkeypatch, tmp_path):
    ways = {name: experiment.WAYS[name] for name in ("plain", "product of norms", "adversarial")}
    monkeypatch.setattr(experiment, "WAYS", ways)
    rows = dict(experiment.lines(1, 100))
    assert shows(experiment.claims(rows)), experiment.shown(rows)
    experiment.picture(rows, tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 1000
