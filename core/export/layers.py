"""Layers written into the output's files, block by block, and read back to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import DTYPE_BITS
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.export.compressed_tensors import layout_blocks
from benchvise.core.export.export_plan import Outline, Part
from benchvise.core.export.sharded_writer import ShardedWriter
from benchvise.core.progress import Progress
from benchvise.core.weights.packed_folder import PackedFolderWeights
from benchvise.core.weights.weights import OriginalWeights, Weights

BLOCK_BYTES = 32 << 20
SAMPLED_LAYERS = 8


def write_layers(outline: Outline, weights: Weights, files: ShardedWriter, progress: Progress) -> None:
    """Write every part of the outline; progress counts the bytes written."""
    progress.start(sum(tensor.nbytes for tensor in outline.tensors()), "bytes")
    for part in outline.parts:
        blocks = _dense_blocks(part, weights) if part.treatment is None else _packed_blocks(part, weights)
        for name, block in blocks:
            files.write(name, block)
            progress.advance(_nbytes(block))


def check_written(
    folder: Path, outline: Outline, weights: Weights, progress: Progress, *, every_layer: bool = False
) -> None:
    """Read the folder back: the header of every tensor, and the values of every layer or a sample of every kind.

    Raises RuntimeError where anything differs, and CheckpointError where the folder cannot be read.
    """
    names = sorted(path.name for path in folder.glob("model*.safetensors"))
    found = {entry.name: (entry.dtype, entry.shape) for name in names for entry in read_header(folder / name).entries}
    expected = {tensor.name: (tensor.dtype, tensor.shape) for tensor in outline.tensors()}
    if found != expected:
        differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise RuntimeError(f"the written tensors are not the declared ones: {differing[:5]}")
    checkpoint = open_checkpoint(folder)
    written = OriginalWeights(checkpoint) if checkpoint.quantization is None else PackedFolderWeights(checkpoint)
    sample = outline.parts if every_layer else _sample(outline, weights)
    progress.start(sum(part.layer.nbytes for part in sample), "bytes")
    for part in sample:
        _compare(part, weights, written, progress)


def _dense_blocks(part: Part, weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """The values that the layer computes with: also those of kept layers, which a transform may have changed."""
    layer = part.layer
    for name in part.names:
        if layer.transposed:  # its rows lie across the stored order
            yield name, weights.dense(layer).to(torch_dtype(layer.dtype))
        else:
            for _, rows in weights.dense_blocks(layer, BLOCK_BYTES):
                yield name, rows.to(torch_dtype(layer.dtype))


def _packed_blocks(part: Part, weights: Weights) -> Iterator[tuple[str, Tensor]]:
    assert part.treatment is not None
    return layout_blocks(part.layer, part.treatment, weights.stored(part.layer))


def _sample(outline: Outline, weights: Weights) -> list[Part]:
    """The first layer of every kind and treatment, and the last layer."""
    kinds: dict[tuple[str, str, bool], Part] = {}
    for part in outline.parts:
        layer = part.layer
        kinds.setdefault((weights.treatment(layer).tag, layer.kind, part.treatment is None), part)
    return [*list(kinds.values())[:SAMPLED_LAYERS], *outline.parts[-1:]]


def _compare(part: Part, weights: Weights, written: Weights, progress: Progress) -> None:
    layer = part.layer
    mirror = written.checkpoint.layer(layer.tensor.name)
    dtype = torch_dtype(layer.dtype)
    pairs: Iterator[tuple[Tensor, Tensor]]
    if layer.transposed or mirror.matrix_shape != layer.matrix_shape:
        pairs = iter([(weights.dense(layer), written.dense(mirror))])
    else:
        blocks = zip(weights.dense_blocks(layer), written.dense_blocks(mirror), strict=True)
        pairs = ((ours, theirs) for (_, ours), (_, theirs) in blocks)
    for ours, theirs in pairs:
        if not torch.equal(_bits(ours.to(dtype)), _bits(theirs.to(dtype))):
            raise RuntimeError(f"'{layer.name}' was not written with the values that were computed")
        progress.advance(_nbytes(ours.to(dtype)))


def _bits(values: Tensor) -> Tensor:
    return values.contiguous().reshape(-1).view(torch.uint8)


def _nbytes(block: Tensor) -> int:
    return prod(block.shape) * DTYPE_BITS[str(block.dtype).removeprefix("torch.")] // 8
