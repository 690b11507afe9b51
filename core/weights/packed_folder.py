"""Folders in the integer formats of compressed-tensors, seen as the dense network that they hold.

Read are `pack-quantized` and, with int8 codes as they are, `int-quantized`; inputs may be quantised to 8 bits.
Source: vllm-project/compressed-tensors, compressors/pack_quantized and compressors/naive_quantized.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from core.checkpoint.layers import layers_of
from core.checkpoint.records import DTYPE_BITS, Checkpoint, Layer, TensorEntry
from core.checkpoint.tensors import load_rows, load_tensor
from core.compress.layer_matrix import from_matrix
from core.errors import CheckpointError
from core.kernels.packing import pack_rows
from core.methods.activations import INPUT_SCALE, Activations
from core.methods.grouping import words
from core.methods.integer import Integer
from core.recipe.recipe import KEEP, Treatment
from core.schemes.integer import IntegerArithmetic
from core.schemes.integer_grid import pack_columns
from core.weights.quantization_config import treatment_reader
from core.weights.weights import BLOCK_BYTES, OriginalWeights, row_ranges

_PARTS = ("weight", "weight_packed", "weight_scale", "weight_zero_point", "weight_shape", INPUT_SCALE)


class PackedFolderWeights:
    """A folder whose config says that its linear layers are packed; all other tensors are as they are."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """checkpoint: the folder as it was opened, one layer per stored tensor.

        Raises CheckpointError for formats that are not read here, and for tensors that do not fit the config.
        """
        entries = {layer.tensor.name: layer.tensor for layer in checkpoint.layers}
        treatment_of = treatment_reader(checkpoint.quantization or {}, checkpoint.path)
        self.source = checkpoint.path
        self.stored_bytes = checkpoint.nbytes
        self._parts: dict[str, dict[str, TensorEntry]] = {}
        self._schemes: dict[str, Integer] = {}
        self._activations: dict[str, Activations] = {}
        logical = dict(entries)
        for name in [name.removesuffix(".weight_scale") for name in entries if name.endswith(".weight_scale")]:
            parts = {part: logical.pop(f"{name}.{part}") for part in _PARTS if f"{name}.{part}" in logical}
            self._parts[name] = parts
            self._schemes[name], activations = treatment_of(name, "weight_packed" in parts)
            if activations is not None:
                self._activations[name] = activations
                _check_inputs(name, parts, activations)
            entry = _dense_entry(name, parts, checkpoint.path)
            logical[entry.name] = entry
            _check(name, parts, self._schemes[name], entry.shape)
        layers = layers_of(list(logical.values()), checkpoint.config, by_name=True)
        self.checkpoint = replace(checkpoint, layers=layers)
        self._original = OriginalWeights(self.checkpoint)

    def treatment(self, layer: Layer) -> Treatment:
        scheme = self._schemes.get(layer.name)
        return KEEP if scheme is None else Treatment(scheme, activations=self._activations.get(layer.name))

    def stored(self, layer: Layer) -> dict[str, Tensor]:
        if layer.name not in self._parts:
            return self._original.stored(layer)
        scale = self.input_scale(layer)
        inputs = {} if scale is None else {INPUT_SCALE: scale}
        return {"weight_packed": self._packed(layer, 0, layer.matrix_shape[0])} | self._grid(layer) | inputs

    def input_scale(self, layer: Layer) -> Tensor | None:
        activations = self._activations.get(layer.name)
        if activations is None or activations.mode == "dynamic":
            return None
        return load_tensor(self._parts[layer.name][INPUT_SCALE]).float().reshape(1)

    def dense(self, layer: Layer) -> Tensor:
        if layer.name not in self._parts:
            return self._original.dense(layer)
        return from_matrix(layer, torch.cat([rows for _, rows in self.dense_blocks(layer)]))

    def dense_blocks(self, layer: Layer, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Tensor]]:
        if layer.name not in self._parts:
            yield from self._original.dense_blocks(layer, block_bytes)
            return
        scheme, grid = self._schemes[layer.name], self._grid(layer)
        for start, stop in row_ranges(layer, block_bytes):
            stored = {"weight_packed": self._packed(layer, start, stop)} | grid
            yield start, IntegerArithmetic.decode(scheme, stored, start, stop, layer.matrix_shape[1])

    def _packed(self, layer: Layer, start: int, stop: int) -> Tensor:
        """Rows of the codes: int32 [stop − start, words]."""
        parts = self._parts[layer.name]
        if "weight_packed" in parts:
            return load_rows(parts["weight_packed"], start, stop)
        return pack_rows(_unsigned(load_rows(parts["weight"], start, stop), 8), 8)

    def _grid(self, layer: Layer) -> dict[str, Tensor]:
        """Scale [rows, groups] (or [1, 1]) and, unless symmetric, packed zero points, as schemes store them."""
        parts, scheme = self._parts[layer.name], self._schemes[layer.name]
        scale = load_tensor(parts["weight_scale"])
        scale = scale.reshape(1, 1) if scale.numel() == 1 else scale
        if scheme.symmetric:
            return {"weight_scale": scale}
        zero = load_tensor(parts["weight_zero_point"])
        if zero.dtype == torch.int8:
            zero = pack_columns(_unsigned(zero, scheme.bits).reshape(scale.shape), scheme.bits)
        return {"weight_scale": scale, "weight_zero_point": zero}


def _dense_entry(name: str, parts: dict[str, TensorEntry], where: str) -> TensorEntry:
    """The tensor that the packed one stands for. It lies beyond the end of its file, so that nobody reads codes."""
    codes = parts.get("weight_packed") or parts.get("weight")
    if codes is None or len(codes.shape) != 2:
        raise _unfit(name, "has scales but no codes", where)
    shape = codes.shape
    if "weight_packed" in parts:
        if "weight_shape" not in parts or parts["weight_shape"].elements != 2:
            raise _unfit(name, "has no weight_shape, so its inputs are not known", where)
        rows, columns = (int(size) for size in load_tensor(parts["weight_shape"]))
        shape = (rows, columns)
    dtype = parts["weight_scale"].dtype
    size = shape[0] * shape[1] * DTYPE_BITS[dtype] // 8
    return TensorEntry(f"{name}.weight", dtype, shape, codes.file, (1 << 61) + codes.offset, size)


def _check(name: str, parts: dict[str, TensorEntry], scheme: Integer, shape: tuple[int, ...]) -> None:
    rows, columns = shape
    where = parts["weight_scale"].file
    if rows < 1 or columns < 1:
        raise _unfit(name, f"says that its shape is {list(shape)}", where)
    expected = {"weight": ("int8", shape), "weight_packed": ("int32", (rows, words(columns, scheme.bits)))}
    for part, (dtype, size) in expected.items():
        if part in parts and (parts[part].dtype, parts[part].shape) != (dtype, size):
            found = f"{parts[part].dtype} {list(parts[part].shape)}"
            raise _unfit(
                name, f"holds {part} {found}, but {scheme.tag} of {list(shape)} is {dtype} {list(size)}", where
            )
    group = scheme.group_columns(columns)
    scales = (1, 1) if scheme.granularity == "tensor" else (rows, columns // group)
    if columns % group or parts["weight_scale"].elements != scales[0] * scales[1]:
        raise _unfit(name, f"has scales {list(parts['weight_scale'].shape)}, which do not fit {scheme.tag}", where)
    if not scheme.symmetric:
        zero = parts.get("weight_zero_point")
        packed = (words(scales[0], scheme.bits), scales[1])
        fits = zero is not None and (
            (zero.dtype == "int8" and zero.elements == scales[0] * scales[1])
            or (zero.dtype == "int32" and zero.shape == packed)
        )
        if not fits:
            raise _unfit(name, "has no zero points that fit its scales", where)


def _check_inputs(name: str, parts: dict[str, TensorEntry], activations: Activations) -> None:
    found = parts.get(INPUT_SCALE)
    if activations.mode == "static" and (found is None or found.elements != 1):
        raise _unfit(name, "has no single fixed scale for its inputs", parts["weight_scale"].file)


def _unsigned(codes: Tensor, bits: int) -> Tensor:
    """Signed int8 codes as uint8 from 0."""
    return (codes.to(torch.int16) + (1 << (bits - 1))).to(torch.uint8)


def _unfit(name: str, what: str, where: str) -> CheckpointError:
    return CheckpointError(
        f"The packed layer '{name}' {what}",
        where=where,
        remedy="Its config.json and its tensors do not belong together.",
    )
