"""Queries of many disjuncts: every step before the search asks whether to stop, and nothing exceeds the memory."""

from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.property import Atom, Disjunct
from admm_verify.properties.rows import atom_rows
from tests.complete.queries import box_of, query_of

NETWORK = network_from_layers([np.eye(2), np.ones((1, 2))], [np.zeros(2), np.zeros(1)])


def atom(limit):
    """y <= limit."""
    return Atom(((0, Fraction(1)),), Fraction(-limit), strict=False)


def many(count, limit=-1):
    """Boxes of their own, over which y is between 0 and 2."""
    boxes = [box_of((0.0, 0.0), (1.0, 1.0 - i / (2 * count))) for i in range(count)]
    return query_of(NETWORK, [Disjunct(box, (atom(Fraction(limit)),)) for box in boxes])


def test_every_question_can_end_the_decision():
    query, asked = many(5000), []

    def stop(after):
        asked.append(after)
        return len(asked) > after

    assert av.verify(query, run=av.Run(stop=lambda: stop(10**9))).verdict is av.Verdict.UNSAT
    questions = len(asked)
    assert questions > 15
    for after in range(questions):
        asked.clear()
        outcome = av.verify(query, run=av.Run(stop=lambda after=after: stop(after)))
        # The last questions may come when all is known already.
        assert outcome.verdict is av.Verdict.UNKNOWN or after > questions - 3
        assert outcome.verdict is not av.Verdict.SAT and 0 <= outcome.undecided <= 5000


def test_boxes_that_do_not_fit_the_memory_are_refused_in_words():
    with pytest.raises(av.QueryError, match=r"5000 different input boxes.*Allow more"):
        av.verify(many(5000), run=av.Run(memory=1e6))
    assert av.verify(many(5000), run=av.Run(memory=1e9)).verdict is av.Verdict.UNSAT


def test_long_disjuncts_beside_many_short_ones_are_refused_in_words():
    box = box_of((0.0, 0.0), (1.0, 1.0))
    long = Disjunct(box, tuple(atom(-i) for i in range(1, 1001)))
    query = query_of(NETWORK, [long, *(Disjunct(box, (atom(-i),)) for i in range(1001, 2001))])
    with pytest.raises(av.QueryError, match="1001 disjuncts of at most 1000 atoms"):
        av.verify(query, run=av.Run(memory=4e6))
    assert av.verify(query, run=av.Run(memory=1e9)).verdict is av.Verdict.UNSAT


def test_padded_rows_repeat_the_last_and_mark_what_has_none():
    box = box_of((0.0, 0.0), (1.0, 1.0))
    atoms = [atom(i) for i in range(5)]
    parts = [Disjunct(box, tuple(atoms[:3])), Disjunct(box, ()), Disjunct(box, tuple(atoms[3:]))]
    rows = atom_rows(query_of(NETWORK, parts).property)
    assert rows.padded([0, 1, 2]).tolist() == [[0, 1, 2], [-1, -1, -1], [3, 4, 4]]
    assert rows.padded([2]).tolist() == [[3, 4]]
