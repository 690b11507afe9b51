"""Linear layers that hold codes and decode them as they are called, by torch's own operators alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchvise.core.export.layouts.packed_layout import PackedLayout


class DecodingLinear(nn.Module):
    """Codes in blocks with scales and zero points, decoded at each call: as large as its codes, and no faster."""

    qweight: Tensor
    scales: Tensor
    zeros: Tensor | None
    shifts: Tensor

    def __init__(
        self, shape: tuple[int, int], layout: PackedLayout, tensors: Mapping[str, Tensor], bias: Tensor | None
    ) -> None:
        """shape: (outputs, inputs); tensors: of `nbits_tensors`; bias: float32 [outputs]."""
        super().__init__()
        self.shape, self.bits = shape, layout.bits
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.register_buffer("qweight", tensors["qweight"])
        self.register_buffer("scales", tensors["scales"])
        self.register_buffer("zeros", tensors.get("zeros"))
        self.register_buffer("shifts", torch.arange(0, 8, layout.bits, dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """x: float32 [..., inputs]; gives float32 [..., outputs]."""
        rows, blocks, _ = self.qweight.shape
        codes = self._unpacked(self.qweight)
        if self.zeros is None:
            zero: Tensor | float = float(1 << (self.bits - 1))
        else:
            zero = self._unpacked(self.zeros.view(rows, -1))[:, :blocks, None].float()
        weight = ((codes.float() - zero) * self.scales.view(rows, blocks, 1)).view(rows, -1)[:, : self.shape[1]]
        return nn.functional.linear(x, weight, self.bias)

    def _unpacked(self, packed: Tensor) -> Tensor:
        """Codes uint8 [..., n] of bytes [..., n · bits / 8], the lowest bits first."""
        lanes = (packed[..., None] >> self.shifts) & ((1 << self.bits) - 1)
        return lanes.flatten(-2)


class Int8Linear(nn.Module):
    """int8 codes of weights, and inputs rounded to int8 by their fixed scale; the product is taken in float32."""

    input: Tensor
    qweight: Tensor
    scales: Tensor

    def __init__(
        self,
        shape: tuple[int, int],  # noqa: ARG002 - as `DecodingLinear`
        layout: PackedLayout,  # noqa: ARG002
        tensors: Mapping[str, Tensor],
        bias: Tensor | None,
    ) -> None:
        """As `DecodingLinear`; tensors: of `qdq_tensors`."""
        super().__init__()
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        for name, values in tensors.items():
            self.register_buffer(name, values)

    def forward(self, x: Tensor) -> Tensor:
        """x: float32 [..., inputs]; gives float32 [..., outputs]."""
        values = torch.round(x / self.input).clamp(-128, 127) * self.input
        return nn.functional.linear(values, self.qweight.float() * self.scales[:, None], self.bias)
