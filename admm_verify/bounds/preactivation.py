"""Pre-activation bounds [l, u] of every activation: interval or CROWN, batched over boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow, to_numpy
from admm_verify.bounds.backward import backward
from admm_verify.bounds.interval import affine_interval
from admm_verify.bounds.region import Region, build_region
from admm_verify.errors import InputError
from admm_verify.network.graph import Activation, Affine, Network, flatten_batch
from admm_verify.relaxations import triangle
from admm_verify.sets import Box
from admm_verify.threads import threads_for

_BLOCK_NUMBERS = 2**22
"""Numbers in one coefficient block of the backward sweep: 32 MiB, so that blocks stay near the cache."""


@dataclass(frozen=True, eq=False)
class PreactivationBounds:
    """One pair (lower, upper) per activation node in graph order.

    Shapes: lower[k], upper[k] [1, n_k] for bounds shared by all rows, [rows, n_k] for bounds of their own.
    """

    lower: tuple[Array, ...]
    upper: tuple[Array, ...]

    @classmethod
    def from_arrays(cls, network: Network, pairs: Sequence[tuple[Array, Array]]) -> "PreactivationBounds":
        """Bounds from your own arrays, one pair per activation node in graph order, [n_k] or [rows, n_k].

        Valid when: they hold for the region they are used with; nothing can check that here.
        Raises: InputError for a wrong count or shape, NaN, or lower > upper, naming layer and index.
        """
        sizes = [network.nodes[i].size for i in network.activations]
        if len(pairs) != len(sizes):
            raise InputError(f"{len(pairs)} pairs of bounds were given; {network.name} has {len(sizes)} activations.")
        ends: list[list[Array]] = [[], []]
        for k, (size, pair) in enumerate(zip(sizes, pairs, strict=True)):
            for side, end in zip(ends, pair, strict=True):
                array = end if hasattr(end, "dtype") else to_numpy(end)
                flat = flatten_batch(array, size, f"activation {k} of {network.name}")
                side.append(namespace(flat).astype(flat, namespace(flat).float64))
            _check_pair(k, ends[0][-1], ends[1][-1])
        return cls(tuple(ends[0]), tuple(ends[1]))


def _check_pair(k: int, lower: Array, upper: Array) -> None:
    if lower.shape != upper.shape:
        raise InputError(f"Activation {k} has lower bounds {tuple(lower.shape)} and upper {tuple(upper.shape)}.")
    bad = to_numpy(~(lower <= upper))
    if bad.any():
        row, neuron = (int(i[0]) for i in bad.nonzero())
        raise InputError(
            f"Activation {k}, row {row}, neuron {neuron}: the bounds [{float(lower[row, neuron])}, "
            f"{float(upper[row, neuron])}] are empty or NaN. Give lower <= upper."
        )


def preactivation_bounds(network: Network, box: Box, method: str = "crown") -> PreactivationBounds:
    """Certified bounds l <= pre <= u of every activation's input over the box.

    "interval": forward interval arithmetic. "crown": backward linear bounds of every neuron over the layers below,
    intersected with the interval ones, so never looser than either.

    Shapes: box [*input_shape] or [rows, *input_shape]; one bound set per box.
    Raises: InputError for an unknown method or a box that does not fit the network.
    Error: rounded outward, in float64.
    Reference: Zhang et al., NeurIPS 2018 (CROWN); Gowal et al., arXiv 1810.12715 (interval).
    """
    if method not in ("interval", "crown"):
        raise InputError(f"The bound method {method!r} is unknown; choose 'interval' or 'crown'.")
    box_lower = flatten_batch(box.lower, network.input_size, "the network's input")
    box_upper = flatten_batch(box.upper, network.input_size, "the network's input")
    placed = network.put(Placement.of(box_lower).double)
    widest = max(node.size for node in network.nodes)
    work = box_lower.shape[0] * widest * network.weight_count if method == "crown" else 0.0
    with threads_for(work), quiet_overflow():
        lower, upper = _forward(placed, box_lower, box_upper, crown=method == "crown")
    picked = network.activations
    sources = [node.source for node in (network.nodes[i] for i in picked) if isinstance(node, Activation)]
    return PreactivationBounds(tuple(lower[i] for i in sources), tuple(upper[i] for i in sources))


def _forward(network: Network, box_lower: Array, box_upper: Array, crown: bool) -> tuple[list[Array], list[Array]]:
    """Bounds of all nodes in order; CROWN refines an affine node that feeds an activation."""
    xp = namespace(box_lower)
    feeding = {node.source for node in network.nodes if isinstance(node, Activation)}
    lower, upper = [box_lower], [box_upper]
    known: list[tuple[Array, Array]] = []
    for i, node in enumerate(network.nodes[1:], start=1):
        if isinstance(node, Affine):
            low, high = affine_interval(network, node, lower, upper)
            # A node that reads the input alone is an exact affine image: nothing is left to refine.
            if crown and i in feeding and any(term.source != 0 for term in node.terms):
                tight_low, tight_high = _linear_bounds(network, i, box_lower, box_upper, known)
                low, high = xp.maximum(low, tight_low), xp.minimum(high, tight_high)
        elif isinstance(node, Activation):
            known.append((lower[node.source], upper[node.source]))
            zero = xp.zeros_like(lower[node.source])
            low, high = xp.maximum(lower[node.source], zero), xp.maximum(upper[node.source], zero)
        else:
            continue
        lower.append(low)
        upper.append(high)
    return lower, upper


def _linear_bounds(
    network: Network, index: int, box_lower: Array, box_upper: Array, known: list[tuple[Array, Array]]
) -> tuple[Array, Array]:
    """CROWN bounds of affine node `index` from the bounds of the activations before it."""
    xp = namespace(box_lower)
    head = Network(network.nodes[: index + 1], network.input_shape, (network.nodes[index].size,))
    lower, upper = (tuple(xp.expand_dims(pair[side], axis=1) for pair in known) for side in (0, 1))
    region = build_region(head, xp.expand_dims(box_lower, axis=1), xp.expand_dims(box_upper, axis=1), lower, upper)
    widest = max(node.size for node in head.nodes)
    step = max(1, _BLOCK_NUMBERS // (box_lower.shape[0] * widest))
    size = network.nodes[index].size
    blocks = [_block_bounds(region, start, min(start + step, size)) for start in range(0, size, step)]
    low, high = (xp.concat([block[side] for block in blocks], axis=-1) for side in (0, 1))
    return low, high


def _block_bounds(region: Region, start: int, stop: int) -> tuple[Array, Array]:
    """Lower and upper CROWN bounds of neurons start..stop of the region's last node."""
    network = region.network
    node = network.nodes[-1]
    assert isinstance(node, Affine)
    xp = namespace(region.box_lower)
    relaxed = [triangle.lines(low, high) for low, high in zip(region.lower, region.upper, strict=True)]
    slopes = [triangle.default_slopes(low, high) for low, high in zip(region.lower, region.upper, strict=True)]
    first = region.magnitudes[-1]
    assert first is not None
    ends = []
    for sign in (1.0, -1.0):
        coefficients = {
            term.source: xp.expand_dims(sign * term.map.row_block(start, stop), axis=0) for term in node.terms
        }

        def choose(k: int, a: Array) -> Array:
            return xp.where(a > 0, slopes[k] * a, relaxed[k].upper_slope * a)

        sweep = backward(network, coefficients, sign * node.bias[start:stop], choose)
        # The sweep starts one node below, so the rounding of that first product is added here.
        bound = region.concretise(sweep) - region.relative_error * first[..., 0, start:stop]
        ends.append(sign * bound)
    return ends[0], ends[1]
