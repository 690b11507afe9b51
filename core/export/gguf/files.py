"""The files of a GGUF export written in blocks, and read back to be compared byte for byte."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from benchvise.core.checkpoint.formats.gguf_metadata import read_listing
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.gguf.container import GgufFile, padded
from benchvise.core.progress import Progress
from benchvise.core.weights.weights import Weights


def write_files(
    folder: Path, files: Sequence[GgufFile], plan: ExportPlan, weights: Weights, progress: Progress
) -> None:
    """Write headers and tensors; progress counts the tensors' bytes. Raises as `Target.write`."""
    progress.start(plan.nbytes, "bytes")
    with ExitStack() as opened:
        places: dict[str, tuple[IO[bytes], int]] = {}
        for each in files:
            new = opened.enter_context((folder / each.name).open("xb"))
            new.write(each.header)
            places |= {tensor.name: (new, padded(tensor.nbytes) - tensor.nbytes) for tensor in each.tensors}
        for name, block, last in _blocks(plan, weights):
            file, padding = places[name]
            file.write(_bits(block))
            if last:
                file.write(bytes(padding))
            progress.advance(block.nbytes)
        for file, _ in places.values():
            file.flush()
            os.fsync(file.fileno())


def verify_files(
    folder: Path, files: Sequence[GgufFile], plan: ExportPlan, weights: Weights, progress: Progress
) -> None:
    """Read the files back: every byte of them, and their headers by the workbench's own reader of such files.

    Raises RuntimeError where anything differs, which is a fault of the program or of the disk.
    """
    progress.start(plan.nbytes, "bytes")
    names = sorted(path.name for path in folder.glob("*.gguf"))
    if folder.is_dir() and not {each.name for each in files} <= set(names):
        raise RuntimeError(f"the written files are not the declared ones: {names}")
    for each in files:
        _compare_header(folder / each.name, each)
    with ExitStack() as opened:
        places: dict[str, tuple[IO[bytes], int]] = {}
        starts: dict[str, int] = {}
        for each in files:
            written = opened.enter_context((folder / each.name).open("rb"))
            starts |= each.offsets
            places |= {tensor.name: (written, padded(tensor.nbytes) - tensor.nbytes) for tensor in each.tensors}
        for name, block, last in _blocks(plan, weights):
            file, padding = places[name]
            file.seek(starts[name])
            expected = _bits(block)
            if file.read(len(expected)) != expected or (last and file.read(padding) != bytes(padding)):
                raise RuntimeError(f"'{name}' was not written with the values that were computed")
            starts[name] += len(expected)
            progress.advance(len(expected))


def _compare_header(path: Path, declared: GgufFile) -> None:
    with path.open("rb") as file:
        if file.read(len(declared.header)) != declared.header or path.stat().st_size != declared.nbytes:
            raise RuntimeError(f"the header of '{path.name}' is not the declared one")
        file.seek(0)
        found = read_listing(file, declared.nbytes, str(path))
    offsets = declared.offsets
    if [(each.name, each.offset) for each in found.tensors] != list(offsets.items()):
        raise RuntimeError(f"the tensors of '{path.name}' are not the declared ones")


def _blocks(plan: ExportPlan, weights: Weights) -> Iterator[tuple[str, Tensor, bool]]:
    """All blocks in order, with the name of their tensor, and whether it is that tensor's last."""
    left = {tensor.name: tensor.nbytes for tensor in plan.tensors()}
    for planned in plan.layers:
        for name, block in planned.blocks(weights):
            left[name] -= block.nbytes
            yield name, block, left[name] == 0


def _bits(values: Tensor) -> memoryview:
    """The bytes of contiguous values; nothing is copied."""
    return values.contiguous().reshape(-1).view(torch.uint8).numpy().data
