"""The bytes of super-blocks of vectors: IQ1_S to IQ3_S.

A code holds the index into the type's table in its lowest bits, and its signs, or which way the vector is shifted,
above them. Of IQ3_XXS a code is two indices and the signs of both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.methods.gguf import GgufName
from benchvise.core.schemes.gguf.fields import from_bytes, joined, pack_fields, parted, to_bytes, unpack_fields
from benchvise.core.schemes.gguf.plain import Pack, Unpack, Unpacked


def _signs_and_scale(signs: Tensor, scales: Tensor) -> Tensor:
    """uint8 [blocks, 32]: a word for 32 weights, four times 7 bits of signs below the 4 bits of their scale."""
    return to_bytes(joined(signs.view(len(signs), -1, 4), 7) | (scales.long() << 28), 4)


def _pack_iq2_xxs(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001 - one signature for all
    indices = (codes & 255).to(torch.uint8).view(len(codes), 8, 4)
    words = _signs_and_scale(codes >> 8, scales).view(len(codes), 8, 4)
    return torch.cat([indices, words], 2).flatten(1)


def _unpack_iq2_xxs(packed: Tensor) -> Unpacked:
    parts = packed.reshape(len(packed), 8, 8)
    words = from_bytes(parts[..., 4:].flatten(1), 4)
    return parts[..., :4].flatten(1).long() | (parted(words, 7, 4).flatten(1) << 8), words >> 28, None


def _pack_iq2_xs(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    return torch.cat([to_bytes(codes, 2), pack_fields(scales, 4, 1)], 1)


def _unpack_iq2_xs(packed: Tensor) -> Unpacked:
    codes, scales = packed.split_with_sizes([64, 8], 1)
    return from_bytes(codes, 2), unpack_fields(scales, 4, 1), None


def _pack_iq2_s(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    low, high, signs = codes & 255, (codes >> 8) & 3, codes >> 10
    parts = [low.to(torch.uint8), signs.to(torch.uint8), pack_fields(high, 2, 1), pack_fields(scales, 4, 1)]
    return torch.cat(parts, 1)


def _unpack_iq2_s(packed: Tensor) -> Unpacked:
    low, signs, high, scales = packed.split_with_sizes([32, 32, 8, 8], 1)
    codes = low.long() | (unpack_fields(high, 2, 1).long() << 8) | (signs.long() << 10)
    return codes, unpack_fields(scales, 4, 1), None


def _pack_iq3_xxs(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    return torch.cat([to_bytes(codes & 0xFFFF, 2), _signs_and_scale(codes >> 16, scales)], 1)


def _unpack_iq3_xxs(packed: Tensor) -> Unpacked:
    words = from_bytes(packed[:, 64:], 4)
    return from_bytes(packed[:, :64], 2) | (parted(words, 7, 4).flatten(1) << 16), words >> 28, None


def _pack_iq3_s(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    low, high, signs = codes & 255, (codes >> 8) & 1, codes >> 9
    parts = [low.to(torch.uint8), pack_fields(high, 1, 1), pack_fields(signs, 4, 1), pack_fields(scales, 4, 1)]
    return torch.cat(parts, 1)


def _unpack_iq3_s(packed: Tensor) -> Unpacked:
    low, high, signs, scales = packed.split_with_sizes([64, 8, 32, 4], 1)
    codes = low.long() | (unpack_fields(high, 1, 1).long() << 8) | (unpack_fields(signs, 4, 1).long() << 9)
    return codes, unpack_fields(scales, 4, 1), None


def _pack_iq1_s(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:
    high = joined((codes >> 8).view(len(codes), 8, 4), 3) | (scales.long() << 12) | (minima.long() << 15)
    return torch.cat([(codes & 255).to(torch.uint8), to_bytes(high, 2)], 1)


def _unpack_iq1_s(packed: Tensor) -> Unpacked:
    words = from_bytes(packed[:, 32:], 2)
    codes = packed[:, :32].long() | (parted(words, 3, 4).flatten(1) << 8)
    return codes, (words >> 12) & 7, words >> 15


def _pack_iq1_m(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    # The scales are a dense bit stream here; in the file they share words with the parts of the block's own scale.
    scale_bytes = to_bytes(joined(scales, 3)[:, None], 6)
    return torch.cat([(codes & 255).to(torch.uint8), pack_fields(codes >> 8, 4, 1), scale_bytes], 1)


def _unpack_iq1_m(packed: Tensor) -> Unpacked:
    low, high, scales = packed.split_with_sizes([32, 16, 6], 1)
    codes = low.long() | (unpack_fields(high, 4, 1).long() << 8)
    return codes, parted(from_bytes(scales, 6)[:, 0], 3, 16), None


def with_split_scale(codes: Tensor, scale: Tensor) -> Tensor:
    """Blocks of IQ1_M, uint8 [blocks, 56], of what `pack` made [blocks, 54] and the bytes of their scales [blocks, 2].

    Four words hold four scales of 3 bits each, and above them 4 bits of the block's scale.
    """
    of_sub_blocks = parted(from_bytes(codes[:, 48:], 6)[:, 0], 12, 4)
    of_block = parted(from_bytes(scale, 2)[:, 0], 4, 4)
    return torch.cat([codes[:, :48], to_bytes(of_sub_blocks | (of_block << 12), 2)], 1)


def without_split_scale(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """What `with_split_scale` joined: uint8 [blocks, 54] and [blocks, 2]."""
    words = from_bytes(blocks[:, 48:], 2)
    codes = torch.cat([blocks[:, :48], to_bytes(joined(words & 0xFFF, 12)[:, None], 6)], 1)
    return codes, to_bytes(joined(words >> 12, 4)[:, None], 2)


PACK: dict[GgufName, Pack] = {
    "iq2_xxs": _pack_iq2_xxs,
    "iq2_xs": _pack_iq2_xs,
    "iq2_s": _pack_iq2_s,
    "iq3_xxs": _pack_iq3_xxs,
    "iq3_s": _pack_iq3_s,
    "iq1_s": _pack_iq1_s,
    "iq1_m": _pack_iq1_m,
}
UNPACK: dict[GgufName, Unpack] = {
    "iq2_xxs": _unpack_iq2_xxs,
    "iq2_xs": _unpack_iq2_xs,
    "iq2_s": _unpack_iq2_s,
    "iq3_xxs": _unpack_iq3_xxs,
    "iq3_s": _unpack_iq3_s,
    "iq1_s": _unpack_iq1_s,
    "iq1_m": _unpack_iq1_m,
}
