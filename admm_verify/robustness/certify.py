"""`certify`: robustness of a classifier on many images and radii at once, by certified bounds and counterexamples."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.given import plain_array
from admm_verify.network.graph import Network, check_network
from admm_verify.options import callbacks, choice, file_path, instance, timeout_seconds
from admm_verify.robustness.certification import Certification
from admm_verify.robustness.instances import Instances, Within
from admm_verify.robustness.record import FORMAT, Record, digest
from admm_verify.robustness.search import CertifySettings, Search, Stage
from admm_verify.sets.box import range_ends
from admm_verify.splitting.loop import Clock

BOUNDS = ("interval", "crown", "tightened")

_PASSES, _TIGHTENED_PASSES = (30, 100), (50,)
"""Budgets of passes tried in turn after the bound before any iteration, with the first and with tightened bounds."""


def certify(
    network: Network,
    images: Array,
    labels: Array,
    radii: Sequence[float],
    within: Within | None = (0.0, 1.0),
    bounds: str = "tightened",
    output: str | Path | None = None,
    timeout: float | None = None,
    settings: CertifySettings | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Certification:
    """For every image x with label t and every radius r: does every input of the box around x give class t?

    The box is [x - r, x + r], cut with `within`. Verified: min over j != t of f_t - f_j over the box has a certified
    lower bound above 0. Falsified: the image, or an input of the box that the solver found, has f_j >= f_t for some
    other class when the network is computed in its element type. What holds at a radius holds at every smaller one,
    what fails at every larger one. Cheap bounds come first; only what stays open gets more.

    bounds: "crown"; "tightened" tightens the pre-activation bounds of what CROWN leaves open; "interval" for networks
    too large for either. output: a file that takes a JSON line per finished instance, block by block; with the same
    task it is read first, and only the rest is computed; several processes may share it. Where it
    cannot be written the result says so. progress(done, total, text): instances finished so far.
    timeout in seconds; stop: asked between blocks and inside the solver. What is open then is "timed-out".

    Shapes: images [images, *input_shape] or [images, inputs], rounded to the network's element type; labels [images],
    integers; within (lowest, highest), numbers or arrays of the input's shape, None for no cut.
    Units: radii in those of the images.
    Raises: InputError for anything that does not fit, or a file of another task; DeviceError; MemoryError when not even
    one image fits.
    """
    began = time.monotonic()
    chosen = CertifySettings() if settings is None else instance(settings, CertifySettings, "settings")
    choice(bounds, "The choice of bounds", BOUNDS)
    timeout = timeout_seconds(timeout)
    callbacks(("progress", progress), ("stop", stop))
    path = None if output is None else file_path(output, "The output", ", or None")
    check_network(network).check_finite()
    instances = Instances.of(network.put(Placement.numpy()), images, labels, radii, within)
    clock = Clock(None if timeout is None else began + timeout, stop)
    search = Search(instances, _plan(bounds, chosen), chosen, clock, progress)
    record = None if path is None else Record(path, _task(instances, within, bounds, chosen), instances)
    if record is not None:
        search.recall(record)
    search.run(record)
    found = search.findings
    seconds = time.monotonic() - began
    return Certification(instances.radii, found.answer, found.lower, found.correct, seconds, search.unwritten)


def _plan(bounds: str, settings: CertifySettings) -> list[Stage]:
    first = "crown" if bounds == "tightened" else bounds
    given = None if settings.max_passes is None else (settings.max_passes,)
    # Where bounds are to be tightened, that gains more than many passes before.
    passes = given or (_PASSES[:1] if bounds == "tightened" else _PASSES)
    plan = [Stage(first, 0), *(Stage(first, budget) for budget in passes)]
    if bounds == "tightened":
        plan += [Stage(bounds, budget) for budget in given or _TIGHTENED_PASSES]
    return list(dict.fromkeys(plan))


def _task(instances: Instances, within: Within | None, bounds: str, settings: CertifySettings) -> dict[str, Any]:
    """What makes two runs the same task."""
    network = instances.network
    graphs = network.nodes, (network.as_read or network).nodes
    ends = None if within is None else [to_numpy(plain_array(end, "range within")) for end in range_ends(within)]
    scalar = ends is not None and all(end.ndim == 0 for end in ends)
    return {
        "format": FORMAT,
        "network": digest((*graphs, network.input_shape, network.output_shape, network.element_type)),
        "images": digest((instances.images, instances.labels, instances.floor, instances.ceiling)),
        "radii": instances.radii.tolist(),
        "within": None if ends is None else [float(end) for end in ends] if scalar else "per pixel",
        "arithmetic": settings.arithmetic,
        "bounds": bounds,
        "method": settings.method,
        "max_passes": settings.max_passes,
    }
