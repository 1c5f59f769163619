"""Certificates with something changed, by chance or by somebody who wants a wrong proof accepted."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from admm_verify.certificates.certificate import Certificate, Leaves
from tests.certificates.provers import Rng


def _with(certificate: Certificate, name: str, change: Callable[[np.ndarray], object]) -> Certificate:
    """The certificate with one array of its leaves changed in place, or replaced."""
    array = getattr(certificate.leaves, name).copy()
    changed = change(array)
    return replace(certificate, leaves=replace(certificate.leaves, **{name: array if changed is None else changed}))


def _place(rng: Rng, array: np.ndarray) -> tuple[np.ndarray, ...]:
    """One entry, or a share of them."""
    if not array.size:
        return tuple(np.zeros(0, dtype=np.int64) for _ in array.shape)
    count = 1 if rng.random() < 0.5 else int(rng.integers(1, array.size + 1))
    return np.unravel_index(rng.integers(array.size, size=count), array.shape)


def _set(name: str, values: tuple[float, ...]) -> Callable[[Rng, Certificate], Certificate]:
    """Entries of an array become one of some values."""

    def mutate(rng: Rng, certificate: Certificate) -> Certificate:
        def change(array: np.ndarray) -> None:
            array[_place(rng, array)] = rng.choice(values)

        return _with(certificate, name, change)

    return mutate


def _flip_signs(rng: Rng, certificate: Certificate) -> Certificate:
    def change(array: np.ndarray) -> None:
        place = _place(rng, array)
        array[place] = -array[place]

    return _with(certificate, str(rng.choice(["splits", "beta", "slopes"])), change)


def _take(rng: Rng, certificate: Certificate, rows: np.ndarray) -> Certificate:
    part = {name: getattr(certificate.leaves, name)[rows] for name in ("goal", "atom", "splits", "beta", "slopes")}
    return replace(certificate, leaves=Leaves(**part))


def _drop(rng: Rng, certificate: Certificate) -> Certificate:
    rows = np.arange(len(certificate.leaves))
    return _take(rng, certificate, np.delete(rows, rng.integers(len(rows), size=int(rng.integers(1, 3)))))


def _double(rng: Rng, certificate: Certificate) -> Certificate:
    rows = np.arange(len(certificate.leaves))
    extra = rng.integers(len(rows), size=3)
    rows = np.concatenate([rows, extra]) if rng.random() < 0.5 else np.concatenate([rows[: -len(extra)], extra])
    return _take(rng, certificate, rows)


def _shuffle(rng: Rng, certificate: Certificate) -> Certificate:
    name = str(rng.choice(["goal", "atom", "splits", "beta", "slopes"]))
    return _with(certificate, name, lambda array: rng.permutation(array, axis=int(rng.integers(array.ndim))))


def _shorten(rng: Rng, certificate: Certificate) -> Certificate:
    """Only the first leaf stays, with less of its path."""
    kept = _take(rng, certificate, rng.integers(len(certificate.leaves), size=1))
    depth = int(rng.integers(0, kept.leaves.splits.shape[1] + 1))
    leaves = replace(kept.leaves, splits=kept.leaves.splits[:, :depth], beta=kept.leaves.beta[:, :depth])
    return replace(kept, leaves=leaves)


def _contradict(rng: Rng, certificate: Certificate) -> Certificate:
    """Every path splits its first choice again, with a large multiplier."""
    splits = certificate.leaves.splits
    if not splits.shape[1]:
        return _drop(rng, certificate)
    again = np.concatenate([-splits[:, :1], splits], axis=1)
    beta = np.concatenate([np.full((len(splits), 1), 1e6, np.float32), certificate.leaves.beta], axis=1)
    beta = beta if certificate.kind == "neuron" else np.zeros_like(beta)
    return replace(certificate, leaves=replace(certificate.leaves, splits=again, beta=beta))


def _columns(rng: Rng, certificate: Certificate) -> Certificate:
    columns = [column.copy() for column in certificate.columns]
    if not columns:
        return replace(certificate, columns=(np.zeros(0, dtype=np.int32),))
    k = int(rng.integers(len(columns)))
    if rng.random() < 0.3:
        columns[k] = np.append(columns[k], np.int32(rng.integers(50)))
    elif len(columns[k]):
        columns[k][int(rng.integers(len(columns[k])))] = rng.choice([0, 1, 7, 10_000, 2**31 - 1, -1])
    else:
        columns = columns[:-1]
    return replace(certificate, columns=tuple(columns))


def _tightening(rng: Rng, certificate: Certificate) -> Certificate:
    found = list(certificate.tightenings)
    if not found:
        return replace(certificate, arithmetic=str(rng.choice(["float32", "float16", "float64"])))
    k = int(rng.integers(len(found)))
    name = str(rng.choice(["box", "node", "neurons", "lower", "upper", "columns"]))
    if name in ("box", "node"):
        found[k] = replace(found[k], **{name: int(rng.choice([-1, 0, 1, 2, 3, 5, 99]))})
    elif name == "columns":
        found[k] = replace(found[k], columns=found[k].columns[::-1])
    else:
        array = getattr(found[k], name).copy()
        array[_place(rng, array)] = rng.choice([0, 1, 5, 1000])
        found[k] = replace(found[k], **{name: array})
    return replace(certificate, tightenings=tuple(found))


def _kind(rng: Rng, certificate: Certificate) -> Certificate:
    kind = "input" if certificate.kind == "neuron" else "neuron"
    beta = np.zeros_like(certificate.leaves.beta) if rng.random() < 0.7 else certificate.leaves.beta
    return replace(certificate, kind=kind, leaves=replace(certificate.leaves, beta=beta))


def _digest(rng: Rng, certificate: Certificate) -> Certificate:
    name = str(rng.choice(["network", "query"]))
    return replace(certificate, **{name: str(rng.choice(["", "0" * 64, certificate.network[::-1]]))})


MUTATIONS: tuple[Callable[[Rng, Certificate], Certificate], ...] = (
    _set("goal", (0, 1, 2, -1, 2**31 - 1)),
    _set("atom", (0, 1, -1, 100, 2**31 - 1)),
    _set("splits", (0, 1, -1, 2, -2, 3, 9, -9, 100, 2**31 - 1, -(2**31))),
    _set("beta", (0.0, 1.0, -1.0, 1e6, 1e38, float("inf"), float("nan"))),
    _set("slopes", (0.0, 1.0, -1.0, 0.5, 7.0, 1e38, float("inf"), float("nan"))),
    _flip_signs,
    _drop,
    _double,
    _shuffle,
    _shorten,
    _contradict,
    _columns,
    _tightening,
    _kind,
    _digest,
)


def mutated(rng: Rng, certificate: Certificate) -> Certificate:
    """The certificate after one to three random changes."""
    for _ in range(int(rng.integers(1, 4))):
        if not len(certificate.leaves) or not certificate.columns:
            return certificate
        certificate = MUTATIONS[int(rng.integers(len(MUTATIONS)))](rng, certificate)
    return certificate
