"""The histogram panel: where the weights of a layer lie, and where a treatment would put them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHeaderView, QLabel, QSplitter, QVBoxLayout

from benchvise.app.panel.plot_panel import PlotPanel
from benchvise.app.plots.controls import Controls
from benchvise.app.plots.table import CopyableTable
from benchvise.app.weights.comparison import ComparisonChoice
from benchvise.app.weights.figure_chips import chips_of
from benchvise.app.weights.histogram_plot import MAX_GRID_LINES, HistogramPlot, Trace
from benchvise.app.weights.look_header import LookHeader, short_name
from benchvise.app.weights.statistics_table import Figures, StatisticsTable
from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import message, tr
from benchvise.core.methods.surgery import Surgery
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import Look
from benchvise.core.protocol.results import Looked
from benchvise.core.text import plural

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

MAX_COMPARED = 12
BINS = (64, 128, 256, 512, 1024, 4096)
REFINE_BELOW = 0.7
"""A view narrower than this share of what is binned is binned anew."""


@dataclass(frozen=True)
class _Asked:
    """What the answers belong to."""

    layers: tuple[Layer, ...]
    after_name: str
    bounds: tuple[float, float] | None
    surgery: tuple[Surgery, ...] = ()


class HistogramPanel(PlotPanel):
    """Exact histograms of the selected layers."""

    title = message("Histogram")
    icon = "mdi6.chart-histogram"

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.controls = Controls(self._choices_changed)
        self.comparison = ComparisonChoice(self.controls, document)
        self.bins = self.controls.choice(tr("Bins"), tr("How many bins"), [(str(count), count) for count in BINS], at=2)
        self.logarithmic = self.controls.check(tr("Log scale"), tr("Counts in powers of ten: shows the tails"), on=True)
        self.grid = self.controls.check(
            tr("Grid"), tr("The values that the scheme can represent, as vertical lines"), on=True
        )
        self.refine = self.controls.check(
            tr("Re-bin on zoom"), tr("Count again in fine bins for the part you zoom into"), on=True
        )
        self.note = QLabel(wordWrap=True)
        self.note.setMinimumWidth(1)
        self.note.setContentsMargins(8, 0, 8, 0)
        self.plot = HistogramPlot()
        self.plot.view_settled.connect(self._view_settled)
        self.statistics = StatisticsTable()
        self.table = CopyableTable()
        self.table.setModel(self.statistics)
        self.table.setAccessibleName(tr("Statistics"))
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.hide()
        self.header = LookHeader(self.controls, with_table=True)
        self.header.everything_wanted.connect(self.table.setVisible)
        self.split = QSplitter(Qt.Orientation.Horizontal)
        self.split.addWidget(self.plot)
        self.split.addWidget(self.table)
        self.split.setStretchFactor(0, 2)
        self.split.setStretchFactor(1, 1)
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.header)
        layout.addWidget(self.note)
        layout.addWidget(self.split, 1)
        self._asked = _Asked((), "", None)
        self._answers: dict[int, Looked] = {}
        self._whole: dict[int, Looked] = {}
        self._remark = ""
        self._full_range: tuple[float, float] | None = None
        document.selection_changed.connect(self._selection_changed)
        document.checkpoint_changed.connect(self._selection_changed)
        self.comparison.listen(self.refresh_soon)

    def refresh(self) -> None:
        checkpoint = self.document.checkpoint
        if checkpoint is None or not self.document.selection:
            self._answers = {}
            self.say_empty(
                tr("Select a layer"),
                tr(
                    "Its exact histogram appears here: every weight counted, with the quantisation grid drawn through "
                    "it. "
                    "Select several layers to compare up to twelve."
                ),
            )
            return
        self._ask(None)

    def _selection_changed(self) -> None:
        self._full_range = None
        self._whole = {}
        self.refresh_soon()

    def _choices_changed(self) -> None:
        bins = int(self.bins.currentData())
        current = self._answers.get(0)
        if current is not None and len(current.before.counts) == bins and not self._comparison_changed():
            self._draw()
        else:
            self.refresh_soon()

    def _comparison_changed(self) -> bool:
        surgery = self.comparison.surgery() if len(self.document.selection) == 1 else ()
        return (self._asked.after_name, self._asked.surgery) != (self._after_name(), surgery)

    def _after_name(self) -> str:
        selection = self.document.selection
        return self.comparison.label(selection[0]) if len(selection) == 1 else ""

    def _ask(self, bounds: tuple[float, float] | None, *, without_after: bool = False) -> None:
        """Ask for every compared layer; several are compared as they are, one with its treatment."""
        checkpoint = self.document.checkpoint
        assert checkpoint is not None
        indices = self.document.selection[:MAX_COMPARED]
        layers = tuple(checkpoint.layers[index] for index in indices)
        alone = len(indices) == 1 and not without_after
        after = self.comparison.after(indices[0]) if alone else None
        surgery = self.comparison.surgery() if alone else ()
        self._asked = _Asked(layers, self._after_name() if after is not None else "", bounds, surgery)
        requests = [
            Look(
                checkpoint.path,
                layer.name,
                int(self.bins.currentData()),
                bounds,
                after,
                self.document.workspace,
                surgery,
            )
            for layer in layers
        ]
        fresh: dict[int, Looked] = {}

        def answered(place: int, looked: Looked) -> None:
            fresh[place] = looked
            if len(fresh) == len(requests):
                self._show(fresh)

        def failed(_: int, event: Failed) -> None:
            if after is not None or surgery:
                self._ask(bounds, without_after=True)
                self._remark = f"{event.what}. {event.remedy}".strip()
                self._show_note()
            else:
                self.say_failed(event)

        self._say_note(len(self.document.selection), indices[0])
        self.question.ask(requests, answered, failed)

    def _say_note(self, selected: int, index: int) -> None:
        if selected > MAX_COMPARED:
            self._remark = tr(
                "The first {MAX_COMPARED} of {selected} selected layers.", MAX_COMPARED=MAX_COMPARED, selected=selected
            )
        else:
            self._remark = self.comparison.remark(index) if selected == 1 else ""
        self._show_note()

    def _show_note(self, about_grid: str = "") -> None:
        self.note.setText(" ".join(part for part in (self._remark, about_grid) if part))
        self.note.setVisible(bool(self.note.text()))

    def _about_grid(self, looked: Looked) -> str:
        """Why no grid is drawn although one is asked for; "" when one is, or there is nothing to draw one for."""
        if not self.grid.isChecked() or len(self._asked.layers) > 1 or looked.after is None:
            return ""
        if looked.grid is None:
            return tr("No grid: this scheme has no values of its own for single weights.")
        if len(looked.grid) > MAX_GRID_LINES:
            return tr("The grid has {count:,} values in view: zoom in to see them as lines.", count=len(looked.grid))
        return ""

    def _show(self, answers: dict[int, Looked]) -> None:
        first_sight = self._full_range is None or self._asked.bounds is None
        self._answers = answers
        if self._asked.bounds is None:
            self._whole = answers
            edges = [looked.before.edges for looked in answers.values()]
            self._full_range = min(float(e[0]) for e in edges), max(float(e[-1]) for e in edges)
        self.show_content()
        self._draw()
        if first_sight:
            self.plot.show_everything()

    def _draw(self) -> None:
        if not self._answers:
            return
        names = [layer.name for layer in self._asked.layers]
        compare = len(names) > 1
        traces: list[Trace] = []
        figures: list[Figures] = []
        for place, name in enumerate(names):
            looked = self._answers[place]
            called = short_name(name) if compare else tr("before · {dtype}", dtype=self._asked.layers[place].dtype)
            traces.append(Trace(name, called, looked.before, place if compare else "before"))
            figures.append(Figures(called if compare else tr("Before"), looked.statistics))
            if looked.after is not None:
                after_name = self._asked.after_name
                traces.append(
                    Trace(
                        name,
                        tr("after · {after_name}", after_name=after_name) if after_name else "after",
                        looked.after,
                        "after",
                    )
                )
                figures.append(Figures(tr("After"), looked.statistics_after, looked.sqnr_db))
        grid = self._answers[0].grid if self.grid.isChecked() and not compare else None
        self.plot.show_traces(traces, grid, logarithmic=self.logarithmic.isChecked(), compare=compare)
        self.statistics.show_figures(figures)
        self._show_header(names)
        self._show_note(self._about_grid(self._answers[0]))

    def _show_header(self, names: list[str]) -> None:
        alone = len(names) == 1
        self.header.show_title(short_name(names[0]) if alone else plural(len(names), "layer"), "\n".join(names))
        self.header.show_chips(chips_of(self._answers[0]) if alone else ())

    def _view_settled(self, low: float, high: float) -> None:
        """Bin anew when the person looks closer, or has moved out of what is binned."""
        if self._full_range is None or not self._answers or not self.refine.isChecked():
            return
        full_low, full_high = self._full_range
        low, high = max(low, full_low), min(high, full_high)
        if not low < high:
            return
        if high - low > REFINE_BELOW * (full_high - full_low):
            if self._asked.bounds is not None:
                self._back_to_whole()
            return
        binned_low, binned_high = self._asked.bounds or self._full_range
        inside = binned_low <= low and high <= binned_high
        if not inside or high - low < REFINE_BELOW * (binned_high - binned_low):
            self._ask((low, high))

    def _back_to_whole(self) -> None:
        """The whole range is known already."""
        self.question.drop()
        self._asked = _Asked(self._asked.layers, self._asked.after_name, None)
        self._answers = self._whole
        self._draw()
