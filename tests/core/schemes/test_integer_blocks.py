"""Integer grids whose scales are shared by blocks of rows by inputs, against a loop over the blocks."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from benchvise.core.kernels.clip import shrink_factors
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.integer import IntegerArithmetic
from tests.core.schemes.integer_oracle import grid as oracle_grid
from tests.core.schemes.integer_oracle import on_grid
from tests.core.schemes.scheme_samples import DTYPES, layer_in_file, solve, weights

ROWS, COLUMNS = 10, 48
SCHEMES = [
    Integer(bits, symmetric, zero_points=zeros, granularity="block", block_rows=high, group_size=wide)  # type: ignore[arg-type]
    for bits, (symmetric, zeros), (high, wide) in product(
        (2, 4, 8), ((True, "integer"), (False, "integer"), (False, "float")), ((4, 16), (5, 48), (64, 8))
    )
]
WHOLE_CODES = [scheme for scheme in SCHEMES if not scheme.float_zero]


def ids(scheme: Integer) -> str:
    return scheme.tag.replace(" ", "-")


@pytest.mark.parametrize("scheme", WHOLE_CODES, ids=ids)
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_block_has_the_grid_of_its_range(scheme: Integer, dtype: str) -> None:
    values = weights(ROWS, COLUMNS, dtype)
    solved = solve(values, scheme, block_rows=3)
    scale_dtype = "float32" if dtype == "float64" else dtype
    for row, column in product(range(0, ROWS, scheme.block_rows), range(0, COLUMNS, scheme.group_size)):
        place = slice(row, row + scheme.block_rows), slice(column, column + scheme.group_size)
        block = values[place].float().numpy().reshape(-1)
        scale, zero = oracle_grid(block, scheme.bits, scheme.symmetric, scale_dtype)
        stored = solved.stored["weight_scale"][row // scheme.block_rows, column // scheme.group_size]
        assert float(stored) == float(scale)
        expected = on_grid(block, scale, zero, scheme.bits, dtype)[1]
        np.testing.assert_array_equal(solved.decoded[place].float().numpy().reshape(-1), expected)


@pytest.mark.parametrize("scheme", SCHEMES, ids=ids)
@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_it_stores_what_it_declares_and_decodes_to_what_it_said(scheme: Integer, dtype: str, tmp_path: Path) -> None:
    values = weights(ROWS, COLUMNS, dtype)
    layer = layer_in_file(tmp_path, "block.up.weight", values)
    for solver in (Nearest(), Nearest(clip_search=True, clip_steps=5)):
        solved = solve(values, scheme, solver, block_rows=3)
        declared = {one.name: (getattr(torch, one.dtype), one.shape, one.nbytes) for one in scheme.storage(layer)}
        assert declared == {name: (one.dtype, tuple(one.shape), one.nbytes) for name, one in solved.stored.items()}
        decoded = IntegerArithmetic.decode(scheme, solved.stored, 0, ROWS, COLUMNS)
        assert torch.equal(decoded.to(values.dtype), solved.decoded)
        part = solved.stored | {"weight_packed": solved.stored["weight_packed"][3:9]}
        assert torch.equal(IntegerArithmetic.decode(scheme, part, 3, 9, COLUMNS), decoded[3:9])
        whole = solve(values, scheme, solver)
        assert all(torch.equal(whole.stored[name], one) for name, one in solved.stored.items())


@pytest.mark.parametrize("scheme", SCHEMES, ids=ids)
def test_columns_one_by_one_are_those_of_the_whole(scheme: Integer) -> None:
    values = weights(ROWS, COLUMNS, "float32")
    grid = IntegerArithmetic.grid(scheme, ROWS, COLUMNS, values.dtype, clip=ClipSearch(5, 0.6))
    for start in range(0, COLUMNS, grid.span):
        grid.fit(start, values[:, start : start + grid.span])
    codes = grid.encode(0, values)
    standing = values.T.contiguous().T
    for column in range(COLUMNS):
        assert torch.equal(grid.encode(column, standing[:, column : column + 1]), codes[:, column : column + 1])
    solved = solve(values, scheme, Nearest(clip_search=True, clip_steps=5))
    assert all(torch.equal(one, solved.stored[name]) for name, one in grid.stored(codes).items())
    assert torch.equal(grid.nearest(0, solved.decoded), solved.decoded)


def test_the_search_finds_the_least_error_of_all_factors() -> None:
    values = weights(ROWS, COLUMNS, "float32", seed=2)
    scheme = Integer(2, granularity="block", block_rows=4, group_size=16)
    solved = solve(values, scheme, Nearest(clip_search=True, clip_steps=9, clip_least=0.5))
    for row, column in product(range(0, ROWS, 4), range(0, COLUMNS, 16)):
        block = values[row : row + 4, column : column + 16].numpy().reshape(-1)
        ends = np.array([block.min(), block.max()], np.float32)
        errors = []
        for factor in shrink_factors(9, 0.5):
            scale, zero = oracle_grid(ends * np.float32(factor), 2, True, "float32")
            errors.append(
                float(np.square(on_grid(block, scale, zero, 2, "float32")[1].astype(np.float64) - block).sum())
            )
        found = (solved.decoded - values)[row : row + 4, column : column + 16].double().square().sum()
        np.testing.assert_allclose(float(found), min(errors), rtol=2e-6)


@pytest.mark.parametrize("scheme", SCHEMES, ids=ids)
def test_what_may_be_tuned_and_learned_begins_at_the_weight(scheme: Integer) -> None:
    values = weights(ROWS, COLUMNS, "float32")
    solved = solve(values, scheme)
    tunable = IntegerArithmetic.tunable(scheme, solved.stored, COLUMNS)
    torch.testing.assert_close(tunable.weight(tunable.parameters), solved.decoded, rtol=1e-6, atol=1e-7)
    moving = {name: one.clone().requires_grad_() for name, one in tunable.parameters.items()}
    tunable.weight(moving).square().sum().backward()
    assert all(one.grad is not None and one.grad.shape == solved.stored[name].shape for name, one in moving.items())
    learnable = IntegerArithmetic.learnable(scheme, solved.stored, values)
    assert learnable.scales.shape == solved.stored["weight_scale"].shape
    offsets = torch.rand(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0)) - 0.5
    factors = torch.randn(learnable.scales.shape, generator=torch.Generator().manual_seed(1)) / 10
    decoded = IntegerArithmetic.decode(scheme, learnable.stored(offsets, factors), 0, ROWS, COLUMNS)
    torch.testing.assert_close(learnable.weight(offsets, factors), decoded, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("zeros", ["integer", "float"])
def test_one_grid_for_a_tensor_in_several_blocks_of_rows(symmetric: bool, zeros: str) -> None:
    values = weights(ROWS, COLUMNS, "float32")
    scheme = Integer(4, symmetric, zero_points=zeros, granularity="tensor")  # type: ignore[arg-type]
    whole, parts = solve(values, scheme), solve(values, scheme, block_rows=3)
    assert all(torch.equal(one, parts.stored[name]) for name, one in whole.stored.items())
    assert torch.equal(whole.decoded, parts.decoded)


def test_tags_groups_and_bytes(tmp_path: Path) -> None:
    layer = layer_in_file(tmp_path, "block.up.weight", weights(9, 172, "bfloat16"))
    scheme = Integer(4, granularity="block", block_rows=4, group_size=43)
    assert scheme.tag == "int4 4×43"
    assert scheme.bytes_after(layer) == 9 * 22 * 4 + 3 * 4 * 2
    asymmetric = Integer(4, False, granularity="block", block_rows=4, group_size=43)
    assert asymmetric.bytes_after(layer) == scheme.bytes_after(layer) + 1 * 4 * 4  # 3 zero points are one word
    fitted, notes = Integer(4, granularity="block", group_size=150, indivisible="divisor").fitted(layer)
    assert fitted.tag == "int4 128×172"
    assert len(notes) == 1
