"""Cards at the lower right that say what went wrong; they stop nobody from working."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from benchvise.app.state.problems import Problem
from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme
from benchvise.core.language import tr

MAX_CARDS = 3
WIDTH = 400


class ErrorCard(QFrame):
    """One problem: a sentence, where, the remedy, Details, Copy."""

    dismissed = Signal()
    resized = Signal()
    wanted = Signal(str)

    def __init__(self, problem: Problem, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.problem = problem
        self.setProperty("surface", "card")
        self.setFixedWidth(WIDTH)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(tr("Problem: {what}", what=problem.what))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * UNIT, UNIT, UNIT, UNIT)
        layout.setSpacing(UNIT // 2)
        layout.addLayout(self._heading())
        for text in (problem.where, problem.remedy):
            if text:
                label = _wrapped(text)
                label.setProperty("tone", "muted" if text is problem.where else "")
                layout.addWidget(label)
        self._details = QPlainTextEdit(problem.details, readOnly=True)
        self._details.setFixedHeight(160)
        self._details.hide()
        layout.addWidget(self._details)
        layout.addLayout(self._buttons())

    def _heading(self) -> QHBoxLayout:
        row = QHBoxLayout()
        mark = QLabel()
        mark.setPixmap(icon("mdi6.alert-circle-outline", current_theme().error).pixmap(20, 20))
        what = _wrapped(f"{self.problem.what}.")
        font = what.font()
        font.setBold(True)
        what.setFont(font)
        close = QToolButton()
        close.setIcon(icon("mdi6.close"))
        close.setToolTip(tr("Close (Esc)"))
        close.setAccessibleName(tr("Close this message"))
        close.clicked.connect(self.dismissed)
        row.addWidget(mark, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(what, 1)
        row.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        return row

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addStretch(1)
        if self.problem.command:
            remedy = QPushButton(self.problem.command.capitalize())
            remedy.setProperty("primary", "true")
            remedy.clicked.connect(self._carry_out)
            row.addWidget(remedy)
        if self.problem.details:
            details = QPushButton(tr("Details"))
            details.clicked.connect(self._toggle_details)
            row.addWidget(details)
        copy = QPushButton(tr("Copy"))
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.problem.text))
        row.addWidget(copy)
        return row

    def _carry_out(self) -> None:
        self.wanted.emit(self.problem.command)
        self.dismissed.emit()

    def _toggle_details(self) -> None:
        self._details.setVisible(self._details.isHidden())
        self.resized.emit()


class CardStack(QObject):
    """Keeps the cards at the lower right of a window, the newest at the bottom.

    wanted: the id of the command that a card's remedy asks for.
    """

    wanted = Signal(str)

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self.cards: list[ErrorCard] = []
        self._bottom_margin = 5 * UNIT
        window.installEventFilter(self)

    def show(self, problem: Problem) -> None:
        if any(card.problem.text == problem.text for card in self.cards):
            return
        card = ErrorCard(problem, self._window)
        card.wanted.connect(self.wanted)
        card.dismissed.connect(lambda: self._dismiss(card))
        card.resized.connect(lambda: QTimer.singleShot(0, self, self._place))
        self.cards.append(card)
        for old in self.cards[:-MAX_CARDS]:
            self._dismiss(old)
        card.show()
        card.raise_()
        self._place()

    def dismiss_newest(self) -> bool:
        """Close the newest card; False when there is none."""
        if self.cards:
            self._dismiss(self.cards[-1])
            return True
        return False

    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        if target is self._window and self.cards and event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest):
            self._place()
        return False

    def _dismiss(self, card: ErrorCard) -> None:
        if card in self.cards:
            self.cards.remove(card)
            card.hide()
            card.deleteLater()
            self._place()

    def _place(self) -> None:
        bottom = self._window.height() - self._bottom_margin
        for card in reversed(self.cards):
            card.adjustSize()
            layout = card.layout()
            height = layout.totalHeightForWidth(card.width()) if layout is not None else card.height()
            card.resize(card.width(), max(height, card.sizeHint().height()))
            card.move(self._window.width() - card.width() - 2 * UNIT, bottom - card.height())
            card.raise_()
            bottom -= card.height() + UNIT


def _wrapped(text: str) -> QLabel:
    label = QLabel(text, wordWrap=True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
