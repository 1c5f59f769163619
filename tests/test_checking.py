"""That tests check calls against their annotations of arrays."""

import numpy as np
import pytest

from admm_verify.arrays import Array, namespace
from admm_verify.backends.verbs import ArrayVerbs
from admm_verify.relaxations.triangle import Triangle

REASON = "arrays are not checked in calls: pip install jaxtyping beartype"
TypeCheckError = pytest.importorskip("jaxtyping", reason=REASON).TypeCheckError
pytest.importorskip("beartype", reason=REASON)


def test_arrays_of_another_shape_are_refused():
    with pytest.raises(TypeCheckError):
        Triangle().image(np.zeros(3), np.ones(4))
    values, box = np.ones((2, 3)), np.zeros(2, dtype=np.int64)
    with pytest.raises(TypeCheckError):
        ArrayVerbs().vertex(values, np.zeros((1, 3)), np.zeros((2, 3)), box)


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
