"""ELU for auto_LiRPA, which has none.

Written as relu(x) + exp(-relu(-x)) - 1 its bounds are wrong behind convolutions with padding: bounds of pre-activations
exclude the values at the edges of the image, by 3.9 where they are 0.014 wide, on the first frame of the Pong agent at
radius 0.0004. (`BoundConstant.bound_backward` counts the constant 1 where the padding is, and says so in a FIXME.)
"""

from typing import Any

import torch
from torch.nn.functional import elu


def register_elu() -> None:
    """Make auto_LiRPA read torch's ELU with alpha 1: the chord above, below a tangent, the middle one or an optimised
    one.
    """
    from auto_LiRPA import register_custom_op
    from auto_LiRPA.operators.activation_base import BoundOptimizableActivation

    class BoundElu(BoundOptimizableActivation):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return elu(x)

        def bound_relax(self, x: Any, init: bool = False, dim_opt: Any = None) -> None:
            if init:
                self.init_linear_relaxation(x, dim_opt)
            touched = (x.lower + x.upper) / 2
            if self.opt_stage in ("opt", "reuse"):
                own = self.alpha[self._start]
                own.data[:2] = torch.min(torch.max(own.data[:2], x.lower), x.upper)
                touched = own
            self.add_linear_relaxation(
                mask=None, type="lower", k=torch.exp(touched.clamp(max=0.0)), x0=touched, y0=elu(touched)
            )
            low = elu(x.lower)
            chord = (elu(x.upper) - low) / (x.upper - x.lower).clamp(min=1e-8)
            chord = torch.where(x.lower >= 0, torch.ones_like(chord), chord)
            self.add_linear_relaxation(mask=None, type="upper", k=chord, x0=x.lower, y0=low)

        def _init_opt_parameters_impl(self, size_spec: Any, **_: Any) -> torch.Tensor:
            lower, upper = self.inputs[0].lower, self.inputs[0].upper
            alpha = torch.empty(2, size_spec, *lower.shape, device=lower.device)
            alpha.data[:2] = (lower + upper) / 2
            return alpha

    register_custom_op("onnx::Elu", BoundElu)
