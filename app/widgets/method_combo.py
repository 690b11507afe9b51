"""A box that offers methods of one axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QWidget

from benchvise.app.widgets.calm import CalmComboBox
from benchvise.app.widgets.field_editors import MIXED
from benchvise.app.widgets.labels import FIELD_WIDTH
from benchvise.core.language import tr


class MethodCombo(CalmComboBox):
    """Titles of registered methods with their summaries; what cannot be chosen now is there, grey, with the reason."""

    def __init__(self, title: str, methods: Mapping[str, type[Any]], parent: QWidget | None = None) -> None:
        super().__init__(parent, widest=FIELD_WIDTH)
        self._methods = methods
        self.setPlaceholderText(tr(MIXED))
        self.setAccessibleName(title)
        for key, kind in methods.items():
            self.addItem(tr(kind.title), key)
        self.show_refusals({})

    def show_key(self, key: str | None) -> None:
        """Show the method of this key; None is "(mixed)"."""
        self.setCurrentIndex(-1 if key is None else self.findData(key))

    def show_refusals(self, refusals: Mapping[str, str]) -> None:
        """Grey out these methods; refusals: by key, why each cannot be chosen."""
        model = self.model()
        assert isinstance(model, QStandardItemModel)
        for row, (key, kind) in enumerate(self._methods.items()):
            refusal = refusals.get(key, "")
            model.item(row).setEnabled(not refusal)
            said = f"{tr(refusal).rstrip('.')}." if refusal else tr(kind.summary)
            self.setItemData(row, said, Qt.ItemDataRole.ToolTipRole)
