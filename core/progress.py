"""Progress as an object that is passed down: the computation advances it, and its observer listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a long computation reports to. Units are what `start` says: bytes, weights or tokens, never percent."""

    def start(self, total: int, unit: str) -> None:
        """Say how much there is to do; may be called again when a job enters its next stage."""

    def advance(self, units: int) -> None:
        """Say that `units` more are done. Also a point where a pause holds and a cancel raises."""

    def check_cancelled(self) -> None:
        """Hold while paused; raise `Cancelled` once the person asked for it."""

    def note(self, message: str) -> None:
        """Add one line to the job's log."""

    def result(self, record: object) -> None:
        """Hand on one partial result (a frozen dataclass of `core.protocol.results`) as it is ready."""


class NullProgress:
    """Listens to nothing: for tests and library use."""

    def start(self, total: int, unit: str) -> None:
        pass

    def advance(self, units: int) -> None:
        pass

    def check_cancelled(self) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def result(self, record: object) -> None:
        pass


NULL_PROGRESS: Progress = NullProgress()
