"""The panels that stand as tabs in the middle of the window, in this order: one line each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

PLOT_PANELS = (
    ("Histogram", "benchvise.app.weights.histogram_panel", "HistogramPanel"),
    ("Heat map", "benchvise.app.weights.heat_map_panel", "HeatMapPanel"),
    ("Channels", "benchvise.app.weights.channels_panel", "ChannelsPanel"),
    ("Sensitivity", "benchvise.app.sensitivity.panel", "SensitivityPanel"),
    ("Budget", "benchvise.app.budget.panel", "BudgetPanel"),
    ("Compare", "benchvise.app.compare.panel", "ComparePanel"),
    ("Generations", "benchvise.app.compare.generations_panel", "GenerationsPanel"),
)
"""(title, module, class): named, not imported, so that the window is shown before the plotting library loads."""


def build_panel(number: int, document: Document, client: EngineClient) -> QWidget:
    """Import and build one of them."""
    _, module, name = PLOT_PANELS[number]
    panel = getattr(import_module(module), name)(document, client)
    assert isinstance(panel, QWidget)
    return panel
