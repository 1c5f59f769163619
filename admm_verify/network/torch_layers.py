"""ATen convolutions, pooling, normalisation and activations as builder calls; constants arrive as NumPy arrays."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from admm_verify.network import nonlinear, spatial
from admm_verify.network.activations import TORCH
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.interpolation import ALIGNED, CENTRED, interpolate
from admm_verify.network.stepped import sign

Handler = Callable[..., Any]
"""A handler takes the builder and then what the ATen operator takes, in its order."""


class Unfollowed:
    """An output of an operation that is not followed, such as the places of maxima; nothing may read it."""


UNFOLLOWED = Unfollowed()

SELU_ALPHA, SELU_GAMMA = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def data(value: Any) -> Tensor:
    """The argument of an operation that depends on the network's input."""
    if not isinstance(value, Tensor):
        raise UnsupportedUse("its data argument is constant")
    return value


def number(value: Any) -> Value:
    """A tensor as it is, any constant as float64."""
    return value if isinstance(value, Tensor) else np.asarray(value, dtype=np.float64)


def fixed(value: Any, what: str) -> np.ndarray:
    """An argument that must be constant, as float64; `what` names it in the error."""
    if value is None or isinstance(value, Tensor):
        raise UnsupportedUse(f"its {what} depends on the input or is missing; it must be constant")
    return np.asarray(value, dtype=np.float64)


def _convolution(
    builder: Builder,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Value:
    weight = fixed(weight, "weight")
    shift = None if bias is None else fixed(bias, "bias")
    axes = weight.ndim - 2
    extra, dilation = _sizes(output_padding, axes), _sizes(dilation, axes)
    pads = (0,) * axes if isinstance(padding, str) else _sizes(padding, axes)
    window = spatial.Window(weight.shape[2:], _sizes(stride, axes), pads, pads, dilation)
    if padding == "same":
        window = window.same(data(x).shape[-axes:], upper=True)
    if transposed:
        return spatial.transposed_convolution(builder, data(x), weight, shift, window, extra, groups)
    return spatial.convolution(builder, data(x), weight, shift, window, groups)


def _conv(
    builder: Builder,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Value:
    return _convolution(builder, x, weight, bias, stride, padding, dilation, False, 0, groups)


def _conv_transpose(
    builder: Builder,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    return _convolution(builder, x, weight, bias, stride, padding, dilation, True, output_padding, groups)


def _sizes(value: Any, axes: int) -> spatial.Sizes:
    """One number per axis from a number or a list, of which a single entry stands for all."""
    listed = [value] if isinstance(value, int) else list(value)
    return tuple(listed * axes if len(listed) == 1 else listed)


def _batch_norm(
    builder: Builder,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    training: bool,
    momentum: float,
    epsilon: float,
    fast: bool = False,
) -> Value:
    if training or mean is None or variance is None:
        _batch_statistics(builder)
    mean = fixed(mean, "mean")
    gamma = np.ones(mean.shape) if weight is None else fixed(weight, "weight")
    beta = np.zeros(mean.shape) if bias is None else fixed(bias, "bias")
    return spatial.batch_norm(builder, data(x), gamma, beta, mean, fixed(variance, "variance"), epsilon)


def _batch_statistics(builder: Builder, *_: Any) -> NoReturn:
    raise UnsupportedUse("it normalises with the statistics of its batch; call module.eval() and track statistics")


def _native_batch_norm(builder: Builder, *arguments: Any) -> list[Any]:
    return [_batch_norm(builder, *arguments), UNFOLLOWED, UNFOLLOWED]


def _inference_batch_norm(
    builder: Builder, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, momentum: float, epsilon: float
) -> list[Any]:
    values = _batch_norm(builder, x, weight, bias, mean, variance, False, momentum, epsilon)
    return [values, UNFOLLOWED, UNFOLLOWED]


def _pool_window(axes: int, size: Any, stride: Any, padding: Any, dilation: Any = 1) -> spatial.Window:
    kernel = _sizes(size, axes)
    pads = _sizes(padding, axes)
    steps = kernel if isinstance(stride, Sequence) and not stride else _sizes(stride, axes)
    return spatial.Window(kernel, steps, pads, pads, _sizes(dilation, axes))


def _average_pool(axes: int) -> Handler:
    def handler(
        builder: Builder,
        x: Any,
        size: Any,
        stride: Any = (),
        padding: Any = 0,
        ceil: bool = False,
        count_padding: bool = True,
        divisor: int | None = None,
    ) -> Value:
        window = _pool_window(axes, size, stride, padding)
        return spatial.average_pool(builder, data(x), window, count_padding, ceil, divisor)

    return handler


def _max_pool(axes: int) -> Handler:
    def handler(
        builder: Builder,
        x: Any,
        size: Any,
        stride: Any = (),
        padding: Any = 0,
        dilation: Any = 1,
        ceil: bool = False,
    ) -> Value:
        return spatial.max_pool(builder, data(x), _pool_window(axes, size, stride, padding, dilation), ceil)

    return handler


def _max_pool_with_indices(axes: int) -> Handler:
    pool = _max_pool(axes)

    def handler(builder: Builder, *arguments: Any) -> list[Any]:
        return [pool(builder, *arguments), UNFOLLOWED]

    return handler


def _adaptive_average_pool(builder: Builder, x: Any, outputs: Sequence[int | None]) -> Value:
    return spatial.average_pool(builder, data(x), spatial.adaptive_window(data(x), outputs), False)


def _adaptive_max_pool(builder: Builder, x: Any, outputs: Sequence[int | None]) -> list[Any]:
    return [spatial.max_pool(builder, data(x), spatial.adaptive_window(data(x), outputs)), UNFOLLOWED]


def _sign(builder: Builder, x: Any) -> Value:
    return sign(builder, data(x))


def _heaviside(builder: Builder, x: Any, at_zero: Any) -> Value:
    numbers = fixed(at_zero, "value at zero")
    if not np.all((numbers >= 0) & (numbers <= 1)):
        raise UnsupportedUse("its value at zero is not between 0 and 1")
    wide = builder.select(data(x), np.broadcast_to(data(x).labels, np.broadcast_shapes(data(x).shape, numbers.shape)))
    return builder.activation("heaviside", wide, numbers)


def _kind(kind: str) -> Handler:
    return lambda builder, x: builder.activation(kind, data(x))


def _abs(builder: Builder, x: Any) -> Value:
    return nonlinear.absolute(builder, data(x))


def _leaky_relu(builder: Builder, x: Any, slope: float = 0.01) -> Value:
    return nonlinear.prelu(builder, data(x), slope)


def _rrelu(builder: Builder, x: Any, low: float = 1 / 8, high: float = 1 / 3, training: bool = False) -> Value:
    if training:
        raise UnsupportedUse("it draws its slopes at random in training mode; call module.eval()")
    return nonlinear.prelu(builder, data(x), (low + high) / 2)


def _prelu(builder: Builder, x: Any, slope: Any) -> Value:
    slopes = fixed(slope, "slope")
    if slopes.ndim == 1 and slopes.size > 1:
        # One slope per channel, axis 1.
        slopes = slopes.reshape(-1, *(1 for _ in data(x).shape[2:]))
    return nonlinear.prelu(builder, data(x), slopes)


def _clamp(builder: Builder, x: Any, low: Any = None, high: Any = None) -> Value:
    least = -np.inf if low is None else fixed(low, "lower end")
    most = np.inf if high is None else fixed(high, "upper end")
    return nonlinear.clip(builder, data(x), least, most)


def _clamp_max(builder: Builder, x: Any, high: Any) -> Value:
    return _clamp(builder, x, None, high)


def _hardtanh(builder: Builder, x: Any, low: float = -1.0, high: float = 1.0) -> Value:
    return nonlinear.clip(builder, data(x), low, high)


def _relu6(builder: Builder, x: Any) -> Value:
    return nonlinear.clip(builder, data(x), 0.0, 6.0)


def _hard_sigmoid(builder: Builder, x: Any) -> Value:
    shifted = builder.add(data(x), np.array(3.0))
    return builder.divide(builder.activation("clip", shifted, 0.0, 6.0), np.array(6.0))


def _elu(builder: Builder, x: Any, alpha: float = 1.0, scale: float = 1.0, inner: float = 1.0) -> Value:
    if scale != 1 or inner != 1:
        raise UnsupportedUse("its scales are not 1, which are the supported ones")
    return nonlinear.elu(builder, data(x), alpha)


def _gelu(builder: Builder, x: Any, *, approximate: str = "none") -> Value:
    return builder.activation("gelu_tanh" if approximate == "tanh" else "gelu", data(x))


def _celu(builder: Builder, x: Any, alpha: float = 1.0) -> Value:
    return nonlinear.celu(builder, data(x), alpha)


def _selu(builder: Builder, x: Any) -> Value:
    return nonlinear.selu(builder, data(x), SELU_ALPHA, SELU_GAMMA)


def _softplus(builder: Builder, x: Any, beta: float = 1.0, threshold: float = 20.0) -> Value:
    if threshold < 15:
        raise UnsupportedUse(f"its threshold is {threshold}; from 15 on its jump is small enough to be covered")
    return nonlinear.softplus(builder, data(x), beta, threshold)


def _log_sigmoid(builder: Builder, x: Any) -> Value:
    negative = builder.scale(data(x), np.array(-1.0))
    return builder.scale(nonlinear.softplus(builder, negative), np.array(-1.0))


def _maximum(builder: Builder, first: Any, second: Any) -> Value:
    return nonlinear.maximum(builder, number(first), number(second))


def _minimum(builder: Builder, first: Any, second: Any) -> Value:
    return nonlinear.minimum(builder, number(first), number(second))


def _linear_upsample(builder: Builder, x: Any, sizes: Any, aligned: bool = False, *scales: Any) -> Value:
    """Interpolation along the last axes, in every form of torch's: scales one by one or in a list, or none."""
    x, count = data(x), len(sizes) if sizes is not None else len(scales[0])
    flat = [*scales[0]] if scales and isinstance(scales[0], list | tuple) else [*scales]
    for i in range(count):
        axis = len(x.shape) - count + i
        length = x.shape[axis]
        given = flat[i] if i < len(flat) else None
        size = int(sizes[i]) if sizes is not None else int(np.floor(length * given))
        scale = size / length if given is None else float(given)
        x = interpolate(builder, x, axis, size, scale, ALIGNED if aligned else CENTRED)
    return x


LAYERS: dict[str, Handler] = {
    **{name: _kind(kind) for name, kind in TORCH.items()},
    "heaviside": _heaviside,
    "sgn": _sign,
    "sign": _sign,
    "_adaptive_avg_pool2d": _adaptive_average_pool,
    "_native_batch_norm_legit": _batch_statistics,
    "_native_batch_norm_legit_no_training": _inference_batch_norm,
    "_prelu_kernel": _prelu,
    "abs": _abs,
    "adaptive_avg_pool1d": _adaptive_average_pool,
    "adaptive_avg_pool2d": _adaptive_average_pool,
    "adaptive_max_pool1d": _adaptive_max_pool,
    "adaptive_max_pool2d": _adaptive_max_pool,
    "avg_pool1d": _average_pool(1),
    "avg_pool2d": _average_pool(2),
    "batch_norm": _batch_norm,
    "celu": _celu,
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp,
    "clip": _clamp,
    "conv1d": _conv,
    "conv2d": _conv,
    "conv_transpose1d": _conv_transpose,
    "conv_transpose2d": _conv_transpose,
    "convolution": _convolution,
    "elu": _elu,
    "fmax": _maximum,
    "fmin": _minimum,
    "gelu": _gelu,
    "hardsigmoid": _hard_sigmoid,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "log_sigmoid": _log_sigmoid,
    "max_pool1d": _max_pool(1),
    "max_pool1d_with_indices": _max_pool_with_indices(1),
    "max_pool2d": _max_pool(2),
    "max_pool2d_with_indices": _max_pool_with_indices(2),
    "maximum": _maximum,
    "minimum": _minimum,
    "native_batch_norm": _native_batch_norm,
    "prelu": _prelu,
    "relu6": _relu6,
    "rrelu": _rrelu,
    "selu": _selu,
    "softplus": _softplus,
    "upsample_bilinear2d": _linear_upsample,
    "upsample_linear1d": _linear_upsample,
    "upsample_trilinear3d": _linear_upsample,
}
"""Handlers by ATen operator name."""
