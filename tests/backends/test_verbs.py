"""Laws of the verbs: native code returns what the array version returns in float64, up to a few roundings."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, strategies as st

from admm_verify import InputError
from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.backends.compiled import VERBS
from admm_verify.backends.native import NativeVerbs, native_verbs
from admm_verify.backends.verbs import Adam, ArrayVerbs, EntryPlaces, KinkBounds, SlopeState
from admm_verify.relaxations.lines import Contact, KinkLines
from admm_verify.relaxations.triangle import Triangle
from tests.backends.calls import Call, call, results, samples
from tests.laws.laws import law
from tests.laws.test_triangle import NEURONS, Neurons, distance, situations, sized

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.float32, np.float64])
REFERENCE = ArrayVerbs()
ROUNDINGS = 16


@pytest.fixture(scope="module")
def native() -> NativeVerbs:
    found = native_verbs()
    if found is None:
        pytest.skip("native code cannot be built here: see the debug log of admm_verify.backends.native")
    return found


@dataclass(frozen=True, eq=False)
class Layer:
    """Bounds [B, n] of a layer, their box, and the same bounds row by row in float64."""

    rng: np.random.Generator
    lower: np.ndarray
    upper: np.ndarray
    box: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.box), self.lower.shape[1]

    @property
    def eps(self) -> float:
        """A few roundings of the dtype."""
        return ROUNDINGS * float(np.finfo(self.lower.dtype).eps)

    @property
    def floor(self) -> float:
        """What underflow in a sum of a row may lose."""
        return self.shape[1] * float(np.finfo(self.lower.dtype).smallest_normal)

    def of_rows(self, bounds: np.ndarray) -> np.ndarray:
        return bounds.astype(np.float64)[self.box]

    def wild(self) -> np.ndarray:
        """Numbers of every magnitude, [rows, n]."""
        return sized(self.rng, *self.shape).astype(self.lower.dtype)

    def tame(self) -> np.ndarray:
        """Numbers whose squares neither overflow nor underflow, [rows, n]."""
        spread = 10.0 ** self.rng.uniform(-3, 3, self.shape)
        return (self.rng.standard_normal(self.shape) * spread).astype(self.lower.dtype)


@st.composite
def layers(draw) -> Layer:
    """Neurons of every type, shared bounds and bounds per row, sizes on both sides of a vector register."""
    rng, dtype = np.random.default_rng(draw(SEEDS)), draw(DTYPES)
    rows, n = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 7, 16, 33, 130]))
    boxes = draw(st.sampled_from([1, 2, rows]))
    ends = np.sort([sized(rng, boxes, n), sized(rng, boxes, n)], axis=0)
    sort = rng.integers(0, 6, (boxes, n))
    lower, upper = np.where(sort <= 1, -np.abs(ends[0]), ends[0]), np.where(sort <= 1, np.abs(ends[1]), ends[1])
    lower, upper = np.where((sort == 2) & (upper > 0), 0.0, lower), np.where((sort == 3) & (lower < 0), 0.0, upper)
    upper = np.where(sort == 4, lower, upper)
    return Layer(rng, lower.astype(dtype), upper.astype(dtype), rng.integers(0, boxes, rows))


def wide(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]


def lines(layer: Layer) -> KinkLines:
    return KinkLines.of(Triangle().slopes(layer.lower, layer.upper), layer.lower, layer.upper)


def assert_near(found: np.ndarray, expected: np.ndarray, error: np.ndarray) -> None:
    off = np.abs(found.astype(np.float64) - expected)
    assert (off <= error).all(), f"off by {np.max(off / error)} of what is allowed"


@law(200)
@given(layers())
def test_descend(native: NativeVerbs, layer: Layer) -> None:
    line, a, slopes = lines(layer), layer.wild(), np.abs(layer.tame())
    chord, intercept = line.upper_slope, line.upper_intercept
    g, value = native.descend(a, slopes, chord, intercept, layer.box)
    expected, expected_value = REFERENCE.descend(*wide(a, slopes, chord, intercept), layer.box)
    assert g.dtype == value.dtype == a.dtype and g.shape == a.shape and value.shape == a.shape[:1]
    assert_near(g, expected, layer.eps * np.abs(expected) + layer.floor)
    terms = np.abs(np.minimum(a.astype(np.float64), 0.0) * layer.of_rows(intercept))
    assert_near(value, expected_value, layer.eps * np.sum(terms, axis=-1) + layer.floor)


@law(200)
@given(layers(), st.integers(1, 30), st.floats(1e-3, 1.0))
def test_climb(native: NativeVerbs, layer: Layer, count: int, rate: float) -> None:
    line, a, pre = lines(layer), layer.tame(), layer.tame()
    adam = Adam(0.5, 0.9, 1.0 - 0.5**count, 1.0 - 0.9**count, rate)
    bounds = KinkBounds(line.upper_slope, line.upper_intercept, line.minimum, line.maximum)
    state = SlopeState(layer.rng.random(layer.shape).astype(a.dtype), layer.tame(), layer.tame() ** 2)
    exact = SlopeState(*wide(state.slopes, state.mean, state.square))
    before = SlopeState(*wide(state.slopes, state.mean, state.square))
    post = native.climb(a, pre, bounds, layer.box, state, adam)
    expected = REFERENCE.climb(*wide(a, pre), KinkBounds(*wide(*bounds)), layer.box, exact, adam)
    chord, intercept, minimum, maximum = (layer.of_rows(bound) for bound in bounds)
    size = np.where(a > 0, np.abs(before.slopes * pre), np.abs(chord * pre) + np.abs(intercept))
    assert post.dtype == a.dtype
    assert_near(post, expected, layer.eps * size + layer.floor)
    gradient = np.maximum(a, 0.0).astype(np.float64) * pre
    mean = 0.5 * np.abs(before.mean) + 0.5 * np.abs(gradient)
    assert_near(state.mean, exact.mean, layer.eps * mean + layer.floor)
    assert_near(state.square, exact.square, layer.eps * exact.square + layer.floor)
    scale = np.maximum(np.sqrt(exact.square / adam.second), np.finfo(np.float64).smallest_normal)
    step = rate * (maximum - minimum) * mean / adam.first / scale
    assert_near(state.slopes, exact.slopes, layer.eps * (np.abs(before.slopes) + step) + layer.floor)
    assert (state.slopes >= minimum).all() and (state.slopes <= maximum).all()


@law(100)
@given(layers())
def test_vertex(native: NativeVerbs, layer: Layer) -> None:
    coefficient = layer.wild()
    x, value = native.vertex(coefficient, layer.lower, layer.upper, layer.box)
    expected, expected_value = REFERENCE.vertex(*wide(coefficient, layer.lower, layer.upper), layer.box)
    assert np.array_equal(x, expected) and x.dtype == value.dtype == coefficient.dtype
    terms = np.sum(np.abs(coefficient * expected), axis=-1)
    assert_near(value, expected_value, layer.eps * terms + layer.floor)


def folded(some: Neurons, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Bounds in another order of rows, the box that puts it right, and the arrays, [4, 16] each."""
    box = np.array([2, 0, 3, 1])
    lower, upper, *others = (array.reshape(4, NEURONS // 4) for array in (some.lower, some.upper, *arrays))
    order = np.argsort(box)
    return lower[order], upper[order], box, *others


def assert_projected(some: Neurons, p: np.ndarray, q: np.ndarray, pre: np.ndarray, post: np.ndarray, slack) -> None:
    """p, q in the relaxation, and as near as the reference in float64."""
    low, high = wide(some.lower, some.upper)
    none = np.zeros(1, dtype=np.int64)
    theirs = REFERENCE.project_triangle(*(x[None] for x in wide(some.lower, some.upper, pre, post)), none)
    unstable = (low < 0) & (high > 0)
    chord = np.where(unstable, high / np.where(unstable, high - low, 1.0) * (p - low), np.maximum(p, 0.0))
    assert (p >= low - slack).all() and (p <= high + slack).all()
    assert (q >= np.maximum(p, 0.0) - slack).all() and (q <= chord + slack).all()
    assert (distance((p, q), (pre, post)) <= distance((theirs[0][0], theirs[1][0]), (pre, post)) + slack).all()


@law(200)
@given(situations())
def test_project_triangle(native: NativeVerbs, situation) -> None:
    some, pre, post = situation
    lower, upper, box, target, edge = folded(some, pre, post)
    p, q = native.project_triangle(lower, upper, target, edge, box)
    assert p.dtype == q.dtype == pre.dtype
    assert (p.ravel() >= some.lower).all() and (p.ravel() <= some.upper).all()
    assert_projected(some, *wide(p.ravel(), q.ravel(), pre, post), some.slack(pre, post))


@law(200)
@given(layers(), st.integers(0, 100))
def test_halpern(native: NativeVerbs, layer: Layer, oldest: int) -> None:
    arrays = tuple(layer.tame() for _ in range(4))
    since = layer.rng.integers(0, oldest + 1, layer.shape[0]).astype(layer.lower.dtype)
    weight = np.abs(layer.upper) + layer.lower.dtype.type(1e-3)
    weight = np.minimum(weight, layer.lower.dtype.type(1e3))
    moved, square = native.halpern(*arrays, weight, since, layer.box)
    expected, expected_square = REFERENCE.halpern(*wide(*arrays, weight, since), layer.box)
    u, r, z, anchor = (np.abs(array) for array in wide(*arrays))
    assert moved.dtype == square.dtype == since.dtype
    assert_near(moved, expected, layer.eps * (anchor + 2.0 * u + r) + layer.floor)
    off = layer.eps * (u + r + z)
    move = np.abs(wide(arrays[0])[0] - 0.5 * sum(wide(*arrays[1:3])))
    each = layer.of_rows(weight)
    slack = each * (2.0 * move * off + off**2 + layer.eps * move**2)
    assert_near(square, expected_square, np.sum(slack, axis=-1) + 1e3 * layer.floor)


@law(50)
@given(layers(), st.integers(1, 4))
def test_gather_and_reflect(native: NativeVerbs, layer: Layer, most: int) -> None:
    """Sums of entries anywhere in wider rows, none of some, against the same written out."""
    rows, n = layer.shape
    width = n + int(layer.rng.integers(0, 9))
    places = np.sort(layer.rng.integers(0, width + 1, (most, n)), axis=0)
    x = np.resize(layer.tame(), (rows, width))
    matrix = np.zeros((width + 1, n))
    np.add.at(matrix, (places, np.arange(n)), 1.0)
    weight, shift = (layer.rng.standard_normal(layer.lower.shape).astype(x.dtype) for _ in range(2))
    of = EntryPlaces.of(places, width, Placement.numpy())
    found = native.gather(x, weight, shift, of, layer.box)
    scale = np.abs(layer.of_rows(weight)) * (np.abs(x) @ matrix[:-1]) + np.abs(layer.of_rows(shift))
    expected = layer.of_rows(weight) * (x.astype(np.float64) @ matrix[:-1]) + layer.of_rows(shift)
    assert found.dtype == x.dtype
    assert_near(found, expected, layer.eps * scale + layer.floor)
    assert_near(REFERENCE.gather(x, weight, shift, of, layer.box), expected, layer.eps * scale + layer.floor)
    z, first = layer.tame(), EntryPlaces.of(places[:1], width, Placement.numpy())
    other = np.concatenate([x, np.zeros((rows, 1))], axis=1)[:, places[0]]
    turned = native.reflect(z, x, weight, shift, first, layer.box)
    expected = layer.of_rows(weight) * z + layer.of_rows(shift) * other
    scale = np.abs(layer.of_rows(weight) * z) + np.abs(layer.of_rows(shift) * other)
    assert_near(turned, expected, layer.eps * scale + layer.floor)


def test_places_that_are_none_are_refused() -> None:
    for places in ([[-1, 0]], [[0, 3]], [[2, 0], [1, 1]]):
        with pytest.raises(InputError, match="Places"):
            EntryPlaces.of(np.array(places), 2, Placement.numpy())


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shared", [True, False])
def test_nan_is_never_lost(native: NativeVerbs, verb: str, dtype, shared: bool) -> None:
    """One NaN in any input: all results are NaN where the array version's are, and sums nowhere else."""
    clean = samples(verb, dtype, shared=shared)
    for name in clean.arrays:
        for value in (np.nan, np.inf, -np.inf):
            spoiled = clean.copy()
            spoiled.arrays[name][..., -1, None] = value
            with quiet_overflow():
                theirs, mine = results(REFERENCE, spoiled.copy()), results(native, spoiled.copy())
            for (what, expected), found in zip(theirs.items(), mine.values(), strict=True):
                assert np.isnan(found)[np.isnan(expected)].all(), f"{name} = {value} is lost in {what}"
                if expected.ndim == 1 or name in ("lower", "upper"):
                    continue
                assert np.array_equal(np.isnan(found), np.isnan(expected)), f"{name} = {value} makes NaN in {what}"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_numbers_stay_finite_where_the_arrays_do(native: NativeVerbs, verb: str, dtype) -> None:
    largest = float(np.finfo(dtype).max)
    for factor in (largest**0.5, largest / 64.0, largest / 8.0):
        huge = samples(verb, dtype)
        for name, array in huge.arrays.items():
            if name not in ("since", "slopes", "minimum", "maximum"):
                np.multiply(array, dtype(factor), out=array)
        with quiet_overflow():
            theirs, mine = results(REFERENCE, huge.copy()), results(native, huge.copy())
        for expected, found in zip(theirs.values(), mine.values(), strict=True):
            fine = np.isfinite(expected)
            scale = np.max(np.abs(expected[fine]), initial=0.0)
            assert np.allclose(found[fine] / dtype(scale or 1.0), expected[fine] / dtype(scale or 1.0), atol=1e-5)


@pytest.mark.parametrize("verb", VERBS)
def test_any_layout_and_readonly_arrays(native: NativeVerbs, verb: str) -> None:
    usual = samples(verb, np.float32)
    expected = results(native, usual.copy())
    turned = usual.mapped(lambda array: np.asfortranarray(array) if array.ndim == 2 else np.repeat(array, 2)[::2])
    for name, found in results(native, turned).items():
        assert np.array_equal(found, expected[name]), name
    frozen = usual.copy()
    for name, array in frozen.arrays.items():
        array.flags.writeable = name in ("slopes", "mean", "square") and verb == "climb"
    for name, found in results(native, frozen).items():
        assert np.array_equal(found, expected[name]), name


@pytest.mark.parametrize("verb", [verb for verb, counts in VERBS.items() if counts.bounds])
def test_a_box_out_of_range_is_refused(native: NativeVerbs, verb: str) -> None:
    for wrong in (-1, 2, 2**40):
        some = samples(verb, np.float64)
        some.box[1] = wrong
        with pytest.raises(InputError, match="box"):
            results(native, some)
    shared = samples(verb, np.float64, shared=True)
    shared.box[:] = 7
    for found, expected in zip(
        results(native, shared.copy()).values(), results(REFERENCE, shared).values(), strict=True
    ):
        assert np.allclose(found, expected)


@pytest.mark.parametrize("verb", VERBS)
def test_arrays_that_do_not_fit_are_refused(native: NativeVerbs, verb: str) -> None:
    some = samples(verb, np.float32)
    for name, array in some.arrays.items():
        wrong = (array[..., :-1], array.astype(np.float64))
        if len(some.arrays) == 1:
            wrong = (array[0], array.astype(np.float16))
        for bad in wrong:
            with pytest.raises(InputError):
                call(native, Call(verb, some.arrays | {name: bad}, some.box))


def test_slopes_and_averages_must_not_share_memory(native: NativeVerbs) -> None:
    some = samples("climb", np.float32)
    some.arrays["square"] = some.arrays["mean"]
    with pytest.raises(InputError, match="share"):
        call(native, some)


@pytest.mark.parametrize("verb", VERBS)
def test_torch_runs_the_array_version(verb: str) -> None:
    torch = pytest.importorskip("torch")
    some = samples(verb, np.float64)
    expected = results(REFERENCE, some.copy())
    for name, found in results(REFERENCE, some.mapped(torch.tensor)).items():
        assert np.allclose(found.numpy(), expected[name], rtol=1e-14, atol=1e-14), name


@law(50)
@given(layers())
def test_the_array_version_is_what_the_schemes_do(layer: Layer) -> None:
    line, a, pre = lines(layer), layer.tame(), layer.tame()
    rows, slopes = line.take(layer.box), layer.rng.random(layer.shape).astype(a.dtype)
    g, value = REFERENCE.descend(a, slopes, line.upper_slope, line.upper_intercept, layer.box)
    contact: Contact = rows.contact(a, slopes)
    assert np.array_equal(g, contact.slope * a) and np.allclose(value, rows.support(a), rtol=1e-4)
    state = SlopeState(slopes.copy(), np.zeros_like(a), np.zeros_like(a))
    bounds = KinkBounds(line.upper_slope, line.upper_intercept, line.minimum, line.maximum)
    post = REFERENCE.climb(a, pre, bounds, layer.box, state, Adam(0.5, 0.9, 0.5, 0.1, 0.25))
    assert np.array_equal(post, rows.post(a, contact, pre))
    gradient = np.abs(a) * rows.direction(a, contact, pre)
    assert np.allclose(state.mean, 0.5 * gradient) and np.allclose(state.square, 0.1 * gradient**2)
    # The first step of Adam goes as far as the rate, whatever the gradient's size.
    step = 0.25 * np.sign(gradient) * (rows.maximum - rows.minimum)
    assert np.allclose(state.slopes, np.clip(slopes + step, rows.minimum, rows.maximum), atol=1e-5)
