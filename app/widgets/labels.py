"""Labels and labelled rows as forms in panels use them."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFormLayout, QLabel, QWidget

L = TypeVar("L", bound=QLabel)

LABEL_WIDTH = 84
"""So that the fields of forms one below the other line up."""
FIELD_WIDTH = 216
"""Of a field that has a line of its own in the narrowest panel."""


def labelled(text: str, field: QWidget) -> QFormLayout:
    """A row of a label and its field, as wide as the panel."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setHorizontalSpacing(12)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignVCenter)
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    label = QLabel(text)
    label.setBuddy(field)
    label.setMinimumWidth(LABEL_WIDTH)
    form.addRow(label, field)
    return form


class SteadyLabel(QLabel):
    """Never lower than it once was at its width: what lies beside it does not jump while the text changes."""

    def __init__(self) -> None:
        super().__init__(wordWrap=True)
        self._most: dict[int, int] = {}

    def heightForWidth(self, width: int) -> int:
        most = self._most[width] = max(super().heightForWidth(width), self._most.get(width, 0))
        return most

    def forget(self) -> None:
        """Be as high as the text alone wants again."""
        self._most.clear()
        self.updateGeometry()


def wrapped(tone: str = "") -> QLabel:
    """Text that breaks into lines and can be selected. tone: "muted", "error", "warning" or "" for plain."""
    return _dressed(QLabel(wordWrap=True), tone)


def steady(tone: str = "") -> SteadyLabel:
    """As `wrapped`, for texts that change while a slider is dragged."""
    return _dressed(SteadyLabel(), tone)


def _dressed(label: L, tone: str) -> L:
    label.setTextFormat(Qt.TextFormat.PlainText)
    if tone:
        label.setProperty("tone", tone)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
