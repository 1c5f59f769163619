"""Reading torch modules through torch.export; imports torch, so only `trace` loads it."""

import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx.node import map_aggregate, map_arg
from torch.nn.parameter import is_lazy

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.errors import InputError, ModelError, UnsupportedOperatorError
from admm_verify.given import live_array
from admm_verify.network.builder import Builder, Scored, Tensor, UnsupportedUse
from admm_verify.network.graph import Network
from admm_verify.network.head_nodes import can_be_written, written_out
from admm_verify.network.masks import Masked, finite_part, holds_infinity, joined, softmax_of, without_input
from admm_verify.network.refusals import nearest
from admm_verify.network.stepped import step
from admm_verify.network.switch import Comparison
from admm_verify.network.torch_conditions import CONDITIONAL
from admm_verify.network.torch_heads import GOES_ON, STARTS, kept, stays
from admm_verify.network.torch_layers import Unfollowed
from admm_verify.network.torch_movement import MOVES, SUMS, added, moved
from admm_verify.network.torch_operations import OPERATIONS
from admm_verify.network.torch_sources import asked_for, decomposed, operation_name, source_line
from admm_verify.network.torch_trial import check_function

UNINITIALISED = ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided", "resize")
"""Operations whose result holds whatever the memory held before."""

SHAPED = ("full_like", "new_full", "new_ones", "new_zeros", "ones_like", "sym_numel", "sym_size", "zeros_like")
"""Operations that read nothing of a tensor but its shape and type."""

_MASKING = frozenset(("add", "baddbmm", "div", "masked_fill", "mul", "sub", "where"))
"""Operations that make scores of minus infinity of constants."""

_CARRYING = _MASKING | MOVES | {"_to_copy", "alias", "clone", "contiguous", "detach", "dropout", "to"}
"""Operations that scores of minus infinity pass through."""

KNOWN = frozenset((*OPERATIONS, *STARTS, *GOES_ON, *SHAPED, *UNINITIALISED, "getitem")) | MOVES | SUMS
"""Names of the operations that are read as they are; others are written out by torch, where it can."""


def trace(module: torch.nn.Module, example_input: torch.Tensor, *, output: str | int | None = None) -> Network:
    """A network from a torch module, read with torch.export in evaluation mode.

    output: which entry of a tuple, list or dictionary that the module returns; None where it returns one tensor.

    Shapes: example_input [batch, ...] with a leading batch axis, of which one sample is used; its values do not matter.
    Raises: InputError for what is no module; ModelError when torch cannot export it, or a parameter holds NaN or
    infinite numbers; UnsupportedOperatorError naming the operation.
    """
    _check_module(module)
    if isinstance(example_input, torch.Tensor):
        live_array(example_input, "example input")
    if not isinstance(example_input, torch.Tensor) or example_input.dtype not in (torch.float32, torch.float64):
        raise ModelError(
            "trace needs a torch tensor of type float32 or float64 as its example input, with a leading batch axis; it "
            f"was given {getattr(example_input, 'dtype', type(example_input).__name__)}."
        )
    sample = example_input[:1] if example_input.ndim > 1 else example_input
    name = type(module).__name__ + ("" if output is None else f"[{output!r}]")
    _check_parameters(module, name)
    read = module if output is None else _Returned(module, output)
    modes = {part: part.training for part in module.modules()}
    try:
        # torch.export warns about its own internals; nothing a caller could act on.
        with torch.no_grad(), warnings.catch_warnings(action="ignore"), quiet_overflow():
            exported = _exported(read.eval(), sample.detach(), name)
            element_type = str(sample.dtype).removeprefix("torch.")
            network = _Interpreter(exported, name, tuple(sample.shape), element_type).run()
            network.check_finite()
            check_function(read, network, sample, name)
    finally:
        # One by one: a part may have been frozen inside a module that trains.
        for part, training in modes.items():
            part.training = training
    return network


def _check_module(module: object) -> None:
    """Refuse what is no module, or one that torch cannot export, telling what to give instead."""
    if isinstance(module, torch.jit.ScriptModule):
        advice = "torch.export reads no script; give the module that it was made from, or read its ONNX export"
    elif isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        advice = "give the module inside, its entry module"
    elif isinstance(module, torch.nn.Module):
        return
    elif isinstance(module, torch.export.ExportedProgram):
        advice = "give its module()"
    else:
        advice = "an ONNX model is read by av.read_onnx, and a function can be put into the forward of a module"
    raise InputError(f"trace takes a torch.nn.Module, and a {type(module).__name__} was given: {advice}.")


class _Returned(torch.nn.Module):
    """One entry of what a module returns."""

    def __init__(self, module: torch.nn.Module, output: str | int) -> None:
        super().__init__()
        self.module, self.output = module, output

    def forward(self, x: torch.Tensor) -> Any:
        """The entry."""
        return self.module(x)[self.output]


def _exported(module: torch.nn.Module, sample: torch.Tensor, name: str) -> Any:
    """The module's operations, as torch.export reads them."""
    try:
        exported = torch.export.export(module, (sample,))
        # Operations in place become ordinary ones here; what they do to views of the same memory is torch's job.
        return decomposed(exported.run_decompositions({}), KNOWN)
    except Exception as error:
        # torch.export runs the module's own code, which may raise anything.
        raise ModelError(f"torch.export cannot read {name}: {error}") from error


def _check_parameters(module: torch.nn.Module, name: str) -> None:
    for kind in (module.named_parameters(), module.named_buffers()):
        for label, tensor in kind:
            if is_lazy(tensor) or tensor.is_meta:
                raise ModelError(
                    f"The parameter {label} of {name} has no numbers yet. Run a lazy module once, or load what was "
                    "made on the device meta, before it is traced."
                )
            if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
                raise ModelError(
                    f"The parameter {label} of {name} is {tensor.dtype}; float32 and float64 are read. Convert it with "
                    "module.float()."
                )
            # A buffer may be a mask.
            usual = torch.isfinite(tensor) | (torch.isneginf(tensor) & (not isinstance(tensor, torch.nn.Parameter)))
            if tensor.is_floating_point() and not bool(usual.all()):
                raise ModelError(
                    f"The parameter {label} of {name} holds NaN or infinite numbers, for which no bound exists. "
                    "Check the training run."
                )


_FOLLOWED = Tensor | Scored | Comparison | Masked
"""What depends on the input."""


class _Interpreter:
    """Runs an exported graph on builder values."""

    def __init__(self, exported: Any, name: str, shape: tuple[int, ...], element_type: str) -> None:
        self.exported, self.name = exported, name
        self.builder = Builder(shape, element_type)
        self.values: dict[str, Any] = {}
        signature = exported.graph_signature
        constants = exported.state_dict | exported.constants
        lifted = (
            signature.inputs_to_parameters | signature.inputs_to_buffers | signature.inputs_to_lifted_tensor_constants
        )
        for node in exported.graph.nodes:
            if node.op == "placeholder":
                target = lifted.get(node.name)
                # A copy: the network stays as it is while the module trains on.
                held = self.builder.input if target is None else to_numpy(constants[target]).copy()
                self.values[node.name] = held

    def run(self) -> Network:
        """The whole graph as a simplified network."""
        *nodes, last = self.exported.graph.nodes
        returned = last.args[0]
        if len(returned) != 1:
            raise ModelError(
                f"{self.name} returns {len(returned)} values; modules that return exactly one tensor are read. Choose "
                "an entry of a tuple or dictionary by av.trace(module, example_input, output=...), its number or key."
            )
        for node in nodes:
            if node.op == "call_function":
                self.values[node.name] = self._call(node)
        output = map_arg(returned[0], lambda node: self.values[node.name])
        output = self._stepped(output) if isinstance(output, Comparison) and output.numeric else output
        if isinstance(output, Comparison):
            raise UnsupportedOperatorError(
                f"{self.name} returns a comparison of values that depend on the input, whose steps have no relaxation. "
                "Return what is compared; a property can hold the comparison."
            )
        if isinstance(output, Masked):
            raise UnsupportedOperatorError(
                f"{self.name} returns values of minus infinity, for which no bound exists. Return them before the mask."
            )
        if isinstance(output, Unfollowed):
            raise UnsupportedOperatorError(
                f"{self.name} returns an output that is not followed, such as the order that a sort gives or the "
                "largest probability of a softmax. Return all values, or for the place of the largest one their argmax."
            )
        if not isinstance(output, Tensor | Scored):
            raise ModelError(f"What {self.name} returns does not depend on its input. Return what does.")
        return self.builder.finish(output, self.name)

    def _call(self, node: Any) -> Any:
        packet = operation_name(node)
        args = map_arg(node.args, lambda n: self._read(n.name, packet))
        options = map_arg(node.kwargs, lambda n: self._read(n.name, packet))
        if node.target is operator.getitem:
            return args[0][args[1]]
        if _holds(Unfollowed, (args, options)):
            raise UnsupportedOperatorError(
                f"{self._label(node)} reads an output that is not followed, such as the places of a maximum or the "
                "statistics of a batch. Use the values only."
            )
        random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        if packet in UNINITIALISED or (random and packet not in KNOWN):
            raise UnsupportedOperatorError(
                f"{self._label(node)} is not supported: it can give other numbers at every call. Take noise out, use "
                "torch.zeros instead of torch.empty, and write layers with a dropout inside, such as recurrent ones, "
                "with single operations."
            )
        if packet in SHAPED:
            args, options = map_aggregate((args, options), self._shape_alone)
        if not random and not _holds(_FOLLOWED, (args, options)):
            return self._folded(node, args, options)
        if packet not in CONDITIONAL:
            args, options = map_aggregate((args, options), self._stepped)
        masks = _holds(Masked, (args, options)) or (packet in _MASKING and _any(holds_infinity, (args, options)))
        work = self._masked(node, packet) if masks else self._work(node, packet, args, options)
        rounded, named = map_aggregate((args, options), self._rounded)
        try:
            return work(rounded, named)
        except (UnsupportedUse, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
            # Options that a handler does not know reach it as arguments it does not have.
            reason = f"one of its options is unknown here ({error})" if isinstance(error, TypeError) else error
            raise UnsupportedOperatorError(
                f"{self._label(node)} is used in a way that is not supported: {reason}"
            ) from error

    def _read(self, name: str, packet: str) -> Any:
        """What an operation reads: a softmax or the like as nodes of its own, unless it stands at the end with it."""
        value = self.values[name]
        if isinstance(value, Scored) and packet not in GOES_ON and packet not in MOVES and can_be_written(value):
            self.values[name] = value = written_out(self.builder, value)
        return value

    def _work(self, node: Any, packet: str, args: Any, options: Any) -> Callable[[Any, Any], Any]:
        """What makes builder calls of a node's arguments, rounded, by position and by name."""
        ended = _held(Scored, (args, options))
        conditional = _holds(Comparison, (args, options))
        table = GOES_ON if ended is not None else CONDITIONAL if conditional else OPERATIONS | STARTS
        handler = table.get(packet)
        if handler is not None:
            return lambda args, options: handler(self.builder, *args, **options)
        if conditional:
            raise UnsupportedOperatorError(
                f"{self._label(node)} reads a comparison of values that depend on the input, whose steps have no "
                "relaxation. Read are torch.where, masked_fill and products with it, where both sides meet as in "
                "torch.where(x > 0, x, 0.1 * x)."
            )
        if ended is not None and packet not in MOVES:
            raise UnsupportedOperatorError(
                f"{self._label(node)} reads the result of {ended.head.words}, which is supported at the end of a "
                "classifier alone. Trace the part before it."
            )
        if packet not in MOVES | SUMS:
            raise UnsupportedOperatorError(
                f"{self._label(node)} is not supported. {nearest(asked_for(node), OPERATIONS.keys() | MOVES | SUMS)}"
            )
        names = [one.name for one in node.target._schema.arguments]

        def of_entries(args: Any, options: Any) -> Any:
            given = dict(zip(names, args, strict=False)) | options
            if packet in SUMS and (packet not in MOVES or given.get("accumulate")):
                return added(self.builder, given)
            dtype = getattr(node.meta.get("val"), "dtype", None)
            result = moved(self.builder, node.target, map_aggregate(given, _without_head), dtype)
            if ended is None or stays(ended, result) or not can_be_written(ended):
                return result if ended is None else kept(ended, result)
            return moved(self.builder, node.target, map_aggregate(given, self._written), dtype)

        return of_entries

    def _masked(self, node: Any, packet: str) -> Callable[[Any, Any], Any]:
        """What an operation makes of scores that are minus infinity at constant places."""
        if packet in STARTS:
            return lambda args, options: softmax_of(
                self.builder, args[0], lambda scores: STARTS[packet](self.builder, scores, *args[1:], **options)
            )
        if packet not in _CARRYING:
            raise UnsupportedOperatorError(
                f"{self._label(node)} reads values that a mask of minus infinity was added to or written into, of "
                "which a softmax is read. Mask by where or by products instead."
            )

        def carried(args: Any, options: Any) -> Any:
            if _holds(Comparison, (args, options)):
                raise UnsupportedUse("its entries of minus infinity are not known beforehand")
            known = map_aggregate((args, options), lambda value: without_input(value, self.builder.element_type))
            pattern = _fold(node.target, *known)
            args, options = map_aggregate((args, options), finite_part)
            return joined(self._work(node, packet, args, options)(args, options), pattern)

        return carried

    def _written(self, value: Any) -> Any:
        return written_out(self.builder, value) if isinstance(value, Scored) else value

    def _label(self, node: Any) -> str:
        """The operation as a module's author knows it, with where it is called."""
        asked, packet = asked_for(node), operation_name(node)
        written_out = "" if packet.strip("_") == asked.strip("_") else f", written out as {packet}"
        line = source_line(node)
        place = "" if line is None else f', called by "{line[0]}" ({line[1]}),'
        return f"Operation {asked} (node {node.name} of {self.name}{written_out}){place}"

    def _stepped(self, value: Any) -> Any:
        """A comparison as what it is as numbers: a step."""
        return step(self.builder, value) if isinstance(value, Comparison) else value

    def _shape_alone(self, value: Any) -> Any:
        """A value of which only shape and type matter."""
        return np.zeros(value.shape, self.builder.element_type) if isinstance(value, Tensor) else value

    def _rounded(self, value: Any) -> Any:
        """A single number as torch takes it beside tensors, rounded to their type."""
        array = isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind == "f"
        if type(value) is not float and not array:
            return value
        with quiet_overflow():
            number = np.asarray(value).astype(self.builder.element_type)
        return number if array else float(number)

    def _folded(self, node: Any, args: Any, options: Any) -> Any:
        try:
            return _fold(node.target, args, options)
        except (RuntimeError, ValueError, TypeError) as error:
            raise UnsupportedOperatorError(f"{self._label(node)} on constants cannot be evaluated: {error}") from error


def _without_head(value: Any) -> Any:
    """A head's result as if it were the scores, with its own shape."""
    return Tensor(value.scores.node, value.shape) if isinstance(value, Scored) else value


def _holds(kind: Any, arguments: Any) -> bool:
    """Whether a value of this kind stands anywhere in an operation's arguments."""
    return _held(kind, arguments) is not None


def _held(kind: Any, arguments: Any) -> Any:
    """The first value of this kind in an operation's arguments; None where there is none."""
    found = []
    map_aggregate(arguments, lambda a: found.append(a) if isinstance(a, kind) else None)
    return found[0] if found else None


def _any(condition: Callable[[Any], bool], arguments: Any) -> bool:
    """Whether something holds for any of an operation's arguments."""
    found: list[bool] = []
    map_aggregate(arguments, lambda value: found.append(condition(value)))
    return any(found)


def _fold(target: Any, args: Any, options: Any) -> Any:
    """An operation on constants, computed by torch itself."""

    def tensor(value: Any) -> Any:
        return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value

    result = target(*map_aggregate(args, tensor), **map_aggregate(options, tensor))
    if isinstance(result, list | tuple):
        return [to_numpy(part) if isinstance(part, torch.Tensor) else part for part in result]
    return to_numpy(result) if isinstance(result, torch.Tensor) else result
