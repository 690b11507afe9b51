"""The main job on the sample model: in the window, or on the command line where there is no display."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path


def has_display() -> bool:
    """Whether a window could be shown; a platform chosen with QT_QPA_PLATFORM counts as one."""
    if not sys.platform.startswith("linux"):
        return True
    x11, wayland = bool(os.environ.get("DISPLAY")), bool(os.environ.get("WAYLAND_DISPLAY"))
    platform = os.environ.get("QT_QPA_PLATFORM", "").split(":")[0].split(";")[0]
    if platform == "xcb":
        return x11
    return wayland if platform.startswith("wayland") else bool(platform) or x11 or wayland


def run_sample(arguments: Sequence[str]) -> int:
    """Open the window on the sample, or without a display carry the job out and say so. Returns the exit code."""
    sample = str(files("benchvise.resources") / "sample")
    if has_display():
        from benchvise.app.shell.start import run_window

        return run_window([sample, *arguments])
    sys.stderr.write("There is no display, so Benchvise does on the command line what the window would do.\n")
    return carry_out(sample, Path(tempfile.mkdtemp(prefix="benchvise-sample-")))


def carry_out(sample: str, folder: Path) -> int:
    """Look, measure, plan, compress, judge, time and export; stops at the first command that fails."""
    from benchvise.app.cli.entry import main as run_command

    text = str(Path(sample) / "evaluation.txt")
    packed, dense = str(folder / "int8-channel"), str(folder / "int8-channel-dense")
    workspace = ["--workspace", str(folder / "workspace")]
    steps: tuple[list[str], ...] = (
        ["inspect", sample],
        ["histogram", sample, "model.layers.0.mlp.up_proj", "--bins", "16"],
        ["sensitivity", sample, "--text", text, "--layers", "*mlp.down_proj", *workspace],
        ["plan", sample, "--preset", "int8-channel"],
        ["compress", sample, "--preset", "int8-channel", "--out", packed, *workspace],
        ["evaluate", packed, "--against", sample, "--text", text],
        ["latency", packed, "--against", sample],
        ["export", packed, "--to", "dense", "--out", dense, *workspace],
    )
    for step in steps:
        sys.stderr.write(f"\n$ benchvise {' '.join(step)}\n")
        sys.stderr.flush()
        code = run_command(step)
        sys.stdout.flush()
        if code:
            return code
    sys.stderr.write(f"\nThe compressed checkpoints are in {folder}.\n")
    return 0
