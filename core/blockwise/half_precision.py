"""A block whose linear layers multiply in bfloat16, where the processor does that faster and the block bears it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from benchvise.core.blockwise.block_run import BlockRun
from benchvise.core.blockwise.network import Network
from benchvise.core.recipe.plan import PlanRow

HALF = torch.bfloat16
MAX_LOST = 0.03
"""Of what a block adds to the hidden state. What 4-bit weights lose is three times as much and more."""

_FAULTS = (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError, AssertionError)


def multiplies_halves(device: torch.device) -> bool:
    """Whether the device is a CPU with instructions that multiply bfloat16; without them it is no faster."""
    features = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in features)


@torch.no_grad()
def halved(network: Network, run: BlockRun, rows: Sequence[PlanRow], hidden: Tensor) -> BlockRun:
    """The run, of a block that has its weights, with linear layers in bfloat16 until the block is dropped; or as it is.

    Only layers that are stored in bfloat16 are, whose weights lose nothing; norms, sums and hidden states stay float32.
    Whether a block takes that is tried on its first window. Blocks that are learned, or whose inputs are rounded, are
    left as they are. hidden: float32 [windows, tokens, width].
    """
    untouched = any(row.treatment.activations or row.treatment.solver.learning for row in rows)
    linears = _linears(network, run)
    if untouched or network.whole or not linears or not multiplies_halves(network.device):
        return run
    wanted = run(hidden[:1])
    for module in linears:
        module.weight.data = module.weight.data.to(HALF)
        module.forward = MethodType(_multiply, module)  # type: ignore[method-assign]
    found = replace(run, dtype=HALF)
    if _lost(found, hidden[:1], wanted) > MAX_LOST:
        _restore(linears)
        return run
    network.on_drop(partial(_restore, linears))
    return found


def _linears(network: Network, run: BlockRun) -> list[nn.Linear]:
    stored = {
        network.parameter_inside(run.index, layer)
        for layer in network.weights.checkpoint.layers
        if network.inside.get(layer.name) == run.index and layer.dtype == "bfloat16"
    }
    return [
        module
        for path, module in run.module.named_modules()
        if type(module) is nn.Linear and f"{path}.weight" in stored
    ]


def _multiply(self: nn.Linear, x: Tensor) -> Tensor:
    bias = None if self.bias is None else self.bias.to(self.weight.dtype)
    return linear(x.to(self.weight.dtype), self.weight, bias)


def _lost(run: BlockRun, hidden: Tensor, wanted: Tensor) -> float:
    """The error of what the block adds, as a share of that; infinite where it cannot be run."""
    try:
        error = (run(hidden).float() - wanted).norm() / (wanted - hidden).norm()
    except _FAULTS:
        return float("inf")
    return float(error) if bool(error.isfinite()) else float("inf")


def _restore(linears: Sequence[nn.Linear]) -> None:
    for module in linears:
        module.weight.data = module.weight.data.float()
        del module.forward
