"""LAYERS: the tree of layers with a filter line; what is selected here is what the other panels are about."""

from __future__ import annotations

from PySide6.QtCore import (
    QItemSelection,
    QItemSelectionModel,
    QPoint,
    QSignalBlocker,
    Qt,
    QThreadPool,
    QTimer,
    Signal,
)
from PySide6.QtWidgets import QLineEdit, QSpacerItem, QVBoxLayout, QWidget

from benchvise.app.layers.actions import LayerActions
from benchvise.app.layers.facts import kl_increases_by_layer
from benchvise.app.layers.model import LayerModel, PreparedLayers, prepare
from benchvise.app.layers.preparation import Preparation, PreparationSignal
from benchvise.app.layers.view import LayerView
from benchvise.app.state.document import Document
from benchvise.app.state.layer_filter import HELP
from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import theme_notifier
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.core.language import message, tr
from benchvise.core.text import plural

FILTER_DELAY_MS = 120
SENSITIVITY_DELAY_MS = RESULTS_DELAY_MS = 250
PREPARE_HERE = 3000
"""Up to this many layers the tree is built at once; more are built beside the window's work."""
_EXPAND_MOST = 200
MIN_WIDTH = 256


class LayersPanel(QWidget):
    """The tree. Selecting folders selects the layers below them."""

    title = message("Layers")
    icon = "mdi6.file-tree-outline"
    shown = Signal()

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.model = LayerModel(self)
        self.view = LayerView(self.model)
        self.filter_line = QLineEdit(
            placeholderText=tr("Filter: name, *glob*, re:, dtype:, shape:"), clearButtonEnabled=True
        )
        self.filter_line.setToolTip(tr("Words that must all hold: {help} (Ctrl+F)", help=tr(HELP)))
        self.filter_line.setAccessibleName(tr("Filter layers"))
        self._search = self.filter_line.addAction(icon("mdi6.magnify"), QLineEdit.ActionPosition.LeadingPosition)
        self._said = ElidedLabel()
        self._said.setProperty("tone", "muted")
        self._said.setContentsMargins(UNIT, 2, UNIT, 2)
        self.setMinimumWidth(MIN_WIDTH)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        top = QVBoxLayout()
        top.setContentsMargins(UNIT, UNIT, UNIT, UNIT)
        top.addWidget(self.filter_line)
        layout.addLayout(top)
        layout.addWidget(self.view, 1)
        self._slack = QSpacerItem(0, 0)
        layout.addItem(self._slack)
        layout.addWidget(self._said)
        self.layer_actions = LayerActions(document)
        self._own_doing = False
        self._tell = PreparationSignal(self)
        self._tell.done.connect(self._show_prepared)
        self._filter_timer = QTimer(self, singleShot=True, interval=FILTER_DELAY_MS)
        self._filter_timer.timeout.connect(self._apply_filter)
        self._sensitivity_timer = QTimer(self, singleShot=True, interval=SENSITIVITY_DELAY_MS)
        self._sensitivity_timer.timeout.connect(self._show_sensitivity)
        self._results_timer = QTimer(self, singleShot=True, interval=RESULTS_DELAY_MS)
        self._results_timer.timeout.connect(self._show_results)
        self._whole_rows = QTimer(self, singleShot=True, interval=0)
        self._whole_rows.timeout.connect(self._end_with_a_whole_row)
        self._connect()

    def _connect(self) -> None:
        document = self._document
        self.filter_line.textChanged.connect(lambda _: self._filter_timer.start())
        self.filter_line.returnPressed.connect(self._apply_filter)
        self.view.selectionModel().selectionChanged.connect(self._selection_changed)
        self.view.customContextMenuRequested.connect(self._open_menu)
        self.view.header().sortIndicatorChanged.connect(self._sort)
        self.view.fitted.connect(self._whole_rows.start)
        document.checkpoint_changed.connect(self._show_checkpoint)
        document.plan_changed.connect(self._show_plan)
        document.active_run_changed.connect(self._show_plan)
        document.active_run_read.connect(self._show_plan)
        document.sensitivity_changed.connect(self._sensitivity_timer.start)
        document.results_changed.connect(self._results_soon)
        document.locks_changed.connect(self._show_locks)
        document.selection_changed.connect(self._follow_document)
        theme_notifier().changed.connect(self._paint_icon)

    def _end_with_a_whole_row(self) -> None:
        """Leave what would show half a row at the lower edge empty."""
        slack = self.view.overhang(self.view.viewport().height() + self._slack.sizeHint().height())
        layout = self.layout()
        if layout is not None and slack != self._slack.sizeHint().height():
            self._slack.changeSize(0, slack)
            layout.invalidate()

    def _paint_icon(self) -> None:
        self._search.setIcon(icon("mdi6.magnify"))

    def focus_filter(self) -> None:
        self.filter_line.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.filter_line.selectAll()

    def _show_checkpoint(self) -> None:
        checkpoint = self._document.checkpoint
        layers = checkpoint.layers if checkpoint is not None else ()
        if len(layers) <= PREPARE_HERE:
            self._show_prepared(prepare(layers))
            return
        self._show_prepared(prepare(()))
        self._said.setText(tr("Sorting {tensors} …", tensors=plural(len(layers), "tensor")))
        QThreadPool.globalInstance().start(Preparation(layers, self._tell))

    def _show_prepared(self, prepared: PreparedLayers) -> None:
        checkpoint = self._document.checkpoint
        if prepared.layers is not (checkpoint.layers if checkpoint is not None else ()) and prepared.layers:
            return
        with QSignalBlocker(self.filter_line):
            self.filter_line.clear()
        self.model.set_layers(prepared)
        self.view.header().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self._show_plan()
        self._show_sensitivity()
        self._show_results()
        self._show_locks()
        self.view.expand_start()
        self._say()
        if prepared.layers:
            self._select_first()
            self.shown.emit()

    def _select_first(self) -> None:
        if self._document.selection:
            self._follow_document()
            return
        layers = self.model.layers
        first = next((i for i, layer in enumerate(layers) if layer.kind == "linear" and layer.compressible), 0)
        self._document.select((first,))

    def _show_plan(self) -> None:
        self.model.set_plan(self._document.plan, self._document.changed_since_run())

    def _show_sensitivity(self) -> None:
        self.model.set_sensitivity(kl_increases_by_layer(self._document.sensitivity.values()), self._key_of)
        self._show_known()

    def _key_of(self, index: int) -> str:
        """Names the layer's treatment as the recipe gives it, which is what sensitivities are known of."""
        return self._document.treatment_of(index).key

    def _results_soon(self) -> None:
        """A few times a second while layers are finished, not only once they pause."""
        if not self._results_timer.isActive():
            self._results_timer.start()

    def _show_results(self) -> None:
        results = self._document.results
        self.model.set_results(results)
        self._show_known()

    def _show_known(self) -> None:
        self.view.show_known(results=bool(self._document.results), sensitivity=bool(self._document.sensitivity))

    def _apply_filter(self) -> None:
        self._filter_timer.stop()
        expanded = self.view.expanded_nodes()
        try:
            self._own_doing = True
            self.model.set_filter(self.filter_line.text())
        except ValueError as error:
            self._said.setText(str(error))
            return
        finally:
            self._own_doing = False
        if self.filter_line.text().strip() and self.model.visible_layers <= _EXPAND_MOST:
            self.view.expandAll()
        else:
            self.view.expand_nodes(expanded)
        self._follow_document()
        self._say()

    def _sort(self, column: int, order: Qt.SortOrder) -> None:
        expanded = self.view.expanded_nodes()
        self._own_doing = True
        self.model.sort(column, order)
        self._own_doing = False
        self.view.expand_nodes(expanded)
        self._follow_document()

    def _say(self) -> None:
        total, visible = len(self.model.layers), self.model.visible_layers
        if not total:
            self._said.setText("")
        elif visible == 0:
            self._said.setText(tr("No layer matches the filter."))
        else:
            self._said.setText(
                plural(total, "tensor")
                if visible == total
                else tr("{visible:,} of {total:,} tensors", visible=visible, total=total)
            )

    def _selection_changed(self) -> None:
        if self._own_doing:
            return
        chosen: dict[int, None] = {}
        current = self.view.currentIndex()
        rows = self.view.selectionModel().selectedRows(0)
        if current.isValid() and self.view.selectionModel().isSelected(current):
            rows.insert(0, current.siblingAtColumn(0))
        for index in rows:
            layer = self.model.layer_index(index)
            below = [layer] if layer >= 0 else self.model.layers_below(index)
            chosen.update(dict.fromkeys(below))
        self._own_doing = True
        self._document.select(chosen)
        self._own_doing = False

    def _follow_document(self) -> None:
        """Show the document's selection, unless the view is where it came from."""
        if self._own_doing:
            return
        wanted = self._document.selection
        model = self.view.selectionModel()
        shown = {self.model.layer_index(index) for index in model.selectedRows(0)}
        if shown == set(wanted):
            return
        selection = QItemSelection()
        indices = [index for layer in wanted if (index := self.model.index_of_layer(layer)).isValid()]
        for index in indices:
            selection.select(index, index)
        self._own_doing = True
        flags = QItemSelectionModel.SelectionFlag
        if indices:
            model.setCurrentIndex(indices[0], flags.NoUpdate)
            self.view.scrollTo(indices[0])
        model.select(selection, flags.ClearAndSelect | flags.Rows)
        self._own_doing = False

    def _open_menu(self, at: QPoint) -> None:
        menu = self.layer_actions.context_menu(self)
        menu.exec(self.view.viewport().mapToGlobal(at))
        menu.deleteLater()

    def _show_locks(self) -> None:
        self.model.set_locked(self._document.locked)
