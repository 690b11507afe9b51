"""The GPU's multiplication in Triton's interpreter: run by `test_triton.py`, in a process of its own."""

from __future__ import annotations

import pytest
import torch

from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.kernels.quantise import Packed, quantise_pack
from benchvise.core.kernels.select import MatmulKind, prepare_linear
from benchvise.core.kernels.triton_matmul import Tiles, choose_tiles, multiply_packed
from tests.core.kernels import reference

# Half a unit in the last place of the result; the interpreter cuts bfloat16 off where a GPU rounds.
TOLERANCE = {torch.float16: 6e-4, torch.bfloat16: 8e-3}
# rows, cols, group size: the default groups, whole rows, groups that share words, rows that end within a word.
SHAPES = (
    (70, 256, 32),
    (33, 256, 64),
    (20, 384, 128),
    (9, 512, 256),
    (9, 200, 200),
    (10, 120, 40),
    (5, 37, 37),
    (5, 111, 37),
)


def compressed(rows: int, cols: int, group_size: int, bits: int, symmetric: bool, dtype: torch.dtype) -> Packed:
    weight = torch.randn(rows, cols, generator=torch.Generator().manual_seed(rows)).to(dtype)
    return quantise_pack(weight, bits=bits, group_size=group_size, symmetric=symmetric, scale_dtype=dtype)


def relative_error(y: torch.Tensor, x: torch.Tensor, packed: Packed, bits: int, cols: int) -> float:
    codes = unpack_rows(packed.packed, bits, cols)
    expected = reference.multiply(x, codes, packed.scale, packed.zero_point, bits)
    return float((y.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("rows", "cols", "group_size"), SHAPES)
def test_products_are_those_of_the_decoded_weight(
    rows: int, cols: int, group_size: int, bits: int, symmetric: bool, dtype: torch.dtype
) -> None:
    packed = compressed(rows, cols, group_size, bits, symmetric, dtype)
    for tokens in (1, 2, 3, 17):
        x = torch.randn(tokens, cols, generator=torch.Generator().manual_seed(tokens)).to(dtype)
        y = multiply_packed(x, packed, bits, cols)
        assert y.dtype == dtype
        assert y.shape == (tokens, rows)
        assert relative_error(y, x, packed, bits, cols) < TOLERANCE[dtype]


@pytest.mark.parametrize("bits", [4, 8])
def test_many_tokens(bits: int) -> None:
    packed = compressed(70, 128, 64, bits, True, torch.float16)
    x = torch.randn(140, 128).to(torch.float16)
    assert relative_error(multiply_packed(x, packed, bits, 128), x, packed, bits, 128) < TOLERANCE[torch.float16]


@pytest.mark.parametrize("tokens", [1, 5])
def test_columns_split_between_programs(tokens: int) -> None:
    packed = compressed(12, 4096, 128, 4, False, torch.float16)
    tiles = choose_tiles(tokens, 12, 4096, 4, 128, processors=132)
    assert tiles.parts > 1
    x = torch.randn(tokens, 4096).to(torch.float16)
    y = multiply_packed(x, packed, 4, 4096, tiles)
    assert relative_error(y, x, packed, 4, 4096) < TOLERANCE[torch.float16]


def test_the_cut_covers_every_column() -> None:
    for tokens in (1, 2, 3, 16, 64, 65, 4096):
        for cols, group_size in ((4096, 128), (11008, 32), (37, 37), (5000, 40), (4104, 4104)):
            tiles: Tiles = choose_tiles(tokens, 4096, cols, 4, group_size, processors=132)
            assert tiles.parts * tiles.part_cols >= cols
            assert (tiles.parts - 1) * tiles.part_cols < cols


@pytest.mark.parametrize("bits", [2, 3, 5, 7])
@pytest.mark.parametrize("symmetric", [True, False])
def test_other_widths_are_moved_to_the_next(bits: int, symmetric: bool) -> None:
    packed = compressed(6, 64, 32, bits, symmetric, torch.float16)
    linear = prepare_linear(packed, bits, 64, torch.float16, torch.device("cpu"))
    assert linear.route.kind is MatmulKind.TRITON
    x = torch.randn(3, 64)
    y = linear(x)
    assert y.dtype == torch.float32
    assert relative_error(y, x, packed, bits, 64) < 2 * TOLERANCE[torch.float16]


def test_what_the_kernels_do_not_read_is_refused() -> None:
    packed = compressed(6, 64, 32, 4, True, torch.float16)
    with pytest.raises(ValueError, match="half precision"):
        multiply_packed(torch.zeros(1, 64), packed, 4, 64)
