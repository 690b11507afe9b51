"""The bytes of ggml's blocks: codes, scales and minima of sub-blocks, and the 16-bit scales of whole blocks.

Source: ggml, ggml-common.h and the dequantize_row functions of ggml-quants.c; the package `gguf`, quants.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from benchvise.core.methods.gguf import TYPES, GgufName
from benchvise.core.schemes.gguf import code_books, k_quants, plain
from benchvise.core.schemes.gguf.plain import Pack, Unpack

_TRAILING: frozenset[GgufName] = frozenset({"q2_k", "q3_k", "q6_k", "tq1_0", "tq2_0"})
"""Types whose 16-bit scales are at the end of the block instead of its beginning."""


@dataclass(frozen=True)
class Contents:
    """What the blocks of a matrix hold besides the scales of whole blocks; the first dimension counts blocks.

    codes:  of single weights uint8 [blocks, weights], or of vectors int64 [blocks, vectors].
    scales: of the sub-blocks, the integers that are stored, less their offset [blocks, sub-blocks]; None without.
    minima: likewise; of IQ1_S whether the sub-block is shifted downwards.
    """

    codes: Tensor
    scales: Tensor | None = None
    minima: Tensor | None = None


_PACK: dict[GgufName, Pack] = {**plain.PACK, **k_quants.PACK, **code_books.PACK}
_UNPACK: dict[GgufName, Unpack] = {**plain.UNPACK, **k_quants.UNPACK, **code_books.UNPACK}


def pack(name: GgufName, contents: Contents) -> Tensor:
    """uint8 [blocks, bytes], each block without its 16-bit scales."""
    none = contents.codes.new_zeros(len(contents.codes), 0)
    scales = none if contents.scales is None else contents.scales
    return _PACK[name](contents.codes, scales, none if contents.minima is None else contents.minima)


def unpack(name: GgufName, packed: Tensor) -> Contents:
    """What `pack` packed in uint8 [blocks, bytes]."""
    return Contents(*_UNPACK[name](packed))


def join(name: GgufName, stored: Mapping[str, Tensor]) -> Tensor:
    """The bytes of a GGUF tensor, uint8 [rows, bytes of a row], from the tensors that the scheme stores."""
    kind = TYPES[name]
    if not kind.scales:
        return stored["weight"].contiguous().view(torch.uint8)
    rows = len(stored["weight_packed"])
    codes = stored["weight_packed"].reshape(-1, kind.code_bytes)
    scales = [stored[scale].contiguous().view(torch.uint8).reshape(len(codes), -1) for scale, _ in kind.scales]
    if name == "iq1_m":
        blocks = code_books.with_split_scale(codes, scales[0])
    else:
        blocks = torch.cat([codes, *scales] if name in _TRAILING else [*scales, codes], 1)
    return blocks.view(rows, -1)


def split(name: GgufName, raw: Tensor) -> dict[str, Tensor]:
    """The tensors that the scheme stores, from uint8 [rows, bytes of a row] of a GGUF tensor."""
    kind, rows = TYPES[name], len(raw)
    if not kind.scales:
        return {"weight": raw.contiguous().view(torch.float16 if name == "f16" else torch.bfloat16)}
    blocks = raw.reshape(-1, kind.nbytes)
    if name == "iq1_m":
        codes, scale = code_books.without_split_scale(blocks)
        scales = [scale]
    else:
        widths = [getattr(torch, dtype).itemsize for _, dtype in kind.scales]
        if name in _TRAILING:
            codes, *scales = blocks.split_with_sizes([kind.code_bytes, *widths], 1)
        else:
            *scales, codes = blocks.split_with_sizes([*widths, kind.code_bytes], 1)
    found = {"weight_packed": codes.reshape(rows, -1).contiguous()}
    for (scale_name, dtype), values in zip(kind.scales, scales, strict=True):
        found[scale_name] = values.contiguous().view(getattr(torch, dtype)).view(rows, -1)
    return found
