"""Pairs of networks of the shared data set, their boxes, and what NeuroDiff found out about them.

- `neurodiff_pairs`: the instances of the baselines, with the bounds that NeuroDiff has of the whole box, its time and
  its splits; `index.json` holds what its logs say.
- `published_pairs`: the instances of `data/differential/specs`, each with a truth that NeuroDiff proved or that a
  stored witness shows.
- `lookalikes`: ACAS networks with every weight disturbed, three boxes each, asked about every output.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from problems.lp_instances import shared_folder

SEPARATE = {
    "acas_1_1_p4": 0.783,
    "acas_1_1_p3": 1.19,
    "acas_1_1_p5": 108.0,
    "mnist3x100_400_p10": 22.2,
    "HAR_1000": 9.5,
}
"""Largest difference at the target output by CROWN bounds of both networks by themselves."""

JOINT_LP = {"acas_1_1_p4": 0.652, "acas_1_1_p3": 1.06, "acas_1_1_p5": 95.5, "mnist3x100_400_p10": 15.9, "HAR_1000": 3.0}
"""The same by the linear relaxation of both networks side by side, without variables for differences."""


@dataclass(frozen=True, eq=False)
class PairInstance:
    """Two networks, a box, the output that is compared (None for all), and by how much it may differ.

    truth: "unsat" where no input of the box shows a larger difference, "sat", or "unknown". sampled: the largest
    difference of sampled inputs. seconds, splits, whole_box: NeuroDiff's time, splits and largest difference of the box
    as a whole, the better one of its two kinds of bounds.
    Shapes: lower, upper [inputs].
    """

    name: str
    first: av.Network
    second: av.Network
    lower: np.ndarray
    upper: np.ndarray
    output: int | None
    epsilon: float
    truth: str
    sampled: float | None = None
    seconds: float | None = None
    splits: int | None = None
    whole_box: float | None = None

    @property
    def box(self) -> av.Box:
        """The inputs."""
        return av.Box(self.lower, self.upper)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The numbers of the outputs that are compared."""
        return tuple(range(self.first.output_size)) if self.output is None else (self.output,)

    def rival(self, figures: dict[str, float]) -> float | None:
        """The figure of a table for this instance, by the beginning of its name."""
        return next((value for key, value in figures.items() if f"{self.name}_".startswith(f"{key}_")), None)


def neurodiff_pairs() -> tuple[PairInstance, ...]:
    """The instances of the baselines. Raises: FileNotFoundError without the shared data set."""
    folder = shared_folder() / "baselines" / "differential"
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    found = []
    for row in index["rows"]:
        told = dict(zip(index["columns"], row, strict=True))
        name, bounds = told["instance"], [told["first_pass_bounds"], told["bounds_with_extra_variables"]]
        with np.load(folder / f"{name}.npz") as arrays:
            first, second = (_layers(arrays, f"W{i}_", f"b{i}_", f"{name} {i}") for i in (1, 2))
            found.append(
                PairInstance(
                    name,
                    first,
                    second,
                    arrays["lo"].astype(np.float64),
                    arrays["hi"].astype(np.float64),
                    int(told["output_index"]),
                    float(told["epsilon"]),
                    "unsat" if told["verified"] else "unknown",
                    None,
                    told["seconds"],
                    told["splits"],
                    min(max(map(abs, ends)) for ends in bounds if ends is not None),
                )
            )
    return tuple(found)


def published_pairs() -> tuple[PairInstance, ...]:
    """The instances of the published networks. Raises: FileNotFoundError without the shared data set."""
    folder = shared_folder() / "data" / "differential"
    networks: dict[str, av.Network] = {}
    found = []
    for path in sorted((folder / "specs").glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        for name in (told["net_a"], told["net_b"]):
            if name not in networks:
                with np.load(folder / name) as arrays:
                    networks[name] = _layers(arrays, "W", "b", Path(name).stem)
        ends, sampled = told["input_box"], told.get("sampled_difference")
        seconds = re.search(r'No adv!" in ([0-9.]+) s', told["truth_source"])
        found.append(
            PairInstance(
                path.stem,
                networks[told["net_a"]],
                networks[told["net_b"]],
                np.array(ends["lower"]),
                np.array(ends["upper"]),
                int(told["output_index"]),
                float(told["epsilon"]),
                told["truth"],
                None if sampled is None else max(abs(sampled["min"]), abs(sampled["max"])),
                None if seconds is None else float(seconds[1]),
            )
        )
    return tuple(found)


def lookalikes() -> tuple[PairInstance, ...]:
    """Disturbed ACAS networks and their queries' boxes. Raises: FileNotFoundError without the shared data set."""
    folder = shared_folder() / "data" / "differential" / "lookalikes"
    lines = (folder / "instances.csv").read_text(encoding="utf-8").split()
    networks: dict[str, av.Network] = {}
    found = []
    for line in lines[1:]:
        first, second, query, _, sampled, truth = line.split(",")
        for name in (first, second):
            if name not in networks:
                networks[name] = av.read_onnx(folder / name)
        lower, upper = _ends(folder / query)
        name = f"{second.removesuffix('.onnx.gz')} {query.removesuffix('.vnnlib')}"
        pair = networks[first], networks[second]
        found.append(PairInstance(name, *pair, lower, upper, None, 0.05, truth, float(sampled)))
    return tuple(found)


def _layers(arrays: np.lib.npyio.NpzFile, weight: str, bias: str, name: str) -> av.Network:
    depth = sum(key.startswith(weight) for key in arrays.files)
    weights = [arrays[f"{weight}{k}"] for k in range(depth)]
    return network_from_layers(weights, [arrays[f"{bias}{k}"] for k in range(depth)], name)


def _ends(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The box of a query of this data set."""
    text = path.read_text(encoding="utf-8")
    ends = [
        {int(i): float(number) for i, number in re.findall(rf"\({side} X_f\[(\d+)\] ([-0-9.]+)\)", text)}
        for side in (">=", "<=")
    ]
    lower, upper = (np.array([side[i] for i in range(len(side))]) for side in ends)
    return lower, upper
