"""Encoding into GGUF's block types beside llama.cpp's own quantisers: time on the same threads, and error.

    python -m tests.benchmarks.gguf_encoding [--types q4_k q3_k …] [--rows 1024] [--columns 4096] [--rounds 3]

llama.cpp comes from the wheel `xllamacpp`, by ctypes. Both take turns; the least time of all rounds counts. The error
is Σ h (w − ŵ)² / Σ h w², with the importance h of the columns, or without.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, quants
from torch import Tensor

from benchvise.core.methods.gguf import TYPES, Gguf, GgufName
from benchvise.core.schemes.gguf.blocks import join
from benchvise.core.schemes.registry import arithmetic_of


def llama_cpp() -> ctypes.CDLL:
    import xllamacpp

    (library,) = Path(xllamacpp.__file__).parent.glob("*.so")
    found = ctypes.CDLL(str(library))
    found.ggml_quantize_chunk.restype = ctypes.c_size_t
    found.ggml_quantize_chunk.argtypes = [
        *(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64),
        ctypes.c_void_p,
    ]
    found.ggml_quantize_init.argtypes = [ctypes.c_int]
    return found


def theirs(library: ctypes.CDLL, name: GgufName, weight: Tensor, importance: Tensor | None, threads: int) -> Tensor:
    """uint8 [rows, bytes of a row], the rows shared out between threads."""
    rows, columns = weight.shape
    kind, code = TYPES[name], int(GGMLQuantizationType[TYPES[name].title])
    raw = torch.empty(rows, columns // kind.weights * kind.nbytes, dtype=torch.uint8)
    matrix = None if importance is None else importance.data_ptr()
    share = -(-rows // threads)

    def encode(start: int) -> None:
        count = min(share, rows - start)
        source, target = weight[start:].data_ptr(), raw[start:].data_ptr()
        library.ggml_quantize_chunk(code, source, target, 0, count, columns, matrix)

    library.ggml_quantize_init(code)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(encode, range(0, rows, share)))
    return raw


def ours(name: GgufName, weight: Tensor, importance: Tensor | None) -> Tensor:
    """The same by our search."""
    scheme = Gguf(type=name)
    grid = arithmetic_of(scheme).grid(scheme, *weight.shape, weight.dtype)
    grid.fit(0, weight, importance)
    return join(name, grid.stored(grid.encode(0, weight)))


def error(name: GgufName, raw: Tensor, weight: Tensor, importance: Tensor | None) -> float:
    decoded = quants.dequantize(raw.numpy(), GGMLQuantizationType[TYPES[name].title]).astype(np.float64)
    original = weight.double().numpy()
    counted = np.ones(1) if importance is None else importance.double().numpy()
    return float((counted * (decoded - original) ** 2).sum() / (counted * original**2).sum())


def timed(encode: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.perf_counter()
    raw = encode()
    return time.perf_counter() - start, raw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", nargs="+", default=["q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "iq4_xs"])
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--columns", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(arguments.rows, arguments.columns, generator=generator) * 0.02
    columns = torch.rand(arguments.columns, generator=generator) ** 3 + 0.01
    library = llama_cpp()
    print("| type | importance | llama.cpp s | ours s | ratio | error ÷ llama.cpp's |\n|---|---|---|---|---|---|")
    for name in arguments.types:
        for importance in (None, columns):
            rounds = [
                (
                    timed(lambda: theirs(library, name, weight, importance, arguments.threads)),  # noqa: B023
                    timed(lambda: ours(name, weight, importance)),  # noqa: B023
                )
                for _ in range(arguments.rounds)
            ]
            (rival, raw), (own, made) = (min(each, key=lambda one: one[0]) for each in zip(*rounds, strict=True))
            less = error(name, made, weight, importance) / error(name, raw, weight, importance)
            said = "no" if importance is None else "yes"
            print(f"| {name} | {said} | {rival:.2f} | {own:.2f} | {own / rival:.2f} | {less:.3f} |", flush=True)


if __name__ == "__main__":
    main()
