"""The file that is carried to a GPU machine: its records come back, and nothing in it is executed."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from benchmarks.gpu_cases import FILE, Cases
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
    (tmp_path / FILE).write_bytes(pickle.dumps(mine))
    found = Cases.found(tmp_path)
    x = np.array([0.25, 0.5])
    for key, instances in mine.instances.items():
        assert np.array_equal(found.instances[key][0].network(x), instances[0].network(x))
        assert np.array_equal(found.instances[key][0].objective, instances[0].objective)
    assert found.query.property == mine.query.property and np.array_equal(found.images, mine.images)
    assert found.task.name == mine.task.name and found.task.steps == mine.task.steps


def test_nothing_is_executed(tmp_path) -> None:
    made = tmp_path / "made"
    for content in (Trap(made), [cases(), Trap(made)]):
        (tmp_path / FILE).write_bytes(pickle.dumps(content))
        with pytest.raises(av.InputError, match=r"mkdir.*make it anew"):
            Cases.found(tmp_path)
        assert not made.exists()


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps(cases())[:-40], pickle.dumps({"query": 1})])
def test_other_files_are_refused(tmp_path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(av.InputError, match=r"holds no cases .*make it anew"):
        Cases.found(tmp_path)
