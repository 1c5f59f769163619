"""What `benchmarks/gpu.sh` computes on, in one file that goes to a machine without the shared data set or onnx.

    python -m benchmarks.gpu_cases [--out carried] [--wheels]

Writes carried/cases.npz from the shared data set and, with `--wheels`, downloads to carried/wheels what Python 3.12
there may lack. The file holds records of this package (`benchmarks/records.py`), and is read by the same commit only.
"""

import argparse
import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import admm_verify as av
from admm_verify import Box, Network, NetworkSystem, Query, Task
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Input, Term
from admm_verify.network.maps import DenseMap
from admm_verify.network.selection import SelectionMap
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.sets.exact import ExactBox
from benchmarks.records import read_records, write_records
from problems.crown_family import CrownInstance, PeerBound, crown_instances
from problems.feedback import fitzhugh_nagumo
from problems.lp_instances import shared_folder
from problems.mnist_images import mnist_test

FILE = "cases.npz"
IMAGES = 1000
NETWORKS = {"MNIST FC": "mnist_deepsplit_fc", "OVAL base": "cifar_base_kw"}
SEARCHED = "cifar_base_kw-img2578"

WHEELS = ("array-api-compat", "threadpoolctl", "pytest", "hypothesis", "appdirs", "graphviz", "setuptools", "tqdm")
"""Of pure Python, so that unpacking them installs them; the last four are for auto_LiRPA."""

KINDS = (
    *(ConvolutionMap, DenseMap, SelectionMap, Term, Input, Affine, Activation, Network),
    *(Atom, Disjunct, NetworkDeclaration, Property, Variable, Query, Box, ExactBox),
    *(NetworkSystem, Task, CrownInstance, PeerBound),
)
"""All that a file of cases is made of."""


@dataclass(frozen=True, eq=False)
class Cases:
    """Boxes and rows of two networks, images of the first one with labels, a query to search, a system to enclose."""

    instances: dict[str, tuple[CrownInstance, ...]]
    images: np.ndarray
    labels: np.ndarray
    query: av.Query
    task: av.Task

    @classmethod
    def gathered(cls) -> "Cases":
        """From the shared data set. Raises: FileNotFoundError."""
        instances = {name: crown_instances(text) for name, text in NETWORKS.items()}
        folder = shared_folder() / "baselines" / "crown_family"
        with open(folder / "instances.csv", newline="", encoding="utf-8") as file:
            (row,) = (row for row in csv.DictReader(file) if SEARCHED in row["id"])
        query = av.read_query(folder / row["spec"], folder / row["model"])
        return cls(instances, *mnist_test(IMAGES), query, fitzhugh_nagumo(400))

    @classmethod
    def found(cls, carried: Path) -> "Cases":
        """From the file that was carried here, else from the shared data set.

        Raises: InputError where the file is none of cases; FileNotFoundError where there is neither.
        """
        path = carried / FILE
        if not path.is_file():
            return cls.gathered()
        reason = "it holds something else"
        try:
            found = read_records(path, {kind.__name__: kind for kind in (*KINDS, cls)})
            if isinstance(found, cls):
                return found
        except av.InputError as error:
            reason = str(error)
        raise av.InputError(f"{path} holds no cases ({reason}); make it anew: python -m benchmarks.gpu_cases.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Gather what benchmarks/gpu.sh needs on a machine without a network.")
    parser.add_argument("--out", type=Path, default=Path("carried"), help="folder, which git ignores")
    parser.add_argument("--wheels", action="store_true", help="download the wheels as well")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    write_records(options.out / FILE, Cases.gathered())
    print(f"{options.out / FILE}: {(options.out / FILE).stat().st_size / 1e6:.1f} MB")
    if options.wheels:
        place = ["--dest", str(options.out / "wheels"), "--python-version", "3.12", "--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", "download", "-q", *place, "--platform", "any", *WHEELS]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
