"""A lock before the names of layers that the budget leaves alone."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

from benchvise.app.budget.model import LOCKED_ROLE
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme


class LockDelegate(QStyledItemDelegate):
    """For the column of names, which differ at their ends; what is cut in other columns is their end."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        option.textElideMode = Qt.TextElideMode.ElideMiddle
        if index.data(LOCKED_ROLE):
            option.features |= QStyleOptionViewItem.ViewItemFeature.HasDecoration
            option.icon = icon("mdi6.lock", current_theme().muted)
