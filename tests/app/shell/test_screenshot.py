import os
import subprocess
import sys

import pytest
from PySide6.QtGui import QImage

from benchvise.app.shell.screenshot import take
from benchvise.core.errors import OutputError, RecipeError


def test_the_command_draws_the_real_window(tmp_path):
    out = tmp_path / "picture.png"
    command = [
        sys.executable,
        "-m",
        "benchvise",
        "screenshot",
        str(out),
        "--preset",
        "int8-channel",
        "--budget",
        "5bpw",
        "--run",
        "--scale",
        "1.5",
    ]
    done = subprocess.run([*command, "--size", "1280x800"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    image = QImage(str(out))
    assert (image.width(), image.height()) == (1920, 1200)
    colours = {image.pixel(x, y) for x in range(0, 1920, 7) for y in range(0, 1200, 7)}
    assert len(colours) > 50


STALE = """
from PySide6.QtWidgets import QApplication, QLabel
from benchvise.app.shell.screenshot import on_screen

application = QApplication([])
label = QLabel()
label.setStyleSheet("background: #ff0000")
label.resize(60, 40)
label.show()
for _ in range(20):
    application.processEvents()
label.setUpdatesEnabled(False)
label.setStyleSheet("background: #00ff00")
application.processEvents()
shown, anew = on_screen(label), label.grab().toImage()
print(shown.width(), shown.height(), shown.pixelColor(shown.width() - 2, 2).name(), anew.pixelColor(2, 2).name())
"""


@pytest.mark.parametrize(("scale", "size"), [("1", "60 40"), ("2", "120 80")])
def test_a_picture_shows_what_was_not_repainted_at_every_scale(scale, size):
    environment = os.environ | {"QT_SCALE_FACTOR": scale, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, "-c", STALE], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.strip() == f"{size} #ff0000 #00ff00", done.stderr


def test_nonsense_budgets_are_said_before_anything_is_opened(tmp_path):
    with pytest.raises(RecipeError, match="budget"):
        take(tmp_path / "picture.png", budget="much")


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(OutputError, match="There is no folder"):
        take(tmp_path / "missing" / "picture.png")
