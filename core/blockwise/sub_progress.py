"""A part of a job's progress, handed to whoever does that part."""

from __future__ import annotations

from benchvise.core.progress import Progress


class SubProgress:
    """Progress whose `start` and `advance` are in its own units, told to `parent` as a part of `units` of it.

    Notes, results and cancelling go through. `finish` tells what is left, so that parts always add up.
    """

    def __init__(self, parent: Progress, units: int) -> None:
        self._parent = parent
        self._units = units
        self._told = 0
        self._done = 0
        self._total = 1
        self._parts: list[SubProgress] = []

    def start(self, total: int, unit: str) -> None:  # noqa: ARG002 - the parent has its own
        """May be called again: what follows then counts in what is left."""
        self._units -= self._told
        self._told = self._done = 0
        self._total = max(1, total)

    def advance(self, units: int) -> None:
        self._done = min(self._total, self._done + units)
        self._tell(self._units * self._done // self._total)

    def part(self, fraction: float) -> SubProgress:
        """Progress of so much of this part, which must have been split by `part` alone."""
        units = min(int(self._units * fraction), self._units - self._told)
        self._told += units
        self._parts.append(SubProgress(self._parent, units))
        return self._parts[-1]

    def finish(self) -> None:
        for part in self._parts:
            part.finish()
        self._tell(self._units)

    def check_cancelled(self) -> None:
        self._parent.check_cancelled()

    def note(self, message: str) -> None:
        self._parent.note(message)

    def result(self, record: object) -> None:
        self._parent.result(record)

    def _tell(self, units: int) -> None:
        if units > self._told:
            self._parent.advance(units - self._told)
            self._told = units
