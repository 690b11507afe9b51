"""Short numbers in the bytes of a block: interleaved fields, bit streams and little-endian words."""

from __future__ import annotations

import torch
from torch import Tensor


def pack_fields(values: Tensor, bits: int, stride: int) -> Tensor:
    """uint8 [blocks, bytes] of `values` [blocks, n] below 2^bits, where 8 / bits of them share a byte.

    Values are taken in runs of 8 / bits times `stride`; the one at place f · stride + i of a run is at bit f · bits of
    the run's byte i.
    """
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=values.device)
    fields = values.to(torch.uint8).reshape(len(values), -1, len(shifts), stride)
    # The fields do not overlap, so that their sum is their union.
    return (fields << shifts[:, None]).sum(2, dtype=torch.uint8).flatten(1)


def unpack_fields(packed: Tensor, bits: int, stride: int) -> Tensor:
    """The values uint8 [blocks, n] that `pack_fields` packed in uint8 [blocks, bytes]."""
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
    runs = packed.reshape(len(packed), -1, 1, stride)
    return ((runs >> shifts[:, None]) & ((1 << bits) - 1)).flatten(1)


def to_bytes(words: Tensor, width: int) -> Tensor:
    """uint8 [blocks, n · width], the lowest `width` bytes of each of the integers [blocks, n], lowest first."""
    shifts = torch.arange(0, 8 * width, 8, device=words.device)
    return ((words.long()[..., None] >> shifts) & 255).to(torch.uint8).flatten(1)


def from_bytes(packed: Tensor, width: int) -> Tensor:
    """The integers int64 [blocks, n] that `to_bytes` wrote to uint8 [blocks, n · width]."""
    shifts = torch.arange(0, 8 * width, 8, device=packed.device)
    return (packed.reshape(len(packed), -1, width).long() << shifts).sum(2)


def joined(parts: Tensor, bits: int) -> Tensor:
    """int64 [...] of numbers below 2^bits [..., count], the first in the lowest bits."""
    shifts = torch.arange(0, bits * parts.shape[-1], bits, device=parts.device)
    return (parts.long() << shifts).sum(-1)


def parted(words: Tensor, bits: int, count: int) -> Tensor:
    """The int64 numbers [..., count] that `joined` joined."""
    shifts = torch.arange(0, bits * count, bits, device=words.device)
    return (words.long()[..., None] >> shifts) & ((1 << bits) - 1)
