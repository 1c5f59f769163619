"""What `benchmarks/gpu.sh` computes on, in one file that goes to a machine without the shared data set or onnx.

    python -m benchmarks.gpu_cases [--out carried] [--wheels]

Writes carried/cases.pickle from the shared data set and, with `--wheels`, downloads to carried/wheels what Python 3.12
there may lack. The file holds records of this package, and is read by the same commit only. Reading it makes these
records and nothing else: whoever hands such a file on can have nothing executed.
"""

import argparse
import csv
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import admm_verify as av
from problems.crown_family import CrownInstance, crown_instances
from problems.feedback import fitzhugh_nagumo
from problems.lp_instances import shared_folder
from problems.mnist_images import mnist_test

FILE = "cases.pickle"
IMAGES = 1000
NETWORKS = {"MNIST FC": "mnist_deepsplit_fc", "OVAL base": "cifar_base_kw"}
SEARCHED = "cifar_base_kw-img2578"

WHEELS = ("array-api-compat", "threadpoolctl", "pytest", "hypothesis", "appdirs", "graphviz", "setuptools", "tqdm")
"""Of pure Python, so that unpacking them installs them; the last four are for auto_LiRPA."""

RECORDS = {
    "admm_verify.network.convolution": ("ConvolutionMap",),
    "admm_verify.network.graph": ("Activation", "Affine", "Input", "Network", "Term"),
    "admm_verify.network.maps": ("DenseMap",),
    "admm_verify.network.selection": ("SelectionMap",),
    "admm_verify.properties.property": ("Atom", "Disjunct", "NetworkDeclaration", "Property", "Variable"),
    "admm_verify.properties.query": ("Query",),
    "admm_verify.reach.systems": ("NetworkSystem", "Task"),
    "admm_verify.sets.box": ("Box",),
    "admm_verify.sets.exact": ("ExactBox",),
    "benchmarks.gpu_cases": ("Cases",),
    "fractions": ("Fraction",),
    "numpy": ("dtype", "ndarray"),
    "numpy._core.multiarray": ("_reconstruct",),
    "problems.crown_family": ("CrownInstance", "PeerBound"),
}
"""All that a file of cases is made of, by module."""


class Reader(pickle.Unpickler):
    """Makes records of these kinds, and neither imports nor calls anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in RECORDS.get(module, ()):
            raise pickle.UnpicklingError(f"it wants {module}.{name}")
        return super().find_class(module, name)


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
        with open(path, "rb") as file:
            try:
                found = Reader(file).load()
                if isinstance(found, cls):
                    return found
            # Bytes that are no pickle are refused by errors of any kind.
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
        raise av.InputError(f"{path} holds no cases ({reason}); make it anew: python -m benchmarks.gpu_cases.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Gather what benchmarks/gpu.sh needs on a machine without a network.")
    parser.add_argument("--out", type=Path, default=Path("carried"), help="folder, which git ignores")
    parser.add_argument("--wheels", action="store_true", help="download the wheels as well")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    # A module that runs as a program has another name than the one that reads the file.
    from benchmarks.gpu_cases import Cases as Named

    with open(options.out / FILE, "wb") as file:
        pickle.dump(Named.gathered(), file)
    print(f"{options.out / FILE}: {(options.out / FILE).stat().st_size / 1e6:.1f} MB")
    if options.wheels:
        place = ["--dest", str(options.out / "wheels"), "--python-version", "3.12", "--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", "download", "-q", *place, "--platform", "any", *WHEELS]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
