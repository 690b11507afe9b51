"""Moments on a device: of a GPU's own time line, else of the processor's clock."""

from __future__ import annotations

import time
from typing import TypeAlias

import torch

from benchvise.core.runtime.decode import settle

Moment: TypeAlias = float | torch.cuda.Event


class Clock:
    """Marks moments of the work on a device without waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_gpu = device.type == "cuda"

    def mark(self) -> Moment:
        """When the device has come to where the program is now."""
        if not self._on_gpu:
            return time.perf_counter()
        event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def settle(self) -> None:
        """Wait for the device; only then can moments be compared."""
        settle(self._device)

    def ms(self, first: Moment, last: Moment) -> float:
        """Milliseconds from the first to the last. Raises TypeError when they are moments of different clocks."""
        if isinstance(first, float) and isinstance(last, float):
            return (last - first) * 1000
        if isinstance(first, torch.cuda.Event) and isinstance(last, torch.cuda.Event):
            return float(first.elapsed_time(last))
        raise TypeError("moments of different clocks")
