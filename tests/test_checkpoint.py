"""Searches that are killed and go on from a file."""

import shutil
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Query
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.vnnlib import parse_vnnlib

HEAD = "(vnnlib-version <2.0>)(declare-network f (declare-input X real [4])(declare-output Y real [1]))"
BOX = "".join(f"(assert (and (>= X[{i}] -1.0) (<= X[{i}] 1.0)))" for i in range(4))


def hard_network():
    rng = np.random.default_rng(5)
    sizes = (4, 24, 24, 1)
    weights = [rng.normal(size=pair[::-1]) for pair in pairwise(sizes)]
    return network_from_layers(weights, [rng.normal(size=size) for size in sizes[1:]])


NETWORK = hard_network()


def query(level):
    return Query("search", parse_vnnlib(f"{HEAD}{BOX}(assert (>= Y[0] {level}))"), NETWORK)


def largest():
    x = np.random.default_rng(0).uniform(-1, 1, size=(200_000, 4))
    return float(NETWORK(x).max())


LEVEL = round(1.1 * largest(), 3)


def test_the_query_needs_a_search():
    found = av.verify(query(LEVEL))
    assert found.verdict is av.Verdict.UNSAT and found.subproblems > 100


@pytest.mark.parametrize("limit", [1, 2, 30, 200])
def test_a_search_goes_on_from_its_file(limit, tmp_path):
    path = tmp_path / "search.npz"
    whole = av.verify(query(LEVEL))
    part = av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=limit, checkpoint=path))
    assert part.verdict is av.Verdict.UNKNOWN and path.exists() and part.lower <= 0
    rest = av.verify(query(LEVEL), settings=av.VerifySettings(checkpoint=path))
    assert rest.verdict is av.Verdict.UNSAT and rest.undecided == 0 and not path.exists()
    assert part.subproblems < rest.subproblems < 2 * whole.subproblems


def test_the_proven_bound_only_grows(tmp_path):
    path, bounds = tmp_path / "search.npz", []
    for limit in (1, 10, 40, 100):
        bounds.append(av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=limit, checkpoint=path)).lower)
    assert bounds == sorted(bounds) and bounds[-1] > bounds[0]


def test_a_file_of_another_query_is_refused(tmp_path):
    path = tmp_path / "search.npz"
    av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=1, checkpoint=path))
    with pytest.raises(av.InputError, match="another query"):
        av.verify(query(LEVEL + 1e-3), settings=av.VerifySettings(checkpoint=path))
    with pytest.raises(av.InputError, match="another query"):
        av.verify(query(LEVEL), settings=av.VerifySettings(arithmetic="float32", checkpoint=path))
    assert path.exists()


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "search.npz"
    av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=30, checkpoint=path))
    data = bytearray(path.read_bytes())
    for place in np.random.default_rng(0).integers(0, len(data), 20):
        broken = data.copy()
        broken[place] ^= 1
        path.write_bytes(bytes(broken))
        with pytest.raises(av.InputError, match="damaged"):
            av.verify(query(LEVEL), settings=av.VerifySettings(checkpoint=path))
    path.write_bytes(b"short")
    with pytest.raises(av.InputError, match="damaged"):
        av.verify(query(LEVEL), settings=av.VerifySettings(checkpoint=path))


def test_what_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(av.InputError, match="cannot be written"):
        av.verify(
            query(LEVEL), settings=av.VerifySettings(max_subproblems=1, checkpoint=tmp_path / "missing" / "search.npz")
        )
    with pytest.raises(av.InputError, match="folder"):
        av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=1, checkpoint=tmp_path))


def test_old_files_can_be_copied_and_continued_twice(tmp_path):
    path, copy = tmp_path / "search.npz", tmp_path / "copy.npz"
    av.verify(query(LEVEL), settings=av.VerifySettings(max_subproblems=30, checkpoint=path))
    shutil.copy(path, copy)
    verdicts = [av.verify(query(LEVEL), settings=av.VerifySettings(checkpoint=file)).verdict for file in (path, copy)]
    assert verdicts == [av.Verdict.UNSAT] * 2
