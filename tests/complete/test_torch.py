"""The search on torch arrays, as a GPU runs it: the same answers as on NumPy's."""

import pytest
import torch

from admm_verify import Run, SearchSettings, VerifySettings
from admm_verify.arrays import Placement
from admm_verify.complete import decide
from admm_verify.complete.decide import Decision
from tests.test_proofs import case

HOME = Placement.of(torch.zeros(1, dtype=torch.float64))


def decided(query, settings):
    decision = Decision(query, VerifySettings(arithmetic="real", search=settings), Run())
    decision.decide()
    return decision.witness is not None, decision.open, decision.subproblems


@pytest.mark.parametrize("sides", [0, 20])
def test_torch_arrays_exclude_the_same(sides, monkeypatch):
    settings, query = SearchSettings(input_sides=sides), case(3, 1, share=0.1)
    expected = decided(query, settings)
    monkeypatch.setattr(decide, "iteration_placement", lambda *_: HOME)
    found = decided(query, settings)
    assert found[:2] == expected[:2] == (False, 0)
    assert found[2] > 1 and expected[2] > 1
