"""The bytes of super-blocks of single weights: Q2_K to Q6_K and IQ4_XS."""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.methods.gguf import GgufName
from benchvise.core.schemes.gguf.fields import pack_fields, unpack_fields
from benchvise.core.schemes.gguf.plain import Pack, Unpack, Unpacked


def _pack_q2(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:
    return torch.cat([(scales | (minima << 4)).to(torch.uint8), pack_fields(codes, 2, 32)], 1)


def _unpack_q2(packed: Tensor) -> Unpacked:
    scales, codes = packed.split_with_sizes([16, 64], 1)
    return unpack_fields(codes, 2, 32), scales & 15, scales >> 4


def _pack_q3(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001 - one signature for all
    high, low = pack_fields(codes >> 2, 1, 32), pack_fields(codes & 3, 2, 32)
    six = scales.to(torch.uint8)
    return torch.cat([high, low, pack_fields(six & 15, 4, 8), pack_fields(six >> 4, 2, 4)], 1)


def _unpack_q3(packed: Tensor) -> Unpacked:
    high, low, scales_low, scales_high = packed.split_with_sizes([32, 64, 8, 4], 1)
    codes = unpack_fields(low, 2, 32) | (unpack_fields(high, 1, 32) << 2)
    return codes, unpack_fields(scales_low, 4, 8) | (unpack_fields(scales_high, 2, 4) << 4), None


def _pack_scales(scales: Tensor, minima: Tensor) -> Tensor:
    """12 bytes of 8 scales and 8 minima of 6 bits: the high bits of the last four of each are with the first four."""
    six, minimum = scales.to(torch.uint8), minima.to(torch.uint8)
    return torch.cat(
        [
            six[:, :4] | ((six[:, 4:] >> 4) << 6),
            minimum[:, :4] | ((minimum[:, 4:] >> 4) << 6),
            (six[:, 4:] & 15) | ((minimum[:, 4:] & 15) << 4),
        ],
        1,
    )


def _unpack_scales(packed: Tensor) -> tuple[Tensor, Tensor]:
    first, second, third = packed.split_with_sizes([4, 4, 4], 1)
    scales = torch.cat([first & 63, (third & 15) | ((first >> 6) << 4)], 1)
    return scales, torch.cat([second & 63, (third >> 4) | ((second >> 6) << 4)], 1)


def _pack_q4(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:
    return torch.cat([_pack_scales(scales, minima), pack_fields(codes, 4, 32)], 1)


def _unpack_q4(packed: Tensor) -> Unpacked:
    scales, codes = packed.split_with_sizes([12, 128], 1)
    return unpack_fields(codes, 4, 32), *_unpack_scales(scales)


def _pack_q5(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:
    high, low = pack_fields(codes >> 4, 1, 32), pack_fields(codes & 15, 4, 32)
    return torch.cat([_pack_scales(scales, minima), high, low], 1)


def _unpack_q5(packed: Tensor) -> Unpacked:
    scales, high, low = packed.split_with_sizes([12, 32, 128], 1)
    return unpack_fields(low, 4, 32) | (unpack_fields(high, 1, 32) << 4), *_unpack_scales(scales)


def _pack_q6(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    low, high = pack_fields(codes & 15, 4, 64), pack_fields(codes >> 4, 2, 32)
    return torch.cat([low, high, scales.to(torch.uint8) ^ 0x80], 1)


def _unpack_q6(packed: Tensor) -> Unpacked:
    low, high, scales = packed.split_with_sizes([128, 64, 16], 1)
    return unpack_fields(low, 4, 64) | (unpack_fields(high, 2, 32) << 4), scales ^ 0x80, None


def _pack_iq4_xs(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    six = scales.to(torch.uint8)
    return torch.cat([pack_fields(six >> 4, 2, 1), pack_fields(six & 15, 4, 1), pack_fields(codes, 4, 16)], 1)


def _unpack_iq4_xs(packed: Tensor) -> Unpacked:
    high, low, codes = packed.split_with_sizes([2, 4, 128], 1)
    return unpack_fields(codes, 4, 16), unpack_fields(low, 4, 1) | (unpack_fields(high, 2, 1) << 4), None


PACK: dict[GgufName, Pack] = {
    "q2_k": _pack_q2,
    "q3_k": _pack_q3,
    "q4_k": _pack_q4,
    "q5_k": _pack_q5,
    "q6_k": _pack_q6,
    "iq4_xs": _pack_iq4_xs,
}
UNPACK: dict[GgufName, Unpack] = {
    "q2_k": _unpack_q2,
    "q3_k": _unpack_q3,
    "q4_k": _unpack_q4,
    "q5_k": _unpack_q5,
    "q6_k": _unpack_q6,
    "iq4_xs": _unpack_iq4_xs,
}
