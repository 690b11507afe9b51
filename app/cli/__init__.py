"""The command line: the same jobs as the window's, without one."""

from __future__ import annotations

from app.cli.commands import COMMANDS
from app.cli.entry import main

__all__ = ["COMMANDS", "main"]
