"""Floating layers in the compressed-tensors formats.

Measured with compressed-tensors 0.19 and 0.20 under transformers 5.17 and 5.23: loaders hold the scales of FP8 E4M3
(`float-quantized`, per tensor, row or block) in the layer's dtype, and decode MXFP4, MXFP8 and NVFP4 to bfloat16,
whatever the layer's dtype.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.export.layouts.packed_form import PackedForm
from benchvise.core.export.layouts.packed_layout import FP8, MXFP4, MXFP8, NVFP4, PackedLayout
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.microscaling import BlockFloat, Microscaling, NvFloat4

if TYPE_CHECKING:
    from torch import Tensor

E4M3 = "float8_e4m3fn"
_ONLY_E4M3 = "of the 8-bit floats, the packed forms hold E4M3 alone"


class FloatingForm(PackedForm[Floating]):
    scheme = Floating

    def problem(self, scheme: Floating, layer: Layer) -> str:
        if scheme.number == "e5m2":
            return _ONLY_E4M3
        if scheme.scales == "float32" and layer.dtype != "float32":
            return f"loaders round float32 scales to the layer's {layer.dtype}; 'scales: weight' finds them in it"
        return ""

    def layout(
        self,
        scheme: Floating,
        inputs: Activations | None,
        zero_points: frozenset[int] = frozenset(),  # noqa: ARG002 - small floats have none
    ) -> PackedLayout:
        block = (scheme.block_rows, scheme.block_columns) if scheme.granularity == "block" else None
        return PackedLayout(FP8, 8, True, scheme.granularity, None, inputs, "float", block)

    def tensors(self, layer: Layer, layout: PackedLayout) -> tuple[StoredTensor, ...]:  # noqa: ARG002 - all layers are stored the same way
        return (StoredTensor("weight", E4M3, layer.matrix_shape),)

    def blocks(
        self,
        layer: Layer,  # noqa: ARG002 - codes are written as they are stored
        scheme: Floating,  # noqa: ARG002
        layout: PackedLayout,  # noqa: ARG002
        stored: Mapping[str, Tensor],
    ) -> Iterator[tuple[str, Tensor]]:
        yield "weight_scale", stored["weight_scale"]
        yield "weight", stored["weight"]


def _block_problem(scheme: BlockFloat, layer: Layer) -> str:
    if layer.dtype != "bfloat16":
        return f"loaders decode {scheme.tag} to bfloat16, and the layer is {layer.dtype}"
    columns = layer.matrix_shape[1]
    return f"blocks of {scheme.block} do not divide its {columns} inputs" if columns % scheme.block else ""


def _fp4_tensors(layer: Layer) -> tuple[StoredTensor, ...]:
    rows, columns = layer.matrix_shape
    return (StoredTensor("weight_packed", "uint8", (rows, columns // 2)),)


class MicroscalingForm(PackedForm[Microscaling]):
    scheme = Microscaling

    def problem(self, scheme: Microscaling, layer: Layer) -> str:
        return _ONLY_E4M3 if scheme.number == "e5m2" else _block_problem(scheme, layer)

    def layout(
        self,
        scheme: Microscaling,
        inputs: Activations | None,
        zero_points: frozenset[int] = frozenset(),  # noqa: ARG002 - small floats have none
    ) -> PackedLayout:
        form, bits = (MXFP4, 4) if scheme.number == "e2m1" else (MXFP8, 8)
        return PackedLayout(form, bits, True, "group", scheme.block, inputs, "float", scale_dtype="uint8")

    def tensors(self, layer: Layer, layout: PackedLayout) -> tuple[StoredTensor, ...]:
        if layout.format == MXFP4:
            return _fp4_tensors(layer)
        return (StoredTensor("weight", E4M3, layer.matrix_shape),)

    def blocks(
        self,
        layer: Layer,
        scheme: Microscaling,  # noqa: ARG002 - the layout says it
        layout: PackedLayout,
        stored: Mapping[str, Tensor],
    ) -> Iterator[tuple[str, Tensor]]:
        from benchvise.core.export.layouts.floating_blocks import as_bytes, nibbles

        yield "weight_scale", as_bytes(stored["weight_scale"])
        if layout.format == MXFP4:
            yield "weight_packed", nibbles(stored["weight_packed"], layer.matrix_shape[1])
        else:
            yield "weight", stored["weight"]


class NvFloat4Form(PackedForm[NvFloat4]):
    scheme = NvFloat4

    def problem(self, scheme: NvFloat4, layer: Layer) -> str:
        return _block_problem(scheme, layer)

    def layout(
        self,
        scheme: NvFloat4,
        inputs: Activations | None,
        zero_points: frozenset[int] = frozenset(),  # noqa: ARG002 - small floats have none
    ) -> PackedLayout:
        return PackedLayout(NVFP4, 4, True, "tensor_group", scheme.block, inputs, "float", scale_dtype=E4M3)

    def tensors(self, layer: Layer, layout: PackedLayout) -> tuple[StoredTensor, ...]:  # noqa: ARG002 - all layers are stored the same way
        return _fp4_tensors(layer)

    def blocks(
        self,
        layer: Layer,
        scheme: NvFloat4,  # noqa: ARG002 - all layers are stored the same way
        layout: PackedLayout,  # noqa: ARG002
        stored: Mapping[str, Tensor],
    ) -> Iterator[tuple[str, Tensor]]:
        from benchvise.core.export.layouts.floating_blocks import nibbles

        yield "weight_scale", stored["weight_scale"]
        yield "weight_packed", nibbles(stored["weight_packed"], layer.matrix_shape[1])
