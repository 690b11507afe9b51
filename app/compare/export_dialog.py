"""What to export to, and where."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from benchvise.app.text.numbers import byte_text
from benchvise.app.theme.appearance import UNIT
from benchvise.core.protocol.results import RunSummary

TARGETS = (
    (
        "compressed-tensors",
        "compressed-tensors",
        "Packed integers that transformers and vLLM load with the compressed-tensors package. Small on disk.",
    ),
    ("dense", "Dense safetensors", "Ordinary weights with the damage in them. Loads everywhere; not smaller."),
)


class ExportDialog(QDialog):
    """Target and a folder that does not exist yet, or is empty."""

    def __init__(self, run: RunSummary | None, start: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export")
        self.setMinimumWidth(520)
        name = f"{Path(run.checkpoint).name}-{run.recipe_name or run.run}" if run is not None else "export"
        self._combo = QComboBox()
        for key, title, _ in TARGETS:
            self._combo.addItem(title, key)
        self._help = QLabel(wordWrap=True)
        self._help.setProperty("tone", "muted")
        self._folder = QLineEdit(str(Path(start or str(Path.home())) / name))
        browse = QPushButton("Choose …")
        browse.clicked.connect(self._choose)
        row = QHBoxLayout()
        row.addWidget(self._folder, 1)
        row.addWidget(browse)
        self._problem = QLabel(wordWrap=True)
        self._problem.setProperty("tone", "error")
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setText("Export")
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        form = QFormLayout()
        form.setVerticalSpacing(UNIT)
        if run is not None:
            form.addRow("Run", QLabel(f"{run.run} · {run.recipe_name or 'own recipe'} · {byte_text(run.bytes_after)}"))
        form.addRow("Target", self._combo)
        form.addRow("", self._help)
        form.addRow("Folder", row)
        form.addRow("", self._problem)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * UNIT, 2 * UNIT, 2 * UNIT, 2 * UNIT)
        layout.addLayout(form)
        layout.addWidget(self._buttons)
        self._combo.currentIndexChanged.connect(self._check)
        self._folder.textChanged.connect(self._check)
        self._check()

    @property
    def target(self) -> str:
        return str(self._combo.currentData())

    @property
    def folder(self) -> str:
        return str(Path(self._folder.text()).expanduser().absolute())

    def _choose(self) -> None:
        parent = str(Path(self.folder).parent)
        chosen = QFileDialog.getExistingDirectory(self, "Export into this folder", parent)
        if chosen:
            self._folder.setText(str(Path(chosen) / Path(self.folder).name))

    def _check(self) -> None:
        self._help.setText(TARGETS[self._combo.currentIndex()][2])
        folder = Path(self.folder)
        problem = ""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            problem = "There is something at this place already; choose another name."
        elif not folder.parent.is_dir():
            problem = f"There is no folder {folder.parent}."
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(not problem and bool(self._folder.text()))
