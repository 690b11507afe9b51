"""How layers lie in an ONNX file for ONNX Runtime. Facts only; no tensors.

Source: onnxruntime, docs/ContribOperators.md, com.microsoft.MatMulNBits: codes uint8 [outputs, blocks, bytes], a scale
and a zero point for each block, blocks of a power of 2 from 16. Widths that it lacks lie in the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.export.export_plan import PlannedLayer
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.scheme import Scheme
from benchvise.core.recipe.recipe import Treatment

if TYPE_CHECKING:
    from torch import Tensor

    from benchvise.core.weights.weights import Weights

NBITS = "MatMulNBits"
QDQ = "QDQ int8"
_WIDTHS = (2, 4, 8)
_MIN_BLOCK, _ROW_BLOCK, _MAX_BLOCK = 16, 64, 256
_SCHEMES: frozenset[type[Scheme]] = frozenset({Integer})
_FLOATING = ("float64", "float16", "bfloat16")


@dataclass(frozen=True)
class FullLayer(PlannedLayer):
    """A layer with its values in float32; whole numbers as they are."""

    @property
    def dtype(self) -> str:
        return "float32" if self.layer.dtype in _FLOATING else self.layer.dtype

    def tensors(self) -> tuple[StoredTensor, ...]:
        return (StoredTensor(self.layer.tensor.name, self.dtype, self.layer.shape),)

    def blocks(self, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        from benchvise.core.checkpoint.tensors import torch_dtype

        yield self.layer.tensor.name, weights.dense(self.layer).to(torch_dtype(self.dtype))


@dataclass(frozen=True)
class CodedLayer(PlannedLayer):
    """A layer as codes. layout: of the format NBITS, with the block as its group size, or QDQ."""

    layout: PackedLayout
    scheme: Integer

    def tensors(self) -> tuple[StoredTensor, ...]:
        rows, columns = self.layer.matrix_shape
        if self.layout.format == QDQ:
            stored = [("qweight", "int8", (rows, columns)), ("scales", "float32", (rows,)), ("input", "float32", ())]
        else:
            block, bits = self.layout.group_size or columns, self.layout.bits
            blocks = -(-columns // block)
            stored = [
                ("qweight", "uint8", (rows, blocks, block * bits // 8)),
                ("scales", "float32", (rows * blocks,)),
            ]
            if not self.layout.symmetric:
                stored.append(("zeros", "uint8", (rows * (-(-blocks * bits // 8)),)))
        return tuple(StoredTensor(f"{self.layer.name}.{name}", dtype, shape) for name, dtype, shape in stored)

    def blocks(self, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        from benchvise.core.export.onnx.blocks import nbits_tensors, qdq_tensors

        stored = weights.stored(self.layer)
        find = qdq_tensors if self.layout.format == QDQ else nbits_tensors
        for name, values in find(self.layer, self.scheme, self.layout, stored).items():
            yield f"{self.layer.name}.{name}", values


def coding_problem(scheme: Scheme, layer: Layer) -> str:
    """Why no operator of ONNX Runtime computes with the layer's codes, "" when one does."""
    if type(scheme) not in _SCHEMES:
        return f"MatMulNBits has no form for {scheme.title.lower()} layers"
    integer = cast(Integer, scheme)
    if integer.float_zero:
        return "MatMulNBits takes no zero points that are floating numbers here"
    if layer.kind != "linear" or len(layer.shape) != 2 or layer.transposed or layer.tied:
        return f"it is no Linear module of its own ({layer.role}, shape {list(layer.shape)})"
    columns = layer.matrix_shape[1]
    size = integer.group_columns(columns)
    if size < columns and block_of(size, columns) < _MIN_BLOCK:
        return f"MatMulNBits takes blocks of a power of 2 from {_MIN_BLOCK}, and none divides groups of {size}"
    return ""


def coded_layer(layer: Layer, treatment: Treatment) -> CodedLayer:
    """A layer without problems as codes. Fixed ranges of inputs are kept, others are not."""
    scheme = cast(Integer, treatment.scheme)
    if keeps_inputs(treatment):
        inputs = Activations("int8", "static")
        return CodedLayer(layer, PackedLayout(QDQ, 8, True, "channel", None, inputs), scheme)
    bits = next(width for width in _WIDTHS if width >= scheme.bits)
    columns = layer.matrix_shape[1]
    block = block_of(scheme.group_columns(columns), columns)
    symmetric = scheme.symmetric and bits == scheme.bits
    return CodedLayer(layer, PackedLayout(NBITS, bits, symmetric, "group", block), scheme)


def keeps_inputs(treatment: Treatment) -> bool:
    """Whether the layer's inputs are quantised in the file as they are in the run."""
    inputs, elements = treatment.activations, treatment.scheme.elements
    grouping = treatment.scheme.grouping
    fixed = inputs is not None and (inputs.format, inputs.mode) == ("int8", "static")
    return fixed and elements.symmetric and elements.bits == 8 and grouping is not None and grouping[0] == "channel"


def block_of(size: int, columns: int) -> int:
    """The largest block, a power of 2, of which a group of `size` of the `columns` weights of a row consists.

    Where a row has one scale its last block may be short, so that any block serves.
    """
    largest = min(size & -size, _MAX_BLOCK)
    return _ROW_BLOCK if size == columns and largest < _ROW_BLOCK else largest
