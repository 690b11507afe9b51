"""The workspace's runs as the window knows them: the engine reads them, the last answers are kept."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import ListRuns, ReadRun
from benchvise.core.protocol.results import LayerCompressed, RunContent, RunList, RunSummary
from benchvise.core.recipe.recipe import Recipe


class FinishedRuns(QObject):
    """Summaries of all runs, and recipe and layers of single ones. Reads no file: the engine does.

    The last list stays until the next one arrives. listed: a list arrived; True when it differs from the last one.
    read: the content of a run arrived.
    """

    listed = Signal(bool)
    read = Signal(str)

    def __init__(self, client: EngineClient, workspace: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.workspace = workspace
        self.summaries: tuple[RunSummary, ...] = ()
        self._contents: dict[str, RunContent] = {}
        self._missing: set[str] = set()
        self._listing = LatestRequest(client, self, "queue_last")
        self._reading = LatestRequest(client, self)

    def refresh(self) -> None:
        """Ask for the list of runs; the answer shows what the workspace holds after this call."""
        self._listing.ask([ListRuns(self.workspace)], self._take_list, self._keep_list)

    def move_to(self, workspace: str) -> None:
        """Forget the runs of one workspace, and ask for those of another."""
        self._reading.drop()
        self._listing.drop()
        self._contents.clear()
        self._missing.clear()
        self.workspace, self.summaries = workspace, ()
        self.listed.emit(True)
        self.refresh()

    def recipe_of(self, run: str) -> Recipe | None:
        """The recipe a run carried out; None while it is not known."""
        content = self._contents.get(run)
        return None if content is None else content.recipe

    def layers_of(self, run: str) -> dict[str, LayerCompressed] | None:
        """Layer name → what a run made of it; None while it is not known."""
        content = self._contents.get(run)
        return None if content is None else {layer.source or layer.name: layer for layer in content.layers}

    def treatments_of(self, run: str) -> dict[str, str] | None:
        """Layer name → the treatment's key in a run; None while it is not known."""
        layers = self.layers_of(run)
        return None if layers is None else {name: layer.key for name, layer in layers.items()}

    def take(self, content: RunContent) -> None:
        """Keep the content of a run that just ended, which need not be asked for."""
        self._contents[content.run] = content

    def request_content(self, run: str) -> None:
        """Ask for recipe and layers of a run, unless they are known or known to be gone."""
        if run and run not in self._contents and run not in self._missing:
            self._reading.ask([ReadRun(run, self.workspace)], self._take_content, lambda _, __: self._missing.add(run))

    def _take_list(self, _: int, answer: RunList) -> None:
        changed = answer.runs != self.summaries
        self.summaries = answer.runs
        self.listed.emit(changed)

    def _keep_list(self, _: int, failure: Failed) -> None:
        """The last list stays; Problems tells what failed."""

    def _take_content(self, _: int, content: RunContent) -> None:
        self._contents[content.run] = content
        self.read.emit(content.run)
