"""The start page: open, recent, the sample, or drop something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from benchvise.app.state.preferences import Preferences
from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme, theme_notifier

_PATH = int(Qt.ItemDataRole.UserRole)
_PATH_WIDTH = 480


class StartPage(QWidget):
    """Shown while no checkpoint is open."""

    def __init__(
        self,
        preferences: Preferences,
        *,
        open_path: Callable[[str], object],
        choose_folder: Callable[[], object],
        choose_file: Callable[[], object],
        open_sample: Callable[[], object],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._preferences = preferences
        self.setProperty("surface", "panel")
        self._picture = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        title = QLabel("Squeeze a model checkpoint", alignment=Qt.AlignmentFlag.AlignCenter)
        title.setFont(scaled(self.font(), 1.7, bold=True))
        self.said = QLabel(alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True)
        self.said.setProperty("tone", "muted")
        self.folder_button = QPushButton("Open folder …")
        self.folder_button.setProperty("primary", "true")
        self.file_button = QPushButton("Open file …")
        self.sample_button = QPushButton("Open the sample model")
        self.folder_button.clicked.connect(choose_folder)
        self.file_button.clicked.connect(choose_file)
        self.sample_button.clicked.connect(open_sample)
        buttons = QHBoxLayout()
        buttons.setSpacing(UNIT)
        buttons.addStretch(1)
        for button in (self.folder_button, self.file_button, self.sample_button):
            buttons.addWidget(button)
        buttons.addStretch(1)
        self.recent = QListWidget()
        self.recent.setAccessibleName("Recent checkpoints")
        self.recent.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.recent.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.recent.itemActivated.connect(lambda item: open_path(item.data(_PATH)))
        self.recent.itemClicked.connect(lambda item: open_path(item.data(_PATH)))
        self._recent_title = QLabel("Recent")
        self._recent_title.setProperty("tone", "muted")
        middle = QFrame()
        middle.setMaximumWidth(640)
        column = QVBoxLayout(middle)
        column.setSpacing(UNIT)
        column.addStretch(2)
        for widget in (self._picture, title, self.said):
            column.addWidget(widget)
        column.addSpacing(UNIT)
        column.addLayout(buttons)
        column.addSpacing(2 * UNIT)
        column.addWidget(self._recent_title)
        column.addWidget(self.recent, 3)
        column.addStretch(2)
        outer = QHBoxLayout(self)
        outer.addStretch(1)
        outer.addWidget(middle, 8)
        outer.addStretch(1)
        preferences.recent_changed.connect(self.refresh)
        theme_notifier().changed.connect(self.refresh)
        self.show_opening("")
        self.refresh()

    def show_opening(self, path: str) -> None:
        """Say what is being opened; "" for nothing."""
        hint = (
            "Drop a Hugging Face folder or a .safetensors, .bin, .pt or .pth file anywhere on this window. "
            "Only headers are read; pickled code is never run."
        )
        shown = self.said.fontMetrics().elidedText(path, Qt.TextElideMode.ElideMiddle, _PATH_WIDTH)
        self.said.setText(f"Opening {shown} …" if path else hint)
        for button in (self.folder_button, self.file_button, self.sample_button):
            button.setEnabled(not path)

    def refresh(self) -> None:
        theme = current_theme()
        self._picture.setPixmap(icon("mdi6.package-variant-closed", theme.accent).pixmap(56, 56))
        self.recent.clear()
        for path in self._preferences.recent:
            kind = "mdi6.folder-outline" if Path(path).is_dir() else "mdi6.file-outline"
            item = QListWidgetItem(icon(kind, theme.muted), path)
            item.setData(_PATH, path)
            item.setToolTip(path)
            self.recent.addItem(item)
        known = bool(self._preferences.recent)
        self.recent.setVisible(known)
        self._recent_title.setVisible(known)
