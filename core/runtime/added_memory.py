"""How much memory a section takes where models run: on the GPU, or resident in this process."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import torch

from benchvise.core.memory import PeakMemory, release_freed, rss_bytes


class AddedMemory:
    """`with AddedMemory(device) as added: …; added.bytes`: the most that was taken beyond what there was before.

    On a GPU exact, of torch's tensors; on a CPU resident memory, sampled, so that a few megabytes are noise.
    """

    def __init__(self, device: torch.device) -> None:
        self.bytes = 0
        self._device = device
        self._before = 0
        self._resident = PeakMemory()

    def __enter__(self) -> Self:
        release_freed()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            self._before = rss_bytes()
            self._resident.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            highest = torch.cuda.max_memory_allocated(self._device)
        else:
            self._resident.__exit__(kind, error, traceback)
            highest = self._resident.bytes
        self.bytes = max(0, highest - self._before)
