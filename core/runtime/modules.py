"""Linear layers that multiply by compressed weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchvise.core.kernels.select import PreparedLinear


class CompressedLinear(nn.Module):
    """Stands in for a linear layer: input [..., columns] of any floating dtype, output [..., rows] in the same."""

    def __init__(self, prepared: PreparedLinear, bias: Tensor | None = None) -> None:
        super().__init__()
        self.prepared = prepared
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.prepared(x)
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return f"route={self.prepared.route.kind.value}"


def bias_of(module: nn.Module) -> Tensor | None:
    """The bias of a linear module, [outputs] in the module's dtype, detached, or None."""
    bias = getattr(module, "bias", None)
    return bias.detach() if isinstance(bias, torch.Tensor) else None
