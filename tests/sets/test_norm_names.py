"""Names of norms, as people write them."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.sets.norm_names import norm_name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("l1", "l1"),
        ("l2", "l2"),
        ("linf", "linf"),
        (1, "l1"),
        (2.0, "l2"),
        (np.int64(2), "l2"),
        (np.float32(1), "l1"),
        (np.inf, "linf"),
    ],
)
def test_names_and_numbers(given, name):
    assert norm_name(given) == name


@pytest.mark.parametrize("given", ["L2", "2", 0, 3, -np.inf, np.nan, True, None, np.ones(2), ("l2",)])
def test_other_norms_are_refused_with_the_ones_there_are(given):
    with pytest.raises(av.InputError, match=r"norm is .*'l1', 'l2', 'linf', or its p, one of the numbers 1, 2, inf"):
        norm_name(given)


@pytest.mark.parametrize("name", ["L1Ball", "L2Ball", "LinfBall", "LpBall", "PerturbationLpNorm"])
def test_names_of_other_libraries_lead_to_ours(name):
    with pytest.raises(AttributeError, match=r"near it are av\.Ball$"):
        getattr(av, name)
    assert not hasattr(av, name)


def test_boxes_are_balls_of_the_largest_norm_alone():
    centre = np.array([0.5, -1.0, 3.0])
    with pytest.raises(av.InputError, match=r"norm 'l2'.*av\.Ball\(center, radius, 'l2', within\)"):
        av.Box.around(centre, 0.1, norm=2)
    wanted = av.Box.around(centre, 0.1)
    for norm in ("linf", np.inf):
        found = av.Box.around(centre, 0.1, norm=norm)
        assert np.array_equal(found.lower, wanted.lower) and np.array_equal(found.upper, wanted.upper)
