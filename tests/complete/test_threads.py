"""Blocks in threads of their own: the verdicts and bounds of one thread."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from admm_verify import Run, SearchSettings, preactivation_bounds
from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.input_split import InputSplitter
from admm_verify.complete.neuron_split import NeuronSplitter
from admm_verify.properties.rows import atom_rows
from tests.complete.networks import FAMILIES
from tests.complete.queries import WAYS
from tests.complete.truth import Asked, Drawn


@pytest.fixture
def two_workers(monkeypatch) -> None:
    for module in ("bounds.relaxed", "bounds.preactivation", "splitting.solve"):
        monkeypatch.setattr(f"admm_verify.{module}.workers_for", lambda *_: 2)


def near(seed: int, family: str) -> list[Asked]:
    """A query of one atom and one of several boxes."""
    wanted = ("single, 0.001", "boxes, -0.1")
    return [one for one in Drawn.of(family, seed).queries() if one.label in wanted]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_verdicts_of_two_workers_are_right(way: str, family: str, two_workers) -> None:
    for one in near(3, family):
        found = WAYS[way](one.query).verdict.value
        assert found == one.answer or (way == "neurons" and found == "unknown"), one.label


def splitters(one: Asked) -> list[InputSplitter | NeuronSplitter]:
    network, rows = one.query.network, atom_rows(one.query.property)
    sound = np.ones(len(rows.offset), dtype=bool)
    disjuncts = Disjuncts.of(rows, rows.offset, sound, list(range(len(rows.disjuncts))))
    home, settings = Placement.numpy(), SearchSettings(block_numbers=2**9)
    box = rows.box[disjuncts.row[:, 0]]
    pre = preactivation_bounds(network, rows.boxes)
    common = home, settings, Run()
    return [
        InputSplitter(network, disjuncts, *common),
        NeuronSplitter(network, disjuncts, (box, rows.boxes), pre, *common),
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_certified_bounds_do_not_depend_on_workers(family: str, monkeypatch) -> None:
    for one in near(5, family):
        for splitter in splitters(one):
            grown = []
            for workers in (1, 2, 3):
                name = "admm_verify.bounds.relaxed.workers_for"
                monkeypatch.setattr(name, lambda *_, workers=workers: workers)
                with quiet_overflow():
                    first = splitter.root().open
                    last = splitter.expand(first).open if len(first.disjunct) and first.splittable.all() else first
                grown.append((first, last))
            for first, last in grown[1:]:
                for other, alone in ((first, grown[0][0]), (last, grown[0][1])):
                    assert np.array_equal(other.disjunct, alone.disjunct)
                    np.testing.assert_allclose(other.bound, alone.bound, rtol=1e-4, atol=1e-4)


CODE = """
import json
from admm_verify.threads import WORKER_PASS, workers_for
from tests.complete.queries import WAYS
from tests.complete.truth import Drawn

found = [[workers_for(10 * WORKER_PASS)]]
for one in Drawn.of("dense", 3).queries():
    if one.label.startswith("single"):
        found.append([one.answer, WAYS["inputs"](one.query).verdict.value])
print(json.dumps(found))
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor")
def test_verdicts_where_blas_has_two_threads() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    # Every pass counts as large, so that blocks do run side by side.
    code = "import admm_verify.threads as t; t.WORKER_PASS = 1.0\n" + CODE
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    # The judge of these queries, HiGHS, says its name on the same stream first.
    (workers, *answers) = json.loads(done.stdout.splitlines()[-1])
    assert workers == [2]
    assert all(right == found for right, found in answers)
