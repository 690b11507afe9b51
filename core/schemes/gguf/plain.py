"""The bytes of blocks of single weights under one scale: Q8_0, Q4_0 to Q5_1, IQ4_NL, MXFP4, TQ1_0 and TQ2_0."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchvise.core.methods.gguf import GgufName
from benchvise.core.schemes.gguf.fields import pack_fields, unpack_fields

_FLOAT4 = (15, 14, 13, 12, 11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7)
"""The nibble of each E2M1 number, ascending; negative zero has a nibble of its own, 8, and is never written."""

_TRITS = 5
_TRIT_RUNS = [32 * _TRITS, 16 * _TRITS, 4 * 4]
"""Weights of TQ1_0 whose trits share bytes: five to a byte of a run of 32, then of one of 16; four of a run of 4."""

Unpacked = tuple[Tensor, Tensor | None, Tensor | None]
"""Codes, and the integers of steps and shifts of sub-blocks, as `core.schemes.gguf.blocks.Contents` has them."""

Pack = Callable[[Tensor, Tensor, Tensor], Tensor]
Unpack = Callable[[Tensor], Unpacked]


def _pack_bytes(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001 - one signature for all
    return codes ^ 0x80


def _unpack_bytes(packed: Tensor) -> Unpacked:
    return packed ^ 0x80, None, None


def _pack_nibbles(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    return pack_fields(codes, 4, 16)


def _unpack_nibbles(packed: Tensor) -> Unpacked:
    return unpack_fields(packed, 4, 16), None, None


def _pack_five_bits(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    return torch.cat([pack_fields(codes >> 4, 1, 1), pack_fields(codes & 15, 4, 16)], 1)


def _unpack_five_bits(packed: Tensor) -> Unpacked:
    return unpack_fields(packed[:, 4:], 4, 16) | (unpack_fields(packed[:, :4], 1, 1) << 4), None, None


def _pack_float4(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    nibbles = torch.tensor(_FLOAT4, dtype=torch.uint8, device=codes.device)
    return pack_fields(nibbles[codes.int()], 4, 16)


def _unpack_float4(packed: Tensor) -> Unpacked:
    codes = torch.empty(16, dtype=torch.uint8)
    codes[list(_FLOAT4)] = torch.arange(len(_FLOAT4), dtype=torch.uint8)
    codes[8] = codes[0]
    return codes.to(packed.device)[unpack_fields(packed, 4, 16).int()], None, None


def _pack_two_bits(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    return pack_fields(codes, 2, 32)


def _unpack_two_bits(packed: Tensor) -> Unpacked:
    # 3 stands for nothing that is written; as the number 2 that it decodes to has no level, it is read as 1.
    return unpack_fields(packed, 2, 32).clamp_(max=2), None, None


def _pack_trits(codes: Tensor, scales: Tensor, minima: Tensor) -> Tensor:  # noqa: ARG001
    powers = torch.tensor([81, 27, 9, 3, 1], device=codes.device)
    found = []
    for run in codes.int().split_with_sizes(_TRIT_RUNS, 1):
        trits = _TRITS if run.shape[1] > _TRIT_RUNS[2] else 4
        number = (run.view(len(run), trits, -1) * powers[:trits, None]).sum(1)
        found.append((number * 256 + 242) // 243)
    return torch.cat(found, 1).to(torch.uint8)


def _unpack_trits(packed: Tensor) -> Unpacked:
    powers = torch.tensor([1, 3, 9, 27, 81], dtype=torch.int32, device=packed.device)
    found = []
    for part, trits in zip(packed.int().split_with_sizes([32, 16, 4], 1), (_TRITS, _TRITS, 4), strict=True):
        shifted = (part[:, None, :] * powers[:trits, None]) & 255
        found.append(((shifted * 3) >> 8).flatten(1))
    return torch.cat(found, 1).to(torch.uint8), None, None


PACK: dict[GgufName, Pack] = {
    "q8_0": _pack_bytes,
    "q4_0": _pack_nibbles,
    "q4_1": _pack_nibbles,
    "q5_0": _pack_five_bits,
    "q5_1": _pack_five_bits,
    "iq4_nl": _pack_nibbles,
    "mxfp4": _pack_float4,
    "tq2_0": _pack_two_bits,
    "tq1_0": _pack_trits,
}
UNPACK: dict[GgufName, Unpack] = {
    "q8_0": _unpack_bytes,
    "q4_0": _unpack_nibbles,
    "q4_1": _unpack_nibbles,
    "q5_0": _unpack_five_bits,
    "q5_1": _unpack_five_bits,
    "iq4_nl": _unpack_nibbles,
    "mxfp4": _unpack_float4,
    "tq2_0": _unpack_two_bits,
    "tq1_0": _unpack_trits,
}
