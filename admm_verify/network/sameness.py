"""Whether nodes and networks are the same functions in real numbers, as far as their numbers tell."""

import numpy as np

from admm_verify.network.graph import Activation, Affine, Input, Network, Node
from admm_verify.network.map_differences import same_map
from admm_verify.network.originals import Original


def same_networks(first: Network, second: Network) -> bool:
    """Whether two networks compute the same by the same nodes with the same numbers, none of which was rounded."""
    if second is first:
        return True
    reads = [network.as_read or network for network in (first, second)]
    needed = [[i for i, _ in read.schedule] for read in reads]
    heads = first.head == second.head and first.input_size == second.input_size
    return (
        heads and needed[0] == needed[1] and all(_same_nodes(reads[0].nodes[i], reads[1].nodes[i]) for i in needed[0])
    )


def same_bias(first: Affine, second: Affine) -> bool:
    """Whether two affine nodes add the same numbers."""
    same = second.bias is first.bias or (has_exact_bias(first) and has_exact_bias(second))
    return same and np.array_equal(first.bias, second.bias)


def are_computed_alike(first: Affine, second: Affine) -> bool:
    """Whether bounds on the roundings of the first affine node are such bounds of a second one with the same terms."""
    counts = [(node.nonnegative, node.roundings) for node in (first, second)]
    # Values that are hidden are kept from overflow by a factor 4; they are summed in any order.
    peaks = (second.peak_gain, first.peak_gain), (second.peak_shift, first.peak_shift)
    covered = all(other <= 1.001 * own for other, own in peaks)
    return covered and counts[0] == counts[1] and np.array_equal(first.bias_magnitude, second.bias_magnitude)


def has_exact_bias(node: Affine) -> bool:
    """Whether a bias is the number that it stands for, up to no rounding at all."""
    return np.array_equal(np.abs(np.asarray(node.bias)), np.asarray(node.bias_magnitude))


def same_function(first: Activation, second: Activation) -> bool:
    """Whether two activations are the same function of what they read."""
    same = (first.kind, first.size, len(first.parameters)) == (second.kind, second.size, len(second.parameters))
    return same and all(map(np.array_equal, first.parameters, second.parameters))


def _same_nodes(first: Node, second: Node) -> bool:
    """Whether nodes of two graphs are the same functions of nodes of the same numbers."""
    if isinstance(first, Activation) and isinstance(second, Activation):
        return first.source == second.source and same_function(first, second)
    if not isinstance(first, Affine) or not isinstance(second, Affine):
        return isinstance(first, Input) and first == second
    if first.original is not None or second.original is not None:
        return _same_originals(first.original, second.original)
    terms = [(one.source, two.source) for one, two in zip(first.terms, second.terms, strict=False)]
    plain = len(first.terms) == len(second.terms) and all(one == two for one, two in terms)
    maps = (same_map(two.map, one.map) for one, two in zip(first.terms, second.terms, strict=False))
    return plain and same_bias(first, second) and all(maps)


def _same_originals(first: Original | None, second: Original | None) -> bool:
    if first is None or second is None:
        return False
    known = (first.kind, first.sources, first.shapes, len(first.parameters))
    same = known == (second.kind, second.sources, second.shapes, len(second.parameters))
    return same and all(map(np.array_equal, first.parameters, second.parameters))
