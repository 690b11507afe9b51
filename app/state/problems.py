"""What went wrong: reported from anywhere in the window, shown as cards, kept in the Problems list."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType

from PySide6.QtCore import QObject, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.app.state.jobs import title_of
from benchvise.core.errors import UserError
from benchvise.core.language import tr
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import JOBS, Allocate, ForecastLatency, Open, Request, WhatIf

MOST = 500
_TOLD_IN_PLACE = (Allocate, WhatIf)
"""Refusals of these stand in the panel that asked, where a slider that is dragged may meet many."""


@dataclass(frozen=True)
class Problem:
    """One thing that went wrong, `during` something.

    details: a traceback, when the fault is ours. command: the id of the command that is the remedy, "" for none.
    """

    what: str
    where: str = ""
    remedy: str = ""
    details: str = ""
    during: str = ""
    command: str = ""
    at: datetime = field(default_factory=datetime.now)

    @property
    def text(self) -> str:
        """Everything, for the clipboard."""
        lines = [self.what + ".", self.where, self.remedy, self.details]
        return "\n".join(line for line in lines if line)


class Problems(QObject):
    """All problems since the start, the newest last. Those of forecasts come from who knows whether one was asked for.

    added: one was added to the list. carded: one that deserves a card, because the person asked for what failed.
    """

    added = Signal(object)
    carded = Signal(object)
    cleared = Signal()

    def __init__(self, client: EngineClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.all: list[Problem] = []
        client.listen(Failed, self._on_failed)

    @property
    def count(self) -> int:
        return len(self.all)

    def report(self, problem: Problem, *, card: bool = True) -> None:
        self.all.append(problem)
        del self.all[:-MOST]
        self.added.emit(problem)
        if card:
            self.carded.emit(problem)

    def report_error(self, error: UserError, during: str = "") -> None:
        self.report(Problem(tr(error.what), error.where, tr(error.remedy), "", during))

    def report_fault(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """A fault of ours in the window's process, with its traceback."""
        details = "".join(traceback.format_exception(kind, error, trace))
        what = tr("Benchvise made a mistake: {name}: {error}", name=kind.__name__, error=error)
        self.report(Problem(what, "", tr("What you were doing may be incomplete; please report the details."), details))

    def clear(self) -> None:
        self.all.clear()
        self.cleared.emit()

    def _on_failed(self, _: int, event: Failed, request: Request | None) -> None:
        if isinstance(request, ForecastLatency) or (isinstance(request, _TOLD_IN_PLACE) and not event.details):
            return
        wished = isinstance(request, (*JOBS, *_TOLD_IN_PLACE, Open))
        during = title_of(request) if wished and request is not None else ""
        remedy = "run" if event.resumable else ""
        problem = Problem(tr(event.what), event.where, tr(event.remedy), event.details, during, remedy)
        self.report(problem, card=wished or bool(event.details))
