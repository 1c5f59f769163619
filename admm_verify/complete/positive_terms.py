"""Networks with shares of sums, relaxed as softmaxes of logarithms where terms are positive and bounds gain by it."""

from collections.abc import Sequence

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.bounds.domains import defined
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.network.graph import Network
from admm_verify.network.shares import shares_in, with_logarithms
from admm_verify.properties.rows import AtomRows
from admm_verify.run import Run
from admm_verify.splitting.row_bounds import RowBounds

_TRIED_ALONE = 8
"""Nodes of shares up to which each is tried by itself where some terms may not be positive."""

_COMPARED = 16
"""Boxes whose rows tell which form has the better bounds."""


def as_softmaxes(
    network: Network, rows: AtomRows, arithmetic: str, run: Run, plain: bool
) -> tuple[Network, tuple[int, ...]]:
    """The network with its shares as softmaxes, as far as the logarithms are defined over all the sets, and which nodes
    of the graph as read these are: none where bounds of the rows are better without.

    plain: by bounds of neurons as the checker of certificates derives them. Raises: Stopped.
    """
    ratios, real = [shares.ratio for shares in shares_in(network)], arithmetic == "real"

    def bounds_of(form: Network) -> PreactivationBounds | None:
        """Bounds of a form's neurons, where all its functions are defined."""
        found = derived_bounds(form, rows.inputs, "crown", run, plain=plain)
        return found if defined(form, found).all() else None

    def written(chosen: Sequence[int]) -> tuple[Network, PreactivationBounds | None]:
        form = with_logarithms(network, chosen, real)
        return form, bounds_of(form)

    if not ratios or not len(rows.box):
        return network, ()
    form, bounds = written(ratios)
    if bounds is None:
        ratios = [one for one in ratios if len(ratios) <= _TRIED_ALONE and written([one])[1] is not None]
        form, bounds = written(ratios) if ratios else (network, None)
    if bounds is None:
        return network, ()
    plainly = bounds_of(network)
    if plainly is not None and _level(network, rows, plainly, run) >= _level(form, rows, bounds, run):
        return network, ()
    return form, tuple(ratios)


def _level(network: Network, rows: AtomRows, bounds: PreactivationBounds, run: Run) -> float:
    """The mean CROWN bound of the rows of some boxes, in real numbers."""
    known = RowBounds(network, rows.inputs, rows.objective, rows.offset, rows.box, bounds)
    return float(np.mean(to_numpy(known.solve(np.flatnonzero(rows.box < _COMPARED), "auto", 0, run).lower)))
