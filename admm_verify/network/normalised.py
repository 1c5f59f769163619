"""Networks of inputs that are yet to be normalised, as the transforms of data sets do it."""

import numpy as np

from admm_verify.arrays import Placement
from admm_verify.errors import InputError
from admm_verify.network.builder import Builder
from admm_verify.network.graph import Network
from admm_verify.network.layout import per_entry
from admm_verify.network.splice import splice


def normalised(network: Network, mean: object, std: object) -> Network:
    """The network of x that gives f((x - mean) / std); both are rounded to the network's element type.

    Shapes: mean, std a number, [channels], or an array of the network's input shape.
    Raises: InputError for numbers that are not finite, and for a std that is not above 0.
    """
    dtype = Placement.numpy(getattr(np, network.element_type)).dtype
    with np.errstate(over="ignore", under="ignore"):
        shift, scale = (
            per_entry(value, network.input_shape, name).astype(dtype).astype(np.float64)
            for value, name in ((mean, "mean"), (std, "standard deviation"))
        )
    if not (np.isfinite(shift).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise InputError("The mean and the standard deviation of images must be finite, and the latter above 0.")
    builder = Builder((1, *network.input_shape), network.element_type)
    flat = builder.reshape(builder.input, (network.input_size,))
    inside = splice(builder, network, builder.divide(builder.add(flat, -shift), scale))
    return builder.finish(builder.reshape(inside, (1, *network.output_shape)), network.name)
