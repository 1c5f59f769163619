"""Whether what a certificate speaks of is there: disjuncts, atoms, nodes, entries, inputs and neurons."""

import numpy as np

from admm_verify.certificates.certificate import Certificate
from admm_verify.certificates.kinds import CHECKED_KINDS
from admm_verify.certificates.ranges import CheckedNetwork
from admm_verify.errors import CertificateError
from admm_verify.network.graph import Network
from admm_verify.properties.property import Property


def check_places(certificate: Certificate, property: Property, model: CheckedNetwork, network: Network) -> None:
    """Refuse entries that are not there, and disjuncts without leaves.

    model: the network that is bounded, of which the certificate's numbers of nodes are in `network`.
    Raises: CertificateError.
    """
    leaves, disjuncts = certificate.leaves, property.disjuncts
    bare = np.setdiff1d(np.arange(len(disjuncts)), leaves.goal)
    if len(bare):
        raise CertificateError(f"Disjunct {bare[0]} has no leaf.")
    if (leaves.goal >= len(disjuncts)).any():
        raise CertificateError("A leaf is of a disjunct that the query does not have.")
    atoms = np.array([len(disjunct.atoms) for disjunct in disjuncts], dtype=np.int64)
    if (leaves.atom >= atoms[leaves.goal] + len(certificate.combinations)).any():
        raise CertificateError("A leaf is of an atom or a combination that is not there.")
    _check_columns(model, "leaves", certificate.columns)
    for number, found in enumerate(certificate.tightenings):
        node = network.affine.get(found.node)
        if node is None or (found.neurons >= node.size).any():
            raise CertificateError(f"Tightening {number} is of entries that no affine node has.")
        _check_columns(model, f"tightening {number}", found.columns)
    codes = abs(leaves.splits.astype(np.int64))
    if certificate.kind == "input":
        if (codes > network.input_size).any():
            raise CertificateError("A leaf halves an input that the network does not have.")
        return
    pairs = zip(model.kinds, model.network.functions, strict=True)
    kinked = [np.full(kind.operands * node.size, kind.kinked) for kind, node in pairs]
    allowed = np.concatenate([np.ones(1, dtype=bool), *kinked])
    if (codes >= len(allowed)).any() or not allowed[codes].all():
        names = ", ".join(name for name, kind in CHECKED_KINDS.items() if kind.kinked)
        raise CertificateError(f"A leaf fixes the sign of what is no neuron of the kinds {names}.")
    ordered = np.sort(codes, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)).any():
        raise CertificateError("A leaf fixes the sign of one neuron twice.")


def _check_columns(model: CheckedNetwork, name: str, columns: tuple[np.ndarray, ...]) -> None:
    sizes = [kind.sides * node.size for kind, node in zip(model.kinds, model.network.functions, strict=True)]
    if len(columns) != len(sizes) or any((c >= size).any() for c, size in zip(columns, sizes, strict=True)):
        raise CertificateError(f"The columns of {name} do not fit the network's activations.")
