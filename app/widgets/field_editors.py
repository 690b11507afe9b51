"""One editor per kind of setting; each can show "(mixed)"."""

from __future__ import annotations

from abc import abstractmethod
from math import log, log10

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QValidator
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QSlider,
    QSpinBox,
    QToolButton,
    QWidget,
)

from benchvise.app.theme.icons import icon
from benchvise.app.widgets.calm import CalmComboBox, calm
from benchvise.app.widgets.labels import FIELD_WIDTH
from benchvise.core.language import message, tr
from benchvise.core.settings import Setting, Value, indices_text, parse_indices

MIXED = message("(mixed)")
_SLIDER_STEPS = 1000
_WIDEST_SLIDER = 64
_BOX_WIDTH, _SLIDER_HEIGHT = 76, 22
_INT_LIMIT = 2**31 - 1
_DECIMALS = 12
_MIN_SHARE = 0.02
_WIDE_RATIO = 1000.0
"""Ends of a range that are further apart are on a logarithmic slider."""


class FieldEditor(QWidget):
    """Edits one setting. `edited` carries the new value, when the person changed it."""

    edited = Signal(object)

    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.declared = declared
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(8)
        self.setToolTip(tr(declared.help))

    @abstractmethod
    def show_value(self, value: Value | None) -> None:
        """Show a value without reporting it as an edit; None is "(mixed)"."""

    def _named(self, widget: QWidget) -> None:
        widget.setAccessibleName(tr(self.declared.title))
        widget.setAccessibleDescription(tr(self.declared.help))
        self.setFocusProxy(widget)


class ChoiceEditor(FieldEditor):
    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(declared, parent)
        self.combo = CalmComboBox(widest=FIELD_WIDTH)
        self.combo.setPlaceholderText(tr(MIXED))
        for key, title in declared.choices:
            self.combo.addItem(tr(title), key)
        self.combo.activated.connect(lambda index: self.edited.emit(self.combo.itemData(index)))
        self.combo.currentTextChanged.connect(self._tell)
        self.row.addWidget(self.combo, 1)
        self._named(self.combo)

    def show_value(self, value: Value | None) -> None:
        self.combo.setCurrentIndex(-1 if value is None else self.combo.findData(value))

    def _tell(self, text: str) -> None:
        """The whole title, which the box may have to shorten."""
        self.combo.setToolTip("\n".join(part for part in (text, tr(self.declared.help)) if part))


class BooleanEditor(FieldEditor):
    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(declared, parent)
        self.box = QCheckBox()
        self.box.clicked.connect(self._clicked)
        self.row.addWidget(self.box, 1)
        self._named(self.box)

    def show_value(self, value: Value | None) -> None:
        self.box.setTristate(value is None)
        self.box.setText(tr(MIXED) if value is None else "")
        state = Qt.CheckState.PartiallyChecked if value is None else Qt.CheckState(2 * bool(value))
        self.box.setCheckState(state)

    def _clicked(self) -> None:
        value = self.box.checkState() != Qt.CheckState.Unchecked
        self.show_value(value)
        self.edited.emit(value)


class IntegerEditor(FieldEditor):
    """A spin box, with a slider before it when the range is short."""

    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(declared, parent)
        self._least = round(declared.minimum) if declared.minimum is not None else -_INT_LIMIT + 1
        self._most = min(_INT_LIMIT, round(declared.maximum)) if declared.maximum is not None else _INT_LIMIT
        self.slider = calm(QSlider(Qt.Orientation.Horizontal))
        self.slider.setVisible(self._most - self._least <= _WIDEST_SLIDER)
        if self._most - self._least <= _WIDEST_SLIDER:
            self.slider.setRange(self._least, self._most)
            self.slider.setPageStep(1)
            self.slider.setMinimumHeight(_SLIDER_HEIGHT)
            self.slider.valueChanged.connect(self._changed)
            self.row.addWidget(self.slider, 1)
            self.slider.setAccessibleName(tr(declared.title))
        self.box = calm(QSpinBox())
        self.box.setRange(self._least, self._most)
        self.box.setKeyboardTracking(False)
        self.box.valueChanged.connect(self._changed)
        if self.slider.isVisibleTo(self):
            self.box.setFixedWidth(_BOX_WIDTH)
        self.row.addWidget(self.box)
        self._named(self.box)

    def show_value(self, value: Value | None) -> None:
        with QSignalBlocker(self.box), QSignalBlocker(self.slider):
            self.box.setSpecialValueText(tr(MIXED) if value is None else "")
            self.box.setMinimum(self._least - (value is None))
            self.box.setValue(self._least - 1 if value is None else int(_number(value)))
            self.slider.setValue(self._least if value is None else int(_number(value)))

    def _changed(self, value: int) -> None:
        if value >= self._least:
            self.show_value(value)
            self.edited.emit(value)


class SuggestedEditor(FieldEditor):
    """A number that is mostly one of a few: a combo box one can also type into."""

    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(declared, parent)
        self.combo = CalmComboBox()
        self.combo.setEditable(True)
        self.combo.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.combo.addItems([str(value) for value in declared.suggestions])
        line = self.combo.lineEdit()
        assert line is not None
        self._line = line
        line.setPlaceholderText(tr(MIXED))
        line.editingFinished.connect(self._typed)
        self.combo.activated.connect(lambda _: self._typed())
        self.row.addWidget(self.combo, 1)
        self._named(self.combo)
        self._shown = ""

    def show_value(self, value: Value | None) -> None:
        self._shown = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        with QSignalBlocker(self.combo):
            self.combo.setCurrentText(self._shown)

    def _typed(self) -> None:
        text = self.combo.currentText().strip()
        if text == self._shown:
            return
        try:
            value = int(text) if self.declared.kind == "integer" else float(text)
        except ValueError:
            self.combo.setCurrentText(self._shown)
            return
        least, most = self.declared.minimum, self.declared.maximum
        value = max(value, type(value)(least)) if least is not None else value
        value = min(value, type(value)(most)) if most is not None else value
        self.show_value(value)
        self.edited.emit(value)


class SignificantBox(QDoubleSpinBox):
    """Shows the digits that a number has, and no others: 0.5, 0.00001, 99.99."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDecimals(_DECIMALS)
        calm(self)

    def textFromValue(self, value: float) -> str:
        return f"{value:.10g}"

    def valueFromText(self, text: str) -> float:
        value = _as_number(text)
        return self.minimum() if value is None else value

    def validate(self, text: str, place: int) -> tuple[QValidator.State, str, int]:
        states = QValidator.State
        readable = text == self.specialValueText() or _as_number(text) is not None
        return (states.Acceptable if readable else states.Intermediate), text, place


class NumberEditor(FieldEditor):
    """A number, with a slider before it when both ends are known; logarithmic when they are far apart."""

    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(declared, parent)
        self._least = declared.minimum if declared.minimum is not None else -1e9
        self._most = declared.maximum if declared.maximum is not None else 1e9
        self._bounded = declared.minimum is not None and declared.maximum is not None
        self._logarithmic = self._bounded and self._least > 0 and self._most / self._least >= _WIDE_RATIO
        span = self._most - self._least if self._bounded else 0.0
        self._step = _step(_number(declared.default), 0.0 if _is_lopsided(declared) else span)
        self._bounded = self._bounded and not _is_lopsided(declared)
        self.slider = calm(QSlider(Qt.Orientation.Horizontal))
        self.slider.setVisible(self._bounded)
        if self._bounded:
            self.slider.setRange(0, _SLIDER_STEPS)
            self.slider.setPageStep(_SLIDER_STEPS // 20)
            self.slider.setMinimumHeight(_SLIDER_HEIGHT)
            self.slider.valueChanged.connect(self._slid)
            self.slider.setAccessibleName(tr(declared.title))
            self.row.addWidget(self.slider, 1)
        self.box = SignificantBox()
        self.box.setRange(self._least, self._most)
        self.box.setSingleStep(self._step)
        if self._logarithmic:
            self.box.setStepType(SignificantBox.StepType.AdaptiveDecimalStepType)
        self.box.setKeyboardTracking(False)
        self.box.valueChanged.connect(self._changed)
        if self.slider.isVisibleTo(self):
            self.box.setFixedWidth(_BOX_WIDTH)
        self.row.addWidget(self.box)
        self._named(self.box)

    def show_value(self, value: Value | None) -> None:
        with QSignalBlocker(self.box), QSignalBlocker(self.slider):
            mixed = value is None
            self.box.setSpecialValueText(tr(MIXED) if mixed else "")
            self.box.setMinimum(self._least - (self._step if mixed else 0))
            self.box.setValue(self.box.minimum() if value is None else _number(value))
            if self._bounded and value is not None:
                self.slider.setValue(round(self._share_of(_number(value)) * _SLIDER_STEPS))

    def _share_of(self, value: float) -> float:
        """Where a value stands between the ends, 0 to 1."""
        if self._logarithmic:
            return log(max(value, self._least) / self._least) / log(self._most / self._least)
        return (value - self._least) / (self._most - self._least)

    def _slid(self, place: int) -> None:
        share = place / _SLIDER_STEPS
        if self._logarithmic:
            value = float(f"{self._least * (self._most / self._least) ** share:.2g}")
        else:
            value = round((self._least + (self._most - self._least) * share) / self._step) * self._step
        self._changed(max(self._least, min(self._most, value)))

    def _changed(self, value: float) -> None:
        if value >= self._least:
            value = round(value, _DECIMALS)
            self.show_value(value)
            self.edited.emit(value)


class TextEditor(FieldEditor):
    """A line of text, with a button that asks for a file where the text names one."""

    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(declared, parent)
        self.line = QLineEdit(clearButtonEnabled=True)
        self.line.editingFinished.connect(self._typed)
        self.line.textChanged.connect(self._tell)
        self.row.addWidget(self.line, 1)
        self._named(self.line)
        self.browse = QToolButton()
        self.browse.setIcon(icon("mdi6.folder-open-outline"))
        self.browse.setToolTip(tr("Choose a file ({names})", names=", ".join(declared.files)))
        self.browse.setAccessibleName(tr("Choose a file: {title}", title=tr(declared.title)))
        self.browse.setVisible(bool(declared.files))
        self.browse.clicked.connect(self._choose)
        self.row.setSpacing(4)
        if declared.files:
            self.row.addWidget(self.browse)
        self._shown: str | None = ""

    def show_value(self, value: Value | None) -> None:
        self._shown = None if value is None else self._text_of(value)
        self.line.setPlaceholderText(tr(MIXED) if value is None else tr(self.declared.empty))
        with QSignalBlocker(self.line):
            self.line.setText(self._shown or "")
        self._tell(self.line.text())

    def _typed(self) -> None:
        text = self.line.text().strip()
        if text != (self._shown or ""):
            value = self._value_of(text)
            if value is None:
                self.show_value(self._value_of(self._shown or ""))
                return
            self.show_value(value)
            self.edited.emit(value)

    def _text_of(self, value: Value) -> str:
        return str(value)

    def _value_of(self, text: str) -> Value | None:
        """The value that is meant; None for a text that means none, in whose place the last one comes back."""
        return text

    def _choose(self) -> None:
        endings = " ".join(f"*{ending}" for ending in self.declared.files)
        filters = tr("{title} ({endings});;All files (*)", title=tr(self.declared.title), endings=endings)
        path, _ = QFileDialog.getOpenFileName(self, tr(self.declared.title), self.line.text(), filters)
        if path:
            self.line.setText(path)
            self._typed()

    def _tell(self, text: str) -> None:
        """The whole text, which the line may be too short for."""
        self.line.setToolTip("\n".join(part for part in (text, tr(self.declared.help)) if part))


class IndicesEditor(TextEditor):
    """A line that lists whole numbers and ranges of them: "3, 5, 8-11"."""

    def _text_of(self, value: Value) -> str:
        return indices_text(value) if isinstance(value, tuple) else str(value)

    def _value_of(self, text: str) -> Value | None:
        found = parse_indices(text)
        return None if found is None else tuple(sorted(set(found)))


def _number(value: Value) -> int | float:
    """A value that is known to be a number."""
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value


def editor_for(declared: Setting) -> FieldEditor:
    """The editor that fits a setting."""
    if declared.kind == "choice":
        return ChoiceEditor(declared)
    if declared.kind == "boolean":
        return BooleanEditor(declared)
    if declared.kind == "number":
        return SuggestedEditor(declared) if declared.suggestions and _is_lopsided(declared) else NumberEditor(declared)
    if declared.kind == "indices":
        return IndicesEditor(declared)
    if declared.kind == "text":
        return TextEditor(declared)
    return SuggestedEditor(declared) if declared.suggestions else IntegerEditor(declared)


def _is_lopsided(declared: Setting) -> bool:
    """Whether the default stands so near one end of a plain scale that no slider could set values of its size."""
    least, most = declared.minimum, declared.maximum
    if declared.kind != "number" or least is None or most is None or (least > 0 and most / least >= _WIDE_RATIO):
        return False
    return (_number(declared.default) - least) / (most - least) <= _MIN_SHARE


def _step(default: float, span: float) -> float:
    size = span / 100 if span else abs(default) / 10
    return float(10 ** round(log10(size))) if size > 0 else 0.01


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
