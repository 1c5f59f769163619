"""What errors of the constants of a network do to its outputs."""

from collections.abc import Mapping

from admm_verify.arrays import SMALLEST, Array, namespace, quiet_overflow
from admm_verify.bounds.interval import Forward
from admm_verify.network.graph import Network
from admm_verify.relaxations.registry import relaxation_of
from admm_verify.run import paced
from admm_verify.sets.contract import InputSet


def carried_errors(network: Network, inputs: InputSet, added: Mapping[int, Array]) -> Array:
    """Bounds on how far the outputs are off where the values of affine nodes are off by some numbers, over input sets.

    e_y = M e_x + added through affine nodes, e_y = max|phi'| e_x through activations, in real numbers.

    Shapes: inputs [sets, n]; added[i] [n_i] or [sets, n_i] of affine node i -> [sets, outputs].
    Error: rounded upward; infinite or NaN where nothing is known.
    """
    with quiet_overflow():
        forward = Forward(network, inputs).run()
        errors: list[Array] = [namespace(forward.lower[0]).zeros_like(forward.lower[0])]
        for i, affine, k in paced(network.steps):
            if affine is None:
                source = network.sources[k]
                ends = forward.lower[source], forward.upper[source]
                errors.append(relaxation_of(network.functions[k]).carried(*ends, errors[source]))
                continue
            total = added.get(i, 0.0) + namespace(errors[0]).zeros_like(forward.lower[i])
            for term in affine.terms:
                total = term.map.magnitude_apply(errors[term.source]) + total
            errors.append((total + affine.roundings * SMALLEST) * (1 + 1e-9))
    return errors[-1]
