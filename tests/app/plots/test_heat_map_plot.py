"""Heat maps: every value survives the export, NaN is not a colour, and large maps stay quick."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PySide6.QtCore import QPointF

from benchvise.app.plots.colours import diverging
from benchvise.app.theme.theme import theme_notifier
from benchvise.core.protocol.results import HeatMap, LookedMap


def test_exported_cells_read_back_to_the_same_floats(make_plot, make_map, tmp_path):
    plot = make_plot("heat_map_plot")
    plot.save(tmp_path / "map.csv")
    with (tmp_path / "map.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for key, seed in (("weight", 0), ("error", 1)):
        cells = np.array([row[key] for row in rows]).astype(np.float32).reshape(40, 60)
        np.testing.assert_array_equal(cells, make_map(40, 60, seed).values)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_zero_is_the_middle_of_the_table(make_plot, theme):
    theme_notifier().choose(theme)
    plot = make_plot("heat_map_plot")
    values = np.array([[-1, 0, 1]], np.float32)
    plot.show_maps(LookedMap("x", HeatMap(values, np.arange(2), np.arange(4), 1.0, 1.0)), shared=False)
    plot.redraw_now()
    image = plot.panes[0].image
    image.render()
    colours = [image.qimage.pixelColor(column, 0).getRgb()[:3] for column in range(3)]
    table = diverging(theme)
    assert colours == [tuple(table[0]), tuple(table[127]), tuple(table[254])]


def test_nan_cells_show_the_background(make_plot):
    plot = make_plot("heat_map_plot")
    values = np.full((4, 4), np.nan, np.float32)
    values[1, 1] = 2.0
    plot.show_maps(LookedMap("x", HeatMap(values, np.arange(5), np.arange(5), float("nan"), 2.0)), shared=False)
    plot.redraw_now()
    image = plot.panes[0].image
    image.render()
    assert image.qimage.pixelColor(0, 0).alpha() == 0
    assert image.qimage.pixelColor(1, 1).alpha() == 255
    assert plot.panes[0].limit == 2.0


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_maps_without_any_magnitude(make_plot, value):
    plot = make_plot("heat_map_plot")
    values = np.full((2, 3), value, np.float32)
    plot.show_maps(LookedMap("x", HeatMap(values, np.arange(3), np.arange(4), value, value)), shared=True)
    plot.redraw_now()
    assert plot.panes[0].limit == 1.0
    assert not plot.grab().isNull()


def test_an_empty_map(make_plot):
    plot = make_plot("heat_map_plot")
    empty = HeatMap(np.zeros((0, 5), np.float32), np.array([0]), np.arange(6), 0.0, 0.0)
    plot.show_maps(LookedMap("x", empty, empty), shared=False)
    plot.redraw_now()
    plot.canvas.scene().sigMouseMoved.emit(QPointF(300, 200))
    assert not plot.grab().isNull()


def test_4096_by_4096_cells(make_plot, make_map):
    plot = make_plot("heat_map_plot")
    cells = make_map(4096, 4096)
    plot.show_maps(LookedMap("x", cells), shared=False)
    plot.redraw_now()
    assert not plot.grab().isNull()
    plot.panes[0].plot.setXRange(5, 2005, padding=0)
    assert not plot.grab().isNull()


def test_hover_names_the_rows_of_a_cell(make_plot):
    plot = make_plot("heat_map_plot")
    values = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    cells = HeatMap(values, np.array([0, 8, 16]), np.array([0, 100, 200]), 4.0, 4.0)
    plot.show_maps(LookedMap("x", cells), shared=False)
    plot.redraw_now()
    plot.reset_zoom()
    plot.grab()
    view = plot.panes[0].plot.getViewBox()
    plot.canvas.scene().sigMouseMoved.emit(view.mapViewToScene(QPointF(150, 4)))
    assert plot.readout.text() == "output 0–7, input 100–199:  weight 2"


@pytest.mark.parametrize(("width", "stacked"), [(600, True), (1400, False)])
def test_stands_side_by_side_where_there_is_room(make_plot, width, stacked):
    plot = make_plot("heat_map_plot")
    plot.resize(width, 600)
    plot.grab()
    weight, error = (pane.plot.sceneBoundingRect() for pane in plot.panes)
    assert (weight.bottom() <= error.top()) == stacked
    assert (weight.right() <= error.left()) == (not stacked)
