"""What the toolbar holds beside commands: the runtime that results are made for, and what follows a run."""

from __future__ import annotations

from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QWidget

from benchvise.app.state.session import Session
from benchvise.app.widgets.calm import CalmComboBox
from benchvise.core.language import tr
from benchvise.core.preflight.runtimes import RUNTIMES


class RuntimeChoice(QWidget):
    """For [runtime]: part of the document, remembered between starts."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.box = CalmComboBox()
        self.box.setAccessibleName(tr("Runtime that is to load the result"))
        self.box.setToolTip(
            tr(
                "The runtime that is to load the result\n"
                "The strip below says whether it does, and what falls back there"
            )
        )
        self.box.addItem(tr("Any runtime"), "")
        for runtime in RUNTIMES.values():
            self.box.addItem(tr(runtime.title), runtime.key)
        self.box.setSizeAdjustPolicy(CalmComboBox.SizeAdjustPolicy.AdjustToContents)
        label = QLabel(tr("For"))
        label.setBuddy(self.box)
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 0, 4, 0)
        row.setSpacing(6)
        row.addWidget(label)
        row.addWidget(self.box)
        known = session.preferences.runtime
        session.document.set_runtime(known if known in RUNTIMES else "")
        self.box.activated.connect(lambda _: session.document.set_runtime(str(self.box.currentData())))
        session.document.runtime_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        runtime = self._session.document.runtime
        self.box.setCurrentIndex(self.box.findData(runtime))
        self._session.preferences.runtime = runtime


class MeasureChoice(QCheckBox):
    """Then measure: a finished run is evaluated and timed at once."""

    def __init__(self, session: Session) -> None:
        super().__init__(tr("then measure"))
        self.setToolTip(tr("When the run is finished, evaluate it against the original and time both"))
        self.setChecked(session.preferences.then_measure)
        self.toggled.connect(lambda on: setattr(session.preferences, "then_measure", on))
