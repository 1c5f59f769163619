"""Records print as a line: arrays by type and shape, no defaults, nothing that fills a screen."""

from dataclasses import dataclass

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from admm_verify.reprs import short_repr

NET = network_from_layers([np.ones((500, 400)), np.ones((3, 500))], [np.zeros(500), np.zeros(3)])
BOX = av.Box(np.zeros(400), np.ones(400))


@dataclass(repr=False)
class Sample:
    """All kinds of fields."""

    array: np.ndarray
    short: tuple = ()
    long: tuple = ()
    text: str = "same"
    nothing: object = None

    __repr__ = short_repr


def test_fields_that_differ_from_their_default_are_shown_shortly():
    shown = repr(Sample(np.zeros((2, 3), np.float32), (1, np.zeros(2)), tuple(range(9)), "same"))
    assert shown == "Sample(array=<float32 [2, 3]>, short=(1, <float64 [2]>), long=<tuple of 9>)"
    assert repr(Sample(np.zeros(1), text="a\nb" * 100)).startswith("Sample(array=<float64 [1]>, text='a\\nba")


@pytest.mark.parametrize("kind", [av.SolverSettings, av.SearchSettings, av.CertifySettings, av.ReachSettings])
def test_settings_show_what_was_set(kind):
    assert repr(kind()) == f"{kind.__name__}()"


def test_settings_show_settings_in_them():
    settings = av.VerifySettings(method="milp", search=av.SearchSettings(input_sides=3))
    assert repr(settings) == "VerifySettings(method='milp', search=SearchSettings(input_sides=3))"


def test_large_records_are_a_line():
    problem = av.Problem(NET, BOX, np.eye(3))
    query = av.query(NET, BOX, "y0 < -1")
    records = [problem, problem.preactivation, query, query.property, query.property.disjuncts[0].box, av.verify(query)]
    for record in records:
        shown = repr(record)
        assert shown.startswith(type(record).__name__) and len(shown) < 500 and "\n" not in shown
