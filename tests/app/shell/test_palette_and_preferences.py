"""The palette finds everything and says why not; preferences are in place at once, and keys can be changed."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QApplication

from benchvise.app.shell.preferences_dialog import PreferencesDialog
from benchvise.app.shell.window_keeper import WindowKeeper
from benchvise.app.state.preference_values import PreferenceValues
from benchvise.app.state.preferences import Preferences
from benchvise.core.text import byte_text, use_sizes
from tests.app.shell.test_main_window import filled, finish, window  # noqa: F401 - fixtures


def titles(palette):
    return [palette.list.item(row).text().partition("    ")[0] for row in range(palette.list.count())]


def typed(window, qtbot, words):  # noqa: F811
    palette = window.palette_popup
    palette.open()
    qtbot.keyClicks(palette.line, words)
    return palette


FINDS = {
    "int4-g128": "Preset int4-g128",
    "heat": "Tab: Heat map",
    "@ k_proj": "model.layers.0.attn.k_proj",
    "font": "Preferences: Font size",
    "?mem": "Preferences: Memory limit",
    "old-model": "Open old-model",
    "> fit": "Fit …",
}


def test_the_palette_finds_everything_and_does_it(filled, document, qtbot):  # noqa: F811
    filled.session.preferences.add_recent("/models/old-model")
    palette = typed(filled, qtbot, "")
    found = {}
    for words in FINDS:
        palette.line.setText(words)
        found[words] = titles(palette)[0]
    assert found == FINDS
    palette = typed(filled, qtbot, "@o_proj")
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert document.current.name.endswith("o_proj")
    palette = typed(filled, qtbot, "tab: channels")
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert filled.plots.current_title() == "Channels"


def test_what_cannot_be_done_is_shown_with_the_reason(filled, qtbot):  # noqa: F811
    palette = typed(filled, qtbot, "export")
    assert titles(palette)[0] == "Export …"
    assert palette.said.text() == "Run a recipe first, or choose a run under Compare"
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert palette.isVisible()
    palette.line.setText("qqzz")
    assert palette.list.count() == 0
    assert palette.said.text() == "Nothing matches “qqzz”."


def test_keys_are_changed_taken_and_kept(filled, session, qtbot):  # noqa: F811
    dialog = PreferencesDialog(session, filled.commands, lambda: None, filled)
    qtbot.addWidget(dialog)
    editor = dialog.shortcuts
    editor.choose("fit")
    editor.keys.setKeySequence(QKeySequence("Ctrl+R"))
    editor.keys.editingFinished.emit()
    assert filled.commands.keys("fit") == "Ctrl+R"
    assert filled.commands.keys("run") == ""
    assert editor.said.text() == "Ctrl+R now does this; it did: Run"
    assert filled.commands.action("fit").shortcut().toString() == "Ctrl+R"
    assert session.preferences.shortcut("fit") == "Ctrl+R"
    editor.choose("fit")
    editor.reset.click()
    assert filled.commands.keys("fit") == "Ctrl+B"
    assert session.preferences.shortcut("fit") is None


def test_every_choice_has_a_field_and_is_kept(filled, session, qtbot):  # noqa: F811
    dialog = PreferencesDialog(session, filled.commands, lambda: None, filled)
    qtbot.addWidget(dialog)
    assert len(dialog.labels()) == 9
    dialog.form.edited.emit("threads", 3)
    dialog.form.edited.emit("notify", False)
    dialog.form.edited.emit("memory_gb", 12.5)
    assert Preferences().choices == PreferenceValues(threads=3, notify=False, memory_gb=12.5)


def test_a_settings_file_with_nonsense_counts_as_not_chosen(tmp_path):
    file = tmp_path / "settings.ini"
    file.write_text("[General]\nfont_percent=9000\nthreads=many\nlanguage=xx\ntheme=dark\n")
    assert Preferences(file).choices == PreferenceValues(theme="dark")


def test_sizes_and_fonts_are_followed_while_the_window_runs(qtbot, session):
    size = QApplication.font().pointSizeF()
    keeper = WindowKeeper(session)
    keeper.window.show()
    before = keeper.window
    session.preferences.choose(sizes="binary", font_percent=150)
    qtbot.waitUntil(lambda: keeper.window is not before)
    try:
        assert byte_text(3 * 1024**3) == "3.00 GiB"
        assert keeper.window.font().pointSizeF() == pytest.approx(1.5 * size)
    finally:
        session.preferences.choose(sizes="decimal", font_percent=100)
        last = keeper.window
        qtbot.waitUntil(lambda: keeper.window is not last)
        use_sizes(binary=False)
        finish(keeper.window)
        keeper.window.close()
        keeper.window.deleteLater()
    assert byte_text(3e9) == "3.00 GB"
