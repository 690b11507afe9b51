"""Where NaN and infinity first appear in a block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchvise.core.blockwise.block_run import ModuleForward
from benchvise.core.errors import CheckpointError


@torch.no_grad()
def first_not_finite(run: ModuleForward, hidden: Tensor) -> str | None:
    """The first module inside the block, by its path, whose output is not finite for one of the windows.

    hidden: float32 [windows, tokens, width], what enters the block.

    "" for the block itself; None when all is finite.
    """
    for window in torch.split(hidden, 1):
        found = _first(run, window)
        if found is not None:
            return found
    return None


def not_finite(name: str) -> CheckpointError:
    """The error for a module whose outputs on calibration text are not numbers."""
    return CheckpointError(
        f"The activations that leave '{name}' on the calibration text are not finite (NaN or infinite)",
        where=name,
        remedy="Its weights hold NaN or infinite values, or it overflows: look with `benchvise inspect`. Recipes that "
        "need no calibration still work on the other layers.",
    )


def _first(run: ModuleForward, window: Tensor) -> str | None:
    bad: list[str] = []

    def look(name: str, output: Any) -> None:
        tensor = output if isinstance(output, Tensor) else output[0] if isinstance(output, tuple) else None
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            bad.append(name)

    handles = [_observed(module, name, look) for name, module in run.module.named_modules() if name]
    try:
        look("", run(window))
    finally:
        for handle in handles:
            handle.remove()
    return bad[0] if bad else None


def _observed(module: nn.Module, name: str, look: Any) -> Any:
    return module.register_forward_hook(lambda _module, _inputs, output: look(name, output))
