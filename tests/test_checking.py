"""That calls of nouns, sets, relaxations, bounds and verbs hand over arrays as their annotations say.

The checks are on where ADMM_VERIFY_CHECK_ARRAYS is set, which the first test does for processes of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from admm_verify.arrays import Array, namespace
from admm_verify.backends.verbs import ArrayVerbs
from admm_verify.relaxations.triangle import Triangle

REASON = "arrays are not checked in calls: pip install jaxtyping beartype"
TypeCheckError = pytest.importorskip("jaxtyping", reason=REASON).TypeCheckError
pytest.importorskip("beartype", reason=REASON)

ROOT = Path(__file__).parents[1]
CHECKED = bool(os.environ.get("ADMM_VERIFY_CHECK_ARRAYS"))
only_checked = pytest.mark.skipif(not CHECKED, reason="runs in the process that checks arrays")


@pytest.mark.skipif(CHECKED, reason="runs the others")
@pytest.mark.parametrize(
    "rooms",
    [
        ("tests/test_checking.py", "tests/sets/test_box.py"),
        pytest.param(
            (
                "tests/sets/test_contraction.py",
                "tests/laws/test_bilinear.py",
                "tests/laws/test_kinds.py",
                "tests/laws/test_maps.py",
                "tests/laws/test_triangle.py",
                "tests/bounds/test_conditional.py",
            ),
            marks=pytest.mark.slow,
        ),
        pytest.param(("tests/backends/test_verbs.py", "tests/splitting/test_graphs.py"), marks=pytest.mark.slow),
    ],
)
def test_calls_hand_over_what_annotations_say(rooms: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *rooms]
    checked = os.environ | {"ADMM_VERIFY_CHECK_ARRAYS": "1"}
    found = subprocess.run(command, cwd=ROOT, env=checked, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]


@only_checked
def test_arrays_of_another_shape_are_refused():
    with pytest.raises(TypeCheckError):
        Triangle().image(np.zeros(3), np.ones(4))
    values, box = np.ones((2, 3)), np.zeros(2, dtype=np.int64)
    with pytest.raises(TypeCheckError):
        ArrayVerbs().vertex(values, np.zeros((1, 3)), np.zeros((2, 3)), box)


@only_checked
def test_arrays_of_another_dtype_are_refused():
    with pytest.raises(TypeCheckError):
        Triangle().image(np.zeros(3, dtype=np.int64), np.ones(3, dtype=np.int64))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_arrays_of_every_library_are_arrays(library):
    array = pytest.importorskip(library).ones(3)
    assert isinstance(array, Array)
    assert not isinstance([1.0], Array)
    low, _ = Triangle().image(array, array)
    assert namespace(low) is namespace(array)
