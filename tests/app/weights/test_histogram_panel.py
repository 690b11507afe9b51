"""The histogram panel against what the core really answers."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPushButton, QToolButton

from benchvise.app.theme.theme import theme_notifier
from benchvise.app.weights.histogram_panel import MAX_COMPARED, HistogramPanel
from benchvise.core.engine import answer
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import Look, MakePlan
from benchvise.core.protocol.results import Histogram, Looked, Statistics
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe, Treatment

DOWN = "layers.0.mlp.down_proj"


@pytest.fixture
def panel(shown):
    return shown(HistogramPanel)


def asked(qtbot, client, count):
    qtbot.waitUntil(lambda: len(client.asked) >= count)


def test_teaches_while_nothing_is_selected(panel, plots_client):
    assert not panel.shows_content
    assert panel.empty.heading == "Select a layer"
    assert not plots_client.asked


def test_one_layer_with_its_planned_treatment(qtbot, panel, plots_document, plots_client, int4, tmp_path):
    plots_document.treatment = int4
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    assert plots_client.asked[0].after == int4
    plots_client.answer_all()
    assert panel.shows_content
    panel.plot.redraw_now()
    assert panel.plot.grid_lines == 16
    assert panel.statistics.columnCount() == 3
    titles = [panel.statistics.index(row, 0).data() for row in range(panel.statistics.rowCount())]
    assert titles[-1] == "SQNR, dB"
    assert "compared with after · int4 channel" in panel.plot.accessibleDescription()
    panel.plot.save(tmp_path / "counts.csv")
    with (tmp_path / "counts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    looked = panel._answers[0]
    for shown_as, histogram in (("before · float32", looked.before), ("after · int4 channel", looked.after)):
        mine = [row for row in rows if row["shown_as"] == shown_as]
        assert [int(row["count"]) for row in mine] == histogram.counts.tolist()
        assert [float(row["edge_low"]) for row in mine] == histogram.edges[:-1].tolist()


def test_older_answers_are_not_heard(qtbot, panel, plots_document, plots_client):
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    plots_document.select_named("layers.1.mlp.down_proj")
    asked(qtbot, plots_client, 2)
    assert (1, "cancel") in plots_client.controls
    plots_client.answer(2)
    plots_client.answer(1)
    assert panel._answers[0].layer == "model.layers.1.mlp.down_proj"


def test_three_layers_lie_over_each_other_and_a_click_on_a_name_hides_its_curve(
    qtbot, panel, plots_document, plots_client
):
    plots_document.select(range(3))
    asked(qtbot, plots_client, 3)
    assert all(request.after is None for request in plots_client.asked)
    for number in (3, 1):
        plots_client.answer(number)
        assert not panel.shows_content
    plots_client.answer(2)
    panel.plot.redraw_now()
    assert not panel.plot.ridges
    assert len(panel.plot.key.labels) == 3
    data = panel.plot.plot.getViewBox().sceneBoundingRect()
    assert panel.plot.key.geometry().top() >= data.bottom(), "the key covers data"
    qtbot.mouseClick(panel.plot.key.findChildren(QToolButton)[1], Qt.MouseButton.LeftButton)
    panel.plot.redraw_now()
    assert [curve.isVisible() for curve in panel.plot._curves] == [True, False, True]


def test_more_layers_stand_above_each_other_on_one_scale(qtbot, panel, plots_document, plots_client):
    plots_document.select(range(MAX_COMPARED + 1))
    asked(qtbot, plots_client, MAX_COMPARED)
    assert len(plots_client.asked) == MAX_COMPARED
    for number in range(1, MAX_COMPARED + 1):
        plots_client.answer(number)
    panel.plot.redraw_now()
    assert panel.plot.ridges
    assert not panel.plot.key.isVisible()
    assert f"first {MAX_COMPARED} of {MAX_COMPARED + 1}" in panel.note.text()
    assert panel.header.title.text() == f"{MAX_COMPARED} layers"
    assert panel.statistics.columnCount() == MAX_COMPARED + 1
    bases = [curve.opts["fillLevel"] for curve in panel.plot._curves]
    steps = {round(above - below, 9) for above, below in pairwise(bases)}
    assert len(steps) == 1
    low, high = panel.plot.plot.getViewBox().viewRange()[1]
    for base, curve in zip(bases, panel.plot._curves, strict=True):
        heights = curve.getData()[1]
        assert heights.min() == pytest.approx(base)
        assert low <= heights.min() <= heights.max() <= high, "a ridge is cut"


def test_figures_of_the_layer_stand_as_chips_that_copy_themselves(qtbot, panel, plots_document, plots_client, int4):
    plots_document.treatment = int4
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    plots_client.answer_all()
    looked = panel._answers[0]
    assert panel.header.title.text() == "0 · down_proj"
    chips = {chip.name: chip.value for chip in panel.header.chips}
    assert chips["SQNR"] == f"{looked.sqnr_db:.1f} dB"
    assert "→" in chips["kurtosis"]
    first = next(button for button in panel.header.findChildren(QPushButton) if button.isVisible())
    qtbot.mouseClick(first, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == f"σ = {chips['σ']}"
    assert not panel.table.isVisible()
    qtbot.mouseClick(panel.header.all_button, Qt.MouseButton.LeftButton)
    assert panel.table.isVisible()


def test_a_refused_treatment_still_shows_the_weight(qtbot, panel, plots_document, plots_client):
    plots_document.treatment = Treatment(Integer(group_size=128))
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    plots_client.answer(1)
    asked(qtbot, plots_client, 2)
    plots_client.answer(2)
    assert panel.shows_content
    assert "does not divide" in panel.note.text()
    assert panel.note.isVisible()


def test_failure_is_told_with_its_remedy(qtbot, panel, plots_document, plots_client):
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    plots_client.answer(1, Failed(1, "The file is gone", "model.safetensors", "Open it again."))
    assert not panel.shows_content
    assert panel.empty.text == "The file is gone (model.safetensors). Open it again."


def test_looking_closer_counts_anew_and_back_again_asks_nothing(qtbot, panel, plots_document, plots_client):
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    plots_client.answer_all()
    whole = panel._answers[0]
    panel.plot.view_settled.emit(-0.1, 0.1)
    assert plots_client.asked[-1].bounds == (-0.1, 0.1)
    plots_client.answer_all()
    assert panel._answers[0].before.counts.sum() < whole.before.counts.sum()
    before = len(plots_client.asked)
    panel.plot.view_settled.emit(-0.09, 0.09)
    panel.plot.reset_zoom()
    assert len(plots_client.asked) == before
    assert panel._answers[0] is whole
    panel.refine.setChecked(False)
    panel.plot.view_settled.emit(-0.1, 0.1)
    assert len(plots_client.asked) == before


def test_choices_redraw_and_only_bins_and_comparison_ask(qtbot, panel, plots_document, plots_client, int4):
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    plots_client.answer_all()
    panel.logarithmic.setChecked(False)
    panel.grid.setChecked(False)
    qtbot.wait(150)
    assert len(plots_client.asked) == 1
    panel.bins.setCurrentIndex(0)
    asked(qtbot, plots_client, 2)
    assert plots_client.asked[-1].bins == 64
    plots_client.answer_all()
    plots_document.give(int4)
    asked(qtbot, plots_client, 3)
    plots_client.answer_all()
    plots_document.set_active_run("r1")
    panel.comparison.box.setCurrentIndex(1)
    asked(qtbot, plots_client, 4)
    assert plots_client.asked[-1].after == "run:r1"


def test_a_layer_without_finite_values(qtbot, panel, plots_document, plots_client):
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    nan = float("nan")
    nothing = Histogram(np.linspace(0, 1, 257), np.zeros(256, np.int64))
    statistics = Statistics(16, nan, nan, nan, nan, nan, 0, 12, 4, 0, nan)
    plots_client.answer(1, Looked("x", nothing, statistics))
    panel.plot.redraw_now()
    assert "no finite value" in panel.plot.accessibleDescription()
    assert not panel.grab().isNull()


def test_nothing_is_asked_while_hidden(qtbot, panel, plots_document, plots_client):
    panel.hide()
    plots_document.select_named(DOWN)
    qtbot.wait(150)
    assert not plots_client.asked
    panel.show()
    asked(qtbot, plots_client, 1)


def test_theme_is_followed(qtbot, panel, plots_document, plots_client):
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    plots_client.answer_all()
    panel.plot.redraw_now()
    light = panel.plot.image(1.0).pixelColor(2, 2)
    theme_notifier().choose("dark")
    dark = panel.plot.image(1.0).pixelColor(2, 2)
    assert light.lightness() > 200
    assert dark.lightness() < 60


def test_statistics_model(qtbot, panel, plots_document, plots_client, qtmodeltester):
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    plots_client.answer_all()
    qtmodeltester.check(panel.statistics)


@pytest.mark.usefixtures("panel")
def test_request_carries_the_workspace(qtbot, plots_document, plots_client):
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    (request,) = plots_client.asked
    assert isinstance(request, Look)
    assert request.workspace == plots_document.workspace


def test_the_legend_names_the_treatment_as_the_tree_does(panel, plots_document):
    grouped = load_preset("int4-g128")
    plots_document.treatment = grouped.rules[0].treatment
    plots_document.select_named("layers.0.self_attn.q_proj")
    plan = answer(MakePlan(plots_document.checkpoint.path, grouped), NullProgress())
    (index,) = plots_document.selection
    assert panel.comparison.label(index) == plan.tags[plan.choice[index]] == "int4 channel (g128 asked)"


def look_at(panel, document, client, qtbot, treatment):
    document.treatment = treatment
    before = len(client.asked)
    document.select_named("layers.0.self_attn.q_proj" if document.selection else DOWN)
    asked(qtbot, client, before + 1)
    client.answer_all()
    panel.plot.redraw_now()


def test_it_says_why_there_is_no_grid(qtbot, panel, plots_document, plots_client):
    look_at(panel, plots_document, plots_client, qtbot, Treatment(Sparse()))
    assert panel.plot.grid_lines == 0
    assert panel.note.text() == "No grid: this scheme has no values of its own for single weights."
    panel.grid.click()
    assert panel.note.text() == ""


def test_a_fine_grid_is_drawn_whole(qtbot, panel, plots_document, plots_client):
    look_at(panel, plots_document, plots_client, qtbot, Treatment(Integer(8, granularity="tensor")))
    assert 200 < panel.plot.grid_lines <= 256
    assert panel.note.text() == ""


def test_more_values_than_lines_are_said(panel, plots_document):
    edges, counts = np.linspace(0, 1, 5), np.ones(4, np.int64)
    histogram = Histogram(edges, counts)
    statistics = Statistics(4, 0, 1, 0.5, 0.1, 0, 0, 0, 0, 0, 1)
    panel._asked = replace(panel._asked, layers=(plots_document.checkpoint.layers[0],))
    looked = Looked(DOWN, histogram, statistics, histogram, statistics, np.linspace(0, 1, 65_536), 20.0)
    panel._show({0: looked})
    assert panel.note.text() == "The grid has 65,536 values in view: zoom in to see them as lines."


def test_what_a_trial_leaves_out_is_said(qtbot, panel, plots_document, plots_client):
    weighted = Nearest(clip_search=True, importance=True)
    plots_document.recipe = Recipe(tuning=(Polish(),))
    look_at(panel, plots_document, plots_client, qtbot, Treatment(Integer(granularity="channel"), weighted))
    assert panel.note.text() == "Tried on the weight alone; only a run brings in calibration text and tuning."


def test_a_trial_is_drawn_in_place_of_what_is_planned(qtbot, shown, plots_document, plots_client, int4):
    panel = shown(HistogramPanel)
    plots_document.select_named("q_proj")
    plots_document.select(plots_document.selection[:1])
    qtbot.waitUntil(lambda: bool(plots_client.asked))
    plots_client.answer_all()
    count = len(plots_client.asked)
    plots_document.try_out(int4)
    qtbot.waitUntil(lambda: len(plots_client.asked) > count)
    assert plots_client.asked[-1].after == int4
    plots_client.answer_all()
    assert panel.comparison.label(plots_document.selection[0]) == "int4 channel?"
    assert "What if" in panel.note.text()


def test_a_surgery_that_was_not_run_is_looked_at(panel, plots_document, plots_client, qtbot):
    surgery = (DropBlocks(blocks=(4,)),)
    plots_document.recipe = Recipe(surgery=surgery)
    plots_document.select_named(DOWN)
    asked(qtbot, plots_client, 1)
    assert plots_client.asked[0].surgery == surgery
    plots_client.answer_all()
    assert "surgery leaves" in panel.note.text()
    panel.comparison.box.setCurrentIndex(panel.comparison.box.findData("nothing"))
    qtbot.waitUntil(lambda: len(plots_client.asked) == 2)
    assert plots_client.asked[-1].surgery == ()
