"""Seconds and memory that long queries take to be read: alternatives that fix most of many inputs, and of one input.

    python benchmarks/reader.py [--folder DIR] [--megabytes 33] [--alternatives 60000]

Both files are generated anew, from a seed; every one is read in a process of its own, whose peak memory that is.
Another revision is measured by PYTHONPATH=ITS_FOLDER, as nothing else of this one is imported.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TextIO

import numpy as np

INPUTS = 308
"""Of an estimator of cardinalities: two times eleven rows of fourteen."""


def cardinalities(path: Path, megabytes: float) -> int:
    """Write alternatives that fix all of 308 inputs but one, up to a size; how many they are."""
    rng, count = np.random.default_rng(0), 0
    with path.open("w", encoding="utf-8") as file:
        _declare(file, INPUTS)
        while file.tell() < 2**20 * megabytes:
            low = (rng.random(INPUTS) < 0.1).astype(float)
            low[rng.integers(INPUTS, size=2)] = rng.random(2)
            high = low.copy()
            free = rng.integers(INPUTS)
            low[free], high[free] = 0.0, 0.9999
            sides = zip(low.tolist(), high.tolist(), strict=True)
            ends = (f"(>= X_{i} {a!r}) (<= X_{i} {b!r})" for i, (a, b) in enumerate(sides))
            file.write(f"(and {' '.join(ends)} (<= Y_0 -1e-5))\n")
            count += 1
        file.write("))\n")
    return count


def keys(path: Path, count: int) -> int:
    """Write alternatives in pairs about consecutive ranges of one input, such as those of a learned index."""
    rng = np.random.default_rng(0)
    places, values = np.sort(rng.random(count + 1)), rng.random(count)
    with path.open("w", encoding="utf-8") as file:
        _declare(file, 1)
        for low, high, value in zip(places[:-1].tolist(), places[1:].tolist(), values.tolist(), strict=True):
            for end in (f"(<= Y_0 {value - 0.1:.12f})", f"(>= Y_0 {value + 0.1:.12f})"):
                file.write(f"    (and (>= X_0 {low:.17g}) (<= X_0 {high:.17g}) {end})\n")
        file.write("))\n")
    return 2 * count


def _declare(file: TextIO, inputs: int) -> None:
    names = [*(f"X_{i}" for i in range(inputs)), "Y_0"]
    file.writelines(f"(declare-const {name} Real)\n" for name in names)
    file.write("(assert (or\n")


def read(path: Path, inputs: int) -> None:
    """Read a query about a network of one layer, and print what that took."""
    import admm_verify as av
    from admm_verify.network.builder import Builder, Tensor
    from admm_verify.network.maps import DenseMap

    builder = Builder((inputs,))
    network = builder.finish(Tensor(builder.affine(builder.input, DenseMap(np.ones((1, inputs)))), (1,)), "sum")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    query = av.read_query(path, network)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{path.name}: {path.stat().st_size / 2**20:.0f} MB, {len(query.property.disjuncts)} alternatives, "
        f"{seconds:.2f} s, {(peak - before) / 2**10:.0f} MB more than {before / 2**10:.0f} MB"
    )


def main() -> None:
    """Generate both files and read them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are to stay; default: a temporary one")
    parser.add_argument("--megabytes", type=float, default=33.0, help="of the first file")
    parser.add_argument("--alternatives", type=int, default=60000, help="of the second file, in pairs")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(Path(options.read[0]), int(options.read[1]))
        return
    with tempfile.TemporaryDirectory() as own:
        folder = options.folder or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        cardinalities(folder / "cardinalities.vnnlib", options.megabytes)
        keys(folder / "keys.vnnlib", options.alternatives)
        for name, inputs in (("cardinalities", INPUTS), ("keys", 1)):
            command = [sys.executable, __file__, "--read", str(folder / f"{name}.vnnlib"), str(inputs)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
