"""Several things wrong with one checkpoint, told together."""

from __future__ import annotations

from collections.abc import Sequence

from benchvise.core.errors import CheckpointError

SHOWN = 5


def checkpoint_error(problems: Sequence[str], *, where: str, remedy: str) -> CheckpointError:
    """One error that lists the first problems and counts the rest. `problems` is not empty."""
    shown = "; ".join(problems[:SHOWN])
    rest = len(problems) - SHOWN
    return CheckpointError(f"{shown}; and {rest} more" if rest > 0 else shown, where=where, remedy=remedy)
