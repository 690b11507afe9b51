"""The panels that stand as tabs in the middle of the window, in this order: one line each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

if TYPE_CHECKING:
    from app.document import Document
    from app.worker import EngineClient

PLOT_PANELS = (
    ("Histogram", "app.panels.histogram", "HistogramPanel"),
    ("Heat map", "app.panels.heat_map", "HeatMapPanel"),
    ("Channels", "app.panels.channels", "ChannelsPanel"),
    ("Sensitivity", "app.panels.sensitivity", "SensitivityPanel"),
    ("Budget", "app.panels.budget", "BudgetPanel"),
    ("Compare", "app.panels.compare", "ComparePanel"),
    ("Generations", "app.panels.generations", "GenerationsPanel"),
)
"""(title, module, class): named, not imported, so that the window is shown before the plotting library loads."""


def build_panel(number: int, document: Document, client: EngineClient) -> QWidget:
    """Import and build one of them."""
    _, module, name = PLOT_PANELS[number]
    panel = getattr(import_module(module), name)(document, client)
    assert isinstance(panel, QWidget)
    return panel
