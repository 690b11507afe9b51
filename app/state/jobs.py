"""Every job the window has asked for, with its progress and results: what Jobs, status bar and Run menu look at."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.app.engine.listeners import Asked
from benchvise.core.language import message, tr
from benchvise.core.protocol.events import Advanced, Failed, Finished, Note, Partial, Queued, Started, Stopped
from benchvise.core.protocol.requests import (
    JOBS,
    CompareLayers,
    Compress,
    Convert,
    Evaluate,
    Export,
    ForecastCosts,
    ForecastJob,
    ForecastLatency,
    Generate,
    MeasureLatency,
    MeasureProfile,
    MeasureSensitivity,
    Request,
)
from benchvise.core.protocol.results import LayerCompressed, Result, TuningStep

QUEUED, RUNNING, PAUSED = message("queued"), message("running"), message("paused")
DONE, STOPPED, FAILED = message("done"), message("stopped"), message("failed")
ENDED = (DONE, STOPPED, FAILED)


@dataclass
class Job:
    """One job as it stands. `layers` and `tuning` grow while a compression runs."""

    number: int
    request: Request
    state: str = QUEUED
    progress: Advanced | None = None
    note: str = ""
    layers: list[LayerCompressed] = field(default_factory=list)
    tuning: list[TuningStep] = field(default_factory=list)
    result: Result | None = None
    failure: Failed | None = None
    started: float = 0.0
    seconds: float = 0.0

    @property
    def title(self) -> str:
        return title_of(self.request)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def fraction(self) -> float | None:
        """How far it is, 0 to 1; None while unknown."""
        if self.state == DONE:
            return 1.0
        if self.progress is None or not self.progress.total:
            return None
        return min(1.0, self.progress.done / self.progress.total)

    @property
    def quiet(self) -> bool:
        """A forecast is not worth a line in the list once it is there."""
        return isinstance(self.request, ForecastLatency | ForecastCosts | ForecastJob)


class Jobs(QObject):
    """Listens to the engine client; knows every job whoever asked for it."""

    added = Signal(int)
    changed = Signal(int)
    layer_done = Signal(int)
    tuned = Signal(int)
    ended = Signal(int)
    removed = Signal(int)

    def __init__(self, client: EngineClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._client = client
        self._jobs: dict[int, Job] = {}
        client.listen(Asked, self._on_asked, answering=JOBS)
        client.listen(Queued, self._on_queued, answering=JOBS)
        client.listen(Started, self._on_started, answering=JOBS)
        client.listen(Advanced, self._on_progress, answering=JOBS)
        client.listen(Note, self._on_note, answering=JOBS)
        client.listen(Partial, self._on_layer, carrying=LayerCompressed, answering=JOBS)
        client.listen(Partial, self._on_tuning, carrying=TuningStep, answering=JOBS)
        client.listen(Finished, self._on_finished, answering=JOBS)
        client.listen(Stopped, self._on_stopped, answering=JOBS)
        client.listen(Failed, self._on_failed, answering=JOBS)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(tuple(self._jobs.values()))

    def job(self, number: int) -> Job | None:
        return self._jobs.get(number)

    @property
    def running(self) -> Job | None:
        """The job being worked on."""
        return next((job for job in self._jobs.values() if job.state in (RUNNING, PAUSED)), None)

    @property
    def busy(self) -> bool:
        return any(not job.ended for job in self._jobs.values())

    @property
    def would_lose(self) -> bool:
        """True while something is under way that a person would miss."""
        return any(not job.ended and not job.quiet for job in self._jobs.values())

    def toggle_pause(self) -> None:
        """Pause the running job, or resume the paused one."""
        job = self.running
        if job is not None:
            self._client.control(job.number, "resume" if job.state == PAUSED else "pause")

    def cancel(self, number: int) -> None:
        self._client.control(number, "cancel")

    def clear_ended(self) -> None:
        for job in tuple(self._jobs.values()):
            if job.ended:
                self._remove(job.number)

    def _remove(self, number: int) -> None:
        if self._jobs.pop(number, None) is not None:
            self.removed.emit(number)

    def _on_asked(self, number: int, _: Asked, request: Request) -> None:
        self._jobs[number] = Job(number, request)
        self.added.emit(number)

    def _on_queued(self, number: int, _: Queued, __: Request) -> None:
        self._jobs[number].state = QUEUED
        self.changed.emit(number)

    def _on_started(self, number: int, _: Started, __: Request) -> None:
        job = self._jobs[number]
        job.state, job.started = RUNNING, time.monotonic()
        self.changed.emit(number)

    def _on_progress(self, number: int, progress: Advanced, _: Request) -> None:
        job = self._jobs[number]
        job.state, job.progress = PAUSED if progress.paused else RUNNING, progress
        self.changed.emit(number)

    def _on_note(self, number: int, note: Note, _: Request) -> None:
        self._jobs[number].note = note.message
        self.changed.emit(number)

    def _on_layer(self, number: int, layer: LayerCompressed, _: Request) -> None:
        self._jobs[number].layers.append(layer)
        self.layer_done.emit(number)

    def _on_tuning(self, number: int, step: TuningStep, _: Request) -> None:
        self._jobs[number].tuning.append(step)
        self.tuned.emit(number)

    def _on_finished(self, number: int, result: Result, _: Request) -> None:
        self._jobs[number].result = result
        self._end(number, DONE)

    def _on_stopped(self, number: int, _: Stopped, __: Request) -> None:
        self._end(number, STOPPED)

    def _on_failed(self, number: int, failure: Failed, _: Request) -> None:
        self._jobs[number].failure = failure
        self._end(number, FAILED)

    def _end(self, number: int, state: str) -> None:
        job = self._jobs[number]
        job.state = state
        if job.started:
            job.seconds = time.monotonic() - job.started
        self.changed.emit(number)
        self.ended.emit(number)
        if job.quiet and state != FAILED:
            self._remove(number)


def title_of(request: Request) -> str:
    """A job's name in the list."""
    match request:
        case Compress():
            name = tr("Compress {name}", name=_short(request.path))
            return f"{name} · {request.recipe.name}" if request.recipe.name else name
        case Evaluate() if request.against:
            return tr("Evaluate {name} against the original", name=_short(request.source))
        case Evaluate():
            return tr("Evaluate {name}", name=_short(request.source))
        case Export() | Convert():
            return tr("Export to {name}", name=_short(request.out))
        case CompareLayers():
            return tr("Compare the layers of {name}", name=_short(request.source))
        case MeasureLatency():
            return tr("Measure latency of {name}", name=_short(request.source))
        case MeasureSensitivity():
            return tr("Measure sensitivity of {name}", name=_short(request.path))
    return tr(_TITLES.get(type(request), type(request).__name__))


def verb_of(request: Request) -> str:
    """What the request does, in one word: for places with no room for its title."""
    return tr(_VERBS.get(type(request), "Work"))


def _short(source: str) -> str:
    return source if source.startswith("run:") else Path(source).name or source


_VERBS: dict[type[Request], str] = {
    Compress: message("Compress"),
    CompareLayers: message("Compare"),
    Evaluate: message("Evaluate"),
    Export: message("Export"),
    MeasureLatency: message("Measure"),
    MeasureSensitivity: message("Measure"),
    MeasureProfile: message("Measure"),
    Generate: message("Generate"),
    ForecastLatency: message("Forecast"),
    ForecastCosts: message("Forecast"),
    ForecastJob: message("Forecast"),
}

_TITLES: dict[type[Request], str] = {
    Generate: message("Generate side by side"),
    ForecastLatency: message("Forecast latency"),
    ForecastCosts: message("Forecast the latency of layers"),
    ForecastJob: message("Forecast the job"),
    MeasureProfile: message("Measure this machine"),
}
