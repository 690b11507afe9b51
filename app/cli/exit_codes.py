"""What the shell is told."""

from __future__ import annotations

OK = 0
OURS = 1  # a fault of the program
USAGE = 2  # a command line that cannot be understood
INPUT = 3  # a checkpoint, recipe or text that the person can fix
OUTPUT = 4  # a place that cannot be written to
BLOCKED = 5  # `check` found something that blocks the run or the runtime, or `reproduce` other hashes
CANCELLED = 130  # Ctrl+C, as shells count it

SUMMARY = (
    "exit codes: 0 done, 1 a fault of the program, 2 wrong usage, 3 wrong input, 4 output cannot be written, "
    "5 checked and found to be blocked or different, 130 cancelled"
)
