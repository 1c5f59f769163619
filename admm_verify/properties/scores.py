"""Questions about a classifier's result as questions about its scores, where these have the same answer."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import prod

from admm_verify.errors import UnsupportedQueryError
from admm_verify.network.heads import Head
from admm_verify.properties.property import Atom, Disjunct, Property

MAX_ATOMS = 1_000_000
"""Atoms of the largest question about labels."""


def about_scores(asked: Property, head: Head, arithmetic: str, name: str) -> Property:
    """The same question about the scores before a head: satisfied by the same inputs, in the arithmetic given.

    A softmax and its like keep the order of a group's classes in real numbers, so that comparisons of two stay as they
    are; label and place of the largest become comparisons. name: of the network.
    Raises: UnsupportedQueryError for anything else, and for what rounding can tell from the scores.
    """
    if not head.exact and arithmetic != "real":
        raise UnsupportedQueryError(
            f"{name} ends in {head.words}, which in {arithmetic} arithmetic rounds: two scores can differ where their "
            f"results do not. Ask in real arithmetic, or about the scores{_by(head)}."
        )
    if head.places:
        return _about_labels(asked, head, name)
    for disjunct in asked.disjuncts:
        for atom in disjunct.atoms:
            _check_comparison(atom, head, name)
    return asked


def _check_comparison(atom: Atom, head: Head, name: str) -> None:
    """Refuse an atom that may hold for results but not for their scores, or the other way round."""
    terms = [(index, value) for index, value in atom.terms if value]
    if not terms and atom.of_outputs:
        return
    totals: dict[tuple[int, int], Fraction] = {}
    for index, value in terms:
        group = _group(head, index)
        totals[group] = totals.get(group, Fraction(0)) + value
    balanced = not any(totals.values()) and atom.of_outputs
    if balanced and (head.keeps_differences or (len(terms) == 2 and not atom.constant)):
        return
    where = f" on line {atom.line}" if atom.line else ""
    raise UnsupportedQueryError(
        f"{name} ends in {head.words}, and the constraint{where} is no comparison of two of its results: the scores "
        "alone do not tell whether it holds. Compare two outputs, "
        f"as in (<= Y_0 Y_1), or ask about the scores{_by(head)}."
    )


def _by(head: Head) -> str:
    """How to read the scores."""
    if not head.source:
        return ", with network.scores"
    return f", with output={head.source!r} (on the command line --output-name {head.source})"


def _group(head: Head, index: int) -> tuple[int, int]:
    """The group of a score that competes with others of it."""
    _, classes, inner = head.groups
    return index // (classes * inner), index % inner


def _about_labels(asked: Property, head: Head, name: str) -> Property:
    outer, classes, inner = head.groups
    found: list[Disjunct] = []
    atoms = 0
    for disjunct in asked.disjuncts:
        for made in _alternatives(disjunct, head, name):
            found.append(made)
            atoms += len(made.atoms)
            if atoms > MAX_ATOMS:
                raise UnsupportedQueryError(
                    f"The question about labels of {name} makes more than {MAX_ATOMS} comparisons of scores. Split it."
                )
    declared = asked.networks[0]
    variable = replace(declared.outputs[0], shape=(outer * classes * inner,))
    networks = (replace(declared, outputs=(variable,), hidden=()),)
    impossible = asked.impossible or ("" if found else f"no label of {name} fulfils the constraints")
    return Property(asked.version, networks, tuple(found), impossible)


def _alternatives(disjunct: Disjunct, head: Head, name: str) -> Iterator[Disjunct]:
    """The disjuncts over scores that hold together where one over labels does."""
    _, classes, inner = head.groups
    allowed: dict[int, list[int]] = {}
    labels = [Fraction(label) for label in head.class_labels()]
    for atom in disjunct.atoms:
        terms = [(index, value) for index, value in atom.terms if value]
        if len(terms) > 1 or not atom.of_outputs:
            what = "two labels" if atom.of_outputs else "a label with inputs, or products of labels,"
            raise UnsupportedQueryError(f"A constraint compares {what} of {name}; compare each with a number.")
        if not terms:
            if not atom.holds([]):
                return
            continue
        ((place, value),) = terms
        fitting = allowed.get(place, list(range(classes)))
        alone = Atom(((0, value),), atom.constant, atom.strict)
        allowed[place] = [k for k in fitting if alone.holds([labels[k]])]
    # Places that may have any label ask nothing.
    asking = {place: chosen for place, chosen in allowed.items() if len(chosen) < classes}
    if prod(len(chosen) for chosen in asking.values()) > MAX_ATOMS:
        raise UnsupportedQueryError(f"A constraint on labels of {name} leaves too many combinations. Split it.")
    for combination in product(*asking.values()):
        atoms = [
            atom
            for (place, chosen), best in zip(asking.items(), combination, strict=True)
            for atom in _beating(best, chosen, (place // inner * classes * inner + place % inner, inner), head)
        ]
        yield Disjunct(disjunct.box, tuple(atoms), disjunct.cut)


def _beating(best: int, chosen: Sequence[int], place: tuple[int, int], head: Head) -> Iterator[Atom]:
    """That the score of class `best` beats those of all classes that are not chosen, as an argmax decides.

    The label is a chosen one exactly where that holds for one of them: the first largest of the chosen ones, or the
    last. place: the index of the first class's score, and the step from class to class.
    """
    first, step = place
    rest = set(chosen)
    for other in range(head.groups[1]):
        if other not in rest:
            # Of equals, the first one is taken, or the last one.
            wins_ties = best > other if head.steps[-1] == "last_argmax" else best < other
            terms = ((first + other * step, Fraction(1)), (first + best * step, Fraction(-1)))
            yield Atom(terms, Fraction(0), not wins_ties)
