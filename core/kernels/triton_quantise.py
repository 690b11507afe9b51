"""Group statistics, quantisation and packing on the GPU, in one pass over the weights where groups hold whole words.

Numbers are those of `core.kernels.quantise`, bit for bit: true division, rounding of the stored scale, ties to even.
Rounding is done by adding 1.5·2^23, at which the spacing of float32 is one: hardware rounds to even, and the low bits
of the sum are the integer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from benchvise.core.kernels.packing import words_per_row

LANE = 32  # codes that fill whole words at every number of bits
# The longest group whose weights one program keeps in registers; beyond it statistics take a pass of their own.
LONGEST_FUSED_GROUP = 16384
WEIGHTS_PER_PROGRAM = 4096

_LANE = tl.constexpr(LANE)
_ROUNDING = tl.constexpr(12582912.0)
_ROUNDING_BITS = tl.constexpr(0x4B400000)
_TRITON_DTYPE = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


@triton.jit
def rounded_integer(values: tl.tensor) -> tl.tensor:
    """float32 `values`, below 2^22 in magnitude, to the nearest int32, ties to even."""
    return (values + _ROUNDING).to(tl.int32, bitcast=True) - _ROUNDING_BITS


@triton.jit
def as_float32(values: tl.tensor) -> tl.tensor:
    """float16, bfloat16 or float32 `values` as float32, exactly.

    bfloat16 by hand, at the same cost: the interpreter's conversion is wrong for numbers below the smallest normal one.
    """
    if values.dtype == tl.bfloat16:
        return (values.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)
    return values.to(tl.float32)


@triton.jit
def stored_scale(step: tl.tensor, tiny: tl.constexpr, largest: tl.constexpr, scale_dtype: tl.constexpr) -> tl.tensor:
    """float32 `step` within the normal numbers of the scale's dtype, rounded to it; float32."""
    bounded = tl.minimum(tl.maximum(step, tiny), largest)
    if scale_dtype == tl.bfloat16:
        # Rounded by hand: the interpreter's conversion to bfloat16 cuts off.
        below = bounded.to(tl.uint32, bitcast=True)
        rounded = ((below + 0x7FFF + ((below >> 16) & 1)) & 0xFFFF0000).to(tl.float32, bitcast=True)
    else:
        rounded = bounded.to(scale_dtype).to(tl.float32)
    return tl.maximum(rounded, tiny)


@triton.jit
def codes_of(
    values: tl.tensor, scale: tl.tensor, zero_point: tl.tensor, bits: tl.constexpr, symmetric: tl.constexpr
) -> tl.tensor:
    """int32 codes of float32 `values`; scale and zero point (int32) of the same or a broadcastable shape."""
    half: tl.constexpr = 1 << (bits - 1)
    steps = tl.div_rn(values, tl.broadcast_to(scale, values.shape))
    if symmetric:
        return rounded_integer(tl.minimum(tl.maximum(steps, -half * 1.0), half - 1.0)) + half
    # Beyond ±512 the code is at its bound wherever zero lies.
    codes = rounded_integer(tl.minimum(tl.maximum(steps, -512.0), 512.0)) + zero_point
    return tl.minimum(tl.maximum(codes, 0), 2 * half - 1)


@triton.jit
def store_words(
    codes: tl.tensor, packed: tl.tensor, first_word: tl.tensor, words: tl.tensor, bits: tl.constexpr
) -> None:
    """Pack int32 codes [lanes, 32] and store of each lane the first `words` [lanes] words at `first_word` [lanes]."""
    if _LANE % bits == 0:
        in_word: tl.constexpr = _LANE // bits
        shifts = tl.arange(0, in_word) * bits
        fields = tl.reshape(codes, [codes.shape[0], bits, in_word]) << shifts[None, None, :]
        word = tl.arange(0, bits)
        mask = word[None, :] < words[:, None]
        tl.store(packed + first_word[:, None] + word[None, :], tl.sum(fields, 2), mask=mask)
    else:
        starts = tl.arange(0, _LANE) * bits
        for word in tl.static_range(bits):
            left = starts - word * 32
            inside = (left > -bits) & (left < 32)
            up = codes << tl.minimum(tl.maximum(left, 0), 31)[None, :]
            down = codes >> tl.minimum(tl.maximum(-left, 0), 31)[None, :]
            fields = tl.where(inside[None, :], tl.where((left >= 0)[None, :], up, down), 0)
            tl.store(packed + first_word + word, tl.sum(fields, 1), mask=word < words)


@triton.jit
def grid_of_tile(
    values: tl.tensor,
    bits: tl.constexpr,
    symmetric: tl.constexpr,
    tiny: tl.constexpr,
    largest: tl.constexpr,
    scale_dtype: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """The stored scale (as float32) and the zero point (int32) of each row of float32 `values` [groups, size].

    Values beyond the group must be zero.
    """
    top: tl.constexpr = (1 << bits) - 1
    if symmetric:
        step = tl.div_rn(tl.max(tl.abs(values), 1), tl.full([values.shape[0]], top / 2, tl.float32))
        zero_point = tl.full([values.shape[0]], 0, tl.int32)
        return stored_scale(step, tiny, largest, scale_dtype), zero_point
    low = tl.minimum(tl.min(values, 1), 0.0)
    high = tl.maximum(tl.max(values, 1), 0.0)
    step = tl.div_rn(high - low, tl.full([values.shape[0]], top * 1.0, tl.float32))
    scale = stored_scale(step, tiny, largest, scale_dtype)
    offset = tl.minimum(tl.maximum(tl.div_rn(-low, scale), 0.0), top * 1.0)
    return scale, rounded_integer(offset)


@triton.jit
def quantise_groups_kernel(
    weight: tl.tensor,
    packed: tl.tensor,
    scales: tl.tensor,
    zero_points: tl.tensor,
    group_count: tl.int64,
    group_size: tl.constexpr,
    bits: tl.constexpr,
    symmetric: tl.constexpr,
    tiny: tl.constexpr,
    largest: tl.constexpr,
    scale_dtype: tl.constexpr,
    tile_groups: tl.constexpr,
    tile_size: tl.constexpr,
) -> None:
    """Statistics, codes and words of `tile_groups` groups.

    group_size: a multiple of 32; tile_size: the next power of two.
    weight: [group_count, group_size], contiguous. packed: int32 [group_count, group_size·bits / 32].
    """
    group = tl.program_id(0).to(tl.int64) * tile_groups + tl.arange(0, tile_groups)
    place = tl.arange(0, tile_size)
    inside = (group < group_count)[:, None] & (place < group_size)[None, :]
    values = as_float32(tl.load(weight + group[:, None] * group_size + place[None, :], mask=inside, other=0.0))
    scale, zero_point = grid_of_tile(values, bits, symmetric, tiny, largest, scale_dtype)
    tl.store(scales + group, scale.to(scale_dtype), mask=group < group_count)
    if not symmetric:
        tl.store(zero_points + group, zero_point.to(tl.uint8), mask=group < group_count)
    codes = codes_of(values, scale[:, None], zero_point[:, None], bits, symmetric)

    lanes: tl.constexpr = tile_size // _LANE
    lane = tl.arange(0, tile_groups * lanes)
    lane_group = tl.program_id(0).to(tl.int64) * tile_groups + lane // lanes
    whole = (lane_group < group_count) & (lane % lanes < group_size // _LANE)
    first_word = (lane_group * (group_size // _LANE) + lane % lanes) * bits
    words = tl.where(whole, bits, 0)
    store_words(tl.reshape(codes, [tile_groups * lanes, _LANE]), packed, first_word, words, bits)


@triton.jit
def group_grid_kernel(
    weight: tl.tensor,
    scales: tl.tensor,
    zero_points: tl.tensor,
    group_size: tl.int32,
    bits: tl.constexpr,
    symmetric: tl.constexpr,
    tiny: tl.constexpr,
    largest: tl.constexpr,
    scale_dtype: tl.constexpr,
    tile_size: tl.constexpr,
) -> None:
    """The grid of one group of any length: weight [groups, group_size], contiguous; one program a group."""
    group = tl.program_id(0).to(tl.int64)
    # The bounds of a group hold zero whatever its sign, so that what is masked to zero changes nothing.
    low = tl.zeros([tile_size], tl.float32)
    high = tl.zeros([tile_size], tl.float32)
    for start in range(0, group_size, tile_size):
        place = start + tl.arange(0, tile_size)
        values = as_float32(tl.load(weight + group * group_size + place, mask=place < group_size, other=0.0))
        low = tl.minimum(low, values)
        high = tl.maximum(high, values)
    bounds = tl.reshape(tl.join(low, high), [1, 2 * tile_size])
    scale, zero_point = grid_of_tile(bounds, bits, symmetric, tiny, largest, scale_dtype)
    only = group + tl.arange(0, 1)
    tl.store(scales + only, scale.to(scale_dtype))
    if not symmetric:
        tl.store(zero_points + only, zero_point.to(tl.uint8))


@triton.jit
def encode_rows_kernel(
    weight: tl.tensor,
    packed: tl.tensor,
    scales: tl.tensor,
    zero_points: tl.tensor,
    cols: tl.int32,
    group_size: tl.int32,
    bits: tl.constexpr,
    symmetric: tl.constexpr,
    lanes: tl.constexpr,
) -> None:
    """Codes and words of 32·`lanes` weights of one row on a given grid, for any number of columns and group size."""
    row = tl.program_id(0).to(tl.int64)
    col = tl.program_id(1) * (lanes * _LANE) + tl.arange(0, lanes * _LANE)
    inside = col < cols
    values = as_float32(tl.load(weight + row * cols + col, mask=inside, other=0.0))
    group = row * (cols // group_size) + col // group_size
    scale = as_float32(tl.load(scales + group, mask=inside, other=1.0))
    zero_point = tl.zeros([lanes * _LANE], tl.int32)
    if not symmetric:
        zero_point = tl.load(zero_points + group, mask=inside, other=0).to(tl.int32)
    codes = tl.where(inside, codes_of(values, scale, zero_point, bits, symmetric), 0)

    row_words = (cols * bits + 31) // 32
    word_in_row = (tl.program_id(1) * lanes + tl.arange(0, lanes)) * bits
    words = tl.minimum(tl.maximum(row_words - word_in_row, 0), bits)
    store_words(tl.reshape(codes, [lanes, _LANE]), packed, row * row_words + word_in_row, words, bits)


@dataclass(frozen=True)
class ScaleLimits:
    """What a kernel has to know of the dtype in which scales are stored."""

    tiny: float
    largest: float
    dtype: tl.dtype

    @classmethod
    def of(cls, dtype: torch.dtype) -> ScaleLimits:
        limits = torch.finfo(dtype)
        return cls(limits.tiny, limits.max, _TRITON_DTYPE[dtype])


@dataclass(frozen=True)
class GroupTiles:
    """How many groups a program takes, the power of two its groups are padded to, and its warps."""

    groups: int
    size: int
    warps: int

    @classmethod
    def of(cls, group_size: int) -> GroupTiles:
        size = triton.next_power_of_2(group_size)
        return cls(max(1, WEIGHTS_PER_PROGRAM // size), size, 4 if size <= WEIGHTS_PER_PROGRAM else 16)


def quantise_pack_triton(
    weight: Tensor,
    bits: int,
    group_size: int,
    symmetric: bool,
    scale_dtype: torch.dtype,
    grid: tuple[Tensor, Tensor | None] | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Quantise and pack `weight` [rows, cols] (float16, bfloat16 or float32) on its GPU.

    Returns packed int32 [rows, words], scale `scale_dtype` [rows, groups], zero point uint8 [rows, groups] or None.
    A given `grid` is used as it is.
    """
    rows, cols = weight.shape
    weight = weight.contiguous()
    packed = weight.new_empty((rows, words_per_row(cols, bits)), dtype=torch.int32)
    if grid is not None:
        scale, zero_point = grid[0].contiguous(), None if grid[1] is None else grid[1].contiguous()
        _encode_rows(weight, packed, scale, zero_point, bits, group_size)
        return packed, scale, zero_point
    scale = weight.new_empty((rows, cols // group_size), dtype=scale_dtype)
    zero_point = None if symmetric else weight.new_empty(scale.shape, dtype=torch.uint8)
    if weight.numel() == 0:
        return packed, scale, zero_point
    if group_size % LANE == 0 and group_size <= LONGEST_FUSED_GROUP:
        _quantise_groups(weight, packed, scale, zero_point, bits, group_size)
    else:
        _group_grid(weight, scale, zero_point, bits, group_size)
        _encode_rows(weight, packed, scale, zero_point, bits, group_size)
    return packed, scale, zero_point


def _quantise_groups(
    weight: Tensor, packed: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int, group_size: int
) -> None:
    limits = ScaleLimits.of(scale.dtype)
    tiles = GroupTiles.of(group_size)
    quantise_groups_kernel[(triton.cdiv(scale.numel(), tiles.groups),)](
        weight,
        packed,
        scale,
        scale if zero_point is None else zero_point,
        scale.numel(),
        group_size=group_size,
        bits=bits,
        symmetric=zero_point is None,
        tiny=limits.tiny,
        largest=limits.largest,
        scale_dtype=limits.dtype,
        tile_groups=tiles.groups,
        tile_size=tiles.size,
        enable_fp_fusion=False,
        num_warps=tiles.warps,
    )


def _group_grid(weight: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int, group_size: int) -> None:
    limits = ScaleLimits.of(scale.dtype)
    group_grid_kernel[(scale.numel(),)](
        weight,
        scale,
        scale if zero_point is None else zero_point,
        group_size,
        bits=bits,
        symmetric=zero_point is None,
        tiny=limits.tiny,
        largest=limits.largest,
        scale_dtype=limits.dtype,
        tile_size=min(1024, triton.next_power_of_2(group_size)),
        enable_fp_fusion=False,
        num_warps=4,
    )


def _encode_rows(
    weight: Tensor, packed: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int, group_size: int
) -> None:
    rows, cols = weight.shape
    if weight.numel() == 0:
        return
    lanes = min(WEIGHTS_PER_PROGRAM // LANE, triton.next_power_of_2(triton.cdiv(cols, LANE)))
    encode_rows_kernel[(rows, triton.cdiv(cols, lanes * LANE))](
        weight,
        packed,
        scale,
        scale if zero_point is None else zero_point,
        cols,
        group_size,
        bits=bits,
        symmetric=zero_point is None,
        lanes=lanes,
        enable_fp_fusion=False,
        num_warps=4,
    )
