"""One finding of a check: what, why, the layers it is about, and buttons that fix it."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFont, QIcon
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QToolButton, QVBoxLayout

from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme
from benchvise.app.widgets.flow import FlowLayout
from benchvise.app.widgets.labels import wrapped
from benchvise.core.language import message, tr
from benchvise.core.protocol.results import Finding
from benchvise.core.text import plural

LEVELS = {
    "blocks": (message("Must fix"), "mdi6.close-octagon-outline", "error"),
    "warns": (message("Warnings"), "mdi6.alert-outline", "warning"),
    "tells": (message("Good to know"), "mdi6.information-outline", "accent"),
    "fine": (message("Fine"), "mdi6.check-circle-outline", "good"),
}
"""What each level is called, its icon and the theme's colour for it."""
_MARK = 18
_LISTED_LINES = 8


class FindingCard(QFrame):
    """fixed: the number of the fix whose button was pressed."""

    fixed = Signal(int)

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding
        self.setProperty("surface", "card")
        word = tr(LEVELS[finding.level][0])
        self.setAccessibleName(f"{word}: {tr(finding.title)}")
        self.buttons: list[QPushButton] = []
        row = QHBoxLayout(self)
        row.setContentsMargins(UNIT, UNIT, UNIT, UNIT)
        row.setSpacing(UNIT)
        mark = QLabel()
        mark.setPixmap(level_icon(finding.level).pixmap(_MARK, _MARK))
        mark.setToolTip(word)
        row.addWidget(mark, 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout()
        column.setSpacing(UNIT // 2)
        row.addLayout(column, 1)
        title = wrapped()
        title.setText(tr(finding.title))
        font = title.font()
        font.setWeight(QFont.Weight.DemiBold)
        title.setFont(font)
        column.addWidget(title)
        if finding.detail:
            detail = wrapped("muted")
            detail.setText(tr(finding.detail))
            column.addWidget(detail)
        if finding.layers:
            self._add_layers(column)
        if finding.fixes:
            self._add_fixes(column)

    def _add_layers(self, column: QVBoxLayout) -> None:
        """The names, behind a button that unfolds them."""
        layers = self.finding.layers
        self.fold = QToolButton()
        self.fold.setText(plural(len(layers), "layer"))
        self.fold.setCheckable(True)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.setArrowType(Qt.ArrowType.RightArrow)
        self.fold.setStyleSheet("QToolButton, QToolButton:checked { background: transparent; padding: 2px 0; }")
        self.names = QPlainTextEdit("\n".join(layers), readOnly=True)
        self.names.setAccessibleName(tr("Layers"))
        self.names.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        lines = min(len(layers), _LISTED_LINES)
        self.names.setFixedHeight(self.names.fontMetrics().lineSpacing() * lines + 2 * UNIT)
        self.names.hide()
        self.fold.toggled.connect(self._unfold)
        column.addWidget(self.fold, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self.names)

    def _unfold(self, opened: bool) -> None:
        self.names.setVisible(opened)
        self.fold.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)

    def _add_fixes(self, column: QVBoxLayout) -> None:
        flow = FlowLayout(spacing=UNIT)
        for number, fix in enumerate(self.finding.fixes):
            button = QPushButton(tr(fix.label))
            button.setAutoDefault(False)
            button.setToolTip(tr(fix.label))
            button.clicked.connect(partial(self._press, number))
            self.buttons.append(button)
            flow.addWidget(button)
        column.addSpacing(UNIT // 2)
        column.addLayout(flow)

    def _press(self, number: int) -> None:
        self.fixed.emit(number)


def level_icon(level: str) -> QIcon:
    """The icon of a level, in its colour."""
    _, name, colour = LEVELS[level]
    return icon(name, str(getattr(current_theme(), colour)))
