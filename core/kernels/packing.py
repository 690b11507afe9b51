"""Codes of 1 to 8 bits in a dense little-endian bit stream of int32 words along each row.

Element i of a row occupies the bits [i·b, i·b + b) of the row's stream, lowest bit first, so codes of 3, 5, 6 and 7
bits may straddle two words. The bits after the last code are zero.

A lane is the shortest run of codes that fills whole bytes of the stream: 8 codes make b bytes, or, where b divides 8,
8 / b codes make one byte. Its codes, a byte each, are seen as one integer, and neighbours are joined (bytes → pairs →
fours → eights) until the low bytes of the lane are the bytes of the stream.
Source: "pack-quantized" of vllm-project/compressed-tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

WORD_BITS = 32
_BYTE_BITS = 8
_INTEGER_OF_BYTES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


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
    lanes = _joined(_as_lanes(codes, bits), bits)
    stream = _seen_as(packed, torch.uint8)
    used_bytes = lanes.shape[1] * _lane_bytes(bits)
    if used_bytes == stream.shape[1]:
        _write_low_bytes(lanes, stream, bits)
        return
    padded = codes.new_zeros((codes.shape[0], max(used_bytes, stream.shape[1])))
    _write_low_bytes(lanes, padded[:, :used_bytes], bits)
    stream.copy_(padded[:, : stream.shape[1]])


def unpack_rows(packed: Tensor, bits: int, cols: int) -> Tensor:
    """The codes that `pack_rows` packed.

    packed: int32 [rows, words_per_row(cols, bits)]. Returns uint8 [rows, cols] on the same device.
    Raises ValueError for another dtype, another rank, bits outside 1..8, or a number of words that does not fit `cols`.
    """
    _check(packed, torch.int32, bits)
    words = packed.shape[1]
    if words != words_per_row(cols, bits):
        raise ValueError(f"{cols} codes of {bits} bits take {words_per_row(cols, bits)} words a row, not {words}")
    lane_count = -(-cols // _lane_codes(bits))
    used_bytes = lane_count * _lane_bytes(bits)
    stream = _seen_as(packed.contiguous(), torch.uint8)
    if used_bytes > stream.shape[1]:
        stream = torch.nn.functional.pad(stream, (0, used_bytes - stream.shape[1]))
    lanes = _read_low_bytes(stream[:, :used_bytes], lane_count, bits)
    codes = _seen_as(_parted(lanes, bits), torch.uint8)
    return codes if codes.shape[1] == cols else codes[:, :cols].contiguous()


def _joined(lanes: Tensor, bits: int) -> Tensor:
    """The codes in the bytes of each integer of `lanes` (1, 2, 4 or 8 bytes wide) moved together into its low bits.

    What is above them is arbitrary; `lanes` itself is left as it is.
    """
    for half in _halves(lanes):
        width = bits * half // _BYTE_BITS  # bits in use in each half of the field
        if 2 * width <= half:
            # The lower half, moved too, falls into bits that the mask of the next step, or narrowing, takes away.
            lanes = _below(lanes, 2 * width, 2 * half, half - width)
        else:
            upper = torch.bitwise_right_shift(lanes, half).bitwise_and_(_repeated((1 << half) - 1, 2 * half, lanes))
            # Taking away upper·2^half and adding upper·2^width in one step moves it down next to the lower half.
            lanes = torch.sub(lanes, upper, alpha=(1 << half) - (1 << width))
    return lanes


def _below(lanes: Tensor, width: int, field: int, distance: int) -> Tensor:
    """`lanes` and itself moved down by `distance` bits, in the low `width` bits of every field of `field` bits."""
    moved = torch.bitwise_right_shift(lanes, distance).bitwise_or_(lanes)
    if field == lanes.dtype.itemsize * _BYTE_BITS:
        return moved
    return moved.bitwise_and_(_repeated((1 << width) - 1, field, lanes))


def _parted(lanes: Tensor, bits: int) -> Tensor:
    """The inverse of `_joined`: the codes of each lane one to a byte. The bits above the codes must be zero."""
    for half in reversed(_halves(lanes)):
        width = bits * half // _BYTE_BITS
        if 2 * width <= half:
            moved = torch.bitwise_left_shift(lanes, half - width).bitwise_or_(lanes)
            lanes = moved.bitwise_and_(_repeated((1 << width) - 1, half, lanes))
        else:
            upper = torch.bitwise_right_shift(lanes, width)
            upper.bitwise_and_(_repeated((1 << width) - 1, 2 * half, lanes))
            lanes = torch.add(lanes, upper, alpha=(1 << half) - (1 << width))
    return lanes


def _as_lanes(codes: Tensor, bits: int) -> Tensor:
    """The codes as integers [rows, lanes], zero after the last code; a view of `codes` where it can be."""
    rows, cols = codes.shape
    lane_codes = _lane_codes(bits)
    if cols % lane_codes == 0 and codes.is_contiguous() and codes.storage_offset() % lane_codes == 0:
        # Flat first: a single row that came from a transposed column keeps a stride that cannot be widened.
        return codes.view(-1).view(_INTEGER_OF_BYTES[lane_codes]).view(rows, cols // lane_codes)
    padded = codes.new_zeros((rows, -(-cols // lane_codes) * lane_codes))
    padded[:, :cols] = codes
    return _seen_as(padded, _INTEGER_OF_BYTES[lane_codes])


def _write_low_bytes(lanes: Tensor, stream: Tensor, bits: int) -> None:
    """The low bytes of each lane into uint8 `stream` [rows, lanes·bytes]."""
    if _lane_bytes(bits) == 1:
        stream.copy_(lanes)
        return
    rows, count = lanes.shape
    lane_bytes = _seen_as(lanes, torch.uint8).view(rows, count, lanes.dtype.itemsize)
    stream.view(rows, count, bits).copy_(lane_bytes[:, :, :bits])


def _read_low_bytes(stream: Tensor, count: int, bits: int) -> Tensor:
    """The inverse of `_write_low_bytes`: [rows, count] lanes, zero above the bytes of `stream`."""
    dtype = _INTEGER_OF_BYTES[_lane_codes(bits)]
    if _lane_bytes(bits) == 1:
        return stream.to(dtype, copy=True, memory_format=torch.contiguous_format)
    rows = stream.shape[0]
    lanes = torch.zeros((rows, count), dtype=dtype, device=stream.device)
    lane_bytes = lanes.view(torch.uint8).view(rows, count, dtype.itemsize)
    lane_bytes[:, :, :bits] = stream.view(rows, count, bits)
    return lanes


def _seen_as(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """The memory of a contiguous `matrix` as another dtype, along its rows."""
    rows, cols = matrix.shape
    # Flat first: a matrix of one column, or of none, may call itself contiguous whatever its strides.
    return matrix.view(-1).view(dtype).view(rows, cols * matrix.dtype.itemsize // dtype.itemsize)


def _lane_codes(bits: int) -> int:
    """Codes in a lane; also the bytes of its integer."""
    return _BYTE_BITS // bits if _BYTE_BITS % bits == 0 else _BYTE_BITS


def _lane_bytes(bits: int) -> int:
    """Bytes of the stream that a lane fills."""
    return _lane_codes(bits) * bits // _BYTE_BITS


def _halves(lanes: Tensor) -> list[int]:
    """Half the width in bits of the fields that each step joins, up to the width of the integers in `lanes`."""
    width = lanes.dtype.itemsize * _BYTE_BITS
    return [half for half in (8, 16, 32) if 2 * half <= width]


def _repeated(pattern: int, period: int, lanes: Tensor) -> int:
    """`pattern` repeated every `period` bits, as a number of the signed integer type of `lanes`."""
    width = lanes.dtype.itemsize * _BYTE_BITS
    value = sum(pattern << start for start in range(0, width, period))
    return value - (1 << width) if value >> (width - 1) else value


def _check(tensor: Tensor, dtype: torch.dtype, bits: int) -> None:
    if not 1 <= bits <= _BYTE_BITS:
        raise ValueError(f"bits must be 1 to 8, not {bits}")
    if tensor.dtype != dtype or tensor.dim() != 2:
        raise ValueError(f"expected a {dtype} matrix, not {tensor.dtype} {list(tensor.shape)}")
