"""Root bounds of auto_LiRPA on real networks: instances with its CROWN and alpha-CROWN bounds per row.

Sources: the MNIST network of `lp_instances` with the box cut with [0, 1], and the mnist_fc and oval21 benchmarks of
VNN-COMP. Rows: true minus other class. Bounds: auto_LiRPA 0.7.1 in float32, so that they hold up to rounding only.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from admm_verify.properties.rows import atom_rows
from problems.lp_instances import mnist_fc_instances, shared_folder


@dataclass(frozen=True, eq=False)
class PeerBound:
    """What auto_LiRPA found: bound [rows], and its CPU seconds on one thread of another machine."""

    bound: np.ndarray
    seconds: float


@dataclass(frozen=True, eq=False)
class CrownInstance:
    """Rows min objective f(x) over a box, and auto_LiRPA's bounds by the name of its variant.

    Variants: "CROWN"; "alphaN-fixedinterm", N iterations with the pre-activation bounds of CROWN;
    "alphaN-optinterm", N iterations that optimise those too.

    Shapes: objective [rows, outputs].
    """

    name: str
    network: av.Network
    box: av.Box
    objective: np.ndarray
    peers: Mapping[str, PeerBound]


def crown_instances(containing: str = "") -> tuple[CrownInstance, ...]:
    """The 31 instances, or those whose name contains a text.

    Raises: FileNotFoundError, naming the environment variable, where the shared data set is missing.
    """
    folder = shared_folder() / "baselines" / "crown_family"
    peers: dict[str, dict[str, Any]] = {}
    for entry in json.loads((folder / "bounds.json").read_text(encoding="utf-8")):
        if containing in entry["id"] and entry["error"] is None:
            peers.setdefault(entry["id"], {})[entry["method"]] = entry
    with open(folder / "instances.csv", newline="", encoding="utf-8") as file:
        files = {row["id"]: (folder / row["model"], folder / row["spec"]) for row in csv.DictReader(file)}
    boxes = _mnist_boxes()
    found = []
    for name, entries in peers.items():
        network, box = queried(*files[name]) if name in files else boxes[name]
        found.append(_instance(name, network, box, entries))
    return tuple(found)


def _instance(name: str, network: av.Network, box: av.Box, entries: Mapping[str, Any]) -> CrownInstance:
    rows = entries["CROWN"]["rows"]
    objective = np.zeros((len(rows), network.output_size))
    for k, (true, other) in enumerate(rows):
        objective[k, true], objective[k, other] = 1.0, -1.0
    peers = {
        method: PeerBound(np.asarray(entry["bound"]), entry["cpu_seconds_1thread"])
        for method, entry in entries.items()
        if entry["rows"] == rows
    }
    return CrownInstance(name, network, box, objective, peers)


def queried(model: Path, spec: Path) -> tuple[av.Network, av.Box]:
    """The network and the one box of a query."""
    query = av.read_query(spec, model)
    rows = atom_rows(query.property)
    shape = query.network.input_shape
    return query.network, rows.boxes.mapped(lambda end: np.reshape(end, shape))


def _mnist_boxes() -> dict[str, tuple[av.Network, av.Box]]:
    """The network and box of "mnist_deepsplit_fc/imgI/epsE"."""
    found = {}
    for instance in mnist_fc_instances():
        image = instance.name.split()[2]
        box = av.Box(np.maximum(instance.lower, 0.0), np.minimum(instance.upper, 1.0))
        found[f"mnist_deepsplit_fc/img{image}/eps{instance.eps}"] = (instance.network, box)
    return found
