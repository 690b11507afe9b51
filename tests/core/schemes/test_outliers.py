"""Integer codes beside kept columns: which are kept, that they survive exactly, and that they narrow the scales."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.errors import RecipeError
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.outliers import Outliers
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.integer import IntegerArithmetic
from benchvise.core.schemes.outliers import OutliersArithmetic
from tests.core.schemes.integer_oracle import quantised
from tests.core.schemes.scheme_samples import DTYPES, layer_in_file, solve, weights

GRANULARITIES = ("tensor", "channel", "group")
ROWS, COLUMNS, GROUP = 12, 64, 16
LOUD = [5, 17, 60]


def loud(dtype: str, *, rows: int = ROWS) -> torch.Tensor:
    """Weights with three loud columns, in one row only each."""
    values = weights(rows, COLUMNS, dtype)
    for row, column in enumerate(LOUD):
        values[row % rows, column] = -3.0 - row
    return values


def scheme_of(granularity: str, *, symmetric: bool = True, bits: int = 4) -> Outliers:
    size = {"group_size": GROUP} if granularity == "group" else {}
    return Outliers(bits=bits, fraction=3 / COLUMNS, symmetric=symmetric, granularity=granularity, **size)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_against_an_integer_grid_of_the_rest(granularity: str, symmetric: bool, dtype: str) -> None:
    values = loud(dtype)
    scheme = scheme_of(granularity, symmetric=symmetric)
    solved = solve(values, scheme, block_rows=5)
    assert solved.stored["outlier_columns"].tolist() == LOUD
    rest = values.clone()
    rest[:, LOUD] = 0
    size = GROUP if granularity == "group" else COLUMNS
    expected = quantised(rest, 4, symmetric, size, whole=granularity == "tensor").decoded
    kept = values[:, LOUD] if values.dtype.itemsize == 2 else values[:, LOUD].half()
    assert torch.equal(solved.stored["outlier_values"], kept)
    expected[:, LOUD] = kept.double().numpy()
    np.testing.assert_array_equal(solved.decoded.double().numpy(), expected)
    assert torch.equal(
        OutliersArithmetic.decode(scheme, solved.stored, 0, ROWS, COLUMNS).to(values.dtype), solved.decoded
    )
    some = solved.stored | {"weight_packed": solved.stored["weight_packed"][2:9]}
    assert torch.equal(OutliersArithmetic.decode(scheme, some, 2, 9, COLUMNS).to(values.dtype), solved.decoded[2:9])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_what_is_stored_is_what_was_declared(granularity: str, dtype: str, tmp_path: Path) -> None:
    values, scheme = loud(dtype), scheme_of(granularity, symmetric=False)
    solved = solve(values, scheme)
    layer = layer_in_file(tmp_path, "block.up.weight", values)
    declared = {one.name: (getattr(torch, one.dtype), one.shape) for one in scheme.storage(layer)}
    assert declared == {name: (one.dtype, tuple(one.shape)) for name, one in solved.stored.items()}
    assert scheme.bytes_after(layer) == sum(one.nbytes for one in solved.stored.values())


@pytest.mark.parametrize(("dtype", "clip"), [("bfloat16", None), ("float32", None), ("float32", ClipSearch(20, 0.6))])
@pytest.mark.parametrize("granularity", ["channel", "group"])
def test_the_grid_says_what_streaming_says(granularity: str, dtype: str, clip: ClipSearch | None) -> None:
    values, scheme = loud(dtype), scheme_of(granularity)
    solved = solve(values, scheme, None if clip is None else Nearest(clip_search=True))
    grid = OutliersArithmetic.grid(scheme, ROWS, COLUMNS, values.dtype, clip=clip)
    grid.fit(0, values.float())
    codes = grid.encode(0, values.float())
    stored = grid.stored(codes)
    assert all(torch.equal(stored[name], solved.stored[name]) for name in solved.stored)
    assert stored.keys() == solved.stored.keys()
    assert torch.equal(grid.decode(0, codes).to(values.dtype), solved.decoded)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_column_by_column_keeps_the_values_handed_in(granularity: str) -> None:
    values, scheme = loud("float32"), scheme_of(granularity, symmetric=False)
    grid = OutliersArithmetic.grid(scheme, ROWS, COLUMNS, torch.float32)
    grid.fit(0, values)
    moved = values + torch.randn(values.shape, generator=torch.Generator().manual_seed(1)) * 1e-3
    turned = moved.T.contiguous()
    codes, decoded = [], []
    for column in range(COLUMNS):
        codes.append(grid.encode(column, turned[column : column + 1].T))
        decoded.append(grid.decode(column, codes[-1]))
    found = torch.cat(decoded, 1)
    assert torch.equal(found[:, LOUD], moved[:, LOUD].half().float())
    stored = grid.stored(torch.cat(codes, 1))
    assert torch.equal(OutliersArithmetic.decode(scheme, stored, 0, ROWS, COLUMNS), found)


def test_importance_chooses_other_columns() -> None:
    values = loud("float32")
    importance = torch.ones(COLUMNS)
    importance[[2, 33]] = 1e6
    grid = OutliersArithmetic.grid(scheme_of("group"), ROWS, COLUMNS, torch.float32)
    grid.fit(0, values, importance)
    kept = grid.stored(grid.encode(0, values))["outlier_columns"].tolist()
    score = values.double().square().sum(0) * importance
    assert kept == sorted(score.argsort(descending=True)[:3].tolist())
    assert {2, 33} <= set(kept)


def test_spans_fitted_one_by_one_keep_their_share_and_leave_a_choice_made_before() -> None:
    values, scheme = loud("float32"), scheme_of("group")
    alone, told = (OutliersArithmetic.grid(scheme, ROWS, COLUMNS, torch.float32) for _ in range(2))
    told.fit(0, values)
    for grid in (alone, told):
        for start in range(0, COLUMNS, GROUP):
            grid.fit(start, values[:, start : start + GROUP])
    found = [grid.stored(grid.encode(0, values))["outlier_columns"].tolist() for grid in (alone, told)]
    assert len(found[0]) == 3
    assert found[1] == LOUD
    shares = np.bincount(np.array(found[0]) // GROUP, minlength=4)
    assert shares.max() <= 1


def test_kept_columns_narrow_the_scales() -> None:
    values = loud("float32")
    plain = solve(values, Integer(group_size=GROUP)).decoded
    kept = solve(values, scheme_of("group")).decoded
    assert (kept - values).square().sum() < 0.3 * (plain - values).square().sum()


def test_tuning_reaches_scales_and_kept_values() -> None:
    values, scheme = loud("bfloat16"), scheme_of("group")
    stored = solve(values, scheme).stored
    tunable = OutliersArithmetic.tunable(scheme, stored, COLUMNS)
    assert tunable.parameters.keys() == {"weight_scale", "outlier_values"}
    parameters = {name: one.requires_grad_() for name, one in tunable.parameters.items()}
    weight = tunable.weight(parameters)
    assert torch.equal(weight.bfloat16(), OutliersArithmetic.decode(scheme, stored, 0, ROWS, COLUMNS))
    weight.square().sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in parameters.values())


def test_levels_are_those_of_the_integer_grid() -> None:
    values, scheme = loud("float32"), scheme_of("group")
    stored = solve(values, scheme).stored
    assert torch.equal(OutliersArithmetic.levels(scheme, stored), IntegerArithmetic.levels(scheme.integer, stored))


@pytest.mark.parametrize("shape", [(3, 1), (1, 1), (1, 8), (4, 16)])
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constants_and_single_columns(shape: tuple[int, int], value: float) -> None:
    values = torch.full(shape, value)
    decoded = solve(values, Outliers(granularity="channel", symmetric=False)).decoded
    assert (decoded - values).abs().max() <= 1e-6 * value


def test_values_beyond_float16_become_its_largest() -> None:
    values = loud("float32")
    values[4, 5] = -1e9
    stored = solve(values, scheme_of("channel")).stored
    assert stored["outlier_values"][4, 0] == -65504


def layer(rows: int, columns: int, dtype: str = "bfloat16") -> Layer:
    size = {"bfloat16": 2, "float32": 4}[dtype]
    entry = TensorEntry("block.up.weight", dtype, (rows, columns), "model.safetensors", 0, rows * columns * size)
    return Layer("block.up", entry, "mlp.up", "linear", 0)


def test_bytes_by_hand() -> None:
    codes, scales = 4096 * 4096 // 2, 4096 * 32
    assert Outliers().bytes_after(layer(4096, 4096)) == codes + scales * 2 + 41 * 4 + 4096 * 41 * 2
    assert Outliers().bytes_after(layer(4096, 4096, "float32")) == codes + scales * 4 + 41 * 4 + 4096 * 41 * 2
    assert Outliers(fraction=0.0001).kept_columns(64) == 1
    assert Outliers(fraction=0.5).kept_columns(1) == 1


def test_tags_and_groups_that_do_not_divide() -> None:
    assert Outliers().tag == "int4 g128 +1% 16-bit"
    assert Outliers(bits=3, fraction=0.005, granularity="channel").tag == "int3 channel +0.5% 16-bit"
    assert Outliers(symmetric=False).tag == "int4 g128 asym +1% 16-bit"
    with pytest.raises(RecipeError, match="does not divide the 172 inputs"):
        Outliers().fitted(layer(8, 172))
    fitted, notes = Outliers(indivisible="divisor").fitted(layer(8, 172))
    assert fitted.granularity == "channel"
    assert len(notes) == 1
