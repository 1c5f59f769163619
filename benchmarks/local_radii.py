"""Radii at which margins over Lipschitz constants certify a class, beside those of `certify`: by bounds of CROWN.

A margin f_t - f_j stays positive wherever |x - x0| < margin(x0) / L, and L over the ball of a radius r counts up to r:
min(r, margin / L(r)) is certified for every r.
"""

import time
from typing import Any

import numpy as np

import admm_verify as av
from admm_verify.lipschitz.local_region import SteepRegion
from admm_verify.lipschitz.local_rows import AskedRows, row_bounds
from admm_verify.lipschitz.norms import DUAL
from admm_verify.run import Run
from admm_verify.sets.norm_names import NormName
from benchmarks.local_points import Twin, size_of
from benchmarks.robust_accuracy import subject

LARGEST: dict[NormName, float] = {"linf": 0.1, "l2": 2.0}
"""Radii that are not exceeded."""

ROUNDS = 3
"""Constants per image: the first at the radius of `certify`, where it is a number above 0."""

LESS = 1.0 - 1e-12
"""For the roundings of a quotient."""


def margins_of(network: av.Network, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The margins at x, at least."""
    values, off = Twin(network)(x.reshape(1, -1))
    return rows @ values[0] - np.abs(rows) @ off - 1e-12 * np.abs(rows) @ np.abs(values[0])


def at_radius(
    network: av.Network,
    x: np.ndarray,
    rows: np.ndarray,
    margins: np.ndarray,
    norm: NormName,
    radius: float,
    close: bool,
) -> float:
    """What constants over the ball of a radius certify, at most that radius; close: with the best multipliers."""
    ball = av.Box.around(x[None], radius) if norm == "linf" else av.Ball(x[None], radius)
    run = Run(threads=1)
    region = SteepRegion.of(network, ball, "crown", run)
    fast, best = (av.LocalLipschitzSettings(semidefinite=way, tolerance=0.02) for way in (False, True))
    upper = row_bounds(region, AskedRows(rows, None), norm, np.inf, fast, run).upper
    found = np.minimum(radius, margins / upper * LESS)
    # The least one counts, as long as closer constants raise it.
    tried = np.zeros(len(rows), dtype=bool)
    while close and found.min() < radius and not tried[k := int(np.argmin(found))]:
        tried[k] = True
        upper = row_bounds(region, AskedRows(rows[k : k + 1], None), norm, np.inf, best, run).upper[0]
        found[k] = max(found[k], min(radius, margins[k] / upper * LESS))
    return float(found.min())


def local_radius(network: av.Network, x: np.ndarray, label: int, norm: NormName, start: float, close: bool) -> float:
    """The largest radius found, from a start on between those that are certified and others."""
    rows = np.delete(np.eye(network.output_size)[label] - np.eye(network.output_size), label, axis=0)
    margins = margins_of(network, x, rows)
    if margins.min() <= 0:
        return 0.0
    least, most, radius = 0.0, np.inf, start
    for _ in range(ROUNDS):
        found = at_radius(network, x, rows, margins, norm, radius, close)
        least = max(least, found)
        most = min(most, radius) if found < radius else most
        radius = float(np.sqrt(least * most)) if np.isfinite(most) else 1.3 * radius
    return least


def measure(count: int, norm: NormName, close: bool) -> dict[str, Any]:
    """Radii of the first images, one norm."""
    net = subject("mnist_fc_deepsplit", count)
    images, labels = net.images.astype(np.float64).reshape(count, -1), net.labels
    rows = [np.delete(np.eye(10)[t] - np.eye(10), t, axis=0) for t in labels]
    began = time.process_time()
    chosen = av.LipschitzSettings(semidefinite=close, points=1, rounds=0)
    whole = av.lipschitz_constant(
        net.network, norm=norm, output_norm="l2", settings=chosen, run=av.Run(threads=1, timeout=60.0)
    ).upper
    spent = {"global": time.process_time() - began}
    margins = [margins_of(net.network, x, own) for x, own in zip(images, rows, strict=True)]
    steepest = [whole * size_of(own, DUAL["l2"]) for own in rows]
    by_global = [max(0.0, float(np.min(m / one) * LESS)) for m, one in zip(margins, steepest, strict=True)]
    began = time.process_time()
    settings = av.PolicySettings(search=None, bounds="crown", norm=norm, max_passes=0, tolerance=0.1)
    bisected = av.certified_radii(net.network, images, LARGEST[norm], settings=settings, run=av.Run(threads=1))
    spent["certify"] = time.process_time() - began
    began, ours = time.process_time(), []
    for x, label, start in zip(images, labels, bisected.certified, strict=True):
        ours.append(local_radius(net.network, x, int(label), norm, float(start) or 0.1 * LARGEST[norm], close))
        print(norm, len(ours) - 1, by_global[len(ours) - 1], ours[-1], float(start), flush=True)
    spent["local"] = time.process_time() - began
    return {
        "norm": norm,
        "best_multipliers": close,
        "global_constant": whole,
        "global": by_global,
        "local": ours,
        "certify": bisected.certified.tolist(),
        "falsified_at": bisected.attacked.tolist(),
        "classified_right": (bisected.actions == labels).tolist(),
        "processor_seconds": spent,
    }


def radii(count: int, close: bool) -> list[dict[str, Any]]:
    """In l2 and linf."""
    found = [measure(count, norm, close) for norm in ("l2", "linf")]
    for one in found:
        print(f"{one['norm']}: image, by the global constant, by local ones, by certify, falsified at")
        columns = zip(one["global"], one["local"], one["certify"], one["falsified_at"], strict=True)
        for k, row in enumerate(columns):
            print(k, *(f"{value:.5f}" for value in row))
    return found
