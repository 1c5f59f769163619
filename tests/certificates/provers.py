"""Certificates made without the search: random trees with random slopes and multipliers, and halving with CROWN."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
from scipy.optimize import linprog

from admm_verify import Box, Network, Problem, SolverSettings, solve
from admm_verify.certificates.certificate import Certificate, Leaves, Tightening
from admm_verify.certificates.digests import network_digest, property_digest
from admm_verify.network.graph import Activation, Affine
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.sets.exact import ExactBox

Rng = np.random.Generator


def property_of(network: Network, disjuncts: Sequence[Disjunct], arithmetic: str = "real") -> Property:
    sides = (Variable("X", arithmetic, (network.input_size,)), Variable("Y", arithmetic, (network.output_size,)))
    return Property((1, 0), (NetworkDeclaration("", sides[:1], sides[1:]),), tuple(disjuncts))


def box_of(box: Box) -> ExactBox:
    return ExactBox(tuple(map(Fraction, box.lower.tolist())), tuple(map(Fraction, box.upper.tolist())))


def atom_of(objective: np.ndarray, offset: float, strict: bool = False) -> Atom:
    """objective'y + offset <= 0."""
    return Atom(tuple((i, Fraction(float(c))) for i, c in enumerate(objective)), Fraction(offset), strict)


def one_atom(network: Network, box: Box, objective: np.ndarray, offset: float, strict: bool = False) -> Property:
    return property_of(network, [Disjunct(box_of(box), (atom_of(objective, offset, strict),))])


def retargeted(certificate: Certificate, property: Property, network: Network) -> Certificate:
    """The certificate with the digests of another query."""
    return replace(certificate, network=network_digest(network), query=property_digest(property))


def activations(network: Network) -> list[Activation]:
    return list(network.functions)


def slope_counts(network: Network) -> list[int]:
    return [(1 if node.kind in ("relu", "prelu") else 2) * node.size for node in activations(network)]


def _tree(rng: Rng, choices: Sequence[int], deepest: int, repeat: bool) -> list[list[int]]:
    """The paths of a random binary tree; each inner node splits one of the choices, anew on a path only to repeat."""
    if not deepest or not choices or rng.random() < 0.15:
        return [[]]
    chosen = int(rng.choice(choices))
    left = choices if repeat else [c for c in choices if c != chosen]
    return [[sign * (1 + chosen), *path] for sign in (1, -1) for path in _tree(rng, left, deepest - 1, repeat)]


def random_columns(rng: Rng, network: Network, share: float = 0.7) -> tuple[np.ndarray, ...]:
    return tuple(np.flatnonzero(rng.random(count) < share).astype(np.int32) for count in slope_counts(network))


def random_slopes(rng: Rng, rows: int, columns: Sequence[np.ndarray]) -> np.ndarray:
    return rng.uniform(-0.2, 1.2, (rows, sum(map(len, columns)))).astype(np.float32)


def random_leaves(rng: Rng, network: Network, property: Property, kind: str, deepest: int, share: float = 0.7):
    """Leaves of a random tree for every disjunct, and their columns."""
    columns = random_columns(rng, network, share)
    if kind == "input":
        choices = list(range(network.input_size))
    else:
        kinked = [np.full(node.size, node.kind in ("relu", "prelu")) for node in activations(network)]
        choices = np.flatnonzero(np.concatenate(kinked)).tolist() if kinked else []
    paths = [
        (g, path) for g in range(len(property.disjuncts)) for path in _tree(rng, choices, deepest, kind == "input")
    ]
    splits = np.zeros((len(paths), max((len(path) for _, path in paths), default=0)), dtype=np.int32)
    for row, (_, path) in enumerate(paths):
        splits[row, : len(path)] = path
    goal = np.array([g for g, _ in paths], dtype=np.int32)
    atom = np.array([rng.integers(len(property.disjuncts[g].atoms)) for g in goal], dtype=np.int32)
    beta = (rng.exponential(0.5, splits.shape) * (splits != 0) * (kind == "neuron")).astype(np.float32)
    order = rng.permutation(len(paths))
    slopes = random_slopes(rng, len(paths), columns)
    return Leaves(goal[order], atom[order], splits[order], beta[order], slopes[order]), columns


def random_tightenings(rng: Rng, network: Network, boxes: int = 1) -> tuple[Tightening, ...]:
    found = []
    feeding = sorted({node.source for node in activations(network)})
    for box in range(boxes):
        for node in feeding:
            part = network.nodes[node]
            if not isinstance(part, Affine) or rng.random() < 0.3:
                continue
            neurons = np.flatnonzero(rng.random(part.size) < 0.6).astype(np.int32)
            columns = random_columns(rng, network)
            slopes = [random_slopes(rng, len(neurons), columns) for _ in range(2)]
            found.append(Tightening(box, node, neurons, columns, *slopes))
    return tuple(found)


def random_certificate(
    rng: Rng, network: Network, property: Property, kind: str = "neuron", deepest: int = 4, arithmetic: str = "real"
) -> Certificate:
    """A certificate of the right form; whether it proves anything depends on the offsets."""
    leaves, columns = random_leaves(rng, network, property, kind, deepest)
    tightenings = random_tightenings(rng, network)
    digests = network_digest(network), property_digest(property)
    return Certificate(*digests, arithmetic, kind, tightenings, columns, leaves)


def halving_certificate(network: Network, property: Property, deepest: int) -> Certificate | None:
    """Halve the widest side until the library's CROWN excludes every part; None where that is too deep."""
    leaves: list[tuple[int, int, list[int]]] = []
    for goal, disjunct in enumerate(property.disjuncts):
        lower, upper = (np.array([float(end) for end in side]) for side in (disjunct.box.lower, disjunct.box.upper))
        stack: list[tuple[np.ndarray, np.ndarray, list[int]]] = [(lower, upper, [])]
        while stack:
            lower, upper, path = stack.pop()
            atom = _excluding(network, disjunct, Box(lower, upper))
            if atom is not None:
                leaves.append((goal, atom, path))
                continue
            if len(path) == deepest:
                return None
            side = int(np.argmax(upper - lower))
            middle = 0.5 * lower[side] + 0.5 * upper[side]
            below, above = upper.copy(), lower.copy()
            below[side], above[side] = middle, middle
            stack += [(lower, below, [*path, -1 - side]), (above, upper, [*path, 1 + side])]
    splits = np.zeros((len(leaves), max(len(path) for _, _, path in leaves)), dtype=np.int32)
    for row, (_, _, path) in enumerate(leaves):
        splits[row, : len(path)] = path
    goal, atom = (np.array([leaf[i] for leaf in leaves], dtype=np.int32) for i in (0, 1))
    columns = tuple(np.zeros(0, dtype=np.int32) for _ in network.activations)
    slopes = np.zeros((len(leaves), 0), dtype=np.float32)
    found = Leaves(goal, atom, splits, np.zeros(splits.shape, dtype=np.float32), slopes)
    digests = network_digest(network), property_digest(property)
    return Certificate(*digests, "real", "input", (), columns, found)


def complete_certificate(
    network: Network, property: Property, box: Box, objective: np.ndarray
) -> tuple[Certificate, float]:
    """A certificate that fixes the signs of all neurons, with the multipliers of a linear program for every choice, and
    the least objective'f(x) over the box, which it comes near to: nothing is relaxed.
    """
    count = sum(node.size for node in activations(network))
    signs = np.array(list(product((1, -1), repeat=count)), dtype=np.int32)
    found = [_program(network, box, objective, row) for row in signs]
    beta, least = np.array([beta for beta, _ in found], dtype=np.float32), min(value for _, value in found)
    splits = signs * np.arange(1, count + 1, dtype=np.int32)
    goals = range(len(property.disjuncts))
    goal = np.repeat(np.array(goals, dtype=np.int32), len(signs))
    slopes, columns = np.zeros((len(goal), 0), np.float32), tuple(np.zeros(0, np.int32) for _ in network.activations)
    # Atom i of disjunct i is the one with this objective.
    leaves = Leaves(goal, goal, np.tile(splits, (len(goals), 1)), np.tile(beta, (len(goals), 1)), slopes)
    digests = network_digest(network), property_digest(property)
    return Certificate(*digests, "real", "neuron", (), columns, leaves), least


def _program(network: Network, box: Box, objective: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, float]:
    """Multipliers and value of min objective'f(x) with fixed signs, at a price for breaking them all."""
    forms, before, used = [(np.eye(network.input_size), np.zeros(network.input_size))], [], 0
    for node in network.nodes[1:]:
        if isinstance(node, Affine):
            weights = [(term.map.dense().weight, *forms[term.source]) for term in node.terms]
            matrix = sum((w @ a for w, a, _ in weights), np.zeros((node.size, network.input_size)))
            forms.append((matrix, sum((w @ b for w, _, b in weights), np.zeros(node.size)) + node.bias))
        elif isinstance(node, Activation):
            matrix, shift = forms[node.source]
            before.append((matrix, shift))
            own = (signs[used : used + node.size] > 0) * 1.0
            used += node.size
            forms.append((own[:, None] * matrix, own * shift))
    matrix, shift = (np.concatenate(parts) for parts in zip(*before, strict=True))
    cost = objective @ forms[-1][0]
    found = linprog(
        np.append(cost, 1e3),
        -np.column_stack([signs[:, None] * matrix, np.ones(len(signs))]),
        signs * shift,
        bounds=[*zip(box.lower, box.upper, strict=True), (0, None)],
    )
    return np.maximum(-found.ineqlin.marginals, 0.0), float(found.fun + objective @ forms[-1][1])


def _excluding(network: Network, disjunct: Disjunct, box: Box) -> int | None:
    """An atom that CROWN shows to be positive over the box."""
    objective = np.zeros((len(disjunct.atoms), network.output_size))
    for row, atom in enumerate(disjunct.atoms):
        for index, coefficient in atom.terms:
            objective[row, index] = float(coefficient)
    offset = np.array([float(atom.constant) for atom in disjunct.atoms])
    lower = solve(Problem(network, box, objective, offset), settings=SolverSettings(max_passes=0)).lower
    best = int(np.argmax(lower))
    return best if lower[best] > 1e-9 else None


def sampled_least(network: Network, box: Box, objective: np.ndarray, rng: Rng, count: int = 2000) -> float:
    """The least objective'f(x) over corners and random points of the box."""
    share = rng.random((count, len(box.lower)))
    share[: count // 2] = np.rint(share[: count // 2])
    x = box.lower + share * (box.upper - box.lower)
    return float((network(np.clip(x, box.lower, box.upper)).reshape(count, -1) @ objective).min())
