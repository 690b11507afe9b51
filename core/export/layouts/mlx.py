"""How MLX stores a layer: codes of a row as one stream of bits, and for each group a scale and a bias. Facts only.

Source: ml-explore/mlx, python/mlx/nn/layers/quantized.py, and mlx.core.quantize: w = scale · code + bias.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.export.layouts.transposed import integer_of
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.scheme import Scheme

FORMAT = "mlx affine"
WORD = 32
BITS = frozenset({2, 3, 4, 5, 6, 8})
GROUPS = (32, 64, 128)


@dataclass(frozen=True)
class MlxForm:
    """The form of MLX's affine kernels, which take these widths and groups alone."""

    def problem(self, scheme: Scheme, layer: Layer) -> str:
        """Why the format cannot hold the values of `layer` under `scheme`, "" when it can."""
        integer = integer_of(scheme)
        if integer is None:
            return f"{scheme.title.lower()} layers have no form in MLX"
        if integer.bits not in BITS:
            return f"MLX holds {', '.join(map(str, sorted(BITS)))} bits, not {integer.bits}"
        columns = layer.matrix_shape[1]
        grouped = integer.granularity in ("group", "block")
        if not grouped or integer.group_size not in GROUPS or columns % integer.group_size:
            other = f"{integer.group_size}" if grouped else "one scale for a whole row"
            return f"MLX takes groups of {', '.join(map(str, GROUPS))}, not {other}"
        return ""

    def layout(self, scheme: Integer) -> PackedLayout:
        """Of a scheme without problems whose rows are as long as its groups say."""
        return PackedLayout(FORMAT, scheme.bits, False, "group", scheme.group_size)

    def tensors(self, layer: Layer, layout: PackedLayout, dtype: str) -> tuple[StoredTensor, ...]:
        """The tensors of the layer, named by what comes after its name. dtype: of scales and what is added."""
        rows, columns = layer.matrix_shape
        groups = columns // (layout.group_size or columns)
        return (
            StoredTensor("weight", "uint32", (rows, columns * layout.bits // WORD)),
            StoredTensor("scales", dtype, (rows, groups)),
            StoredTensor("biases", dtype, (rows, groups)),
        )


MLX = MlxForm()
