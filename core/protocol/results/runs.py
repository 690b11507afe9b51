"""What a workspace keeps of runs."""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.core.protocol.results.jobs import LayerCompressed, RunSummary
from benchvise.core.recipe.recipe import Recipe


@dataclass(frozen=True)
class RunList:
    """Every run that can be read, newest first. workspace: path of the folder."""

    workspace: str
    runs: tuple[RunSummary, ...]


@dataclass(frozen=True)
class RunContent:
    """The recipe that a run carries out, and the layers that it has treated so far."""

    run: str
    recipe: Recipe
    layers: tuple[LayerCompressed, ...]
