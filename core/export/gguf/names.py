"""What tensors are called in a GGUF file: asked of the package `gguf`, which knows the names of all converters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from benchvise.core.export.gguf.architecture import GgufArchitecture, Piece
from benchvise.core.export.gguf.tensors import WHOLE

_EXPERT = re.compile(r"(.*\.experts)\.(\d+)\.(.+)$")
_BLOCK = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks)\.(\d+)\.(.+)$")
_PREFIXES = (("model.language_model.", "model."), ("language_model.model.", "model."), ("bert.", ""))
_ROTARY_TABLES = re.compile(r"rotary_emb\.|\.inv_freq$|\.attn\.(bias|masked_bias)$")


@dataclass(frozen=True)
class GgufPlace:
    """A tensor of the file that takes something of a stored tensor. expert: its place in a stack, None without one."""

    name: str
    expert: int | None = None
    piece: Piece = WHOLE


class FileNames:
    """Names for one architecture of so many blocks."""

    def __init__(self, architecture: GgufArchitecture, blocks: int) -> None:
        self._architecture = architecture
        self._map = _name_map(architecture.key, blocks)

    def places(self, name: str) -> tuple[GgufPlace, ...]:
        """Where the tensor goes that is stored under `name`; () when the architecture has no such tensor."""
        name = _plain(name)
        block = _BLOCK.search(name)
        number = block.group(1) if block is not None else ""
        inside = block.group(2) if block is not None else name
        pieces = self._architecture.split.get(inside)
        if pieces is not None:
            return tuple(GgufPlace(f"blk.{number}.{leaf}", None, piece) for leaf, piece in pieces.items())
        own = self._architecture.names.get(name.replace(f".{number}.", ".{}.", 1) if number else name)
        if own is not None:
            return (GgufPlace(own.format(number)),)
        expert = _EXPERT.match(name)
        if expert is not None:
            name = f"{expert.group(1)}.{expert.group(3)}"
        found = self._map.get_name(name, try_suffixes=(".weight", ".bias")) if self._map is not None else None
        return () if found is None else (GgufPlace(found, int(expert.group(2)) if expert is not None else None),)

    def needless(self, name: str) -> bool:
        """Whether llama.cpp computes what the tensor says, or has no use for it."""
        name = _plain(name)
        return bool(_ROTARY_TABLES.search(name)) or any(
            re.search(pattern, name) for pattern in self._architecture.left_out
        )


def _plain(name: str) -> str:
    for prefix, instead in _PREFIXES:
        if name.startswith(prefix):
            return instead + name.removeprefix(prefix)
    return name


@cache
def _name_map(key: str, blocks: int) -> Any:
    import gguf

    known: Mapping[str, Any] = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    return gguf.get_tensor_name_map(known[key], blocks) if key in known else None
