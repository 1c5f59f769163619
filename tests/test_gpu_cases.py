"""The file that is carried to a GPU machine: its records come back, and nothing in it is executed."""

import json
import os
import pickle
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from benchmarks.gpu import PARTS
from benchmarks.gpu_cases import FILE, Cases
from benchmarks.records import read_records, write_records
from problems.crown_family import CrownInstance, PeerBound


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.folder,)


def cases() -> Cases:
    network = network_from_layers([np.eye(2), np.ones((2, 2))], [np.ones(2), np.zeros(2)])
    box = av.Box(np.zeros((1, 2)), np.ones((1, 2)))
    instance = CrownInstance("some", network, box, np.eye(2), {"CROWN": PeerBound(np.zeros(2), 0.5)})
    query = av.query(network, av.Box(np.zeros(2), np.ones(2)), "y0 >= 5 or y1 <= 0.3")
    task = av.Task("turn", av.NetworkSystem(network), av.Box(np.zeros(2), np.ones(2)), 2)
    return Cases({"some": (instance,)}, np.ones((1, 4)), np.zeros(1, dtype=np.int64), query, task)


def test_records_come_back(tmp_path) -> None:
    mine = cases()
    write_records(tmp_path / FILE, mine)
    found = Cases.found(tmp_path)
    x = np.array([0.25, 0.5])
    for key, instances in mine.instances.items():
        assert np.array_equal(found.instances[key][0].network(x), instances[0].network(x))
        assert np.array_equal(found.instances[key][0].objective, instances[0].objective)
    assert found.query.property == mine.query.property and np.array_equal(found.images, mine.images)
    assert found.task.name == mine.task.name and found.task.steps == mine.task.steps


def test_numbers_come_back_as_they_were(tmp_path) -> None:
    mine = (
        1,
        -0.1,
        True,
        None,
        "text",
        b"\x00\xff",
        Fraction(1, 3),
        [np.float32(0.1)],
        {2: frozenset({"a"})},
        np.ones(0),
    )
    write_records(tmp_path / FILE, mine)
    found = read_records(tmp_path / FILE, {})
    assert found[:-1] == mine[:-1] and type(found[7][0]) is np.float32 and found[-1].shape == (0,)
    with pytest.raises(TypeError, match="A Trap cannot be written"):
        write_records(tmp_path / FILE, Trap(tmp_path))


def test_nothing_is_executed(tmp_path) -> None:
    made = tmp_path / "made"
    (tmp_path / FILE).write_bytes(pickle.dumps(Trap(made)))
    with pytest.raises(av.InputError, match="make it anew"):
        Cases.found(tmp_path)
    np.savez(tmp_path / FILE, allow_pickle=True, tree=np.array([Trap(made)], dtype=object))
    with pytest.raises(av.InputError, match=r"allow_pickle=False.*make it anew"):
        Cases.found(tmp_path)
    for kind in ("mkdir", "Popen", "Trap"):
        tree = {"record": kind, "fields": {"path": str(made)}}
        np.savez(tmp_path / FILE, tree=np.frombuffer(json.dumps(tree).encode(), dtype=np.uint8))
        with pytest.raises(av.InputError, match=rf"KeyError: '{kind}'.*make it anew"):
            Cases.found(tmp_path)
    assert not made.exists()


def written(folder: Path, thing: object) -> bytes:
    write_records(folder / FILE, thing)
    return (folder / FILE).read_bytes()


@pytest.mark.parametrize("kind", ["empty", "garbage", "short", "other"])
def test_other_files_are_refused(tmp_path, kind: str) -> None:
    whole, other = written(tmp_path, cases()), written(tmp_path, {"query": 1})
    content = {"empty": b"", "garbage": b"garbage", "short": whole[:-40], "other": other}[kind]
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(av.InputError, match=r"holds no cases .*make it anew"):
        Cases.found(tmp_path)


def test_limits_of_parts_fit_into_the_whole() -> None:
    script = (Path(__file__).parents[1] / "benchmarks" / "gpu.sh").read_text()
    limits = dict(re.findall(r"(?:part|bench) (\w+) \$\(\((\d+) \* slower\)\)", script))
    (whole,) = re.findall(r"^whole=\$\(\((\d+) \* slower\)\)$", script, re.MULTILINE)
    assert set(limits) == {"tests", "verbs", *PARTS}
    assert sum(map(int, limits.values())) <= int(whole) < 480
