"""What stands between Run and a job: the recipe is checked, and the panel opens where there is something to decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QWidget

from benchvise.app.preflight.dialog import PreflightDialog
from benchvise.app.state.session import Session
from benchvise.core.language import tr
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import CheckRecipe, ForecastJob
from benchvise.core.protocol.results import Checked, Finding, Fix

RECHECK_MS = 80
TIMEOUT_MS = 700
"""How long Run may seem to do nothing before the panel opens and says that it checks."""


class Preflight(QObject):
    """Checks the document's recipe, and starts the run once nothing hinders, or the person says so.

    What was once accepted is not asked again as long as the same is found of the same recipe.
    """

    def __init__(
        self, session: Session, window: QWidget, *, start: Callable[[], object], say: Callable[[str], object]
    ) -> None:
        super().__init__(window)
        self._session = session
        self._window = window
        self._start = start
        self._say = say
        self._target = "auto"
        self._asked = 0
        self._request: CheckRecipe | None = None
        self._starts = False
        self._accepted: set[tuple[object, ...]] = set()
        self.dialog: PreflightDialog | None = None
        self.checked: Checked | None = None
        self._recheck = QTimer(self, singleShot=True, interval=RECHECK_MS)
        self._recheck.timeout.connect(self._check)
        self._patience = QTimer(self, singleShot=True, interval=TIMEOUT_MS)
        self._patience.timeout.connect(self._open)
        session.document.recipe_changed.connect(self._recipe_changed)

    @property
    def _runtime(self) -> str:
        return self._session.document.runtime

    @property
    def waits_for_decision(self) -> bool:
        """Whether the panel shows what was found, and a run waits for what the person says."""
        return self.dialog is not None and not self._asked

    def run(self) -> None:
        """Start at once where nothing blocks or warns; else show what was found."""
        self._starts = True
        self._patience.start()
        self._check()

    def show(self, runtime: str | None = None) -> None:
        """Open the panel and check, whatever is found."""
        if runtime is not None:
            self._session.document.set_runtime(runtime)
        self._starts = False
        self._open()
        self._check()

    def _check(self) -> None:
        self._recheck.stop()
        checkpoint = self._session.document.checkpoint
        if checkpoint is None:
            return
        if self._asked:
            self._session.client.control(self._asked, "cancel")
        if self.dialog is not None:
            self.dialog.show_waiting()
        document = self._session.document
        request = CheckRecipe(
            checkpoint.path,
            document.recipe,
            self._target,
            self._runtime,
            workspace=document.workspace,
            cluster=self._session.preferences.choices.cluster,
        )

        def done(checked: Checked) -> None:
            self._answered(request, checked)

        def failed(failure: Failed) -> None:
            finding = Finding("check", "warns", tr("The check failed: {what}", what=failure.what), failure.remedy)
            self._answered(request, Checked((finding,), self._runtime, may_run=True, loads=True))

        self._request = request
        self._asked = self._session.client.ask(request, done=done, failed=failed, owner=self)

    def _answered(self, request: CheckRecipe, checked: Checked) -> None:
        if request is not self._request:
            return
        self._asked, self._request = 0, None
        document = self._session.document
        if document.checkpoint is None or document.checkpoint.path != request.path:
            self._close()
        elif document.recipe != request.recipe:
            self._check()
        elif self._starts and (not _grave(checked) or self._key(checked) in self._accepted):
            self._close()
            self._start()
        else:
            self._starts = False
            self.checked = checked
            self._open()
            if self.dialog is not None:
                self.dialog.show_checked(checked, self._about())

    def _open(self) -> None:
        self._patience.stop()
        if self.dialog is not None:
            self.dialog.raise_()
            return
        dialog = self.dialog = PreflightDialog(self._runtime, self._target, self._window)
        dialog.about.setText(self._about())
        dialog.changed.connect(self._chosen)
        dialog.fixed.connect(self._fix)
        dialog.forecast.connect(self._forecast)
        dialog.accepted.connect(self._accept)
        dialog.finished.connect(self._close)
        dialog.open()

    def _close(self, _: int = 0) -> None:
        self._patience.stop()
        if self._asked:
            self._session.client.control(self._asked, "cancel")
        self._asked, self._request, self._starts = 0, None, False
        dialog, self.dialog = self.dialog, None
        if dialog is not None:
            dialog.hide()
            dialog.deleteLater()

    def _accept(self) -> None:
        if self.checked is not None:
            self._accepted.add(self._key(self.checked))
        self._start()

    def _chosen(self) -> None:
        if self.dialog is not None:
            self._target = self.dialog.chosen_target
            self._session.document.set_runtime(self.dialog.chosen_runtime)
            self._check()

    def _fix(self, fix: Fix) -> None:
        """Put the fix in place, as one undo step, and check again."""
        if fix.target and self.dialog is not None:
            self.dialog.choose_target(fix.target)
            self._target = fix.target
        if fix.recipe is not None:
            self._session.document.set_recipe(fix.recipe, tr(fix.label))
        self._check()

    def _forecast(self) -> None:
        """Find out how long the job takes and how much memory, then check again."""
        document = self._session.document
        if document.checkpoint is None or self.dialog is None:
            return
        self.dialog.show_waiting(tr("Forecasting time and memory …"))
        request = ForecastJob(document.checkpoint.path, document.recipe, workspace=document.workspace)
        self._session.client.ask(request, done=lambda _: self._forecast_done(), failed=self._not_forecast, owner=self)

    def _forecast_done(self) -> None:
        if self.dialog is not None:
            self._check()

    def _not_forecast(self, failure: Failed) -> None:
        self._say(tr("There is no forecast: {what}", what=failure.what))
        self._forecast_done()

    def _recipe_changed(self) -> None:
        if self.dialog is not None:
            self._recheck.start()

    def _about(self) -> str:
        document = self._session.document
        name = Path(document.checkpoint.path).name if document.checkpoint is not None else ""
        return tr("{recipe_title} on {name}", recipe_title=document.recipe_title or tr("Your recipe"), name=name)

    def _key(self, checked: Checked) -> tuple[object, ...]:
        document = self._session.document
        path = document.checkpoint.path if document.checkpoint is not None else ""
        found = tuple((finding.kind, finding.title, finding.layers) for finding in _grave(checked))
        return path, document.recipe.digest, self._runtime, self._target, found


def _grave(checked: Checked) -> tuple[Finding, ...]:
    return tuple(finding for finding in checked.findings if finding.level in ("blocks", "warns"))
