"""`benchvise`: the window, or a job on the command line. Free of Qt at import: the engine's child imports it too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchvise.app.cli.exit_codes import INPUT

WINDOW_OPTIONS = ("--in-process", "--workspace", "--theme")
SAMPLE = "--sample"
HELP = ("-h", "--help")
SUFFIXES = (
    ".safetensors", ".bin", ".pt", ".pth", ".th", ".ckpt", ".pyth", ".tar", ".pkl", ".gguf", ".npz", ".npy", ".onnx",
    ".h5", ".hdf5", ".keras", ".msgpack",
)  # fmt: skip
NO_DISPLAY = (
    "benchvise: There is no display, so the window cannot be shown.\n"
    "  Use a command (`benchvise --help`), or set QT_QPA_PLATFORM=offscreen.\n"
)


def opens_window(arguments: Sequence[str]) -> bool:
    """True without a subcommand: nothing, a path, or only options of the window."""
    if not arguments:
        return True
    first = arguments[0]
    if first.startswith("-"):
        return first.split("=")[0] in WINDOW_OPTIONS
    from benchvise.app.cli.commands import COMMANDS

    return first not in COMMANDS and (
        Path(first).exists() or Path(first).name != first or first.lower().endswith(SUFFIXES)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the window or a subcommand; the result is the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if _asks_for_help(given):
        return _show_help()
    from benchvise.app.cli.sample_tour import has_display, run_sample

    if SAMPLE in given:
        return run_sample([argument for argument in given if argument != SAMPLE])
    if opens_window(given):
        if not has_display():  # Qt would abort the process
            sys.stderr.write(NO_DISPLAY)
            return INPUT
        from benchvise.app.shell.start import run_window

        return run_window(given)
    from benchvise.app.cli.entry import main as run_command

    return run_command(given)


def _asks_for_help(given: Sequence[str]) -> bool:
    """Help on the program as a whole; a command shows its own."""
    return any(option in given for option in HELP) and (SAMPLE in given or opens_window(given) or given[0] in HELP)


def _show_help() -> int:
    from benchvise.app.cli.entry import build_parser

    parser = build_parser()
    window = parser.add_argument_group("window")
    window.add_argument(SAMPLE, action="store_true", help="open the sample model; without a display, a tour in text")
    window.add_argument("--theme", choices=("system", "light", "dark"), help="the look")
    window.add_argument("--workspace", help="folder that keeps runs and measurements")
    window.add_argument("--in-process", action="store_true", help="run the engine without a process of its own")
    parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
