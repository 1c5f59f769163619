"""Checkpoints of a training: everything it goes on from, in a safetensors file that is written whole or not at all."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from admm_verify.errors import InputError
from admm_verify.files import replaced
from admm_verify.training.images import LabelledImages
from admm_verify.training.settings import TrainingSettings

_FORMAT = "admm_verify training 1"
_MODULE, _BEST, _OPTIMISER, _OWN, _TORCH = "module.", "best.", "optimiser.", "generator.own", "generator.torch"


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch came to.

    epoch: from 1 on. loss: the mean over its batches, penalties included. ramp: the share of the loss's radius at its
    end. clean, certified: shares of the validation images that were right, and right at all of the box by intervals;
    None without a validation, without a radius, or for a module of which no intervals are known. seconds: it took.
    """

    epoch: int
    loss: float
    ramp: float
    clean: float | None
    certified: float | None
    seconds: float


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Where a training stands at the end of an epoch: tensors that nothing changes any more, and the history."""

    tensors: Mapping[str, Tensor]
    history: tuple[EpochRecord, ...]

    @classmethod
    def of(
        cls,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
        history: tuple[EpochRecord, ...],
        best: Mapping[str, Tensor] | None,
    ) -> "TrainingState":
        """A copy of everything."""
        tensors = {_MODULE + name: value for name, value in module.state_dict().items()}
        for number, parts in optimiser.state_dict()["state"].items():
            tensors |= {f"{_OPTIMISER}{number}.{name}": value for name, value in parts.items()}
        tensors |= {_OWN: generator.get_state(), _TORCH: torch.random.get_rng_state()}
        tensors |= {_BEST + name: value for name, value in (best or {}).items()}
        plain = torch.contiguous_format
        return cls({name: value.detach().clone(memory_format=plain) for name, value in tensors.items()}, history)

    @property
    def best(self) -> dict[str, Tensor] | None:
        """The weights that were best so far, None where none were kept."""
        return self._under(_BEST) or None

    def restore(self, module: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """Put everything back."""
        module.load_state_dict(self._under(_MODULE))
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in self._under(_OPTIMISER).items():
            number, _, part = name.partition(".")
            states.setdefault(int(number), {})[part] = value.clone()
        optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
        generator.set_state(self.tensors[_OWN])
        torch.random.set_rng_state(self.tensors[_TORCH])

    def write(self, path: str | Path, task: str) -> None:
        """Write the file.

        Raises: OutputError.
        """
        history = json.dumps([asdict(record) for record in self.history])
        notes = {"format": _FORMAT, "task": task, "history": history, "digest": _digest(self.tensors, task, history)}
        content = save(dict(self.tensors), notes)
        with replaced(path, "checkpoint") as file:
            file.write(content)

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in self.tensors.items() if name.startswith(prefix)}


def read_state(path: str | Path, task: str, module: nn.Module) -> TrainingState | None:
    """The state that a file holds, None where there is no file.

    Raises: InputError for another file, one that is not as it was written, or one of another training.
    """
    if not Path(path).exists():
        return None
    advice = "Give another file, or delete it to begin anew."
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"The checkpoint {path} cannot be read: {error}. {advice}") from error
    if notes.get("format") != _FORMAT:
        raise InputError(f"{path} is no checkpoint of a training of this version. {advice}")
    written, history = notes.get("task", ""), notes.get("history", "")
    if notes.get("digest") != _digest(tensors, written, history):
        raise InputError(f"The checkpoint {path} is not as it was written. {advice}")
    if written != task:
        raise InputError(
            f"The checkpoint {path} is of another training: its module, images, validation or settings differ. {advice}"
        )
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    records = tuple(EpochRecord(**record) for record in json.loads(history))
    state = TrainingState(tensors, records)
    assert {name: tuple(value.shape) for name, value in state._under(_MODULE).items()} == shapes, "The task says so"
    return state


def task_of(
    module: nn.Module, settings: TrainingSettings, data: LabelledImages, validation: LabelledImages | None
) -> str:
    """What tells a training from others, as a digest: the module's layers, all settings that count, all images.

    Initial weights do not count: they are in no checkpoint but as what became of them.
    """
    counted: dict[str, Any] = {}
    for field in fields(settings):
        if field.name not in ("checkpoint", "checkpoint_every"):
            counted[field.name] = _written(getattr(settings, field.name))
    digest = hashlib.sha256(json.dumps(counted, sort_keys=True).encode())
    for name, layer in module.named_modules():
        digest.update(f"{name} {type(layer).__qualname__} {layer.extra_repr()}".encode())
    for name, value in module.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
    for part in (data, validation):
        if part is not None:
            digest.update(f"{tuple(part.images.shape)} {part.images.dtype}".encode())
            digest.update(_bytes(part.images))
            digest.update(_bytes(part.labels))
    return digest.hexdigest()


def _digest(tensors: Mapping[str, Tensor], task: str, history: str) -> str:
    """What a change of anything in a file changes."""
    digest = hashlib.sha256(json.dumps([task, history]).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        digest.update(_bytes(tensors[name]))
    return digest.hexdigest()


def _bytes(value: Tensor) -> memoryview:
    """The numbers as they are stored, of types that NumPy lacks, too."""
    return value.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _written(value: Any) -> Any:
    """A setting in full: records by their names and fields, where others abbreviate."""
    if isinstance(value, tuple):
        return [_written(one) for one in value]
    if hasattr(value, "__dataclass_fields__"):
        return [type(value).__name__, *((field.name, _written(getattr(value, field.name))) for field in fields(value))]
    return repr(value)
