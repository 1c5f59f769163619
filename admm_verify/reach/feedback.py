"""Controllers as parts of networks."""

import numpy as np

from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Network
from admm_verify.network.maps import DenseMap
from admm_verify.network.splice import splice
from admm_verify.reach.systems import Controller


def control(builder: Builder, controller: Controller, x: Tensor, noise: Tensor | None = None) -> Tensor:
    """The controller's output at a state."""
    seen = Tensor(builder.affine(x, DenseMap(controller.observe), controller.shift), controller.shift.shape)
    seen = seen if noise is None else builder.add(seen, noise)
    raw = splice(builder, controller.network, seen)
    u = Tensor(builder.affine(raw, DenseMap(np.diag(controller.scale)), controller.offset), controller.offset.shape)
    return u if controller.limits is None else builder.activation("clip", u, *controller.limits)


def control_network(controller: Controller) -> Network:
    """The controller without sensor noise as a network of the state."""
    builder = Builder((controller.states,), "float64")
    return builder.finish(control(builder, controller, builder.input), "controller")
