"""Tensors of a checkpoint as torch tensors."""

from __future__ import annotations

import torch

from benchvise.core.checkpoint.read import read_rows, rows
from benchvise.core.checkpoint.records import TensorEntry


def load_rows(entry: TensorEntry, start: int, stop: int) -> torch.Tensor:
    """Rows `start` to `stop` along dimension 0, `[stop - start, *shape[1:]]` in the tensor's own dtype, on the CPU.

    A scalar is one row, `[1]`. Raises CheckpointError when the file is gone or has become shorter.
    """
    raw = torch.from_numpy(read_rows(entry, start, stop))
    return raw.view(torch_dtype(entry.dtype))


def load_tensor(entry: TensorEntry) -> torch.Tensor:
    """The whole tensor [*entry.shape] in its own dtype, on the CPU."""
    return load_rows(entry, 0, rows(entry)).reshape(entry.shape)


def torch_dtype(dtype: str) -> torch.dtype:
    """The torch dtype of that name; every name in `DTYPE_BITS` has one."""
    found: torch.dtype = getattr(torch, dtype)
    return found
