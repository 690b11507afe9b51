"""A model without its linear layers: what is left of a step is attention, norms, and the program around them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchvise.core.errors import CheckpointError
from benchvise.core.runtime.architecture import Architecture
from benchvise.core.runtime.linear_layers import is_linear, set_module

MAX_LEFT_BYTES = 1 << 30


class _Zeros(nn.Module):
    """Gives zeros [..., width] for an input [..., n], or for ids [...] when `ids`."""

    def __init__(self, width: int, dtype: torch.dtype, *, ids: bool = False) -> None:
        super().__init__()
        self.width = width
        self.dtype = dtype
        self.ids = ids

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape if self.ids else x.shape[:-1]
        return torch.zeros((*shape, self.width), dtype=self.dtype, device=x.device)


def skeleton(architecture: Architecture, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The model with its linear layers and embeddings replaced by zeros that cost next to nothing.

    Raises CheckpointError when large weights lie outside linear layers (fused experts), since they would be left out.
    """
    model = architecture.on_meta()
    entrance = model.get_input_embeddings()  # type: ignore[operator]
    for path, module in list(model.named_modules()):
        if is_linear(module):
            weight: Tensor = module.weight
            width = weight.shape[0] if isinstance(module, nn.Linear) else weight.shape[1]
            set_module(model, path, _Zeros(width, dtype))
        elif type(module) is nn.Embedding or module is entrance:
            set_module(model, path, _Zeros(module.embedding_dim, dtype, ids=True))
    left = sum(parameter.nbytes for parameter in model.parameters())
    if left > MAX_LEFT_BYTES:
        raise CheckpointError(
            f"{left >> 20} MB of weights lie outside linear layers (fused experts), for which there is no forecast",
            remedy="Measure the latency of the finished run instead.",
        )
    model = model.to(dtype).to_empty(device=device)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    return model.requires_grad_(False).eval()
