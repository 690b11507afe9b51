"""What the chosen runtime says to the recipe as it is now, asked anew a while after each edit."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.app.state.document import Document
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import CheckRecipe
from benchvise.core.protocol.results import Checked

SETTLE_MS = 400
FALLS_BACK = frozenset({"lost", "adapted", "larger", "nearest"})
"""Findings about layers that the runtime does not take as the recipe asks."""


class LiveCheck(QObject):
    """changed: `checked` is another one: the answer for the present recipe and runtime, None before and without one."""

    changed = Signal()

    def __init__(self, document: Document, client: EngineClient, parent: QObject) -> None:
        super().__init__(parent)
        self.checked: Checked | None = None
        self._document = document
        self._question = LatestRequest(client, self)
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._ask)
        for signal in (document.plan_changed, document.recipe_changed, document.runtime_changed):
            signal.connect(self._outdated)

    @property
    def falling_back(self) -> int:
        """Layers that the runtime gets in another form than the recipe asks."""
        found = self.checked.findings if self.checked is not None else ()
        return len({layer for finding in found if finding.kind in FALLS_BACK for layer in finding.layers})

    def _outdated(self) -> None:
        self._question.drop()
        if self.checked is not None:
            self.checked = None
            self.changed.emit()
        if self._wanted():
            self._settle.start()
        else:
            self._settle.stop()

    def _wanted(self) -> bool:
        document = self._document
        plan = document.plan
        return bool(document.runtime and document.plan_is_current and plan is not None and plan.treated_layers)

    def _ask(self) -> None:
        document = self._document
        if document.checkpoint is None or not self._wanted():
            return
        request = CheckRecipe(
            document.checkpoint.path, document.recipe, runtime=document.runtime, workspace=document.workspace
        )
        self._question.ask([request], self._answered, self._failed)

    def _answered(self, _: int, checked: Checked) -> None:
        self.checked = checked
        self.changed.emit()

    def _failed(self, _: int, __: Failed) -> None:
        """The pre-flight check says it, with its remedy, when it is opened."""
