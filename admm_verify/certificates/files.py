"""Certificates as files: one compressed .npz with a header in JSON."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, Literal, cast

import numpy as np

from admm_verify.certificates.archive import Archive, ArrayKind
from admm_verify.certificates.certificate import Certificate, Leaves, Tightening
from admm_verify.certificates.kinds import checked_kind
from admm_verify.errors import CertificateError
from admm_verify.files import replaced
from admm_verify.memory import Budget
from admm_verify.network.graph import Network
from admm_verify.network.shares import shares_in, with_logarithms
from admm_verify.properties.property import Property
from admm_verify.run import Run
from admm_verify.schemas import json_text

_FORMAT, _PAIRED = 3, 4
"""Of certificates of one network, and of two: those of format 3 name planes of differences by other numbers."""


@dataclass(frozen=True)
class Manifest:
    """The header of a certificate: JSON in UTF-8, the bytes of its member `header`.

    network, query: SHA-256 of what was read. kind: what the leaves split. columns: how many slopes of a leaf belong to
    each activation. tightenings: of each the box, the node, how many of its neurons, and how many slopes of each
    belong to each activation. shares: nodes of the graph as read that are relaxed as softmaxes of logarithms; files
    without them have none. pair: SHA-256 of both networks and of how they are joined, for a query about two in one
    graph; none for other queries. format: 4 with a pair, else 3.
    """

    format: Literal[3, 4]
    network: str
    query: str
    arithmetic: Literal["real", "float32", "float64"]
    kind: Literal["neuron", "input"]
    columns: list[int]
    tightenings: list[tuple[int, int, int, list[int]]]
    shares: list[int] = field(default_factory=list)
    pair: list[str] = field(default_factory=list)


_ENTRIES = {entry.name for entry in fields(Manifest)}

_LEAVES = ("goal", "atom", "splits", "beta", "slopes")
_ARRAYS = (*_LEAVES, "columns", "neurons", "tightened", "lower", "upper", "combinations")
_INTEGERS, _FLOATS = np.dtype("<i4"), np.dtype("<f4")
_KINDS = {
    "header": ArrayKind(np.dtype("|u1"), 1),
    "goal": ArrayKind(_INTEGERS, 1),
    "atom": ArrayKind(_INTEGERS, 1),
    "splits": ArrayKind(_INTEGERS, 2),
    "beta": ArrayKind(_FLOATS, 2),
    "slopes": ArrayKind(_FLOATS, 2),
    "columns": ArrayKind(_INTEGERS, 1),
    "neurons": ArrayKind(_INTEGERS, 1),
    "tightened": ArrayKind(_INTEGERS, 1),
    "lower": ArrayKind(_FLOATS, 1),
    "upper": ArrayKind(_FLOATS, 1),
    "combinations": ArrayKind(_FLOATS, 2),
}

_UNPACKED = 2.0**30
"""Bytes that a certificate may unpack to unless more is allowed."""

_PARSED = 32
"""Bytes of Python objects that one byte of JSON can become."""


def write(certificate: Certificate, path: str | os.PathLike[str]) -> None:
    """Write a certificate; the file appears complete or not at all.

    Raises: CertificateError for a certificate that is none; OutputError where the file cannot be written.
    """
    certificate.validate()
    found, leaves = certificate.tightenings, certificate.leaves
    header = Manifest(
        _PAIRED if certificate.pair else _FORMAT,
        certificate.network,
        certificate.query,
        cast(Any, certificate.arithmetic),
        cast(Any, certificate.kind),
        [len(column) for column in certificate.columns],
        [(t.box, t.node, len(t.neurons), [len(column) for column in t.columns]) for t in found],
        list(certificate.shares),
        list(certificate.pair),
    )
    arrays = {
        "header": np.frombuffer(json_text(header).encode(), dtype=np.uint8),
        **{name: np.ascontiguousarray(getattr(leaves, name)) for name in _LEAVES},
        "columns": _joined(certificate.columns, np.int32),
        "neurons": _joined([t.neurons for t in found], np.int32),
        "tightened": _joined([column for t in found for column in t.columns], np.int32),
        "lower": _joined([t.lower for t in found], np.float32),
        "upper": _joined([t.upper for t in found], np.float32),
        "combinations": np.ascontiguousarray(certificate.combinations),
    }
    with replaced(path, "certificate") as file:
        np.savez_compressed(file, **arrays)


@dataclass(frozen=True)
class Extent:
    """What a certificate of one query can need at most: disjuncts, atoms of one, neurons, slopes of one bound."""

    disjuncts: int
    atoms: int
    neurons: int
    slopes: int

    @classmethod
    def of(cls, property: Property, network: Network) -> "Extent":
        """Of a query about a network."""
        # Shares take more functions where they are relaxed as softmaxes.
        ratios = [shares.ratio for shares in shares_in(network)]
        nodes = (
            [*network.functions, *with_logarithms(network, ratios, False).functions] if ratios else network.functions
        )
        atoms = max((len(disjunct.atoms) for disjunct in property.disjuncts), default=0)
        slopes = sum(checked_kind(node).sides * node.size for node in nodes)
        neurons = sum(node.operands * node.size for node in nodes)
        return cls(len(property.disjuncts), atoms, neurons, slopes)


def read(path: str | os.PathLike[str], run: Run | None = None, extent: Extent | None = None) -> Certificate:
    """Read a certificate; nothing is unpacked before its size is known and allowed.

    run: its memory limits the bytes that may be unpacked, by default to 1 GiB, and no more than half of what is free.
    extent: what the query can need, where that is known.

    Raises: CertificateError for a file that is none, none of this version, or too large, with what is wrong.
    """
    how = Run.of(run)
    name, limit = os.fspath(path), Budget.of(how).bytes
    limit = min(limit, _UNPACKED) if how.memory is None else limit
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            # A pipe would have us wait for whoever writes into it.
            raise CertificateError("it is no regular file")
        with open(path, "rb") as file:
            return _unpacked(Archive(file, _KINDS), limit, extent)
    except OSError as error:
        raise CertificateError(f"The certificate {name} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise CertificateError(f"Memory ran out for the certificate {name}; allow more of it.") from error
    # Broken files make zipfile and json raise what they do not document; none of it may get through.
    except Exception as error:
        reason = str(error).rstrip(".") if isinstance(error, CertificateError) else f"it is damaged ({error!r:.200})"
        raise CertificateError(
            f"The file {name} is no certificate of format {_FORMAT}, or {_PAIRED} of two networks: {reason}."
        ) from error


def _unpacked(archive: Archive, limit: float, extent: Extent | None) -> Certificate:
    sizes = {name: member.shape for name, member in archive.members.items()}
    if archive.bytes + _PARSED * sizes["header"][0] > limit:
        raise CertificateError(
            f"it unpacks to {archive.bytes / 2**30:.3g} GiB, more than the limit of {limit / 2**30:.3g} GiB; allow "
            "more memory if it is to be trusted"
        )
    header = json.loads(archive.array("header").tobytes())
    if not isinstance(header, dict) or header.get("format") != (_PAIRED if header.get("pair") else _FORMAT):
        other = header.get("format") if isinstance(header, dict) else None
        raise CertificateError(f"its header names the format {other!r:.40}; record the certificate again")
    header.setdefault("shares", [])
    header.setdefault("pair", [])
    if set(header) != _ENTRIES:
        raise CertificateError(f"its header must have the entries {', '.join(sorted(_ENTRIES))}")
    _check_sizes(header, sizes, extent)
    certificate = _assembled(header, {name: archive.array(name) for name in _ARRAYS})
    certificate.validate()
    return certificate


def _check_sizes(header: dict[str, Any], sizes: dict[str, tuple[int, ...]], extent: Extent | None) -> None:
    """Refuse shapes that do not fit together, or that no certificate of the query has."""
    (leaves,), width, rows = sizes["goal"], sum(header["columns"]), header["tightenings"]
    depth = sizes["splits"][1]
    spans = [(row[2], sum(row[3])) for row in rows]
    expected = {
        "atom": (leaves,),
        "splits": (leaves, depth),
        "beta": (leaves, depth),
        "slopes": (leaves, width),
        "columns": (width,),
        "neurons": (sum(count for count, _ in spans),),
        "tightened": (sum(columns for _, columns in spans),),
        "lower": (sum(count * columns for count, columns in spans),),
        "upper": (sum(count * columns for count, columns in spans),),
    }
    for name, shape in expected.items():
        if sizes[name] != shape:
            raise CertificateError(f"its member {name} has shape {sizes[name]} where {shape} fits the others")
    combinations, atoms = sizes["combinations"]
    # A binary tree has more leaves than its depth, and every combination is one leaf's.
    if (depth and depth >= leaves) or combinations > leaves:
        raise CertificateError(f"it has paths of depth {depth} and {combinations} combinations with {leaves} leaves")
    if extent is None:
        return
    deepest = extent.neurons if header["kind"] == "neuron" else depth
    if leaves > extent.disjuncts * 2**depth or depth > deepest or atoms > extent.atoms or width > extent.slopes:
        raise CertificateError(
            f"{leaves} leaves of depth {depth} with {width} slopes and combinations of {atoms} atoms are more than a "
            f"query of {extent.disjuncts} disjuncts with a network of {extent.neurons} neurons can need"
        )
    if any(columns > extent.slopes for _, columns in spans):
        raise CertificateError("one of its tightened bounds has more slopes than the network")


def _joined(arrays: Sequence[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *(array.reshape(-1) for array in arrays)])


def _assembled(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Certificate:
    rows = header["tightenings"]
    columns = iter(_cut(arrays["tightened"], [count for row in rows for count in row[3]]))
    sizes = [row[2] for row in rows]
    neurons = _cut(arrays["neurons"], sizes)
    spans = [size * sum(row[3]) for size, row in zip(sizes, rows, strict=True)]
    sides = [_cut(arrays[name], spans) for name in ("lower", "upper")]
    tightenings = []
    for (box, node, size, counts), entries, *ends in zip(rows, neurons, *sides, strict=True):
        own = tuple(next(columns) for _ in counts)
        lower, upper = (end.reshape(size, sum(counts)) for end in ends)
        tightenings.append(Tightening(box, node, entries, own, lower, upper))
    return Certificate(
        header["network"],
        header["query"],
        header["arithmetic"],
        header["kind"],
        tuple(tightenings),
        tuple(_cut(arrays["columns"], header["columns"])),
        Leaves(*(arrays[name] for name in _LEAVES)),
        arrays["combinations"],
        tuple(header["shares"]),
        tuple(header["pair"]),
    )


def _cut(array: np.ndarray, counts: Sequence[int]) -> list[np.ndarray]:
    """Consecutive parts of an array with one axis, whose lengths add up to its own."""
    if any(type(count) is not int or count < 0 for count in counts) or array.shape != (sum(counts),):
        raise ValueError("counts do not fit")
    ends = np.cumsum([0, *counts])
    return [array[first:last] for first, last in pairwise(ends)]
