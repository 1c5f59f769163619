"""Questions about labels and probabilities have the answers of the questions about scores that stand for them."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.heads import Head
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.properties.scores import about_scores
from admm_verify.sets.exact import ExactBox

BOX = ExactBox((Fraction(0),), (Fraction(1),))


def asked(outputs: int, *disjuncts: tuple[Atom, ...]) -> Property:
    declared = NetworkDeclaration("", (Variable("X", "real", (1,)),), (Variable("Y", "real", (outputs,)),))
    return Property((1, 0), (declared,), tuple(Disjunct(BOX, atoms) for atoms in disjuncts))


def atom(constant, strict, *terms):
    return Atom(tuple((index, Fraction(value)) for index, value in terms), Fraction(constant), strict)


def holds(found: Property, y) -> bool:
    exact = [Fraction(float(value)) for value in np.reshape(y, -1)]
    return any(disjunct.holds((Fraction(0),), exact) for disjunct in found.disjuncts)


@pytest.mark.parametrize("step", ["argmax", "last_argmax"])
@pytest.mark.parametrize("shape", [(1, 4, 1), (2, 3, 1), (1, 3, 2), (2, 2, 2)])
def test_labels_are_compared_scores(step, shape):
    rng = np.random.default_rng(sum(shape) + len(step))
    places = shape[0] * shape[2]
    seen = set()
    for _ in range(60):
        labels = None if rng.random() < 0.5 else tuple(rng.choice(20, shape[1], replace=False).tolist())
        head = Head((step,), shape, shape, labels)
        top = max(head.class_labels())
        disjuncts = []
        for _ in range(rng.integers(1, 3)):
            atoms = [
                atom(int(rng.integers(-top - 1, top + 2)), bool(rng.random() < 0.5), (rng.integers(places), sign))
                for sign in rng.choice([-1, 1, 2], rng.integers(1, 4)).tolist()
            ]
            disjuncts.append(tuple(atoms))
        question = asked(places, *disjuncts)
        posed = about_scores(question, head, "float32", "net")
        # Whole numbers, so that there are ties.
        for y in rng.integers(0, 3, (20, int(np.prod(shape)))).astype(np.float32):
            answer = holds(question, head.apply(y[None]))
            assert holds(posed, y) is answer
            seen.add(answer)
    assert seen == {True, False}


def test_comparisons_of_probabilities_are_those_of_scores():
    softmax = Head.along("softmax", (2, 3), 1)
    fine = asked(6, (atom(0, True, (0, 2), (2, -2)), atom(0, False, (3, 1), (5, -1))), (atom(-1, False),))
    assert about_scores(fine, softmax, "real", "net") is fine
    logarithms = Head.along("log_softmax", (2, 3), 1)
    margins = asked(6, (atom(1, False, (0, 1), (1, 1), (2, -2)), atom(3, False, (4, 1), (5, -1))))
    assert about_scores(margins, logarithms, "real", "net") is margins
    for wrong in (
        atom(0, False, (0, 1)),
        atom(-1, False, (0, 1), (1, -1)),
        atom(0, False, (0, 2), (1, -1)),
        atom(0, False, (0, 1), (1, 1), (2, -2)),
        # Of two samples.
        atom(0, False, (0, 1), (3, -1)),
    ):
        with pytest.raises(av.UnsupportedQueryError, match="Compare two outputs"):
            about_scores(asked(6, (wrong,)), softmax, "real", "net")
    with pytest.raises(av.UnsupportedQueryError, match="no comparison"):
        about_scores(asked(6, (atom(0, False, (0, 1), (3, -1)),)), logarithms, "real", "net")
    with pytest.raises(av.UnsupportedQueryError, match=r"float32 arithmetic.*output='logits'"):
        about_scores(fine, replace(softmax, source="logits"), "float32", "net")
    with pytest.raises(av.UnsupportedQueryError, match="two labels"):
        about_scores(asked(2, (atom(0, False, (0, 1), (1, -1)),)), Head.along("argmax", (2, 3), 1), "real", "net")


def test_a_label_that_no_class_has_is_impossible():
    head = Head.along("argmax", (1, 3), 1)
    posed = about_scores(asked(1, (atom(5, False, (0, 1)),)), head, "real", "net")
    assert posed.disjuncts == () and "no label of net" in posed.impossible
