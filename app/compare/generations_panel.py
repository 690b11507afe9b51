"""The generations panel: what the original and a run write after the same prompt, side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QKeySequence, QShortcut, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import (
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QSplitter,
    QStackedWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from benchvise.app.panel.plot_panel import PlotPanel
from benchvise.app.plots.controls import Controls
from benchvise.app.theme.theme import current_theme, theme_notifier
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.app.widgets.empty_state import EmptyState
from benchvise.core.language import message, tr
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import Generate
from benchvise.core.protocol.results import Generation, Generations
from benchvise.core.text import plural

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

PROMPT = "Once upon a time"


class TokenText(QWidget):
    """One text with a title; each token tells its log-probability, those that differ from the other's are tinted."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = ElidedLabel()
        self.title.setText(title)
        self.view = QTextBrowser()
        self.view.setAccessibleName(title)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 8, 8)
        layout.setSpacing(4)
        layout.addWidget(self.title)
        layout.addWidget(self.view, 1)

    def show_text(self, prompt: str, generation: Generation, other: Generation, diverges_at: int | None) -> None:
        """diverges_at: the token to mark; None when both texts are the same."""
        theme = current_theme()
        self.view.clear()
        cursor = QTextCursor(self.view.document())
        plain = QTextCharFormat()
        plain.setForeground(QColor(theme.muted))
        cursor.insertText(prompt, plain)
        for place, (piece, logprob) in enumerate(zip(generation.pieces, generation.logprobs, strict=True)):
            style = QTextCharFormat()
            style.setForeground(QColor(theme.text))
            style.setToolTip(
                tr(
                    "Token {place}: log-probability {logprob:.3f} ({exp:.1f} %)",
                    place=place + 1,
                    logprob=logprob,
                    exp=math.exp(logprob) * 100,
                )
            )
            if diverges_at is not None and other.pieces[place : place + 1] != (piece,):
                tint = QColor(theme.after)
                tint.setAlpha(130 if place == diverges_at else 40)
                style.setBackground(tint)
                style.setFontUnderline(place == diverges_at)
            cursor.insertText(piece, style)


class GenerationsPanel(PlotPanel):
    """Prompt above, original at the left, the active run at the right."""

    title = message("Generations")
    icon = "mdi6.text-box-multiple-outline"

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        controls = Controls(self.refresh_soon)
        self.prompt = QLineEdit(PROMPT, placeholderText=tr("Prompt"), clearButtonEnabled=True)
        self.prompt.setAccessibleName(tr("Prompt"))
        self.prompt.returnPressed.connect(self.generate)
        self.tokens = QSpinBox(minimum=1, maximum=1024, value=64, suffix=tr(" tokens"))
        self.tokens.setAccessibleName(tr("How many tokens"))
        self.button = QPushButton(tr("Generate"))
        self.button.clicked.connect(self.generate)
        controls.row.addWidget(self.prompt)
        controls.row.addWidget(self.tokens)
        controls.row.addWidget(self.button)
        self.note = QLabel(wordWrap=True)
        self.note.setMinimumWidth(1)
        self.note.setContentsMargins(8, 0, 8, 0)
        self.note.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.original = TokenText(tr("Original"))
        self.compressed = TokenText(tr("Compressed"))
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.original)
        split.addWidget(self.compressed)
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(controls)
        layout.addWidget(self.note)
        self.waiting = EmptyState(self.icon)
        self._pages = QStackedWidget()
        self._pages.addWidget(self.waiting)
        self._pages.addWidget(split)
        layout.addWidget(self._pages, 1)
        QShortcut(
            QKeySequence("Ctrl+Return"), self, self.generate, context=Qt.ShortcutContext.WidgetWithChildrenShortcut
        )
        self._shown: Generations | None = None
        document.active_run_changed.connect(self._run_changed)
        document.checkpoint_changed.connect(self._run_changed)
        document.runs_changed.connect(self.refresh_soon)
        theme_notifier().changed.connect(self._show)

    def refresh(self) -> None:
        run = self.document.active_run
        if self.document.checkpoint is None or not run:
            self.say_empty(
                tr("Run a recipe first"),
                tr(
                    "Here the original and the compressed model continue the same prompt side by side, with the first "
                    "differing token marked. Press Run (Ctrl+R), or choose an earlier run under Compare."
                ),
            )
            return
        self.show_content()
        names = [summary.recipe_name for summary in self.document.runs if summary.run == run]
        self.compressed.title.setText(tr("Compressed: {names}", names=names[0] if names and names[0] else run))
        self.button.setEnabled(not self.question.pending)
        if self._shown is None and not self.question.pending:
            self._pages.setCurrentWidget(self.waiting)
            self.waiting.say(
                tr("Nothing is written yet"),
                tr(
                    "Press Generate (Ctrl+Return): the original and the compressed model continue the prompt side by "
                    "side, "
                    "and the first differing token is marked."
                ),
            )

    def generate(self) -> None:
        """Let both write; one at a time."""
        checkpoint, run = self.document.checkpoint, self.document.active_run
        if checkpoint is None or not run or self.question.pending:
            return
        if not self.prompt.text():
            self.note.setText(tr("Write a prompt first."))
            return
        request = Generate(
            f"run:{run}", checkpoint.path, self.prompt.text(), self.tokens.value(), self.document.workspace
        )
        self.question.ask([request], self._answered, self._failed, self._stopped)
        self.button.setEnabled(False)
        self.note.setText(tr("Writing …"))

    def _answered(self, _: int, generations: Generations) -> None:
        self._shown = generations
        self.button.setEnabled(True)
        self._show()

    def _failed(self, _: int, event: Failed) -> None:
        self.button.setEnabled(True)
        place = f" ({event.where})" if event.where else ""
        self.note.setText(f"{event.what}{place}. {event.remedy}".strip())

    def _stopped(self) -> None:
        self.button.setEnabled(True)
        self.note.setText(tr("Cancelled."))

    def _run_changed(self) -> None:
        """Another run's text is not this one's."""
        self.question.drop()
        self._shown = None
        self.note.clear()
        self.original.view.clear()
        self.compressed.view.clear()
        self.refresh_soon()

    def _show(self) -> None:
        shown = self._shown
        if shown is None:
            return
        self._pages.setCurrentIndex(1)
        self.original.show_text(shown.prompt, shown.original, shown.compressed, shown.diverges_at)
        self.compressed.show_text(shown.prompt, shown.compressed, shown.original, shown.diverges_at)
        count = len(shown.compressed.pieces)
        self.note.setText(
            tr("Both wrote the same {tokens}.", tokens=plural(count, "token"))
            if shown.diverges_at is None
            else tr("The texts part at token {diverges_at} of {count}.", diverges_at=shown.diverges_at + 1, count=count)
        )
        self.setAccessibleDescription(self.note.text())
