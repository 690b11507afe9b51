"""The data of a GGUF tensor in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchvise.core.checkpoint.read import read_bytes
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.errors import OutputError
from benchvise.core.export.gguf.carried import CARRIED
from benchvise.core.export.gguf.tensors import TYPE_OF, WHOLE, GgufTensor, Part
from benchvise.core.weights.weights import Weights

BLOCK_BYTES = 32 << 20


def tensor_blocks(tensor: GgufTensor, weights: Weights) -> Iterator[Tensor]:
    """Contiguous blocks in order, together [*tensor.stored.shape], of the dtype of `tensor.stored`.

    Raises CheckpointError when the weights cannot be read, OutputError where a transform changed what a file of blocks
    holds.
    """
    dtype = torch_dtype(tensor.stored.dtype)
    if not tensor.parts:
        yield torch.tensor(tensor.table, dtype=dtype)
    for part in tensor.parts:
        if part.origin == "file" and not weights.changed(part.layer):
            yield from _bytes_of_file(part, dtype)
        elif part.origin == "codes":
            yield _carried(part, weights)
        elif TYPE_OF[tensor.kind].dtype:
            yield from _values(part, weights, dtype)
        else:
            raise OutputError(
                f"'{part.layer.name}' has other values than the file that was opened, and no codes for them",
                remedy="Give the layer a GGUF type in the recipe, or leave out the transform that changes it.",
            )


def _bytes_of_file(part: Part, dtype: torch.dtype) -> Iterator[Tensor]:
    """The bytes as the opened file has them; they are not decoded."""
    entry = part.layer.tensor
    for start in range(0, entry.nbytes, BLOCK_BYTES):
        raw = read_bytes(entry, entry.offset + start, min(BLOCK_BYTES, entry.nbytes - start))
        yield torch.from_numpy(raw).view(dtype)


def _carried(part: Part, weights: Weights) -> Tensor:
    if part.scheme is None:
        raise ValueError(f"'{part.layer.name}' has no codes")
    form = CARRIED[type(part.scheme)]
    found = form.rows(part.scheme, weights.stored(part.layer))
    if part.head:
        found = found[_interleaved(len(found), part.head)]
    dtype = TYPE_OF[form.kind(part.scheme, part.layer)].dtype
    return found.view(torch_dtype(dtype)) if dtype else found


def _values(part: Part, weights: Weights, dtype: torch.dtype) -> Iterator[Tensor]:
    layer = part.layer
    if part.piece == WHOLE and not part.head and not part.shift and not layer.transposed:
        for _, rows in weights.dense_blocks(layer, BLOCK_BYTES):
            yield rows.to(dtype)
        return
    values = weights.dense(layer)
    if part.head:
        values = values[_interleaved(len(values), part.head)]
    if part.piece != WHOLE:
        values = _cut(values, part)
    yield (values.float() + part.shift if part.shift else values).to(dtype).contiguous()


def _cut(values: Tensor, part: Part) -> Tensor:
    piece = part.piece
    if piece.rows:
        found = values.view(-1, piece.rows, values.shape[-1])[:, piece.start : piece.stop]
        return found.transpose(1, 2) if piece.turned else found
    values = values.transpose(-1, -2) if piece.turned else values
    taken = slice(piece.start, piece.stop, piece.step)
    return values[..., taken, :] if piece.turned or values.dim() > 2 else values[..., taken]


def _interleaved(rows: int, head: int) -> Tensor:
    """Where each row comes from: within a head, row i of the first half and of the second half become neighbours."""
    half = head // 2
    return torch.arange(rows).view(-1, 2, half).transpose(1, 2).reshape(-1)
