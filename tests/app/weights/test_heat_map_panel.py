"""The heat map panel and the channels panel against what the core really answers."""

from __future__ import annotations

import numpy as np
import pytest

from benchvise.app.weights.channels_panel import ChannelsPanel
from benchvise.app.weights.heat_map_panel import HeatMapPanel
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.results import ChannelRanges, LookedChannels

DOWN = "layers.0.mlp.down_proj"


@pytest.mark.parametrize("kind", [HeatMapPanel, ChannelsPanel])
def test_teaches_and_tells_failures(qtbot, shown, kind, plots_document, plots_client):
    panel = shown(kind)
    assert panel.empty.heading == "Select a layer"
    plots_document.select_named(DOWN)
    qtbot.waitUntil(lambda: bool(plots_client.asked))
    plots_client.answer(1, Failed(1, "The file is gone", "", "Open it again."))
    assert "The file is gone. Open it again." in panel.empty.text


def test_weight_and_error(qtbot, shown, plots_document, plots_client, int4):
    panel = shown(HeatMapPanel)
    plots_document.select_named(DOWN)
    qtbot.waitUntil(lambda: bool(plots_client.asked))
    plots_client.answer_all()
    panel.plot.redraw_now()
    assert "stays as it is" in panel.note.text()
    assert not panel.plot.panes[1].plot.isVisible()
    plots_document.give(int4)
    qtbot.waitUntil(lambda: len(plots_client.asked) == 2)
    plots_client.answer_all()
    panel.plot.redraw_now()
    weight, error = panel.plot.panes
    assert error.plot.isVisible()
    assert error.limit < weight.limit
    panel.shared.setChecked(True)
    panel.plot.redraw_now()
    assert error.limit == weight.limit
    assert len(plots_client.asked) == 2
    assert "largest error" in panel.plot.accessibleDescription()


def test_error_follows_the_weight_when_zoomed(qtbot, shown, plots_document, plots_client, int4):
    panel = shown(HeatMapPanel)
    plots_document.treatment = int4
    plots_document.select_named(DOWN)
    qtbot.waitUntil(lambda: bool(plots_client.asked))
    plots_client.answer_all()
    panel.plot.redraw_now()
    weight, error = panel.plot.panes
    weight.plot.setRange(xRange=(10, 40), yRange=(5, 20), padding=0)
    np.testing.assert_allclose(error.plot.viewRange(), weight.plot.viewRange(), rtol=0.05)


def test_channels_of_a_real_layer(qtbot, shown, plots_document, plots_client):
    panel = shown(ChannelsPanel)
    plots_document.select_named(DOWN)
    qtbot.waitUntil(lambda: bool(plots_client.asked))
    plots_client.answer_all()
    panel.plot.redraw_now()
    assert "64 output channels, none standing out" in panel.plot.accessibleDescription()
    panel.by_magnitude.setChecked(True)
    panel.plot.redraw_now()
    side = panel.plot.lanes[1].side
    assert (np.diff(side.ranges.abs_max[side.order]) <= 0).all()


def test_channels_that_stand_out(qtbot, shown, plots_document, plots_client):
    panel = shown(ChannelsPanel)
    plots_document.select_named(DOWN)
    qtbot.waitUntil(lambda: bool(plots_client.asked))
    plots_client.answer(1, _channels(200_000, (7, 150_000)))
    panel.plot.redraw_now()
    assert panel.plot.outliers(0) == (7, 150_000)
    lane = panel.plot.lanes[0]
    assert len(lane.high.getData()[0]) <= 4096
    assert lane.high.getData()[1].max() == pytest.approx(9.0)


def _channels(count: int, outliers: tuple[int, ...]) -> LookedChannels:
    high = np.ones(count, np.float32)
    high[list(outliers)] = 9.0
    high[100] = np.nan
    ranges = ChannelRanges(-high / 2, high, high, high / 4)
    return LookedChannels("x", ranges, ranges)
