"""How the layer tree draws its cells: folders muted, a bar for sensitivity, a dot for what changed."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

from benchvise.app.layers import columns
from benchvise.app.layers.model import BAR_ROLE, CHANGED_ROLE, FOLDER_ROLE, LOCKED_ROLE
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme

ROW_HEIGHT = 24
_BAR_WIDTH, _MIN_BAR = 48.0, 10.0
_WIDEST_NUMBER = "0.0000"
_LOCK = 13


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
        super().paint(painter, option, index)
        if index.column() == columns.SENSITIVITY:
            self._paint_bar(painter, option, index.data(BAR_ROLE))
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

    def _paint_bar(self, painter: QPainter, option: QStyleOptionViewItem, fraction: object) -> None:
        if not isinstance(fraction, float):
            return
        theme = current_theme()
        room = option.rect.width() - option.fontMetrics.horizontalAdvance(_WIDEST_NUMBER) - 16
        if room < _MIN_BAR:
            return
        frame = QRectF(option.rect.left() + 4, option.rect.center().y() - 3, min(room, _BAR_WIDTH), 7)
        painter.fillRect(frame, QColor(theme.grid))
        painter.fillRect(
            QRectF(frame.left(), frame.top(), frame.width() * fraction, frame.height()), QColor(theme.after)
        )
