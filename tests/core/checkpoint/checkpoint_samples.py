"""Checkpoint files made byte by byte, so that they can be wrong in one chosen way."""

from __future__ import annotations

import json
from pathlib import Path

Description = dict[str, object]


def described(dtype: str, shape: list[int], start: int, end: int) -> Description:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def write_safetensors(path: Path, header: object, data: bytes = b"", *, length: int | None = None) -> Path:
    """A file with that header, given as bytes or as what JSON makes of it, and that data; `length` lies about it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def two_tensors(path: Path) -> Path:
    """A sound file with 'a' [2, 2] and 'b' [3], both float32."""
    header = {"a": described("F32", [2, 2], 0, 16), "b": described("F32", [3], 16, 28)}
    return write_safetensors(path, header, bytes(28))
