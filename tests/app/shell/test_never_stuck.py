"""What cannot work is not offered, and says why; the keyboard goes only where something is seen."""

from dataclasses import replace

import pytest
from PySide6.QtWidgets import QApplication

from benchvise.app.panel.plot_panel import NO_OUTPUT
from tests.app.shell.test_main_window import filled, finish, window  # noqa: F401 - fixtures


@pytest.mark.parametrize("tab", ["Sensitivity", "Budget"])
def test_what_needs_the_output_says_why_it_cannot_be_had(window, client, document, checkpoint, qtbot, tab):  # noqa: F811
    client.open(document, replace(checkpoint, config={}))
    window.plots.show_title(tab)
    panel = window.plots.panel(tab)
    qtbot.waitUntil(lambda: not panel.shows_content and bool(panel.empty.heading))
    assert panel.empty.button.isHidden()
    assert NO_OUTPUT in panel.empty.accessibleDescription()


def test_tab_goes_only_where_something_is_seen(filled):  # noqa: F811
    filled.activateWindow()
    filled.layers.view.setFocus()
    seen = set()
    for _ in range(80):
        filled.focusNextChild()
        focused = QApplication.focusWidget()
        if focused is None or focused in seen:
            break
        seen.add(focused)
        assert not focused.visibleRegion().isEmpty(), focused
    assert len(seen) > 10
