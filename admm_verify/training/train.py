"""The loop that trains a module on a loss, from batch to batch, and can be ended and gone on with anywhere."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from admm_verify.errors import InputError, ModelError, UnsupportedOperatorError
from admm_verify.options import instance, shown
from admm_verify.run import Ended, Progress, Run, Stopped
from admm_verify.streams import tell
from admm_verify.training.bounds import TensorBox, interval_bounds
from admm_verify.training.checkpoints import EpochRecord, TrainingState, read_state, task_of
from admm_verify.training.images import LabelledImages
from admm_verify.training.reading import LayerGraph, read_layers
from admm_verify.training.settings import TrainingSettings
from admm_verify.training.step import TrainingStep

_VALIDATED = 500
"""Images of the validation that are looked at side by side."""


@dataclass(frozen=True, eq=False, repr=False)
class TrainingResult:
    """A training that ended.

    module: what was trained, in evaluation mode. history: a record of every epoch, also of those before it was gone on
    with. status: COMPLETE, or STOPPED or TIMED_OUT, where the weights are those at the end of the last full epoch.
    best_epoch: whose weights the module has, None where these are the last ones. resumed: epochs that a checkpoint had.
    """

    module: nn.Module
    history: tuple[EpochRecord, ...]
    status: Ended
    best_epoch: int | None
    resumed: int
    seconds: float

    @property
    def clean(self) -> float | None:
        """The share of the validation that the module gets right."""
        return self._record.clean if self.history else None

    @property
    def certified(self) -> float | None:
        """The share of the validation that intervals certify."""
        return self._record.certified if self.history else None

    @property
    def _record(self) -> EpochRecord:
        return self.history[-1 if self.best_epoch is None else self.best_epoch - 1]

    def __repr__(self) -> str:
        """One line: how many epochs, how it ended, and the record of the epoch whose weights the module has."""
        what = f"{type(self.module).__name__}: {len(self.history)} epochs, {self.status.value}, {self.seconds:.1f} s"
        if not self.history:
            return what
        shares = (("clean", self.clean), ("certified by intervals", self.certified))
        return ", ".join(
            [what, f"loss {self._record.loss:.4g}", *(f"{name} {one:.2%}" for name, one in shares if one is not None)]
        )


def train(
    module: nn.Module,
    data: Any,
    settings: TrainingSettings,
    *,
    validation: Any = None,
    run: Run | None = None,
) -> TrainingResult:
    """Train a module in place, on the host.

    min over its parameters of the mean of the loss over the images, plus the penalties, by Adam. The same call in the
    same place gives the same weights, bit for bit, also where it was ended and gone on with from its checkpoint, with
    the same number of threads. Ctrl-C ends it as `run.stop` does: with the weights at the end of the last full epoch.

    data, validation: pairs (images, labels). run: asked between batches; told of every batch. Without anybody to tell,
    a line of progress is written on stderr where that is a terminal.

    Shapes: images [count, *input_shape]; labels [count], whole numbers from 0 to the module's outputs less one.
    Units: radii of losses are those of the images.
    Raises: InputError for what does not fit, and a checkpoint of another training; ModelError where the loss is no
    number, or the module cannot compute it, which names the epoch; UnsupportedOperatorError for a layer that the loss
    has no bounds for; OutputError where a checkpoint cannot be written.
    """
    instance(module, nn.Module, "The module", ", such as a torch.nn.Sequential")
    instance(settings, TrainingSettings, "The settings", "(loss=...)")
    begun, weight = Run.of(run), next(module.parameters(), None)
    if weight is None:
        raise InputError("The module has no parameters to train.")
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise InputError(f"The module keeps {name}, a {type(value).__name__}; training keeps tensors alone.")
    if weight.device.type != "cpu":
        raise InputError(f"The module is on {weight.device}, and training is on the host; give module.cpu().")
    images = LabelledImages.of(data, "training data", weight.dtype)
    held = None if validation is None else LabelledImages.of(validation, "validation", weight.dtype)
    for part, what in ((images, "training data"), (held, "validation")):
        if part is not None:
            part.check(module, what)
    return _Training(module, images, held, settings, begun).result()


class _Training:
    """One call of `train`."""

    def __init__(
        self,
        module: nn.Module,
        images: LabelledImages,
        validation: LabelledImages | None,
        settings: TrainingSettings,
        run: Run,
    ) -> None:
        self.module, self.images, self.validation, self.settings = module, images, validation, settings
        self.run = replace(run, tell=_bar) if run.tell is None and sys.stderr.isatty() else run
        self.barred = self.run.tell is _bar
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.optimiser = torch.optim.AdamW(module.parameters(), settings.rate, weight_decay=settings.decay)
        self.graphs: dict[str, LayerGraph] = {}
        self.history: tuple[EpochRecord, ...] = ()
        self.best: dict[str, Tensor] | None = None

    def result(self) -> TrainingResult:
        """Go on from the checkpoint, if any, to the end."""
        began, settings = time.monotonic(), self.settings
        task = "" if settings.checkpoint is None else task_of(self.module, settings, self.images, self.validation)
        with torch.random.fork_rng(devices=[]), _line(self.barred):
            torch.random.manual_seed(settings.seed)
            state = None if settings.checkpoint is None else read_state(settings.checkpoint, task, self.module)
            resumed = 0 if state is None else len(state.history)
            if state is None:
                for initialiser in settings.initialisers:
                    with torch.no_grad():
                        initialiser(self.module, self.generator)
                state = self._state()
            else:
                state.restore(self.module, self.optimiser, self.generator)
                self.history, self.best = state.history, state.best
            ended = self._epochs(state, task)
        if self.best is not None:
            self.module.load_state_dict(self.best)
        best = None if self.best is None else max(self.history, key=self._order).epoch
        self.module.eval()
        return TrainingResult(self.module, self.history, ended, best, resumed, time.monotonic() - began)

    def _epochs(self, state: TrainingState, task: str) -> Ended:
        """All epochs that are left; afterwards the module is as at the end of the last full one."""
        settings, ended = self.settings, Ended.COMPLETE
        written = len(state.history)
        try:
            while len(self.history) < settings.epochs:
                self._epoch()
                state = self._state()
                if settings.checkpoint is not None and len(self.history) % settings.checkpoint_every == 0:
                    state.write(settings.checkpoint, task)
                    written = len(self.history)
        except Stopped:
            ended = self.run.ended() or Ended.STOPPED
        except KeyboardInterrupt:
            ended = Ended.STOPPED
        except BaseException:
            state.restore(self.module, self.optimiser, self.generator)
            raise
        if ended is not Ended.COMPLETE:
            state.restore(self.module, self.optimiser, self.generator)
            self.history, self.best = state.history, state.best
        if settings.checkpoint is not None and written < len(state.history):
            state.write(settings.checkpoint, task)
        return ended

    def _state(self) -> TrainingState:
        return TrainingState.of(self.module, self.optimiser, self.generator, self.history, self.best)

    def _epoch(self) -> None:
        settings, began, number = self.settings, time.monotonic(), len(self.history)
        count, total = math.ceil(len(self.images) / settings.batch), 0.0
        self.module.train()
        for i, part in enumerate(self.images.batches(settings.batch, settings.shift, self.generator)):
            self.run.check()
            value = self._step(part, (number + i / count) / settings.epochs)
            total += value * len(part)
            done = number * count + i + 1
            self.run.say(f"epoch {number + 1} of {settings.epochs}, loss {value:.4f}", done, settings.epochs * count)
        clean, certified = self._validated()
        ramp, seconds = settings.ramp_at((number + 1) / settings.epochs), time.monotonic() - began
        record = EpochRecord(number + 1, total / len(self.images), ramp, clean, certified, seconds)
        self.history = (*self.history, record)
        if settings.keep_best and max(self.history, key=self._order) is record:
            self.best = {name: value.clone() for name, value in self.module.state_dict().items()}

    def _step(self, part: LabelledImages, done: float) -> float:
        """One batch; returns what it cost."""
        settings, parameters = self.settings, list(self.module.parameters())
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate_at(done)
        ramp = settings.ramp_at(done)
        self.optimiser.zero_grad()
        value = self._cost(part, ramp)
        value.backward()
        norm = torch.nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None])
        if not (bool(torch.isfinite(value)) and bool(torch.isfinite(norm))):
            raise ModelError(
                f"The loss or its gradient is no finite number in epoch {len(self.history) + 1}, at {ramp:.0%} of the "
                "radius; the module has the weights of the epoch before. Lower rate or clip, lengthen the ramp, or "
                "scale the images to [0, 1]."
            )
        if settings.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, settings.clip, norm)
        self.optimiser.step()
        return float(value.detach())

    def _cost(self, part: LabelledImages, ramp: float) -> Tensor:
        """The loss with the penalties.

        Raises: ModelError for what the module or a record of the caller's own raises, and for what is no such number.
        """
        settings = self.settings
        step = TrainingStep(
            self.module, part.images, part.labels, ramp, settings.within, self.generator, shared=self.graphs
        )
        where = f"in epoch {len(self.history) + 1}, on a batch of {len(part)} of the {len(self.images)} images"
        try:
            value: Any = sum((penalty(step) for penalty in settings.penalties), start=settings.loss(step))
        except InputError:
            raise
        except (RuntimeError, ValueError) as error:
            more = " Choose `batch` so that no image is left over." if len(part) == 1 < len(self.images) else ""
            raise ModelError(f"{type(self.module).__name__} cannot be trained {where}: {error}.{more}") from error
        if not isinstance(value, Tensor) or value.ndim or not value.requires_grad:
            raise ModelError(
                f"The loss and the penalties come to {shown(value)} {where}: no single number with a gradient. Losses "
                "return means over the batch, and some parameters have requires_grad."
            )
        return value

    def _validated(self) -> tuple[float | None, float | None]:
        """The shares of the validation that are right, and certified by intervals."""
        if self.validation is None:
            return None, None
        self.module.eval()
        graph = self._graph() if self.settings.radius else None
        right = certified = 0
        with torch.no_grad():
            for part in self.validation.parts(_VALIDATED):
                # A layer may work in place, and these are the caller's numbers.
                right += int((self.module(part.images.clone()).argmax(-1) == part.labels).sum())
                if graph is not None:
                    certified += int(_certified(graph, part, self.settings).sum())
        count = len(self.validation)
        return right / count, None if graph is None else certified / count

    def _graph(self) -> LayerGraph | None:
        """The module's layers, None where some of them have no intervals here."""
        if "graph" not in self.graphs:
            try:
                self.graphs["graph"] = read_layers(self.module, self.images.images)
            except (UnsupportedOperatorError, ModelError):
                return None
        return self.graphs["graph"]

    def _order(self, record: EpochRecord) -> tuple[float, float, float, int]:
        """Greater is better: with the whole radius, then by what is certified, then by what is right, then later."""
        return record.ramp, record.certified or 0.0, record.clean or 0.0, record.epoch


def _certified(graph: LayerGraph, part: LabelledImages, settings: TrainingSettings) -> Tensor:
    """Which images are right at all of their boxes."""
    box = TensorBox.around(part.images, settings.radius, settings.within)
    margins = interval_bounds(graph, box, graph.scales(part.images)).margins(part.labels)
    return (margins.scatter(1, part.labels[:, None], 1.0) > 0).all(-1)


def _bar(progress: Progress) -> None:
    """A line of progress that replaces the one before."""
    share = progress.done / (progress.total or 1)
    tell(f"\r[{'#' * int(24 * share):<24}] {progress.text}\x1b[K")


@contextmanager
def _line(barred: bool) -> Iterator[None]:
    """The terminal goes on behind the line of progress."""
    try:
        yield
    finally:
        if barred:
            tell("\n")
