"""Attacks before bounds that cost more, and between two blocks of them."""

import threading
from itertools import pairwise

import numpy as np

import admm_verify as av
from admm_verify.bounds.work import crown_work
from admm_verify.complete import decide, turns
from admm_verify.complete.counterexamples import Counterexamples
from admm_verify.complete.root import Root
from admm_verify.complete.turns import Turns
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine, Input, Network, Node, Term
from admm_verify.network.layers import network_from_layers
from admm_verify.network.maps import DenseMap
from admm_verify.properties.property import Disjunct
from tests.clocks import ticking
from tests.complete.queries import at_most, box_of, query_of
from tests.complete.test_interruption import hard_query


def network(sizes: list[int]) -> Network:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    return network_from_layers(weights, [rng.normal(size=m) for m in sizes[1:]])


def violated(sizes: list[int]) -> av.Query:
    """A query that holds at most points of its box."""
    made = network(sizes)
    value = float(made(np.zeros((1, sizes[0])))[0, 0])
    return query_of(made, [Disjunct(box_of([-1.0] * sizes[0], [1.0] * sizes[0]), (at_most([1.0], 0, value + 1.0),))])


def test_the_work_of_bounds_counts_sweeps_of_the_layers_below() -> None:
    assert crown_work(network([3, 5, 7, 2, 1])) == 2 * (7 * 15 + 2 * (15 + 35))
    assert crown_work(network([3, 5, 1])) == crown_work(network([3, 1])) == 0


def test_the_work_of_a_local_layer_is_that_of_its_crops() -> None:
    rng = np.random.default_rng(0)
    first = ConvolutionMap.of(rng.normal(size=(4, 1, 3, 3)), (1, 64, 64), padding=(1, 1, 1, 1))
    second = ConvolutionMap.of(rng.normal(size=(4, 4, 3, 3)), (4, 64, 64), padding=(1, 1, 1, 1))
    last, size = DenseMap(np.ones((1, 4 * 64 * 64))), 4 * 64 * 64
    nodes: list[Node] = [Input(64 * 64)]
    for map in (first, second, last):
        nodes.append(Affine((Term(len(nodes) - 1, map),), np.zeros(map.rows), np.zeros(map.rows)))
        nodes.append(Activation("relu", len(nodes) - 1, map.rows))
    made = Network(tuple(nodes[:-1]), (64 * 64,), (1,))
    assert 0 < crown_work(made) < 2 * size * first.multiplications / 10


def test_an_attack_comes_before_bounds_that_cost_more(monkeypatch) -> None:
    query = violated([20, 400, 400, 400, 1])
    assert crown_work(query.network) < decide._DEAR
    assert av.verify(query).rows_lower[0] > -np.inf
    monkeypatch.setattr(decide, "_DEAR", 1e6)
    found = av.verify(query)
    assert found.verdict is av.Verdict.SAT and found.rows_lower[0] == -np.inf and found.lower == -np.inf
    with_proof = av.verify(query, settings=av.VerifySettings(certificate=True))
    assert with_proof.verdict is av.Verdict.SAT and with_proof.rows_lower[0] == -np.inf


def test_bounds_that_cost_less_come_before_an_attack(monkeypatch) -> None:
    monkeypatch.setattr(decide, "_DEAR", 0.0)
    assert av.verify(violated([2, 3, 3, 1])).rows_lower[0] > -np.inf


def test_attacks_take_turns_with_bounds(monkeypatch) -> None:
    """What the short attack missed is found by a thorough one while bounds are computed."""
    monkeypatch.setattr(decide, "_DEAR", 1e6)
    monkeypatch.setattr(turns, "_FIRST", 0.0)
    monkeypatch.setattr(decide, "_THOROUGH", 0.0)
    monkeypatch.setattr(Counterexamples, "quick", lambda self, disjuncts: None)
    started: list[bool] = []
    start = Root.start
    monkeypatch.setattr(Root, "start", lambda self, by: (started.append(True), start(self, by), started.append(False)))
    found = av.verify(violated([20, 400, 400, 400, 1]))
    assert found.verdict is av.Verdict.SAT and started == [True] and found.undecided == 1


def test_attacks_that_find_nothing_change_nothing(monkeypatch) -> None:
    settings = av.VerifySettings(max_subproblems=2)
    expected = av.verify(hard_query(30), settings=settings)
    monkeypatch.setattr(decide, "_DEAR", 0.0)
    monkeypatch.setattr(turns, "_FIRST", 0.0)
    monkeypatch.setattr(decide, "_THOROUGH", 0.0)
    found = av.verify(hard_query(30), settings=settings)
    assert (found.verdict, found.undecided, found.subproblems) == (expected.verdict, 1, expected.subproblems)
    assert np.array_equal(found.rows_lower, expected.rows_lower) and found.lower == expected.lower


def test_turns_come_ever_more_seldom() -> None:
    with ticking() as clock:
        attacks: list[int] = []

        def attack() -> bool:
            attacks.append(clock.looks)
            return len(attacks) == 3

        asked = Turns(attack)
        assert not any(asked() for _ in range(100)) and not attacks
        asked.begin(1.0)
        began = clock.looks
        while not asked():
            assert clock.looks < 1000
    waits = np.diff([began, *attacks])
    assert waits[0] >= 3 and waits[1] >= 12 and waits[2] >= 48 and waits.sum() < 90
    assert asked() and len(attacks) == 3


def test_only_one_thread_attacks_at_a_time() -> None:
    inside, most = [], []

    def attack() -> bool:
        inside.append(1)
        most.append(len(inside))
        assert not any(asked() for _ in range(10))
        inside.pop()
        return False

    asked = Turns(attack)
    asked.begin(0.0)
    asked._wait = 0.0
    threads = [threading.Thread(target=lambda: [asked() for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
