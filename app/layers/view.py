"""The tree's view: which columns there is room for, and how wide they are."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from PySide6.QtCore import QModelIndex, QPoint, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHeaderView, QMenu, QTreeView, QWidget

from benchvise.app.layers import columns
from benchvise.app.layers.columns import COLUMNS
from benchvise.app.layers.delegate import LayerDelegate
from benchvise.app.layers.model import LayerModel
from benchvise.app.layers.tree import ROOT
from benchvise.app.theme.appearance import scaled
from benchvise.core.language import tr

MIN_NAME, COMFORTABLE_NAME = 120, 220
COMPACT, WIDE = 440, 520
WIDE_TREATMENT = 132
NARROW_SIZE, NARROW_SENSITIVITY = 62, 38
_CELL_MARGIN = 14
DECISION = (columns.TREATMENT, columns.BITS, columns.SENSITIVITY, columns.SIZE)
"""In the order in which they go when the room is short, the last first."""
RESULTS = (columns.SQNR, columns.OUTPUT_ERROR)
FACTS = (columns.DTYPE, columns.SHAPE, columns.ROLE)


class LayerView(QTreeView):
    """Gives the names what width the other columns leave, and shows as many of those as there is room for.

    The columns of the decision come first, then those of results once there are some, the facts only where names have
    plenty. What a person shows or hides in the header's menu stays so.
    """

    fitted = Signal()

    def __init__(self, model: LayerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chosen: dict[int, bool] = {}
        self._has_results = self._has_sensitivity = False
        self._layers = model
        self.setModel(model)
        model.repainted.connect(self.viewport().update)
        self.setFont(scaled(self.font(), 0.92))
        self.setItemDelegate(LayerDelegate(self))
        self.setUniformRowHeights(True)
        self.setSelectionMode(QTreeView.SelectionMode.ExtendedSelection)
        self.setSelectionBehavior(QTreeView.SelectionBehavior.SelectRows)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setEditTriggers(QTreeView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QTreeView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QTreeView.ScrollMode.ScrollPerPixel)
        self.setIndentation(10)
        self.setAccessibleName(tr("Layers"))
        self._dress_header()

    def _dress_header(self) -> None:
        header = self.header()
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.setSortIndicatorClearable(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._open_menu)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._layers.set_compact(self.viewport().width() < COMPACT)
        self.share_out()
        self.fitted.emit()

    def overhang(self, room: int) -> int:
        """Pixels at the end of `room` that would show only a part of a row."""
        return room % max(1, self.rowHeight(self._layers.index(0, 0)))

    def expand_start(self) -> None:
        """Open what leads to the blocks, and the first block."""
        tree, node = self._layers.tree, ROOT
        while folders := [child for child in tree.children[node] if tree.children[child]]:
            node = folders[0]
            self.expand(self._layers.index_of_node(node))

    def expanded_nodes(self) -> list[int]:
        """Nodes that are open now, parents before children."""
        found: list[int] = []
        waiting = [QModelIndex()]
        while waiting:
            parent = waiting.pop()
            for row in range(self._layers.rowCount(parent)):
                index = self._layers.index(row, 0, parent)
                if self.isExpanded(index):
                    found.append(self._layers.node(index))
                    waiting.append(index)
        return found

    def expand_nodes(self, nodes: Iterable[int]) -> None:
        """Open these again, as far as the filter leaves them."""
        for node in nodes:
            index = self._layers.index_of_node(node)
            if index.isValid():
                self.expand(index)

    def share_out(self) -> None:
        """Show the columns that are chosen, or fit, and give the names the rest."""
        room = self.viewport().width()
        for column in self._in_order():
            width = self._width_of(column)
            least = COMFORTABLE_NAME if column in FACTS else MIN_NAME
            there = column not in RESULTS or self._has_results
            shown = self._chosen.get(column, there and room - width >= least)
            self.setColumnHidden(column, not shown)
            if shown:
                self.setColumnWidth(column, width)
                room -= width
        self.setColumnWidth(columns.NAME, max(MIN_NAME, room))

    def _in_order(self) -> tuple[int, ...]:
        """The columns beside the names, the most telling first: what is known before what could be measured."""
        if self._has_results and not self._has_sensitivity:
            first = tuple(column for column in DECISION if column != columns.SENSITIVITY)
            return (*first, *RESULTS, columns.SENSITIVITY, *FACTS)
        return (*DECISION, *RESULTS, *FACTS)

    def show_known(self, *, results: bool, sensitivity: bool) -> None:
        """Make room for the columns of what is known by now."""
        if (results, sensitivity) != (self._has_results, self._has_sensitivity):
            self._has_results, self._has_sensitivity = results, sensitivity
            self.share_out()

    def choose_column(self, column: int, shown: bool) -> None:
        """Show or hide a column whatever the width."""
        self._chosen[column] = shown
        self.share_out()

    def header_menu(self) -> QMenu:
        """One entry for each column beside the names."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for number in (*DECISION, *RESULTS, *FACTS):
            action = menu.addAction(tr(COLUMNS[number].title))
            action.setToolTip(tr(COLUMNS[number].help))
            action.setCheckable(True)
            action.setChecked(not self.isColumnHidden(number))
            action.toggled.connect(partial(self.choose_column, number))
        return menu

    def _open_menu(self, at: QPoint) -> None:
        menu = self.header_menu()
        menu.exec(self.header().mapToGlobal(at))
        menu.deleteLater()

    def _width_of(self, column: int) -> int:
        if self._layers.compact and column in (columns.SIZE, columns.SENSITIVITY):
            return NARROW_SIZE if column == columns.SIZE else NARROW_SENSITIVITY
        if column == columns.TREATMENT and self.viewport().width() > WIDE:
            return WIDE_TREATMENT
        widest = self.fontMetrics().horizontalAdvance(COLUMNS[column].widest) + _CELL_MARGIN
        return max(COLUMNS[column].width, widest)
