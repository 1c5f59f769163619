"""`transfer_robustness`: what is certified of one network, carried over to another by their difference."""

import time
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, quiet_overflow, to_numpy
from admm_verify.bounds.preactivation import input_rows
from admm_verify.differential.difference import joined
from admm_verify.differential.staged import CROWN, staged_bounds, tightened
from admm_verify.errors import InputError
from admm_verify.given import float64_array, plain_array
from admm_verify.memory import memory_errors
from admm_verify.network.common_factors import summed_before_products
from admm_verify.network.graph import Network, check_classifier
from admm_verify.run import Run
from admm_verify.sets.contract import WalkableSet
from admm_verify.verdict import Answer

_PASSES = 50
"""Of slope ascent for what CROWN's bounds leave open."""


@dataclass(frozen=True, eq=False, repr=False)
class TransferredRobustness:
    """Margins of a second network, from those of a first one and from how the two differ.

    answer: VERIFIED where the second network gives class t on the whole set, else UNKNOWN or TIMED_OUT. margin: below
    min f_t - f_j over the set, for every class j; difference: below min (f' - f)_t - (f' - f)_j; lower: below
    min f'_t - f'_j, their sum. All certified, rounded downward, as good as needed for the answer; +inf for j = t.
    notes: where the networks are not compared layer by layer, and what is left out of them, and why.
    Shapes: answer [sets]; margin, difference, lower [sets, classes].
    """

    answer: np.ndarray
    margin: np.ndarray
    difference: np.ndarray
    lower: np.ndarray
    notes: tuple[str, ...]
    seconds: float

    def __repr__(self) -> str:
        counts = ", ".join(f"{int(np.sum(self.answer == one))} {one.value}" for one in Answer)
        return "\n".join(
            [f"Robustness by difference: {counts} of {len(self.answer)}; {self.seconds:.2f} s", *self.notes]
        )


@memory_errors()
def transfer_robustness(
    first: Network,
    second: Network,
    inputs: WalkableSet,
    labels: Array,
    *,
    margins: Array | None = None,
    run: Run | None = None,
) -> TransferredRobustness:
    """Robustness of a second network f' over sets of inputs, from that of a first one f and a bound of f' - f.

    min f'_t - f'_j >= min f_t - f_j + min ((f' - f)_t - (f' - f)_j) for every class j but the label t, at most
    2 max |f' - f| below the margin of f. What is certified of f once serves all of its compressed, pruned or retrained
    versions. A softmax or the like at the end of a classifier is left out.

    margins: certified lower bounds of min f_t - f_j over the sets, such as `Certification.lower` at one radius, which
    are believed; better ones are computed where these are too small, and all of them for None.
    Shapes: inputs of numbers [sets, *input_shape]; labels [sets], integers; margins [sets], or [sets, classes].
    Raises: InputError for what is no network, set or run, for networks of unequal inputs or outputs, for sets, labels
    and margins that do not fit; ModelError for weights that are not finite.
    """
    began, run = time.monotonic(), Run.of(run)
    pair = check_classifier(first), check_classifier(second)
    notes = [one.head.note(one.name) for one in pair if one.head is not None]
    first, second = (one.scores for one in pair)
    joint = joined(first, second)
    sets = input_rows(first, inputs).put(Placement.numpy())
    classes, label = first.output_size, _labels(labels, sets.count, first)
    given = _margins(margins, label, classes)
    others = np.array([[j for j in range(classes) if j != t] for t in label])
    identity, offset = np.eye(classes), np.zeros(classes - 1)
    rows = identity[label][:, None] - identity[others]
    apart = np.concatenate([np.zeros_like(rows), np.zeros_like(rows), rows], axis=2), offset
    together = summed_before_products(joint)
    with quiet_overflow():
        gap = staged_bounds(together, sets, apart, [CROWN], lambda lower: np.ones(lower.shape, dtype=bool), run)
        alone, efforts = summed_before_products(first.put(Placement.numpy())), [CROWN, tightened(_PASSES)]

        def short(found: np.ndarray) -> np.ndarray:
            return ~(np.maximum(found, given) + gap > 0)

        first_half = run.within(0.5)
        margin = np.maximum(given, staged_bounds(alone, sets, (rows, offset), efforts, short, first_half))
        cut = first_half.over()
        hopeful = (margin > 0).all(axis=1, keepdims=True) & ~(margin + gap > 0)
        better = staged_bounds(together, sets, apart, [tightened(_PASSES)], lambda lower: hopeful, run)
    gap = np.maximum(gap, better)
    lower = np.nextafter(margin + gap, -np.inf)
    answer = np.full(sets.count, Answer.TIMED_OUT if cut or run.over() else Answer.UNKNOWN, dtype=object)
    answer[(lower > 0).all(axis=1)] = Answer.VERIFIED
    margin, gap, lower = (_with_own(part, others, classes) for part in (margin, gap, lower))
    return TransferredRobustness(answer, margin, gap, lower, (*notes, *joint.notes), time.monotonic() - began)


def _with_own(part: np.ndarray, others: np.ndarray, classes: int) -> np.ndarray:
    """Numbers of the other classes, [sets, classes - 1], and infinite ones of the labels, [sets, classes]."""
    found = np.full((len(part), classes), np.inf)
    np.put_along_axis(found, others, part, axis=1)
    return found


def _labels(given: Array, count: int, network: Network) -> np.ndarray:
    """The labels of so many sets, [sets]."""
    raw, classes = to_numpy(plain_array(given, "labels")), network.output_size
    if classes < 2:
        raise InputError(f"{network.name} has {classes} output; a classifier has one per class.")
    if raw.dtype.kind not in "iu" or raw.reshape(-1).shape != (count,):
        raise InputError(
            f"The labels have shape {raw.shape} and type {raw.dtype}; give one integer for each of the {count} sets."
        )
    found = raw.reshape(-1).astype(np.int64)
    bad = np.flatnonzero((found < 0) | (found >= classes))
    if len(bad):
        raise InputError(f"Label {found[bad[0]]} of set {bad[0]} is no class; give integers 0 to {classes - 1}.")
    return found


def _margins(given: Array | None, label: np.ndarray, classes: int) -> np.ndarray:
    """The margins of every other class, [sets, classes - 1], -inf where none are given."""
    count = len(label)
    if given is None:
        return np.full((count, classes - 1), -np.inf)
    found = to_numpy(float64_array(given, "margins", Placement.numpy()))
    if found.shape not in ((count,), (count, classes)) or np.isnan(found).any():
        raise InputError(
            f"The margins have shape {found.shape}, or hold NaN; give a number for each set, [{count}], or one for "
            f"each class as well, [{count}, {classes}]."
        )
    if found.ndim == 1:
        return np.repeat(found[:, None], classes - 1, axis=1)
    return found[np.arange(classes) != label[:, None]].reshape(count, classes - 1)
