"""The table under the budget: what each layer got, and its next better and next cheaper choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QItemSelection, QItemSelectionModel, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QAbstractItemView, QLineEdit, QMenu, QVBoxLayout, QWidget

from benchvise.app.budget.lock_delegate import LockDelegate
from benchvise.app.budget.model import ALLOCATION_COLUMNS, AllocationModel
from benchvise.app.plots.table import CopyableTable
from benchvise.app.state.layer_filter import HELP, LayerFilter
from benchvise.core.language import tr
from benchvise.core.text import plural

if TYPE_CHECKING:
    from benchvise.app.state.document import Document


_FILTER_WIDTH = 136


class BudgetTable(QWidget):
    """Selecting a row selects the layer everywhere. filter_line is for whoever lays the table out to place."""

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._following = False
        self.model = AllocationModel(self)
        self.view = CopyableTable()
        self.view.setModel(self.model)
        self.view.setItemDelegateForColumn(0, LockDelegate(self.view))
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSortingEnabled(True)
        self.view.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.view.horizontalHeader().setSortIndicatorClearable(True)
        self.view.setAccessibleName(tr("Allocation"))
        self.view.setTextElideMode(Qt.TextElideMode.ElideRight)
        for number, column in enumerate(ALLOCATION_COLUMNS):
            self.view.setColumnWidth(number, column.width)
        self.view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.view.customContextMenuRequested.connect(
            lambda at: self.context_menu().popup(self.view.viewport().mapToGlobal(at))
        )
        self.view.selectionModel().selectionChanged.connect(self._row_selected)
        self.filter_line = QLineEdit(placeholderText=tr("Filter layers"), clearButtonEnabled=True)
        self.filter_line.setAccessibleName(tr("Filter the allocation"))
        self.filter_line.setFixedWidth(_FILTER_WIDTH)
        self.filter_line.setToolTip(tr("Words that must all hold: {help}", help=tr(HELP)))
        self.filter_line.textChanged.connect(self._filter)
        self.model.modelReset.connect(self.follow_document)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 8, 0)
        layout.addWidget(self.view, 1)

    def follow_document(self) -> None:
        """Select the row of the current layer."""
        layer = self._document.current
        row = self.model.row_of(layer.name) if layer is not None else -1
        selection = self.view.selectionModel()
        if row < 0 or selection.isRowSelected(row):
            return
        self._following = True
        flags = QItemSelectionModel.SelectionFlag
        selection.setCurrentIndex(self.model.index(row, 0), flags.ClearAndSelect | flags.Rows)
        self._following = False

    def context_menu(self) -> QMenu:
        """What can be done with the selected rows."""
        names = self._selected_names()
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        locked = bool(names) and all(name in self._document.locked for name in names)
        count = plural(len(names), "layer")
        lock = QAction(
            tr("Include {count} in budgets", count=count)
            if locked
            else tr("Exclude {count} from budgets", count=count),
            menu,
        )
        lock.setEnabled(bool(names))
        lock.triggered.connect(lambda: self._document.lock(names, locked=not locked))
        menu.addAction(lock)
        menu.addSeparator()
        menu.addActions(self.view.actions())
        return menu

    def _selected_names(self) -> list[str]:
        found = self.model.allocation
        rows = sorted({index.row() for index in self.view.selectionModel().selectedRows(0)})
        return [found.names[self.model.layer_at(row)] for row in rows] if found is not None else []

    def _row_selected(self, selected: QItemSelection, _: QItemSelection) -> None:
        found = self.model.allocation
        if self._following or found is None or not selected.indexes():
            return
        rows = [index.row() for index in self.view.selectionModel().selectedRows(0)]
        first = selected.indexes()[0].row()
        rows.sort(key=lambda row: row != first)
        self._following = True
        self._document.select(int(found.index[self.model.layer_at(row)]) for row in rows)
        self._following = False

    def _filter(self, text: str) -> None:
        checkpoint, plan = self._document.checkpoint, self._document.plan
        if checkpoint is None or not text.strip():
            self.model.keep_only(None)
            return
        try:
            tags = (plan.tags, plan.choice) if plan is not None else None
            mask = LayerFilter(checkpoint.layers).mask(text, tags)
        except ValueError as error:
            self.filter_line.setToolTip(str(error))
            return
        self.filter_line.setToolTip(tr("Words that must all hold: {help}", help=tr(HELP)))
        kept = (layer.name for layer, shown in zip(checkpoint.layers, mask, strict=True) if shown)
        self.model.keep_only(frozenset(kept))
