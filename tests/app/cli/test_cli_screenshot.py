from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.cli.cli_runs import SAMPLE, Shell, strict


def test_a_picture_of_the_real_window(tmp_path: Path) -> None:
    picture = tmp_path / "window.png"
    words = ["screenshot", str(picture), str(SAMPLE), "--size", "1200x700", "--theme", "dark", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchvise", *words], capture_output=True, text=True, cwd=SAMPLE.parents[1], timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert strict(done.stdout) == {"out": str(picture)}
    content = picture.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (1200, 700)
    assert len(content) > 20_000


@pytest.mark.parametrize("size", ["1000", "10x10", "axb", "1000x700x3", "99999x700"])
def test_a_size_that_is_none(shell: Shell, size: str) -> None:
    assert "1440x900" in shell.error(2, "screenshot", "x.png", "--size", size)["what"]


def test_a_place_that_is_not_there(shell: Shell, tmp_path: Path) -> None:
    shell.error(4, "screenshot", tmp_path / "missing" / "x.png")


def test_a_size_too_small_for_the_window(tmp_path: Path) -> None:
    words = ["screenshot", str(tmp_path / "window.png"), str(SAMPLE), "--size", "700x500", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchvise", *words], capture_output=True, text=True, cwd=SAMPLE.parents[1], timeout=120
    )
    assert done.returncode == 3
    assert "cannot be 700x500" in strict(done.stdout)["error"]["what"]
    assert not (tmp_path / "window.png").exists()


@pytest.mark.parametrize(("option", "kind"), [("--dock", "panel"), ("--tab", "tab")])
def test_a_panel_that_is_not_there_is_said_before_anything_is_opened(tmp_path: Path, option: str, kind: str) -> None:
    words = ["screenshot", str(tmp_path / "window.png"), "/missing", option, "NONSENSE", "--json"]
    done = subprocess.run([sys.executable, "-m", "benchvise", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    error = strict(done.stdout)["error"]
    assert error["what"] == f"There is no {kind} 'NONSENSE'"
    assert ("Layers" if kind == "panel" else "Histogram") in error["remedy"]
