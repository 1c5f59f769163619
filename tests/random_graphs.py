"""Random graphs that mix all kinds of activations: programs of plain steps, of which networks and truths are made.

A program is kept as steps, so that what it computes can be told by other means than the library's: `graph_values.py`
computes it by torch and in many digits, `graph_models.py` writes it as a torch module and as an ONNX model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from admm_verify import Box, Network
from admm_verify.network.activations import FUNCTIONS, OPERANDS
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.network.products import matmul

Randomness = np.random.Generator
Ends = tuple[np.ndarray, np.ndarray]

KINDS = sorted(kind for kind in FUNCTIONS if OPERANDS.get(kind, 1) == 1)
"""Every kind of one operand that the library knows."""

WHOLE = (-5.0, 5.0)
DOMAINS: dict[str, tuple[tuple[float, float], ...]] = {
    "acosh": ((1.02, 6.0),),
    "asin": ((-0.98, 0.98),),
    "atanh": ((-0.95, 0.95),),
    "cosh": ((-3.0, 3.0),),
    "exp": ((-4.0, 3.0),),
    "log": ((0.05, 6.0),),
    "power": ((0.1, 3.0),),
    "reciprocal": ((0.2, 5.0), (-5.0, -0.2)),
    "sinh": ((-3.0, 3.0),),
    "sqrt": ((0.02, 6.0),),
    "square": ((-3.0, 3.0),),
    "tan": ((-1.4, 1.4),),
}
"""Where inputs of a kind may be; those of all others anywhere in `WHOLE`."""

_OUTWARD = 1e-6


@dataclass(frozen=True, eq=False)
class Step:
    """One value of a program, a flat vector of `size` entries.

    operation: "input", "dense" (W x + b), "add", "concat", "select", "product" (entry by entry), "matmul" (of values in
    the shapes `shapes`), or a kind of activation. arrays: what it takes beside values.
    """

    operation: str
    sources: tuple[int, ...]
    size: int
    arrays: tuple[np.ndarray, ...] = ()
    shapes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, eq=False)
class Program:
    """Steps in order, the last of which is the output, with a box of inputs and objective rows."""

    label: str
    steps: tuple[Step, ...]
    box: Box
    objective: np.ndarray
    offset: np.ndarray

    def network(self, element_type: str = "float64") -> Network:
        """The network of the program, in normal form."""
        builder = Builder((1, self.steps[0].size), element_type)
        values = [builder.input]
        for step in self.steps[1:]:
            values.append(_built(builder, step, [values[i] for i in step.sources]))
        return builder.finish(values[-1], self.label)


def _built(builder: Builder, step: Step, given: list[Tensor]) -> Tensor:
    x, shape = given[0], (1, step.size)
    match step.operation:
        case "dense":
            found = Tensor(builder.affine(x, DenseMap(step.arrays[0]), step.arrays[1]), shape)
        case "add":
            found = builder.add(x, given[1])
        case "concat":
            found = builder.concat([*given], 1)
        case "select":
            found = builder.select(x, step.arrays[0].reshape(shape))
        case "product":
            found = builder.product(x, given[1])
        case "matmul":
            sides = [builder.reshape(value, wanted) for value, wanted in zip(given, step.shapes, strict=True)]
            found = builder.reshape(matmul(builder, *sides), shape)
        case kind:
            found = builder.activation(kind, x, *step.arrays)
    return found


def kind_ends(kind: str, parameters: tuple[np.ndarray, ...], low: np.ndarray, high: np.ndarray) -> Ends:
    """About the least and the largest value of a kind over intervals, and a little more; of intervals that are a little
    longer, as bounds are, so that these see no step that is not counted here.
    """
    low, high = low - _OUTWARD, high + _OUTWARD
    grid = low + np.linspace(0.0, 1.0, 257)[:, None] * (high - low)
    values = FUNCTIONS[kind](grid, parameters)
    spare = 0.02 * (values.max(axis=0) - values.min(axis=0))
    return values.min(axis=0) - spare, values.max(axis=0) + spare


def _product_ends(first: Ends, second: Ends) -> Ends:
    corners = [a * b for a in first for b in second]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


@dataclass(eq=False)
class Growth:
    """Steps so far, with intervals that hold their values over the box."""

    rng: Randomness
    whole: bool
    """Weights and shifts are small multiples of 1/2, so that steps and kinks are met exactly."""
    steps: list[Step] = field(default_factory=list)
    ends: list[Ends] = field(default_factory=list)

    def size(self, value: int) -> int:
        return self.steps[value].size

    def append(self, step: Step, ends: Ends) -> int:
        self.steps.append(step)
        self.ends.append(ends)
        return len(self.steps) - 1

    def affine(self, x: int, weight: np.ndarray, bias: np.ndarray) -> int:
        low, high = self.ends[x]
        middle, spread = weight @ (low + high) / 2 + bias, np.abs(weight) @ (high - low) / 2
        return self.append(Step("dense", (x,), len(bias), (weight, bias)), (middle - spread, middle + spread))

    def dense(self, x: int, size: int, inside: tuple[float, float] | None = None) -> int:
        """W x + b, with values inside an interval where one is given, which some of them fill and some do not."""
        rng, n = self.rng, self.size(x)
        weight = rng.standard_normal((size, n)) * (rng.random((size, n)) < 0.8) / np.sqrt(n)
        if self.whole:
            weight = np.rint(2.0 * weight) / 2.0
        return self.fitted(x, weight, inside)

    def fitted(self, x: int, weight: np.ndarray, inside: tuple[float, float] | None) -> int:
        rng, size = self.rng, len(weight)
        low, high = self.ends[x]
        # What hardly moves stays so.
        middle, spread = weight @ (low + high) / 2, np.maximum(np.abs(weight) @ (high - low) / 2, 0.05)
        if inside is None:
            scale, wanted = 2.0 / np.maximum(spread, 1.0), rng.uniform(-0.5, 0.5, size)
        else:
            wide = (inside[1] - inside[0]) / 2
            radius = wide * rng.uniform(0.1, 0.98, size) ** rng.choice([0.2, 1.0])
            if self.whole and inside == WHOLE:
                scale = np.exp2(np.floor(np.log2(radius / spread)))
            else:
                scale = radius / spread
            wanted = sum(inside) / 2 + (wide - scale * spread) * rng.uniform(-0.95, 0.95, size)
        shift = wanted - scale * middle
        if self.whole and inside in (None, WHOLE):
            exact = np.rint(2.0 * shift) / 2.0
            shift = np.where(np.abs(exact + scale * middle) + scale * spread <= WHOLE[1], exact, shift)
        # Numbers that float32 holds, so that models in both types are the same function.
        numbers = [np.asarray(a, dtype=np.float32).astype(np.float64) for a in (scale[:, None] * weight, shift)]
        return self.affine(x, *numbers)

    def act(self, kind: str, x: int) -> int:
        """A kind of activation of a value that is inside its domain."""
        parameters = self.parameters(kind, self.size(x))
        return self.append(Step(kind, (x,), self.size(x), parameters), kind_ends(kind, parameters, *self.ends[x]))

    def parameters(self, kind: str, size: int) -> tuple[np.ndarray, ...]:
        rng = self.rng
        if kind == "prelu":
            return (rng.choice([-1.0, 0.25, 0.01, -0.5], size),)
        if kind == "clip":
            low = rng.integers(-4, 2, size) / 2.0
            return (low, low + rng.integers(1, 5, size) / 2.0)
        if kind == "elu":
            return (np.full(size, rng.choice([1.0, 0.5])),)
        if kind == "heaviside":
            return (rng.choice([0.0, 0.5, 1.0], size),)
        if kind == "power":
            return (np.full(size, rng.choice([-2.0, -1.0, -0.5, 0.5, 1.5, 3.0, 4.0])),)
        return ()

    def domain(self, kind: str) -> tuple[float, float]:
        known = DOMAINS.get(kind, (WHOLE,))
        return known[int(self.rng.integers(len(known)))]

    def layer(self, kind: str, x: int, size: int) -> int:
        return self.act(kind, self.dense(x, size, self.domain(kind)))

    def add(self, first: int, second: int) -> int:
        ends = tuple(a + b for a, b in zip(self.ends[first], self.ends[second], strict=True))
        return self.append(Step("add", (first, second), self.size(first)), (ends[0], ends[1]))

    def concat(self, *values: int) -> int:
        low, high = (np.concatenate([self.ends[v][side] for v in values]) for side in (0, 1))
        return self.append(Step("concat", values, len(low)), (low, high))

    def select(self, x: int, index: np.ndarray) -> int:
        low, high = (end[index] for end in self.ends[x])
        return self.append(Step("select", (x,), len(index), (index,)), (low, high))

    def product(self, first: int, second: int) -> int:
        ends = _product_ends(self.ends[first], self.ends[second])
        return self.append(Step("product", (first, second), self.size(first)), ends)

    def matmul(self, first: int, second: int, shapes: tuple[tuple[int, int], ...]) -> int:
        """The product of two values as matrices of the given shapes."""
        (rows, inner), (_, columns) = shapes
        left = [np.broadcast_to(end.reshape(rows, inner, 1), (rows, inner, columns)) for end in self.ends[first]]
        right = [np.broadcast_to(end.reshape(1, inner, columns), (rows, inner, columns)) for end in self.ends[second]]
        low, high = _product_ends((left[0], left[1]), (right[0], right[1]))
        step = Step("matmul", (first, second), rows * columns, shapes=shapes)
        return self.append(step, (low.sum(axis=1).reshape(-1), high.sum(axis=1).reshape(-1)))


def _plain(growth: Growth, kind: str, x: int) -> int:
    return growth.layer(kind, x, int(growth.rng.integers(2, 6)))


def _residual(growth: Growth, kind: str, x: int) -> int:
    inner = growth.layer(kind, x, int(growth.rng.integers(2, 6)))
    return growth.add(growth.dense(inner, growth.size(x), (-1.5, 1.5)), x)


def _branches(growth: Growth, kind: str, x: int) -> int:
    """Two kinds of one value, and the value itself, side by side and in another order."""
    wide = growth.dense(x, 3, growth.domain(kind))
    other = growth.act("tanh", wide)
    joined = growth.concat(growth.act(kind, wide), other, x)
    return growth.select(joined, growth.rng.permutation(growth.size(joined))[:6])


def _gated(growth: Growth, kind: str, x: int) -> int:
    size = int(growth.rng.integers(2, 5))
    return growth.product(growth.dense(x, size, (-2.0, 2.0)), growth.layer(kind, x, size))


def _quadratic(growth: Growth, kind: str, x: int) -> int:
    """Products of a layer's neurons with one another, some with themselves."""
    values = growth.layer(kind, x, 4)
    first, second = (growth.select(values, growth.rng.integers(0, 4, 4)) for _ in range(2))
    return growth.product(first, second)


def _matrix(growth: Growth, kind: str, x: int) -> int:
    left, right = growth.layer(kind, x, 4), growth.dense(x, 6, (-1.0, 1.0))
    return growth.matmul(left, right, ((2, 2), (2, 3)))


def _quotient(growth: Growth, kind: str, x: int) -> int:
    below = growth.act("reciprocal", growth.dense(x, 3, growth.domain("reciprocal")))
    return growth.product(growth.layer(kind, x, 3), below)


BLOCKS: dict[str, tuple[Callable[[Growth, str, int], int], tuple[str, ...]]] = {
    "plain": (_plain, ()),
    "residual": (_residual, ()),
    "branches": (_branches, ()),
    "gated": (_gated, ("product",)),
    "matrix": (_matrix, ("product",)),
    "quadratic": (_quadratic, ("product", "square")),
    "quotient": (_quotient, ("product", "reciprocal")),
}
"""What graphs grow by, and the kinds that it takes beside the one it is given."""

STYLES = ("usual", "usual", "whole", "wide", "narrow", "flat")


def random_program(seed: int) -> Program:
    """The program of a seed; its first activation is of kind seed mod their number."""
    rng = np.random.default_rng([seed, 17])
    style = STYLES[(seed // 2) % len(STYLES)]
    size = int(rng.integers(2, 4))
    box = _box(rng, size, style)
    growth = Growth(rng, style == "whole")
    x = growth.append(Step("input", (), size), (box.lower, box.upper))
    blocks = [name for name, (_, kinds) in BLOCKS.items() if all(kind in FUNCTIONS for kind in kinds)]
    names = []
    for depth in range(int(rng.integers(1, 4))):
        kind = KINDS[seed % len(KINDS)] if depth == 0 else str(rng.choice(KINDS))
        block = blocks[(seed // len(KINDS) + seed) % len(blocks)] if depth == 0 else str(rng.choice(blocks))
        names.append(f"{block} {kind}")
        x = BLOCKS[block][0](growth, kind, x)
    growth.dense(x, 2, (-3.0, 3.0) if style == "whole" else None)
    rows = int(rng.integers(1, 4))
    objective, offset = np.rint(8 * rng.standard_normal((rows, 2))) / 8, rng.standard_normal(rows)
    return Program(f"{seed}: {style}, {', '.join(names)}", tuple(growth.steps), box, objective, offset)


def _box(rng: Randomness, size: int, style: str) -> Box:
    if style == "whole":
        lower = rng.integers(-3, 2, size).astype(np.float64)
        return Box(lower, lower + rng.integers(1, 3, size))
    centre = rng.uniform(-1, 1, size)
    radius = rng.uniform(0.3, 1.0, size) * {"wide": 3.0, "narrow": 0.02}.get(style, 1.0)
    if style == "flat":
        radius[0] = 0.0
    return Box(centre - radius, centre + radius)
