"""One editor per kind of setting; each can show "(mixed)"."""

from __future__ import annotations

from abc import abstractmethod
from math import log10

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QPaintEvent, QWheelEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QSlider,
    QSpinBox,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QWidget,
)

from core.settings import Setting, Value

MIXED = "(mixed)"
_SLIDER_STEPS = 1000
_WIDEST_SLIDER = 64
_BOX_WIDTH, _SLIDER_HEIGHT = 76, 22
_INT_LIMIT = 2**31 - 1


class FieldEditor(QWidget):
    """Edits one setting. `edited` carries the new value, when the person changed it."""

    edited = Signal(object)

    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.declared = declared
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(8)
        self.setToolTip(declared.help)

    @abstractmethod
    def show_value(self, value: Value | None) -> None:
        """Show a value without reporting it as an edit; None is "(mixed)"."""

    def _named(self, widget: QWidget) -> None:
        widget.setAccessibleName(self.declared.title)
        widget.setAccessibleDescription(self.declared.help)
        self.setFocusProxy(widget)


class ChoiceEditor(FieldEditor):
    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(declared, parent)
        self.combo = CalmComboBox()
        self.combo.setPlaceholderText(MIXED)
        for key, title in declared.choices:
            self.combo.addItem(title, key)
        self.combo.activated.connect(lambda index: self.edited.emit(self.combo.itemData(index)))
        self.combo.currentTextChanged.connect(self._tell)
        self.row.addWidget(self.combo, 1)
        self._named(self.combo)

    def show_value(self, value: Value | None) -> None:
        self.combo.setCurrentIndex(-1 if value is None else self.combo.findData(value))

    def _tell(self, text: str) -> None:
        """The whole title, which the box may have to shorten."""
        self.combo.setToolTip("\n".join(part for part in (text, self.declared.help) if part))


class BooleanEditor(FieldEditor):
    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(declared, parent)
        self.box = QCheckBox()
        self.box.clicked.connect(self._clicked)
        self.row.addWidget(self.box, 1)
        self._named(self.box)

    def show_value(self, value: Value | None) -> None:
        self.box.setTristate(value is None)
        self.box.setText(MIXED if value is None else "")
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
        self.slider = CalmSlider(Qt.Orientation.Horizontal)
        self.slider.setVisible(self._most - self._least <= _WIDEST_SLIDER)
        if self._most - self._least <= _WIDEST_SLIDER:
            self.slider.setRange(self._least, self._most)
            self.slider.setPageStep(1)
            self.slider.setMinimumHeight(_SLIDER_HEIGHT)
            self.slider.valueChanged.connect(self._changed)
            self.row.addWidget(self.slider, 1)
            self.slider.setAccessibleName(declared.title)
        self.box = CalmSpinBox()
        self.box.setRange(self._least, self._most)
        self.box.setKeyboardTracking(False)
        self.box.valueChanged.connect(self._changed)
        if self.slider.isVisibleTo(self):
            self.box.setFixedWidth(_BOX_WIDTH)
        self.row.addWidget(self.box)
        self._named(self.box)

    def show_value(self, value: Value | None) -> None:
        with QSignalBlocker(self.box), QSignalBlocker(self.slider):
            self.box.setSpecialValueText(MIXED if value is None else "")
            self.box.setMinimum(self._least - (value is None))
            self.box.setValue(self._least - 1 if value is None else int(value))
            self.slider.setValue(self._least if value is None else int(value))

    def _changed(self, value: int) -> None:
        if value >= self._least:
            self.show_value(value)
            self.edited.emit(value)


class SuggestedEditor(FieldEditor):
    """A whole number that is mostly one of a few: a combo box one can also type into."""

    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(declared, parent)
        self.combo = CalmComboBox()
        self.combo.setEditable(True)
        self.combo.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.combo.addItems([str(value) for value in declared.suggestions])
        line = self.combo.lineEdit()
        assert line is not None
        self._line = line
        line.setPlaceholderText(MIXED)
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


class NumberEditor(FieldEditor):
    """A spin box, with a slider before it when both ends are known."""

    def __init__(self, declared: Setting, parent: QWidget | None = None) -> None:
        super().__init__(declared, parent)
        self._least = declared.minimum if declared.minimum is not None else -1e9
        self._most = declared.maximum if declared.maximum is not None else 1e9
        self._bounded = declared.minimum is not None and declared.maximum is not None
        self._step = _step(float(declared.default), self._most - self._least if self._bounded else 0.0)
        self.slider = CalmSlider(Qt.Orientation.Horizontal)
        self.slider.setVisible(self._bounded)
        if self._bounded:
            self.slider.setRange(0, _SLIDER_STEPS)
            self.slider.setPageStep(_SLIDER_STEPS // 20)
            self.slider.setMinimumHeight(_SLIDER_HEIGHT)
            self.slider.valueChanged.connect(self._slid)
            self.slider.setAccessibleName(declared.title)
            self.row.addWidget(self.slider, 1)
        self.box = CalmDoubleSpinBox()
        self.box.setDecimals(max(2, 1 - round(log10(self._step))))
        self.box.setRange(self._least, self._most)
        self.box.setSingleStep(self._step)
        self.box.setKeyboardTracking(False)
        self.box.valueChanged.connect(self._changed)
        if self.slider.isVisibleTo(self):
            self.box.setFixedWidth(_BOX_WIDTH)
        self.row.addWidget(self.box)
        self._named(self.box)

    def show_value(self, value: Value | None) -> None:
        with QSignalBlocker(self.box), QSignalBlocker(self.slider):
            mixed = value is None
            self.box.setSpecialValueText(MIXED if mixed else "")
            self.box.setMinimum(self._least - (self._step if mixed else 0))
            self.box.setValue(self.box.minimum() if value is None else float(value))
            if self._bounded and value is not None:
                share = (float(value) - self._least) / (self._most - self._least)
                self.slider.setValue(round(share * _SLIDER_STEPS))

    def _slid(self, place: int) -> None:
        value = self._least + (self._most - self._least) * place / _SLIDER_STEPS
        self._changed(round(value / self._step) * self._step)

    def _changed(self, value: float) -> None:
        if value >= self._least:
            value = round(value, self.box.decimals())
            self.show_value(value)
            self.edited.emit(value)


def editor_for(declared: Setting) -> FieldEditor:
    """The editor that fits a setting."""
    if declared.kind == "choice":
        return ChoiceEditor(declared)
    if declared.kind == "boolean":
        return BooleanEditor(declared)
    if declared.kind == "number":
        return NumberEditor(declared)
    return SuggestedEditor(declared) if declared.suggestions else IntegerEditor(declared)


def _step(default: float, span: float) -> float:
    size = span / 100 if span else abs(default) / 10
    return float(10 ** round(log10(size))) if size > 0 else 0.01


class CalmComboBox(QComboBox):
    """Takes the wheel only when it has the focus: scrolling past must not change a setting. Gives way in width."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)

    def paintEvent(self, event: QPaintEvent) -> None:
        """As Qt draws it, with the text shortened where Qt would cut it in the middle of a word."""
        if self.isEditable() or self.currentIndex() < 0:
            super().paintEvent(event)
            return
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        parts = QStyle.SubControl
        room = (
            self.style()
            .subControlRect(QStyle.ComplexControl.CC_ComboBox, option, parts.SC_ComboBoxEditField, self)
            .width()
        )
        option.currentText = self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideRight, room - 2)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class CalmSlider(QSlider):
    """Like CalmComboBox."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class CalmSpinBox(QSpinBox):
    """Like CalmComboBox."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class CalmDoubleSpinBox(QDoubleSpinBox):
    """Like CalmComboBox."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()
