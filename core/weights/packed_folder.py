"""Folders in the formats of compressed-tensors, seen as the dense network that they hold.

Read are `pack-quantized`, `int-quantized`, `float-quantized`, `mxfp4-pack-quantized`, `mxfp8-quantized` and
`nvfp4-pack-quantized`; inputs may be quantised to 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchvise.core.checkpoint.encodings.quantised import stored_entries
from benchvise.core.checkpoint.layers import layers_of
from benchvise.core.checkpoint.matrix_shape import from_matrix
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.methods.activations import INPUT_SCALE
from benchvise.core.methods.scheme import Scheme
from benchvise.core.recipe.recipe import KEEP, Treatment
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.weights.packed_floating import PackedFloating, PackedMicroscaling, PackedNvFloat4
from benchvise.core.weights.packed_integer import PackedInteger
from benchvise.core.weights.packed_layer import PARTS, PackedLayer
from benchvise.core.weights.quantization_config import treatment_reader
from benchvise.core.weights.weights import BLOCK_BYTES, OriginalWeights, row_ranges

PACKED_LAYERS: dict[type[Scheme], type[PackedLayer[Any]]] = {
    packed.kind: packed for packed in (PackedInteger, PackedFloating, PackedMicroscaling, PackedNvFloat4)
}


class PackedFolderWeights:
    """A folder whose config says that its linear layers are packed; all other tensors are as they are."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """checkpoint: the folder as it was opened.

        Raises CheckpointError for formats that are not read here, and for tensors that do not fit the config.
        """
        entries = {part.name: part for layer in checkpoint.layers for part in stored_entries(layer.tensor)}
        treatment_of = treatment_reader(checkpoint.quantization or {}, checkpoint.path)
        self.source = checkpoint.path
        self.stored_bytes = checkpoint.nbytes
        self._packed: dict[str, PackedLayer[Any]] = {}
        logical = dict(entries)
        for name in [name.removesuffix(".weight_scale") for name in entries if name.endswith(".weight_scale")]:
            parts = {part: logical.pop(f"{name}.{part}") for part in PARTS if f"{name}.{part}" in logical}
            scheme, activations = treatment_of(name, "weight_packed" in parts)
            packed = PACKED_LAYERS[type(scheme)](name, parts, scheme, activations)
            entry = packed.checked_entry()
            self._packed[name] = packed
            logical[entry.name] = entry
        opened = {layer.name: layer for layer in checkpoint.layers}
        layers = layers_of(list(logical.values()), checkpoint.config, by_name=True)
        self.checkpoint = replace(checkpoint, layers=tuple(opened.get(layer.name, layer) for layer in layers))
        self._original = OriginalWeights(self.checkpoint)

    def treatment(self, layer: Layer) -> Treatment:
        packed = self._packed.get(layer.name)
        return KEEP if packed is None else Treatment(packed.scheme, activations=packed.activations)

    def changed(self, layer: Layer) -> bool:  # noqa: ARG002 - there is no original to compare with
        return False

    def stored(self, layer: Layer) -> dict[str, Tensor]:
        packed = self._packed.get(layer.name)
        if packed is None:
            return self._original.stored(layer)
        scale = packed.input_scale()
        inputs = {} if scale is None else {INPUT_SCALE: scale}
        return packed.rows(0, layer.matrix_shape[0]) | packed.tail() | inputs

    def input_scale(self, layer: Layer) -> Tensor | None:
        packed = self._packed.get(layer.name)
        return None if packed is None else packed.input_scale()

    def dense(self, layer: Layer) -> Tensor:
        if layer.name not in self._packed:
            return self._original.dense(layer)
        return from_matrix(layer, torch.cat([rows for _, rows in self.dense_blocks(layer)]))

    def dense_blocks(self, layer: Layer, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Tensor]]:
        packed = self._packed.get(layer.name)
        if packed is None:
            yield from self._original.dense_blocks(layer, block_bytes)
            return
        tail, decode, dtype = packed.tail(), arithmetic_of(packed.scheme).decode, torch_dtype(layer.dtype)
        for start, stop in row_ranges(layer, block_bytes):
            stored = packed.rows(start, stop) | tail
            yield start, decode(packed.scheme, stored, start, stop, layer.matrix_shape[1]).to(dtype)
