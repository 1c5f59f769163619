"""`closest_counterexample`: the input nearest to a given one that fulfils a condition."""

import time

import numpy as np

from admm_verify.arrays import Array, Placement, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.memory import memory_errors
from admm_verify.nearest.conditions import Atoms, InputNearness
from admm_verify.nearest.distance import Distance, found_distance, searching
from admm_verify.nearest.search import NearSearch
from admm_verify.nearest.settings import DistanceSettings
from admm_verify.network.layout import flatten_batch
from admm_verify.options import instance
from admm_verify.properties.query import Query
from admm_verify.run import Ended, Run, Stopped


@memory_errors()
def closest_counterexample(
    query: Query,
    x: Array,
    *,
    timeout: float | None = None,
    settings: DistanceSettings | None = None,
    run: Run | None = None,
) -> Distance:
    """The least Euclidean distance from x of a counterexample: an input that the query's inputs and condition admit.

    min |y - x|_2 over the inputs y for which the condition holds of f(y), the closest input that changes a decision:
    certified from below (no input nearer than `lower` changes it) and attained from above, at the `input` of the
    result. For a classifier that says class k at x the condition is "y0 >= yk or y1 >= yk ..." without yk itself.
    Strict comparisons count as if they were not for the lower end, and the input fulfils them. All in real numbers,
    whatever arithmetic the query declares. The inputs are halved, part by part, until the gap is closed, so that they
    should be few of positive width; with more, the gap stays open, and both ends hold all the same.

    Shapes: x [*input_shape].
    Raises: InputError for what is no query, array of finite numbers, settings or run, and for a shape that does not
    fit; UnsupportedQueryError where a network's head does not let scores tell.
    Error: rounded outward.
    """
    began, run = time.monotonic(), Run.of(run, timeout)
    instance(query, Query, "The query", ", such as av.query(network, box, condition)")
    chosen = DistanceSettings() if settings is None else instance(settings, DistanceSettings, "settings")
    asked, query = query.network, query.about_outputs("real")
    network = query.network.put(Placement.numpy())
    network.check_finite()
    point = flatten_batch(to_numpy(float64_array(x, "point x")), network.input_shape, f"the input of {network.name}")
    if len(point) != 1 or not np.isfinite(point).all():
        raise InputError(f"The point x holds {len(point)} inputs, or NaN or infinite numbers; give one finite input.")
    disjuncts = query.property.disjuncts
    if not disjuncts:
        return Distance(np.inf, np.inf, None, None, None, Ended.CONVERGED, 0, time.monotonic() - began)
    with searching(network, run):
        try:
            atoms = Atoms.of(network, query.property, run)
        except Stopped:
            ended = run.ended() or Ended.TIMED_OUT
            return Distance(0.0, np.inf, None, None, None, ended, 0, time.monotonic() - began)
        search = NearSearch(InputNearness(network, atoms, disjuncts, point[0], chosen, run), chosen, run)
        status = search.decide()
    return found_distance(asked, search, status, network.input_shape, began)
