"""The start page: three ways to begin, recent checkpoints, the sample, or drop something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from benchvise.app.state.preferences import Preferences
from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme, theme_notifier
from benchvise.app.widgets.flow import FlowLayout
from benchvise.core.language import message, tr
from benchvise.core.preflight.runtimes import RUNTIMES
from benchvise.core.protocol.budget import MEMORY, Budget

_PATH = int(Qt.ItemDataRole.UserRole)
_WIDEST = 1040
_CARD_HEIGHT = 236
_LOOKS = (
    message("Sizes, types and shapes of every tensor"),
    message("Histograms, heat maps, channels"),
    message("Try a treatment on one layer"),
)


@dataclass(frozen=True)
class Purpose:
    """What a person wants of the next checkpoint: to fit it into a budget, to make it for a runtime, or to look."""

    budget: Budget | None = None
    runtime: str | None = None


@dataclass(frozen=True)
class Choosers:
    """How a checkpoint is chosen. folder, file: ask for a path, "" for none; sample: the one that is shipped."""

    folder: Callable[[], str]
    file: Callable[[], str]
    sample: Callable[[], str]


class _Gigabytes(QDoubleSpinBox):
    """As many digits as there are."""

    def textFromValue(self, value: float) -> str:
        return f"{value:g}"


class StartPage(QWidget):
    """Shown while no checkpoint is open. begin: opens a path for a purpose."""

    def __init__(self, preferences: Preferences, choosers: Choosers, begin: Callable[[str, Purpose], object]) -> None:
        super().__init__()
        self._preferences = preferences
        self._choosers = choosers
        self._begin = begin
        self._pictures: list[tuple[QLabel, str]] = []
        self._choose_buttons: list[QPushButton] = []
        heading = QLabel(tr("What do you want to do?"))
        heading.setFont(scaled(self.font(), 1.6, bold=True))
        self.said = QLabel(wordWrap=True)
        self.said.setProperty("tone", "muted")
        cards = QHBoxLayout()
        cards.setSpacing(2 * UNIT)
        for card in (self._fit_card(), self._runtime_card(), self._look_card()):
            cards.addWidget(card, 1)
        middle = QFrame()
        middle.setMaximumWidth(_WIDEST)
        column = QVBoxLayout(middle)
        column.setSpacing(UNIT)
        column.addStretch(1)
        column.addWidget(heading)
        column.addWidget(self.said)
        column.addSpacing(UNIT)
        column.addLayout(cards)
        column.addSpacing(3 * UNIT)
        column.addLayout(self._below(), 1)
        column.addStretch(1)
        page = QWidget()
        outer = QHBoxLayout(page)
        outer.addStretch(1)
        outer.addWidget(middle, 100)
        outer.addStretch(1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setStyleSheet("QScrollArea, QScrollArea > QWidget > QWidget { background: transparent; }")
        scroll.setWidget(page)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(scroll)
        preferences.recent_changed.connect(self.refresh)
        theme_notifier().changed.connect(self.refresh)
        self.show_opening("")
        self.refresh()

    def show_opening(self, path: str) -> None:
        """Say what is being opened; "" for nothing."""
        hint = tr(
            "Each way asks for a model next. Nothing is written to the model you open; only headers are read first."
        )
        self.said.setText(tr("Opening {name} …", name=Path(path).name or path) if path else hint)
        for button in (*self._choose_buttons, self.sample_button):
            button.setEnabled(not path)

    # The three ways -------------------------------------------------------------------------------------------------

    def _fit_card(self) -> QWidget:
        whole = psutil.virtual_memory().total / 1e9
        self.gigabytes = _Gigabytes()
        self.gigabytes.setRange(0.0001, 9999.0)
        self.gigabytes.setDecimals(4)
        self.gigabytes.setValue(max(1, round(whole / 4)))
        self.gigabytes.setSuffix(tr(" GB"))
        self.gigabytes.setAccessibleName(tr("Memory to fit into"))
        self.tokens = QSpinBox()
        self.tokens.setRange(1, 10_000_000)
        self.tokens.setSingleStep(1024)
        self.tokens.setValue(4096)
        self.tokens.setSuffix(tr(" tokens"))
        self.tokens.setAccessibleName(tr("Length of the context"))
        form = QVBoxLayout()
        form.setSpacing(UNIT)
        form.addLayout(_line(tr("Fit into"), self.gigabytes, tr("of {whole:.0f} GB here", whole=whole)))
        form.addLayout(_line(tr("at"), self.tokens, tr("of context")))
        form.addWidget(QLabel(tr("Then choose: smaller or better.")))
        form.setContentsMargins(0, 0, 0, 0)
        content = QWidget()
        content.setLayout(form)
        return self._card(
            "mdi6.gauge",
            tr("Fit into memory"),
            tr("As small as needed, as good as possible."),
            content,
            self._fit,
            primary=True,
        )

    def _runtime_card(self) -> QWidget:
        self.runtime_buttons: dict[str, QPushButton] = {}
        content = QWidget()
        flow = FlowLayout(content, spacing=UNIT)
        for runtime in RUNTIMES.values():
            button = QPushButton(runtime.title)
            button.setCheckable(True)
            button.setAutoExclusive(True)
            button.setProperty("role", "choice")
            self.runtime_buttons[runtime.key] = button
            flow.addWidget(button)
        chosen = self._preferences.runtime
        self.runtime_buttons.get(chosen, next(iter(self.runtime_buttons.values()))).setChecked(True)
        about = tr("Pick who will run it; what falls back there is said at once.")
        return self._card("mdi6.chip", tr("For a runtime"), about, content, self._for_runtime)

    def _look_card(self) -> QWidget:
        content = QWidget()
        lines = QVBoxLayout(content)
        lines.setContentsMargins(0, 0, 0, 0)
        for text in _LOOKS:
            lines.addWidget(QLabel(f"✓  {tr(text)}"))
        return self._card("mdi6.eye-outline", tr("Just look"), tr("Open a model, change nothing."), content, Purpose)

    def _fit(self) -> Purpose:
        return Purpose(budget=Budget(MEMORY, self.gigabytes.value() * 1e9, self.tokens.value()))

    def _for_runtime(self) -> Purpose:
        return Purpose(runtime=next(key for key, button in self.runtime_buttons.items() if button.isChecked()))

    def _card(
        self,
        picture: str,
        title: str,
        about: str,
        content: QWidget,
        purpose: Callable[[], Purpose],
        *,
        primary: bool = False,
    ) -> QWidget:
        card = QFrame()
        card.setProperty("surface", "card")
        card.setMinimumHeight(_CARD_HEIGHT)
        card.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        mark = QLabel()
        self._pictures.append((mark, picture))
        name = QLabel(title)
        name.setFont(scaled(self.font(), 1.15, bold=True))
        said = QLabel(about, wordWrap=True)
        said.setProperty("tone", "muted")
        top = QHBoxLayout()
        top.setSpacing(UNIT)
        top.addWidget(mark)
        top.addWidget(name, 1)
        button = QPushButton(tr("Choose a model …"))
        if primary:
            button.setProperty("primary", "true")
        menu = QMenu(button)
        menu.addAction(tr("A folder …"), partial(self._choose, self._choosers.folder, purpose))
        menu.addAction(tr("A file …"), partial(self._choose, self._choosers.file, purpose))
        menu.addAction(tr("The sample model"), partial(self._choose, self._choosers.sample, purpose))
        button.setMenu(menu)
        self._choose_buttons.append(button)
        column = QVBoxLayout(card)
        column.setContentsMargins(16, 12, 16, 12)
        column.setSpacing(UNIT)
        column.addLayout(top)
        column.addWidget(said)
        column.addWidget(content)
        column.addStretch(1)
        column.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        return card

    def _choose(self, chooser: Callable[[], str], purpose: Callable[[], Purpose]) -> None:
        path = chooser()
        if path:
            self._begin(path, purpose())

    # Recent, sample, drop -------------------------------------------------------------------------------------------

    def _below(self) -> QHBoxLayout:
        self.recent = QListWidget()
        self.recent.setAccessibleName(tr("Recent checkpoints"))
        self.recent.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.recent.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.recent.setMinimumHeight(96)
        self.recent.itemActivated.connect(self._open_recent)
        self.recent.itemClicked.connect(self._open_recent)
        self.recent.installEventFilter(self)
        self._recent_title = _heading(tr("Recent"), tr("Enter opens · Del removes from the list"))
        self.sample_button = QPushButton(tr("Open the sample model"))
        self.sample_button.clicked.connect(partial(self._choose, self._choosers.sample, Purpose))
        drop = QLabel(tr("Drop a folder or file anywhere\nHugging Face folder · safetensors · GGUF · bin · pt"))
        drop.setProperty("surface", "drop")
        drop.setAlignment(Qt.AlignmentFlag.AlignCenter)
        drop.setMinimumHeight(72)
        left, right = QVBoxLayout(), QVBoxLayout()
        left.addWidget(self._recent_title)
        left.addWidget(self.recent, 1)
        right.addWidget(_heading(tr("No model at hand?"), ""))
        right.addWidget(self.sample_button)
        right.addWidget(drop)
        right.addStretch(1)
        row = QHBoxLayout()
        row.setSpacing(2 * UNIT)
        row.addLayout(left, 2)
        row.addLayout(right, 1)
        return row

    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        pressed = event.key() if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress else None
        if target is self.recent and pressed == Qt.Key.Key_Delete:
            item = self.recent.currentItem()
            if item is not None:
                self._preferences.remove_recent(str(item.data(_PATH)))
            return True
        return super().eventFilter(target, event)

    def _open_recent(self, item: QListWidgetItem) -> None:
        self._begin(str(item.data(_PATH)), Purpose())

    def refresh(self) -> None:
        """Show the recent checkpoints, and mark those that are gone."""
        theme = current_theme()
        for mark, name in self._pictures:
            mark.setPixmap(icon(name, theme.accent).pixmap(20, 20))
        self.recent.clear()
        for path in self._preferences.recent:
            self.recent.addItem(_recent_item(Path(path), path))
        known = bool(self._preferences.recent)
        self.recent.setVisible(known)
        self._recent_title.setVisible(known)


def _recent_item(place: Path, path: str) -> QListWidgetItem:
    theme = current_theme()
    there = place.exists()
    kind = "mdi6.folder-outline" if place.is_dir() else "mdi6.file-outline"
    text = f"{place.name}   {place.parent}" if there else tr("{name}   is missing", name=place.name)
    item = QListWidgetItem(icon(kind if there else "mdi6.alert-outline", theme.muted if there else theme.warning), text)
    item.setData(_PATH, path)
    item.setToolTip(path)
    return item


def _heading(text: str, hint: str) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    title, said = QLabel(text), QLabel(hint)
    title.setFont(scaled(title.font(), 1.0, bold=True))
    said.setProperty("tone", "muted")
    layout.addWidget(title)
    layout.addStretch(1)
    layout.addWidget(said)
    return row


def _line(before: str, widget: QWidget, after: str) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(UNIT)
    label = QLabel(before)
    label.setBuddy(widget)
    label.setMinimumWidth(52)
    row.addWidget(label)
    row.addWidget(widget)
    row.addWidget(QLabel(after))
    row.addStretch(1)
    return row
