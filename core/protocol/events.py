"""What the engine says while it works. Every event carries the number of the request it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.core.protocol.results import Result


@dataclass(frozen=True)
class Queued:
    request: int
    position: int


@dataclass(frozen=True)
class Started:
    request: int


@dataclass(frozen=True)
class Advanced:
    """How far a job is: `done` of `total` units; rate in units a second; rss of the engine's process."""

    request: int
    done: int
    total: int
    unit: str
    rate: float
    eta_seconds: float | None
    rss_bytes: int
    paused: bool = False


@dataclass(frozen=True)
class Partial:
    """A partial result, as it is ready."""

    request: int
    record: Result


@dataclass(frozen=True)
class Note:
    """One line for the log."""

    request: int
    message: str


@dataclass(frozen=True)
class Finished:
    request: int
    result: Result


@dataclass(frozen=True)
class Stopped:
    """The request was cancelled; what was finished stays."""

    request: int


@dataclass(frozen=True)
class Failed:
    """The request failed. `details` holds the traceback when the fault is ours, "" when the person can fix it.

    resumable: what was finished is kept, and the same request continues it.
    """

    request: int
    what: str
    where: str
    remedy: str
    details: str = ""
    resumable: bool = False


Event = Queued | Started | Advanced | Partial | Note | Finished | Stopped | Failed


@dataclass(frozen=True)
class Control:
    """A word to a queued or running request: "pause", "resume" or "cancel"."""

    request: int
    action: str
