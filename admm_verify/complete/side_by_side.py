"""Whether a question about two networks is bounded better with the differences of their neurons, or without."""

from dataclasses import replace

import numpy as np

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.complete.emptiness import without_contradictions
from admm_verify.memory import Budget
from admm_verify.network.graph import Network
from admm_verify.network.pair import PairedNetwork
from admm_verify.network.simplify import simplify
from admm_verify.properties.query import Query
from admm_verify.properties.rows import AtomRows, atom_rows
from admm_verify.run import Run, Stopped
from admm_verify.splitting.row_bounds import RowBounds

_ROWS = 64
"""Rows that are looked at, evenly spaced: more tell little more."""


def with_closer_network(query: Query, run: Run) -> Query:
    """The question about a joint network, or the same about both networks side by side: whose CROWN bounds of more rows
    are better over the whole sets. Itself where it is about no joint network, and once the run is over.

    Differences of neurons that are as wide as the neurons themselves only add to what is relaxed.
    """
    network = query.network
    if not isinstance(network, PairedNetwork) or network.as_read is None or not query.property.disjuncts:
        return query
    plain = replace(simplify(network.as_read), element_type=network.element_type)
    try:
        with run.watching():
            rows = atom_rows(query.property, Budget.of(run))
            if not len(rows.box):
                return query
            chosen = np.unique(np.linspace(0, len(rows.box) - 1, min(_ROWS, len(rows.box))).astype(np.int64))
            joint, apart = (_lower(one, rows, chosen, run) for one in (network, plain))
    except Stopped:
        return query
    better, worse = np.sum(joint > apart), np.sum(joint < apart)
    return query if better >= worse else replace(query, network=plain)


def _lower(network: Network, rows: AtomRows, chosen: np.ndarray, run: Run) -> np.ndarray:
    """CROWN bounds of some rows."""
    boxes, owner = np.unique(rows.box[chosen], return_inverse=True)
    inputs = rows.inputs.at(boxes)
    with quiet_overflow():
        # Nothing is known of empty sets yet, of which one network's bounds tell and the other's do not.
        bounds, _ = without_contradictions(network, inputs, derived_bounds(network, inputs, "crown", run), run)
        known = RowBounds(network, inputs, rows.objective[chosen], rows.offset[chosen], owner, bounds)
        return to_numpy(known.solve(np.arange(len(chosen)), "auto", 0, run).lower)
