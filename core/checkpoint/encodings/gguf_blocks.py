"""Tensors of a GGUF file: rows of blocks, whose rows may lie in another order than the network's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.encodings.gguf_types import TYPES
from benchvise.core.checkpoint.read import raw_dtype, read_bytes
from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class GgufBlocks:
    """Lines of whole blocks of one type.

    head: rows of one attention head whose rotary pairs llama.cpp stores side by side, 0 where rows are in order.
    shift: what is to be added to every value, because the converter took the opposite away.
    """

    kind: int
    width: int
    head: int = 0
    shift: float = 0.0

    @property
    def scheme(self) -> str:
        found = TYPES[self.kind]
        return "" if found.dtype else found.name

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        return ()

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """Lines `first` to `last`, decoded: float32 for blocks, the stored dtype for plain values.

        Raises CheckpointError when the package that knows the blocks is missing, or does not know these.
        """
        begin, end = (
            (first, last) if not self.head else (first // self.head * self.head, -(-last // self.head) * self.head)
        )
        size = self.width // TYPES[self.kind].block * TYPES[self.kind].nbytes
        raw = read_bytes(entry, entry.offset + begin * size, (end - begin) * size).reshape(end - begin, size)
        if self.head:
            raw = raw[_stored_rows(first, last, self.head) - begin]
        values = self._decoded(raw, entry)
        return values.astype(np.float32) + np.float32(self.shift) if self.shift else values

    def _decoded(self, raw: NDArray[np.uint8], entry: TensorEntry) -> NDArray[np.generic]:
        found = TYPES[self.kind]
        if found.dtype:
            return np.ascontiguousarray(raw).view(raw_dtype(found.dtype))
        try:
            from gguf import GGMLQuantizationType
            from gguf.quants import dequantize
        except ImportError as error:
            raise CheckpointError(
                f"Values of type {found.name} are decoded by the package 'gguf', which is not installed",
                where=entry.file,
                remedy="Install it with `pip install gguf`.",
            ) from error
        try:
            decoded: NDArray[np.float32] = dequantize(raw, GGMLQuantizationType(self.kind))
        except (NotImplementedError, ValueError) as error:
            raise CheckpointError(
                f"The installed package 'gguf' does not decode the type {found.name} of '{entry.name}'",
                where=entry.file,
                remedy="Install a newer one with `pip install --upgrade gguf`.",
            ) from error
        return decoded


def _stored_rows(first: int, last: int, head: int) -> NDArray[np.int64]:
    """Where rows lie: within a head, rows i of the first half and of the second half are neighbours."""
    rows = np.arange(first, last)
    within = rows % head
    half, index = within // (head // 2), within % (head // 2)
    return rows - within + 2 * index + half
