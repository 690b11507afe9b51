"""Microscaling codes in the order of ggml's MXFP4 blocks."""

from __future__ import annotations

import torch
from torch import Tensor


def mxfp4_rows(packed: Tensor, scales: Tensor) -> Tensor:
    """uint8 [rows, bytes of a row] of codes int32 [rows, words] and scales float8_e8m0fnu [rows, blocks].

    Two neighbours share a byte in the codes; in a block of 32 the weights 16 apart do.
    """
    powers = scales.contiguous().view(torch.uint8)
    rows, blocks = powers.shape
    pairs = packed.contiguous().view(torch.uint8).view(rows, -1)[:, : 16 * blocks]
    codes = torch.stack([pairs & 15, pairs >> 4], -1).view(rows, blocks, 2, 16)
    halves = codes[:, :, 0] | (codes[:, :, 1] << 4)
    return torch.cat([powers[..., None], halves], -1).view(rows, -1)
