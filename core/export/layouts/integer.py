"""Integer layers in the compressed-tensors formats.

What loads and computes right was measured with compressed-tensors 0.19 and 0.20 under transformers 5.17 and 5.23:

* symmetric codes of 2 to 8 bits as `pack-quantized`: both versions, every shape and granularity;
* zero points packed along dimension 0, as `pack-quantized` wants them: 5.17 only; 5.23 refuses their shape;
* zero points of 8-bit layers as `int-quantized` (int8 codes and zero points): both versions;
* the zero point of a whole tensor, which `pack-quantized` does not pack: both versions;
* quantised inputs, with scales per token or fixed, beside packed and unpacked codes: 5.23.

So an asymmetric layer of b < 8 bits is written with symmetric codes of b + 1 bits, which hold u − z exactly: the
same scales, the same values, and every version loads it, for one bit per weight more. Scales that blocks of rows share
are written for each row. A loader that takes packed zero points (vLLM at 4 bits) gets them from a target of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.export.layouts.packed_form import PackedForm
from benchvise.core.export.layouts.packed_layout import PACKED, UNPACKED, PackedLayout
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.grouping import words
from benchvise.core.methods.integer import Integer
from benchvise.core.settings import settled

if TYPE_CHECKING:
    from torch import Tensor


class IntegerForm(PackedForm[Integer]):
    scheme = Integer

    def problem(self, scheme: Integer, layer: Layer) -> str:  # noqa: ARG002 - every layer has integer codes
        return "no packed form has zero points that are floating numbers" if scheme.float_zero else ""

    def layout(
        self, scheme: Integer, inputs: Activations | None, zero_points: frozenset[int] = frozenset()
    ) -> PackedLayout:
        scheme = self.with_written_scales(scheme)
        group_size = scheme.group_size if scheme.granularity == "group" else None
        if not scheme.symmetric and scheme.bits in zero_points and inputs is None:
            return PackedLayout(PACKED, scheme.bits, False, scheme.granularity, group_size)
        if scheme.bits == 8 and (inputs is not None or not (scheme.symmetric or scheme.granularity == "tensor")):
            return PackedLayout(UNPACKED, 8, scheme.symmetric, scheme.granularity, group_size, inputs)
        if scheme.symmetric or scheme.granularity == "tensor":
            return PackedLayout(PACKED, scheme.bits, scheme.symmetric, scheme.granularity, group_size, inputs)
        return PackedLayout(PACKED, scheme.bits + 1, True, scheme.granularity, group_size, inputs)

    def tensors(self, layer: Layer, layout: PackedLayout) -> tuple[StoredTensor, ...]:
        rows, columns = layer.matrix_shape
        if layout.format == UNPACKED:
            return (StoredTensor("weight", "int8", (rows, columns)),)
        return (
            StoredTensor("weight_packed", "int32", (rows, words(columns, layout.bits))),
            StoredTensor("weight_shape", "int64", (2,)),
        )

    def blocks(
        self, layer: Layer, scheme: Integer, layout: PackedLayout, stored: Mapping[str, Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        from benchvise.core.export.layouts.integer_blocks import integer_blocks

        return integer_blocks(layer, scheme, layout, stored)

    def with_written_scales(self, scheme: Integer) -> Integer:
        """The scheme that gives the same values with scales for each row, where blocks of rows share them."""
        return settled(replace(scheme, granularity="group")) if scheme.granularity == "block" else scheme

    def adaptations(self, scheme: Integer, layout: PackedLayout) -> tuple[str, ...]:
        found = []
        if layout.bits != scheme.bits:
            found.append(
                f"{layout.bits}-bit symmetric codes, which hold the same values exactly and take one bit per weight "
                "more: transformers 5.23 refuses packed zero points"
            )
        if self.with_written_scales(scheme) != scheme:
            found.append("scales for each row, where blocks of rows share them: packed codes have no such blocks")
        return tuple(found)
