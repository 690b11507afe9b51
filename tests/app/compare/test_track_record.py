"""The compare panel's other side: forecasts beside what was measured."""

from __future__ import annotations

import pytest

from benchvise.app.compare.panel import NO_RECORD, ComparePanel
from benchvise.app.text.track_record import quantity_text, summary_text
from benchvise.core.protocol.results import Comparison, Estimate, RunSummary
from benchvise.core.workspace.forecasts import Record


def summary(run: str, *comparisons: Comparison) -> RunSummary:
    return RunSummary(
        run, "/c", f"recipe {run}", "2026-01-02", "done", 4.0, 1000, 250, 1.0, comparisons=tuple(comparisons)
    )


def about(kind: str, value: float, measured: float, share: float = 0.3) -> Comparison:
    return Comparison(kind, Estimate(value, value * (1 - share), value * (1 + share)), measured)


RUNS = (
    summary("a", about("bytes", 2500.0, 2500.0, 0.0), about("seconds", 12.0, 10.0)),
    summary("b", about("bytes", 1500.0, 1500.0, 0.0), about("seconds", 12.0, 30.0), about("kl", 0.02, 0.021)),
    summary("c"),
)


@pytest.fixture
def panel(qtbot, shown, plots_document):
    panel = shown(ComparePanel)
    panel.all_models.setChecked(True)
    plots_document.runs = RUNS
    plots_document.runs_changed.emit()
    qtbot.waitUntil(lambda: panel.shows_content)
    return panel


def test_the_record_takes_the_place_of_the_runs(panel):
    assert panel.table.isVisible()
    assert not panel.track_table.isVisible()
    panel.track_record.setChecked(True)
    assert panel.track_table.isVisible()
    assert not any(widget.isVisible() for widget in (panel.table, panel.plot, panel.cost, panel.buttons["evaluate"]))
    assert panel.track_summary.text() == "Size exact in 2 of 2; KL within 25 % in 1 of 1; time within 30 % in 1 of 2."
    panel.track_record.setChecked(False)
    assert panel.table.isVisible()
    assert panel.cost.isVisible()


def test_rows_say_forecast_range_and_measured(panel):
    model = panel.track_model
    rows = [[model.index(row, column).data() for column in range(model.columnCount())] for row in range(5)]
    assert model.rowCount() == 5
    assert rows[0] == ["recipe a", "Size", "≈ 2,500 B", "2,500 B", "2,500 B", "2,500 B", "+0.0 %", "yes"]
    assert rows[1] == ["recipe a", "Time", "≈ 12 s", "8.4 s", "16 s", "10 s", "+20.0 %", "yes"]
    assert rows[3][-2:] == ["-60.0 %", "no"]
    assert rows[4][:3] == ["recipe b", "KL", "≈ 0.0200"]


def test_sorting_by_error_puts_the_largest_first(panel):
    panel.track_record.setChecked(True)
    from PySide6.QtCore import Qt

    panel.track_table.sortByColumn(6, Qt.SortOrder.DescendingOrder)
    assert panel.track_sorted.index(0, 6).data() == "-60.0 %"


def test_nothing_was_forecast_yet(qtbot, panel, plots_document):
    plots_document.runs = RUNS[2:]
    plots_document.runs_changed.emit()
    qtbot.waitUntil(lambda: panel.track_summary.text() == NO_RECORD)


def test_models(panel, qtmodeltester):
    qtmodeltester.check(panel.track_model)
    qtmodeltester.check(panel.track_sorted)


def test_words():
    assert summary_text(()) == ""
    assert summary_text([Record("decode_ms", 12, 0.1, 0.3, 9, 10, 0.2)]) == "Decoding within 20 % in 10 of 12"
    assert quantity_text("peak_bytes", 1.5e9) == "1.50 GB"
    assert quantity_text("decode_ms", 12.345) == "12.35 ms"
    assert quantity_text("speed_up", 1.756) == "× 1.76"
