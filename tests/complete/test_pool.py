"""The pool of open subproblems against a plain list."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, strategies as st

from admm_verify.complete.pool import Nodes, Pool
from admm_verify.complete.tables import join, take


@dataclass(frozen=True, eq=False)
class Ragged(Nodes):
    """Subproblems with columns that may grow: number tells them apart, columns [n, depth], cube [n, 2, depth]."""

    number: np.ndarray
    columns: np.ndarray
    cube: np.ndarray

    @property
    def splittable(self) -> np.ndarray:
        return self.number >= 0


Item = tuple[float, int, tuple[int, ...]]
BOUNDS = st.sampled_from([-np.inf, -3.0, -1.0, -1.0, 0.0, 1e-300, 2.0])


def nodes_of(items: list[Item], depth: int) -> Ragged:
    columns = np.zeros((len(items), depth), dtype=np.int32)
    for row, (_, _, entries) in enumerate(items):
        columns[row, : len(entries)] = entries
    numbers = np.array([number for _, number, _ in items], dtype=np.int64)
    bounds = np.array([bound for bound, _, _ in items], dtype=np.float64)
    cube = np.stack([columns, 10 * columns], axis=1).astype(np.float32)
    return Ragged(numbers % 3, bounds, numbers, columns, cube)


def items_of(nodes: Ragged) -> list[Item]:
    found = []
    for row, (bound, number) in enumerate(zip(nodes.bound, nodes.number, strict=True)):
        entries = tuple(int(entry) for entry in nodes.columns[row] if entry)
        assert (nodes.cube[row] == [nodes.columns[row], 10 * nodes.columns[row]]).all()
        assert nodes.disjunct[row] == number % 3
        found.append((float(bound), int(number), entries))
    return found


def empty() -> Pool[Ragged]:
    return Pool(nodes_of([], 0))


OPERATION = st.one_of(
    st.tuples(st.just("push"), st.lists(st.tuples(BOUNDS, st.integers(0, 4)), max_size=6), st.integers(0, 3)),
    st.tuples(st.sampled_from(["release", "put back"]), st.integers(1, 5), st.booleans()),
)


@given(st.lists(OPERATION, max_size=25))
def test_it_holds_what_a_list_would_hold(operations: list) -> None:
    pool, model, number = empty(), [], 0
    for name, what, how in operations:
        if name == "push":
            items = []
            for bound, depth in what:
                number += 1
                items.append((bound, number, tuple(range(number, number + depth))))
            most = max((len(entries) for _, _, entries in items), default=0)
            pool.push(nodes_of(items, most + how))
            model += items
        else:
            taken = items_of(pool.pop(what, best=how))
            assert len(taken) == min(what, len(model))
            left = [item for item in model if item not in taken]
            assert len(left) == len(model) - len(taken)
            sign = -1 if how else 1
            last = max([sign * bound for bound, _, _ in taken], default=-np.inf)
            assert last <= min([sign * bound for bound, _, _ in left], default=np.inf)
            # Until their parts are in, they count.
            assert sorted(items_of(pool.all())) == sorted(model)
            if name == "release":
                pool.release()
                model = left
            else:
                pool.put_back()
        assert len(pool) == len(model)
        assert pool.lowest == min((bound for bound, _, _ in model), default=np.inf)
        assert sorted(items_of(pool.all())) == sorted(model)


def test_slots_are_used_again() -> None:
    pool = empty()
    for number in range(200):
        pool.push(nodes_of([(float(number), number, (1,)), (0.5, number, ())], 1))
        pool.pop(2)
        pool.release()
    assert len(pool) == 0 and len(pool._held.bound) <= 8


def test_bytes_are_those_of_one_subproblem() -> None:
    pool = empty()
    pool.push(nodes_of([(0.0, k, (1, 2)) for k in range(5)], 2))
    assert pool.bytes == 8 + 8 + 8 + 2 * 4 + 4 * 4


@pytest.mark.parametrize("depths", [(0, 3, 1), (2, 0, 0), (0, 0, 0)])
def test_joined_parts_are_padded_with_zeros(depths: tuple[int, ...]) -> None:
    parts = [nodes_of([(1.0, 7 * d, tuple(range(1, d + 1)))] * (d + 1), d) for d in depths]
    joined = join(parts)
    assert joined.columns.shape == (sum(depths) + 3, max(depths))
    assert items_of(joined) == [item for part in parts for item in items_of(part)]


def test_taking_copies() -> None:
    nodes = nodes_of([(1.0, 1, ()), (2.0, 2, ())], 2)
    for index in (np.array([0]), np.array([True, False])):
        part = take(nodes, index)
        part.bound[0] = 9.0
        assert nodes.bound[0] == 1.0


def test_what_is_popped_is_not_changed_by_later_pushes() -> None:
    pool = empty()
    pool.push(nodes_of([(0.0, 1, (4,)), (1.0, 2, (5,))], 1))
    first = pool.pop(1)
    pool.push(nodes_of([(3.0, 9, (6, 7))], 2))
    pool.release()
    pool.push(nodes_of([(3.0, 8, (6, 7))], 2))
    assert items_of(first) == [(0.0, 1, (4,))]
    assert sorted(number for _, number, _ in items_of(pool.all())) == [2, 8, 9]


@pytest.mark.parametrize("k", range(1, 25))
def test_a_push_that_finds_no_memory_changes_nothing(k: int, monkeypatch) -> None:
    """With parts taken out, which can be put back afterwards."""
    pool = empty()
    pool.push(nodes_of([(float(i), i, (1,)) for i in range(4)], 1))
    before = sorted(items_of(pool.all()))
    pool.pop(2)
    calls = iter(range(1, 1000))

    def failing(make):
        def attempt(*arguments, **options):
            if next(calls) == k:
                raise MemoryError
            return make(*arguments, **options)

        return attempt

    with monkeypatch.context() as patch:
        for name in ("zeros", "concatenate", "full"):
            patch.setattr(np, name, failing(getattr(np, name)))
        try:
            pool.push(Ragged(*WIDER))
            lost = False
        except MemoryError:
            lost = True
    pool.put_back()
    assert sorted(items_of(pool.all())) == (before if lost else sorted(before + items_of(Ragged(*WIDER))))
    pool.push(Ragged(*WIDER))
    assert len(pool) == (4 if lost else 9) + 5


FIVE = nodes_of([(0.5, 10 + i, (3, 4, 5)) for i in range(5)], 3)
WIDER = FIVE.disjunct, FIVE.bound, FIVE.number, FIVE.columns, FIVE.cube
