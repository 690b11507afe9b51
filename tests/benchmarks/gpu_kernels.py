"""The Triton kernels on an NVIDIA GPU: checked against the CPU and float64, then timed against torch in bfloat16.

Each timing is the median over many launches between two events, the second-level cache flushed before each.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchvise.core.kernels.availability import triton_available
from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.kernels.quantise import Packed, quantise_pack
from benchvise.core.kernels.routes import Route, RouteKind
from tests.core.kernels import reference

GPU = torch.device("cuda")
EAGER = Route(RouteKind.EAGER_CHUNKED, "asked for by the benchmark")
TRITON = Route(RouteKind.TRITON, "asked for by the benchmark")
FLUSHED_BYTES = 256 << 20
TOLERANCE = {torch.float16: 6e-4, torch.bfloat16: 4e-3}


@dataclass(frozen=True)
class Timing:
    """One kernel at one size. gigabytes_per_s: of the packed weights and the activations that must be moved."""

    kernel: str
    bits: int
    group_size: int
    tokens: int
    median_us: float
    dense_us: float
    ratio: float
    gigabytes_per_s: float


def check_quantising() -> int:
    """Compare every setting with the eager route on the CPU, bit for bit; the number of settings compared."""
    count = 0
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        for bits in range(2, 9):
            for symmetric in (True, False):
                for cols, group_size in ((4096, 128), (4096, 32), (4096, 4096), (1000, 40), (37, 37), (20480, 20480)):
                    weight = torch.randn(67, cols).to(dtype)
                    weight[3] = 0
                    weight[5] *= torch.finfo(dtype).tiny
                    _check_same(weight, bits, group_size, symmetric)
                    count += 1
    return count


def _check_same(weight: Tensor, bits: int, group_size: int, symmetric: bool) -> None:
    expected, got = (
        quantise_pack(
            where,
            bits=bits,
            group_size=group_size,
            symmetric=symmetric,
            scale_dtype=weight.dtype,
            route=route,
        )
        for where, route in ((weight, EAGER), (weight.to(GPU), TRITON))
    )
    same = torch.equal(expected.packed, got.packed.cpu()) and torch.equal(expected.scale, got.scale.cpu())
    if expected.zero_point is not None and got.zero_point is not None:
        same = same and torch.equal(expected.zero_point, got.zero_point.cpu())
    if not same:
        raise SystemExit(f"other bits: {weight.dtype} {list(weight.shape)} int{bits} g{group_size} {symmetric=}")


def check_multiplying() -> int:
    """Compare every setting with the decoded weight in float64; the number of settings compared."""
    from benchvise.core.kernels.triton_matmul import multiply_packed

    count = 0
    for dtype, tolerance in TOLERANCE.items():
        for bits in (4, 8):
            for symmetric in (True, False):
                for rows, cols, group_size in ((4096, 4096, 128), (257, 2048, 32), (130, 1000, 40), (65, 37, 37)):
                    packed = _compressed(rows, cols, group_size, bits, symmetric, dtype)
                    codes = unpack_rows(packed.packed, bits, cols)
                    weight = reference.dequantise(codes.cpu(), packed.scale.cpu(), _cpu(packed.zero_point), bits)
                    for tokens in (1, 2, 3, 16, 17, 64, 65, 300):
                        x = torch.randn(tokens, cols, device=GPU).to(dtype)
                        y = multiply_packed(x, packed, bits, cols).double()
                        expected = x.double() @ weight.to(GPU).T
                        error = float((y - expected).norm() / expected.norm())
                        if not error < tolerance:
                            what = f"{dtype} int{bits} g{group_size} {symmetric=} {rows}×{cols}, {tokens} tokens"
                            raise SystemExit(f"{what}: relative error {error:.1e}, allowed {tolerance:.0e}")
                        count += 1
    return count


def _cpu(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.cpu()


def _compressed(rows: int, cols: int, group_size: int, bits: int, symmetric: bool, dtype: torch.dtype) -> Packed:
    weight = torch.randn(rows, cols, device=GPU).to(dtype)
    return quantise_pack(weight, bits=bits, group_size=group_size, symmetric=symmetric, scale_dtype=dtype, route=TRITON)


def median_us(run: Callable[[], object], repeats: int) -> float:
    """Microseconds of one call, the cache flushed before each."""
    flush = torch.empty(FLUSHED_BYTES, dtype=torch.uint8, device=GPU)
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        flush.zero_()
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) * 1e3)
    return statistics.median(times)


def time_quantising(rows: int, cols: int, repeats: int) -> list[Timing]:
    """Against the eager route on the same GPU."""
    weight = torch.randn(rows, cols, device=GPU).to(torch.bfloat16)
    timings = []
    for bits, group_size in ((4, 128), (4, 32), (3, 128), (8, cols)):
        kernel, eager = (
            median_us(
                lambda route=route, bits=bits, group_size=group_size: quantise_pack(
                    weight,
                    bits=bits,
                    group_size=group_size,
                    symmetric=True,
                    scale_dtype=torch.bfloat16,
                    route=route,
                ),
                repeats,
            )
            for route in (TRITON, EAGER)
        )
        moved = weight.nbytes + weight.numel() * bits / 8
        timings.append(Timing("quantise", bits, group_size, 0, kernel, eager, eager / kernel, moved / kernel / 1e3))
    return timings


def time_multiplying(rows: int, cols: int, repeats: int) -> list[Timing]:
    """Against torch's dense bfloat16 product."""
    from benchvise.core.kernels.triton_matmul import multiply_packed

    dense = torch.randn(rows, cols, device=GPU).to(torch.bfloat16)
    timings = []
    for bits, group_size in ((4, 128), (8, 128), (8, cols)):
        packed = _compressed(rows, cols, group_size, bits, True, torch.bfloat16)
        for tokens in (1, 2, 4, 16, 32, 64, 256, 2048):
            x = torch.randn(tokens, cols, device=GPU).to(torch.bfloat16)
            kernel = median_us(lambda x=x, packed=packed, bits=bits: multiply_packed(x, packed, bits, cols), repeats)
            plain = median_us(lambda x=x: torch.nn.functional.linear(x, dense), repeats)
            moved = packed.packed.nbytes + packed.scale.nbytes + x.nbytes + 2 * tokens * rows
            timings.append(
                Timing("multiply", bits, group_size, tokens, kernel, plain, plain / kernel, moved / kernel / 1e3)
            )
    return timings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=11008)
    parser.add_argument("--cols", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not torch.cuda.is_available() or not triton_available():
        raise SystemExit("This benchmark needs an NVIDIA GPU and Triton; this machine has not got both.")
    checked = check_quantising(), check_multiplying()
    timings = [
        *time_quantising(arguments.rows, arguments.cols, arguments.repeats),
        *time_multiplying(arguments.rows, arguments.cols, arguments.repeats),
    ]
    if arguments.json:
        print(json.dumps([asdict(timing) for timing in timings]))
        return
    print(f"{torch.cuda.get_device_name()}: {checked[0]} quantisings equal bit for bit, {checked[1]} products right")
    for timing in timings:
        print(
            f"{timing.kernel:9} int{timing.bits} g{timing.group_size:<5} {timing.tokens:5} tokens "
            f"{timing.median_us:9.1f} µs  {timing.ratio:6.2f}× of {timing.dense_us:9.1f} µs  "
            f"{timing.gigabytes_per_s:7.0f} GB/s"
        )


if __name__ == "__main__":
    main()
