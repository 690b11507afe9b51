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

from benchvise.app.theme.appearance import UNIT
from benchvise.core.export.target import Target
from benchvise.core.export.targets.registry import target_of, targets
from benchvise.core.language import tr
from benchvise.core.protocol.results import RunSummary
from benchvise.core.text import byte_text


class ExportDialog(QDialog):
    """Target, and a folder or file that does not exist yet; an empty folder is fine."""

    def __init__(self, run: RunSummary | None, start: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Export"))
        self.setMinimumWidth(520)
        name = f"{Path(run.checkpoint).name}-{run.recipe_name or run.run}" if run is not None else "export"
        self._combo = QComboBox()
        for target in targets():
            self._combo.addItem(tr(target.title), target.key)
        self._help = QLabel(wordWrap=True)
        self._help.setProperty("tone", "muted")
        self._folder = QLineEdit(str(Path(start or str(Path.home())) / name))
        browse = QPushButton(tr("Choose …"))
        browse.clicked.connect(self._choose)
        row = QHBoxLayout()
        row.addWidget(self._folder, 1)
        row.addWidget(browse)
        self._problem = QLabel(wordWrap=True)
        self._problem.setProperty("tone", "error")
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setText(tr("Export"))
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        form = QFormLayout()
        form.setVerticalSpacing(UNIT)
        if run is not None:
            form.addRow(
                tr("Run"), QLabel(f"{run.run} · {run.recipe_name or tr('own recipe')} · {byte_text(run.bytes_after)}")
            )
        form.addRow(tr("Target"), self._combo)
        form.addRow("", self._help)
        self._place = QLabel(tr("Folder"))
        form.addRow(self._place, row)
        form.addRow("", self._problem)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * UNIT, 2 * UNIT, 2 * UNIT, 2 * UNIT)
        layout.addLayout(form)
        layout.addWidget(self._buttons)
        self._combo.currentIndexChanged.connect(self._choose_target)
        self._folder.textChanged.connect(self._check)
        self._choose_target()

    @property
    def target(self) -> str:
        return str(self._combo.currentData())

    @property
    def folder(self) -> str:
        """The absolute path of the folder, or of the single file that the target writes."""
        return str(Path(self._folder.text()).expanduser().absolute())

    def _chosen(self) -> Target:
        return target_of(self.target)

    def _choose(self) -> None:
        path, suffix = Path(self.folder), self._chosen().suffix
        if suffix:
            chosen, _ = QFileDialog.getSaveFileName(self, tr("Export to this file"), str(path), f"*{suffix}")
        else:
            parent = QFileDialog.getExistingDirectory(self, tr("Export into this folder"), str(path.parent))
            chosen = str(Path(parent) / path.name) if parent else ""
        if chosen:
            self._folder.setText(chosen)

    def _choose_target(self) -> None:
        """Show the target's texts, and give the path the suffix of what it writes."""
        target = self._chosen()
        text = tr(
            "{summary}{summary_2}. Loaded by {loaded_by}.",
            summary=target.summary[:1].upper(),
            summary_2=target.summary[1:],
            loaded_by=target.loaded_by,
        )
        self._help.setText(text.replace("`", ""))
        self._place.setText(tr("File") if target.suffix else tr("Folder"))
        path = Path(self._folder.text())
        for suffix in {each.suffix for each in targets() if each.suffix}:
            path = path.with_name(path.name.removesuffix(suffix))
        self._folder.setText(f"{path}{target.suffix}")
        self._check()

    def _check(self) -> None:
        path, target = Path(self.folder), self._chosen()
        filled = path.exists() and (bool(target.suffix) or not path.is_dir() or any(path.iterdir()))
        problem = target.problem
        if not problem and target.suffix and path.suffix.lower() != target.suffix:
            problem = tr("The file's name must end in {suffix}.", suffix=target.suffix)
        elif not problem and filled:
            problem = tr("There is something at this place already; choose another name.")
        elif not problem and not path.parent.is_dir():
            problem = tr("There is no folder {parent}.", parent=path.parent)
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(not problem and bool(self._folder.text()))
