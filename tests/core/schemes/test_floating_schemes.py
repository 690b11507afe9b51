"""FP8, MX and NVFP4 by hand, and against compressed-tensors, which writes the same formats."""

from __future__ import annotations

import math

import pytest
import torch
from compressed_tensors.compressors.nvfp4.helpers import pack_fp4_to_uint8
from compressed_tensors.quantization import QuantizationArgs, QuantizationStrategy, QuantizationType
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

from benchvise.core.methods.floating import Floating
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.solver import Nearest
from tests.core.schemes.scheme_samples import DTYPES, solve, weights

CLIPPED = Nearest(clip_search=True)


def test_fp8_by_hand() -> None:
    values = torch.tensor([[448.0, -100.0, 3.3, 0.001], [1.0, 0.5, -0.3, 0.0]])
    solved = solve(values, Floating())
    assert solved.stored["weight_scale"].tolist() == [[1.0], [float(torch.tensor(1.0) / 448)]]
    # Near 100 E4M3 has steps of 8 (even mantissa: 96), near 3.3 of 0.25, and its smallest number is 2⁻⁹.
    assert solved.decoded[0].tolist() == [448.0, -96.0, 3.25, 2.0**-9 * round(0.001 * 2**9)]
    assert solved.stored["weight"].float()[1].tolist() == [448.0, 224.0, -128.0, 0.0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", ["e4m3", "e5m2"])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "block"])
def test_fp8_against_casts_cell_by_cell(dtype: str, number: str, granularity: str) -> None:
    values = weights(10, 43, dtype)
    scheme = Floating(number=number, granularity=granularity, block_rows=4, block_columns=16)  # type: ignore[arg-type]
    solved = solve(values, scheme, block_rows=3)
    cast = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}[number]
    high, wide = {"tensor": (10, 43), "channel": (1, 43), "block": (4, 16)}[granularity]
    scales = torch.empty(math.ceil(10 / high), math.ceil(43 / wide))
    for row in range(0, 10, high):
        for column in range(0, 43, wide):
            cell = values[row : row + high, column : column + wide].float()
            scale = cell.abs().max() / torch.tensor(torch.finfo(cast).max)
            scales[row // high, column // wide] = scale
            stored = (cell / scale).to(cast)
            assert torch.equal(
                solved.stored["weight"][row : row + high, column : column + wide].float(), stored.float()
            )
            expected = (stored.float() * scale).to(values.dtype)
            assert torch.equal(solved.decoded[row : row + high, column : column + wide], expected)
    assert torch.equal(solved.stored["weight_scale"], scales)


def test_scales_in_half_precision_never_run_out() -> None:
    values = torch.full((2, 8), 65504.0, dtype=torch.float16)
    values[1] = 6e-8
    for number in ("e4m3", "e5m2"):
        solved = solve(values, Floating(number=number, scales="weight"))  # type: ignore[arg-type]
        scale = solved.stored["weight_scale"]
        assert scale.dtype == torch.float16
        assert (scale >= torch.finfo(torch.float16).tiny).all()
        assert solved.decoded.isfinite().all()
        assert (solved.decoded[0] / 65504 - 1).abs().max() < 0.002


def test_mxfp4_by_hand() -> None:
    """The largest is 11 = 1.375 · 2³, so the block's scale is 2^(3 − 2); what lies between 6 and 7 saturates."""
    block = torch.zeros(1, 64)
    block[0, :10] = torch.tensor([11.0, -11.0, 8.0, 5.0, 7.0, 1.0, 0.5, 0.51, -2.5, 2.9])
    block[0, 32:35] = torch.tensor([7.9, 0.6, -0.2])
    solved = solve(block, Microscaling())
    assert solved.stored["weight_scale"].dtype == torch.float8_e8m0fnu
    assert solved.stored["weight_scale"].float().tolist() == [[2.0, 1.0]]
    assert solved.decoded[0, :10].tolist() == [12.0, -12.0, 8.0, 4.0, 8.0, 1.0, 0.0, 1.0, -2.0, 3.0]
    assert solved.decoded[0, 32:35].tolist() == [6.0, 0.5, 0.0]


@pytest.mark.parametrize(("number", "largest_power"), [("e2m1", 2), ("e4m3", 8), ("e5m2", 15)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_mx_scales_follow_section_6_3(number: str, largest_power: int, dtype: str) -> None:
    values = weights(6, 96, dtype)
    scheme = Microscaling(number=number)  # type: ignore[arg-type]
    scale = solve(values, scheme).stored["weight_scale"].float()
    for row in range(6):
        for block in range(3):
            largest = float(values[row, 32 * block : 32 * block + 32].float().abs().max())
            assert float(scale[row, block]) == 2.0 ** (math.floor(math.log2(largest)) - largest_power)


def test_mx_scales_stay_within_their_exponents() -> None:
    values = torch.zeros(3, 32)
    values[1, 0], values[2, 0] = 3.4e38, 1e-40
    for number in ("e2m1", "e4m3", "e5m2"):
        solved = solve(values, Microscaling(number=number))  # type: ignore[arg-type]
        raw = solved.stored["weight_scale"].view(torch.uint8)[:, 0].tolist()
        assert raw[0] == 0, "2^−127 for a block of zeros"
        assert raw[2] == 0
        assert raw[1] == 127 + 127 - {"e2m1": 2, "e4m3": 8, "e5m2": 15}[number]
        assert solved.decoded.isfinite().all()


def test_the_search_takes_a_neighbouring_power_of_two() -> None:
    block = torch.full((1, 32), 7.9)  # 6 at the document's scale of 1, 8 at twice that
    assert solve(block, Microscaling()).decoded[0, 0] == 6.0
    assert solve(block, Microscaling(), CLIPPED).decoded[0, 0] == 8.0
    lonely = torch.full((1, 32), 0.1)
    lonely[0, 0] = 8.0  # 0.1 vanishes at the document's scale; halving it costs the outlier more than it wins
    assert torch.equal(solve(lonely, Microscaling(), CLIPPED).decoded, solve(lonely, Microscaling()).decoded)


def test_nvfp4_by_hand() -> None:
    values = torch.zeros(1, 32)
    values[0, :4] = torch.tensor([12.0, -3.0, 1.1, 0.4])
    values[0, 16:18] = torch.tensor([0.75, -0.5])
    solved = solve(values, NvFloat4())
    assert solved.stored["weight_global_scale"].tolist() == [448 * 6 / 12.0]
    assert solved.stored["weight_scale"].float().tolist() == [[448.0, 28.0]]  # 0.75 / 6 · 224 = 28
    # The first block counts in steps of 448 / 224 = 2, the second in steps of 28 / 224 = 1/8.
    assert solved.decoded[0, :4].tolist() == [12.0, -3.0, 1.0, 0.0]
    assert solved.decoded[0, 16:18].tolist() == [0.75, -0.5]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nvfp4_is_that_of_compressed_tensors(dtype: str) -> None:
    values = weights(8, 96, dtype).float()
    args = QuantizationArgs(
        num_bits=4,
        type=QuantizationType.FLOAT,
        strategy=QuantizationStrategy.TENSOR_GROUP,
        group_size=16,
        symmetric=True,
        dynamic=False,
        scale_dtype=torch.float8_e4m3fn,
    )
    divisor = generate_gparam(values.min(), values.max())
    blocks = values.view(8, 6, 16)
    scale, zero = calculate_qparams(blocks.amin(2), blocks.amax(2), args, global_scale=divisor)
    expected = fake_quantize(values, scale, zero, args, global_scale=divisor)
    solved = solve(values, NvFloat4())
    assert torch.equal(solved.stored["weight_global_scale"], divisor)
    assert torch.equal(solved.stored["weight_scale"].float(), scale.float())
    torch.testing.assert_close(solved.decoded, expected, rtol=1e-6, atol=0)
    unit = solved.decoded / (solved.stored["weight_scale"].float() / divisor).repeat_interleave(16, 1)
    theirs = pack_fp4_to_uint8((unit * 2).round() / 2)
    ours = solved.stored["weight_packed"].view(torch.uint8)
    # A weight that rounded to zero may carry its sign there; here zeros have none.
    assert torch.equal(theirs, ours)


def test_the_search_over_scales_of_nvfp4_wins_something() -> None:
    values = weights(16, 256, "float32")
    errors = [(solve(values, NvFloat4(), solver).decoded - values).square().sum() for solver in (None, CLIPPED)]
    assert errors[1] < 0.85 * errors[0]
