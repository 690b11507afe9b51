"""Codes of small floats as bytes, as the compressed-tensors formats hold them."""

from __future__ import annotations

import torch
from torch import Tensor


def as_bytes(scale: Tensor) -> Tensor:
    """Scales float8_e8m0fnu [rows, blocks] as uint8 of the same shape and bits."""
    return scale.view(torch.uint8)


def nibbles(packed: Tensor, columns: int) -> Tensor:
    """E2M1 codes int32 [rows, words] as uint8 [rows, columns / 2].

    Nibbles in words of 32 bits are nibbles in bytes, lowest first, with unused ones at the end of each row.
    """
    return packed.view(torch.uint8)[:, : columns // 2].contiguous()
