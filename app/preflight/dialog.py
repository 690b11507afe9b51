"""The pre-flight check as one panel: what blocks, what warns, what to know, and buttons that fix it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from benchvise.app.preflight.finding_card import LEVELS, FindingCard, level_icon
from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.app.widgets.flow import FlowLayout
from benchvise.app.widgets.labels import wrapped
from benchvise.app.widgets.section import Section
from benchvise.core.export.targets.registry import AUTO, AUTO_TITLE, targets
from benchvise.core.language import message, tr
from benchvise.core.preflight.resources import NOT_FORECAST
from benchvise.core.preflight.runtimes import RUNTIMES
from benchvise.core.protocol.results import Checked, Finding, Fix
from benchvise.core.text import plural

SIZE = (680, 640)
_RUNTIMES = (("", message("Any runtime")), *((runtime.key, runtime.title) for runtime in RUNTIMES.values()))
_FOLDED = ("fine",)
_MARK = 28


def _target_choices() -> tuple[tuple[str, str], ...]:
    """(key, title) of every export target, read when the dialog opens: packages may have brought some."""
    return ((AUTO, tr(AUTO_TITLE)), *((target.key, tr(target.title)) for target in targets()))


class PreflightDialog(QDialog):
    """Shows one check after the other.

    changed: another runtime or export target was chosen. fixed: the fix whose button was pressed.
    forecast: how long it takes, and how much memory, is to be found out.
    """

    changed = Signal()
    forecast = Signal()
    fixed = Signal(object)

    def __init__(self, runtime: str, target: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Pre-flight check"))
        self.resize(*SIZE)
        self.setMinimumSize(320, 280)
        self.cards: list[FindingCard] = []
        self._folded: dict[str, bool] = {}
        self._sections: dict[str, Section] = {}
        self._mark = QLabel()
        self.verdict = wrapped()
        self.verdict.setFont(scaled(self.verdict.font(), 1.25, bold=True))
        self.about = ElidedLabel()
        self.about.setProperty("tone", "muted")
        self.runtime = _chooser(
            [(key, tr(title)) for key, title in _RUNTIMES], runtime, tr("Runtime that is to load the result")
        )
        self.target = _chooser(_target_choices(), target, tr("How the result will be exported"))
        self._busy = QProgressBar()
        self._busy.setRange(0, 0)
        self._busy.setTextVisible(False)
        self._list = QScrollArea(widgetResizable=True)
        self._list.setStyleSheet("QScrollArea, QScrollArea > QWidget > QWidget { background: transparent; }")
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.run_button = QPushButton(tr("Run"))
        self.run_button.setProperty("primary", "true")
        self.run_button.setDefault(True)
        self.buttons.addButton(self.run_button, QDialogButtonBox.ButtonRole.AcceptRole)
        self.forecast_button = QPushButton(tr("Forecast"))
        self.forecast_button.setAutoDefault(False)
        self.forecast_button.setToolTip(tr("Try out how long the job takes, and how much memory"))
        self.forecast_button.clicked.connect(self.forecast)
        self.forecast_button.hide()
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * UNIT, 2 * UNIT, 2 * UNIT, 2 * UNIT)
        layout.setSpacing(UNIT)
        layout.addLayout(self._heading())
        layout.addLayout(self._choices())
        layout.addWidget(self._busy)
        layout.addWidget(self._list, 1)
        row = QHBoxLayout()
        row.addWidget(self.forecast_button)
        row.addWidget(self.buttons, 1)
        layout.addLayout(row)
        for chooser in (self.runtime, self.target):
            chooser.activated.connect(lambda _: self.changed.emit())
        self.show_waiting()

    @property
    def chosen_runtime(self) -> str:
        return str(self.runtime.currentData())

    @property
    def chosen_target(self) -> str:
        return str(self.target.currentData())

    def choose_target(self, target: str) -> None:
        self.target.setCurrentIndex(self.target.findData(target))

    def show_waiting(self, words: str = tr("Checking …")) -> None:
        """A check is under way; what the last one found stays until then."""
        self._busy.show()
        self.run_button.setEnabled(False)
        self.forecast_button.setEnabled(False)
        self.verdict.setText(words)
        self._mark.clear()
        for card in self.cards:
            for button in card.buttons:
                button.setEnabled(False)

    def show_checked(self, checked: Checked, about: str) -> None:
        """List what was found."""
        self._busy.hide()
        self.about.setText(about)
        level, words = _verdict(checked)
        self.verdict.setText(words)
        self._mark.setPixmap(level_icon(level).pixmap(_MARK, _MARK))
        self.forecast_button.setEnabled(True)
        self.forecast_button.setVisible(any(finding.kind in NOT_FORECAST for finding in checked.findings))
        self.run_button.setEnabled(checked.may_run)
        self.run_button.setText(
            tr("Run") if level in ("tells", "fine") else tr("Run anyway") if checked.may_run else tr("Run")
        )
        self._fill(checked.findings)
        (self.run_button if checked.may_run else self.runtime).setFocus()

    def _heading(self) -> QHBoxLayout:
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self.verdict)
        words.addWidget(self.about)
        row = QHBoxLayout()
        row.setSpacing(UNIT)
        row.addWidget(self._mark, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        return row

    def _choices(self) -> FlowLayout:
        flow = FlowLayout(spacing=2 * UNIT)
        for title, chooser in ((tr("&For"), self.runtime), (tr("&Export"), self.target)):
            pair = QWidget()
            row = QHBoxLayout(pair)
            row.setContentsMargins(0, 0, 0, 0)
            label = QLabel(title)
            label.setBuddy(chooser)
            row.addWidget(label)
            row.addWidget(chooser)
            flow.addWidget(pair)
        return flow

    def _fill(self, findings: Sequence[Finding]) -> None:
        self._folded |= {level: not section.button.isChecked() for level, section in self._sections.items()}
        self.cards, self._sections = [], {}
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, UNIT, 0)
        column.setSpacing(UNIT)
        for level, (title, _, _) in LEVELS.items():
            of_level = [finding for finding in findings if finding.level == level]
            if of_level:
                column.addWidget(self._section(level, f"{title} ({len(of_level)})", of_level))
        column.addStretch(1)
        self._list.setWidget(content)

    def _section(self, level: str, title: str, findings: Sequence[Finding]) -> Section:
        group = QFrame()
        column = QVBoxLayout(group)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(UNIT)
        for finding in findings:
            card = FindingCard(finding)
            card.fixed.connect(lambda number, fixes=finding.fixes: self._fix(fixes, number))
            self.cards.append(card)
            column.addWidget(card)
        section = Section(title, group, open_=not self._folded.get(level, level in _FOLDED))
        section.button.setIcon(level_icon(level))
        self._sections[level] = section
        return section

    def _fix(self, fixes: Sequence[Fix], number: int) -> None:
        self.fixed.emit(fixes[number])


def _chooser(choices: Sequence[tuple[str, str]], chosen: str, name: str) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(name)
    box.setToolTip(name)
    for key, title in choices:
        box.addItem(title, key)
    box.setCurrentIndex(box.findData(chosen))
    return box


def _verdict(checked: Checked) -> tuple[str, str]:
    """The gravest level, and what follows from it."""
    counts = {level: sum(finding.level == level for finding in checked.findings) for level in LEVELS}
    if not checked.may_run:
        return "blocks", tr("This cannot run yet")
    if not checked.loads:
        name = dict(_RUNTIMES).get(checked.runtime, checked.runtime)
        return "blocks", tr("It can run, but {name} would not load the result", name=name)
    if counts["warns"]:
        return "warns", tr("Ready, with {warnings}", warnings=plural(counts["warns"], "warning"))
    return "fine", tr("Ready to run")
