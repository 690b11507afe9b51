"""How the layer tree draws its cells: folders muted, a bar for sensitivity, a dot for what changed."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QTreeView

from benchvise.app.layers import columns
from benchvise.app.layers.model import BAR_ROLE, CHANGED_ROLE, FOLDER_ROLE, LOCKED_ROLE
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme

ROW_HEIGHT = 24
_BAR_WIDTH, _MIN_BAR = 48.0, 10.0
_WIDEST_NUMBER = "0.0000"
_LOCK = 13
_TEXT_MARGINS = 14


class LayerDelegate(QStyledItemDelegate):
    """Draws on top of the style's own cells."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        hint = super().sizeHint(option, index)
        return QSize(hint.width(), max(ROW_HEIGHT, hint.height()))

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        option.textElideMode = Qt.TextElideMode.ElideMiddle if index.column() == 0 else Qt.TextElideMode.ElideRight
        secondary = index.column() in (columns.DTYPE, columns.SHAPE, columns.ROLE)
        if secondary or (index.column() != columns.NAME and index.data(FOLDER_ROLE)):
            option.palette.setColor(option.palette.ColorRole.Text, QColor(current_theme().muted))

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        if index.column() in (columns.NAME, columns.TREATMENT) and _goes_on(option, index):
            if index.column() == columns.TREATMENT:
                return
            option = QStyleOptionViewItem(option)
            option.rect.setRight(option.rect.right() + _view(option).columnWidth(columns.TREATMENT))
        super().paint(painter, option, index)
        if index.column() == columns.SENSITIVITY:
            self._paint_bar(painter, option, index.data(BAR_ROLE), with_number=bool(index.data()))
        elif index.column() == columns.TREATMENT:
            self._paint_marks(painter, option, index)

    def _paint_marks(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """At the right of the treatment: a lock, and a dot for what changed."""
        if index.data(LOCKED_ROLE):
            place = QRect(option.rect.right() - _LOCK - 11, option.rect.center().y() - _LOCK // 2, _LOCK, _LOCK)
            icon("mdi6.lock", current_theme().muted).paint(painter, place)
        if index.data(CHANGED_ROLE):
            painter.save()
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(current_theme().after))
            painter.drawEllipse(QPointF(option.rect.right() - 6, option.rect.center().y() + 0.5), 3.0, 3.0)
            painter.restore()

    def _paint_bar(
        self, painter: QPainter, option: QStyleOptionViewItem, fraction: object, *, with_number: bool
    ) -> None:
        if not isinstance(fraction, float):
            return
        theme = current_theme()
        number = option.fontMetrics.horizontalAdvance(_WIDEST_NUMBER) + 8 if with_number else 0
        room = option.rect.width() - number - 8
        if room < _MIN_BAR:
            return
        frame = QRectF(option.rect.left() + 4, option.rect.center().y() - 3, min(room, _BAR_WIDTH), 7)
        painter.fillRect(frame, QColor(theme.grid))
        painter.fillRect(
            QRectF(frame.left(), frame.top(), frame.width() * fraction, frame.height()), QColor(theme.after)
        )


def _goes_on(option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> bool:
    """True where a long name needs the cell beside it, and that is empty.

    Reckoned from widths alone: to ask the view for a cell's place can make it lay its rows out again.
    """
    view = _view(option)
    if view.isColumnHidden(columns.TREATMENT) or index.sibling(index.row(), columns.TREATMENT).data():
        return False
    name = str(index.sibling(index.row(), columns.NAME).data())
    depth, above = 1, index.parent()
    while above.isValid():
        depth, above = depth + 1, above.parent()
    room = view.columnWidth(columns.NAME) - depth * view.indentation()
    return view.fontMetrics().horizontalAdvance(name) + _TEXT_MARGINS > room


def _view(option: QStyleOptionViewItem) -> QTreeView:
    view = option.widget
    assert isinstance(view, QTreeView)
    return view
