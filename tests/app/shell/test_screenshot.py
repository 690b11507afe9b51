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


def test_nonsense_budgets_are_said_before_anything_is_opened(tmp_path):
    with pytest.raises(RecipeError, match="budget"):
        take(tmp_path / "picture.png", budget="much")


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(OutputError, match="There is no folder"):
        take(tmp_path / "missing" / "picture.png")
