"""The network as a frozen directed acyclic graph of three node kinds: input, affine, activation.

All values are flat vectors per sample; reshapes therefore vanish, transposes and slices are selections, and a
residual addition is an affine node with two terms. Every map is a `LinearMap`.

A network holds two graphs: the simplified one, which is relaxed, and the one as read, which is evaluated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from os import PathLike

import numpy as np

from admm_verify.arrays import Array, Placement, SameArray, namespace, to_numpy
from admm_verify.errors import InputError, ModelError
from admm_verify.given import live_array
from admm_verify.network.activations import FUNCTIONS, OPERANDS, UNBOUNDED
from admm_verify.network.gain import gain
from admm_verify.network.heads import Head
from admm_verify.network.layout import flatten_batch, is_single
from admm_verify.network.limits import Limits
from admm_verify.network.maps import LinearMap, applied
from admm_verify.network.originals import Original
from admm_verify.network.selection import SelectionMap
from admm_verify.run import paced


@dataclass(frozen=True)
class Input:
    """The network's input, a flat vector of `size` entries."""

    size: int


@dataclass(frozen=True, eq=False)
class Term:
    """One summand W x_source of an affine node."""

    source: int
    map: LinearMap


@dataclass(frozen=True, eq=False)
class Affine:
    """y = sum over terms of W x_source + bias.

    bias_magnitude >= |bias| is the sum of absolute products behind a merged bias; it feeds rounding terms. A merged
    node hides the values between its parts: they stay within peak_gain max|x_source| + peak_shift. In a graph as read,
    a node that is the end of a rewriting knows its `original`, the same function in real numbers. nonnegative: no entry
    is ever negative, also as computed.
    """

    terms: tuple[Term, ...]
    bias: Array
    bias_magnitude: Array
    peak_gain: float = 0.0
    peak_shift: float = 0.0
    original: Original | None = None
    nonnegative: bool = False

    @property
    def size(self) -> int:
        return self.bias.shape[-1]

    @property
    def multiplications(self) -> int:
        """Multiplications of one product for one row."""
        return sum(term.map.multiplications for term in self.terms)

    @property
    def roundings(self) -> int:
        """Roundings on the longest path through the node: its maps, the sum over terms and the bias."""
        return max((term.map.roundings for term in self.terms), default=0) + len(self.terms) + 1

    @cached_property
    def shifts(self) -> bool:
        """Whether the bias has to be added, as it also has where the value would be a source's own array otherwise.

        Not looked up on another device, where that would wait for it.
        """
        own = any(isinstance(term.map, SelectionMap) and term.map.is_identity for term in self.terms)
        return own or not self.terms or not isinstance(self.bias, np.ndarray) or bool(self.bias.any())

    def apply(self, values: Sequence[Array | None]) -> Array:
        """The node's value from the values of the nodes before it."""
        total: Array | None = self.bias if self.shifts else None
        for term in self.terms:
            total = applied(term.map, _known(values[term.source]), total)
        return _known(total)

    def reading(self, places: Mapping[int, int]) -> "Affine":
        """The same node where what it reads has other numbers."""
        terms = tuple(Term(places[term.source], term.map) for term in self.terms)
        return replace(self, terms=terms, original=None if self.original is None else self.original.reading(places))


@dataclass(frozen=True, eq=False)
class Activation:
    """An activation y = phi(x_source), entry by entry; `kind` names its function and its relaxation.

    Where phi has m operands the source holds them one after the other: y_i = phi(x_i, x_(n+i), ..).
    parameters: what the kind asks for, one number per entry, [n] each. limits: of a product's values, if known.
    Shapes: source [m size].
    """

    kind: str
    source: int
    size: int
    parameters: tuple[Array, ...] = ()
    limits: Limits | None = None

    @property
    def operands(self) -> int:
        """How many numbers phi takes."""
        return OPERANDS.get(self.kind, 1)

    def __call__(self, x: Array) -> Array:
        """phi(x)."""
        return FUNCTIONS[self.kind](x, self.parameters)

    def apply(self, values: Sequence[Array | None]) -> Array:
        """The node's value from the values of the nodes before it."""
        return self(_known(values[self.source]))

    def reading(self, places: Mapping[int, int]) -> "Activation":
        """The same node where what it reads has another number."""
        return replace(self, source=places[self.source])


Node = Input | Affine | Activation
Computation = Callable[[Sequence[Array | None]], Array]


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A network f as nodes in topological order; node 0 is the input and the last node the output.

    as_read: the graph before affine chains were merged, which shares its numbers wherever nothing was merged and in
    which rewritten functions know their originals; what f computes. None where that is `nodes` itself. head: what f
    does with the last node's values, the scores of classes, at the end, such as a softmax; None for nothing.
    Shapes: input_shape and output_shape are per sample, without a batch axis.
    """

    nodes: tuple[Node, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    name: str = "network"
    element_type: str = "float32"
    as_read: "Network | None" = None
    head: Head | None = None
    refused = ""  # why no bounds of its nodes are bounds of it

    def __repr__(self) -> str:
        """One line per node: number, what it is, size, and the nodes it reads."""
        head = f"{self.name}: input {self.input_shape}, output {self.output_shape}, {self.element_type}"
        head += "" if self.head is None else f", by {self.head.words} of the scores"
        return "\n".join([head, *(f"{i:4d}  {_description(node)}" for i, node in enumerate(self.nodes))])

    @property
    def input_size(self) -> int:
        return prod(self.input_shape)

    @property
    def output_size(self) -> int:
        return prod(self.output_shape)

    @property
    def output(self) -> int:
        """Index of the output node."""
        return len(self.nodes) - 1

    @cached_property
    def scores(self) -> "Network":
        """The network without its head: what a softmax, or the like, at its end is applied to; itself without one."""
        if self.head is None:
            return self
        name = f"{self.name} before {self.head.words}"
        return replace(self, head=None, output_shape=self.head.shape, name=name)

    @cached_property
    def activations(self) -> tuple[int, ...]:
        """Indices of the activation nodes in graph order."""
        return tuple(i for i, node in enumerate(self.nodes) if isinstance(node, Activation))

    @cached_property
    def functions(self) -> tuple[Activation, ...]:
        """The activation nodes in graph order."""
        return tuple(node for node in self.nodes if isinstance(node, Activation))

    @cached_property
    def sources(self) -> tuple[int, ...]:
        """Indices of the nodes that the activations read, in their order."""
        return tuple(node.source for node in self.functions)

    @cached_property
    def affine(self) -> Mapping[int, Affine]:
        """The affine nodes by their indices, in graph order."""
        return {i: node for i, node in enumerate(self.nodes) if isinstance(node, Affine)}

    @cached_property
    def steps(self) -> tuple[tuple[int, Affine | None, int], ...]:
        """All nodes behind the input in order: their indices, the affine nodes that they are, and the activations
        before them; without an affine node, that counts the activation that it is.
        """
        steps: list[tuple[int, Affine | None, int]] = []
        k = 0
        for i, node in enumerate(self.nodes[1:], start=1):
            if isinstance(node, Affine):
                steps.append((i, node, k))
            else:
                steps.append((i, None, k))
                k += 1
        return tuple(steps)

    @cached_property
    def readers(self) -> tuple[frozenset[int], ...]:
        """Indices of the nodes that read each node."""
        readers: list[set[int]] = [set() for _ in self.nodes]
        for i, node in enumerate(self.nodes):
            for source in sources_of(node):
                readers[source].add(i)
        return tuple(map(frozenset, readers))

    @cached_property
    def weight_count(self) -> int:
        """Multiplications of one pass for one row."""
        return sum(node.multiplications for node in self.affine.values())

    @cached_property
    def roundings(self) -> int:
        """Upper bound on the successive roundings behind any one coefficient, product and sum over neurons."""
        widest = max(node.size for node in self.nodes)
        deepest = max((node.roundings for node in self.affine.values()), default=1)
        return 2 * deepest + widest + 4 * len(self.nodes) + 16

    def __call__(self, x: SameArray) -> SameArray:
        """f(x) for a batch of inputs, every operator as it was read, in the library and dtype of x.

        Gradients of a torch tensor flow through.

        Shapes: x [batch, *input_shape] -> [batch, *output_shape]; a single x of input_shape gives output_shape. Flat
        vectors do as well, as `flatten_batch` says.
        Raises: InputError where the shape of x does not fit, or its numbers are not floating point ones.
        """
        given = live_array(x, "network's input")
        flat = flatten_batch(given, self.input_shape, f"the input of {self.name}")
        xp = namespace(flat)
        if not xp.isdtype(flat.dtype, "real floating"):
            raise InputError(f"The network was given {flat.dtype} numbers; give it floating point ones.")
        batch = (self.as_read or self).computed(flat)
        batch = batch if self.head is None else self.head.apply(batch)
        single = is_single(tuple(given.shape), self.input_shape)
        return xp.reshape(batch, self.output_shape if single else (batch.shape[0], *self.output_shape))

    def computed(self, x: Array, made: Mapping[int, Computation] | None = None) -> Array:
        """The output at x [batch, input_size]; made: the `computation` of every node in its place, if already there."""
        values: list[Array | None] = [x, *(None for _ in self.nodes[1:])]
        for i, spent in paced(self.schedule):
            values[i] = (computation(self.nodes[i], Placement.of(x)) if made is None else made[i])(values)
            for source in spent:
                values[source] = None
        return _known(values[-1])

    @cached_property
    def schedule(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """The nodes to compute in order, each with the nodes whose values nothing reads after it."""
        steps, seen = [], {self.output}
        for i in range(self.output, 0, -1):
            if i in seen:
                spent = set(sources_of(self.nodes[i], computed=True)) - seen
                steps.append((i, tuple(sorted(spent))))
                seen |= spent
        return tuple(reversed(steps))

    def evaluate(self, x: Array) -> list[Array]:
        """Values of all nodes at x [..., n_0] as they are relaxed; x and the network in one place."""
        return self.forward(x, lambda k, pre: self.functions[k](pre))

    def forward(self, x: Array, post: Callable[[int, Array], Array], last: int | None = None) -> list[Array]:
        """Values of all nodes, or of those up to node `last`, for inputs x [batch, input_size], where post(k, pre)
        stands for activation k.
        """
        values: list[Array] = [x]
        for _, affine, k in paced(self.steps[:last]):
            values.append(post(k, values[self.sources[k]]) if affine is None else affine.apply(values))
        return values

    def put(self, placement: Placement) -> "Network":
        """The same network with the arrays that are relaxed in another library, precision or device.

        The graph as read stays where it is: evaluating it takes its numbers to wherever the inputs are.
        """
        return replace(self, nodes=tuple(_put_node(node, placement) for node in paced(self.nodes)))

    @cached_property
    def gains(self) -> tuple[tuple[float, ...], ...]:
        """Upper bounds of |W|_2 of every term of every node, none for others; they take seconds for large maps."""
        return tuple(
            tuple(gain(term.map) for term in node.terms) if isinstance(node, Affine) else () for node in self.nodes
        )

    def check_finite(self) -> None:
        """Raise ModelError naming the first node with NaN or infinite numbers."""
        if self.as_read is not None:
            self.as_read.check_finite()
        for i, node in paced(enumerate(self.nodes)):
            if not isinstance(node, Input) and not _is_finite(node):
                raise ModelError(
                    f"The {type(node).__name__.lower()} node {i} of {self.name} holds NaN or infinite numbers, for "
                    "which no bound exists. Check the training run or the export that produced the weights."
                )


def _description(node: Node) -> str:
    if isinstance(node, Input):
        return f"input {node.size}"
    if isinstance(node, Activation):
        return f"{node.kind} {node.size} of {node.source}"
    parts = [f"{type(term.map).__name__.removesuffix('Map')} of {term.source}" for term in node.terms]
    rewritten = "" if node.original is None else f", which is {node.original.kind} of {node.original.sources}"
    return f"affine {node.size}: " + (" + ".join(parts) or "constant") + rewritten


def _is_finite(node: Affine | Activation) -> bool:
    if isinstance(node, Activation):
        bad = np.isnan if node.kind in UNBOUNDED else lambda numbers: ~np.isfinite(numbers)
        return not any(bad(to_numpy(array)).any() for array in node.parameters)
    arrays = [node.bias, *(number for term in node.terms for number in term.map.numbers)]
    return all(np.isfinite(to_numpy(array)).all() for array in arrays)


def check_network(given: object) -> Network:
    """What was handed in as a network without a head.

    Raises: InputError for anything else, saying how to make one of it.
    """
    found = check_classifier(given)
    if found.refused:
        raise InputError(found.refused)
    if found.head is not None:
        raise InputError(
            f"{found.name} ends in {found.head.words}, of which no bounds are computed here. Comparisons between "
            "classes are those of the scores before it: av.verify and av.certify leave it out by themselves; anywhere "
            "else give network.scores, the same network without it."
        )
    return found


def check_classifier(given: object) -> Network:
    """What was handed in as a network, which may have a head.

    Raises: InputError for anything else, saying how to make one of it.
    """
    if isinstance(given, Network):
        return given
    bases = {f"{base.__module__}.{base.__name__}" for base in type(given).__mro__}
    advice = "make one with av.read_onnx(path) or av.trace(module, example_input)"
    if "torch.nn.modules.module.Module" in bases:
        advice = "trace it first: av.trace(module, example_input), with an example that has a leading batch axis"
    elif isinstance(given, str | bytes | PathLike):
        advice = 'read the file first: av.read_onnx("net.onnx")'
    elif any(base.startswith("onnx.") and base.endswith("ModelProto") for base in bases):
        advice = "read the model first: av.read_onnx(model)"
    raise InputError(f"A Network is wanted here, and a {type(given).__name__} was given; {advice}.")


def sources_of(node: Node, computed: bool = False) -> list[int]:
    """The nodes that a node reads; computed: for its value, so that an original function reads its own sources."""
    if isinstance(node, Affine):
        if computed and node.original is not None:
            return list(node.original.sources)
        return [term.source for term in node.terms]
    return [] if isinstance(node, Input) else [node.source]


def computation(node: Node, placement: Placement) -> Computation:
    """How a node computes its value from those before it, by its original function if any, in the given place."""
    if isinstance(node, Affine) and node.original is not None:
        return node.original.put(placement).apply
    placed = _put_node(node, placement)
    assert not isinstance(placed, Input), "the input is given"
    return placed.apply


def _put_node(node: Node, placement: Placement) -> Node:
    if isinstance(node, Activation):
        return replace(node, parameters=tuple(placement.put(array) for array in node.parameters))
    if not isinstance(node, Affine):
        return node
    terms = tuple(Term(term.source, term.map.put(placement)) for term in node.terms)
    bias, magnitude = placement.put(node.bias), placement.put(node.bias_magnitude)
    return replace(node, terms=terms, bias=bias, bias_magnitude=magnitude)


def _known(value: Array | None) -> Array:
    assert value is not None, "nodes are in topological order"
    return value
