"""GGUF's block types beside llama.cpp itself: it reads our bytes as we do, and its own quantisers err more."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType

from benchvise.core.methods.gguf import TYPES, Gguf, GgufName
from benchvise.core.schemes.gguf.blocks import join
from benchvise.core.schemes.registry import arithmetic_of
from tests.core.schemes.scheme_samples import weights

xllamacpp = pytest.importorskip("xllamacpp")

READ: tuple[GgufName, ...] = tuple(name for name in TYPES if name not in ("f16", "bf16"))


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    (found,) = Path(xllamacpp.__file__).parent.glob("*.so")
    return ctypes.CDLL(str(found))


def read(library: ctypes.CDLL, name: GgufName, raw: torch.Tensor, count: int) -> torch.Tensor:
    found = np.empty(count, np.float32)
    title = TYPES[name].title.lower().replace("_k", "_K")
    raw = raw.contiguous()
    getattr(library, f"dequantize_row_{title}")(
        ctypes.c_void_p(raw.data_ptr()), ctypes.c_void_p(found.ctypes.data), ctypes.c_int64(count)
    )
    return torch.from_numpy(found)


@pytest.mark.parametrize("name", READ)
def test_llama_cpp_reads_what_we_decode(library: ctypes.CDLL, name: GgufName) -> None:
    values, scheme = weights(6, 512, "float32"), Gguf(type=name)
    grid = arithmetic_of(scheme).grid(scheme, 6, 512, torch.float32)
    grid.fit(0, values)
    stored = grid.stored(grid.encode(0, values))
    ours = arithmetic_of(scheme).decode(scheme, stored, 0, 6, 512)
    assert torch.equal(read(library, name, join(name, stored), 6 * 512).view(6, 512), ours)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("name", ["q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs"])
def test_the_search_errs_less_than_that_of_llama_cpp(library: ctypes.CDLL, name: GgufName, weighed: bool) -> None:
    generator = torch.Generator().manual_seed(7)
    values = torch.randn(64, 512, generator=generator) * 0.02
    importance = torch.rand(512, generator=generator) ** 3 + 0.01
    kind = TYPES[name]
    raw = torch.empty(64, 2 * kind.nbytes, dtype=torch.uint8)
    library.ggml_quantize_chunk(
        *(ctypes.c_int(GGMLQuantizationType[kind.title]), ctypes.c_void_p(values.data_ptr())),
        *(ctypes.c_void_p(raw.data_ptr()), ctypes.c_int64(0), ctypes.c_int64(64), ctypes.c_int64(512)),
        ctypes.c_void_p(importance.data_ptr() if weighed else None),
    )
    theirs = read(library, name, raw, 64 * 512).view(64, 512)
    scheme = Gguf(type=name)
    grid = arithmetic_of(scheme).grid(scheme, 64, 512, torch.float32)
    grid.fit(0, values, importance if weighed else None)
    counted = importance if weighed else torch.ones(512)
    ours = grid.nearest(0, values)
    assert ((ours - values).square() * counted).sum() < ((theirs - values).square() * counted).sum()
