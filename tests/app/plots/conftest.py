"""Every plot with data in it, as its panel would show it."""

from __future__ import annotations

import numpy as np
import pytest

from benchvise.app.budget.front_plot import FrontPlot, FrontView
from benchvise.app.jobs.loss_plot import LossPlot
from benchvise.app.plots.pareto_plot import ParetoPlot, Point
from benchvise.app.sensitivity.plot import SensitivityPlot
from benchvise.app.sensitivity.table import table_of
from benchvise.app.weights.channels_plot import ChannelsPlot
from benchvise.app.weights.heat_map_plot import HeatMapPlot
from benchvise.app.weights.histogram_plot import HistogramPlot, Trace
from benchvise.app.weights.spectrum_plot import SpectrumPlot
from benchvise.core.protocol.results import (
    ChannelRanges,
    Estimate,
    Front,
    HeatMap,
    Histogram,
    LookedChannels,
    LookedMap,
    LookedSpectrum,
    SensitivityCell,
    TuningStep,
)


def heat_map(rows, columns, seed=0):
    values = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    return HeatMap(values, np.arange(rows + 1), np.arange(columns + 1), 3.0, float(np.abs(values).max()))


def histogram_plot():
    values = np.random.default_rng(1).standard_normal(5000)
    counts, edges = np.histogram(values, 128)
    rounded, _ = np.histogram(np.round(values * 2) / 2, edges)
    plot = HistogramPlot()
    traces = [
        Trace("layer", "Before", Histogram(edges, counts), "before"),
        Trace("layer", "int3", Histogram(edges, rounded), "after"),
    ]
    plot.show_traces(traces, np.arange(-3, 3.5, 0.5), logarithmic=True, compare=False)
    return plot


def heat_map_plot():
    plot = HeatMapPlot()
    plot.show_maps(LookedMap("layer", heat_map(40, 60), heat_map(40, 60, 1)), shared=False)
    return plot


def channels_plot():
    ranges = ChannelRanges(*(np.random.default_rng(2).random((4, 50)).astype(np.float32)))
    plot = ChannelsPlot()
    plot.show_channels(LookedChannels("layer", ranges, ranges), by_magnitude=False)
    return plot


def spectrum_plot():
    plot = SpectrumPlot()
    values = np.arange(1, 41) ** -0.7
    plot.show_spectrum(LookedSpectrum("layer", (40, 60), 4800, 200, 23, values, np.linspace(0.3, 0, 41)), 12)
    return plot


def sensitivity_plot():
    layers = [(f"model.layers.{depth}.mlp", f"{depth} mlp") for depth in range(12)]
    cells = {
        (name, tag): SensitivityCell(name, tag, 10.0 ** (-place - at), key=tag)
        for place, (name, _) in enumerate(layers[:8])
        for at, tag in enumerate(("int4", "int8"))
    }
    plot = SensitivityPlot()
    plot.show_table(table_of(cells, layers, (("int4", "int4"), ("int8", "int8"))), chosen="int4", current=layers[2][0])
    return plot


def pareto_plot():
    plot = ParetoPlot()
    points = [Point("a", "int8", 2.0, 0.001), Point("b", "int4", 1.0, 0.1), Point("c", "bad", 2.5, 0.0)]
    plot.show_points(points, titles=("Size, MB", "KL"), active="a", logarithmic=True)
    return plot


def front_plot():
    plot = FrontPlot()
    costs = np.linspace(4e6, 9e6, 40)
    front = Front("bytes", costs, 0.3 * np.exp(-costs / 1e6))
    uniform = (Point("uniform int4", "int4", 6e6, 0.002),)
    runs = (Point("run1", "first", 5e6, 0.004),)
    plot.show_front(FrontView(front, (5.5e6, Estimate(0.0012, 0.001, 0.0016)), uniform, runs))
    return plot


def loss_plot():
    plot = LossPlot()
    steps = [TuningStep("polish", 0, 30, held_out=0.02)]
    steps += [TuningStep("polish", step, 30, 0.03 / step) for step in range(1, 31)]
    plot.show_steps([*steps, TuningStep("polish", 30, 30, held_out=0.004)])
    return plot


MAKERS = {
    maker.__name__: maker
    for maker in (
        histogram_plot,
        heat_map_plot,
        channels_plot,
        spectrum_plot,
        sensitivity_plot,
        pareto_plot,
        front_plot,
        loss_plot,
    )
}


@pytest.fixture(params=sorted(MAKERS))
def any_plot(request, qtbot, light_theme):  # noqa: ARG001
    plot = MAKERS[request.param]()
    qtbot.addWidget(plot)
    plot.resize(800, 500)
    plot.show()
    qtbot.waitExposed(plot)
    plot.redraw_now()
    return plot


@pytest.fixture
def make_plot(qtbot, light_theme):  # noqa: ARG001
    """A plot by the name of its maker, shown."""

    def make(name):
        plot = MAKERS[name]()
        qtbot.addWidget(plot)
        plot.resize(800, 500)
        plot.show()
        qtbot.waitExposed(plot)
        plot.redraw_now()
        return plot

    return make


@pytest.fixture
def make_map():
    return heat_map
