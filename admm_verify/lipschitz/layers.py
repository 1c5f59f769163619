"""How much the layers of a network stretch differences, one by one, and what these numbers bound together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.lipschitz.norms import norm_above, norm_below
from admm_verify.network.compose import compose
from admm_verify.network.gain import gain_by_sums
from admm_verify.network.graph import Activation, Affine, Network, Node
from admm_verify.network.maps import LinearMap
from admm_verify.network.selection import SelectionMap
from admm_verify.relaxations.registry import relaxation_of
from admm_verify.run import paced
from admm_verify.sets.norm_names import NormName

_EXTREMES = {"maximum", "minimum"}
"""Originals of which an entry never differs by more than those that it is chosen from."""


@dataclass(frozen=True)
class LayerNorm:
    """A certified norm: |y - y'| <= upper |x - x'| for what one step of a network makes y of x.

    node: the number of the node y; kind: what it is, such as "Dense", "relu" or "maximum", a pooling; source: the
    number of the node x. lower: what was attained, None where nothing was tried. inputs, outputs: entries of x and y.
    """

    node: int
    kind: str
    source: int
    inputs: int
    outputs: int
    upper: float
    lower: float | None = None


@dataclass(frozen=True, eq=False)
class LayerStep:
    """How a node comes from earlier ones; apart: its parts are different entries, or it chooses among entries.

    pooled: of a node that chooses, how often it may choose an entry of each source at most.
    """

    node: int
    parts: tuple[tuple[int, LinearMap], ...] = ()
    activation: Activation | None = None
    pooled: tuple[tuple[int, int], ...] = ()
    apart: bool = False


def measured_graph(network: Network) -> Network:
    """The graph whose layers are measured: as read where poolings would be lost among rectifiers, else as relaxed."""
    read = network.as_read
    if read is not None and any(_chooses(node) for node in read.nodes):
        return read
    return network


def steps_of(graph: Network) -> tuple[LayerStep, ...]:
    """All nodes behind the input; affine nodes that follow one another are one step where that is cheap."""
    found: list[LayerStep] = []
    chosen: dict[int, dict[int, list[np.ndarray]]] = {}
    chains: dict[int, tuple[int, LinearMap]] = {}
    for i, node in paced(list(enumerate(graph.nodes))[1:]):
        if isinstance(node, Activation):
            found.append(LayerStep(i, activation=node))
        elif isinstance(node, Affine):
            places = _chosen(graph, i, chosen)
            if places:
                chosen[i] = places
            if _chooses(node):
                pooled = tuple((base, _uses(graph.nodes[base].size, index)) for base, index in places.items())
                found.append(LayerStep(i, pooled=pooled, apart=True))
                continue
            parts = tuple(_merged(term.map, term.source, chains) for term in node.terms)
            if len(parts) == 1:
                chains[i] = parts[0]
            found.append(LayerStep(i, parts, apart=len(parts) > 1 and _apart(parts)))
    return _needed(graph, found)


def layer_norms_of(
    graph: Network, steps: tuple[LayerStep, ...], norm: NormName, attain: bool, quick: bool = False
) -> Iterator[LayerNorm]:
    """The norms of all steps, in order; quick: in l2 what follows from those in l1 and linf, which take no time."""
    for step in steps:
        size = graph.nodes[step.node].size
        for source, part in step.parts:
            lower = norm_below(part, norm, norm) if attain else None
            upper = gain_by_sums(part) if quick and norm == "l2" else norm_above(part, norm, norm)
            kind = type(part).__name__.removesuffix("Map")
            yield LayerNorm(step.node, kind, source, part.columns, part.rows, upper, lower)
        for source, uses in step.pooled:
            # The root of a square is exact.
            root = float(np.sqrt(uses)) * (1.0 if uses <= 1 else 1.0 + 1e-15)
            most = {"l1": float(uses), "l2": root, "linf": min(1.0, float(uses))}[norm]
            original = getattr(graph.nodes[step.node], "original", None)
            kind = "maximum" if original is None else original.kind
            yield LayerNorm(step.node, kind, source, graph.nodes[source].size, size, most)
        if step.activation is not None:
            node = step.activation
            inputs = graph.nodes[node.source].size
            yield LayerNorm(step.node, node.kind, node.source, inputs, size, steepest(node))


def steepest(node: Activation) -> float:
    """max |phi'| of an activation over all arguments and neurons."""
    least, most = relaxation_of(node).slope_limits()
    sizes = [np.abs(to_numpy(limit)) for limit in (least, most)]
    return max(float(np.max(size, initial=0.0)) for size in sizes)


def product_of(
    steps: tuple[LayerStep, ...], layers: list[LayerNorm], norm: NormName, start: int = 0
) -> dict[int, float]:
    """Lipschitz constants of nodes in node `start`, which all paths pass: products along paths, summed where they meet.

    What lies before that node on no path is constant. Parts that are entries of their own add up as lengths: the root
    of the sum of squares, in linf the largest.
    Error: rounded outward.
    """
    by_node: dict[int, list[LayerNorm]] = {}
    for layer in layers:
        by_node.setdefault(layer.node, []).append(layer)
    found = {start: 1.0}
    for step in steps:
        if step.node <= start:
            continue
        terms = np.array([_times(layer.upper, found.get(layer.source, 0.0)) for layer in by_node.get(step.node, [])])
        if not step.apart or norm == "l1":
            total = float(np.sum(terms))
        elif norm == "linf":
            total = float(np.max(terms, initial=0.0))
        else:
            most = float(np.max(terms, initial=0.0))
            total = most if most in (0.0, np.inf) else most * float(np.sqrt(np.sum((terms / most) ** 2)))
        found[step.node] = total * (1.0 + gamma(len(terms) + 8))
    return found


def _times(first: float, second: float) -> float:
    """A product in which nothing else than zero comes of zero: what does not change at all is stretched by nothing."""
    return 0.0 if 0.0 in (first, second) else first * second


def _chooses(node: Node) -> bool:
    original = getattr(node, "original", None)
    return original is not None and original.kind in _EXTREMES


def _chosen(graph: Network, i: int, chosen: dict[int, dict[int, list[np.ndarray]]]) -> dict[int, list[np.ndarray]]:
    """Of a node that moves entries or chooses among them, where these come from; nothing for others."""
    node = graph.nodes[i]
    assert isinstance(node, Affine), "asked of affine nodes alone"
    if _chooses(node):
        assert node.original is not None, "it chooses"
        found: dict[int, list[np.ndarray]] = {}
        for source in node.original.sources:
            own = {source: [np.arange(graph.nodes[source].size)]}
            for base, index in chosen.get(source, own).items():
                found.setdefault(base, []).extend(index)
        return found
    if len(node.terms) != 1 or node.original is not None:
        return {}
    (term,) = node.terms
    part = term.map
    if not isinstance(part, SelectionMap):
        return {}
    gather = to_numpy(part.gather)
    own = {term.source: [np.arange(part.columns)]}
    # Behind the last entry there is a zero, which does not change.
    return {
        base: [np.append(index, graph.nodes[base].size)[gather] for index in places]
        for base, places in chosen.get(term.source, own).items()
    }


def _uses(size: int, index: list[np.ndarray]) -> int:
    """How often an entry may be chosen."""
    return int(np.bincount(np.concatenate(index), minlength=size + 1)[:size].max(initial=0))


def _merged(part: LinearMap, source: int, chains: dict[int, tuple[int, LinearMap]]) -> tuple[int, LinearMap]:
    while source in chains:
        before, inner = chains[source]
        joined = compose(part, inner)
        if joined is None:
            break
        part, source = joined, before
    return source, part


def _apart(parts: tuple[tuple[int, LinearMap], ...]) -> bool:
    """Whether no entry of the sum has two parts that are not zero."""
    met = sum((to_numpy(part.absolute_apply(np.ones(part.columns))) > 0).astype(int) for _, part in parts)
    return bool(np.max(met) <= 1)


def _needed(graph: Network, steps: list[LayerStep]) -> tuple[LayerStep, ...]:
    """The steps that the output comes of, without those that others have taken in."""
    needed, kept = {graph.output}, []
    for step in reversed(steps):
        if step.node in needed:
            sources = [source for source, _ in (*step.parts, *step.pooled)]
            needed.update(sources if step.activation is None else [step.activation.source])
            kept.append(step)
    return tuple(reversed(kept))
