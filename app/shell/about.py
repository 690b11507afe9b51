"""About the program."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from PySide6.QtWidgets import QMessageBox, QWidget

from benchvise.core.language import tr


def program_version() -> str:
    try:
        return version("benchvise")
    except PackageNotFoundError:
        return tr("from its source folder")


def show_about(parent: QWidget) -> None:
    QMessageBox.about(
        parent,
        tr("About Benchvise"),
        tr(
            "<h3>Benchvise {program_version}</h3><p>A desktop workbench that squeezes model "
            "checkpoints: look, choose, compress, compare, export.</p><p>Apache License 2.0. Made "
            "with Qt (PySide6), pyqtgraph, PyTorch and transformers.</p>",
            program_version=program_version(),
        ),
    )
