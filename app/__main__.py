"""`benchvise`: the window, or one of the jobs on the command line. Free of Qt at import: the engine's child imports it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

WINDOW_OPTIONS = ("--in-process", "--workspace", "--theme")


def opens_window(arguments: Sequence[str]) -> bool:
    """True without a subcommand: nothing, a path, or only options of the window."""
    from app.cli import COMMANDS

    if not arguments:
        return True
    first = arguments[0]
    return first.split("=")[0] in WINDOW_OPTIONS or not (first.startswith("-") or first in COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the window or a subcommand; the result is the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if opens_window(given):
        from app.start import run_window

        return run_window(given)
    from app.cli import main as run_command

    return run_command(given)


if __name__ == "__main__":
    sys.exit(main())
