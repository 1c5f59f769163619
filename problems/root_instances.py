"""Instances for root bounds: those of `crown_family`, and more of VNN-COMP's that have no stored bounds.

Source: the benchmarks cifar10_resnet (resnet_2b), mnist_fc and oval21 of VNN-COMP, one box and 9 rows (true minus
other class) each.
"""

import csv

import numpy as np

import admm_verify as av
from admm_verify.properties.rows import atom_rows
from problems.crown_family import CrownInstance, crown_instances
from problems.lp_instances import shared_folder

CATEGORIES = ("vnncomp_oval21", "vnncomp_mnist_fc", "vnncomp_cifar10_resnet")


def root_instances(containing: str = "") -> tuple[CrownInstance, ...]:
    """The 45 instances, or those whose name contains a text; an instance without stored bounds has no peers.

    Raises: FileNotFoundError, naming the environment variable, where the shared data set is missing.
    """
    found = list(crown_instances(containing))
    known = {instance.name for instance in found}
    folder = shared_folder() / "data"
    with open(folder / "instances.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = row["id"].removeprefix("vnncomp/")
            if row["category"] in CATEGORIES and containing in name and name not in known:
                query = av.read_query(folder / row["spec"], folder / row["model"])
                found.append(_instance(name, query))
    return tuple(found)


def _instance(name: str, query: av.Query) -> CrownInstance:
    rows = atom_rows(query.property)
    if rows.boxes.count != 1 or rows.offset.any():
        raise ValueError(f"{name} has {rows.boxes.count} boxes, or rows with an offset.")
    shape = query.network.input_shape
    box = rows.boxes.mapped(lambda end: np.reshape(end, shape))
    return CrownInstance(name, query.network, box, rows.objective, {})
