"""`certify`: robustness of a classifier on many images and radii at once, by certified bounds and counterexamples."""

import time
from collections.abc import Sequence
from typing import Any

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.certificates.digests import arrays_digest, network_digest
from admm_verify.given import plain_array
from admm_verify.network.graph import Network, check_network
from admm_verify.options import instance
from admm_verify.robustness.certification import Certification
from admm_verify.robustness.certifier import Certifier, Stage
from admm_verify.robustness.instances import Instances
from admm_verify.robustness.journal import FORMAT, Journal, JournalHeader
from admm_verify.robustness.settings import CertifySettings
from admm_verify.run import Run
from admm_verify.schemas import plain

_PASSES, _TIGHTENED_PASSES = (30, 100), (50,)
"""Budgets of passes tried in turn after the bound before any iteration, with the first and with tightened bounds."""


def certify(
    network: Network,
    images: Array,
    labels: Array,
    radii: Sequence[float],
    *,
    settings: CertifySettings | None = None,
    run: Run | None = None,
) -> Certification:
    """For every image x with label t and every radius r: does every input of the box around x give class t?

    The box is [x - r, x + r], cut with `settings.within`. Verified: min over j != t of f_t - f_j over the box has a
    certified lower bound above 0, or branch and bound has excluded that it is not above. Falsified: the image, or an
    input of the box that was found, has f_j >= f_t for some other class when the network is computed in its element
    type; the result keeps that input. What holds at a radius holds at every smaller one, what fails at every larger
    one. Cheap bounds come first; only what stays open gets more, and in the end branch and bound where
    `settings.search` allows it some time.

    run: asked between blocks and inside the solver, and told of the instances finished so far. What is open once it is
    over is "timed-out".

    Shapes: images [images, *input_shape] or [images, inputs], rounded to the network's element type; labels [images],
    integers.
    Units: radii in those of the images.
    Raises: InputError for anything that does not fit, or a file of another task; DeviceError; MemoryError when not even
    one image fits.
    """
    began = time.monotonic()
    run = Run.of(run)
    chosen = CertifySettings() if settings is None else instance(settings, CertifySettings, "settings")
    check_network(network).check_finite()
    instances = Instances.of(network.put(Placement.numpy()), images, labels, radii, chosen.within)
    certifier = Certifier(instances, _plan(chosen), chosen, run)
    if chosen.output is not None:
        certifier.recall(Journal(chosen.output, _task(instances, chosen), instances))
    with run.watching():
        certifier.certify()
    found, seconds = certifier.findings, time.monotonic() - began
    answers = found.answer, found.lower, found.correct, found.counterexamples
    return Certification(instances.radii, *answers, seconds, certifier.unwritten)


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
        arrays_digest((instances.images, instances.labels, instances.floor, instances.ceiling)),
        instances.radii.tolist(),
        None if ends is None else [float(end) for end in ends] if scalar else "per pixel",
        settings.arithmetic,
        settings.bounds,
        settings.method,
        settings.max_passes,
    )
    return plain(header)
