"""Sums of atoms: they exclude what no atom excludes alone, and never a point at which all hold."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from admm_verify import Outcome, Verdict
from admm_verify.complete.atom_sums import AtomSums
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.properties.property import Disjunct
from admm_verify.rationals import directed_float
from tests.complete.networks import box_for, flat_box, network_of
from tests.complete.queries import atom_of, box_of, by_inputs, by_neurons, query_of
from tests.reference.pieces import ExactPieces


@pytest.mark.parametrize("way", [by_inputs, by_neurons], ids=["inputs", "neurons"])
def test_atoms_against_one_another_are_excluded_at_once(way: Callable[..., Outcome]) -> None:
    """y <= 0 and y >= margin: nothing of y is left in the sum, however it winds."""
    for seed in range(4):
        rng = np.random.default_rng([seed, 81])
        builder = Builder((1, 4), "float64")
        first = builder.affine(builder.input, DenseMap(rng.standard_normal((20, 4))), rng.standard_normal(20))
        hidden = builder.activation("relu", Tensor(first, (1, 20)))
        row = rng.standard_normal(20)
        last = builder.affine(hidden, DenseMap(np.stack([row, -row])), np.array([0.0, 0.01]))
        query = query_of(
            builder.finish(Tensor(last, (1, 2)), "winding"),
            [Disjunct(box_of([-1.0] * 4, [1.0] * 4), (atom_of([1.0, 0.0], 0.0), atom_of([0.0, 1.0], 0.0)))],
        )
        outcome = way(query, most=8)
        assert outcome.verdict is Verdict.UNSAT


def test_no_point_is_lost_at_which_atoms_only_just_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero slack: the atoms' constants are the network's own exact values, rounded downward."""
    bounded, tried = AtomSums.bounded, []

    def counted(sums: AtomSums, *arguments: object) -> tuple[np.ndarray, np.ndarray]:
        found = bounded(sums, *arguments)  # pyright: ignore[reportArgumentType]
        tried.append(len(found[0]))
        return found

    monkeypatch.setattr(AtomSums, "bounded", counted)
    for seed in range(24):
        rng = np.random.default_rng([seed, 82])
        network = network_of(("dense", "residual")[seed % 2], rng, ("relu", "prelu"))
        box = flat_box(box_for(network, rng))
        lower, upper = (np.asarray(end) for end in box.range)
        x = np.clip(lower + rng.choice([0.0, 1.0, rng.random()], len(lower)) * (upper - lower), lower, upper)
        y = ExactPieces(network).values(x)[-1]
        objective = rng.standard_normal((3, 2)) * 10.0 ** rng.integers(-6, 6)
        objective[1] = -objective[0]
        sums = [sum((Fraction(c) * v for c, v in zip(row, y, strict=True)), Fraction(0)) for row in objective]
        atoms = tuple(
            atom_of(row, directed_float(-total, np.float64, up=False))
            for row, total in zip(objective, sums, strict=True)
        )
        query = query_of(network, [Disjunct(box_of(lower, upper), atoms)])
        assert (by_inputs, by_neurons)[seed // 2 % 2](query, most=6).verdict is not Verdict.UNSAT
    assert sum(tried) > 24
