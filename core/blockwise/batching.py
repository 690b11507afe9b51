"""Windows pushed through in batches that shrink when memory does not hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from benchvise.core.errors import UserError
from benchvise.core.memory import ran_out_of_memory
from benchvise.core.progress import Progress

T = TypeVar("T")

BATCH_TOKENS = 1024
"""Fixed: batches decide the order of sums, and results must not depend on the machine. So many keep what a block
computes in the caches: four times as many took a tenth more time."""


class Batching:
    """How many windows go through at once. Halved for the rest of the job when memory runs out."""

    def __init__(self, window_tokens: int, progress: Progress) -> None:
        self.windows = max(1, BATCH_TOKENS // window_tokens)
        self._progress = progress

    def run(self, windows: int, compute: Callable[[slice], T], take: Callable[[slice, T], None]) -> None:
        """`compute` every slice of the windows in order, and `take` what came of it.

        `compute` is called again with a shorter slice when it ran out of memory, so that it must not change anything.
        Raises UserError when a single window is too large.
        """
        start = 0
        while start < windows:
            self._progress.check_cancelled()
            part = slice(start, min(windows, start + self.windows))
            try:
                found = compute(part)
            except (MemoryError, OSError, RuntimeError) as error:
                if not ran_out_of_memory(error):
                    raise
            else:
                take(part, found)
                start = part.stop
                continue
            self._halve()

    def _halve(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.windows == 1:
            raise _too_large()
        self.windows //= 2
        self._progress.note(
            f"Out of memory: calibration goes on with {self.windows} windows at once (sums may differ in their last "
            "digits from those of a run with enough memory)"
        )


def with_memory(compute: Callable[[], T]) -> T:
    """What `compute` gives for a single window. Raises UserError when memory runs out."""
    try:
        return compute()
    except (MemoryError, OSError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        raise _too_large() from error


def _too_large() -> UserError:
    return UserError(
        "There is not enough memory to push a single calibration window through a block",
        remedy="Choose shorter calibration windows, or free memory.",
    )
