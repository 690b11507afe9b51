from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QLabel, QVBoxLayout, QWidget

from benchvise.app.widgets.field_editors import (
    MIXED,
    BooleanEditor,
    ChoiceEditor,
    IntegerEditor,
    NumberEditor,
    SuggestedEditor,
    TextEditor,
)
from benchvise.app.widgets.settings_form import SettingsForm
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.registry import SCHEMES, SOLVERS, TRANSFORMS
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from benchvise.core.settings import settings_of


@pytest.fixture
def form(qtbot):
    made = SettingsForm()
    qtbot.addWidget(made)
    made.heard = []
    made.edited.connect(lambda name, value: made.heard.append((name, value)))
    return made


@pytest.mark.parametrize(
    "kind", [*SCHEMES.values(), *SOLVERS.values(), *TRANSFORMS.values(), Activations, Calibration, Polish]
)
def test_every_method_gets_a_form(form, kind):
    form.show_instances([kind()])
    assert set(form.editors) == {declared.name for declared in settings_of(kind)}
    assert form.heard == []


@pytest.mark.parametrize("kind", [*SCHEMES.values(), *SOLVERS.values()], ids=lambda kind: kind.key)
def test_every_row_has_its_height_where_rows_wrap(qtbot, kind):
    panel = QWidget()
    qtbot.addWidget(panel)
    column = QVBoxLayout(panel)
    narrow = SettingsForm()
    column.addWidget(narrow)
    column.addStretch(1)
    narrow.show_instances([kind()])
    panel.resize(260, 2000)
    panel.show()
    qtbot.waitExposed(panel)
    for name in narrow.shown_fields:
        editor = narrow.editors[name]
        assert editor.height() >= editor.minimumSizeHint().height(), name


def test_fields_come_and_go_with_what_applies(form):
    form.show_instances([Integer(granularity="group")])
    assert "group_size" in form.shown_fields
    form.show_instances([Integer(granularity="channel")])
    assert "group_size" not in form.shown_fields
    form.show_instances([Nearest(clip_search=True)], ())
    assert form.shown_fields == ()
    form.show_instances([Nearest(clip_search=True)], ("scale",))
    assert "clip_steps" in form.shown_fields


def test_kinds_of_editors(form):
    form.show_instances([Integer()])
    assert isinstance(form.editors["bits"], IntegerEditor)
    assert isinstance(form.editors["symmetric"], BooleanEditor)
    assert isinstance(form.editors["granularity"], ChoiceEditor)
    assert isinstance(form.editors["group_size"], SuggestedEditor)
    form.show_instances([Sparse()])
    assert isinstance(form.editors["fraction"], NumberEditor)


def test_mixed_values_are_said_and_one_edit_ends_them(form):
    one = Integer()
    form.show_instances([one, replace(one, bits=8, symmetric=False, granularity="channel", group_size=64)])
    assert form.editors["bits"].box.text() == MIXED
    assert form.editors["symmetric"].box.checkState() == Qt.CheckState.PartiallyChecked
    assert form.editors["granularity"].combo.currentIndex() == -1
    assert form.editors["group_size"].combo.currentText() == ""
    assert form.heard == []
    form.editors["bits"].box.setValue(5)
    form.editors["symmetric"].box.click()
    assert form.heard == [("bits", 5), ("symmetric", True)]


def test_slider_and_box_go_together(form):
    form.show_instances([Sparse(fraction=0.5)])
    editor = form.editors["fraction"]
    editor.slider.setValue(700)
    assert editor.box.value() == pytest.approx(0.7)
    assert form.heard == [("fraction", 0.7)]
    form.show_instances([Integer()])
    form.editors["bits"].slider.setValue(6)
    assert form.editors["bits"].box.value() == 6


def test_what_is_typed_is_kept_within_bounds(form):
    form.show_instances([Integer()])
    editor = form.editors["group_size"]
    editor.combo.setCurrentText("1")
    editor.combo.lineEdit().editingFinished.emit()
    assert form.heard == [("group_size", 2)]
    editor.combo.setCurrentText("many")
    editor.combo.lineEdit().editingFinished.emit()
    assert editor.combo.currentText() == "2"


def test_labels_carry_title_and_help(form):
    form.show_instances([Integer()])
    labels = {label.text(): label.toolTip() for label in form.findChildren(QLabel)}
    assert labels["Bits"].startswith("Bits per code")
    assert "Group size (weights)" in labels


def test_numbers_far_apart_are_on_a_logarithmic_slider(form):
    form.show_instances([Polish()])
    editor = form.editors["learning_rate"]
    assert editor.box.text() == "0.001"
    assert editor.slider.value() == pytest.approx(625, abs=1)  # 1e-8 to 1: 1e-3 stands at five eighths
    editor.slider.setValue(750)
    assert form.heard == [("learning_rate", 0.01)]
    editor.box.lineEdit().setText("3e-05")
    editor.box.interpretText()
    assert form.heard[-1] == ("learning_rate", 3e-5)
    form.show_instances([Polish(), Polish(learning_rate=0.5)])
    assert editor.box.text() == MIXED


def test_a_slider_stays_within_bounds(form):
    form.show_instances([Activations(mode="static", observer="moving_average")])
    form.editors["momentum"].slider.setValue(1000)
    assert form.heard == [("momentum", 0.999)]


def test_what_hangs_on_something_idle_is_not_shown(form):
    form.show_instances([Activations(mode="dynamic", observer="percentile")])
    assert form.shown_fields == ("format", "mode")
    form.show_instances([Activations(mode="static", observer="percentile")])
    assert form.shown_fields == ("format", "mode", "observer", "percentile")


def test_a_text_that_names_a_file_can_be_chosen(form, monkeypatch):
    form.show_instances([Calibration()])
    editor = form.editors["text"]
    assert isinstance(editor, TextEditor)
    assert editor.line.placeholderText() == "shipped text"
    asked = []

    def choose(*words):
        asked.append(words)
        return "/texts/mine.jsonl", ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", choose)
    editor.browse.click()
    assert "*.txt *.jsonl" in asked[0][-1]
    assert form.heard == [("text", "/texts/mine.jsonl")]
    editor.line.setText(" other.txt ")
    editor.line.editingFinished.emit()
    editor.line.editingFinished.emit()
    assert form.heard[1:] == [("text", "other.txt")]
    form.show_instances([Calibration("a.txt"), Calibration("b.txt")])
    assert (editor.line.text(), editor.line.placeholderText()) == ("", MIXED)


def test_the_wheel_changes_nothing_without_the_focus(form, qtbot):
    form.show_instances([Integer()])
    form.show()
    qtbot.waitExposed(form)
    form.setFocus()
    for inner in (
        form.editors["bits"].box,
        form.editors["bits"].slider,
        form.editors["granularity"].combo,
        form.editors["group_size"].combo,
    ):
        at = QPointF(inner.rect().center())
        turned = QWheelEvent(
            at,
            inner.mapToGlobal(at),
            QPoint(),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(inner, turned)
    assert form.heard == []
    assert form.editors["group_size"].combo.currentText() == "128"


def test_a_number_near_one_end_of_its_range_is_chosen_or_typed(form):
    form.show_instances([ErrorFeedback()])
    editor = form.editors["damping"]
    assert isinstance(editor, SuggestedEditor)
    assert editor.combo.currentText() == "0.01"
    editor.combo.setCurrentText("0.005")
    editor.combo.lineEdit().editingFinished.emit()
    assert form.heard == [("damping", 0.005)]
