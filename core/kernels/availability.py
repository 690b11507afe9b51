"""What the machine offers beyond torch itself: Triton and a CUDA device. The only place that asks."""

from __future__ import annotations

import functools
import importlib.util
import os

import torch


@functools.cache
def triton_available() -> bool:
    """Whether Triton is installed. Modules that define Triton kernels are imported only when it is."""
    return importlib.util.find_spec("triton") is not None


def triton_interpreted() -> bool:
    """Whether Triton kernels run in its interpreter, on tensors of the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def triton_runs_on(device: torch.device) -> bool:
    """Whether Triton kernels can take tensors of `device`."""
    return triton_available() and (device.type == "cuda" or triton_interpreted())
