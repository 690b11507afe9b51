"""The command line: the same jobs as the window's, without one."""

from __future__ import annotations

from benchvise.app.cli.commands import COMMANDS
from benchvise.app.cli.entry import main

__all__ = ["COMMANDS", "main"]
