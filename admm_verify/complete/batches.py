"""How many subproblems a search bounds at once: as many as pay, and few enough to answer when asked to stop."""

from admm_verify.settings import SearchSettings

_PAYS = 0.9
"""What a subproblem in a batch of twice the size may take of its time for that size to pay."""

_PATIENCE = 10.0
"""How many times `seconds_per_step` a step may take where larger batches pay."""


class Batches:
    """The size of the next batch, learned from how long batches take.

    Where most of a step is the same for few subproblems as for many, as in networks of many small layers, a step that
    takes long is no reason for small batches, which would take as long.
    """

    def __init__(self, settings: SearchSettings) -> None:
        self.size = settings.least_batch
        self._settings = settings
        self._seconds_each: dict[int, float] = {}

    def took(self, count: int, seconds: float) -> None:
        """Learn that a batch of so many took so long."""
        if count >= self.size:
            self._seconds_each[self.size] = seconds / count
        limit = self._settings.seconds_per_step
        grows = seconds < _PATIENCE * limit and count >= self.size and self._pays(self.size)
        if seconds < limit or (grows and self._pays(2 * self.size)):
            self.size = min(2 * self.size, self._settings.most_batch)
        elif seconds > 2.0 * limit and (seconds > _PATIENCE * limit or not self._pays(self.size)):
            self.size = max(self.size // 2, self._settings.least_batch)

    def ran_out_of_memory(self) -> None:
        """Take far fewer."""
        self.size = max(1, self.size // 4)

    def _pays(self, size: int) -> bool:
        """Whether batches of a size are, as far as known, cheaper by the subproblem than those of half of it."""
        whole, half = self._seconds_each.get(size), self._seconds_each.get(size // 2)
        return whole is None or half is None or whole < _PAYS * half
