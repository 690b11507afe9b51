"""The compare panel: table, points, and the run they agree on."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication

from benchvise.app.compare.panel import COLUMNS, ComparePanel
from benchvise.app.plots.pareto_plot import framing
from benchvise.core.protocol.results import RunSummary
from tests.app.plain_document import SAMPLE


def summary(run, bits, kl, checkpoint=str(SAMPLE), **more):
    return RunSummary(
        run,
        checkpoint,
        f"recipe {run}",
        "2026-01-02T03:04:05",
        "done",
        bits,
        1000,
        int(1000 * bits / 16),
        1.0,
        kl_mean=kl,
        **more,
    )


RUNS = (
    summary("a", 8.0, 0.001, perplexity=4.0),
    summary("b", 4.0, 0.02, perplexity=4.5, decode_ms=12.5, speed_up=2.0),
    summary("c", 6.0, 0.05, perplexity=5.0),
    summary("d", 3.0, None),
)


@pytest.fixture
def panel(qtbot, shown, plots_document):
    panel = shown(ComparePanel)
    assert panel.empty.heading == "No run yet"
    plots_document.runs = RUNS
    plots_document.runs_changed.emit()
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.plot.redraw_now()
    return panel


def test_points_and_front(panel):
    assert [point.run for point in panel.plot.points] == ["a", "b", "c"]
    assert [point.run for point in panel.plot.front] == ["b", "a"]
    panel.kl_increase.setCurrentIndex(2)
    panel.cost.setCurrentIndex(2)
    assert [point.run for point in panel.plot.points] == ["b"]


def test_row_and_active_run_follow_each_other(panel, plots_document):
    panel.table.sortByColumn(4, Qt.SortOrder.AscendingOrder)
    assert panel.sorted.index(0, 0).data() == "recipe d"
    panel.table.selectRow(0)
    assert plots_document.active_run == "d"
    plots_document.set_active_run("a")
    assert panel.table.selectionModel().selectedRows()[0].data() == "recipe a"
    panel.plot.run_clicked.emit("b")
    assert plots_document.active_run == "b"
    assert panel.table.selectionModel().selectedRows()[0].data() == "recipe b"


def test_runs_of_other_models_stand_apart(qtbot, panel, plots_document):
    other = summary("e", 2.0, 0.0001, checkpoint="/models/other")
    plots_document.runs = (other, *RUNS)
    panel.refresh()
    panel.plot.redraw_now()
    assert other not in panel.model.records
    assert [point.run for point in panel.plot.front] == ["b", "a"]
    panel.all_models.click()
    qtbot.waitUntil(lambda: other in panel.model.records)
    panel.plot.redraw_now()
    assert [point.run for point in panel.plot.front] == ["b", "a"]
    model = [column.title for column in COLUMNS].index("Model")
    assert {panel.sorted.index(row, model).data() for row in range(len(RUNS) + 1)} == {"other", SAMPLE.name}
    plots_document.set_active_run("a")
    panel.table.selectRow(0)
    assert plots_document.active_run == "a"
    assert not panel.buttons["evaluate"].isEnabled()


def test_only_runs_of_other_models_are_offered_by_a_button(qtbot, panel, plots_document):
    plots_document.runs = (summary("e", 2.0, 0.1, checkpoint="/models/other"),)
    panel.refresh()
    assert panel.empty.heading == "No run of this model yet"
    panel.empty.button.click()
    qtbot.waitUntil(lambda: panel.shows_content)
    assert len(panel.model.records) == 1


def test_no_row_is_selected_while_no_run_is_active(panel, plots_document):
    panel.table.selectRow(1)
    plots_document.set_active_run("")
    assert not panel.table.selectionModel().hasSelection()
    panel.table.selectRow(1)
    assert plots_document.active_run == "b"
    assert panel.buttons["export"].isEnabled()


def test_copying_gives_exact_values(panel):
    panel.table.clearSelection()
    panel.table.copy_selection()
    header, *lines = QGuiApplication.clipboard().text().split("\n")
    assert header.split("\t") == [column.title for column in COLUMNS]
    cells = dict(zip(header.split("\t"), lines[1].split("\t"), strict=True))
    assert cells["KL mean"] == "0.02"
    assert cells["Size"] == "250"
    assert cells["KL p99"] == ""
    assert len(lines) == len(RUNS)


def test_buttons_name_what_is_wanted(qtbot, panel, plots_document):
    assert not panel.buttons["evaluate"].isEnabled()
    plots_document.set_active_run("b")
    for action, button in panel.buttons.items():
        with qtbot.waitSignal(panel.wanted) as heard:
            button.click()
        assert heard.args == [action, "b"]


def test_models(panel, qtmodeltester):
    qtmodeltester.check(panel.model)
    qtmodeltester.check(panel.sorted)


@pytest.mark.parametrize(
    ("values", "least", "wanted"),
    [([0.26], 0, (0.221, 0.299)), ([0.1, 4.1], 0, (0, 4.42)), ([-1.0], None, (-1.15, -0.85)), ([], 0, (0, 1))],
)
def test_the_frame_never_goes_below_zero(values, least, wanted):
    assert framing(values, least=least) == pytest.approx(wanted)


def test_an_empty_plot_says_why(panel):
    panel.plot.show_points((), titles=("Size, MB", "KL"), active="", logarithmic=True)
    panel.plot.redraw_now()
    assert panel.plot._nothing.isVisible()
    panel._draw()
    panel.plot.redraw_now()
    assert not panel.plot._nothing.isVisible()
    (low, high), _ = panel.plot.plot.viewRange()
    assert 0 <= low < high
