"""Linear layers that leave operators of ONNX Runtime in an exported graph. They compute nothing in torch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchvise.core.export.layouts.packed_layout import PackedLayout


class NBitsLinear(nn.Module):
    """Becomes com.microsoft.MatMulNBits."""

    def __init__(
        self, shape: tuple[int, int], layout: PackedLayout, tensors: Mapping[str, Tensor], bias: Tensor | None
    ) -> None:
        """shape: (outputs, inputs); tensors: of `nbits_tensors`; bias: float32 [outputs]."""
        super().__init__()
        self.shape, self.layout = shape, layout
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.given = tuple(tensors)
        for name, values in tensors.items():
            self.register_buffer(name, values)

    def forward(self, x: Tensor) -> Tensor:
        """x: float32 [..., inputs]; gives float32 [..., outputs], when the graph is run."""
        outputs, inputs = self.shape
        block = self.layout.group_size or inputs
        attributes = {"K": inputs, "N": outputs, "bits": self.layout.bits, "block_size": block}
        y: Tensor = torch.onnx.ops.symbolic(
            "com.microsoft::MatMulNBits",
            [x, *(getattr(self, name) for name in self.given)],
            {**attributes, "accuracy_level": 0},
            dtype=x.dtype,
            shape=(*x.shape[:-1], outputs),
            version=1,
        )
        return y if self.bias is None else y + self.bias


class QdqLinear(nn.Module):
    """Becomes a matrix product between QuantizeLinear and DequantizeLinear: int8 codes times int8 inputs."""

    input: Tensor
    qweight: Tensor
    scales: Tensor
    none: Tensor
    nones: Tensor

    def __init__(
        self, shape: tuple[int, int], layout: PackedLayout, tensors: Mapping[str, Tensor], bias: Tensor | None
    ) -> None:
        """As `NBitsLinear`; tensors: of `qdq_tensors`."""
        super().__init__()
        self.shape, self.layout = shape, layout
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        for name, values in tensors.items():
            self.register_buffer(name, values)
        self.register_buffer("none", torch.zeros((), dtype=torch.int8))
        self.register_buffer("nones", torch.zeros(shape[0], dtype=torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        """x: float32 [..., inputs]; gives float32 [..., outputs], when the graph is run."""
        codes = self._operator("QuantizeLinear", [x, self.input, self.none], {}, torch.int8, x.shape)
        values = self._operator("DequantizeLinear", [codes, self.input, self.none], {}, torch.float32, x.shape)
        weight = self._operator(
            "DequantizeLinear", [self.qweight, self.scales, self.nones], {"axis": 0}, torch.float32, self.shape
        )
        return nn.functional.linear(values, weight, self.bias)

    @staticmethod
    def _operator(
        name: str, inputs: list[Tensor], attributes: Mapping[str, int], dtype: torch.dtype, shape: tuple[int, ...]
    ) -> Tensor:
        found: Tensor = torch.onnx.ops.symbolic(
            name, inputs, {**attributes}, dtype=dtype, shape=tuple(shape), version=18
        )
        return found
