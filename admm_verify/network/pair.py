"""Two networks as one, whose outputs are those of both and their difference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.network.graph import Activation, Input, Network, Node, check_network
from admm_verify.network.joint_graph import JointGraph, alignment
from admm_verify.network.neuron_partners import of_one_form
from admm_verify.network.pair_inputs import PairInputs
from admm_verify.network.sameness import same_networks
from admm_verify.network.simplify import alive
from admm_verify.options import instance


@dataclass(frozen=True, eq=False, repr=False)
class PairedNetwork(Network):
    """The function u -> [f(x); f'(x'); f'(x') - f(x)] with x = A u + a and x' = A' u + a', of `outputs` numbers each.

    It is a network like any other. Its nodes hold the differences of the two networks' values, bounded as such; as read
    it is both networks side by side. notes: where differences are those of values that are bounded each for itself.
    same: both are one function of one input, so that the difference is zero.
    """

    first: Network | None = None
    second: Network | None = None
    inputs: PairInputs | None = None
    notes: tuple[str, ...] = ()
    same: bool = False

    @property
    def both(self) -> tuple[Network, Network]:
        """f and f'."""
        assert self.first is not None and self.second is not None, "made by `paired`"
        return self.first, self.second

    @property
    def outputs(self) -> int:
        """Numbers of f's output, of that of f', and of their difference."""
        return self.output_size // 3

    def rows(
        self, first: object | None = None, second: object | None = None, difference: object | None = None
    ) -> np.ndarray:
        """The objective rows of c'f(x) + d'f'(x') + e'(f'(x') - f(x)).

        Shapes: [outputs] or [rows, outputs] each, None for zeros -> [outputs 3] or [rows, outputs 3].
        Raises: InputError for other shapes, and numbers of rows that differ.
        """
        parts = (("first", first), ("second", second), ("difference", difference))
        given = [None if part is None else to_numpy(float64_array(part, name)) for name, part in parts]
        shapes = [part.shape for part in given if part is not None]
        counts = {shape[0] for shape in shapes if len(shape) == 2} - {1}
        if len(counts) > 1 or any(len(shape) not in (1, 2) or shape[-1] != self.outputs for shape in shapes):
            raise InputError(
                f"Rows of the outputs of {self.name} have shapes {', '.join(map(str, shapes))}; each network has "
                f"{self.outputs} outputs, so give [{self.outputs}] or [rows, {self.outputs}] each, as many rows of all."
            )
        shape = np.broadcast_shapes((self.outputs,), *shapes)
        full = [np.broadcast_to(np.zeros(()) if part is None else part, shape) for part in given]
        return np.concatenate(full, axis=-1)


def paired(first: Network, second: Network, inputs: PairInputs | None = None) -> PairedNetwork:
    """The joint network of two networks with equally many outputs, by default of one and the same input.

    Bounds of it hold in real numbers for both networks and for the difference of their outputs. Partners among their
    layers are found by their form: where the two graphs have one form, differences of all layers are bounded as such.
    Raises: InputError for networks with a head, of different sizes of inputs or outputs, and inputs that do not fit.
    """
    first, second = check_network(first), check_network(second)
    inputs = _checked_inputs(first, second, inputs)
    equal = same_networks(first, second)
    # The same numbers, rounded or not, are those of one function; so the graph of one of them stands for both.
    graphs = (first.nodes, first.nodes) if equal else of_one_form(first.nodes, second.nodes)
    joint = JointGraph(alignment(*graphs), [Input(inputs.size)])
    sides = (inputs.first, inputs.first_shift), (inputs.second, inputs.second_shift)
    joint.give_both(*sides, inputs.rounded)
    joint.grow(*graphs)
    ends = len(graphs[0]) - 1, len(graphs[1]) - 1
    y, other = joint.first[ends[0]], joint.second[ends[1]]
    if joint.partners.get(ends[0]) == ends[1]:
        change = joint.differences[ends[0]]
    else:
        change = joint.minus(other, y)
    output = joint.beside([y, other, change])
    types = first.element_type, second.element_type
    return PairedNetwork(
        alive(joint.nodes, output),
        inputs.shape,
        (3 * first.output_size,),
        f"{second.name} beside {first.name}",
        types[0] if types[0] == types[1] else "float32",
        _side_by_side(first, second, inputs),
        first=first,
        second=second,
        inputs=inputs,
        notes=(*_parted(graphs, joint.partners), *joint.notes, *_types(first, second)),
        same=change is None,
    )


def _parted(graphs: tuple[Sequence[Node], Sequence[Node]], partners: Mapping[int, int]) -> list[str]:
    """Which layers have no partner, in words."""
    lone = set(range(len(graphs[0]))) - set(partners), set(range(len(graphs[1]))) - set(partners.values())
    counts = [
        sum(isinstance(nodes[i], Activation) for i in sorted(own)) for nodes, own in zip(graphs, lone, strict=True)
    ]
    if not any(lone):
        return []
    return [
        f"the layers of the two networks are not of one form: {counts[0]} activations of the first and {counts[1]} of "
        "the second have no partner, and what reads them is bounded for each network by itself"
    ]


def _types(first: Network, second: Network) -> list[str]:
    if first.element_type == second.element_type:
        return []
    return [
        f"{first.name} computes in {first.element_type} and {second.name} in {second.element_type}: bounds hold for "
        "both in real numbers, and where errors of an arithmetic are added, those of float32 cover both"
    ]


def _checked_inputs(first: Network, second: Network, inputs: PairInputs | None) -> PairInputs:
    if first.output_size != second.output_size:
        raise InputError(
            f"{first.name} has {first.output_size} outputs and {second.name} has {second.output_size}; networks are "
            "compared output by output, so give two that have equally many, in the same order."
        )
    if inputs is None:
        if first.input_size != second.input_size:
            raise InputError(
                f"{first.name} takes {first.input_size} numbers {first.input_shape} and {second.name} takes "
                f"{second.input_size} {second.input_shape}; give two networks of the same input, or "
                "av.paired(.., inputs=av.PairInputs(..)), which tells what each of them is given."
            )
        return PairInputs.same(first.input_shape)
    instance(inputs, PairInputs, "inputs")
    for network, map in ((first, inputs.first), (second, inputs.second)):
        if map.rows != network.input_size:
            raise InputError(
                f"{network.name} takes {network.input_size} numbers {network.input_shape} and is given {map.rows} by "
                "the inputs of the pair; make them for this network."
            )
    return inputs


def _side_by_side(first: Network, second: Network, inputs: PairInputs) -> Network:
    """Both graphs as read, and the difference of their outputs."""
    joint = JointGraph({}, [Input(inputs.size)])
    joint.first[0] = joint.give(inputs.first, inputs.first_shift)
    joint.second[0] = joint.give(inputs.second, inputs.second_shift)
    for network, places in ((first, joint.first), (second, joint.second)):
        for i, node in enumerate((network.as_read or network).nodes[1:], start=1):
            assert not isinstance(node, Input), "the input comes first"
            joint.nodes.append(node.reading(places))
            places[i] = len(joint.nodes) - 1
    y, other = (max(places.items())[1] for places in (joint.first, joint.second))
    output = joint.beside([y, other, joint.minus(other, y)])
    assert output == len(joint.nodes) - 1
    return Network(tuple(joint.nodes), inputs.shape, (3 * first.output_size,), f"{second.name} beside {first.name}")
