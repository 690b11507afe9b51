"""The panels that stand as tabs in the middle of the window, in this order: one line each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

LEFT_SIDE, RIGHT_SIDE = "left", "right"

LOOK: frozenset[str] = frozenset()
CHOOSE = frozenset({RIGHT_SIDE})
AFTER = frozenset({LEFT_SIDE, RIGHT_SIDE})
"""Which sides of the window fold away: nothing for looking at layers, the treatment where all layers are treated at
once, both where a whole run is judged."""

PLOT_PANELS = (
    ("Overview", "benchvise.app.overview.panel", "OverviewPanel", LOOK),
    ("Histogram", "benchvise.app.weights.histogram_panel", "HistogramPanel", LOOK),
    ("Heat map", "benchvise.app.weights.heat_map_panel", "HeatMapPanel", LOOK),
    ("Channels", "benchvise.app.weights.channels_panel", "ChannelsPanel", LOOK),
    ("Spectrum", "benchvise.app.weights.spectrum_panel", "SpectrumPanel", LOOK),
    ("Sensitivity", "benchvise.app.sensitivity.panel", "SensitivityPanel", CHOOSE),
    ("Budget", "benchvise.app.budget.panel", "BudgetPanel", CHOOSE),
    ("Result", "benchvise.app.result.panel", "ResultPanel", AFTER),
    ("Compare", "benchvise.app.compare.panel", "ComparePanel", AFTER),
    ("Generations", "benchvise.app.compare.generations_panel", "GenerationsPanel", AFTER),
)
"""(title, module, class, folded sides): named, not imported, so that the window is there before their library."""


def build_panel(number: int, document: Document, client: EngineClient) -> QWidget:
    """Import and build one of them."""
    _, module, name, _ = PLOT_PANELS[number]
    panel = getattr(import_module(module), name)(document, client)
    assert isinstance(panel, QWidget)
    return panel
