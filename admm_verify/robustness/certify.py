"""`certify`: robustness of a classifier on many images and radii at once, by certified bounds and counterexamples."""

import time
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from admm_verify.arrays import Placement, to_numpy
from admm_verify.backends.device import full_precision
from admm_verify.certificates.digests import arrays_digest, network_digest
from admm_verify.errors import InputError
from admm_verify.given import plain_array
from admm_verify.memory import memory_errors
from admm_verify.network.common_factors import summed_before_products
from admm_verify.network.from_onnx import read_onnx
from admm_verify.network.graph import Network, check_classifier
from admm_verify.network.heads import Head
from admm_verify.network.normalised import normalised
from admm_verify.network.onnx_files import ModelSource, is_model
from admm_verify.options import brief
from admm_verify.robustness.block import Stage
from admm_verify.robustness.certification import Certification
from admm_verify.robustness.certifier import Certifier
from admm_verify.robustness.counterexample import Counterexample
from admm_verify.robustness.data_sets import images_and_labels
from admm_verify.robustness.instances import Instances
from admm_verify.robustness.journal import FORMAT, Journal, JournalHeader
from admm_verify.robustness.settings import CertifySettings
from admm_verify.run import Run
from admm_verify.schemas import plain

_PASSES, _TIGHTENED_PASSES = (30, 100), (50,)
"""Budgets of passes tried in turn after the bound before any iteration, with the first and with tightened bounds."""


@memory_errors()
def certify(
    network: Network | ModelSource,
    images: Any,
    labels: Any,
    radii: Sequence[Any] | np.ndarray,
    *,
    norm: str | float | None = None,
    settings: CertifySettings | None = None,
    run: Run | None = None,
) -> Certification:
    """For every image x with label t and every radius r: does every input of the ball around x give class t?

    The ball is {z : |(z - x) / r|_p <= 1}, cut with `settings.within`: |z - x|_p <= r where r is one number. p is that
    of the norm, "l1", "l2" or "linf", also given as 1, 2 or inf; with "linf" the ball is the box [x - r, x + r].
    Verified: min over j != t of f_t - f_j over the ball has a certified lower bound above 0, or branch and bound has
    excluded that it is not above. Falsified: the image, or an input of the ball that was found, has f_j >= f_t for some
    other class when the network is computed in its element type; the result keeps that input, which lies in the ball
    exactly. What holds at a radius holds at every smaller one, what fails at every larger one. Cheap bounds come first;
    only what stays open gets more, and in the end branch and bound where `settings.search` allows it some time.

    network: also an ONNX file or ModelProto of one output. A softmax, an argmax or the like at its end is left out, as
    the result's note says: f are the scores before it. images: the array, or images and labels together, with None as
    labels: a mapping of the arrays images and labels, a torch DataLoader, or a Dataset of pairs.

    norm: comes before that of settings, which is "linf" by default. run: asked between blocks and inside the solver,
    and told of the instances finished so far. What is open once it is over is "timed-out".

    Shapes: images [images, *input_shape] or [images, inputs], rounded to the network's element type; labels [images],
    integers; radii [radii], or [radii, channels] or [radii, *input_shape] where channels or pixels may change by
    different amounts, those of r = 0 not at all.
    Units: radii in those of the images, before a normalisation by mean and std.
    Raises: InputError for anything that does not fit, or a file of another task; DeviceError; MemoryError when not even
    one image fits.
    """
    chosen = CertifySettings.of(settings, norm)
    scores, note = scores_of(network, chosen)
    scores.check_finite()
    images, labels = images_and_labels(images, labels)
    return certified(Instances.of(compared(scores, chosen), images, labels, radii, chosen), chosen, run, note)


def certified(
    instances: Instances,
    settings: CertifySettings,
    run: Run | None,
    note: str | None = None,
    shown: Sequence[Counterexample] = (),
) -> Certification:
    """`certify`, of instances that are checked, with what is to be said of their network.

    shown: inputs known to be of another class; no branch and bound is spent on balls that hold one. They change nothing
    of what bounds verify.
    """
    began, run = time.monotonic(), Run.of(run)
    certifier = Certifier(instances, _plan(settings), settings, run, shown)
    if settings.output is not None:
        certifier.recall(Journal(settings.output, _task(instances, settings), instances))
    with run.watching(), full_precision(certifier.home):
        certifier.certify()
    found, seconds = certifier.findings, time.monotonic() - began
    answers = found.answer, found.lower, found.correct, found.counterexamples
    kind = instances.near.norm
    return Certification(instances.radii, *answers, seconds, unwritten=certifier.unwritten, note=note, norm=kind)


def compared(scores: Network, settings: CertifySettings) -> Network:
    """A network of scores on the host, in the form in which its margins are bounded."""
    summed = settings.arithmetic == "real" and settings.bounds != "interval"
    return (summed_before_products(scores) if summed else scores).put(Placement.numpy())


def scores_of(given: Network | ModelSource, settings: CertifySettings) -> tuple[Network, str | None]:
    """The network whose outputs are compared, and what was left out of the one that was given, in words."""
    found = read_onnx(given) if isinstance(given, str | PathLike) or is_model(given) else check_classifier(given)
    if found.refused:
        raise InputError(found.refused)
    note = None
    if found.head is not None:
        if found.head.groups[1] != found.scores.output_size:
            raise InputError(f"{found.name} classifies several things at once; give one that names one class.")
        if not found.head.exact and settings.arithmetic != "real":
            raise InputError(
                f"{found.name} ends in {found.head.words}, which in {settings.arithmetic} arithmetic rounds: two "
                "classes may tie where their scores do not. Certify in real arithmetic, or the scores: network.scores."
            )
        _check_names(found.head, found.name)
        note = found.head.note(found.name)
    scores = found.scores
    return (scores if settings.mean is None else normalised(scores, settings.mean, settings.std)), note


def _check_names(head: Head, name: str) -> None:
    """Refuse a head with names of its own for the classes: labels would be read as others than they mean."""
    names = head.class_labels()
    if names != tuple(range(len(names))):
        raise InputError(
            f"{name} gives its classes the labels {brief(names)}, and labels of images are places of scores, counted "
            f"from 0. Give its scores (network.scores, or the output {head.source!r} by its name) with labels "
            "0, 1, ... instead, each the place of the class in that list."
        )


def _plan(settings: CertifySettings) -> list[Stage]:
    bounds = settings.bounds
    first = "crown" if bounds == "tightened" else bounds
    given = None if settings.max_passes is None else (settings.max_passes,)
    # Where bounds are to be tightened, that gains more than many passes before.
    passes = given or (_PASSES[:1] if bounds == "tightened" else _PASSES)
    plan = [Stage(first, 0), *(Stage(first, budget) for budget in passes)]
    if bounds == "tightened":
        plan += [Stage(bounds, budget) for budget in given or _TIGHTENED_PASSES]
    return list(dict.fromkeys(plan))


def _task(instances: Instances, settings: CertifySettings) -> dict[str, Any]:
    """What makes two runs the same task."""
    network, within = instances.network, settings.within
    ends = None if within is None else [to_numpy(plain_array(end, "range within")) for end in within]
    scalar = ends is not None and all(end.ndim == 0 for end in ends)
    header = JournalHeader(
        FORMAT,
        network_digest(network),
        arrays_digest(_numbers(instances)),
        instances.near.norm,
        instances.radii.tolist(),
        None if ends is None else [float(end) for end in ends] if scalar else "per pixel",
        settings.arithmetic,
        settings.bounds,
        settings.method,
        settings.max_passes,
    )
    return plain(header)


def _numbers(instances: Instances) -> list[np.ndarray]:
    """The arrays of the instances; how far pixels may change says nothing new where all may change by the radius."""
    near = instances.near
    arrays = [near.images, instances.labels, near.floor, near.ceiling]
    return arrays if near.reach.shape[1] == 1 else [*arrays, near.reach]
