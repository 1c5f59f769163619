"""Every operator in random single-operator models: refused in a paragraph, or the function that runtimes compute."""

import warnings
from collections import Counter

import numpy as np
import pytest

from admm_verify.network.from_onnx import OPSETS
from tests.network.composition_draws import COMPOSITIONS
from tests.network.constant_draws import FOLDED
from tests.network.entry_draws import ENTRIES
from tests.network.movement_draws import MOVEMENT
from tests.network.operator_draws import ARITHMETIC, LAYERS, Draw, X
from tests.network.operator_judge import INACCURATE, judged

READ = ARITHMETIC | LAYERS | MOVEMENT


def outcome(draws, seed: int, constant: bool) -> tuple[str, str]:
    """The judgement of one random model, and what it is."""
    rng = np.random.default_rng(seed)
    opset, dtype = int(rng.integers(OPSETS[0], OPSETS[1] + 1)), "float64" if rng.random() < 0.3 else "float32"
    kind = list(draws)[seed % len(draws)]
    draw = Draw(rng, opset, dtype)
    use = draws[kind](draw)
    if constant:
        use.inputs = [draw.floats(*use.shape) if isinstance(v, str) and v == X else v for v in use.inputs]
        use.shape = ()
    elif 0 in use.shape:
        return "empty", ""
    with warnings.catch_warnings(action="ignore"):
        try:
            # What is folded is so to the last bit; runtimes lose more where they take squares of differences.
            accuracy = 0.0 if draws is FOLDED else 5 * INACCURATE if draws is COMPOSITIONS else INACCURATE
            return judged(use, opset, dtype, rng, accuracy), f"seed {seed}: {use} in opset {opset}, {dtype}"
        except (TypeError, ValueError) as error:
            # Nothing that a writer would build, such as an empty list without a type.
            if "make_attribute" in repr(error.__traceback__) or "attribute" in str(error):
                return "none", ""
            raise


def check(draws, seeds: range, constant: bool = False) -> None:
    results = [outcome(draws, seed, constant) for seed in seeds]
    wrong = [f"{what}: {verdict}" for verdict, what in results if verdict.startswith("wrong")]
    assert not wrong, "\n".join(wrong[:20])
    assert Counter(verdict for verdict, _ in results)["agrees"] > len(results) / 3


def test_operators_compute_what_runtimes_compute() -> None:
    check(READ, range(400))
    check(ENTRIES, range(140))
    check(COMPOSITIONS, range(190))


def test_operators_on_constants_are_folded_as_runtimes_do() -> None:
    check(FOLDED, range(150))
    check(READ, range(150), constant=True)
    check(ENTRIES, range(70), constant=True)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_many_operators_compute_what_runtimes_compute(part: int) -> None:
    check(READ, range(1000 + 1000 * part, 2000 + 1000 * part))
    check(ENTRIES, range(1000 + 300 * part, 1300 + 300 * part))
    check(COMPOSITIONS, range(1000 + 300 * part, 1300 + 300 * part))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_many_operators_on_constants_are_folded_as_runtimes_do(part: int) -> None:
    check(FOLDED, range(1000 + 1000 * part, 2000 + 1000 * part))
    check(READ, range(1000 + 1000 * part, 2000 + 1000 * part), constant=True)
