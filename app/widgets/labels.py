"""Labels and labelled rows as forms in panels use them."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFormLayout, QLabel, QWidget

LABEL_WIDTH = 96
"""So that the fields of forms one below the other line up."""


def labelled(text: str, field: QWidget) -> QFormLayout:
    """A row of a label and its field, as wide as the panel."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setHorizontalSpacing(12)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignVCenter)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    label = QLabel(text)
    label.setBuddy(field)
    label.setMinimumWidth(LABEL_WIDTH)
    form.addRow(label, field)
    return form


def wrapped(tone: str = "") -> QLabel:
    """Text that breaks into lines and can be selected. tone: "muted", "error", "warning" or "" for plain."""
    label = QLabel(wordWrap=True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    if tone:
        label.setProperty("tone", tone)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
