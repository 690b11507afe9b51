"""What the window knows is kept apart from how it looks."""

from pathlib import Path

import pytest

APP = Path(__file__).parents[3] / "app"


@pytest.mark.parametrize("room", ["state", "text", "engine"])
def test_state_text_and_engine_have_no_widgets(room):
    files = list((APP / room).glob("*.py"))
    assert files
    assert not [path.name for path in files if "QtWidgets" in path.read_text("utf-8")]
