import os
import subprocess
import sys

import pytest

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


def benchvise(*arguments, **extra):
    environment = {name: value for name, value in os.environ.items() if name not in SCREENS} | extra
    command = [sys.executable, "-m", "benchvise", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.parametrize("extra", [{}, {"QT_QPA_PLATFORM": "xcb"}, {"QT_QPA_PLATFORM": "wayland;xcb"}])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a display is always there")
def test_the_window_says_that_there_is_no_display(extra):
    done = benchvise("--theme", "dark", **extra)
    assert done.returncode == 3
    assert "There is no display" in done.stderr
    assert "QT_QPA_PLATFORM=offscreen" in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("--sample", "--help"), ("--theme", "dark", "-h")])
def test_help_is_help_and_names_the_sample(arguments):
    done = benchvise(*arguments)
    assert done.returncode == 0
    assert "--sample" in done.stdout
    assert "compress" in done.stdout
    assert done.stderr == ""
