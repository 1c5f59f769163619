"""`transfer_table`: adversarial examples of one network, tried on others."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.errors import InputError
from admm_verify.memory import memory_errors
from admm_verify.network.graph import Network
from admm_verify.network.onnx_files import ModelSource
from admm_verify.options import instance, shown
from admm_verify.robustness.certify import scores_of
from admm_verify.robustness.data_sets import images_and_labels
from admm_verify.robustness.images import CheckedImages
from admm_verify.robustness.minimal_distortion import Subjects
from admm_verify.robustness.settings import CertifySettings
from admm_verify.robustness.transferred import TransferSettings, TransferTable
from admm_verify.run import Run

_HALVINGS = 60
"""Steps to the factor that brings changes to a distortion: as many as float64 tells apart."""

_LARGEST = 2.0**40
"""Factor by which changes are magnified at most."""

_TOGETHER = 256
"""Points that a network computes at once."""


@memory_errors()
def transfer_table(
    networks: Mapping[str, Network | ModelSource] | Sequence[Network | ModelSource],
    inputs: Any,
    labels: Any,
    *,
    settings: TransferSettings | None = None,
    run: Run | None = None,
) -> TransferTable:
    """The error rates of every network on every other one's adversarial examples, those of `minimal_distortion`.

    Once with the examples x' as they are, and once magnified to one distortion: x + s (x' - x), cut to the range, with
    s >= 0 such that sqrt(sum_i (x''_i - x_i)^2 / n) is `settings.common`. Beside them the error rates on the images,
    and under noise of the same distortions.

    networks: by their names, or in a sequence by their own; of one input shape and number of classes. inputs, labels:
    as for `certify`. run: as for `minimal_distortion`; networks share the time that is left.
    Shapes: inputs [images, *input_shape] or [images, inputs]; labels [images], integers.
    Raises: InputError, ModelError as `minimal_distortion`, and InputError for networks that do not fit each other.
    Reference: Szegedy et al., Intriguing properties of neural networks, ICLR 2014, section 4.2.
    """
    began, run = time.monotonic(), Run.of(run)
    chosen = TransferSettings() if settings is None else instance(settings, TransferSettings, "settings")
    named = _named(networks, chosen)
    images, truth = images_and_labels(inputs, labels)
    subjects = [Subjects.of(network, images, truth, None, chosen.attack) for network, _ in named.values()]
    found = tuple(
        subject.attacked(run.within(1.0 / (len(subjects) - i)), note, time.monotonic())
        for i, (subject, (_, note)) in enumerate(zip(subjects, named.values(), strict=True))
    )
    rows = [np.flatnonzero(one.moved) for one in found]
    examples = [Distorted(own, _flat(one.points)[own]) for own, one in zip(rows, found, strict=True)]
    sizes = np.array([one.average for one in found])
    noisy = np.array([np.mean(sizes[np.isfinite(sizes)]) if np.isfinite(sizes).any() else 0.0, chosen.common])
    wild = np.random.default_rng(chosen.seed).standard_normal(subjects[0].images.images.shape)
    whole = Distorted(np.arange(len(wild)), subjects[0].images.images + wild)
    with quiet_overflow():
        own = [subject.images for subject in subjects]
        larger = [one.brought(images, chosen.common) for one, images in zip(examples, own, strict=True)]
        noises = [whole.brought(own[0], size) for size in noisy]
        errors = _rates(subjects, examples)
        # Examples were checked one by one; side by side with others they may be computed in another order.
        np.fill_diagonal(errors, np.where([len(one.rows) > 0 for one in examples], 1.0, np.nan))
        return TransferTable(
            tuple(named),
            found,
            _rates(subjects, [Distorted(whole.rows, own[0].images)])[0],
            np.array([len(one.rows) for one in examples]),
            sizes,
            errors,
            chosen.common,
            np.array([one.size(images) for one, images in zip(larger, own, strict=True)]),
            _rates(subjects, larger),
            noisy,
            _rates(subjects, noises),
            time.monotonic() - began,
        )


@dataclass(frozen=True, eq=False)
class Distorted:
    """Some of the images, distorted.

    Shapes: rows, their numbers, [m]; points [m, inputs].
    """

    rows: np.ndarray
    points: np.ndarray

    def brought(self, images: CheckedImages, distortion: float) -> "Distorted":
        """The same directions from the images, until the distortion is this one or as far as the range goes."""
        base = images.images[self.rows].astype(np.float64)
        way = self.points - base
        low, high = np.zeros((len(base), 1)), np.full((len(base), 1), _LARGEST)

        def moved(factor: np.ndarray) -> np.ndarray:
            return np.clip(base + factor * way, images.floor, images.ceiling)

        for _ in range(_HALVINGS):
            # Factors are looked for by their size, once they are known to be above one.
            middle = np.where(low >= 1.0, np.sqrt(low * high), 0.5 * (low + np.minimum(high, 2.0)))
            short = _root_mean_square(moved(middle) - base) < distortion
            low, high = np.where(short, middle, low), np.where(short, high, middle)
        return Distorted(self.rows, moved(high))

    def size(self, images: CheckedImages) -> float:
        """The mean distortion; NaN of nothing."""
        change = self.points - images.images[self.rows].astype(np.float64)
        return float(np.mean(_root_mean_square(change))) if len(change) else float("nan")


def _root_mean_square(change: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(change * change, axis=1, keepdims=True))


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def _rates(subjects: Sequence[Subjects], sets: Sequence[Distorted]) -> np.ndarray:
    """The error rate of every network on every set, [sets, networks]; NaN of an empty one."""
    return np.array([[_rate(subject, one) for subject in subjects] for one in sets])


def _rate(subject: Subjects, one: Distorted) -> float:
    """The share of points that a network does not give the label's class; those of another type are rounded."""
    images, wrong = subject.images, 0
    if not len(one.rows):
        return float("nan")
    for first in range(0, len(one.rows), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        points = np.clip(one.points[part].astype(images.images.dtype), images.lowest, images.highest)
        output = to_numpy(subject.network(points)).reshape(len(points), -1)
        right = (output.argmax(axis=1) == subject.labels[one.rows[part]]) & np.isfinite(output).all(axis=1)
        wrong += int(np.sum(~right))
    return wrong / len(one.rows)


def _named(given: object, settings: TransferSettings) -> dict[str, tuple[Network, str | None]]:
    """The networks of scores by their names, each with what was left out of it.

    Raises: InputError.
    """
    chosen = CertifySettings(within=settings.attack.within)
    if isinstance(given, Mapping):
        found = {str(name): scores_of(one, chosen) for name, one in given.items()}
        if len(found) < len(given):
            raise InputError(f"Two of the networks' names read alike: {shown(list(given))}; give each one of its own.")
    elif isinstance(given, Sequence) and not isinstance(given, str | bytes):
        found = {}
        for one in given:
            network, note = scores_of(one, chosen)
            names = (f"{network.name} #{number}" if number > 1 else network.name for number in count(1))
            found[next(name for name in names if name not in found)] = network, note
    else:
        raise InputError(f"The networks are {shown(given)}; give a sequence of them, or a mapping of names to them.")
    if not found:
        raise InputError("There are no networks; give at least one.")
    first_name, (first, _) = next(iter(found.items()))
    for name, (network, _) in found.items():
        if (network.input_shape, network.output_size) != (first.input_shape, first.output_size):
            raise InputError(
                f"{name} takes {network.input_shape} and has {network.output_size} classes, and {first_name} takes "
                f"{first.input_shape} and has {first.output_size}; give networks for the same images and classes."
            )
    return found
