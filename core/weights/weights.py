"""Weights of a network, wherever they come from: as they were, or as a run left them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from benchvise.core.checkpoint.matrix_shape import as_matrix, from_matrix, matrix_entry
from benchvise.core.checkpoint.records import Checkpoint, Layer, TensorEntry
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.tensors import load_rows, load_tensor, torch_dtype
from benchvise.core.errors import CheckpointError
from benchvise.core.methods.activations import INPUT_SCALE
from benchvise.core.recipe.recipe import KEEP, Treatment
from benchvise.core.schemes.registry import arithmetic_of

BLOCK_BYTES = 32 << 20


class Weights(Protocol):
    """The layers of a dense network, each as it is stored and as it computes."""

    @property
    def source(self) -> str: ...

    @property
    def checkpoint(self) -> Checkpoint:
        """Names, shapes and dtypes as in the original dense network."""

    @property
    def stored_bytes(self) -> int:
        """Exact bytes of all stored layers."""

    def treatment(self, layer: Layer) -> Treatment: ...

    def changed(self, layer: Layer) -> bool:
        """Whether the layer is kept as it is stored, but with other values than the original has."""

    def stored(self, layer: Layer) -> dict[str, Tensor]:
        """The tensors of the layer's treatment, or {"weight": …} for a layer as it is.

        Dtypes and shapes are those of the scheme's `storage`; a weight is [*layer.shape] in the layer's dtype,
        the scale of inputs float32 [1].
        """

    def input_scale(self, layer: Layer) -> Tensor | None:
        """The fixed scale of the layer's inputs, float32 [1]; None when there is none."""

    def dense(self, layer: Layer) -> Tensor:
        """The weight as it computes, [*layer.shape] in the layer's dtype."""

    def dense_blocks(self, layer: Layer, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Tensor]]:
        """Pairs (first row, rows) of the weight as a matrix [rows, columns] in the layer's dtype, in order.

        The rows come in contiguous blocks of about `block_bytes`.
        """


class OriginalWeights:
    """A checkpoint as it is."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.source = checkpoint.path
        self.checkpoint = checkpoint

    @property
    def stored_bytes(self) -> int:
        return self.checkpoint.nbytes

    def treatment(self, layer: Layer) -> Treatment:  # noqa: ARG002 - every layer is as it is
        return KEEP

    def changed(self, layer: Layer) -> bool:  # noqa: ARG002 - every layer is as it is
        return False

    def stored(self, layer: Layer) -> dict[str, Tensor]:
        return {"weight": load_tensor(layer.tensor)}

    def input_scale(self, layer: Layer) -> Tensor | None:  # noqa: ARG002 - inputs are as they are
        return None

    def dense(self, layer: Layer) -> Tensor:
        return load_tensor(layer.tensor)

    def dense_blocks(self, layer: Layer, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Tensor]]:
        entry = matrix_entry(layer)
        whole = None if entry is not None else as_matrix(layer, load_tensor(layer.tensor))
        for start, stop in row_ranges(layer, block_bytes):
            if entry is not None:
                yield start, load_rows(entry, start, stop)
            elif whole is not None:
                yield start, whole[start:stop].contiguous()


class RunWeights:
    """A checkpoint whose layers a run compressed; the others are as they were, or as the run changed them."""

    def __init__(
        self,
        source: str,
        original: Weights,
        treatments: Mapping[str, Treatment],
        files: Mapping[str, Path],
        *,
        transformed: bool = False,
    ) -> None:
        """original: what the run compressed, surgery done. treatments, files: by the names of its layers.

        transformed: whether transforms changed what was compressed.
        """
        self.source = source
        self.checkpoint = original.checkpoint
        self.original = original
        self._treatments = treatments
        self._files = files
        self._transformed = transformed

    @property
    def stored_bytes(self) -> int:
        return sum(
            layer.nbytes if self.treatment(layer).keeps else self.treatment(layer).bytes_after(layer)
            for layer in self.checkpoint.layers
        )

    def treatment(self, layer: Layer) -> Treatment:
        return self._treatments.get(layer.name, KEEP)

    def changed(self, layer: Layer) -> bool:
        return self.treatment(layer).keeps and layer.name in self._files

    def stored(self, layer: Layer) -> dict[str, Tensor]:
        if self.treatment(layer).keeps and not self.changed(layer):
            return self.original.stored(layer)
        return {name: load_tensor(entry) for name, entry in self._entries(layer).items()}

    def solved_from(self, layer: Layer) -> Tensor:
        """What the codes stand for, [*layer.shape] in the layer's dtype; where transforms changed that, and nobody
        knows it any more, what they decode to."""
        return self.dense(layer) if self._transformed else self.original.dense(layer)

    def input_scale(self, layer: Layer) -> Tensor | None:
        if self.treatment(layer).keeps:
            return None
        entry = self._entries(layer).get(INPUT_SCALE)
        return None if entry is None else load_tensor(entry)

    def dense(self, layer: Layer) -> Tensor:
        if self.treatment(layer).keeps:
            return self.stored(layer)["weight"]
        return from_matrix(layer, torch.cat([rows for _, rows in self.dense_blocks(layer)]))

    def dense_blocks(self, layer: Layer, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Tensor]]:
        treatment = self.treatment(layer)
        if self.changed(layer):
            yield from self._changed_blocks(layer, block_bytes)
            return
        if treatment.keeps:
            yield from self.original.dense_blocks(layer, block_bytes)
            return
        entries = self._entries(layer)
        rows, columns = layer.matrix_shape
        by_row = ROW_TENSORS & entries.keys()
        tail = {name: load_tensor(entry) for name, entry in entries.items() if name not in by_row}
        flat = {name: matrix_entry_of(entries[name], rows) for name in by_row}
        decode = arithmetic_of(treatment.scheme).decode
        for start, stop in row_ranges(layer, block_bytes):
            stored = {name: load_rows(flat[name], start, stop) for name in by_row}
            yield start, decode(treatment.scheme, stored | tail, start, stop, columns).to(torch_dtype(layer.dtype))

    def _changed_blocks(self, layer: Layer, block_bytes: int) -> Iterator[tuple[int, Tensor]]:
        stored = replace(layer, tensor=self._entries(layer)["weight"])
        yield from OriginalWeights(self.checkpoint).dense_blocks(stored, block_bytes)

    def _entries(self, layer: Layer) -> dict[str, TensorEntry]:
        path = self._files.get(layer.name)
        if path is None or not path.is_file():
            raise CheckpointError(
                f"The compressed layer '{layer.name}' is missing from the workspace",
                where=str(path or self.source),
                remedy="Carry out the recipe once more with `compress --resume`; it computes missing layers.",
            )
        return {entry.name: entry for entry in read_header(path).entries}


ROW_TENSORS = frozenset({"weight", "weight_packed"})
"""Stored tensors with one row per row of the weight; all others belong to the whole layer."""


def matrix_entry_of(entry: TensorEntry, rows: int) -> TensorEntry:
    """A contiguous stored tensor seen as [rows, everything else]."""
    return replace(entry, shape=(rows, entry.elements // max(1, rows)))


def row_ranges(layer: Layer, block_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows of the layer's matrix, each of about `block_bytes` of the dense weight."""
    rows = layer.matrix_shape[0]
    step = max(1, block_bytes // max(1, layer.dense_nbytes // max(1, rows)))
    for start in range(0, rows, step):
        yield start, min(start + step, rows)
