"""Certificates as files: one compressed .npz with a header in JSON."""

import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from admm_verify.certificates.certificate import Certificate, Leaves, Tightening
from admm_verify.errors import CertificateError, InputError

_FORMAT = 2

_LEAVES = ("goal", "atom", "splits", "beta", "slopes")
_ARRAYS = (*_LEAVES, "columns", "neurons", "tightened", "lower", "upper", "combinations")


def write(certificate: Certificate, path: str | os.PathLike[str]) -> None:
    """Write a certificate; the file appears complete or not at all.

    Raises: CertificateError for a certificate that is none; InputError where the file cannot be written.
    """
    certificate.validate()
    found, leaves = certificate.tightenings, certificate.leaves
    header = {
        "format": _FORMAT,
        "network": certificate.network,
        "query": certificate.query,
        "arithmetic": certificate.arithmetic,
        "kind": certificate.kind,
        "columns": [len(column) for column in certificate.columns],
        "tightenings": [[t.box, t.node, len(t.neurons), [len(column) for column in t.columns]] for t in found],
    }
    arrays = {
        "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        **{name: getattr(leaves, name) for name in _LEAVES},
        "columns": _joined(certificate.columns, np.int32),
        "neurons": _joined([t.neurons for t in found], np.int32),
        "tightened": _joined([column for t in found for column in t.columns], np.int32),
        "lower": _joined([t.lower for t in found], np.float32),
        "upper": _joined([t.upper for t in found], np.float32),
        "combinations": certificate.combinations,
    }
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(part, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(part, target)
    except OSError as error:
        raise InputError(f"The certificate {target} cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> Certificate:
    """Read a certificate.

    Raises: CertificateError for a file that is none, or none of this version, with what is wrong.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            header = json.loads(content["header"].tobytes())
            arrays = {name: content[name] for name in _ARRAYS}
    except OSError as error:
        raise CertificateError(
            f"The certificate {os.fspath(path)} cannot be read: {error.strerror or error}."
        ) from error
    # Broken files make NumPy, zipfile and json raise what they do not document; none of it may get through.
    except Exception as error:
        raise CertificateError(f"The file {os.fspath(path)} is no certificate: {error}.") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise CertificateError(f"The file {os.fspath(path)} is no certificate of format {_FORMAT}.")
    try:
        certificate = _assembled(header, arrays)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise CertificateError(f"The parts of the certificate {os.fspath(path)} do not fit together.") from error
    certificate.validate()
    return certificate


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
    )


def _cut(array: np.ndarray, counts: Sequence[int]) -> list[np.ndarray]:
    """Consecutive parts of an array with one axis, whose lengths add up to its own."""
    if any(type(count) is not int or count < 0 for count in counts) or array.shape != (sum(counts),):
        raise ValueError("counts do not fit")
    ends = np.cumsum([0, *counts])
    return [array[first:last] for first, last in pairwise(ends)]
