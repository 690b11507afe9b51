import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMainWindow, QPushButton

from benchvise.app.__main__ import opens_window
from benchvise.app.compare.evaluate_dialog import EvaluateDialog
from benchvise.app.compare.export_dialog import ExportDialog
from benchvise.app.jobs.error_card import MAX_CARDS, CardStack
from benchvise.app.jobs.log_model import LogModel
from benchvise.app.shell.command_palette import CommandPalette, rank
from benchvise.app.shell.shortcuts import shortcut_lines
from benchvise.app.state.preferences import MAX_RECENT, Preferences
from benchvise.app.state.problems import Problem
from benchvise.app.theme.appearance import apply_theme
from benchvise.app.theme.theme import DARK, LIGHT
from benchvise.app.widgets.command import Command, Commands


@pytest.mark.parametrize(
    ("arguments", "window"),
    [
        ([], True),
        (["--theme", "dark"], True),
        (["--workspace=/tmp/w"], True),
        (["./plan"], True),
        (["model.safetensors"], True),
        (["/models/llama"], True),
        (["plan", "/models/llama"], False),
        (["histogran", "x"], False),
        (["--help"], False),
        (["--version"], False),
    ],
)
def test_what_opens_the_window(arguments, window):
    assert opens_window(arguments) is window


def relative_luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("ink", ["text", "muted", "error", "warning", "good", "accent"])
@pytest.mark.parametrize("ground", ["window", "panel"])
def test_text_can_be_read(theme, ink, ground):
    """Contrast of 4.5 to 1: WCAG 2.2, success criterion 1.4.3."""
    light, dark = sorted((relative_luminance(getattr(theme, name)) for name in (ink, ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_recent_files_are_bounded_newest_first(tmp_path):
    preferences = Preferences(tmp_path / "p.ini")
    for number in range(MAX_RECENT + 3):
        preferences.add_recent(f"/models/{number}")
    preferences.add_recent("/models/9")
    assert preferences.recent[0] == "/models/9"
    assert len(preferences.recent) == MAX_RECENT
    assert len(set(preferences.recent)) == MAX_RECENT
    preferences.clear_recent()
    assert preferences.recent == ()


def test_log_is_bounded(qapp, qtmodeltester):
    model = LogModel(qapp, most=100)
    for number in range(250):
        model.add(f"line {number}")
    assert model.rowCount() <= 100
    assert model.index(model.rowCount() - 1, 0).data().endswith("line 249")
    qtmodeltester.check(model)


@pytest.fixture
def window(qtbot):
    made = QMainWindow()
    qtbot.addWidget(made)
    made.resize(900, 600)
    made.show()
    return made


def test_palette_finds_and_runs(window, qtbot):
    ran = []
    commands = Commands(window)
    commands.add(
        (
            Command("run", "Run", lambda: ran.append("run"), "Ctrl+R"),
            Command("redo", "Redo", lambda: ran.append("redo"), enabled=lambda: False),
            Command("measure", "Measure sensitivity", lambda: ran.append("measure")),
        )
    )
    palette = CommandPalette(commands, window)
    palette.open()
    assert palette.list.count() == 2
    qtbot.keyClicks(palette.line, "sens")
    assert palette.list.currentItem().text() == "Measure sensitivity"
    assert not palette.list.currentItem().icon().isNull()
    assert palette.list.height() <= palette.list.sizeHintForRow(0) + 4
    assert palette.height() < 120
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert ran == ["measure"]
    assert shortcut_lines(commands) == [("Ctrl+R", "Run")]


def test_palette_ranks_whole_words_before_scattered_letters():
    assert rank("exp", "Export …") < rank("exp", "Examine plots")
    assert rank("zzz", "Export …") is None


def test_two_commands_of_one_name_are_refused(window):
    commands = Commands(window)
    with pytest.raises(ValueError, match="two commands"):
        commands.add((Command("a", "A", print), Command("a", "B", print)))


def test_cards_stack_at_the_lower_right(window):
    stack = CardStack(window)
    for number in range(MAX_CARDS + 2):
        stack.show(Problem(f"Problem {number}", "somewhere", "Do this", "Traceback …"))
    assert len(stack.cards) == MAX_CARDS
    for card in stack.cards:
        assert window.rect().contains(card.geometry())
    lower, upper = stack.cards[-1], stack.cards[-2]
    assert lower.geometry().top() > upper.geometry().bottom()
    assert {button.text() for button in lower.findChildren(QPushButton)} == {"Details", "Copy"}
    assert stack.dismiss_newest()
    assert len(stack.cards) == MAX_CARDS - 1


def test_the_same_problem_is_not_carded_twice(window):
    stack = CardStack(window)
    for _ in range(2):
        stack.show(Problem("The disk is full", "/out"))
    assert len(stack.cards) == 1


def test_export_goes_only_to_a_free_place(qtbot, tmp_path):
    dialog = ExportDialog(None, str(tmp_path))
    qtbot.addWidget(dialog)
    ok = dialog._buttons.button(dialog._buttons.StandardButton.Ok)
    assert ok.isEnabled()
    assert dialog.folder == str(tmp_path / "export")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "file").touch()
    dialog._check()
    assert not ok.isEnabled()
    dialog._folder.setText(str(tmp_path / "missing" / "x"))
    assert not ok.isEnabled()


def test_evaluate_takes_the_shipped_text_or_a_file(qtbot, tmp_path):
    dialog = EvaluateDialog("/models/tiny", "r1")
    qtbot.addWidget(dialog)
    ok = dialog._buttons.button(dialog._buttons.StandardButton.Ok)
    assert ok.isEnabled()
    assert dialog.text_path == ""
    dialog.own.setChecked(True)
    assert not ok.isEnabled()
    text = tmp_path / "t.txt"
    text.write_text("Once upon a time")
    dialog.file.setText(str(text))
    assert ok.isEnabled()
    assert dialog.text_path == str(text)


def test_return_evaluates_and_the_buttons_carry_no_icons(qtbot, qapp):
    apply_theme(qapp, "dark")
    dialog = EvaluateDialog("/models/tiny", "r1")
    qtbot.addWidget(dialog)
    dialog.show()
    assert all(button.icon().isNull() for button in dialog._buttons.buttons())
    with qtbot.waitSignal(dialog.accepted):
        qtbot.keyClick(dialog.shipped, Qt.Key.Key_Return)
    apply_theme(qapp, "light")
