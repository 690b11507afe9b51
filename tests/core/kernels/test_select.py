"""Compressed weights multiplied on the CPU: the route taken, its reason, and the product."""

from __future__ import annotations

import pytest
import torch

from benchvise.core.kernels.packing import pack_rows, unpack_rows
from benchvise.core.kernels.quantise import Packed, quantise_pack
from benchvise.core.kernels.recentre import recentred
from benchvise.core.kernels.select import MatmulKind, choose_matmul, prepare_linear
from tests.core.kernels import reference

CPU = torch.device("cpu")
# bfloat16 in and out: half a unit in the last place of inputs, scales and result.
TOLERANCE = {
    MatmulKind.INT4_CPU: 8e-3,
    MatmulKind.INT8_CPU: 8e-3,
    MatmulKind.INT8_GROUPS_CPU: 8e-3,
    MatmulKind.DENSE: 1e-6,
}


def compressed(rows: int, cols: int, group_size: int, bits: int, symmetric: bool) -> Packed:
    weight = torch.randn(rows, cols, generator=torch.Generator().manual_seed(bits))
    return quantise_pack(weight, bits=bits, group_size=group_size, symmetric=symmetric, scale_dtype=torch.float32)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize(
    ("rows", "cols", "group_size"),
    [
        (32, 256, 32),
        (32, 256, 64),
        (48, 512, 256),
        (32, 256, 256),
        (32, 96, 96),
        (17, 256, 256),
        (17, 256, 64),
        (17, 75, 75),
        (7, 40, 8),
        (7, 37, 37),
    ],
)
@pytest.mark.parametrize("tokens", [1, 5])
def test_products_are_those_of_the_decoded_weight(
    rows: int, cols: int, group_size: int, bits: int, symmetric: bool, tokens: int
) -> None:
    packed = compressed(rows, cols, group_size, bits, symmetric)
    linear = prepare_linear(packed, bits, cols, torch.float32, CPU)
    x = torch.randn(2, tokens, cols, generator=torch.Generator().manual_seed(tokens))
    codes = unpack_rows(packed.packed, bits, cols)
    expected = reference.multiply(x.view(-1, cols), codes, packed.scale, packed.zero_point, bits)
    y = linear(x)
    assert y.dtype == x.dtype
    assert y.shape == (2, tokens, rows)
    error = float((y.view(-1, rows).double() - expected).norm() / expected.norm())
    assert error < TOLERANCE[linear.route.kind]


@pytest.mark.parametrize(
    ("bits", "group_size", "cols", "kind", "why"),
    [
        (4, 128, 256, MatmulKind.INT4_CPU, "fastest"),
        (3, 128, 256, MatmulKind.INT4_CPU, "3-bit codes kept as 4 bit"),
        (4, 75, 75, MatmulKind.INT4_CPU, "fastest"),
        (8, 256, 256, MatmulKind.INT8_CPU, "one scale a row"),
        (8, 128, 256, MatmulKind.INT8_GROUPS_CPU, "a scale for 128 weights"),
        (6, 128, 256, MatmulKind.INT8_GROUPS_CPU, "6-bit codes kept as 8 bit"),
        (8, 40, 40, MatmulKind.INT8_CPU, "one scale a row"),
        (4, 8, 256, MatmulKind.DENSE, "groups of 8"),
    ],
)
def test_the_route_and_its_reason(bits: int, group_size: int, cols: int, kind: MatmulKind, why: str) -> None:
    route = choose_matmul(CPU, bits, group_size, cols, True)
    assert route.kind is kind
    assert why in str(route)


def test_a_graphics_card_without_triton_gets_a_dense_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchvise.core.kernels.select.triton_runs_on", lambda _device: False)
    route = choose_matmul(torch.device("cuda"), 4, 128, 256, True)
    assert route.kind is MatmulKind.DENSE
    assert "Triton" in route.why


def test_the_memory_of_int4_is_a_fraction_of_dense() -> None:
    packed = compressed(256, 1024, 128, 4, True)
    linear = prepare_linear(packed, 4, 1024, torch.float32, CPU)
    assert linear.nbytes == 256 * 1024 // 2 + 2 * 2 * 256 * 8
    halves = prepare_linear(compressed(256, 1024, 128, 8, True), 8, 1024, torch.bfloat16, CPU)
    assert halves.nbytes == 2 * linear.nbytes
    dense = prepare_linear(compressed(256, 1024, 16, 8, True), 8, 1024, torch.bfloat16, CPU)
    assert dense.nbytes == 256 * 1024 * 2


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("symmetric", [True, False])
def test_wider_codes_mean_the_same(bits: int, symmetric: bool) -> None:
    codes = torch.arange(2**bits, dtype=torch.uint8).repeat(2**bits, 1)
    zero_point = None if symmetric else torch.arange(2**bits, dtype=torch.uint8).unsqueeze(1)
    scale = torch.ones(2**bits, 1)
    wide = 4 if bits < 4 else 8
    moved = recentred(codes, zero_point, bits, wide)
    before = reference.dequantise(codes, scale, zero_point, bits)
    assert torch.equal(reference.dequantise(moved, scale, None, wide), before)
    assert torch.equal(unpack_rows(pack_rows(moved, wide), wide, 2**bits), moved)


def test_codes_that_would_not_fit_are_refused() -> None:
    codes = torch.zeros((1, 4), dtype=torch.uint8)
    with pytest.raises(ValueError, match="do not fit"):
        recentred(codes, torch.zeros((1, 1), dtype=torch.uint8), 8, 8)
