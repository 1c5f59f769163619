"""Good multipliers of a frequency system: a descent over the frequencies that count, then a look at all of them."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from admm_verify.lipschitz.descent import descended
from admm_verify.lipschitz.frequency_system import FrequencySystem
from admm_verify.lipschitz.slope_forms import SlopeForms, by_reading, constants_of, judged, layered
from admm_verify.lipschitz.slope_system import Multipliers
from admm_verify.run import Run, paced

_FIRST = 48
"""Frequencies, evenly spread, that the first multipliers are made for."""

_ACTIVE = 24
"""Frequencies that join the descent at a time: those with the largest constants."""

_ROUNDS = 3
"""Descents, and looks at all frequencies after them."""

_WORK = 1e12
"""Operations of one stage of a descent, about: half a minute."""

_CHUNK = 2**22
"""Complex numbers in the forms of frequencies that are looked at together."""

_SHIFTS = ((0, 0), (0, 1), (1, 0), (1, 1))


def wave_multipliers(system: FrequencySystem, tolerance: float, run: Run) -> Iterator[tuple[np.ndarray, Multipliers]]:
    """Frequencies of a whole mesh, those with large constants first, and better and better multipliers for them.

    Of the meshes shifted by halves that with the least constant counts.
    """
    meshes = [system.waves(theta) for theta in _SHIFTS]
    weights = _first(system, meshes[0])
    if weights is None:
        return
    looked = [(_constants(system, waves, weights), waves) for waves in meshes]
    constants, waves = min(looked, key=lambda pair: float(np.max(pair[0])))
    if not np.isfinite(constants).all():
        return
    yield _ordered(waves, constants, weights)
    active = np.zeros(len(waves), dtype=bool)
    for _ in range(_ROUNDS):
        fresh = np.argsort(-constants)[: _most_active(system)]
        if active[fresh].all() or run.over():
            return
        active[fresh] = True
        forms = _forms(system, waves[active])
        found = weights
        steps = _steps(system, len(forms))
        for point in descended(partial(judged, forms), weights, len(forms) * system.outputs, tolerance, steps):
            found = point.weights
            if run.over():
                break
        there = _constants(system, waves, found)
        better = np.max(there) < np.max(constants)
        # Frequencies that were left out join where they are the largest now.
        constants = there if np.isfinite(there).all() else np.maximum(constants, np.minimum(there, np.max(constants)))
        if better:
            weights = found
            yield _ordered(waves, constants, weights)


def _ordered(waves: np.ndarray, constants: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, Multipliers]:
    largest = float(np.max(constants))
    return waves[np.argsort(-constants)], Multipliers(largest, largest * weights)


def _first(system: FrequencySystem, waves: np.ndarray) -> np.ndarray | None:
    some = waves[np.unique(np.linspace(0, len(waves) - 1, _FIRST).astype(int))]
    return layered(_forms(system, some), by_reading, 0.7)


def _forms(system: FrequencySystem, waves: np.ndarray) -> SlopeForms:
    return SlopeForms.of(system.inputs, *system.at(waves), system.stops)


def _constants(system: FrequencySystem, waves: np.ndarray, weights: np.ndarray) -> np.ndarray:
    step = max(1, _CHUNK // system.side**2)
    parts = paced(range(0, len(waves), step))
    return np.concatenate([constants_of(_forms(system, waves[k : k + step]), weights) for k in parts])


def _most_active(system: FrequencySystem) -> int:
    return _ACTIVE if system.outputs <= 200 else _ACTIVE // 3


def _steps(system: FrequencySystem, active: int) -> int:
    each = 8.0 * (system.neurons**3 + 10.0 * system.outputs**3) * active
    return int(np.clip(_WORK / each, 8, 60))
