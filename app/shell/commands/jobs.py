"""What Run does: every job that can be started on the document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QDialog, QFileDialog, QWidget

from benchvise.app.compare.evaluate_dialog import EvaluateDialog
from benchvise.app.compare.export_dialog import ExportDialog
from benchvise.app.preflight.controller import Preflight
from benchvise.app.state.jobs import PAUSED
from benchvise.app.state.session import Session
from benchvise.app.widgets.command import NETWORK_FIRST, OPEN_FIRST, RUN_FIRST, Command
from benchvise.core.language import tr
from benchvise.core.protocol.requests import Compress, Evaluate, Export, MakeReport, MeasureLatency
from benchvise.core.protocol.results import Exported, Reported, Run


class JobCommands:
    """Starts jobs. measure_sensitivity and forecast are the panels' own."""

    def __init__(
        self,
        session: Session,
        window: QWidget,
        *,
        measure_sensitivity: Callable[[], object],
        forecast: Callable[[], object],
        show_result: Callable[[], object],
        fit: Callable[[], object],
        say: Callable[[str], object],
    ) -> None:
        self._session = session
        self._window = window
        self._measure_sensitivity = measure_sensitivity
        self._forecast = forecast
        self._show_result = show_result
        self._fit = fit
        self._say = say
        self.preflight = Preflight(session, window, start=self.run, say=say)

    def commands(self) -> tuple[Command, ...]:
        jobs = self._session.jobs

        def is_running() -> bool:
            return jobs.running is not None

        def pause_text() -> str:
            return tr("Resume") if jobs.running is not None and jobs.running.state == PAUSED else tr("Pause")

        return (
            Command(
                "run",
                tr("Run"),
                self.preflight.run,
                "Ctrl+R",
                "mdi6.play",
                tr("Carry out the recipe"),
                enabled=self.can_run,
                needs=tr(
                    "The recipe has to treat something that can be carried out, and no other run may be under way"
                ),
            ),
            Command(
                "check",
                tr("Pre-flight check"),
                self.preflight.show,
                "Ctrl+Shift+R",
                "mdi6.clipboard-check-outline",
                tr("See what hinders a run, and fix it"),
                enabled=self._is_open,
                needs=tr(OPEN_FIRST),
            ),
            Command(
                "pause",
                tr("Pause"),
                jobs.toggle_pause,
                "Ctrl+P",
                "mdi6.pause",
                enabled=is_running,
                needs=tr("No job is running"),
                text=pause_text,
            ),
            Command(
                "cancel",
                tr("Cancel the job"),
                self.cancel,
                "Ctrl+.",
                "mdi6.stop",
                enabled=is_running,
                needs=tr("No job is running"),
            ),
            Command(
                "sensitivity",
                tr("Measure sensitivity"),
                self._measure_sensitivity,
                "Ctrl+M",
                "mdi6.pulse",
                tr("Measure which layers are fragile"),
                enabled=self._is_network,
                needs=tr(NETWORK_FIRST),
            ),
            Command(
                "fit",
                tr("Fit …"),
                self._fit,
                "Ctrl+B",
                "mdi6.gauge",
                tr("Choose a size, memory, time or bits: the best treatment of each layer follows"),
                enabled=self._is_network,
                needs=tr(NETWORK_FIRST),
            ),
            Command(
                "evaluate",
                tr("Evaluate …"),
                self.evaluate,
                "Ctrl+Shift+E",
                "mdi6.scale-balance",
                tr("Measure perplexity and divergence of the active run, or of the checkpoint"),
                enabled=self._is_network,
                needs=tr(NETWORK_FIRST),
            ),
            Command(
                "latency",
                tr("Measure latency"),
                self.measure_latency,
                "Ctrl+Shift+L",
                "mdi6.timer-outline",
                tr("Measure the decode speed of the active run against the original"),
                enabled=self._is_network,
                needs=tr(NETWORK_FIRST),
            ),
            Command(
                "forecast",
                tr("Forecast decode speed"),
                self._forecast,
                icon="mdi6.speedometer",
                enabled=self._can_forecast,
                needs=tr(NETWORK_FIRST),
            ),
            Command(
                "export",
                tr("Export …"),
                self.export,
                "Ctrl+E",
                "mdi6.export-variant",
                tr("Write the active run as a checkpoint"),
                enabled=lambda: bool(self._session.document.active_run),
                needs=tr(RUN_FIRST),
            ),
            Command(
                "report",
                tr("Report …"),
                self.report,
                icon="mdi6.file-chart-outline",
                help=tr("Write what the active run made of what, with everything measured, as one page"),
                enabled=lambda: bool(self._session.document.active_run),
                needs=tr(RUN_FIRST),
            ),
            Command("clear-finished", tr("Clear finished jobs"), jobs.clear_ended, icon="mdi6.notification-clear-all"),
        )

    def can_run(self) -> bool:
        document = self._session.document
        return (
            document.checkpoint is not None
            and document.plan_problem is None
            and document.plan is not None
            and document.plan.treated_layers > 0
        )

    def run(self) -> None:
        """Carry out the recipe without a check; an interrupted run of the same recipe is taken up where it stopped."""
        document = self._session.document
        assert document.checkpoint is not None
        cluster = self._session.preferences.choices.cluster
        request = Compress(document.checkpoint.path, document.recipe, document.workspace, resume=True, cluster=cluster)
        self._session.client.ask(request, done=self._carry_on, owner=document)

    def _carry_on(self, run: Run) -> None:
        """Evaluate and time what was just made, where that was asked and the network is known."""
        self._show_result()
        if self._session.preferences.then_measure and self._is_network():
            self._ask_evaluation(run.run, "")
            self._ask_latency(run.run)

    def cancel(self) -> None:
        running = self._session.jobs.running
        if running is not None:
            self._session.jobs.cancel(running.number)

    def evaluate(self) -> None:
        """Ask for the text, then evaluate the active run against the original, or the checkpoint alone."""
        document = self._session.document
        assert document.checkpoint is not None
        dialog = EvaluateDialog(document.checkpoint.path, document.active_run, self._window)
        if dialog.exec() == QDialog.DialogCode.Accepted:
            self.ask_evaluation(dialog.text_path)
        dialog.deleteLater()

    def ask_evaluation(self, text: str = "") -> None:
        self._ask_evaluation(self._session.document.active_run, text)

    def _ask_evaluation(self, run: str, text: str) -> None:
        document = self._session.document
        assert document.checkpoint is not None
        path, workspace = document.checkpoint.path, document.workspace
        if run:
            request = Evaluate(f"run:{run}", text, against=path, workspace=workspace)
        else:
            request = Evaluate(path, text, workspace=workspace)
        self._session.client.ask(request, done=lambda _: document.refresh_runs(), owner=document)

    def measure_latency(self) -> None:
        self._ask_latency(self._session.document.active_run)

    def _ask_latency(self, run: str) -> None:
        document = self._session.document
        assert document.checkpoint is not None
        path, workspace = document.checkpoint.path, document.workspace
        if run:
            request = MeasureLatency(f"run:{run}", against=path, workspace=workspace)
        else:
            request = MeasureLatency(path, workspace=workspace)
        self._session.client.ask(request, done=lambda _: document.refresh_runs(), owner=document)

    def export(self) -> None:
        document = self._session.document
        summary = document.active_summary()
        dialog = ExportDialog(summary, self._session.preferences.last_folder, self._window)
        if dialog.exec() == QDialog.DialogCode.Accepted:
            self.ask_export(dialog.target, dialog.folder)
        dialog.deleteLater()

    def ask_export(self, target: str, folder: str) -> None:
        document = self._session.document

        def done(exported: Exported) -> None:
            document.refresh_runs()
            self._say(tr("Exported to {out}", out=exported.out))

        request = Export(f"run:{document.active_run}", target, folder, document.workspace)
        self._session.client.ask(request, done=done, owner=document)

    def report(self) -> None:
        document = self._session.document
        start = Path(self._session.preferences.last_folder or Path.home()) / f"report-{document.active_run}.html"
        path, _ = QFileDialog.getSaveFileName(self._window, tr("Write the report to"), str(start), "*.html *.json *.md")
        if path:
            self.ask_report(path)

    def ask_report(self, path: str) -> None:
        """Write the active run's report; the form goes by the file's name."""
        document = self._session.document
        form = {".json": "json", ".md": "markdown"}.get(Path(path).suffix.lower(), "html")
        request = MakeReport(f"run:{document.active_run}", form, path, workspace=document.workspace)

        def done(reported: Reported) -> None:
            self._say(tr("Report written to {out}", out=reported.out))

        self._session.client.ask(request, done=done, owner=document)

    def carry_out(self, wanted: str, run: str) -> None:
        """What the Compare panel asks for: "evaluate", "latency" or "export" of a run."""
        self._session.document.set_active_run(run)
        {"evaluate": self.evaluate, "latency": self.measure_latency, "export": self.export}[wanted]()

    def _can_forecast(self) -> bool:
        return self._is_network() and self.can_run()

    def _is_open(self) -> bool:
        return self._session.document.checkpoint is not None

    def _is_network(self) -> bool:
        checkpoint = self._session.document.checkpoint
        return checkpoint is not None and bool(checkpoint.architecture)
