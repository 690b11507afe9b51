"""`benchvise`: the window, or a job on the command line. Free of Qt at import: the engine's child imports it too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

WINDOW_OPTIONS = ("--in-process", "--workspace", "--theme")
SAMPLE = "--sample"
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")


def opens_window(arguments: Sequence[str]) -> bool:
    """True without a subcommand: nothing, a path, or only options of the window."""
    if not arguments:
        return True
    first = arguments[0]
    if first.startswith("-"):
        return first.split("=")[0] in WINDOW_OPTIONS
    from app.cli.commands import COMMANDS

    return first not in COMMANDS and (Path(first).exists() or Path(first).name != first or first.endswith(SUFFIXES))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the window or a subcommand; the result is the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if SAMPLE in given:
        from app.sample_tour import run_sample

        return run_sample([argument for argument in given if argument != SAMPLE])
    if opens_window(given):
        from app.start import run_window

        return run_window(given)
    from app.cli.entry import main as run_command

    return run_command(given)


if __name__ == "__main__":
    sys.exit(main())
