"""Which text to evaluate on."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import (
    QButtonGroup,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from benchvise.app.theme.appearance import UNIT
from benchvise.core.language import tr


class EvaluateDialog(QDialog):
    """The shipped text, or a file of one's own."""

    def __init__(self, checkpoint: str, run: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Evaluate"))
        self.setMinimumWidth(480)
        what = tr("Run {run} against {name}", run=run, name=Path(checkpoint).name) if run else Path(checkpoint).name
        said = QLabel(
            tr("{what}: perplexity", what=what)
            + (
                tr(", KL divergence and agreement of the first choice, window by window.")
                if run
                else tr(" on held-out text.")
            ),
            wordWrap=True,
        )
        self.shipped = QRadioButton(tr("The text that comes with Benchvise"))
        self.shipped.setChecked(True)
        self.own = QRadioButton(tr("A text of your own (.txt, .jsonl or .json)"))
        group = QButtonGroup(self)
        group.addButton(self.shipped)
        group.addButton(self.own)
        self.file = QLineEdit(placeholderText=tr("Path of the text"))
        self._browse = QPushButton(tr("Choose …"))
        self._browse.setAutoDefault(False)
        self._browse.clicked.connect(self._choose)
        row = QHBoxLayout()
        row.setContentsMargins(3 * UNIT, 0, 0, 0)
        row.addWidget(self.file, 1)
        row.addWidget(self._browse)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        evaluate = self._buttons.button(QDialogButtonBox.StandardButton.Ok)
        evaluate.setText(tr("Evaluate"))
        evaluate.setDefault(True)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * UNIT, 2 * UNIT, 2 * UNIT, 2 * UNIT)
        layout.setSpacing(UNIT)
        for widget in (said, self.shipped, self.own):
            layout.addWidget(widget)
        layout.addLayout(row)
        layout.addSpacing(UNIT)
        layout.addWidget(self._buttons)
        self.own.toggled.connect(self._check)
        self.file.textChanged.connect(self._check)
        self._check()

    @property
    def text_path(self) -> str:
        """Path of the text; "" for the shipped one."""
        return self.file.text() if self.own.isChecked() else ""

    def _choose(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, tr("Text to evaluate on"), self.file.text(), tr("Text (*.txt *.jsonl *.json)")
        )
        if path:
            self.file.setText(path)

    def _check(self) -> None:
        own = self.own.isChecked()
        self.file.setEnabled(own)
        self._browse.setEnabled(own)
        ready = not own or Path(self.file.text()).is_file()
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(ready)
