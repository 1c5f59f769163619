"""What a search has shown, as a certificate that can be checked without it."""

from collections.abc import Sequence

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.bounds.preactivation import Derivation
from admm_verify.certificates.certificate import Certificate, Leaves, Tightening
from admm_verify.certificates.digests import network_digest, pair_digests, property_digest
from admm_verify.complete.splitter import Closed
from admm_verify.complete.tables import join
from admm_verify.network.graph import Network
from admm_verify.network.pair import PairedNetwork
from admm_verify.properties.query import Query

CAUTION = 4.0
"""How many times its rounding terms a bound must exceed zero by for a certificate: the checker has terms of its own."""


def tightenings(network: Network, derivation: Derivation) -> list[Tightening]:
    """The records of one block of tightened bounds, whose frames are the query's boxes."""
    steps, count = derivation.steps, derivation.steps.neurons.shape[1]
    records = []
    for frame, (box, neurons) in enumerate(zip(steps.frames, steps.neurons, strict=True)):
        columns, slopes = [], []
        for k, index in enumerate(network.activations):
            if k >= len(steps.slopes):
                columns.append(np.zeros(0, dtype=np.int32))
                continue
            size, kept = network.nodes[index].size, derivation.kept[k]
            own = np.arange(size) if kept is None else kept
            chosen = np.flatnonzero(to_numpy(steps.chosen[k])[frame, 0])
            side, entry = np.divmod(chosen, len(own))
            columns.append((own[entry] + side * size).astype(np.int32))
            slopes.append(to_numpy(steps.slopes[k])[frame][:, chosen].astype(np.float32))
        # Merged layers may leave no activation below a node.
        rows = np.concatenate([np.zeros((2 * count, 0), dtype=np.float32), *slopes], axis=-1)
        record = Tightening(
            int(box), derivation.node, neurons.astype(np.int32), tuple(columns), rows[:count], rows[count:]
        )
        records.append(record)
    return records


def certificate(
    proven: tuple[Query, str, tuple[int, ...]],
    kind: str,
    records: Sequence[Tightening],
    columns: Sequence[np.ndarray],
    closed: Sequence[Closed],
) -> Certificate:
    """The certificate of a search that has excluded every disjunct.

    proven: the query, the arithmetic, and the nodes of shares that were relaxed as softmaxes.
    Shapes: columns[k], the entries of activation k that the slopes of what is closed belong to.
    """
    query, arithmetic, shares = proven
    everything = join(list(closed))
    atoms = np.array([len(disjunct.atoms) for disjunct in query.property.disjuncts])
    sums = np.flatnonzero((everything.weights != 0).sum(axis=1) > 1)
    atom = everything.weights.argmax(axis=1)
    atom[sums] = atoms[everything.disjunct[sums]] + np.arange(len(sums))
    leaves = Leaves(
        everything.disjunct.astype(np.int32),
        atom.astype(np.int32),
        everything.splits.astype(np.int32),
        everything.beta,
        everything.slopes,
    )
    return Certificate(
        network_digest(query.network),
        property_digest(query.property),
        arithmetic,
        kind,
        tuple(records),
        tuple(places.astype(np.int32) for places in columns),
        leaves,
        everything.weights[sums],
        shares,
        pair_digests(query.network) if isinstance(query.network, PairedNetwork) else (),
    )
