"""Triton's kernels compiled for GPUs that are not there: they spill no registers and use the tensor cores."""

from __future__ import annotations

import pytest

from benchvise.core.kernels.availability import triton_available

if not triton_available():
    pytest.skip("Triton is not installed", allow_module_level=True)

import torch

from benchvise.core.kernels import triton_matmul, triton_quantise
from tests.core.kernels.compile_ahead import CompiledFacts, compile_ahead

ARCHITECTURES = (80, 90, 100)
# Shared memory that one program may take on the smallest of them.
SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
MULTIPROCESSORS = 132
TENSOR_CORES = {80: "mma.sync", 90: "wgmma.mma_async", 100: "tcgen05.mma"}


def assert_fits(facts: CompiledFacts) -> None:
    assert facts.registers <= 255
    assert facts.spills == 0
    assert facts.shared_bytes <= SHARED_BYTES[facts.arch]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("bits", "symmetric"), [(4, True), (3, False), (8, False)])
@pytest.mark.parametrize("group_size", [32, 128, 16384])
def test_quantising_groups(arch: int, bits: int, symmetric: bool, group_size: int) -> None:
    limits = triton_quantise.ScaleLimits.of(torch.bfloat16)
    tiles = triton_quantise.GroupTiles.of(group_size)
    facts = compile_ahead(
        triton_quantise.quantise_groups_kernel,
        {"weight": "*bf16", "packed": "*i32", "scales": "*bf16", "zero_points": "*u8", "group_count": "i32"},
        {
            "group_size": group_size,
            "bits": bits,
            "symmetric": symmetric,
            "tiny": limits.tiny,
            "largest": limits.largest,
            "scale_dtype": limits.dtype,
            "tile_groups": tiles.groups,
            "tile_size": tiles.size,
        },
        arch,
        num_warps=tiles.warps,
    )
    assert_fits(facts)
    assert "ld.global.v4.b32" in facts.ptx  # 16 bytes a load
    assert "div.rn.f32" in facts.ptx
    assert "div.full" not in facts.ptx
    assert "fma.rn.f32" not in facts.ptx


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("bits", [4, 5])
def test_quantising_rows_on_a_given_grid(arch: int, bits: int) -> None:
    facts = compile_ahead(
        triton_quantise.encode_rows_kernel,
        {
            "weight": "*fp16",
            "packed": "*i32",
            "scales": "*fp16",
            "zero_points": "*u8",
            "cols": "i32",
            "group_size": "i32",
        },
        {"bits": bits, "symmetric": False, "lanes": 128},
        arch,
    )
    assert_fits(facts)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_grid_of_long_groups(arch: int) -> None:
    limits = triton_quantise.ScaleLimits.of(torch.float16)
    facts = compile_ahead(
        triton_quantise.group_grid_kernel,
        {"weight": "*fp16", "scales": "*fp16", "zero_points": "*u8", "group_size": "i32"},
        {
            "bits": 4,
            "symmetric": False,
            "tiny": limits.tiny,
            "largest": limits.largest,
            "scale_dtype": limits.dtype,
            "tile_size": 1024,
        },
        arch,
    )
    assert_fits(facts)


def matmul_signature(dtype: str, split: str) -> dict[str, str]:
    pointers = {"x": f"*{dtype}", "words": "*i32", "scales": f"*{dtype}", "zero_points": "*u8", "sums": "*fp32"}
    return pointers | dict.fromkeys(("tokens", "rows", "cols", "row_words", "group_size", split), "i32")


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("bits", "symmetric", "dtype"), [(4, True, "bf16"), (4, False, "fp16"), (8, False, "bf16")])
def test_few_tokens(arch: int, bits: int, symmetric: bool, dtype: str) -> None:
    tiles = triton_matmul.choose_tiles(1, 4096, 4096, bits, 128, MULTIPROCESSORS)
    facts = compile_ahead(
        triton_matmul.few_tokens_kernel,
        matmul_signature(dtype, "split_words"),
        {
            "bits": bits,
            "symmetric": symmetric,
            "tile_rows": tiles.rows,
            "tile_words": tiles.cols * bits // 32,
        },
        arch,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
        fp_fusion=True,
    )
    assert_fits(facts)
    assert "ld.global.v4.b32" in facts.ptx
    assert "cvt.rn.f32.s32" not in facts.ptx


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("tokens", [16, 64, 1024])
@pytest.mark.parametrize(
    ("bits", "symmetric", "dtype", "group_size"),
    [(4, True, "bf16", 128), (4, False, "bf16", 32), (8, False, "fp16", 128), (4, False, "bf16", 40)],
)
def test_many_tokens(arch: int, tokens: int, bits: int, symmetric: bool, dtype: str, group_size: int) -> None:
    cols = 32 * group_size
    tiles = triton_matmul.choose_tiles(tokens, 4096, cols, bits, group_size, MULTIPROCESSORS)
    facts = compile_ahead(
        triton_matmul.many_tokens_kernel,
        matmul_signature(dtype, "split_cols"),
        {
            "bits": bits,
            "symmetric": symmetric,
            "whole_tiles": group_size % tiles.cols == 0,
            "interpreted": False,
            "tile_rows": tiles.rows,
            "tile_tokens": tiles.tokens,
            "tile_cols": tiles.cols,
        },
        arch,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
        fp_fusion=True,
    )
    assert_fits(facts)
    assert TENSOR_CORES[arch] in facts.ptx
