"""Codes of 1 to 8 bits in a dense little-endian bit stream of int32 words along each row.

Element i of a row occupies the bits [i·b, i·b + b) of the row's stream, lowest bit first, so codes of 3, 5, 6 and 7
bits may straddle two words. The bits after the last code are zero.

The work is done on eight codes at once: eight bytes seen as one int64 are joined three times (bytes → pairs → fours →
eight), after which the low b bytes hold the eight codes of b bits.
Source: "pack-quantized" of vllm-project/compressed-tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

CODES_PER_LANE = 8
WORD_BITS = 32

# Half the width in bits of the fields that each step joins.
_HALVES = (8, 16, 32)

# The dtypes as wide as eight codes of 1, 2 and 4 bits: a narrowing copy is many times faster than a copy of bytes.
_NARROW = {1: torch.uint8, 2: torch.int16, 4: torch.int32}


def words_per_row(cols: int, bits: int) -> int:
    """Number of int32 words that hold `cols` codes of `bits` bits."""
    return -(-cols * bits // WORD_BITS)


def pack_rows(codes: Tensor, bits: int) -> Tensor:
    """Pack codes along the rows.

    codes: uint8 [rows, cols], each below 2**bits. Returns int32 [rows, words_per_row(cols, bits)] on the same device.
    Raises ValueError for another dtype, another rank, or bits outside 1..8.
    """
    _check(codes, torch.uint8, bits)
    packed = codes.new_empty((codes.shape[0], words_per_row(codes.shape[1], bits)), dtype=torch.int32)
    pack_rows_into(codes, bits, packed)
    return packed


def pack_rows_into(codes: Tensor, bits: int, packed: Tensor) -> None:
    """As `pack_rows`, into contiguous int32 `packed` [rows, words_per_row(cols, bits)]."""
    rows = codes.shape[0]
    lanes = _lanes(codes)
    if bits < CODES_PER_LANE:
        lanes = _close_gaps(lanes, bits)
    used_bytes = lanes.shape[1] * bits
    if used_bytes == packed.shape[1] * 4:
        _low_bytes(lanes, bits, packed.view(torch.uint8))
        return
    stream = codes.new_zeros((rows, max(used_bytes, packed.shape[1] * 4)))
    _low_bytes(lanes, bits, stream[:, :used_bytes])
    packed.copy_(stream[:, : packed.shape[1] * 4].contiguous().view(torch.int32))


def unpack_rows(packed: Tensor, bits: int, cols: int) -> Tensor:
    """The codes that `pack_rows` packed.

    packed: int32 [rows, words_per_row(cols, bits)]. Returns uint8 [rows, cols] on the same device.
    Raises ValueError for another dtype, another rank, bits outside 1..8, or a number of words that does not fit `cols`.
    """
    _check(packed, torch.int32, bits)
    rows, words = packed.shape
    if words != words_per_row(cols, bits):
        raise ValueError(f"{cols} codes of {bits} bits take {words_per_row(cols, bits)} words a row, not {words}")
    lane_count = -(-cols // CODES_PER_LANE)
    stream = packed.contiguous().view(torch.uint8)
    lanes = packed.new_zeros((rows, lane_count), dtype=torch.int64)
    low = lanes.view(torch.uint8).view(rows, lane_count, 8)[:, :, :bits]
    missing = lane_count * bits - stream.shape[1]
    if missing > 0:
        stream = torch.nn.functional.pad(stream, (0, missing))
    low.copy_(stream[:, : lane_count * bits].view(rows, lane_count, bits))
    if bits < CODES_PER_LANE:
        _open_gaps(lanes, bits)
    codes = lanes.view(torch.uint8)
    return codes if codes.shape[1] == cols else codes[:, :cols].contiguous()


def _lanes(codes: Tensor) -> Tensor:
    """The codes seen as int64 [rows, ceil(cols / 8)], zero after the last one; a view of `codes` where it can be."""
    rows, cols = codes.shape
    if cols % CODES_PER_LANE == 0 and codes.is_contiguous() and codes.storage_offset() % 8 == 0:
        return codes.view(torch.int64)
    lanes = codes.new_zeros((rows, -(-cols // CODES_PER_LANE)), dtype=torch.int64)
    lanes.view(torch.uint8)[:, :cols] = codes
    return lanes


def _close_gaps(lanes: Tensor, bits: int) -> Tensor:
    """Eight codes of `bits` < 8 bits moved from byte positions to adjacent bit positions; leaves `lanes` as it is."""
    moved = torch.empty_like(lanes)
    closed = torch.empty_like(lanes)
    for half in _HALVES:
        width = bits * half // 8  # bits in use in each half of the field
        if 2 * width <= half:
            torch.bitwise_right_shift(lanes, half - width, out=moved)
            torch.bitwise_or(lanes, moved, out=closed)
            closed.bitwise_and_(_repeat((1 << 2 * width) - 1, 2 * half))
        else:
            torch.bitwise_right_shift(lanes, half, out=moved)
            moved.bitwise_and_(_repeat((1 << half) - 1, 2 * half))
            # Taking away upper·2^half and adding upper·2^width in one step moves the upper half down next to the lower.
            torch.sub(lanes, moved, alpha=(1 << half) - (1 << width), out=closed)
        lanes = closed
    return closed


def _open_gaps(lanes: Tensor, bits: int) -> None:
    """The inverse of `_close_gaps`, in place."""
    moved = torch.empty_like(lanes)
    for half in reversed(_HALVES):
        width = bits * half // 8
        torch.bitwise_right_shift(lanes, width, out=moved)
        moved.bitwise_and_(_repeat((1 << width) - 1, 2 * half))
        lanes.add_(moved, alpha=(1 << half) - (1 << width))


def _low_bytes(lanes: Tensor, bits: int, out: Tensor) -> None:
    """The low `bits` bytes of each int64 lane, into uint8 `out` [rows, lanes·bits]."""
    rows, lane_count = lanes.shape
    narrow = _NARROW.get(bits)
    if narrow is not None and out.is_contiguous():
        out.view(narrow).copy_(lanes)
        return
    out.view(rows, lane_count, bits).copy_(lanes.view(torch.uint8).view(rows, lane_count, 8)[:, :, :bits])


def _repeat(pattern: int, period: int) -> int:
    """`pattern` repeated every `period` bits over 64 bits, as a signed int64."""
    value = sum(pattern << start for start in range(0, 64, period))
    return value - (1 << 64) if value >> 63 else value


def _check(tensor: Tensor, dtype: torch.dtype, bits: int) -> None:
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be 1 to 8, not {bits}")
    if tensor.dtype != dtype or tensor.dim() != 2:
        raise ValueError(f"expected a {dtype} matrix, not {tensor.dtype} {list(tensor.shape)}")
