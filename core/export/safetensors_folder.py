"""The tensors of an export plan written into safetensors files, and read back to be compared byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import DTYPE_BITS, Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.export.export_plan import ExportPlan, PlannedLayer
from benchvise.core.export.folder import write_file
from benchvise.core.export.sharded_writer import ShardedWriter
from benchvise.core.export.shards import INDEX_NAME, Shards
from benchvise.core.progress import Progress
from benchvise.core.weights.packed_folder import PackedFolderWeights
from benchvise.core.weights.weights import OriginalWeights, Weights

SAMPLED_LAYERS = 8


def write_folder(
    folder: Path, plan: ExportPlan, weights: Weights, texts: Mapping[str, str], progress: Progress
) -> None:
    """Write every tensor of the plan, and the small files `texts` by name; progress counts the tensors' bytes.

    Raises OSError as the file system does, OutputError for what the format cannot hold, CheckpointError for weights
    that cannot be read, and Cancelled.
    """
    progress.start(plan.nbytes, "bytes")
    with ShardedWriter(folder, Shards(plan.tensors())) as files:
        for planned in plan.layers:
            for name, block in planned.blocks(weights):
                files.write(name, block)
                progress.advance(_nbytes(block))
    for name, text in texts.items():
        write_file(folder / name, text)


def verify_folder(
    folder: Path, plan: ExportPlan, weights: Weights, texts: Mapping[str, str], progress: Progress
) -> None:
    """Read the folder back: every byte of its files, and the values of a sample of layers of every kind as they are
    decoded from it.

    Raises RuntimeError where anything differs, which is a fault of the program or of the disk.
    """
    sample = _sample(plan, weights)
    verify_bytes(folder, plan, weights, texts, progress, more=sum(layer.nbytes for layer in sample))
    checkpoint = open_checkpoint(folder)
    written = OriginalWeights(checkpoint) if checkpoint.quantization is None else PackedFolderWeights(checkpoint)
    for layer in sample:
        _compare_values(layer, weights, written, progress)


def verify_bytes(
    folder: Path,
    plan: ExportPlan,
    weights: Weights,
    texts: Mapping[str, str],
    progress: Progress,
    *,
    more: int = 0,
) -> None:
    """Read back every byte of the folder. more: bytes that the caller reads afterwards. Raises as `verify_folder`."""
    shards = Shards(plan.tensors())
    progress.start(plan.nbytes + more, "bytes")
    _compare_headers(folder, shards)
    _compare_texts(folder, {**texts, **({INDEX_NAME: shards.index_text} if shards.index_text else {})})
    _compare_tensors(folder, shards, plan, weights, progress)


def _compare_headers(folder: Path, shards: Shards) -> None:
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    if names != sorted(shards.names):
        raise RuntimeError(f"the written files are not the declared ones: {names}")
    for shard in shards.files:
        path, header = folder / shard.name, shard.header
        with path.open("rb") as file:
            found = file.read(len(header))
        if found != header or path.stat().st_size != shard.nbytes:
            raise RuntimeError(f"the tensors of '{shard.name}' are not the declared ones")


def _compare_texts(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        if (folder / name).read_bytes() != text.encode():
            raise RuntimeError(f"'{name}' was not written as it was planned")


def _compare_tensors(folder: Path, shards: Shards, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
    """Hold all data against the blocks that it was written from."""
    place = {tensor: (file, offset) for tensor, file, offset in shards.offsets()}
    with ExitStack() as opened:
        files = {name: opened.enter_context((folder / name).open("rb")) for name in shards.names}
        for planned in plan.layers:
            for name, block in planned.blocks(weights):
                file, offset = place[name]
                expected = _bits(block)
                files[file].seek(offset)
                if files[file].read(len(expected)) != expected.numpy().tobytes():
                    raise RuntimeError(f"'{name}' was not written with the values that were computed")
                place[name] = (file, offset + len(expected))
                progress.advance(len(expected))


def _sample(plan: ExportPlan, weights: Weights) -> list[Layer]:
    """The first layer of every kind and treatment, and the last layer."""
    kinds: dict[tuple[str, str, bool], PlannedLayer] = {}
    for planned in plan.layers:
        layer = planned.layer
        kinds.setdefault((weights.treatment(layer).tag, layer.kind, planned.layout is None), planned)
    return [planned.layer for planned in (*list(kinds.values())[:SAMPLED_LAYERS], *plan.layers[-1:])]


def _compare_values(layer: Layer, weights: Weights, written: Weights, progress: Progress) -> None:
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
            raise RuntimeError(f"'{layer.name}' is not read back with the values that were computed")
        progress.advance(_nbytes(ours.to(dtype)))


def _bits(values: Tensor) -> Tensor:
    return values.contiguous().reshape(-1).view(torch.uint8)


def _nbytes(block: Tensor) -> int:
    return prod(block.shape) * DTYPE_BITS[str(block.dtype).removeprefix("torch.")] // 8
