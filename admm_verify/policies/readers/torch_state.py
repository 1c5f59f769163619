"""Tensors of files that torch wrote, and torch modules; imports torch, so only reading such a policy loads it."""

import io
import os
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from admm_verify.errors import ModelError
from admm_verify.network.from_torch import trace
from admm_verify.network.graph import Network
from admm_verify.policies.policy import ObservationScale
from admm_verify.policies.readers.archive import MOST_BYTES, is_archive, read_members
from admm_verify.policies.readers.unpickle import check_operations


def read_state(content: bytes, what: str) -> dict[str, np.ndarray]:
    """The tensors of a state dict that torch.save wrote, by their names, as arrays of their own.

    Only tensors are rebuilt (torch.load with weights_only): nothing that the file names is imported or called.
    Raises: ModelError for anything else in it, with the reason; for NaN and infinite numbers.
    """
    pickles = [content]
    if is_archive(io.BytesIO(content)):
        # Torch unpacks what an archive claims to hold without a limit.
        read_members(io.BytesIO(content), (), what)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        pickles = list(read_members(io.BytesIO(content), names, what).values())
    try:
        for one in pickles:
            for part in _parts(one):
                check_operations(part)
        # Torch warns of versions of pickles, which it then reads, or does not.
        with warnings.catch_warnings(action="ignore"):
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # Damaged files end in errors of any kind, those of memory included.
    except Exception as error:
        reason = str(error).partition("Please file an issue")[0].splitlines()
        told = next((line.strip() for line in reason if "GLOBAL" in line or "Unsupported" in line), "")
        told = told or (reason[0] if reason else type(error).__name__)
        raise ModelError(
            f"{what} is refused: it holds something else than tensors, or is damaged ({told}). Nothing of it was run; "
            "save the policy again as torch.save(policy.state_dict(), file)."
        ) from error
    if isinstance(found, tuple | list) and found:
        # CleanRL saves the actor before its critics.
        found = found[0]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()
    ):
        raise ModelError(
            f"{what} holds no state dict, which is tensors by their names; save it as "
            "torch.save(policy.state_dict(), file)."
        )
    return {name: _array(value, f"The tensor {name} of {what}") for name, value in found.items()}


def _parts(content: bytes) -> Iterator[bytes]:
    """The pickles that a file of torch begins with: one, or in the older format five before the numbers."""
    rest = io.BytesIO(content)
    for _ in range(5):
        begin = rest.tell()
        if rest.read(1) != b"\x80":
            return
        rest.seek(begin)
        yield content[begin:]
        for _ in pickletools.genops(rest):
            pass


def read_state_file(path: str | os.PathLike[str], what: str) -> dict[str, np.ndarray]:
    """The tensors of a state dict in a file. Raises: ModelError as `read_state`, and where it cannot be read."""
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise ModelError(f"{what} has {os.path.getsize(path)} bytes, and at most {MOST_BYTES} are read.")
        with open(path, "rb") as file:
            return read_state(file.read(), what)
    except OSError as error:
        raise ModelError(f"{what} cannot be read: {error.strerror or error}.") from error


def _array(tensor: torch.Tensor, what: str) -> np.ndarray:
    """A tensor as an array; one that claims more entries than it has bytes for is refused."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.dtype.is_complex:
        raise ModelError(f"{what} is no dense tensor of real numbers.")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ModelError(f"{what} is refused: it claims {tensor.numel()} entries and has fewer.")
    array = (
        tensor.detach()
        .resolve_neg()
        .to(torch.float64 if tensor.dtype == torch.float64 else torch.float32)
        .numpy()
        .copy()
    )
    if not np.isfinite(array).all():
        raise ModelError(f"{what} holds NaN or infinite numbers, for which no bound exists. Check the training run.")
    return array


def traced(
    module: Any, forward: Callable[[torch.Tensor], Any] | None, shape: tuple[int, ...], output: str | int | None
) -> Network:
    """The network of a module for observations of a shape; forward: what stands for its own forward, of its parts.

    Raises: as `trace`.
    """
    example = torch.zeros(1, *shape, dtype=next((one.dtype for one in module.parameters()), torch.float32))
    if forward is None:
        return trace(module, example, output=output)
    return replace(trace(_Assembled(module, forward), example), name=type(module).__name__)


class _Assembled(torch.nn.Module):
    """A module's parts, put together as a function of the observation."""

    def __init__(self, module: torch.nn.Module, forward: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.module, self._forward = module, forward

    def forward(self, x: torch.Tensor) -> Any:
        """What the function gives."""
        return self._forward(x)


@dataclass(frozen=True, eq=False)
class TorchEvaluation:
    """How stable-baselines3 computes a policy: observations normalised in float64, layers in torch's float32.

    network: without the normalisation.
    """

    network: Network
    scale: ObservationScale | None

    def __call__(self, flat: np.ndarray) -> np.ndarray:
        """The outputs [batch, outputs] for observations [batch, inputs]."""
        if self.scale is not None:
            scale = self.scale
            flat = np.clip((flat.astype(np.float64) - scale.mean) / scale.std, -scale.clip, scale.clip)
        with torch.no_grad():
            values = self.network(torch.from_numpy(np.array(flat, dtype=np.float32)))
        return values.numpy().reshape(len(flat), -1)


def is_module(source: object) -> bool:
    """Whether something is a torch module."""
    return isinstance(source, torch.nn.Module)
