"""The run whose results are shown, and layers of the run under way as they are finished."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.app.state.finished_runs import FinishedRuns
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.protocol.events import Failed, Finished, Partial, Started, Stopped
from benchvise.core.protocol.requests import Compress
from benchvise.core.protocol.results import LayerCompressed, Run, RunContent, RunSummary


class ActiveRun(QObject):
    """run: its id, "" for none. layers: its results by name, or those of the run under way.

    changed: another run. read: what it holds arrived. layers_changed: there are other results.
    """

    changed = Signal()
    read = Signal()
    layers_changed = Signal()

    def __init__(self, client: EngineClient, finished: FinishedRuns, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.run = ""
        self.layers: dict[str, LayerCompressed] = {}
        self._path = ""
        self._chosen = True
        self._finished = finished
        finished.listed.connect(self._choose_newest)
        finished.read.connect(self._on_read)
        client.listen(Started, self._on_started, answering=Compress)
        client.listen(Partial, self._on_layer, carrying=LayerCompressed, answering=Compress)
        client.listen(Finished, self._on_run, carrying=Run, answering=Compress)
        client.listen((Failed, Stopped), self._on_broken_off, answering=Compress)

    def forget(self) -> None:
        """Another checkpoint is about to be shown; `follow` tells."""
        self.run, self.layers = "", {}

    def follow(self, checkpoint: Checkpoint | None) -> None:
        """Another checkpoint is open: show what its newest run made of it, unless a run is chosen first."""
        self._path = checkpoint.path if checkpoint is not None else ""
        self._show(None)
        self.changed.emit()
        self._chosen = False
        self._choose_newest()

    def choose(self, run: str) -> None:
        """Show the results of a run; what the engine has not told of it yet follows."""
        self._chosen = True
        if run != self.run:
            self.run = run
            self._show(self._finished.layers_of(run))
            self.changed.emit()
            self._finished.request_content(run)

    def summary(self) -> RunSummary | None:
        return next((summary for summary in self._finished.summaries if summary.run == self.run), None)

    def _show(self, layers: dict[str, LayerCompressed] | None) -> None:
        self.layers = dict(layers or {})
        self.layers_changed.emit()

    def _choose_newest(self, _: bool = False) -> None:
        if self._chosen or not self._path:
            return
        runs = self._finished.summaries
        newest = next((run.run for run in runs if run.checkpoint == self._path and run.state == "done"), "")
        if newest:
            self.choose(newest)

    def _on_read(self, run: str) -> None:
        if run == self.run:
            self._show(self._finished.layers_of(run))
            self.read.emit()

    def _on_started(self, _: int, __: Started, request: Compress) -> None:
        if request.path == self._path:
            self._show(None)

    def _on_layer(self, _: int, layer: LayerCompressed, request: Compress) -> None:
        if request.path == self._path:
            self.layers[layer.source or layer.name] = layer
            self.layers_changed.emit()

    def _on_run(self, _: int, run: Run, request: Compress) -> None:
        if request.workspace == self._finished.workspace:
            self._finished.take(RunContent(run.run, request.recipe, run.layers))
        self._finished.refresh()
        self.choose(run.run)

    def _on_broken_off(self, _: int, __: Failed | Stopped, ___: Compress) -> None:
        self._finished.refresh()
