"""A path becomes a checkpoint: headers are read, data is not."""

from __future__ import annotations

from pathlib import Path

from core.checkpoint.layers import layers_of
from core.checkpoint.records import Checkpoint
from core.checkpoint.safetensors_header import read_header


def open_checkpoint(path: str | Path) -> Checkpoint:
    file = Path(path).absolute()
    if file.is_dir():
        file = file / "model.safetensors"
    header = read_header(file)
    return Checkpoint(str(path), "safetensors", layers_of(header.entries, {}, by_name=True), warnings=header.warnings)
