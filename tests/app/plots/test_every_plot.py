"""What every plot can do: save, copy, tell, follow the theme, and not draw more often than can be seen."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET
from unittest.mock import patch

import numpy as np
import pytest
from PySide6.QtCore import QPointF
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QFileDialog

from benchvise.app.plots.plot import REDRAW_MS
from benchvise.app.theme.theme import theme_notifier
from benchvise.core.errors import OutputError


def test_png_has_twice_the_pixels_and_something_in_it(any_plot, tmp_path):
    any_plot.save(tmp_path / "plot.png")
    image = QImage(str(tmp_path / "plot.png"))
    size = any_plot.canvas.viewport().size()
    assert (image.width(), image.height()) == (2 * size.width(), 2 * size.height())
    thumb = image.scaled(100, 60).convertToFormat(QImage.Format.Format_Grayscale8)
    assert np.ptp(np.asarray(thumb.constBits())) > 20


def test_svg_is_a_drawing(any_plot, tmp_path):
    any_plot.save(tmp_path / "plot.svg")
    root = ET.parse(tmp_path / "plot.svg").getroot()
    assert root.tag.endswith("svg")
    assert len(list(root.iter())) > 20
    assert any(element.tag.endswith("text") for element in root.iter())


def test_csv_has_equal_rows_of_numbers(any_plot, tmp_path):
    any_plot.save(tmp_path / "plot.csv")
    with (tmp_path / "plot.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    assert rows
    assert all(len(row) == len(header) for row in rows)
    float(rows[0][-1])


def test_copies_picture_and_data(any_plot):
    any_plot.copy_image()
    assert not QGuiApplication.clipboard().image().isNull()
    any_plot.copy_data()
    assert QGuiApplication.clipboard().text().startswith("\t".join(any_plot.data().titles))


def test_tells_what_it_shows(any_plot):
    assert any_plot.accessibleDescription().endswith(".")
    assert any_plot.accessibleDescription() == any_plot.summary()


def test_follows_the_theme_to_and_fro(any_plot):
    light = any_plot.image(1.0)
    theme_notifier().choose("dark")
    any_plot.redraw_now()
    dark = any_plot.image(1.0)
    theme_notifier().choose("light")
    any_plot.redraw_now()
    assert dark.pixelColor(2, 2).lightness() < 60 < 200 < light.pixelColor(2, 2).lightness()
    assert any_plot.image(1.0) == light


def test_hover_everywhere_is_harmless(any_plot):
    size = any_plot.canvas.viewport().size()
    told = set()
    for x in range(0, size.width(), 20):
        for y in range(0, size.height(), 9):
            any_plot.canvas.scene().sigMouseMoved.emit(QPointF(x, y))
            told.add(any_plot.readout.text())
    assert len(told) > 1


def test_menu_offers_everything(any_plot):
    menu = any_plot.menu_at(QPointF(-1, -1))
    texts = [action.text() for action in menu.actions()]
    assert texts[-6:] == [
        "Reset zoom", "Copy picture", "Copy data", "Save as PNG…", "Save as SVG…", "Save data as CSV…",
    ]  # fmt: skip
    menu.deleteLater()


def test_draws_at_most_25_times_a_second(any_plot, qtbot):
    assert REDRAW_MS >= 40
    with patch.object(any_plot, "draw", wraps=any_plot.draw) as drawn:
        for _ in range(50):
            any_plot.redraw_soon()
            qtbot.wait(2)
        qtbot.wait(100)
        assert 1 <= drawn.call_count <= 12


def test_a_place_that_cannot_be_written_is_told(make_plot, tmp_path, monkeypatch):
    plot = make_plot("histogram_plot")
    with pytest.raises(OutputError):
        plot.save(tmp_path / "missing" / "plot.csv")
    with pytest.raises(OutputError, match=r"\.png, \.svg or \.csv"):
        plot.save(tmp_path / "plot.jpg")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "missing" / "p"), ""))
    plot.save_as(".png")
    assert "cannot be written" in plot.readout.text()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "p"), ""))
    plot.save_as(".png")
    assert plot.readout.text() == "Saved p.png"
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_zoom_is_reset(make_plot):
    plot = make_plot("histogram_plot")
    whole = plot.plot.viewRange()
    plot.plot.setXRange(0.0, 0.1)
    plot.redraw_now()
    assert plot.plot.viewRange()[0][1] < 0.2
    plot.reset_zoom()
    plot.redraw_now()
    np.testing.assert_allclose(plot.plot.viewRange(), whole)
