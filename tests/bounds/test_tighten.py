"""Tightened bounds: never looser than what is known, tighter where slopes matter, anytime, on any network."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import admm_verify as av
from admm_verify.bounds.tighten import _blocks
from admm_verify.network.layers import network_from_layers
from tests.random_layers import layer_case
from tests.random_networks import chain, random_case


def pairs(bounds: av.PreactivationBounds) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(bounds.lower, bounds.upper, strict=True))


@pytest.mark.parametrize("smooth", [False, True])
def test_known_bounds_are_never_made_looser(smooth: bool) -> None:
    for seed in range(10):
        case = layer_case(seed, smooth)
        crown = av.preactivation_bounds(case.network, case.box)
        tight = av.preactivation_bounds(case.network, case.box, "tightened", known=crown)
        for (low, high), (tight_low, tight_high) in zip(pairs(crown), pairs(tight), strict=True):
            assert (tight_low >= low).all() and (tight_high <= high).all(), case.kind


@pytest.mark.parametrize("cases", [random_case, lambda seed: layer_case(seed, True)], ids=["kinks", "curves"])
def test_slopes_tighten_deep_layers(cases) -> None:
    gains = []
    for seed in range(10):
        case = cases(seed)
        crown, tight = (av.preactivation_bounds(case.network, case.box, method) for method in ("crown", "tightened"))
        widths = [sum(float(np.sum(high - low)) for low, high in pairs(found)[1:]) for found in (crown, tight)]
        gains.append(widths[1] / max(widths[0], 1e-30))
    assert sum(gain < 0.95 for gain in gains) >= 3 and max(gains) <= 1.0 + 1e-6


def test_boxes_in_a_batch_are_bounded_like_one_at_a_time() -> None:
    case = random_case(3)
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.2, 1.0, (6, 1))
    low, high = np.asarray(case.box.lower).reshape(1, -1), np.asarray(case.box.upper).reshape(1, -1)
    middle = low / 2 + high / 2
    lower, upper = middle + scale * (low - middle), middle + scale * (high - middle)
    shape = (6, *case.network.input_shape)
    batch = av.preactivation_bounds(case.network, av.Box(lower.reshape(shape), upper.reshape(shape)), "tightened")
    for row in range(6):
        box = av.Box(lower[row].reshape(shape[1:]), upper[row].reshape(shape[1:]))
        for ours, alone in zip(
            pairs(batch), pairs(av.preactivation_bounds(case.network, box, "tightened")), strict=True
        ):
            for end, other in zip(ours, alone, strict=True):
                # Float32 iterations round differently in other blocks.
                np.testing.assert_allclose(end[row], other[0], rtol=1e-2, atol=1e-2 * np.abs(other).max())


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_blocks_cover_what_is_wanted_once(frames: int, neurons: int, limit: int, seed: int) -> None:
    table = np.random.default_rng(seed).random((frames, neurons)) < 0.4
    covered = np.zeros_like(table)
    for numbers, chosen in _blocks(table, limit):
        assert 0 < chosen.size <= limit
        assert not covered[numbers[:, None], chosen].any()
        covered[numbers[:, None], chosen] = True
    assert (covered | ~table).all()


def test_a_stop_keeps_what_is_done() -> None:
    case = random_case(1)
    interval = av.preactivation_bounds(case.network, case.box, "interval")
    for patience in range(8):
        asked = iter(range(100))
        stopped = av.preactivation_bounds(
            case.network,
            case.box,
            "tightened",
            run=av.Run(stop=lambda asked=asked, patience=patience: next(asked) >= patience),
        )
        for (low, high), (tight_low, tight_high) in zip(pairs(interval), pairs(stopped), strict=True):
            slack = 1e-12 * np.maximum(np.abs(low), np.abs(high))
            assert (tight_low >= low - slack).all() and (tight_high <= high + slack).all()


def test_known_bounds_of_another_network_are_refused() -> None:
    case, other = random_case(0), random_case(1)
    bounds = av.preactivation_bounds(other.network, other.box)
    wide = av.PreactivationBounds(
        tuple(np.repeat(low, 3, axis=0) for low in bounds.lower), tuple(np.repeat(h, 3, axis=0) for h in bounds.upper)
    )
    with pytest.raises(av.InputError, match="bounds of activation 0"):
        av.preactivation_bounds(other.network, other.box, known=wide)
    with pytest.raises(av.InputError, match=r"activations|another network"):
        av.preactivation_bounds(case.network, case.box, known=bounds)


@pytest.mark.parametrize("method", ["crown", "tightened"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_that_are_no_use_leave_bounds_without_nan(method: str, value: float) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape) for shape in ((4, 3), (4, 4), (4, 4), (2, 4))]
    weights[1][0, 0] = value
    weights[2][:, 1] = 0.0
    network = chain(weights, [np.zeros(len(weight)) for weight in weights])
    for low, high in pairs(av.preactivation_bounds(network, av.Box(-np.ones(3), np.ones(3)), method)):
        assert not (np.isnan(low) | np.isnan(high)).any()


def test_known_bounds_that_cannot_hold_are_refused() -> None:
    case = random_case(0)
    crown = av.preactivation_bounds(case.network, case.box)
    with pytest.raises(av.InputError, match="ends"):
        av.preactivation_bounds(case.network, case.box, known=av.PreactivationBounds((), ()))
    lost = av.PreactivationBounds(tuple(low * np.nan for low in crown.lower), crown.upper)
    with pytest.raises(av.InputError, match="NaN"):
        av.preactivation_bounds(case.network, case.box, known=lost)
    ends = [tuple(end + 1e9 for end in side) for side in (crown.lower, crown.upper)]
    with pytest.raises(av.InputError, match="exclude"):
        av.preactivation_bounds(case.network, case.box, known=av.PreactivationBounds(*ends))


def test_boxes_beyond_float32_leave_bounds_without_nan() -> None:
    for exponent in (60, 130, 300):
        case = random_case(2)
        box = av.Box(np.asarray(case.box.lower) * 2.0**exponent, np.asarray(case.box.upper) * 2.0**exponent)
        for low, high in pairs(av.preactivation_bounds(case.network, box, "tightened")):
            assert not (np.isnan(low) | np.isnan(high)).any() and (low <= high).all()


@pytest.mark.parametrize(("dtype", "device"), [("float32", "cpu"), ("float64", "cpu"), ("float32", None)])
def test_boxes_in_torch_give_bounds_in_torch(dtype: str, device: str | None) -> None:
    """Computed by NumPy, which is faster there, unless the device is named."""
    torch = pytest.importorskip("torch")
    case = layer_case(1, False)
    ends = [torch.as_tensor(np.asarray(end), dtype=torch.float64) for end in (case.box.lower, case.box.upper)]
    if dtype == "float32":
        ends = [end.to(torch.float32) for end in ends]
    found = av.preactivation_bounds(case.network, av.Box(*ends), "tightened", run=av.Run(device=device))
    box = av.Box(*(end.double().numpy() for end in ends))
    for (low, high), (there, above) in zip(
        pairs(av.preactivation_bounds(case.network, box, "tightened")), pairs(found), strict=True
    ):
        scale = 1e-2 * (1.0 + np.abs(low).max())
        assert there.dtype == torch.float64
        assert np.abs(low - there.numpy()).max() <= scale and np.abs(high - above.numpy()).max() <= scale
        assert device is not None or (np.array_equal(low, there.numpy()) and np.array_equal(high, above.numpy()))


def test_threads_change_nothing(monkeypatch) -> None:
    """Blocks of other sizes round differently; more than that would be results in each other's place."""
    for seed in range(6):
        case = layer_case(seed, False)
        alone = av.preactivation_bounds(case.network, case.box, "tightened")
        with monkeypatch.context() as patch:
            patch.setattr("admm_verify.bounds.preactivation.workers_for", lambda *_: 4)
            together = av.preactivation_bounds(case.network, case.box, "tightened")
        for ours, theirs in zip(pairs(together), pairs(alone), strict=True):
            for end, other in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(end, other, rtol=1e-3, atol=1e-3 * np.abs(other).max(initial=1e-30))


def test_tightening_asks_between_its_steps():
    rng, shapes = np.random.default_rng(0), ((6, 4), (5, 6), (3, 5))
    deep = network_from_layers([rng.standard_normal(shape) for shape in shapes], [np.zeros(rows) for rows, _ in shapes])
    asked, box = [], av.Box(-np.ones(4), np.ones(4))
    stop = av.Run(stop=lambda: asked.append(None) or len(asked) > 50)
    many = av.TightenSettings(iterations=10_000, shallow=10_000)
    found = av.preactivation_bounds(deep, box, "tightened", settings=many, run=stop)
    loose = av.preactivation_bounds(deep, box)
    assert 50 < len(asked) < 100
    assert all((low <= tight).all() for low, tight in zip(loose.lower, found.lower, strict=True))
