"""The workspace's runs as the window needs them, read once and kept."""

from __future__ import annotations

from benchvise.core.errors import UserError
from benchvise.core.protocol.results import LayerCompressed, RunSummary
from benchvise.core.recipe.recipe import Recipe


class FinishedRuns:
    """Summaries of all runs, and recipe and treatments of single ones. Reads only small files, never a weight."""

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self.summaries: tuple[RunSummary, ...] = ()
        self._recipes: dict[str, Recipe] = {}
        self._layers: dict[str, dict[str, LayerCompressed]] = {}
        self._unreadable: set[str] = set()

    def refresh(self) -> bool:
        """Read the list of runs anew; True when it changed."""
        from benchvise.core.workspace.workspace import Workspace

        before = self.summaries
        self.summaries = Workspace(self.workspace).runs()
        return self.summaries != before

    def recipe_of(self, run: str) -> Recipe | None:
        """The recipe a run carried out; None when its folder is gone."""
        self._read(run)
        return self._recipes.get(run)

    def treatments_of(self, run: str) -> dict[str, str] | None:
        """Layer name → the treatment's key in a run; None when its folder is gone."""
        layers = self.layers_of(run)
        return None if layers is None else {name: layer.key for name, layer in layers.items()}

    def layers_of(self, run: str) -> dict[str, LayerCompressed] | None:
        """Layer name → what a run made of it; None when its folder is gone."""
        self._read(run)
        return self._layers.get(run)

    def _read(self, run: str) -> None:
        from benchvise.core.workspace.workspace import Workspace

        if run in self._recipes or run in self._unreadable:
            return
        try:
            record = Workspace(self.workspace).run(run)
        except UserError:
            self._unreadable.add(run)
            return
        self._recipes[run] = record.recipe
        self._layers[run] = {layer.source or layer.name: layer for layer in record.result.layers}
