"""Entries of a node that only repeat those of others: bounded once, and exactly the same where they are repeated."""

import itertools

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.interval import bounded_nodes, repeated_entries, wide
from admm_verify.bounds.tighten import WholeLayers
from admm_verify.network.graph import Activation, Affine, Input, Network, Term
from admm_verify.network.maps import DenseMap
from admm_verify.network.pair import paired
from admm_verify.network.selection import SelectionMap


def dense(rng: np.random.Generator, widths: list[int]) -> Network:
    """A network of rectifiers."""
    nodes: list[Input | Affine | Activation] = [Input(widths[0])]
    for k, (columns, rows) in enumerate(itertools.pairwise(widths)):
        bias = 0.3 * rng.standard_normal(rows)
        map = DenseMap(rng.standard_normal((rows, columns)), None, columns)
        nodes.append(Affine((Term(len(nodes) - 1, map),), bias, np.abs(bias)))
        if k < len(widths) - 2:
            nodes.append(Activation("relu", len(nodes) - 1, rows))
    return Network(tuple(nodes), (widths[0],), (widths[-1],), element_type="float64")


def pair(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    first = dense(rng, [3, 6, 6, 2])
    moved = [
        Affine(
            tuple(
                Term(t.source, DenseMap(t.map.dense().weight * (1 + 1e-3 * rng.standard_normal()), None, 6))
                for t in node.terms
            ),
            node.bias,
            node.bias_magnitude,
        )
        if isinstance(node, Affine)
        else node
        for node in first.nodes
    ]
    return paired(first, Network(tuple(moved), first.input_shape, first.output_shape, element_type="float64"))


@pytest.mark.parametrize("seed", range(3))
def test_differences_alone_are_swept_beside_values_that_have_been(seed, monkeypatch):
    network, swept = pair(seed), []
    box = av.Box.around(np.zeros(3), radius=1.0)
    table = WholeLayers.table

    def watched(self: WholeLayers, wanted: np.ndarray) -> np.ndarray:
        swept.append((self.everything.network.output_size, np.flatnonzero(wanted.any(axis=0))))
        return table(self, wanted)

    monkeypatch.setattr(WholeLayers, "table", watched)
    pre = av.preactivation_bounds(network, box, method="tightened")
    wide_ones = [entries for size, entries in swept if size == 18]
    assert wide_ones and all(((entries >= 6) & (entries < 12)).all() for entries in wide_ones)
    values = [k for k, node in enumerate(network.functions) if node.kind == "relu"]
    joint = [k for k, node in enumerate(network.functions) if node.operands == 3]
    assert len(values) == 4 and len(joint) == 2
    for k in joint:
        own, other = values[2 * joint.index(k)], values[2 * joint.index(k) + 1]
        for side in (pre.lower, pre.upper):
            np.testing.assert_array_equal(side[k][:, :6], side[own])
            np.testing.assert_array_equal(side[k][:, 12:], side[other])


def test_entries_are_repeated_where_all_that_reads_them_is_content():
    network = pair(0)
    found = repeated_entries(network, bounded_nodes(network))
    sources = [node.source for node in network.functions if node.operands == 3]
    assert sorted(found) == sorted(sources)
    for source in sources:
        np.testing.assert_array_equal(found[source], np.repeat([True, False, True], 6))
    # Operands of products are needed where rectifiers ask for nothing.
    one, zero = SelectionMap.identity(2), np.zeros(2)
    nodes = (
        Input(2),
        Affine((Term(0, one),), zero, zero),
        Activation("relu", 1, 2),
        Affine(
            (
                Term(1, SelectionMap.from_gather(np.array([0, 2]), 2)),
                Term(2, SelectionMap.from_gather(np.array([2, 1]), 2)),
            ),
            zero,
            zero,
        ),
        Activation("product", 3, 1),
        Affine((Term(4, SelectionMap.identity(1)),), zero[:1], zero[:1]),
    )
    product = Network(nodes, (2,), (1,), element_type="float64")
    assert repeated_entries(product, bounded_nodes(product)) == {}


def test_widths_are_measured_by_the_operand():
    low = np.array([[0.0, -1e3, 0.0, 0.0]])
    high = np.array([[1e-9, 1e-9, 1e-12, 1e3]])
    np.testing.assert_array_equal(wide(low, high, 2), [[False, True, False, True]])
    np.testing.assert_array_equal(wide(np.zeros((1, 2)), np.array([[1e-9, 1e3]]), 2), [[True, True]])


def test_bounds_hold_at_points():
    network, rng = pair(4), np.random.default_rng(4)
    box = av.Box.around(np.zeros(3), radius=1.0)
    points = rng.uniform(-1.0, 1.0, (4000, 3))
    values = network.forward(points, lambda k, pre: network.functions[k](pre))
    for method in ("interval", "crown", "tightened"):
        pre = av.preactivation_bounds(network, box, method=method)
        for k, source in enumerate(network.sources):
            slack = 1e-12 * np.abs(values[source]).max()
            assert (values[source] >= pre.lower[k] - slack).all() and (values[source] <= pre.upper[k] + slack).all()
