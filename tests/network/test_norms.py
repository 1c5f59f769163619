"""Roots of sums that are never negative, over sets where these reach 0: norms, sizes, distances."""

import numpy as np
import pytest
import torch
from torch import nn

import admm_verify as av
from admm_verify.bounds.arithmetic import output_error
from admm_verify.certificates.check import check
from admm_verify.network.graph import Affine, Network
from admm_verify.network.signs import nonnegative_nodes
from tests.random_graphs import random_program
from tests.reference.graph_truth import points_of

MATRIX = torch.tensor([[1.0, -2.0], [0.5, 0.25], [-1.0, 0.125]], dtype=torch.float64)
NORMS = {
    "norm": lambda x: x.norm(dim=-1, keepdim=True),
    "root of a sum": lambda x: torch.sqrt((x**2).sum(-1, keepdim=True)),
    "root of a mean": lambda x: torch.sqrt((x**2).mean(-1, keepdim=True)),
    "of a map": lambda x: (x @ MATRIX.to(x.dtype).T).norm(dim=-1, keepdim=True),
    "weighted": lambda x: torch.sqrt(0.3 * x[:, :1] ** 2 + 5.0 * torch.abs(x[:, 1:])),
    "less the mean": lambda x: (x - x.mean(-1, keepdim=True)).norm(dim=-1, keepdim=True),
    "of rectified numbers": lambda x: torch.relu(x).sum(-1, keepdim=True) ** 0.5,
    "of even powers": lambda x: torch.sqrt((x**4).sum(-1, keepdim=True) + x[:, :1] ** 2),
}
BOXES = [((-1.0, -0.5), (1.0, 0.75)), ((0.0, 0.0), (1.0, 0.5)), ((0.0, -1e-20), (1e-20, 0.0))]


class Norm(nn.Module):
    """A norm of two numbers as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def read(name: str, dtype: torch.dtype = torch.float64) -> Network:
    return av.trace(Norm(NORMS[name]), torch.ones(1, 2, dtype=dtype))


def points(low, high) -> np.ndarray:
    """Points of a box, its corners and 0 among them."""
    share = np.random.default_rng(3).random((3000, 2))
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True)), -1).reshape(-1, 2)
    return np.concatenate([low + share * (np.array(high) - low), corners, np.zeros((1, 2))])


@pytest.mark.parametrize("name", NORMS)
def test_norms_are_bounded_over_sets_that_hold_zero(name):
    network = read(name)
    for low, high in BOXES:
        x = points(low, high)
        y = np.sqrt(np.maximum(network(x).astype(np.longdouble)[:, 0] ** 2, 0))
        for method in ("ascent", "admm", "primal_dual"):
            problem = av.Problem(network, av.Box(low, high), np.array([[1.0], [-1.0]]))
            found = av.solve(problem, method=method, max_passes=5)
            assert (found.lower[0] <= y + 1e-15 * y).all() and (y - 1e-15 * y <= -found.lower[1]).all()
            size = max(np.abs([*low, *high]))
            assert -found.lower[1] <= 3.5 * max(size, np.sqrt(size)) and found.lower[0] >= -1.5 * max(size, size**0.5)


@pytest.mark.parametrize("name", NORMS)
def test_norms_in_float32_stay_within_their_error(name):
    """In float32 too: the root of what is off by e is off by the root of e."""
    network = read(name, torch.float32)
    for low, high in BOXES[:2]:
        box = av.Box(np.array([low]), np.array([high]))
        bounds = av.preactivation_bounds(network, box, "crown")
        error = output_error(network, box, bounds, "float32")
        assert 0 < error.max() < 0.05
        x = points(low, high).astype(np.float32)
        with torch.no_grad():
            computed = NORMS[name](torch.from_numpy(x)).numpy()
        assert (np.abs(computed - network(x.astype(np.float64))) <= error).all()
        assert (np.abs(network(x) - network(x.astype(np.float64))) <= error).all()


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_verdicts_about_norms_carry_certificates(arithmetic):
    network = read("root of a sum", torch.float32)
    box = av.Box([-0.5, -0.5], [0.5, 0.5])
    query = av.query(network, box, "y0 >= 0.75")
    settings = av.VerifySettings(certificate=True, arithmetic=arithmetic)
    found = av.verify(query, timeout=60, settings=settings)
    assert found.verdict is av.Verdict.UNSAT
    assert check(found.certificate, query.property, network, arithmetic=arithmetic).proved
    assert av.verify(av.query(network, box, "y0 <= 0.01"), timeout=60).verdict is av.Verdict.SAT


SIGNED = {
    "difference": lambda x: torch.sqrt(x[:, :1] ** 2 - x[:, 1:] ** 2 + 0.1),
    "bias": lambda x: torch.sqrt((x**2).sum(-1, keepdim=True) - 1e-9),
    "products": lambda x: torch.sqrt(x[:, :1] * x[:, 1:] + 1.0),
}


@pytest.mark.parametrize("name", SIGNED)
def test_what_may_be_negative_is_not_taken_for_a_sum_of_squares(name):
    network = av.trace(Norm(SIGNED[name]), torch.ones(1, 2, dtype=torch.float64))
    (root,) = [node.source for node in network.functions if node.kind == "sqrt"]
    below = network.nodes[root]
    assert isinstance(below, Affine) and not below.nonnegative
    with pytest.raises(av.InputError, match="not negative"):
        av.preactivation_bounds(network, av.Box([-2.0, -2.0], [2.0, 2.0]), "crown")


def test_signs_are_those_of_values():
    """Of random graphs: what is said never to be negative is not."""
    some = 0
    for seed in range(60):
        program = random_program(seed)
        network = program.network()
        x = points_of(program, 200, seed)
        known = nonnegative_nodes(network.nodes)
        some += sum(known)
        for value, never in zip(network.evaluate(x), known, strict=True):
            assert not never or (value >= 0).all()
    assert some > 20
