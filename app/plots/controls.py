"""The row of choices above a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from benchvise.app.widgets.flow import FlowLayout
from benchvise.core.language import tr


class Controls(QWidget):
    """Checks and choices in as many lines as they need; each calls `changed` when the person changes it."""

    def __init__(self, changed: Callable[[], object]) -> None:
        super().__init__()
        self._changed = changed
        self._labels: dict[QComboBox, QLabel] = {}
        self.row = FlowLayout(spacing=12)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(8, 8, 8, 0)
        outer.addLayout(self.row)

    def check(self, text: str, tip: str, *, on: bool = False) -> QCheckBox:
        box = QCheckBox(text)
        box.setToolTip(tip)
        box.setChecked(on)
        box.toggled.connect(lambda _: self._changed())
        self.row.addWidget(box)
        return box

    def choice(self, text: str, tip: str, entries: Sequence[tuple[str, object]], *, at: int = 0) -> QComboBox:
        """A labelled combination box over (what is read, what it stands for)."""
        box = QComboBox()
        box.setToolTip(tip)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        for shown, value in entries:
            box.addItem(tr(shown), value)
        box.setCurrentIndex(at)
        box.setAccessibleName(text)
        box.currentIndexChanged.connect(lambda _: self._changed())
        label = QLabel(text)
        label.setBuddy(box)
        self._labels[box] = label
        pair = QWidget()
        layout = QHBoxLayout(pair)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(label)
        layout.addWidget(box)
        self.row.addWidget(pair)
        return box

    def label_of(self, box: QComboBox) -> QLabel:
        """The label beside a choice."""
        return self._labels[box]
