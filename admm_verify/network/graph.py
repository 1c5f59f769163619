"""The network as a frozen directed acyclic graph of three node kinds: input, affine, activation.

All values are flat vectors per sample; reshapes therefore vanish, transposes and slices are selections, and a
residual addition is an affine node with two terms. Every map is a `LinearMap`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.errors import InputError, ModelError
from admm_verify.network.activations import FUNCTIONS
from admm_verify.network.maps import LinearMap


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
    node hides the values between its parts: they stay within peak_gain max|x_source| + peak_shift.
    """

    terms: tuple[Term, ...]
    bias: Array
    bias_magnitude: Array
    peak_gain: float = 0.0
    peak_shift: float = 0.0

    @property
    def size(self) -> int:
        return self.bias.shape[-1]

    @property
    def roundings(self) -> int:
        """Roundings on the longest path through the node: its maps, the sum over terms and the bias."""
        return max((term.map.roundings for term in self.terms), default=0) + len(self.terms) + 1

    def apply(self, values: Sequence[Array | None]) -> Array:
        """The node's value from the values of the nodes before it."""
        total: Array = self.bias
        for term in self.terms:
            total = term.map.apply(_known(values[term.source])) + total
        return total


@dataclass(frozen=True, eq=False)
class Activation:
    """An elementwise activation y = phi(x_source); `kind` names its function and its relaxation.

    parameters: what the kind asks for, such as slopes or ends, one number per entry, [n] each.
    """

    kind: str
    source: int
    size: int
    parameters: tuple[Array, ...] = ()

    def __call__(self, x: Array) -> Array:
        """phi(x)."""
        return FUNCTIONS[self.kind](x, self.parameters)


Node = Input | Affine | Activation


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A network f as nodes in topological order; node 0 is the input and the last node the output.

    Shapes: input_shape and output_shape are per sample, without a batch axis.
    """

    nodes: tuple[Node, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    name: str = "network"
    element_type: str = "float32"

    def __repr__(self) -> str:
        """One line per node: number, what it is, size, and the nodes it reads."""
        head = f"{self.name}: input {self.input_shape}, output {self.output_shape}, {self.element_type}"
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

    @property
    def activations(self) -> tuple[int, ...]:
        """Indices of the activation nodes in graph order."""
        return tuple(i for i, node in enumerate(self.nodes) if isinstance(node, Activation))

    @property
    def weight_count(self) -> int:
        """Multiplications of one pass for one row."""
        affine = [node for node in self.nodes if isinstance(node, Affine)]
        return sum(term.map.multiplications for node in affine for term in node.terms)

    def __call__(self, x: Array) -> Array:
        """f(x) for a batch of inputs, in the library and dtype of x.

        Shapes: x [batch, *input_shape] -> [batch, *output_shape]; a single x of input_shape gives output_shape.
        Raises: InputError where the size of x is not a multiple of the input's.
        """
        flat = flatten_batch(x, self.input_size, "the network's input")
        xp = namespace(flat)
        if not xp.isdtype(flat.dtype, "real floating"):
            raise InputError(f"The network was given {flat.dtype} numbers; give it floating point ones.")
        batch = self.put(Placement.of(flat)).evaluate(flat)[-1]
        single = tuple(x.shape) == self.input_shape
        return xp.reshape(batch, self.output_shape if single else (batch.shape[0], *self.output_shape))

    def evaluate(self, x: Array) -> list[Array]:
        """Values of all nodes at x [..., n_0]; x and the network in one place."""
        functions = [node for node in self.nodes if isinstance(node, Activation)]
        return self.forward(x, lambda k, pre: functions[k](pre))

    def forward(self, x: Array, post: Callable[[int, Array], Array]) -> list[Array]:
        """Values of all nodes for inputs x [batch, input_size], where post(k, pre) stands for activation k."""
        values: list[Array] = [x]
        activation = 0
        for node in self.nodes[1:]:
            if isinstance(node, Affine):
                values.append(node.apply(values))
            elif isinstance(node, Activation):
                values.append(post(activation, values[node.source]))
                activation += 1
        return values

    def put(self, placement: Placement) -> "Network":
        """The same network with its arrays in another library, precision or device."""
        nodes = tuple(_put_node(node, placement) for node in self.nodes)
        return Network(nodes, self.input_shape, self.output_shape, self.name, self.element_type)

    def check_finite(self) -> None:
        """Raise ModelError naming the first node with NaN or infinite numbers."""
        for i, node in enumerate(self.nodes):
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
    return f"affine {node.size}: " + (" + ".join(parts) or "constant")


def _is_finite(node: Affine | Activation) -> bool:
    if isinstance(node, Activation):
        return all(np.isfinite(to_numpy(array)).all() for array in node.parameters)
    arrays = [node.bias, *(number for term in node.terms for number in term.map.numbers)]
    return all(np.isfinite(to_numpy(array)).all() for array in arrays)


def flatten_batch(x: Array, size: int, what: str) -> Array:
    """x as [batch, size]; raises InputError when its number of entries is not a positive multiple of size."""
    total = prod(x.shape)
    if total == 0 or total % size:
        raise InputError(
            f"The shape {tuple(x.shape)} does not fit {what}, which takes {size} numbers per sample. "
            "Give an array whose last axes hold one sample."
        )
    return namespace(x).reshape(x, (total // size, size))


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
