"""Where the linear layers of a model are, and which layer of the checkpoint each of them computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.runtime.replace import parameter_name


@dataclass(frozen=True)
class LinearModule:
    """A module of the model that multiplies by a weight [rows, columns].

    layer: of the checkpoint whose tensor it is; None when it is tied to another or fused from several.
    """

    path: str
    rows: int
    columns: int
    layer: Layer | None


def linear_modules(model: nn.Module, checkpoint: Checkpoint) -> tuple[LinearModule, ...]:
    """Every linear module of the model (its weights may be on the meta device), in the model's order."""
    layers = {
        name: layer for layer in checkpoint.layers if layer.compressible and (name := parameter_name(model, layer))
    }
    return tuple(
        LinearModule(path, *_matrix(module), layers.get(f"{path}.weight"))
        for path, module in model.named_modules()
        if is_linear(module)
    )


def is_linear(module: nn.Module) -> bool:
    """A linear layer of torch, or GPT-2's with its transposed weight; no subclass that computes something else."""
    return type(module) in (nn.Linear, Conv1D)


def running_dtype(checkpoint: Checkpoint, device: torch.device) -> torch.dtype:
    """The dtype in which the checkpoint is run for speed: that of most of its bytes.

    float16 becomes bfloat16 on a CPU, which has no fast arithmetic for it, and float64 becomes float32.
    """
    sizes: Counter[str] = Counter()
    for layer in checkpoint.layers:
        if layer.compressible:
            sizes[layer.dtype] += layer.nbytes
    chosen = torch_dtype(sizes.most_common(1)[0][0]) if sizes else torch.float32
    if chosen == torch.float16 and device.type == "cpu":
        return torch.bfloat16
    return torch.float32 if chosen == torch.float64 else chosen


def set_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` where `path` says, in place of what is there."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def parameter_bytes(modules: Iterable[nn.Module]) -> int:
    """Bytes of all parameters and buffers, shared ones once."""
    tensors = {id(tensor): tensor.nbytes for module in modules for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensors.values())


def _matrix(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    columns, rows = module.weight.shape  # type: ignore[misc]
    return int(rows), int(columns)
