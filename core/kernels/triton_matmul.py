"""y = x @ ŵᵀ on the GPU, straight from the packed words of 4 or 8 bit weights: W4A16 and W8A16.

ŵ = s · (u − z) with s and z of the group; x in float16 or bfloat16, sums in float32. Two kernels:

    few tokens (1 or 2)    bound by reading the weights: multiply and add in registers, every word read once,
                           the columns split between programs until the GPU is full
    more                   tensor cores with the weights as the *first* operand (yᵀ = ŵ xᵀ): there they may stay in
                           registers after decoding, and the tokens may be as few as 16

u − z is a small integer and exact in either half precision, so that the weights enter the product unrounded; the scale
is applied to the float32 sum of a group. Split columns are added in a fixed order: timing does not change the result.
Source: the order of operands as in arXiv:2408.11743 (Marlin); splitting the columns as in arXiv:2402.00025.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from benchvise.core.kernels.availability import triton_interpreted
from benchvise.core.kernels.packing import WORD_BITS, pack_rows, unpack_rows
from benchvise.core.kernels.quantise import Packed
from benchvise.core.kernels.recentre import recentred

# Up to this many tokens multiplying in registers keeps up with reading the weights.
FEW_TOKENS = 2
# Programs that keep one multiprocessor busy while their loads are on the way.
PROGRAMS_PER_PROCESSOR = 8

_WORD_BITS = tl.constexpr(WORD_BITS)
# 2^23 as float32: an integer in the low bits of this pattern is the number 2^23 + that integer.
_PATTERN = tl.constexpr(0x4B000000)
_PATTERN_VALUE = tl.constexpr(8388608.0)


@triton.jit
def above_zero_point(fields: tl.tensor, zero_point: tl.tensor) -> tl.tensor:
    """u − z as float32, exactly, of codes in the low bits of int32 `fields`; `zero_point` float32, broadcastable.

    An "or" and a subtraction, where a conversion from integer runs at a quarter of the speed.
    """
    return (fields | _PATTERN).to(tl.float32, bitcast=True) - (zero_point + _PATTERN_VALUE)


@triton.jit
def few_tokens_kernel(
    x: tl.tensor,
    words: tl.tensor,
    scales: tl.tensor,
    zero_points: tl.tensor,
    sums: tl.tensor,
    tokens: tl.int32,
    rows: tl.int32,
    cols: tl.int32,
    row_words: tl.int32,
    group_size: tl.int32,
    split_words: tl.int32,
    bits: tl.constexpr,
    symmetric: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_words: tl.constexpr,
) -> None:
    """Sums of one token over one part of the columns; the group size is a multiple of the codes in a word.

    x: [tokens, cols]. words: int32 [rows, row_words]. scales, zero_points: [rows, groups].
    sums: float32 [parts, tokens, rows]. Program (row tile, part, token); a part is `split_words` words of a row.
    """
    in_word: tl.constexpr = _WORD_BITS // bits
    row = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    real_row = row < rows
    row_start = row.to(tl.int64) * row_words
    groups = cols // group_size
    token = tl.program_id(2)
    first = tl.program_id(1) * split_words
    last = tl.minimum(first + split_words, row_words)
    total = tl.zeros([tile_rows, tile_words], tl.float32)
    for start in range(first, last, tile_words):
        word = start + tl.arange(0, tile_words)
        inside = real_row[:, None] & (word < last)[None, :]
        codes = tl.load(words + row_start[:, None] + word[None, :], mask=inside, other=0)
        group = row[:, None] * groups + (word * in_word // group_size)[None, :]
        scale = tl.load(scales + group, mask=inside, other=0.0).to(tl.float32)
        if symmetric:
            zero_point = tl.full([1, 1], 1 << (bits - 1), tl.float32)
        else:
            zero_point = tl.load(zero_points + group, mask=inside, other=0).to(tl.float32)
        part = tl.zeros([tile_rows, tile_words], tl.float32)
        for place in tl.static_range(in_word):
            col = word * in_word + place
            value = tl.load(x + token * cols + col, mask=(word < last) & (col < cols), other=0.0).to(tl.float32)
            fields = (codes >> (place * bits)) & ((1 << bits) - 1)
            part += above_zero_point(fields, zero_point) * value[None, :]
        total += part * scale
    place_in_sums = (tl.program_id(1) * tokens + token).to(tl.int64) * rows + row
    tl.store(sums + place_in_sums, tl.sum(total, 1), mask=real_row)


@triton.jit
def decoded_tile(
    words: tl.tensor,
    row_start: tl.tensor,
    real_row: tl.tensor,
    first_word: tl.tensor,
    row_words: tl.int32,
    bits: tl.constexpr,
    tile_cols: tl.constexpr,
) -> tl.tensor:
    """int32 codes [rows, tile_cols] of the words that begin at `first_word`; zero outside the weight."""
    in_word: tl.constexpr = _WORD_BITS // bits
    tile_words: tl.constexpr = tile_cols // in_word
    word = first_word + tl.arange(0, tile_words)
    inside = real_row[:, None] & (word < row_words)[None, :]
    read = tl.load(words + row_start[:, None] + word[None, :], mask=inside, other=0)
    shifts = tl.arange(0, in_word) * bits
    fields = (read[:, :, None] >> shifts[None, None, :]) & ((1 << bits) - 1)
    return tl.reshape(fields, [read.shape[0], tile_cols])


@triton.jit
def many_tokens_kernel(
    x: tl.tensor,
    words: tl.tensor,
    scales: tl.tensor,
    zero_points: tl.tensor,
    sums: tl.tensor,
    tokens: tl.int32,
    rows: tl.int32,
    cols: tl.int32,
    row_words: tl.int32,
    group_size: tl.int32,
    split_cols: tl.int32,
    bits: tl.constexpr,
    symmetric: tl.constexpr,
    whole_tiles: tl.constexpr,
    interpreted: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_tokens: tl.constexpr,
    tile_cols: tl.constexpr,
) -> None:
    """Sums of a tile of tokens over one part of the columns, with tensor cores.

    x: [tokens, cols]. words: int32 [rows, row_words]. scales, zero_points: [rows, groups].
    sums: [parts, tokens, rows]. Program (row tile, token tile, part); a part is `split_cols` columns.
    whole_tiles: every group is a multiple of `tile_cols`, so that a tile has one scale a row; otherwise the weights are
    scaled one by one, in float32, and rounded to the dtype of x.
    """
    row = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    token = tl.program_id(1) * tile_tokens + tl.arange(0, tile_tokens)
    real_row = row < rows
    real_token = token < tokens
    row_start = row.to(tl.int64) * row_words
    groups = cols // group_size
    first = tl.program_id(2) * split_cols
    last = tl.minimum(first + split_cols, cols)
    total = tl.zeros([tile_rows, tile_tokens], tl.float32)
    for start in range(first, last, tile_cols):
        col = start + tl.arange(0, tile_cols)
        real_col = col < last
        values = tl.load(
            x + token[None, :].to(tl.int64) * cols + col[:, None],
            mask=real_token[None, :] & real_col[:, None],
            other=0.0,
        )
        codes = decoded_tile(words, row_start, real_row, start * bits // _WORD_BITS, row_words, bits, tile_cols)
        if whole_tiles:
            group = row * groups + start // group_size
            zero_point = tl.full([tile_rows], 1 << (bits - 1), tl.float32)
            if not symmetric:
                zero_point = tl.load(zero_points + group, mask=real_row, other=0).to(tl.float32)
            scale = tl.load(scales + group, mask=real_row, other=0.0).to(tl.float32)
            weights = above_zero_point(codes, zero_point[:, None]).to(x.dtype.element_ty)
            total += dot(weights, values, interpreted) * scale[:, None]
        else:
            group = row[:, None] * groups + (col // group_size)[None, :]
            inside = real_row[:, None] & real_col[None, :]
            zero_point = tl.full([1, 1], 1 << (bits - 1), tl.float32)
            if not symmetric:
                zero_point = tl.load(zero_points + group, mask=inside, other=0).to(tl.float32)
            scale = tl.load(scales + group, mask=inside, other=0.0).to(tl.float32)
            weights = (above_zero_point(codes, zero_point) * scale).to(x.dtype.element_ty)
            total += dot(weights, values, interpreted)
    place = (tl.program_id(2) * tokens + token[:, None]).to(tl.int64) * rows + row[None, :]
    mask = real_token[:, None] & real_row[None, :]
    tl.store(sums + place, tl.trans(total).to(sums.dtype.element_ty), mask=mask)


@triton.jit
def dot(weights: tl.tensor, values: tl.tensor, interpreted: tl.constexpr) -> tl.tensor:
    """The product with float32 sums. The interpreter would multiply bfloat16's bit patterns: it is given float32."""
    if interpreted:
        return tl.dot(weights.to(tl.float32), values.to(tl.float32))
    return tl.dot(weights, values)


@dataclass(frozen=True)
class Tiles:
    """How one multiplication is cut into programs. parts: how many share a row's columns; part_cols: their columns."""

    rows: int
    tokens: int
    cols: int
    parts: int
    part_cols: int
    warps: int
    stages: int


def choose_tiles(tokens: int, rows: int, cols: int, bits: int, group_size: int, processors: int) -> Tiles:
    """The cut for y [tokens, rows] on a GPU of `processors` multiprocessors."""
    in_word = WORD_BITS // bits
    if tokens <= FEW_TOKENS and group_size % in_word == 0:
        tile_rows, tile_cols = 8, 128 * in_word
        programs = triton.cdiv(rows, tile_rows) * tokens
        parts, part_cols = _split(cols, tile_cols, programs, processors * PROGRAMS_PER_PROCESSOR)
        return Tiles(tile_rows, 1, tile_cols, parts, part_cols, warps=4, stages=2)
    tile_cols = tile_cols_of(cols, bits, group_size)
    if tokens <= 64:
        tile_rows, tile_tokens = 64, max(16, triton.next_power_of_2(tokens))
        programs = triton.cdiv(rows, tile_rows)
        parts, part_cols = _split(cols, 4 * tile_cols, programs, processors * 2)
        return Tiles(tile_rows, tile_tokens, tile_cols, parts, part_cols, warps=4, stages=4)
    # Longer tiles of 8-bit codes leave too few registers where the tensor cores' first operand must be in them.
    return Tiles(128, 128, min(64 if bits == 4 else 32, tile_cols), 1, cols, warps=8, stages=3)


def tile_cols_of(cols: int, bits: int, group_size: int) -> int:
    """Columns of a tile for the tensor cores: within one group where that leaves tiles of 16 or more."""
    longest = 128 if bits == 4 else 64
    if group_size == cols:
        return longest
    dividing = [size for size in (longest, 64, 32, 16) if size <= longest and group_size % size == 0]
    return dividing[0] if dividing else 32


def _split(cols: int, step: int, programs: int, wanted: int) -> tuple[int, int]:
    """Into how many parts of how many columns (multiples of `step`) to cut, for about `wanted` programs in all."""
    steps = triton.cdiv(cols, step)
    parts = min(steps, max(1, triton.cdiv(wanted, programs)))
    part_cols = triton.cdiv(steps, parts) * step
    return triton.cdiv(cols, part_cols), part_cols


def multiply_packed(x: Tensor, packed: Packed, bits: int, cols: int, tiles: Tiles | None = None) -> Tensor:
    """x [tokens, cols] @ ŵᵀ → [tokens, rows], both float16 or bfloat16; bits 4 or 8.

    tiles: how to cut the work; without it the choice of `choose_tiles`.
    Raises ValueError for other bits or another dtype.
    """
    if bits not in (4, 8) or x.dtype not in (torch.float16, torch.bfloat16):
        raise ValueError(f"the kernels read 4 and 8 bits and half precision, not {bits} bits and {x.dtype}")
    tokens, rows = x.shape[0], packed.scale.shape[0]
    group_size = cols // packed.scale.shape[1]
    tiles = tiles or choose_tiles(tokens, rows, cols, bits, group_size, _processors(x.device))
    if tokens == 0 or rows == 0:
        return x.new_zeros((tokens, rows))
    x = x.contiguous()
    if tiles.tokens == 1:
        return _few_tokens(x, packed, bits, group_size, tiles)
    return _many_tokens(x, packed, bits, group_size, tiles)


def _few_tokens(x: Tensor, packed: Packed, bits: int, group_size: int, tiles: Tiles) -> Tensor:
    tokens, cols = x.shape
    rows, row_words = packed.packed.shape
    in_word = WORD_BITS // bits
    sums = torch.empty((tiles.parts, tokens, rows), dtype=torch.float32, device=x.device)
    few_tokens_kernel[(triton.cdiv(rows, tiles.rows), tiles.parts, tokens)](
        x,
        packed.packed,
        packed.scale,
        packed.scale if packed.zero_point is None else packed.zero_point,
        sums,
        tokens,
        rows,
        cols,
        row_words,
        group_size,
        tiles.part_cols // in_word,
        bits=bits,
        symmetric=packed.zero_point is None,
        tile_rows=tiles.rows,
        tile_words=tiles.cols // in_word,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )
    return sums.sum(0).to(x.dtype)


def _many_tokens(x: Tensor, packed: Packed, bits: int, group_size: int, tiles: Tiles) -> Tensor:
    tokens, cols = x.shape
    rows, row_words = packed.packed.shape
    sums_dtype = x.dtype if tiles.parts == 1 else torch.float32
    sums = torch.empty((tiles.parts, tokens, rows), dtype=sums_dtype, device=x.device)
    many_tokens_kernel[(triton.cdiv(rows, tiles.rows), triton.cdiv(tokens, tiles.tokens), tiles.parts)](
        x,
        packed.packed,
        packed.scale,
        packed.scale if packed.zero_point is None else packed.zero_point,
        sums,
        tokens,
        rows,
        cols,
        row_words,
        group_size,
        tiles.part_cols,
        bits=bits,
        symmetric=packed.zero_point is None,
        whole_tiles=group_size == cols or group_size % tiles.cols == 0,
        interpreted=triton_interpreted(),
        tile_rows=tiles.rows,
        tile_tokens=tiles.tokens,
        tile_cols=tiles.cols,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )
    return sums[0] if tiles.parts == 1 else sums.sum(0).to(x.dtype)


def triton_linear(
    packed: Packed, bits: int, cols: int, dtype: torch.dtype
) -> tuple[tuple[Tensor, ...], Callable[[Tensor], Tensor]]:
    """The tensors that the weight is kept as, and the multiplication x [tokens, cols] → [tokens, rows].

    Codes of other widths than 4 and 8 are moved, exactly, to the next of them. Activations are `dtype` if that is
    float16, otherwise bfloat16.
    """
    width = 4 if bits <= 4 else 8
    if width != bits:
        codes = recentred(unpack_rows(packed.packed, bits, cols), packed.zero_point, bits, width)
        packed = Packed(pack_rows(codes, width), packed.scale, None)
    half = torch.float16 if dtype == torch.float16 else torch.bfloat16
    kept = Packed(
        packed.packed.contiguous(),
        packed.scale.contiguous(),
        None if packed.zero_point is None else packed.zero_point.contiguous(),
    )
    tensors = tuple(tensor for tensor in (kept.packed, kept.scale, kept.zero_point) if tensor is not None)
    return tensors, lambda x: multiply_packed(x.to(half), kept, width, cols)


def _processors(device: torch.device) -> int:
    """Multiprocessors of the GPU; one for the interpreter, which works through programs one by one."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
