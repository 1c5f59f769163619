"""Losses of many points of many targets and their gradients, in blocks of rows that fit the memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow
from admm_verify.attacks.gradient import output_and_gradient
from admm_verify.attacks.targets import Targets
from admm_verify.backends.device import budget_at, full_precision
from admm_verify.errors import InputError
from admm_verify.memory import Budget
from admm_verify.network.graph import Network
from admm_verify.network.placed import moved
from admm_verify.run import Run
from admm_verify.threads import threads_for

_TOGETHER = 8
"""Rows of a block, where memory allows as many."""

_ROUNDINGS = 16.0
"""Roundings of the terms of an atom by which another evaluation of the same network may differ."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """The losses of targets over their sets; points are [targets, points, inputs].

    network: in the targets' library and dtype. budget: of the work in blocks.
    """

    network: Network
    targets: Targets
    budget: Budget

    @classmethod
    def of(cls, network: Network, targets: Targets, run: Run | None = None) -> "Landscape":
        """The losses of targets of a network; what is asked for is finished even where the run is over.

        Raises: InputError where the targets' sizes are not the network's.
        """
        sizes = (targets.inputs.size, targets.objective.shape[-1])
        if sizes != (network.input_size, network.output_size):
            raise InputError(
                f"The targets have {sizes[0]} inputs and {sizes[1]} outputs, but {network.name} has "
                f"{network.input_size} and {network.output_size}."
            )
        place = targets.inputs.placement
        return cls(moved(network, place), targets, budget_at(place, Run.of(run).endless()))

    def take(self, rows: np.ndarray) -> "Landscape":
        """The losses of some of the targets."""
        return replace(self, targets=self.targets.take(rows))

    def losses(self, points: Array) -> Array:
        """The loss of every point, infinite where it is no number: [targets, points]."""

        def work(target: Array, x: Array) -> tuple[Array, ...]:
            return (namespace(x).max(self._values(self.network.evaluate(x)[-1], target), axis=-1),)

        (losses,) = self._swept((points,), work)
        return _finite(losses)

    def slopes(self, points: Array, aim: Array | None = None) -> tuple[Array, Array, Array]:
        """Losses as above, and what descent methods lower instead, with its gradient; NaN becomes 0 there.

        That is q = sum over atoms of max(value_j + aim, 0)^2 / 2, which unlike the loss has no kinks of its own; for a
        target of one atom, and where q is 0, it is the loss.

        Shapes: points, gradient [targets, points, inputs]; losses, q and aim, by default 0, [targets, points].
        """

        def work(target: Array, x: Array, beyond: Array) -> tuple[Array, ...]:
            xp, kept = namespace(x), []

            def weigh(output: Array) -> Array:
                values = self._values(output, target)
                losses, excess = xp.max(values, axis=-1), xp.maximum(values + beyond, xp.zeros_like(values))
                alone = (losses + beyond[:, 0] <= 0) | (values.shape[-1] == 1)
                squares = 0.5 * xp.sum(excess * excess, axis=-1)
                largest = xp.astype(values == losses[:, None], values.dtype)
                weight = xp.where(alone[:, None], largest / xp.sum(largest, axis=-1, keepdims=True), excess)
                kept.extend((losses, xp.where(alone, losses, squares)))
                return self._weighted(weight, target)

            _, gradient = output_and_gradient(self.network, x, weigh)
            return *kept, gradient

        beyond = namespace(points).zeros_like(points[..., :1]) if aim is None else aim[..., None]
        losses, lowered, gradient = self._swept((points, beyond), work)
        return _finite(losses), _finite(lowered), _numbers(gradient)

    def entropies(self, points: Array, roundoff: float) -> tuple[Array, Array, Array]:
        """Losses, by so much more as rounding may change them by, and log(1 + sum over atoms of exp(value_j)), smooth,
        with its gradient.

        With atoms f_j - f_k for all classes j but k that is the cross-entropy of class k. roundoff: of the type that
        the network is computed in elsewhere.
        Shapes: points, gradient [targets, points, inputs]; the others [targets, points].
        """

        def work(target: Array, x: Array) -> tuple[Array, ...]:
            xp, kept = namespace(x), []

            def weigh(output: Array) -> Array:
                values = self._values(output, target)
                most = xp.maximum(xp.max(values, axis=-1), xp.zeros_like(values[:, 0]))
                share = xp.exp(values - most[:, None])
                total = xp.exp(-most) + xp.sum(share, axis=-1)
                losses = xp.max(values, axis=-1) + _ROUNDINGS * roundoff * self._sizes(output, target)
                kept.extend((losses, most + xp.log(total)))
                return self._weighted(share / total[:, None], target)

            _, gradient = output_and_gradient(self.network, x, weigh)
            return *kept, gradient

        losses, value, gradient = self._swept((points,), work)
        return _finite(losses), _finite(value), _numbers(gradient)

    def linearised(self, x: Array, roundoff: float) -> tuple[Array, Array]:
        """The values of all atoms at a point of each target, by so much more as above, and their gradients there.

        Shapes: x [targets, inputs] -> [targets, atoms], [targets, atoms, inputs].
        """
        xp, objective = namespace(x), self.targets.objective
        points = xp.broadcast_to(x[:, None, :], (*objective.shape[:2], x.shape[-1]))

        def work(target: Array, x: Array, c: Array, shift: Array) -> tuple[Array, ...]:
            output, gradient = output_and_gradient(self.network, x, lambda _: c)
            terms = namespace(x).concat([c * output, shift], axis=-1)
            slack = _ROUNDINGS * roundoff * xp.sum(xp.abs(terms), axis=-1)
            return xp.sum(terms, axis=-1) + slack, gradient

        value, gradient = self._swept((points, objective, self.targets.offset[..., None]), work)
        return _finite(value), _numbers(gradient)

    def directions(self, points: Array, coefficient: Array) -> Array:
        """The gradient of coefficient' f at every point; coefficient [targets, points, outputs]."""

        def work(target: Array, x: Array, c: Array) -> tuple[Array, ...]:
            return (output_and_gradient(self.network, x, lambda _: c)[1],)

        (gradient,) = self._swept((points, coefficient), work)
        return _numbers(gradient)

    def clear(self, x: Array) -> Array:
        """Whether the points x [targets, inputs] are hits by more than rounding may take back: [targets]."""
        xp, targets = namespace(x), self.targets
        with threads_for(x.shape[0] * self.network.weight_count, most=self.budget.run.threads), quiet_overflow():
            output = self.network.evaluate(x)[-1]
            terms = xp.sum(xp.abs(targets.objective * output[:, None, :]), axis=-1) + xp.abs(targets.offset)
            slack = _ROUNDINGS * float(xp.finfo(x.dtype).eps) * xp.max(terms, axis=-1)
        return targets.hit(self.losses(x[:, None, :])[:, 0] + slack)

    def _values(self, output: Array, target: Array) -> Array:
        """The atoms' values [rows, atoms] of outputs [rows, outputs] that belong to the given targets."""
        xp = namespace(output)
        if self.targets.objective.shape[0] == 1:
            # A thousand atoms of a thousand outputs would be copied once for each row.
            return output @ self.targets.objective[0, ...].T + self.targets.offset[0, ...]
        objective = xp.take(self.targets.objective, target, axis=0)
        return xp.sum(objective * output[:, None, :], axis=-1) + xp.take(self.targets.offset, target, axis=0)

    def _weighted(self, weight: Array, target: Array) -> Array:
        """Coefficients [rows, outputs] of the outputs in sums of atoms with weights [rows, atoms]."""
        xp, objective = namespace(weight), self.targets.objective
        if objective.shape[0] == 1:
            return weight @ objective[0, ...]
        return xp.sum(weight[..., None] * xp.take(objective, target, axis=0), axis=1)

    def _sizes(self, output: Array, target: Array) -> Array:
        """The largest sum of the sizes of an atom's terms, [rows]."""
        xp, objective, offset = namespace(output), self.targets.objective, self.targets.offset
        if objective.shape[0] == 1:
            terms = xp.abs(output) @ xp.abs(objective[0, ...]).T + xp.abs(offset[0, ...])
        else:
            sizes = xp.abs(xp.take(objective, target, axis=0))
            terms = xp.sum(sizes * xp.abs(output)[:, None, :], axis=-1) + xp.abs(xp.take(offset, target, axis=0))
        return xp.max(terms, axis=-1)

    def _swept(self, arrays: tuple[Array, ...], work: Callable[..., tuple[Array, ...]]) -> tuple[Array, ...]:
        """work(target, *rows) on blocks of rows of the arrays [targets, points, n], with the number of their target."""
        xp, (count, each) = namespace(*arrays), arrays[0].shape[:2]
        flat = [xp.reshape(array, (count * each, array.shape[-1])) for array in arrays]
        target = Placement.of(arrays[0]).put_indices(np.repeat(np.arange(count), each))
        # Beside the values of all nodes every row takes its target's atoms, where there are several.
        _, atoms, outputs = self.targets.objective.shape
        numbers = sum(node.size for node in self.network.nodes) + (count > 1) * atoms * outputs
        # One row of a large convolution takes nearly as long as a few.
        step = max(1, self.budget.block(numbers), self.budget.rows(_TOGETHER * numbers, numbers))
        threads = threads_for(count * each * self.network.weight_count, most=self.budget.run.threads)
        with threads, full_precision(self.targets.inputs.placement), quiet_overflow():
            parts = self.budget.blocks(
                count * each, step, lambda i, j: work(target[i:j], *(array[i:j] for array in flat))
            )
        whole = parts[0] if len(parts) == 1 else tuple(xp.concat(part, axis=0) for part in zip(*parts, strict=True))
        return tuple(xp.reshape(part, (count, each, *part.shape[1:])) for part in whole)


def _finite(losses: Array) -> Array:
    xp = namespace(losses)
    return xp.where(xp.isfinite(losses), losses, xp.full_like(losses, float("inf")))


def _numbers(gradient: Array) -> Array:
    xp = namespace(gradient)
    return xp.where(xp.isnan(gradient), xp.zeros_like(gradient), gradient)
