"""Boxes around polytopes, certified by multipliers of their rows."""

import numpy as np

from admm_verify.arrays import gamma, namespace, to_numpy
from admm_verify.errors import InputError
from admm_verify.sets.polytopes import Polytopes

_GUESSES = (10.0, 1e3, 1e5, 1e7, 1e9)
"""Sizes of a first box, in distances of the farthest hyperplane from the origin."""

_TELLING = 3
"""First boxes that have to be free of points for a set to count as empty."""

_ROUNDS = 6
"""In which boxes are tightened; one or two suffice but for sides of very different lengths."""

_BROKEN = 1e-7
"""Relative to what a row varies by over the box: points that break it by more are not taken for rounding."""


def tightened(sets: Polytopes, rounds: int = 1) -> Polytopes:
    """The same sets with the smallest boxes around them, up to rounding.

    Shapes: sets [sets, n] with an axis for them.
    Error: rounded outward.
    """
    xp, n = namespace(sets.lower), sets.size
    units = xp.eye(n, dtype=sets.lower.dtype, device=sets.placement.device)
    ways = xp.broadcast_to(xp.concat([units, -units], axis=0), (sets.count, 2 * n, n))
    infinity = xp.full_like(sets.lower, float("inf"))
    for _ in range(rounds):
        value, size = sets.spread().minimum(ways)
        least = value - gamma(2 * n + 16) * size
        low = xp.maximum(sets.lower, xp.nextafter(least[:, :n], -infinity))
        high = xp.minimum(sets.upper, xp.nextafter(-least[:, n:], infinity))
        # What is empty is found out by others.
        fine = xp.all(low <= high, axis=-1, keepdims=True)
        low, high = xp.where(fine, low, sets.lower), xp.where(fine, high, sets.upper)
        narrowed = xp.any(high - low < 0.9 * sets.width)
        inner = xp.minimum(xp.maximum(sets.inner, low), high)
        sets = Polytopes(low, high, sets.normals, sets.ceiling, sets.floor, inner)
        if not bool(narrowed):
            break
    return Polytopes.about(sets.lower, sets.upper, sets.normals, sets.ceiling, sets.floor)


def refuse_empty(sets: Polytopes) -> None:
    """Raise InputError where rows exclude all points of the box for certain, or where none was found.

    Shapes: sets [sets, n] with an axis for them.
    """
    error = _emptiness(sets)
    if error is not None:
        raise error


def _emptiness(sets: Polytopes) -> InputError | None:
    if not sets.rows:
        return None
    multipliers = sets.farkas
    bound = to_numpy(sets.bound(np.zeros(sets.shape), multipliers))
    scale = np.abs(to_numpy(sets.normals)) @ to_numpy(sets.half)[..., None]
    over = (to_numpy(sets.normals) @ to_numpy(sets.inner)[..., None])[..., 0] - to_numpy(sets.ceiling)
    broken = over - _BROKEN * scale[..., 0] - 4.0 * to_numpy(sets.doubt)
    for k in range(sets.count):
        which = f" {k}" if sets.count > 1 else ""
        if bound[k] > 0:
            rows = np.flatnonzero(multipliers[k] > 1e-6 * multipliers[k].max())
            return InputError(
                f"The polytope{which} is empty: no point of its box [{sets.lower[k].min():.6g}, "
                f"{sets.upper[k].max():.6g}]^{sets.size} keeps the rows {_listed(rows)} all at once; give limits that "
                "leave some."
            )
        if broken[k].size and broken[k].max() > 0:
            row = int(broken[k].argmax())
            return InputError(
                f"No point of the polytope{which} was found: the nearest breaks row {row} by {over[k, row]:.3g}. If it "
                "is not empty it is thinner than its numbers' rounding; give larger limits."
            )
    return None


def _listed(rows: np.ndarray) -> str:
    shown = ", ".join(str(row) for row in rows[:6])
    return shown if len(rows) <= 6 else f"{shown}, .."


def bounding_box(normals: np.ndarray, ceiling: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of a box around a set {x : normals x <= ceiling} that has none of its own, as small as it gets.

    With c = e_i or -e_i and any mu >= 0, c'x >= r'x - ceiling'mu with r = c + normals'mu, which is nearly zero. All of
    these together bound t = max |x_i|: t <= max ceiling'mu + t max |r|_1.

    Shapes: normals [m, n]; ceiling, floor [m] -> [n], [n].
    Raises: InputError for a set that has no bounds, or whose bounds were not found, and for an empty one.
    """
    m, n = normals.shape
    ways = np.concatenate([np.eye(n), -np.eye(n)])
    longest = np.abs(normals).max(axis=1, initial=0.0)
    distance = float(np.max(np.abs(ceiling) / np.maximum(longest, 1e-300), initial=0.0)) or 1.0
    tried = []
    for guess in _GUESSES if m else ():
        ends = np.full(n, guess * distance)
        sets = Polytopes.about(*(part[None] for part in (-ends, ends, normals, ceiling, floor)))
        mu = to_numpy(sets.spread().multipliers(ways[None]))[0]
        error = gamma(m + 4) * (np.abs(ways) + mu @ np.abs(normals))
        left = np.sum(np.abs(ways + mu @ normals) + error, axis=1) * (1.0 + gamma(n + 2))
        least = mu @ ceiling + gamma(m + 4) * (mu @ np.abs(ceiling))
        share, most = float(left.max()), float(max(least.max(), 0.0))
        if share < 0.5:
            size = np.full(n, most / (1.0 - share) * (1.0 + 1e-12))
            if size[0] <= ends[0]:
                refuse_empty(sets)
            start = Polytopes.about(*(part[None] for part in (-size, size, normals, ceiling, floor)))
            refuse_empty(start)
            found = tightened(start, _ROUNDS)
            refuse_empty(found)
            return to_numpy(found.lower)[0], to_numpy(found.upper)[0]
        tried.append((sets, int(left.argmax()) % n))
    # Over the largest boxes, rows that exclude each other may seem to do so by rounding alone.
    errors = [_emptiness(sets) for sets, _ in tried[:_TELLING]]
    if errors and errors[0] is not None and None not in errors:
        raise errors[0]
    raise InputError(
        f"The polytope is unbounded: its {m} rows give no finite bound of x[{tried[-1][1] if tried else 0}]; add rows, "
        "or a box: av.Polytope(normals, limits, av.Box(lower, upper))."
    )
